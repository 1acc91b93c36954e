#!/usr/bin/env bash
# Plays every labelled recording and 1,400 invented markets through the engine and writes report.md and
# calibration.json here, and a picture of each cascade into perf/out/cascades. One argument: the folder
# of the recordings. Further arguments go to foreshock (--set ...). FORESHOCK takes another program than
# the release build.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=${1:-../shared/datasets}
shift || true
here=perf/backtest
if [ ! -d "$data" ]; then
    echo "skipped: no recordings in $data" >&2
    exit 0
fi
if [ -z "${FORESHOCK:-}" ]; then
    cargo build --release --quiet
    FORESHOCK=target/release/foreshock
fi
lists=()
for pair in labels:labels quiet:quiet_intervals negatives:hard_negatives ambiguous:ambiguous; do
    file=$data/${pair#*:}.csv
    if [ -f "$file" ]; then lists+=("--${pair%%:*}" "$file"); else echo "without $file" >&2; fi
done
left_out=()
for dir in "$data"/*/; do
    name=$(basename "$dir")
    if [ "$name" != prices ] && [ ! -f "$dir/events.csv.gz" ]; then left_out+=("$name"); fi
done
shopt -s nullglob
events=("$data"/*/events.csv.gz)
binance=("$data"/binance_*/events.csv.gz)
prices=("$data"/prices/*.csv.gz)
run() { "$FORESHOCK" backtest "$@" --prices "${prices[@]}" "${lists[@]}"; }
# What changes no hit, lead or alarm when it is left out or added, by question.
nothing() {
    echo "## What adds nothing"
    echo
    echo "On these recordings no hit, lead or alarm changes with these:"
    echo
    awk '/^(the alarm|risk of HIGH).*(without|and each|only where)/ { title = $0; all[++n] = title; next }
        /^each threshold/ { title = "" }
        title != "" && sub(/: no hit, lead or alarm changes$/, "") {
            sub(/^ +/, ""); names[title] = names[title] (names[title] ? ", " : "") $0
        }
        END { for (i = 1; i <= n; i++) print "- " all[i] ": " (names[all[i]] ? names[all[i]] : "none") }' \
        "$out/backtest.txt"
    echo
}

out=perf/out
mkdir -p "$out"
began=$SECONDS
run --events "${events[@]}" --svg "$out/cascades" --ablate --hold-out "$@" >"$out/backtest.txt"
run --events "${events[@]}" --format json "$@" >"$out/backtest.json"
"$FORESHOCK" backtest --invent 200 "$@" | sed -n '/^invented/,$p' >"$out/invented.txt"
run --events "${binance[@]}" --calibrate "$here/calibration.json" "$@" |
    sed -n '/^calibration:/,$p' >"$out/calibration.txt"
{
    echo "# How early, how often, how wrongly"
    echo
    echo "Made by \`perf/backtest/run.sh\`; what the words mean: \`foreshock backtest --help\`, limits:"
    echo "[README](README.md). The samples are small: read the counts."
    echo
    echo "| | |"
    echo "|---|---|"
    echo "| date | $(date -u +%FT%TZ) |"
    echo "| commit | $(git rev-parse HEAD)$(git diff --quiet HEAD -- src Cargo.lock || echo ' with changes') |"
    echo "| machine | $(nproc) x $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(uname -sr) |"
    echo "| options | ${*:-none} |"
    echo "| run time | $((SECONDS - began)) s, without the build |"
    echo "| left out | ${left_out[*]:-none}: no single events |"
    echo
    echo "## Targets"
    echo
    python3 "$here/targets.py" "$out/backtest.json"
    echo
    echo "## Everything"
    echo
    echo '```'
    cat "$out/backtest.txt"
    echo '```'
    echo
    nothing
    echo "## Markets that never were"
    echo
    echo "Seeds that nobody looked at before; what is drawn, and between which limits:"
    echo "\`src/run/backtest/invent.rs\`. For a cascade \`market\` is a hit, for everything else a false alarm."
    echo
    echo '```'
    cat "$out/invented.txt"
    echo '```'
    echo
    echo "## What the probability is worth"
    echo
    echo "That a cascade is under way or begins within 60 s, on the recordings of Binance only; as"
    echo "numbers: [calibration.json](calibration.json). It ships in \`src/engine/calibration.rs\`."
    echo
    echo '```'
    cat "$out/calibration.txt"
    echo '```'
} >"$here/report.md"
echo "written to $here/report.md; pictures in $out/cascades"
