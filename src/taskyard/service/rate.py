"""
Rate limits: at most ``count`` starts in any window of ``period``.

The log of starts holds counts by small buckets, ``[[end of the bucket in µs, starts], …]``. A start leaves the window only
when the whole of its bucket has: the limit is never exceeded, at the price of opening up to a bucket late.
"""

from datetime import datetime, timedelta
from typing import Final

from taskyard.core.queue import RateLimit
from taskyard.core.times import from_micros, span_micros, to_micros

#: The finer the buckets, the less late a window opens; sixty keep the log a few hundred bytes.
BUCKETS: Final = 60

Log = list[list[int]]


def starts_left(log: Log, rate: RateLimit, now: datetime) -> int:
    """Return how many may start now."""
    return max(0, rate.count - sum(starts for _, starts in _kept(log, rate, now)))


def with_starts(log: Log, starts: int, rate: RateLimit, now: datetime) -> Log:
    """Return *log* with *starts* more at *now*."""
    width = max(1, span_micros(rate.period) // BUCKETS)
    end = (to_micros(now) // width + 1) * width
    kept = _kept(log, rate, now)
    if kept and kept[-1][0] == end:
        return [*kept[:-1], [end, kept[-1][1] + starts]]
    return [*kept, [end, starts]]


def opens_at(log: Log, rate: RateLimit, now: datetime) -> datetime | None:
    """Return when the next may start; None when it may now."""
    kept = _kept(log, rate, now)
    over = sum(starts for _, starts in kept) - rate.count + 1
    if over <= 0:
        return None
    for end, starts in kept:
        over -= starts
        if over <= 0:
            return from_micros(end + span_micros(rate.period)) + timedelta(microseconds=1)
    return None  # count is 0: nothing ever opens, and the queue's settings refuse that


def _kept(log: Log, rate: RateLimit, now: datetime) -> Log:
    oldest = to_micros(now) - span_micros(rate.period)
    return [bucket for bucket in log if bucket[0] >= oldest]
