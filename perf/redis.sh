#!/usr/bin/env bash
# Kills, freezes and empties a Redis in full count while the program replays a cascade, and writes down
# what came of it.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p perf/records
record="perf/records/$(date -u +%F)-redis-$(git rev-parse --short HEAD).txt"
{
    echo "command  perf/redis.sh"
    echo "date     $(date -u +%FT%TZ)"
    echo "commit   $(git rev-parse HEAD)$(git diff --quiet HEAD || echo ' with changes')"
    echo "machine  $(nproc) x $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(uname -sr)"
    echo "redis    $(redis-server --version)"
    echo
    FORESHOCK_FULL=1 cargo test --quiet --release --test redis_cascade -- --nocapture --test-threads 1 2>&1 |
        grep -E 'each once and in order|skipped|test result|panicked|FAILED'
} | tee "$record"
echo "written to $record"
