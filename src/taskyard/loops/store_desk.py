"""The desk of a worker that has the store in its own process."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as TooLate
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from taskyard.core.actor import Actor
from taskyard.core.errors import LeaseLost, NotFound, Unavailable
from taskyard.core.hold import Hold, Report, Settlement, Stop
from taskyard.core.outcome import Released
from taskyard.core.task import Json, NewTask, Task
from taskyard.core.worker import Lane
from taskyard.service.claims import rate_opens_at
from taskyard.service.services import Services
from taskyard.store.records import Records
from taskyard.store.store import Store
from taskyard.store.tasks import TaskFilter

Answer = TypeVar("Answer")


class StoreDesk:
    """
    One per worker; see :class:`taskyard.loops.desk.Desk`.

    Args:
        actor: Whom the worker acts for: its organisation, and what its handlers may submit.
    """

    def __init__(self, store: Store, services: Services, actor: Actor) -> None:
        self._store = store
        self._services = services
        self._actor = actor
        self._lanes: tuple[Lane, ...] = ()
        self._news: _News | None = None
        self._claimed_at: datetime | None = None
        #: The attempts that this desk gave out and whose end it has not been told, by the numbers of their tasks.
        self._given: dict[int, int] = {}
        self._in_doubt = False

    async def register(
        self, worker: str, *, name: str, lanes: Sequence[Lane], slots: int, lease: timedelta, version: str
    ) -> None:
        self._lanes = tuple(lanes)
        self._given.clear()
        self._in_doubt = False
        self._close_news()
        self._news = _News(self._store, self._actor.organisation, sorted({lane.queue for lane in lanes}))
        await self._write(
            lambda records: self._services.work.register(
                records,
                self._actor,
                id=worker,
                name=name,
                lanes=lanes,
                slots=slots,
                lease=lease,
                version=version,
            )
        )

    def beat(self, worker: str, *, lease: timedelta, draining: bool, timeout: timedelta) -> list[Stop]:
        beat = self._store.write_soon(
            lambda records: self._services.work.beat(
                records, self._actor, worker, lease=lease, claimed_at=self._claimed_at, draining=draining
            )
        )
        try:
            return [Stop(number, claims) for _, number, claims in beat.result(timeout.total_seconds())]
        except TooLate:
            raise Unavailable("the store has not answered in time") from None

    def listen(self, worker: str, stop: Callable[[], None]) -> Callable[[], None]:
        return self._store.news.subscribe(f"stop:worker:{worker}", stop)

    async def acquire(self, worker: str, limit: int, wait: timedelta) -> list[Task]:
        assert self._news is not None
        until = time.monotonic() + wait.total_seconds()
        opens_in: float | None = None
        look = not (self._news.nothing_new and wait)
        while True:
            if look:
                self._news.clear()  # before the claim, so that news during it counts
                tasks, opens_in = await self._claim(worker, limit)
                # All there was: what comes after is news. Where a limit holds something back, its opening is no news.
                self._news.nothing_new = len(tasks) < limit and opens_in is None
                if tasks:
                    return tasks
            left = until - time.monotonic()
            if left <= 0:
                return []
            woken = await self._news.wait(left if opens_in is None else min(left, opens_in))
            look = woken or opens_in is not None or await self._any_ready()

    async def _any_ready(self) -> bool:
        """Say whether there is anything ready at all: one cheap question, for when no news has come for a while."""
        queues = sorted({lane.queue for lane in self._lanes})
        return await asyncio.wrap_future(
            self._store.read_soon(lambda records: records.work.any_ready(self._actor.organisation, queues))
        )

    async def _claim(self, worker: str, limit: int) -> tuple[list[Task], float | None]:
        known = frozenset(self._given.items()) if self._in_doubt else None
        claim = asyncio.wrap_future(self._store.write_soon(partial(self._claimed, worker, limit, known)))
        try:
            tasks, opens_in = await asyncio.shield(claim)
        except asyncio.CancelledError:
            claim.add_done_callback(self._give_back)
            raise
        except Unavailable:
            self._in_doubt = True  # its answer may be all that was lost
            raise
        self._in_doubt = False
        self._given.update((task.number, task.claims) for task in tasks)
        return tasks, opens_in

    def _claimed(
        self, worker: str, limit: int, known: frozenset[tuple[int, int]] | None, records: Records
    ) -> tuple[list[Task], float | None]:
        if known is not None:
            missed = self._services.work.unheard(records, self._actor, worker, known)
            if missed:
                return missed, None  # no more than there was room for then, and there is as much now
        tasks, queues = self._services.work.claim_with_queues(
            records, self._actor, worker, self._lanes, limit
        )
        if tasks:
            self._claimed_at = tasks[0].attempted_at
        if len(tasks) == limit:
            return tasks, None
        for queue in queues.values():
            if queue.settings.concurrency is not None and self._news is not None:
                self._news.mind_room(queue.name)
        openings = [at for queue in queues.values() if (at := rate_opens_at(records, queue)) is not None]
        return tasks, max(0.0, (min(openings) - records.now).total_seconds()) if openings else None

    def _give_back(self, claim: "asyncio.Future[tuple[list[Task], float | None]]") -> None:
        if not claim.cancelled() and claim.exception() is None:
            tasks, _ = claim.result()
            if tasks:
                released = [Settlement(Hold.of(task), Released()) for task in tasks]
                self._store.together_soon(self._services.work.settle, released)

    async def settle(self, settlements: Sequence[Settlement]) -> list[Task | Exception | None]:
        answers = await asyncio.wrap_future(
            self._store.together_soon(self._services.work.settle, settlements)
        )
        for settlement, answer in zip(settlements, answers, strict=True):
            hold = settlement.hold
            is_over = isinstance(answer, LeaseLost) or not isinstance(answer, Exception)
            if is_over and self._given.get(hold.number) == hold.claims:
                del self._given[hold.number]
        return [answer if isinstance(answer, Exception) else None for answer in answers]

    async def report(self, reports: Sequence[Report]) -> None:
        await asyncio.wrap_future(self._store.together_soon(self._services.work.report, reports))

    async def steps(self, hold: Hold) -> dict[str, Json]:
        steps = await self._write(lambda records: self._services.work.steps(records, hold))
        return {step.name: step.output for step in steps}

    async def step(self, hold: Hold, name: str, output: Json) -> Json:
        step = await self._write(lambda records: self._services.work.finish_step(records, hold, name, output))
        return step.output

    async def publish(self, hold: Hold, name: str, value: Json) -> str:
        return await self._write(lambda records: self._services.work.publish(records, hold, name, value))

    async def spawn(self, hold: Hold, step: str, news: Sequence[NewTask]) -> list[str]:
        return await self._write(
            lambda records: self._services.work.spawn(records, self._actor, hold, step, news)
        )

    async def look(self, hold: Hold, ids: Sequence[str]) -> list[Task]:
        if not ids:
            return []
        wanted = TaskFilter(ids=tuple(ids))
        found = await asyncio.wrap_future(
            self._store.read_soon(
                lambda records: self._services.tasks.search(records, self._actor, wanted, limit=len(ids))
            )
        )
        by_id = {task.id: task for task in found}
        for id in ids:
            if id not in by_id:
                raise NotFound("task", id)
        return [by_id[id] for id in ids]

    async def log(self, hold: Hold, text: str) -> None:
        await self._write(lambda records: self._services.work.save_log(records, hold, text))

    async def leave(self, worker: str) -> None:
        self._close_news()
        await self._write(lambda records: self._services.work.leave(records, self._actor, worker))

    async def _write(self, work: Callable[[Records], Answer]) -> Answer:
        return await asyncio.wrap_future(self._store.write_soon(work))

    def _close_news(self) -> None:
        news, self._news = self._news, None
        if news is not None:
            news.close()


class _News:
    """What was heard of a worker's queues since it last looked."""

    def __init__(self, store: Store, organisation: int, queues: Sequence[str]) -> None:
        self.nothing_new = False
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._heard = False
        self._store = store
        self._organisation = organisation
        self._limited: set[str] = set()
        self._ends = [store.news.subscribe(f"ready:{organisation}:{queue}", self._hear) for queue in queues]

    def mind_room(self, queue: str) -> None:
        """Hear also of what leaves *queue*: one that bounds how much of it runs has room for another then."""
        if queue not in self._limited:
            self._limited.add(queue)
            self._ends.append(self._store.news.subscribe(f"left:{self._organisation}:{queue}", self._hear))

    def _hear(self) -> None:  # on the thread that wrote
        if not self._heard:
            self._heard = True
            try:
                self._loop.call_soon_threadsafe(self._wake)
            except RuntimeError:
                return  # the worker has gone

    def _wake(self) -> None:
        self.nothing_new = False
        self._event.set()

    def clear(self) -> None:
        self._heard = False
        self._event.clear()

    async def wait(self, seconds: float) -> bool:
        """Wait for news; say whether some came."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                return await self._event.wait()
        except TimeoutError:
            return False

    def close(self) -> None:
        for end in self._ends:
            end()
