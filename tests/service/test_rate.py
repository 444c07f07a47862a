"""Rate limits: in no window of the period do more start than the limit says, and what may start does so soon."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from taskyard.core.outcome import Done, Released
from taskyard.core.queue import QueueSettings, RateLimit
from taskyard.service.claims import rate_opens_at
from taskyard.service.rate import BUCKETS, opens_at, starts_left, with_starts

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@given(
    count=st.integers(1, 20),
    period=st.timedeltas(timedelta(microseconds=1), timedelta(days=1)),
    waits=st.lists(st.floats(0, 1.2), max_size=60),
    wanted=st.lists(st.integers(0, 30), min_size=60, max_size=60),
)
def test_in_no_window_of_the_period_do_more_start_than_the_limit_says(count, period, waits, wanted):
    rate = RateLimit(count=count, period=period)
    log, now, starts = [], START, []
    for wait, want in zip(waits, wanted, strict=False):
        now += period * wait
        start = min(want, starts_left(log, rate, now))
        if start:
            log = with_starts(log, start, rate, now)
            starts += [now] * start

    for begin in starts:  # a window is worst when it begins with a start
        assert sum(begin <= each < begin + period for each in starts) <= count
    assert len(log) <= BUCKETS + 2


def test_a_start_counts_to_the_very_end_of_its_window():
    """Wherever in its bucket it was made, and however near to the bucket's end the window closes."""
    rate = RateLimit(count=1, period=timedelta(minutes=1))
    for sixtieth in range(60):
        began = START + sixtieth * timedelta(seconds=1) / 60 + timedelta(milliseconds=999, microseconds=999)
        log = with_starts([], 1, rate, began)
        for before_end in (timedelta(microseconds=1), timedelta(milliseconds=500), timedelta(seconds=1)):
            assert starts_left(log, rate, began + rate.period - before_end) == 0


@given(count=st.integers(1, 5), waits=st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_a_closed_window_opens_when_it_says_and_at_most_a_bucket_late(count, waits):
    rate = RateLimit(count=count, period=timedelta(minutes=1))
    log, now, starts = [], START, []
    for wait in waits:
        now += rate.period * wait
        opens = opens_at(log, rate, now)
        if opens is None:
            assert starts_left(log, rate, now) > 0
            log = with_starts(log, 1, rate, now)
            starts.append(now)
            continue
        assert starts_left(log, rate, now) == 0
        assert starts_left(log, rate, opens) > 0
        exact = sorted(starts)[-count] + rate.period
        assert exact <= opens <= exact + rate.period / BUCKETS + timedelta(microseconds=1)


def limited(yard, **limits):
    yard.write(lambda r: r.queues.insert(yard.organisation, "calls", QueueSettings(**limits), r.now))
    for _ in range(10):
        yard.submit(queue="calls")
    return yard.worker(queue="calls", lease=timedelta(days=1))


def test_a_queue_starts_no_more_than_its_rate(yard):
    worker = limited(yard, rate=RateLimit(count=3, period=timedelta(minutes=1)))

    assert len(worker.claim(10)) == 3
    yard.clock.forward(seconds=30)
    assert worker.claim(10) == []

    queue = yard.read(lambda r: r.queues.get(yard.organisation, "calls"))
    opens = yard.read(rate_opens_at, queue)
    yard.clock.now = opens - timedelta(microseconds=1)
    assert worker.claim(10) == []
    yard.clock.now = opens
    assert len(worker.claim(10)) == 3


def test_every_start_counts_the_second_try_too(yard):
    worker = limited(yard, rate=RateLimit(count=2, period=timedelta(minutes=1)))
    [first] = worker.claim(1)
    yard.settle(first, Released())

    assert len(worker.claim(10)) == 1


def test_people_share_the_rate_with_workers(yard):
    worker = limited(yard, rate=RateLimit(count=2, period=timedelta(minutes=1)))
    assert yard.write(yard.services.work.claim_next, yard.actor, "calls") is not None

    assert len(worker.claim(10)) == 1
    assert yard.write(yard.services.work.claim_next, yard.actor, "calls") is None


def test_a_start_that_the_number_at_once_forbids_is_not_counted(yard):
    worker = limited(yard, concurrency=1, rate=RateLimit(count=2, period=timedelta(minutes=1)))
    [first] = worker.claim(10)
    assert worker.claim(10) == []
    yard.settle(first, Done())

    assert len(worker.claim(10)) == 1
