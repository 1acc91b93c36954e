#!/usr/bin/env bash
# Runs every bench and writes what it printed into a dated record, with machine and commit.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p perf/records
record="perf/records/$(date -u +%F)-$(git rev-parse --short HEAD).txt"
{
    echo "command  perf/record.sh $*"
    echo "date     $(date -u +%FT%TZ)"
    echo "commit   $(git rev-parse HEAD)$(git diff --quiet HEAD || echo ' with changes')"
    echo "machine  $(nproc) x $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(uname -sr)"
    echo "rustc    $(rustc --version)"
    echo
    for bench in parse windows engine ring pipeline; do
        cargo bench --quiet --bench "$bench" -- "$@" 2>&1 | grep -E 'time:|^[a-z]+/' || true
    done
} | tee "$record"
echo "written to $record"
