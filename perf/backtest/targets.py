#!/usr/bin/env python3
"""Holds what `foreshock backtest --format json` says against the targets; prints a table."""
import json
import sys

OWN, MONEY = "foreshock MARKET", "(a) >1M USD/10s"
SQUEEZE, FIRST_MS = "binance_allsym_2025-10-22_24", 1_761_309_005_141
AGGREGATED = "binance_buckets30k_2023-01"


def alarm(cascade, detector):
    return next(a["alarm"] for a in cascade["alarms"] if a["detector"] == detector)


def rows(report):
    cascades = [(r["name"], c) for r in report["recordings"] for c in r["cascades"]]
    events = ("binance_allsym", "binance_btcusdt")
    fast = [alarm(c, OWN) for n, c in cascades if n.startswith(events) and c["kind"] == "fast"]
    in_time = sum(1 for a in fast if a and a["lead_s"]["peak"] > 0)
    yield "fast cascades of Binance, before the peak", f"{in_time} of {len(fast)}", "all", in_time == len(fast)

    squeeze = next((c for n, c in cascades if n == SQUEEZE), None)
    if squeeze:
        own, money = alarm(squeeze, OWN), alarm(squeeze, MONEY)
        after = (own["at_ms"] - FIRST_MS) / 1e3 if own else None
        said = "no alarm" if after is None else f"{after:+.3f} s"
        yield "squeeze of October 2025, after the first liquidation", said, "<= 0.5 s", after is not None and after <= 0.5
        ahead = (money["at_ms"] - own["at_ms"]) / 1e3 if own and money else None
        said = "-" if ahead is None else f"{ahead:.3f} s"
        yield "the same, ahead of rule (a)", said, ">= 5 s", ahead is not None and ahead >= 5

    episodes = [alarm(c, OWN) for n, c in cascades if n == AGGREGATED]
    hit = sum(1 for a in episodes if a)
    yield "episodes of the aggregated set of 2023", f"{hit} of {len(episodes)}", ">= 9", hit >= 9

    everything = {d["detector"]: d for d in report["all"]}
    own = everything[OWN]
    negatives, quiet = own["negatives_alarmed"], own["quiet_alarms_per_24h"]
    yield "hard negatives alarmed", f"{negatives} of {own['negatives']}", "0", negatives == 0
    said = "-" if quiet is None else f"{own['quiet_alarms']}, {quiet:.2f} per 24 h"
    yield "alarms in quiet time", said, "<= 1 per 24 h", quiet is not None and quiet <= 1

    hits = lambda d: d["fast_in_time"] + d["slow_in_time"]
    known = own["fast"] + own["slow"]
    for rule in report["at_no_more_false_alarms"]:
        what = f"in time, beside {rule['detector']} (no more false alarms)"
        yield what, f"{hits(own)} to {hits(rule)} of {known}", "more", hits(own) > hits(rule)


def main(path):
    with open(path, encoding="utf-8") as file:
        report = json.load(file)
    print("| target | measured | wanted | |")
    print("|---|---|---|---|")
    for what, measured, wanted, met in rows(report):
        print(f"| {what} | {measured} | {wanted} | {'met' if met else '**not met**'} |")


if __name__ == "__main__":
    main(sys.argv[1])
