"""
The parts of a machine that the simulation owns: the store's writer thread, the event loop, the heartbeat's thread, the monotonic clock.

Each is the real one with its waiting taken out: the world says when it goes on.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from contextlib import contextmanager
from typing import Any, Final
from unittest.mock import patch

from taskyard.loops import heartbeat, shift, store_desk
from taskyard.loops.heartbeat import Heartbeat
from taskyard.store.news import News
from taskyard.store.records import Records
from taskyard.store.store import Store
from taskyard.store.writer import MOST_ITEMS, Writer, _Job
from tests.simulation.disk import Disk


class Promise(Future[Any]):
    """An answer to come. Who blocks for it lets the writer run until it is there, or gives up where the world is slow."""

    def __init__(self, writer: "SimulatedWriter") -> None:
        super().__init__()
        self._writer = writer

    def result(self, timeout: float | None = None) -> Any:
        if not self.done():
            if timeout is not None and self._writer.is_slow():
                raise TooLate
            while not self.done():
                self._writer.commit_some(MOST_ITEMS)
        return super().result(0)


class SimulatedWriter(Writer):
    """The writer of one process, without its thread."""

    def __init__(self, database: Disk, news: News, is_slow: Callable[[], bool]) -> None:
        self._database = database  # type: ignore[assignment]
        self._news = news
        self._failed = lambda _: None
        self._connection = None
        self._records = None
        self._broken = None
        self.is_slow = is_slow
        self.waiting: deque[_Job] = deque()

    def _put(self, job: _Job) -> "Future[Any]":
        job.future = Promise(self)
        self.waiting.append(job)
        return job.future

    def _takes_turn(self) -> bool:
        return False

    def commit_some(self, most: int) -> None:
        """Let up to *most* of what waits share a commit."""
        batch: list[_Job] = []
        size = 0
        while self.waiting and size < most:
            job = self.waiting.popleft()
            if job.future.set_running_or_notify_cancel():
                batch.append(job)
                size += len(job.items) or 1
        if batch:
            self._commit(batch)

    def close(self) -> None: ...


class SimulatedStore(Store):
    """The store of one process, without its threads: reads that are not waited for wait themselves."""

    def __init__(self, disk: Disk, is_slow: Callable[[], bool]) -> None:
        self.database = disk  # type: ignore[assignment]
        self.news = News()
        self.writer = self._writer = SimulatedWriter(disk, self.news, is_slow)
        self.reads: deque[tuple[Any, Future[Any]]] = deque()
        self._reader = Records(disk.connection)

    def read(self, work: Callable[[Records], Any]) -> Any:
        self._reader.begin()
        with self._reader.connection.snapshot():
            return work(self._reader)

    def read_soon(self, work: Callable[[Records], Any]) -> "Future[Any]":
        future: Future[Any] = Future()
        self.reads.append((work, future))
        return future

    def read_next(self) -> None:
        work, future = self.reads.popleft()
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(self.read(work))
        except Exception as error:
            future.set_exception(error)

    def close(self) -> None: ...


class _NothingToSelect:
    def select(self, _timeout: float | None) -> list[Any]:
        return []


class SimulatedEventLoop(asyncio.BaseEventLoop):
    """An event loop that runs when told to, by a clock that is set."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._selector = _NothingToSelect()
        self._clock = clock

    def time(self) -> float:
        return self._clock()

    def _process_events(self, events: Any) -> None: ...

    def _write_to_self(self) -> None: ...

    def call_exception_handler(self, context: dict[str, Any]) -> None: ...

    @property
    def next_timer(self) -> float | None:
        """When there is something to do: now, later, or never."""
        if self._ready:  # type: ignore[attr-defined]
            return self.time()
        timers = self._scheduled  # type: ignore[attr-defined]
        return timers[0].when() if timers else None

    def turn(self, rounds: int) -> None:
        """Run what is ready, and what that makes ready, up to so many times."""
        asyncio._set_running_loop(self)
        try:
            for _ in range(rounds):
                self._run_once()  # type: ignore[attr-defined]
                if not self._ready:  # type: ignore[attr-defined]
                    return
        finally:
            asyncio._set_running_loop(None)

    def die(self) -> None:
        """End as a killed process does: nothing that was under way goes on."""
        for task in asyncio.all_tasks(self):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            coroutine: Any = task.get_coro()
            asyncio._set_running_loop(self)
            try:
                coroutine.close()
            except BaseException:
                continue  # it is dead, whatever it would have said
            finally:
                asyncio._set_running_loop(None)
        self.close()


class SimulatedHeartbeat(Heartbeat):
    """The heartbeat without its thread: :attr:`beats_at` says when it wants its turn."""

    #: Told of each that starts; the world sets it.
    started: Callable[["SimulatedHeartbeat"], None] = lambda _: None

    def start(self) -> None:
        self.beats_at: float | None = _clock() + self.interval()
        type(self).started(self)

    def wake(self) -> None:
        if self.beats_at is not None:
            self.beats_at = _clock()

    def beat_once(self) -> None:
        wait = self.turn()
        self.beats_at = None if wait is None else _clock() + max(0.0, wait)

    def end(self) -> None:
        super().end()
        self.beats_at = None


_clock: Callable[[], float] = time.monotonic


class _Time:
    """What stands for the module ``time`` where workers ask for the monotonic clock."""

    @staticmethod
    def monotonic() -> float:
        return _clock()


def set_clock(clock: Callable[[], float]) -> None:
    global _clock
    _clock = clock


PATCHES: Final = (
    (shift, "Heartbeat", SimulatedHeartbeat),
    (shift, "time", _Time),
    (store_desk, "time", _Time),
    (heartbeat, "time", _Time),
)


@contextmanager
def simulated_machine() -> Iterator[None]:
    """Within: workers take the simulation's clock and heartbeat."""
    patches = [patch.object(module, name, new) for module, name, new in PATCHES]
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in patches:
            each.stop()
        set_clock(time.monotonic)
