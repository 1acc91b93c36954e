#!/usr/bin/env python3
"""Fits src/engine/calibration.rs: how often a labelled cascade was under way, or began within a
minute, by the strength of the evidence; writes calibration.md beside this file.

    perf/backtest/reliability.py [FOLDER OF RECORDINGS] [FORESHOCK]

Per second of the recordings of Binance, `MARKET`, the largest `evidence` of the second's signals; a
second without a signal has none. True: a label (fast or slow) stands, from 60 s before its start to
10 s after its end. Left out: ambiguous stretches and a minute around them. Judged by leaving out one
episode (a label, or an hour without one) at a time.
"""
import csv
import gzip
import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
KNOTS = [0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 1.0]
GAP_MS = 1_800_000


def stretches(folder, name):
    path = folder / f"{name}.csv"
    rows = csv.DictReader(path.open()) if path.exists() else []
    return [(r["dataset"], int(r["start_ms"]), int(r["end_ms"])) for r in rows]


def sessions(events):
    spans = []
    for row in csv.DictReader(gzip.open(events, "rt")):
        at = int(row["recv_ms"] or row["ts_ms"])
        if spans and at - spans[-1][1] <= GAP_MS:
            spans[-1][1] = max(at, spans[-1][1])
        else:
            spans.append([at, at])
    return [(a // 1000, b // 1000) for a, b in spans]


def strengths(foreshock, events):
    best = {}
    with tempfile.NamedTemporaryFile("r", suffix=".jsonl") as out:
        command = [foreshock, "replay", str(events), "--out", out.name]
        subprocess.run(command, check=True, capture_output=True)
        for line in open(out.name, encoding="utf-8"):
            signal = json.loads(line)
            if signal["symbol"] == "MARKET":
                second = signal["timestamp"] // 1000
                best[second] = max(best.get(second, 0.0), signal["metrics"]["evidence"])
    return best


def pairs(folder, foreshock):
    """(evidence, outcome, episode) of every second."""
    labels, vague = stretches(folder, "labels"), stretches(folder, "ambiguous")
    for events in sorted(folder.glob("binance_*/events.csv.gz")):
        name = events.parent.name
        known = [(a // 1000 - 60, b // 1000 + 10) for n, a, b in labels if n == name]
        left = [(a // 1000 - 60, b // 1000 + 60) for n, a, b in vague if n == name]
        best = strengths(foreshock, events)
        for first, last in sessions(events):
            for s in range(first, last + 11):
                if any(a <= s <= b for a, b in left):
                    continue
                episode = next((i for i, (a, b) in enumerate(known) if a <= s <= b), None)
                where = f"{name} {episode}" if episode is not None else f"{name} hour {s // 3600}"
                yield best.get(s, 0.0), episode is not None, where


def fit(counts):
    """Values at the knots, monotone (pool adjacent violators), from the seconds nearest to each."""
    blocks = []
    for n, hits in counts:
        blocks.append([n, hits, 1])
        while len(blocks) > 1 and blocks[-2][1] * blocks[-1][0] > blocks[-1][1] * blocks[-2][0]:
            n, hits, width = blocks.pop()
            for i, more in enumerate((n, hits, width)):
                blocks[-1][i] += more
    return [(h + 0.5) / (n + 1) for n, h, width in blocks for _ in range(width)]


def nearest(evidence):
    return min(range(len(KNOTS)), key=lambda i: abs(KNOTS[i] - evidence))


def said(table, evidence):
    for (x0, y0), (x1, y1) in zip(table, table[1:]):
        if evidence <= x1:
            return y0 + (y1 - y0) * (evidence - x0) / (x1 - x0)
    return table[-1][1]


def shipped():
    text = (HERE / "../../src/engine/calibration.rs").read_text()
    body = text.split("const TABLE")[1].split("=", 1)[1].split("];")[0]
    numbers = [float(x) for x in body.replace("(", " ").replace(")", " ").replace("[", " ").replace(",", " ").split()]
    return list(zip(numbers[::2], numbers[1::2]))


def main(folder, foreshock):
    groups = {}
    for evidence, true, where in pairs(pathlib.Path(folder), foreshock):
        cell = groups.setdefault(where, {}).setdefault(round(evidence, 3), [0, 0])
        cell[0] += 1
        cell[1] += true
    total = [[0, 0] for _ in KNOTS]
    for cells in groups.values():
        for evidence, (n, hits) in cells.items():
            total[nearest(evidence)][0] += n
            total[nearest(evidence)][1] += hits
    seconds, hits = sum(n for n, _ in total), sum(h for _, h in total)
    base, table = hits / seconds, shipped()
    square = lambda p, n, h: h * (1 - p) ** 2 + (n - h) * p**2
    sums = {"base rate": 0.0, "evidence as it is": 0.0, "shipped table": 0.0, "refitted, cross-validated": 0.0}
    signal = dict.fromkeys(sums, 0.0)
    for cells in groups.values():
        rest = [list(c) for c in total]
        for evidence, (n, h) in cells.items():
            rest[nearest(evidence)][0] -= n
            rest[nearest(evidence)][1] -= h
        own = list(zip(KNOTS, fit(rest)))
        for evidence, (n, h) in cells.items():
            values = [base, evidence, said(table, evidence), said(own, evidence)]
            for key, p in zip(sums, values):
                sums[key] += square(p, n, h)
                if evidence > 0:
                    signal[key] += square(p, n, h)
    with_signal = sum(n for c in groups.values() for e, (n, _) in c.items() if e > 0)
    bins = {}
    for where, cells in groups.items():
        for evidence, (n, h) in cells.items():
            if evidence > 0:
                row = bins.setdefault(min(int(said(table, evidence) * 10), 9), [0, 0, 0.0, set()])
                row[0] += n
                row[1] += h
                row[2] += n * said(table, evidence)
                row[3].add(where)
    lines = ["# What the probability means", "",
             "How often a labelled cascade was under way or began within 60 s, on the labelled recordings of",
             "Binance. Made by `perf/backtest/reliability.py`; the table is in `src/engine/calibration.rs`.",
             "It differs from `foreshock backtest --calibrate`, which asks for the *peak* within 60 s.", "",
             f"{seconds} s, {hits} of them in a cascade (base rate {base:.4f}); {with_signal} s with a signal;",
             f"{len(groups)} episodes and hours.", "", "| | Brier, all seconds | skill | Brier, seconds with a signal |", "|---|---|---|---|"]
    for key, value in sums.items():
        lines.append(f"| {key} | {value / seconds:.6f} | {1 - value / sums['base rate']:+.3f} | {signal[key] / max(1, with_signal):.4f} |")
    lines += ["", "Reliability of the shipped table, seconds with a signal:", "",
              "| said | seconds | said, mean | came | episodes and hours |", "|---|---|---|---|---|"]
    for i in sorted(bins):
        n, h, p, where = bins[i]
        lines.append(f"| {i / 10:.1f} to {i / 10 + 0.1:.1f} | {n} | {p / n:.2f} | {h / n:.2f} | {len(where)} |")
    lines += ["", "Refitted on everything, at the knots:", "", "| evidence | " + " | ".join(map(str, KNOTS)) + " |",
              "|---" * (len(KNOTS) + 1) + "|", "| probability | " + " | ".join(f"{p:.2f}" for p in fit(total)) + " |", "",
              "The samples are small and each second of an episode is like the one before: the error of a row is",
              "that of its episodes, not of its seconds. Seconds of a cascade without a signal are the labels'",
              "first minutes (a label can begin 5 min early) and the lulls of slow flushes.", ""]
    (HERE / "calibration.md").write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    arguments = sys.argv[1:] + [str(HERE / "../../../shared/datasets"), str(HERE / "../../target/release/foreshock")][len(sys.argv) - 1:]
    main(*arguments)
