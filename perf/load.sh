#!/usr/bin/env bash
# Plays a capture to a real `foreshock run`, open-loop over loopback TLS, and shows the latency of every
# stage, what the sender did, and whether every message was read.
#
#   perf/load.sh CAPTURE                      at the recorded pace, once
#   perf/load.sh CAPTURE --speed 20           twenty times as fast
#   perf/load.sh CAPTURE --rate 50000         50,000 messages a second, evenly
#   perf/load.sh CAPTURE --rate 5000 --duration 60 --set run.layout=inline --set run.idle=spin
#
# No capture at hand?
#
#   perf/load.sh make street.fsraw 30         records 30 s of a simulated market that cascades
#   foreshock record real.fsraw --duration 1h     records the real venues
#
# The first is `foreshock simulate`, which prints its addresses, and `foreshock record` with a
# configuration that names them under [feeds.venues.*] and its certificate as feeds.ca_file.
#
# The sender plays the venues the capture was recorded from, on one port; foreshock is given their
# addresses, their instruments and a certificate. Venue times in the capture are old, and foreshock would
# keep history out of its rates: each time in a message is moved by the distance between now and when
# the message was recorded, so `venue_to_receive` shows the recorded delay. What subscriptions were
# answered is said again when foreshock subscribes.
#
# `behind` is the sender's own lateness, of its schedule: where that is long, the sender (or the machine)
# was slow, and percentiles say little. `held up` counts how often foreshock did not take what was sent.
# Settings, log and latencies are left in target/load. FORESHOCK names a binary that is there already.
set -euo pipefail
cd "$(dirname "$0")/.."
usage() { sed -n '2,/^set /p' "$0" | sed '$d; s/^# \{0,1\}//' >&2; exit 2; }
[ $# -gt 0 ] && [ "$1" != --help ] && [ "$1" != -h ] || usage
foreshock=${FORESHOCK:-$PWD/target/release/foreshock}
[ -n "${FORESHOCK:-}" ] || cargo build --release --quiet --bin foreshock

# settings FOLDER: what `simulate` prints, a URL for each route, as settings.
settings() {
    awk -v ca="$1/ca.pem" '
        BEGIN { print "[feeds]\nca_file = \"" ca "\"" }
        $2 ~ /^wss:/ {
            split($1, route, "/")
            split($2, url, "/")
            rest[route[1]] = "https://" url[3] "/" route[1]
            urls[route[1]] = urls[route[1]] (urls[route[1]] ? ", " : "") route[2] " = \"" $2 "\""
        }
        END {
            for (venue in urls)
                print "[feeds.venues." venue "]\nrest = \"" rest[venue] "\"\nurls = { " urls[venue] " }"
        }'
}

# make FILE SECONDS: a capture of the simulated street.
make() {
    [ ! -e "$1" ] || { echo "$1 is there already" >&2; exit 1; }
    work=$(mktemp -d)
    "$foreshock" simulate --port 0 --ca "$work/ca.pem" >"$work/street.txt" 2>&1 &
    street=$!
    trap 'kill "$street" 2>/dev/null || true; rm -rf "$work"' EXIT
    for _ in $(seq 100); do
        grep -q '^okx/.* wss:' "$work/street.txt" && break
        sleep 0.1
    done
    settings "$work" <"$work/street.txt" >"$work/street.toml"
    "$foreshock" record "$1" --duration "${2:-30}s" --config "$work/street.toml"
}

if [ "$1" = make ]; then
    [ $# -ge 2 ] || usage
    make "$2" "${3:-30}"
    exit
fi
cargo build --release --quiet --manifest-path perf/compare/Cargo.toml --bin load
exec perf/compare/target/release/load --foreshock "$foreshock" "$@"
