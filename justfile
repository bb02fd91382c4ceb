# `just` lists what there is. Each recipe is also a plain command that can be typed.

_list:
    @just --list

# All that a change has to pass.
check:
    .ci/run

# The tests alone.
test:
    cargo test

# The same with more kills, power cuts, simulated worlds and lost connections: an hour or so.
torture:
    CHAT_KILLS=1000 CHAT_POWER_CUTS=200 CHAT_SEEDS=10000 CHAT_RECONNECTS=5000 cargo test --test it -- doubles_nothing lost_or_doubled --nocapture

# How fast the hub and the screen are.
bench:
    cargo bench

# Make the picture in the README anew (needs tmux and python3).
screenshot:
    assets/screenshot.sh
