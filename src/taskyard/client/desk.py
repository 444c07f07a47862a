"""The desk of a worker on another machine: what it asks of the server goes over HTTP, and needs a URL and a key, no more."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

from taskyard.client.errors import Unreachable
from taskyard.client.faces import AsyncClient, Client
from taskyard.client.leases import LeaseCalls
from taskyard.client.wire import task_of_raw
from taskyard.core.errors import TaskyardError, Unavailable
from taskyard.core.hold import Hold, Report, Settlement, Stop
from taskyard.core.limits import MAX_BATCH
from taskyard.core.outcome import Released
from taskyard.core.task import Json, NewTask, Task
from taskyard.core.worker import Lane

#: The worker itself asks again while its lease stands, so one call does not wait for a server that is away.
AT_ONCE: Final = timedelta(0)
#: What is heard of the feed comes sooner than a beat; without it all goes on.
FOR_GOOD: Final = timedelta(days=365)
#: Fewer tasks than this are looked at one by one.
FEW: Final = 5
#: As many at a time as the server shows with their outputs.
LOOK_PAGE: Final = 100


class _Beats(LeaseCalls, Client):
    """The worker's heart beats on a thread of its own, over a connection of its own."""


class _Asks(LeaseCalls, AsyncClient):
    """Everything else is asked on the worker's event loop."""


class HttpDesk:
    """
    The desk (see :class:`taskyard.loops.desk.Desk`) of a server at *url*, under a *key* that may ``tasks:work``.

    To be used from one event loop, by one worker.
    """

    def __init__(self, url: str, key: str | None) -> None:
        self._beats = _Beats(url, key, patience=AT_ONCE)
        self._asks = _Asks(url, key, patience=AT_ONCE)
        self._hears = AsyncClient(url, key, patience=FOR_GOOD)
        self._lanes: tuple[Lane, ...] = ()
        self._unanswered: tuple[str, int, timedelta] | None = None
        self._kept: set[asyncio.Task[Any]] = set()

    async def register(
        self, worker: str, *, name: str, lanes: Sequence[Lane], slots: int, lease: timedelta, version: str
    ) -> None:
        self._lanes, self._unanswered = tuple(lanes), None
        await self._asks.register(worker, name=name, lanes=lanes, slots=slots, lease=lease, version=version)

    def beat(self, worker: str, *, lease: timedelta, draining: bool, timeout: timedelta) -> list[Stop]:
        return self._beats.beat(worker, lease=lease, draining=draining, within=timeout)

    def listen(self, worker: str, stop: Callable[[], None]) -> Callable[[], None]:
        """
        Call *stop* when somebody asks a task to stop. Whose it is the beat will tell; beats alone would tell it later.
        """
        hearing = asyncio.create_task(self._hear(stop))
        self._keep(hearing)

        def end() -> None:
            hearing.cancel()

        return end

    async def _hear(self, stop: Callable[[], None]) -> None:
        with suppress(TaskyardError):  # a key that may not read the feed hears of stops with its beats
            async for _ in self._hears.events(kind="task.cancel_requested"):
                stop()

    async def acquire(self, worker: str, limit: int, wait: timedelta) -> list[Task]:
        asking = asyncio.create_task(self._acquire(worker, limit, wait))
        self._keep(asking)
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            # The server may be claiming right now: somebody else waits for its answer, and gives back what it brings.
            self._keep(asyncio.create_task(self._give_back(asking)))
            raise

    async def _acquire(self, worker: str, limit: int, wait: timedelta) -> list[Task]:
        # An answer that was lost on its way may have brought tasks, which this worker keeps alive with every beat. So the same
        # is asked again, under the same key, until it is answered. By now there is at least as much room as there was then.
        asked = self._unanswered or (self._asks.new_key(), limit, wait)
        self._unanswered = asked
        key, limit, wait = asked
        try:
            tasks = await self._asks.acquire(worker, self._lanes, limit, wait=wait, idempotency_key=key)
        except Unreachable as error:
            if error.unsent:
                self._unanswered = None
            raise
        except Unavailable:
            raise  # it may have been done: the server's database can lose an answer too
        except TaskyardError:
            self._unanswered = None
            raise
        self._unanswered = None
        return tasks

    async def _give_back(self, asking: "asyncio.Task[list[Task]]") -> None:
        with suppress(TaskyardError):  # it did not come, or its lease is over: there is nothing to give back
            tasks = await asking
            await self.settle([Settlement(Hold.of(task), Released()) for task in tasks])

    async def settle(self, settlements: Sequence[Settlement]) -> list[Task | Exception | None]:
        answers: list[Task | Exception | None] = []
        for start in range(0, len(settlements), MAX_BATCH):
            answers += await self._asks.settle(settlements[start : start + MAX_BATCH])
        return answers

    async def report(self, reports: Sequence[Report]) -> None:
        for start in range(0, len(reports), MAX_BATCH):
            await self._asks.report(reports[start : start + MAX_BATCH])

    async def steps(self, hold: Hold) -> dict[str, Json]:
        return await self._asks.done_steps(hold)

    async def step(self, hold: Hold, name: str, output: Json) -> Json:
        return await self._asks.step(hold, name, output)

    async def publish(self, hold: Hold, name: str, value: Json) -> str:
        return await self._asks.publish(hold, name, value)

    async def spawn(self, hold: Hold, step: str, news: Sequence[NewTask]) -> list[str]:
        return await self._asks.spawn(hold, step, news)

    async def look(self, hold: Hold, ids: Sequence[str]) -> list[Task]:
        """Most who look at many look at their children, which the server gives a page at a time."""
        found: dict[str, Task] = {}
        if len(ids) > FEW:
            wanted = set(ids)
            children = self._asks.search(parent=hold.id, page_size=LOOK_PAGE, expand=("input", "output"))
            async for child in children:
                if child.id in wanted:
                    found[child.id] = task_of_raw(child.raw)
        for id in ids:
            if id not in found:
                found[id] = task_of_raw((await self._asks.get(id)).raw)
        return [found[id] for id in ids]

    async def log(self, hold: Hold, text: str) -> None:
        await self._asks.log(hold, text)

    async def leave(self, worker: str) -> None:
        """Go for good: the desk is closed."""
        try:
            await self._asks.leave(worker)
        finally:
            for task in list(self._kept):
                task.cancel()
            await self._asks.aclose()
            await self._hears.aclose()
            self._beats.close()

    def _keep(self, task: "asyncio.Task[Any]") -> None:
        """Keep *task* from being collected while it runs."""
        self._kept.add(task)
        task.add_done_callback(self._kept.discard)
