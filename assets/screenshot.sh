#!/usr/bin/env bash
# Makes the picture in the README anew: a real server, and three real clients that talk in tmux.
#
#   assets/screenshot.sh [COLUMNS ROWS]      (120 36)
#
# Needs tmux and python3. Writes assets/screenshot.svg. CHAT=path/to/chat uses a binary that exists.
set -euo pipefail
cd "$(dirname "$0")/.."

columns=${1:-120} rows=${2:-36}
picture=assets/screenshot.svg
wait_seconds=20

fail() {
    echo "screenshot.sh: $1" >&2
    exit 1
}

for tool in tmux python3; do
    command -v "$tool" >/dev/null || fail "$tool is not installed"
done
if [[ -z ${CHAT:-} ]]; then
    cargo build --release
    CHAT=${CARGO_TARGET_DIR:-target}/release/chat
fi
[[ -x $CHAT ]] || fail "there is no program at $CHAT"

work=$(mktemp -d)
server=
tmux_here() { tmux -L "chat-screenshot-$$" -f /dev/null "$@"; }
finish() {
    tmux_here kill-server 2>/dev/null || true
    [[ -z $server ]] || kill "$server" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

# poll WHAT COMMAND...: until the command succeeds.
poll() {
    local what=$1 end=$((SECONDS + wait_seconds))
    shift
    until "$@"; do
        if ((SECONDS >= end)); then
            echo "screenshot.sh: waited $wait_seconds s in vain: $what" >&2
            return 1
        fi
        sleep 0.1
    done
}

screen() { tmux_here capture-pane -p -t "$1"; }
shows() { screen "$1" | grep -qF -- "$2"; }
hides() { ! shows "$1" "$2"; }

# sees WHO TEXT, misses WHO TEXT: waits until it is on that one's screen, or no longer there.
sees() { poll "$1 sees '$2'" shows "$1" "$2" || give_up "$1"; }
misses() { poll "$1 misses '$2'" hides "$1" "$2" || give_up "$1"; }
give_up() {
    screen "$1" >&2
    exit 1
}

# join WHO: a client in a terminal of its own.
join() {
    tmux_here new-session -d -s "$1" -x "$columns" -y "$rows" \
        env COLORTERM=truecolor HOME="$work/$1" "$CHAT" join "$address" --name "$1"
    tmux_here set-option -t "$1" status off
    sees "$1" "$1_"
}

# press WHO KEY...: as tmux names them.
press() {
    local who=$1
    shift
    tmux_here send-keys -t "$who" "$@"
}

# says WHO TEXT: types it and sends it.
says() {
    press "$1" -l -- "$2"
    press "$1" Enter
}

# pick_newest WHO: and waits until the status line says what can be done with the message.
pick_newest() {
    press "$1" Up
    sees "$1" "d delete"
}

# id_of WHO: the whole ID, as it stands on the screen.
id_of() { screen "$1" | grep -oE "$1_[0-9]{4,}" | head -n 1; }

# click WHO TEXT: the left button on the first cell of the first place where TEXT stands.
click() {
    local row column line
    row=$(screen "$1" | grep -nF -m 1 -- "$2" | cut -d: -f1)
    line=$(screen "$1" | sed -n "${row}p")
    column=${line%%"$2"*}
    column=$((${#column} + 1))
    press "$1" -l -- $'\e'"[<0;$column;${row}M"
    press "$1" -l -- $'\e'"[<0;$column;${row}m"
}

mkdir -p "$work"/{Alice,Bob,Kim}
: >"$work/ready"
"$CHAT" serve --listen 127.0.0.1:0 --data "$work/data" >"$work/ready" 2>"$work/log" &
server=$!
poll "the server is ready" grep -q '^listening on ' "$work/ready"
address=$(sed -n 's/^listening on \([^ ]*\).*/\1/p' "$work/ready" | head -n 1)

join Bob
join Kim
join Alice
kim=$(id_of Kim)
sees Bob Alice_

# What they say. With a message picked, r replies to it; d and y delete it.
says Alice "Good morning! 2.4 is out since nine, the logs look clean."
sees Bob "look clean"
pick_newest Bob
press Bob r
says Bob "Great, I will watch the p99 for an hour."
sees Alice "for an hour"
says Kim "Lunch at twelve? 王's has the good 🍜 today."
sees Alice "Lunch at"
says Bob "I am not comming"
sees Alice "not comming"
pick_newest Bob
press Bob d
sees Bob "yes, delete it"
press Bob y
misses Alice "not comming"
says Bob "Count me in."
sees Alice "Count me in"
says Kim ".temp 600 The door code is 4711 until ten past."
sees Alice "4711"
says Alice "@$kim the new key is in the vault, ask me for the path"
sees Kim "in the vault"
says Kim "@$(id_of Alice) thanks, can you rotate the old one too?"
sees Alice "rotate the old"
click Alice "$kim"
press Alice -l "of course, this afternoon"
sees Alice "this afternoon"

tmux_here capture-pane -p -e -t Alice >"$work/screen"
assets/ansi_to_svg.py --columns "$columns" \
    --title "chat: people on the left, the conversation in bubbles on the right" \
    <"$work/screen" >"$work/picture.svg"
mv "$work/picture.svg" "$picture"
echo "made $picture"
