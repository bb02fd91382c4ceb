# `just` lists what there is. Each recipe is also a plain command that can be typed.

_list:
    @just --list

# All that a change has to pass.
check:
    .ci/run

# The tests alone.
test:
    cargo test

# How fast the hub and the screen are.
bench:
    cargo bench

# Make the picture in the README anew (needs tmux and python3).
screenshot:
    assets/screenshot.sh
