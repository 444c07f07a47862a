"""The background loop: it ticks, is woken, rests after failures, and never dies of one."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from taskyard.core.errors import Unavailable
from taskyard.loops.loop import MAX_REST, MAX_REST_AWAY, Loop
from taskyard.loops.supervisor import LATE, Supervisor
from taskyard.store.news import News

#: No test waits this long unless it fails.
LONG = 30
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
Begin = Callable[..., Loop]


class Ticks:
    """A tick that says what it is told to say, and on which a test can wait."""

    def __init__(self, *answers: timedelta | Exception | None) -> None:
        self._answers = list(answers)
        self._told = threading.Condition()
        self.count = 0

    def __call__(self) -> timedelta | None:
        with self._told:
            self.count += 1
            self._told.notify_all()
        answer = self._answers.pop(0) if self._answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wait(self, count: int) -> None:
        with self._told:
            assert self._told.wait_for(lambda: self.count >= count, LONG), f"{self.count} ticks, not {count}"


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Start loops that are stopped at the end."""
    loops: list[Loop] = []

    def begin(tick, **named) -> Loop:
        loop = Loop(
            "test", tick, now=lambda: NOW, jitter=lambda: 0.0, **{"rest": timedelta(milliseconds=1), **named}
        )
        loops.append(loop)
        loop.start()
        return loop

    yield begin
    for loop in loops:
        loop.stop()
        assert loop.join(timedelta(seconds=LONG))


def test_a_loop_ticks_as_soon_as_its_tick_wants_to(begin):
    ticks = Ticks(timedelta(0), timedelta(milliseconds=1), HOUR)
    begin(ticks)

    ticks.wait(3)
    assert ticks.count == 3


def test_a_wake_ends_the_wait(begin):
    ticks = Ticks(HOUR, None)
    loop = begin(ticks)
    ticks.wait(1)
    loop.wake()
    ticks.wait(2)
    loop.wake()
    ticks.wait(3)


def test_a_wake_during_a_tick_counts(begin):
    inside, go_on = threading.Event(), threading.Event()
    ticks = Ticks()

    def slow_tick() -> None:
        ticks()
        inside.set()
        assert go_on.wait(LONG)

    loop = begin(slow_tick)
    assert inside.wait(LONG)
    loop.wake()
    go_on.set()
    ticks.wait(2)


def test_news_of_its_topic_wakes_a_loop_and_other_news_does_not(begin):
    news, ticks = News(), Ticks()
    loop = begin(ticks, news=news, topic="due")
    ticks.wait(1)
    news.tell(frozenset({"feed", "ready:1:default"}))
    assert not loop._woken.is_set()
    news.tell(frozenset({"due"}))
    ticks.wait(2)


def test_a_loop_that_was_stopped_no_longer_hears_news():
    news, ticks = News(), Ticks()
    loop = Loop("test", ticks, now=lambda: NOW, jitter=lambda: 0.0, news=news, topic="due")
    loop.start()
    ticks.wait(1)
    loop.stop()
    assert loop.join(timedelta(seconds=LONG))
    news.tell(frozenset({"due"}))

    assert ticks.count == 1
    assert not loop.pulse().alive


@pytest.mark.parametrize("error", [RuntimeError("a fault of ours"), Unavailable("the disk is full")])
def test_a_loop_outlives_what_its_tick_raises_and_says_so_in_one_line(begin, error):
    ticks = Ticks(error, error, HOUR)
    with capture_logs() as lines:
        begin(ticks)
        ticks.wait(3)

    assert len(lines) == 2
    assert all(line["loop"] == "test" and str(error) in line["error"] for line in lines)
    assert {line["log_level"] for line in lines} == {"warning" if isinstance(error, Unavailable) else "error"}
    if not isinstance(error, Unavailable):
        assert "test_loops_loop.py:" in lines[0]["at"]


def test_each_failure_in_a_row_doubles_the_rest_and_a_tick_that_works_ends_the_row(begin):
    fault = RuntimeError("again")
    ticks = Ticks(fault, fault, fault, timedelta(0), fault, HOUR)
    with capture_logs() as lines:
        begin(ticks)
        ticks.wait(6)

    assert [line["again_in_s"] for line in lines] == [0.001, 0.002, 0.004, 0.001]


@pytest.mark.parametrize(
    ("error", "most"),
    [(Unavailable("it is away"), MAX_REST_AWAY), (RuntimeError("a fault of ours"), MAX_REST)],
)
def test_however_often_it_failed_a_loop_goes_on_soon_after_the_store_is_back(error, most):
    """The tasks of dead workers wait for the reaper, and /readyz for every loop."""
    loop = Loop("test", Ticks(), now=lambda: NOW, jitter=lambda: 0.0)
    loop.stop()  # so that it does not really rest
    with capture_logs() as lines:
        for _ in range(20):
            loop._failed(error)
    assert lines[-1]["again_in_s"] == most.total_seconds()


def test_news_does_not_make_a_failing_loop_try_again_at_once(begin):
    news = News()
    ticks = Ticks()

    def news_and_failure() -> None:
        ticks()
        news.tell(frozenset({"due"}))
        raise Unavailable("the disk is full")

    with capture_logs():
        loop = begin(news_and_failure, news=news, topic="due", rest=HOUR)
        ticks.wait(1)
        assert not loop.join(timedelta(milliseconds=20))  # time enough to try a thousand times
        assert ticks.count == 1

        # It rests for an hour, and still ends at once when asked to.
        loop.stop()
        assert loop.join(timedelta(seconds=LONG))


def test_a_loop_says_how_it_is(begin):
    ticks = Ticks(RuntimeError("first"), HOUR)
    with capture_logs():
        loop = begin(ticks, rest=timedelta(milliseconds=1))
        ticks.wait(2)
        loop.wake()
        ticks.wait(3)  # so the second tick is over

    pulse = loop.pulse()
    assert (pulse.name, pulse.alive, pulse.ticked_at, pulse.failures, pulse.error) == (
        "test",
        True,
        NOW,
        0,
        None,
    )


# -- the supervisor ----------------------------------------------------------------------------------------------------------


def test_a_supervisor_starts_and_stops_all_its_loops():
    ticks = [Ticks(), Ticks()]
    loops = [Loop(f"loop{n}", each, now=lambda: NOW, jitter=lambda: 0.0) for n, each in enumerate(ticks)]
    with Supervisor(loops, lambda: NOW) as supervisor:
        for each in ticks:
            each.wait(1)
        assert [pulse.name for pulse in supervisor.health()] == ["loop0", "loop1"]
        assert all(pulse.alive for pulse in supervisor.health())
        assert supervisor.healthy()

    assert not any(pulse.alive for pulse in supervisor.health())
    assert not supervisor.healthy()


def test_a_loop_that_fails_is_not_healthy(begin):
    ticks = Ticks(RuntimeError("no"), RuntimeError("no"))
    with capture_logs():
        loop = begin(ticks, rest=HOUR)
        ticks.wait(1)
        supervisor = Supervisor([loop], lambda: NOW)
        loop.stop()
        assert loop.join(timedelta(seconds=LONG))

    assert supervisor.health()[0].error == "RuntimeError: no"
    assert not supervisor.healthy()


def test_a_loop_stuck_in_a_tick_is_not_healthy(begin):
    now = [NOW]
    inside, go_on = threading.Event(), threading.Event()

    def stuck() -> None:
        inside.set()
        assert go_on.wait(LONG)

    supervisor = Supervisor([begin(stuck)], lambda: now[0])
    assert inside.wait(LONG)
    assert supervisor.healthy()
    now[0] += LATE + timedelta(seconds=1)
    assert not supervisor.healthy()
    go_on.set()
