"""One shift of a worker: from registering under a fresh id, through claiming, running and settling, to leaving."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final, TypeVar

import structlog

from taskyard.core.errors import Conflict, LeaseLost, TaskyardError, Unavailable
from taskyard.core.hold import Settlement, Stop
from taskyard.core.outcome import Outcome, Released
from taskyard.core.task import Task
from taskyard.loops.attempt import Attempt, Why
from taskyard.loops.bench import Bench
from taskyard.loops.desk import Desk
from taskyard.loops.handlers import Handlers
from taskyard.loops.heartbeat import Heartbeat
from taskyard.loops.settler import Settler, pause

Got = TypeVar("Got")

#: How long one wait for work lasts; news ends it earlier, so this is the pace of an idle worker that hears none.
WAIT: Final = timedelta(seconds=5)
#: Progress and log of a running attempt are told this often at most.
REPORT_EVERY: Final = timedelta(milliseconds=250)

log = structlog.get_logger("taskyard.loops")


class Shift:
    """
    Everything on the worker's loop, unless it says otherwise. A shift works once.

    Args:
        id: A fresh UUID: the store knows the worker of this shift by it.
        slots: How many attempts run at once.
        until_idle: End when nothing is ready for it and nothing runs, rather than wait for more.
    """

    def __init__(
        self,
        desk: Desk,
        handlers: Handlers,
        bench: Bench,
        *,
        id: str,
        name: str,
        slots: int,
        lease: timedelta,
        version: str,
        jitter: Callable[[], float],
        until_idle: bool = False,
    ) -> None:
        self.id = id
        self.desk = desk
        self.handlers = handlers
        self.jitter = jitter
        self.lost: str | None = None
        self._bench = bench
        self._name = name
        self._slots = slots
        self._lease = lease
        self._version = version
        self._until_idle = until_idle
        self._loop = asyncio.get_running_loop()
        self._attempts: dict[tuple[int, int], Attempt] = {}
        self._noted: list[Attempt] = []
        self._draining = False
        self._changed = asyncio.Event()  # an attempt ended, was settled, or the shift is to end
        self._to_tell = asyncio.Event()
        self._settler = Settler(desk, jitter, lose=self.lose, changed=self._changed.set)
        self._claiming: asyncio.Task[list[Task]] | None = None
        self._heartbeat: Heartbeat | None = None

    # -- its course ------------------------------------------------------------------------------------------------------------

    async def work(self, *, ready: Callable[[], None] = lambda: None) -> None:
        """Register, work until drained, idle or lost, and leave. *ready* is called once registered."""
        if not await self._register():
            return
        ready()
        stop_listening = self.desk.listen(self.id, self._wake_heart)
        helpers = [self._loop.create_task(self._settler.run()), self._loop.create_task(self._tell_noted())]
        for helper in helpers:
            helper.add_done_callback(self._helper_ended)
        try:
            await self._claim_and_run()
            while not self._is_idle() and self.lost is None:
                self._changed.clear()
                await self._changed.wait()
        finally:
            for helper in helpers:
                helper.cancel()
            stop_listening()
            if self._heartbeat is not None:
                self._heartbeat.end()
        if self.lost is None:
            await self._leave()

    @property
    def tasks_done(self) -> int:
        return self._settler.done

    def drain(self) -> None:
        """Claim no more; the shift ends, and its lease is kept, when what runs has ended."""
        self._draining = True
        self._changed.set()
        if self._claiming is not None:
            self._claiming.cancel()

    def release(self) -> None:
        """Drain, and give back untouched what still runs."""
        self.drain()
        for attempt in list(self._attempts.values()):
            self._bench.stop(attempt, Why.RELEASED)

    def lose(self, why: str) -> None:
        """Drop everything: another may have it by now, and nothing more of it will be accepted."""
        if self.lost is not None:
            return
        self.lost = why
        log.error(
            "the worker lost its lease and drops what it ran",
            worker=self.id,
            why=why,
            tasks=len(self._attempts),
        )
        self.drain()
        for attempt in list(self._attempts.values()):
            self._bench.stop(attempt, Why.LOST)
        self._settler.drop()

    def _helper_ended(self, helper: "asyncio.Task[None]") -> None:
        # They go on for as long as the shift does. Without one of them nothing would be settled: better to start anew.
        if not helper.cancelled() and (error := helper.exception()) is not None:
            log.error("a part of the worker failed", error=f"{type(error).__name__}: {error}", exc_info=error)
            self.lose("a part of the worker failed")

    async def _register(self) -> bool:
        tries = 0
        asked: float | None = None
        while not self._draining:
            began = time.monotonic()
            try:
                await self.desk.register(
                    self.id,
                    name=self._name,
                    lanes=self.handlers.lanes(),
                    slots=self._slots,
                    lease=self._lease,
                    version=self._version,
                )
            except Unavailable as error:
                tries += 1
                asked = began if asked is None else asked
                log.warning("the worker cannot register", error=str(error), tries=tries)
                await pause(tries, self.jitter)
                continue
            except Conflict:
                if asked is None:
                    raise
                began = asked  # it is known already: all that was lost then was the answer
            self._heartbeat = Heartbeat(
                lambda timeout: self.desk.beat(
                    self.id, lease=self._lease, draining=self._draining, timeout=timeout
                ),
                self._lease,
                began,
                stop=lambda stops: self._on_loop(self._stop, stops),
                lost=lambda why: self._on_loop(self.lose, why),
                jitter=self.jitter,
            )
            self._heartbeat.start()
            return True
        return False

    async def _leave(self) -> None:
        try:
            await self.desk.leave(self.id)
        except TaskyardError as error:
            log.warning(
                "the worker could not leave; its lease will run out", worker=self.id, error=str(error)
            )

    # -- claim and run ---------------------------------------------------------------------------------------------------------

    async def _claim_and_run(self) -> None:
        tries = 0
        while not self._draining:
            room = self._room()
            if room <= 0:
                self._changed.clear()
                await self._changed.wait()
                continue
            try:
                tasks = await self._claim(room)
            except LeaseLost as error:
                self.lose(str(error))
                return
            except Exception as error:
                tries += 1
                log.warning("the worker cannot claim", error=f"{type(error).__name__}: {error}", tries=tries)
                await pause(tries, self.jitter)
                continue
            tries = 0
            for task in tasks:
                self._begin(task)
            if not tasks and self._until_idle:
                if self._is_idle():
                    return
                self._changed.clear()
                await self._changed.wait()

    async def _claim(self, room: int) -> list[Task]:
        wait = timedelta(0) if self._until_idle else WAIT
        self._claiming = self._loop.create_task(self.desk.acquire(self.id, room, wait))
        try:
            return await self._claiming
        except asyncio.CancelledError:
            if self._draining:
                return []
            raise
        finally:
            self._claiming = None

    def _room(self) -> int:
        # What has ended but is not settled counts too once there is much of it: else a desk that is away would be claimed empty.
        return self._slots - len(self._attempts) - max(0, self._settler.waiting - self._slots)

    def _is_idle(self) -> bool:
        return not self._attempts and not self._settler.waiting

    def _begin(self, task: Task) -> None:
        handler = self.handlers.get(task.type)
        assert handler is not None, "what is claimed is of the worker's own lanes"
        attempt = Attempt(task, handler, self)
        if self._draining:  # claimed just before
            self._settler.put(Settlement(attempt.hold, Released()))
            return
        self._attempts[task.number, task.claims] = attempt
        self._bench.begin(attempt)

    def _stop(self, stops: Sequence[Stop]) -> None:
        for stop in stops:
            attempt = self._attempts.get((stop.number, stop.claims))
            if attempt is not None:
                self._bench.stop(attempt, Why.CANCELED)

    # -- what attempts say ----------------------------------------------------------------------------------------------------------------

    def ended(self, attempt: Attempt, outcome: Outcome) -> None:
        del self._attempts[attempt.task.number, attempt.task.claims]
        self._changed.set()
        if self.lost is None:
            self._settler.put(Settlement(attempt.hold, outcome, attempt.log_text()), attempt.take_report())

    def noted(self, attempt: Attempt) -> None:
        self._on_loop(self._note, attempt)

    def _note(self, attempt: Attempt) -> None:
        if not attempt.over:
            self._noted.append(attempt)
            self._to_tell.set()

    async def _tell_noted(self) -> None:
        """Tell the desk what running attempts say: at once when it has been quiet, else gathered."""
        while True:
            await self._to_tell.wait()
            self._to_tell.clear()
            noted, self._noted = dict.fromkeys(self._noted), []
            try:
                await self._tell([attempt for attempt in noted if not attempt.over])
            except Exception as error:  # what is lost here is only how far it was: its end will be told
                log.warning("the worker cannot report", error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(REPORT_EVERY.total_seconds())

    async def _tell(self, attempts: Sequence[Attempt]) -> None:
        reports = [report for attempt in attempts if (report := attempt.take_report()) is not None]
        if reports:
            await self.desk.report(reports)
        for attempt in attempts:
            if attempt.logged and not attempt.over:
                text = attempt.log_text()
                assert text is not None
                await self.desk.log(attempt.hold, text)

    # -- between threads -------------------------------------------------------------------------------------------------------

    def _wake_heart(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.wake()

    def _on_loop(self, call: Callable[..., None], *args: object) -> None:
        """Call from any thread; dropped when the loop is gone."""
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            return
