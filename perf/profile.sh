#!/usr/bin/env bash
# Where the time goes, one command a question. What is looked at is a replay, a demo, or a run that lives.
#
#   perf/profile.sh flame              CPU time by function, as a flame graph
#   perf/profile.sh diff A B           two commits: red got dearer, blue cheaper
#   perf/profile.sh threads            counters of each thread
#   perf/profile.sh waits              off the CPU: system calls, and waiting for a core, by thread
#   perf/profile.sh counts             allocations and instructions, which do not depend on the machine's mood
#
# WORKLOAD (default: "demo --duration 20s") is what foreshock is started with; PID looks at one that runs
# already; SECONDS_LONG (default 10) for how long. Pictures and data go to target/profile/. Frame pointers
# are compiled in for this, into a target folder of their own. perf may need root or
# `sysctl kernel.perf_event_paranoid=1`; see perf/README.md for how to read what comes out.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-}
shift || true
out=$PWD/target/profile
tools=$out/tools
workload=${WORKLOAD:-demo --duration 20s}
seconds=${SECONDS_LONG:-10}
mkdir -p "$out"

usage() { sed -n '2,/^set /p' "$0" | sed '$d; s/^# \{0,1\}//' >&2; exit 2; }

need() { command -v "$1" >/dev/null || { echo "$1 is not here: $2" >&2; exit 1; }; }

# build DIR [SOURCE]: an optimised foreshock with frame pointers; prints its path.
build() {
    (cd "${2:-.}" && RUSTFLAGS="-C force-frame-pointers=yes" CARGO_TARGET_DIR="$1" cargo build --release --quiet)
    echo "$1/release/foreshock"
}

# The tools that draw; from crates.io, once.
draw() {
    [ -x "$tools/bin/inferno-flamegraph" ] ||
        cargo install --quiet --locked --root "$tools" --no-default-features --features cli inferno
    "$tools/bin/inferno-$1" "${@:2}"
}

# record NAME BINARY: stacks of the workload, folded into NAME.folded.
record() {
    local what=("$2")
    # shellcheck disable=SC2206 # a workload is several words
    what+=($workload)
    [ -z "${PID:-}" ] || what=(sleep "$seconds")
    perf record --quiet -F 997 --call-graph fp -o "$out/$1.data" ${PID:+-p "$PID"} -- "${what[@]}" >/dev/null
    perf script -i "$out/$1.data" 2>/dev/null | draw collapse-perf 2>/dev/null >"$out/$1.folded"
}

# At a commit, built beside the present one.
record_at() {
    local at=$out/at-$1
    git worktree add --quiet --force --detach "$at" "$1"
    record "$1" "$(build "$out/target" "$at")"
    git worktree remove --force "$at"
}

# begin NAME: starts the workload in the background, unless PID names one; sets pid.
begin() {
    pid=${PID:-}
    [ -z "$pid" ] || return 0
    local program
    program=$(build "$out/target")
    # shellcheck disable=SC2086 # a workload is several words
    "$program" $workload >"$out/workload.txt" 2>&1 &
    pid=$!
    trap 'kill "$pid" 2>/dev/null || true' EXIT
    sleep 2
}

case $what in
    flame)
        need perf "apt install linux-perf"
        record flame "$([ -n "${PID:-}" ] || build "$out/target")"
        draw flamegraph --title "foreshock ${PID:-$workload} at $(git rev-parse --short HEAD)" \
            <"$out/flame.folded" >"$out/flame.svg"
        echo "$out/flame.svg"
        ;;
    diff)
        need perf "apt install linux-perf"
        [ $# = 2 ] || usage
        a=$(git rev-parse --short "$1") b=$(git rev-parse --short "$2")
        record_at "$a"
        record_at "$b"
        draw diff-folded --normalize "$out/$a.folded" "$out/$b.folded" |
            draw flamegraph --title "foreshock $workload: from $a to $b" >"$out/diff.svg"
        echo "$out/diff.svg"
        ;;
    threads)
        need perf "apt install linux-perf"
        begin
        perf stat --per-thread -p "$pid" \
            -e task-clock,context-switches,cpu-migrations,page-faults,cycles,instructions,cache-misses,branch-misses \
            -- sleep "$seconds" 2>&1 | grep -v '^$' | tee "$out/threads.txt"
        ;;
    waits)
        need perf "apt install linux-perf"
        begin
        perf trace -s -p "$pid" -- sleep "$seconds" 2>&1 | grep -v '^$' | tee "$out/calls.txt"
        perf sched record -o "$out/sched.data" -- sleep "$seconds" >/dev/null 2>&1
        echo
        echo "on and off the core, ms (sch delay: ready to run, and no core to run on)"
        perf sched timehist -i "$out/sched.data" --summary -p "$pid" 2>/dev/null | sed -n '/Runtime summary/,$p' |
            tee "$out/sched.txt"
        ;;
    counts)
        cargo test --quiet --test parse_allocations --test engine_allocations --test line_allocations \
            --test publish_allocations --test alert_allocations
        cargo bench --quiet --bench instructions
        ;;
    *) usage ;;
esac
