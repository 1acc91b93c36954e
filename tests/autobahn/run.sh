#!/usr/bin/env bash
# Runs the 301 cases of the Autobahn fuzzing server that know no compression against our own client,
# over ws and over wss, and once more with our limits left on. Ten minutes or so, most of it the
# server's. Reports: $FORESHOCK_AUTOBAHN_DIR (default /tmp/foreshock-autobahn)/{ws,wss,limits}/index.html.
#
# The suite needs Python 2.7: $PYTHON2, python2.7 in the PATH, or pyenv's (`pyenv install 2.7.18`). It is
# installed from PyPI into an environment of its own, outside the repository.
set -euo pipefail
cd "$(dirname "$0")/../.."
dir=${FORESHOCK_AUTOBAHN_DIR:-/tmp/foreshock-autobahn}
port=${FORESHOCK_AUTOBAHN_PORT:-9123}
cases=${FORESHOCK_AUTOBAHN_CASES:-'"*"'}
mkdir -p "$dir"

suite() {
    [ -x "$dir/venv/bin/wstest" ] && return
    local python=${PYTHON2:-$(command -v python2.7 || ls "$HOME"/.pyenv/versions/2.7.*/bin/python 2>/dev/null | tail -1 || true)}
    if [ -z "$python" ] || ! "$python" --version >/dev/null 2>&1; then
        echo "skipped: no Python 2.7 (set PYTHON2, or pyenv install 2.7.18)" >&2
        exit 0
    fi
    "$python" -m pip install --quiet --user 'virtualenv<20.22' 2>/dev/null
    "$python" -m virtualenv --quiet "$dir/venv"
    "$dir/venv/bin/pip" install --quiet autobahntestsuite==25.10.1 2>/dev/null
}

# An authority and a certificate for localhost that it signed.
identity() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=test \
        -keyout "$dir/ca.key" -out "$dir/ca.pem" 2>/dev/null
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost \
        -keyout "$dir/server.key" -out "$dir/server.csr" 2>/dev/null
    openssl x509 -req -in "$dir/server.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -CAcreateserial \
        -days 30 -out "$dir/server.pem" -extfile <(echo subjectAltName=DNS:localhost) 2>/dev/null
}

# run NAME SCHEME [VAR=VALUE...]: one server, one client.
run() {
    local name=$1 scheme=$2
    shift 2
    cat >"$dir/$name.json" <<JSON
{"url": "$scheme://localhost:$port", "key": "$dir/server.key", "cert": "$dir/server.pem", "outdir": "$dir/$name", "cases": [$cases],
 "exclude-cases": ["12.*", "13.*"], "exclude-agent-cases": {}}
JSON
    "$dir/venv/bin/wstest" --webport 0 --mode fuzzingserver --spec "$dir/$name.json" \
        >"$dir/$name.log" 2>&1 &
    server=$!
    for _ in $(seq 100); do
        (exec 3<>/dev/tcp/localhost/"$port") 2>/dev/null && break
        sleep 0.1
    done
    echo "$name:"
    env FORESHOCK_AUTOBAHN="$scheme://localhost:$port" FORESHOCK_AUTOBAHN_CA="$dir/ca.pem" "$@" \
        cargo test --quiet --test autobahn -- --nocapture | grep cases
    kill "$server" && wait "$server" 2>/dev/null || true
    server=
}

server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true' EXIT
suite
identity
cargo test --quiet --no-run --test autobahn
run ws ws
run wss wss
run limits wss FORESHOCK_AUTOBAHN_LIMITS=1
