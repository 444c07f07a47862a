"""
For the tests of programs that use Taskyard: a yard of their handlers on a temporary file, with a clock they set.

    from taskyard.testing import yard_for_tests
    from shop.tasks import yard

    def test_an_order_is_shipped_a_day_later():
        with yard_for_tests(yard) as shop:
            order = shop.submit("ship", {"order": 7}, run_at=shop.now + timedelta(days=1))
            shop.drain()
            assert shop.get(order.id).state == "scheduled"
            shop.forward(days=1)
            shop.drain()
            assert shop.result(order.id) == {"shipped": 7}
"""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from taskyard.core.hold import Settlement
from taskyard.core.outcome import Outcome
from taskyard.loops.attempt import Attempt
from taskyard.loops.bench import Bench
from taskyard.loops.capture import capturing
from taskyard.loops.desk import Desk
from taskyard.loops.handlers import Handlers
from taskyard.loops.store_desk import StoreDesk
from taskyard.yard import Yard, new_id

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
#: A drain that runs more attempts than this is likely to go on for ever: a handler that always says Later(0), say.
MOST_ATTEMPTS: Final = 10_000
#: By a clock that stands still while handlers run, any lease lasts.
LEASE: Final = timedelta(days=1)


class YardForTests(Yard):
    """A :class:`Yard` whose time stands still until the test moves it. Made by :func:`yard_for_tests`."""

    def __init__(self, path: Path, handlers: Handlers, start: datetime) -> None:
        self.now = start
        super().__init__(path, now=lambda: self.now, jitter=lambda: 0.0)
        self.handlers = handlers

    def forward(self, **span: float) -> None:
        """Move the clock: ``forward(hours=2)``. Nothing runs before the next :meth:`drain`."""
        self.now += timedelta(**span)

    def drain(self) -> list[str]:
        """
        Run everything that is ready or due now, and what that makes ready, one after the other, to the end.

        Returns:
            The ids of the tasks whose attempts ran, in order.

        Raises:
            RuntimeError: it would go on for ever.
        """
        with capturing():
            return asyncio.run(_Drain(self).run())


class _Drain:
    """A worker of one slot without haste: each attempt is claimed, run and settled before the next is claimed."""

    def __init__(self, yard: YardForTests) -> None:
        opened = yard.open_parts()
        self._store, self._services = opened.store, opened.services
        self.desk: Desk = StoreDesk(opened.store, opened.services, opened.actor)
        self.handlers = yard.handlers
        self.jitter = lambda: 0.0
        self._new_id = new_id
        self._outcome: asyncio.Future[Outcome] | None = None

    async def run(self) -> list[str]:
        worker = self._new_id()
        bench = Bench(self.handlers)
        await self.desk.register(
            worker, name="tests", lanes=self.handlers.lanes(), slots=1, lease=LEASE, version=""
        )
        ran: list[str] = []
        try:
            while attempt := await self._next(worker):
                if len(ran) >= MOST_ATTEMPTS:
                    raise RuntimeError(
                        f"still not done after {MOST_ATTEMPTS:,} attempts: does a task put itself back for ever?"
                    )
                ran.append(attempt.task.id)
                await self._run(bench, attempt)
        finally:
            bench.close()
            await self.desk.leave(worker)
        return ran

    async def _next(self, worker: str) -> Attempt | None:
        self._store.write(lambda records: self._services.tasks.expire(records, 1000))
        while self._store.write(lambda records: self._services.tasks.become_due(records, 1000)):
            continue
        for task in await self.desk.acquire(worker, 1, timedelta(0)):
            handler = self.handlers.get(task.type)
            assert handler is not None, "what is claimed is of these handlers"
            return Attempt(task, handler, self)
        return None

    async def _run(self, bench: Bench, attempt: Attempt) -> None:
        self._outcome = asyncio.get_running_loop().create_future()
        bench.begin(attempt)
        outcome = await self._outcome
        report = attempt.take_report()
        if report is not None:
            await self.desk.report([report])
        [answer] = await self.desk.settle([Settlement(attempt.hold, outcome, attempt.log_text())])
        if isinstance(answer, Exception):
            raise answer

    def noted(self, attempt: Attempt) -> None:
        """Hear nothing: what is said is told when the attempt has ended."""

    def ended(self, attempt: Attempt, outcome: Outcome) -> None:
        assert self._outcome is not None
        self._outcome.set_result(outcome)


@contextmanager
def yard_for_tests(yard: Yard | None = None, *, start: datetime = START) -> Iterator[YardForTests]:
    """
    Within: a yard on a fresh file, with the handlers of *yard*, at the time *start*. Each use has its own file.
    """
    with tempfile.TemporaryDirectory(prefix="taskyard-") as folder:
        own = YardForTests(Path(folder) / "yard.db", Handlers() if yard is None else yard.handlers, start)
        with own:
            yield own
