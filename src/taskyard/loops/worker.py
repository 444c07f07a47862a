"""The worker: runs the tasks of a program's handlers, shift after shift, on an event loop of its own."""

import asyncio
import os
import platform
import threading
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, Final

import structlog

from taskyard.core.backoff import retry_delay
from taskyard.core.errors import Invalid
from taskyard.core.worker import LEASE
from taskyard.loops.bench import Bench
from taskyard.loops.capture import capturing
from taskyard.loops.desk import Desk
from taskyard.loops.handlers import Handlers
from taskyard.loops.shift import Shift
from taskyard.loops.switchboard import LOOPBACK

#: How many attempts run at once unless it is said.
SLOTS: Final = 20
#: sysexits.h EX_TEMPFAIL: try again. A supervisor that restarts a process does it for this one.
LOST_LEASE: Final = 75
#: How long it rests before the next shift after losing one, first and at most: what takes leases away may still be at it.
RESTART_AFTER: Final = timedelta(milliseconds=100)
MAX_RESTART_AFTER: Final = timedelta(seconds=10)

log = structlog.get_logger("taskyard.loops")


class Worker:
    """
    Args:
        desk: Where it gets its work.
        handlers: What it can do; its lanes are theirs.
        new_id: Makes a fresh UUID for each shift, so that a restart cannot pass for the dead.
        jitter: Returns a number in [0, 1): spreads beats and tries.
        slots: How many attempts run at once.
        name: What people see; this machine's and process's unless it is said.
        restart: Whether it begins a new shift when its lease was lost; else it ends, with exit code 75.
        until_idle: End when nothing is ready for it and nothing runs.
        reachable_at: The address of this machine at which the machines of executors reach it, where there are any.
    """

    def __init__(
        self,
        desk: Desk,
        handlers: Handlers,
        *,
        new_id: Callable[[], str],
        jitter: Callable[[], float],
        slots: int = SLOTS,
        name: str | None = None,
        lease: timedelta = LEASE,
        restart: bool = True,
        until_idle: bool = False,
        version: str = "",
        reachable_at: str = LOOPBACK,
    ) -> None:
        if slots < 1:
            raise Invalid(f"a worker needs at least one slot, not {slots}")
        if not len(handlers):
            raise Invalid("there is nothing a worker could do: declare a handler with @yard.task")
        self._desk = desk
        self._handlers = handlers
        self._new_id = new_id
        self._jitter = jitter
        self._slots = slots
        self._name = name or f"{platform.node()}:{os.getpid()}"
        self._lease = lease
        self._restart = restart
        self._until_idle = until_idle
        self._version = version
        self._reachable_at = reachable_at
        self._shift: Shift | None = None
        self._draining = False
        self._lock = threading.RLock()  # a signal may come while it is held
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._over = threading.Event()
        self.exit_code: int | None = None
        self.error: BaseException | None = None
        self.tasks_done = 0

    # -- run -------------------------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Work on this thread until drained; return the exit code: 0, or 75 when the lease was lost and it is not to restart."""
        loop = _new_loop()
        with self._lock:
            self._loop = loop
        try:
            with capturing():
                self.exit_code = _outlive_exits(loop, self._shifts())
            return self.exit_code
        except BaseException as error:
            self.error = error
            raise
        finally:
            with self._lock:
                self._loop = None
            _close(loop)
            self._over.set()
            self._ready.set()

    def start(self) -> None:
        """Work on a thread of its own; see :meth:`drain` and :meth:`join`."""
        self._thread = threading.Thread(target=self.run, name="worker", daemon=True)
        self._thread.start()

    def wait_ready(self, timeout: timedelta | None = None) -> bool:
        """Wait until it has registered; False when it did not in time, or ended before."""
        return self._ready.wait(_seconds(timeout)) and not self._over.is_set()

    def drain(self, grace: timedelta | None = None) -> None:
        """
        Claim no more, finish what runs, and end. What still runs after *grace* is given back untouched; None waits for it.
        From any thread, or a signal handler; a second call may shorten the grace.
        """
        self._draining = True
        with self._lock:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._drain, grace)

    def join(self, timeout: timedelta | None = None) -> bool:
        """Wait until it has ended; say whether it did in time."""
        return self._over.wait(_seconds(timeout))

    def _drain(self, grace: timedelta | None) -> None:
        if self._shift is not None:
            self._shift.drain()
            if grace is not None:
                assert self._loop is not None
                self._loop.call_later(grace.total_seconds(), self._shift.release)

    async def _shifts(self) -> int:
        losses = 0
        while not self._draining:
            bench = Bench(self._handlers, self._reachable_at)
            bench.start()
            shift = self._shift = Shift(
                self._desk,
                self._handlers,
                bench,
                id=self._new_id(),
                name=self._name,
                slots=self._slots,
                lease=self._lease,
                version=self._version,
                jitter=self._jitter,
                until_idle=self._until_idle,
            )
            try:
                await shift.work(ready=self._ready.set)
            finally:
                bench.close()
                self.tasks_done += shift.tasks_done
            if shift.lost is None:
                return 0
            if not self._restart:
                return LOST_LEASE
            losses += 1
            pause = retry_delay(losses, jitter=self._jitter, base=RESTART_AFTER, cap=MAX_RESTART_AFTER)
            await asyncio.sleep(pause.total_seconds())
        return 0


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _outlive_exits(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, int]) -> int:
    """
    Run *work* to its end. A loop stops when a coroutine that a handler started raises SystemExit; that ends the coroutine, not
    the worker.
    """
    asyncio.set_event_loop(loop)
    task = loop.create_task(work)
    while True:
        try:
            return loop.run_until_complete(task)
        except SystemExit as error:
            if task.done():
                raise
            log.warning("a handler's coroutine tried to exit the worker", code=error.code)


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Let go of the loop, without waiting for threads that handlers left behind."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=1))
    loop.run_until_complete(loop.shutdown_asyncgens())
    asyncio.set_event_loop(None)
    loop.close()


def _seconds(timeout: timedelta | None) -> float | None:
    return None if timeout is None else timeout.total_seconds()
