#!/usr/bin/env bash
# foreshock beside the kernel's floor and what one would otherwise write, in one run; see README.md.
#
#   perf/compare/run.sh            five rounds, about five minutes, into perf/records/DATE-compare.md
#   perf/compare/run.sh --quick    two rounds
#   perf/compare/run.sh bursts     bursts of 1, 10 and 100 times the largest on record
#
# Needs two cores; root for priority, and perf or strace to count calls into the kernel.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=5
what=run
for argument in "$@"; do
    case $argument in
        --quick) rounds=2 ;;
        bursts) what=bursts ;;
        *) sed -n '2,/^set /p' "$0" | sed '$d; s/^# \{0,1\}//' >&2; exit 2 ;;
    esac
done
cargo build --release --quiet --manifest-path perf/compare/Cargo.toml
mkdir -p perf/records
# First in line for the cores, as far as that is allowed: where the kernel groups processes by session
# (sched_autogroup_enabled), `nice` orders only those of one session, and this orders the sessions.
group=$(sed -n 's/.* nice //p' /proc/self/autogroup 2>/dev/null || true)
if [ -n "$group" ] && { echo -20 >/proc/self/autogroup; } 2>/dev/null; then
    trap 'echo "$group" >/proc/self/autogroup' EXIT
fi
record="perf/records/$(date -u +%F)-compare.md"
export COMPARE_COMMAND="perf/compare/run.sh $*"
if [ "$what" = bursts ]; then
    perf/compare/target/release/compare bursts --record "${record%.md}-bursts.md"
else
    perf/compare/target/release/compare run --rounds "$rounds" --record "$record"
    echo "written to $record"
fi
