# `just` lists what there is. Each recipe is also a plain command that can be typed.

_list:
    @just --list

# All that a change has to pass.
check:
    .ci/run

# The tests alone.
test:
    cargo test

# The same with more of all that is drawn by lot: kills, power cuts, worlds, bad input. An hour or so.
torture:
    CHAT_KILLS=1000 CHAT_POWER_CUTS=200 CHAT_SEEDS=10000 CHAT_RECONNECTS=5000 cargo test --test it -- doubles_nothing lost_or_doubled --nocapture
    CHAT_HALF_OPEN=2000 CHAT_MALFORMED=10000 CHAT_SEARCHERS=100 cargo test --test it -- cost_the_others_nothing nobody_else_notices --nocapture
    CHAT_CONVERSATIONS=1000 cargo test --lib no_byte_of_a_direct_message
    CHAT_FUZZ_SECONDS=60 cargo test --test it fuzz:: -- --nocapture

# How fast the hub and the screen are.
bench:
    cargo bench

# Make the picture in the README anew (needs tmux and python3).
screenshot:
    assets/screenshot.sh
