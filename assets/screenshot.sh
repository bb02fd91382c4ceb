#!/usr/bin/env bash
# Regenerates the screenshot in the README: runs a real server, and three real clients in tmux.
#
#   assets/screenshot.sh [COLUMNS ROWS]      (120 36)
#
# Needs tmux and python3. Writes assets/screenshot.svg. Set CHAT=path/to/chat to use an existing binary.
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
    command -v "$tool" >/dev/null || fail "$tool is not installed: install it and try again"
done
if [[ -z ${CHAT:-} ]]; then
    cargo build --release
    CHAT=${CARGO_TARGET_DIR:-target}/release/chat
fi
[[ -x $CHAT ]] || fail "$CHAT is not an executable file (set CHAT to a chat binary)"

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

# poll LABEL COMMAND...: repeats the command until it succeeds, or times out.
poll() {
    local label=$1 end=$((SECONDS + wait_seconds))
    shift
    until "$@"; do
        if ((SECONDS >= end)); then
            echo "screenshot.sh: timed out after $wait_seconds s: $label" >&2
            return 1
        fi
        sleep 0.1
    done
}

screen() { tmux_here capture-pane -p -t "$1"; }
shows() { screen "$1" | grep -qF -- "$2"; }
hides() { ! shows "$1" "$2"; }

# sees USER TEXT, misses USER TEXT: waits until the text is on the user's screen, or is not.
sees() { poll "$1 sees '$2'" shows "$1" "$2" || give_up "$1"; }
misses() { poll "$1 no longer sees '$2'" hides "$1" "$2" || give_up "$1"; }
give_up() {
    screen "$1" >&2
    exit 1
}

# join USER: starts a client in its own terminal.
join() {
    tmux_here new-session -d -s "$1" -x "$columns" -y "$rows" \
        env COLORTERM=truecolor HOME="$work/$1" "$CHAT" join "$address" --name "$1"
    tmux_here set-option -t "$1" status off
    sees "$1" "$1_"
}

# press USER KEY...: presses keys, named as in tmux.
press() {
    local user=$1
    shift
    tmux_here send-keys -t "$user" "$@"
}

# posts USER TEXT: types a message and sends it.
posts() {
    press "$1" -l -- "$2"
    press "$1" Enter
}

# select_latest USER: selects the latest message, and waits for the hint in the status line.
select_latest() {
    press "$1" Up
    sees "$1" "d delete"
}

# id_of USER: prints the user's whole ID, as shown on the screen.
id_of() { screen "$1" | grep -oE "$1_[0-9]{4,}" | head -n 1; }

# click USER TEXT: left-clicks the first cell of the first occurrence of the text.
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

# The conversation. With a message selected, r replies to it; d and y delete it.
posts Alice "Good morning! 2.4 has been out since nine, the logs look clean."
sees Bob "look clean"
select_latest Bob
press Bob r
posts Bob "Great, I will watch the p99 for an hour."
sees Alice "for an hour"
posts Kim "Lunch at twelve? 王's has the good 🍜 today."
sees Alice "Lunch at"
posts Bob "I am not comming"
sees Alice "not comming"
select_latest Bob
press Bob d
sees Bob "Delete this message?"
press Bob y
misses Alice "not comming"
posts Bob "Count me in."
sees Alice "Count me in"
posts Kim ".temp 600 The door code is 4711 until ten past."
sees Alice "4711"
posts Alice "@$kim the new key is in the vault, ask me for the path"
sees Kim "in the vault"
posts Kim "@$(id_of Alice) thanks, can you rotate the old one too?"
sees Alice "rotate the old"
click Alice "$kim"
press Alice -l "of course, this afternoon"
sees Alice "this afternoon"

tmux_here capture-pane -p -e -t Alice >"$work/screen"
assets/ansi_to_svg.py --columns "$columns" \
    --title "chat: online users on the left, the conversation in bubbles on the right" \
    <"$work/screen" >"$work/picture.svg"
mv "$work/picture.svg" "$picture"
echo "wrote $picture"
