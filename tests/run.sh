#!/usr/bin/env bash
# Installs what the tests need where it is missing, then runs them all.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v redis-server >/dev/null; then
    echo "installing redis-server (the tests use a real one)"
    sudo=$([ "$(id -u)" = 0 ] || echo sudo)
    $sudo apt-get update -qq && $sudo apt-get install -y -qq redis-server >/dev/null
fi
cargo build --release --quiet
cargo test "$@"
