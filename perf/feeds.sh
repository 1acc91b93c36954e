#!/usr/bin/env bash
# The slow proofs about feeds, into a dated record: a thousand resets on loopback and at 50 ms of round
# trip, a minute on each bad road, the memory of every attack, what an attack does to the other lines,
# a million symbols, a year, and the Autobahn suite. Half an hour on a machine that does nothing else;
# needs root for the roads. Arguments name the parts: resets weather memory others data year autobahn.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p perf/records
record="perf/records/$(date -u +%F)-$(git rev-parse --short HEAD)-feeds.txt"
export FORESHOCK_FULL=1
# The lines must be faster than their attackers, whom the tests slow down.
first=$([ "$(id -u)" = 0 ] && echo "nice -n -20" || true)

full() { $first cargo test --quiet --release --test "$1" "${@:2}" -- --nocapture 2>&1; }

part() {
    case $1 in
        resets) FORESHOCK_RESETS=1000 full live_feed f1_a_reset_line_hears_again_at_once ;;
        autobahn) tests/autobahn/run.sh ;;
        weather | others | data | year) full "$1" ;;
        memory) full hostile_memory ;;
        *) echo "no such part: $1" && return 1 ;;
    esac
}

{
    echo "command  perf/feeds.sh $*"
    echo "date     $(date -u +%FT%TZ)"
    echo "commit   $(git rev-parse HEAD)$(git diff --quiet HEAD || echo ' with changes')"
    echo "machine  $(nproc) x $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(uname -sr), load $(cut -d' ' -f1 /proc/loadavg)"
    for name in ${*:-resets weather memory others data year autobahn}; do
        echo
        echo "$name:"
        part "$name"
    done
} | tee "$record"
echo "written to $record"
