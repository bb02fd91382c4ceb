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

# act_on_latest USER LETTER: runs a command of the latest message's menu.
act_on_latest() {
    press "$1" Up
    sees "$1" "Enter menu"
    press "$1" Enter
    sees "$1" "Enter choose"
    press "$1" "$2"
}

# id_of USER: prints the user's whole ID, as shown on the screen.
id_of() { screen "$1" | grep -oE "$1_[0-9]{4,}" | head -n 1; }

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

# A room with a reply, a mention, an edit, a reaction and a deletion; a direct message; unread messages elsewhere.
posts Kim ".room #random anything goes"
sees Kim "created #random"
posts Alice ".room #ops release 2.4 and on-call"
sees Alice "created #ops"
posts Alice ".add @Bob @$kim"
sees Bob "#ops"
posts Bob ".to #ops"
sees Bob "To: #ops"
posts Kim ".to #ops"
sees Kim "To: #ops"
posts Alice "2.4 has been out since nine, the logs look clean."
sees Bob "look clean"
act_on_latest Bob r
posts Bob "Great, I will watch the p99 for an hour."
sees Alice "for an hour"
posts Kim "Lunch at twelve? 王's has the good 🍜 today."
sees Alice "Lunch at"
posts Bob "can you look at shard 8, @Alice?"
sees Alice "shard 8"
act_on_latest Bob e
press Bob C-u
posts Bob "can you look at shard 7, @Alice?"
sees Alice "shard 7"
posts Alice "On it."
sees Kim "On it."
act_on_latest Kim +
sees Kim "React"
press Kim Enter
sees Alice "👍 1"
posts Kim "@$(id_of Alice) can you rotate the old key, too?"
sees Alice "@ $kim"
posts Bob ".to everyone"
sees Bob "To: everyone"
posts Bob "The coffee machine is back."
sees Alice "2 unread"
press Alice -l "of course, this afternoon"
sees Alice "this afternoon"

tmux_here capture-pane -p -e -t Alice >"$work/screen"
assets/ansi_to_svg.py --columns "$columns" \
    --title "chat: conversations and people on the left, a room in bubbles on the right" \
    <"$work/screen" >"$work/picture.svg"
mv "$work/picture.svg" "$picture"
echo "wrote $picture"
