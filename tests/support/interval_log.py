"""Reads an interval log with the Python port of HdrHistogram, and tells each stage as a line of JSON.

A percentile p of n values is the smallest that at least p % of them do not exceed, the ceil(p * n / 100)th,
as HdrHistogram's own implementation has it. The port rounds to the nearest instead, so that its
percentiles may be one value off: they are found here in its buckets.
"""

import json
import math
import sys

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader


def blank():
    return HdrHistogram(1, 60 * 10**9, 3)


def value_at(stage, percentile):
    wanted = math.ceil(percentile * stage.get_total_count() / 100)
    buckets = stage.get_recorded_iterator()
    return next(b.value_iterated_to for b in buckets if b.total_count_to_this_value >= wanted)


stages = {}
log = HistogramLogReader(sys.argv[1], blank())
while (interval := log.get_next_interval_histogram()) is not None:
    stages.setdefault(interval.get_tag(), blank()).add(interval)
for name, stage in stages.items():
    told = {"name": name, "count": stage.get_total_count(), "max": stage.get_max_value()}
    for key, percentile in (("p50", 50), ("p90", 90), ("p99", 99), ("p99_9", 99.9)):
        told[key] = value_at(stage, percentile)
    print(json.dumps(told))
