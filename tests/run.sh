#!/usr/bin/env bash
# Installs what the tests need where it is missing, then runs them all.
set -euo pipefail
cd "$(dirname "$0")/.."
missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }
need redis-server redis-server # the tests use a real one
need strace strace             # makes system calls fail
need faketime faketime         # lies about the time
need ip iproute2               # builds roads that lose and delay
need python3 python3           # carries packets over them
python3 -c "import ensurepip" 2>/dev/null || missing+=(python3-venv) # takes the reader below
need chromium chromium         # looks at the page
need promtool prometheus       # checks the metrics and the rules
need valgrind valgrind         # counts instructions
# The Python example speaks through it.
python3 -c 'import redis' 2>/dev/null || /usr/bin/python3 -c 'import redis' 2>/dev/null ||
    missing+=(python3-redis)
# Debian does not put the server into the path.
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || need initdb postgresql
if [ ${#missing[@]} -gt 0 ]; then
    echo "installing ${missing[*]}"
    sudo=$([ "$(id -u)" = 0 ] || echo sudo)
    $sudo apt-get update -qq
    $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    # Of prometheus only the tool is wanted: the server must not stay.
    if command -v systemctl >/dev/null; then
        $sudo systemctl disable --now prometheus >/dev/null 2>&1 || true
    fi
fi
# Reads the latency log independently of us; from PyPI, into a folder that `cargo clean` removes.
tools=${CARGO_TARGET_DIR:-target}/tools
"$tools/bin/python" -c 'import hdrh' 2>/dev/null ||
    { python3 -m venv "$tools" && "$tools/bin/pip" install --quiet hdrhistogram==0.10.8; } ||
    echo "no independent reader of latency logs: its test will skip" >&2
# Counts the instructions of the hot path, and builds the optimised program on the way, which a test compares
# with. Whoever asks for some tests only does not ask for this.
if [ $# = 0 ]; then
    cargo bench --quiet --bench instructions
fi
cargo test "$@"
