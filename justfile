# `just` lists the recipes. Each recipe is one or a few ordinary commands.

_list:
    @just --list

# Everything a change has to pass.
check:
    .ci/run

# Run the test suite.
test:
    cargo test

# Run the randomized tests at full size: kills, power cuts, simulations, malformed input. Takes about an hour.
torture:
    CHAT_KILLS=1000 CHAT_POWER_CUTS=200 CHAT_SEEDS=10000 CHAT_RECONNECTS=5000 cargo test --test it exactly_once -- --nocapture
    CHAT_HALF_OPEN=2000 CHAT_MALFORMED=10000 CHAT_SEARCHERS=100 cargo test --test it do_not_slow_others -- --nocapture
    CHAT_CONVERSATIONS=1000 cargo test --lib messages_reach_only_their_conversation
    CHAT_FUZZ_SECONDS=60 cargo test --test it fuzz:: -- --nocapture

# Run the benchmarks.
bench:
    cargo bench

# Compare with a bare server and with the other chat servers that are installed; draw the README's chart. Takes 40 minutes.
compare:
    REPEATS=${REPEATS:-5} cargo bench --bench load -- --peers --chart assets/performance.svg

# Regenerate the screenshot in the README (needs tmux and python3).
screenshot:
    assets/screenshot.sh
