"""What a worker does about its lease: keep it whatever its handlers do, and let go of everything when it is lost."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import timedelta
from typing import Any, ClassVar
from uuid import uuid4

import pytest

from taskyard import Context, Done, SyncContext, Yard
from taskyard.core.errors import LeaseLost, Unavailable
from taskyard.core.hold import Hold, Settlement, Stop
from taskyard.core.task import Json, Task
from taskyard.loops.heartbeat import Heartbeat
from taskyard.loops.store_desk import StoreDesk
from taskyard.loops.worker import LOST_LEASE, Worker
from taskyard.store.store import Store
from tests.working import PATIENCE_S, SHORT_LEASE, attempts, ended, lose_lease, reap, running, until, workers


def test_a_handler_that_blocks_the_event_loop_does_not_lose_the_lease(program: Yard) -> None:
    @program.task("block")
    async def block(ctx: Context) -> str:
        [before] = workers(program)
        until(
            lambda: workers(program)[0].lease_until > before.lease_until + 2 * SHORT_LEASE
        )  # the loop stands still meanwhile
        return ctx.task.holder

    with program.working(lease=SHORT_LEASE) as worker:
        task = ended(program, program.submit("block"))
        assert worker.exit_code is None
    assert (task.state, task.claims) == ("succeeded", 1)


def test_beats_are_many_in_a_lease_and_spread() -> None:
    beats: list[float] = []
    enough = threading.Event()

    def beat(timeout: timedelta) -> Sequence[Stop]:
        beats.append(time.monotonic())
        if len(beats) == 4:
            enough.set()
        assert timeout <= timedelta(seconds=0.6) / 3
        return []

    began = time.monotonic()
    heart = Heartbeat(
        beat, timedelta(seconds=0.6), began, stop=lambda _: None, lost=pytest.fail, jitter=lambda: 1.0
    )
    heart.start()
    assert enough.wait(PATIENCE_S)
    heart.end()
    assert beats[0] - began >= 0.6 / 6 * 0.9


def test_a_heart_that_cannot_renew_for_a_whole_lease_says_that_it_is_lost() -> None:
    lost: list[str] = []
    over = threading.Event()

    def beat(_: timedelta) -> Sequence[Stop]:
        raise Unavailable("the store is away")

    def say(why: str) -> None:
        lost.append(why)
        over.set()

    lease = timedelta(seconds=0.3)
    heart = Heartbeat(beat, lease, time.monotonic(), stop=lambda _: None, lost=say, jitter=lambda: 0.0)
    heart.start()
    assert over.wait(PATIENCE_S)
    assert lost == ["the lease could not be renewed in time"]


def test_a_heart_that_is_told_of_the_loss_beats_no_more() -> None:
    lost: list[str] = []
    over = threading.Event()

    def beat(_: timedelta) -> Sequence[Stop]:
        over.set()
        raise LeaseLost("held by worker w", 0)

    heart = Heartbeat(
        beat,
        timedelta(seconds=30),
        time.monotonic(),
        stop=lambda _: None,
        lost=lost.append,
        jitter=lambda: 0.0,
    )
    heart.start()
    heart.wake()
    assert over.wait(PATIENCE_S)
    until(lambda: lost)
    assert len(lost) == 1


def test_a_worker_that_lost_its_lease_drops_its_handlers_and_starts_again_under_a_fresh_id(
    program: Yard,
) -> None:
    canceled, released = [], threading.Event()

    @program.task("async")
    async def asynchronous(ctx: Context) -> str:
        if ctx.attempt == 1:
            try:
                await asyncio.Event().wait()
            finally:
                canceled.append(ctx.id)
        return ctx.task.holder

    @program.task("plain")
    def plain(ctx: SyncContext) -> str:
        if ctx.attempt == 1:
            until(lambda: ctx.canceled)
            released.set()
            return "late"
        return ctx.task.holder

    with program.working(lease=SHORT_LEASE):
        first, second = program.submit("async"), program.submit("plain")
        running(program, first), running(program, second)
        [before] = workers(program)
        lose_lease(program, before)
        first, second = ended(program, first), ended(program, second)
        assert released.wait(PATIENCE_S)
        [after] = workers(program)
    assert after.id != before.id
    assert first.output == second.output == after.holder
    assert canceled == [first.id]
    assert (first.claims, first.losses, first.failures) == (2, 1, 1)
    assert "lost" in attempts(program, first)


def test_a_worker_that_is_not_to_restart_ends_with_75_when_it_lost_its_lease(program: Yard) -> None:
    @program.task("wait")
    async def wait(ctx: Context) -> None:
        await asyncio.Event().wait()

    worker = program.worker(lease=SHORT_LEASE, restart=False)
    worker.start()
    running(program, program.submit("wait"))
    lose_lease(program, workers(program)[0])
    assert worker.join(timedelta(seconds=PATIENCE_S))
    assert worker.exit_code == LOST_LEASE == 75


def test_draining_claims_nothing_more_keeps_the_lease_and_finishes_what_runs(program: Yard) -> None:
    go_on = threading.Event()

    @program.task("work")
    def work(ctx: SyncContext) -> str:
        go_on.wait(PATIENCE_S)
        return "finished"

    with program.working(lease=SHORT_LEASE) as worker:
        held = running(program, program.submit("work"))
        worker.drain()
        later = program.submit("work")
        [draining] = until(lambda: [each for each in workers(program) if each.state == "draining"])
        until(lambda: workers(program)[0].lease_until > draining.lease_until + 2 * SHORT_LEASE)
        assert reap(program) == 0
        assert not worker.join(timedelta(0))
        go_on.set()
        assert worker.join(timedelta(seconds=PATIENCE_S))
    assert worker.exit_code == 0
    assert program.get(held.id).output == "finished"
    assert program.get(later.id).state == "ready"
    assert workers(program) == []


def test_what_still_runs_when_the_grace_is_over_goes_back_untouched(program: Yard) -> None:
    @program.task("plain")
    def plain(ctx: SyncContext) -> None:
        until(lambda: ctx.canceled)

    @program.task("async")
    async def asynchronous(ctx: Context) -> None:
        await asyncio.Event().wait()

    with program.working() as worker:
        tasks = [running(program, program.submit(type)) for type in ("plain", "async")]
        worker.drain(grace=timedelta(0))
        assert worker.join(timedelta(seconds=PATIENCE_S))
    for task in tasks:
        task = program.get(task.id)
        assert (task.state, task.failures, task.losses) == ("ready", 0, 0)


class FaultyDesk(StoreDesk):
    """The real desk behind a line that is down for a while: each move fails a few times."""

    faults: ClassVar[int] = 3

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.failed: Counter[str] = Counter()

    async def settle(self, settlements: Sequence[Settlement]) -> list[Task | Exception | None]:
        self._fail("settle")
        return await super().settle(settlements)

    async def step(self, hold: Hold, name: str, output: Json) -> Json:
        self._fail("step")
        return await super().step(hold, name, output)

    async def acquire(self, worker: str, limit: int, wait: timedelta) -> list[Task]:
        self._fail("acquire")
        return await super().acquire(worker, limit, wait)

    async def register(self, worker: str, **named: Any) -> None:
        self._fail("register")
        await super().register(worker, **named)

    def _fail(self, what: str) -> None:
        if self.failed[what] < self.faults:
            self.failed[what] += 1
            raise Unavailable("the line is down")


def test_what_the_store_cannot_do_now_is_asked_again_and_no_work_is_lost(program: Yard) -> None:
    done = []

    @program.task("work")
    async def work(ctx: Context) -> str:
        await ctx.step("once", done.append, 1)
        return "done"

    parts = program.open_parts()
    desk = FaultyDesk(parts.store, parts.services, parts.actor)
    worker = Worker(desk, program.handlers, new_id=lambda: str(uuid4()), jitter=lambda: 0.0)
    worker.start()
    task = ended(program, program.submit("work"))
    worker.drain()
    assert worker.join(timedelta(seconds=PATIENCE_S))
    assert (task.output, task.claims, done) == ("done", 1, [1])
    assert desk.failed == dict.fromkeys(("register", "acquire", "step", "settle"), 3)


class DeafStore:
    """A store whose first answer to each kind of question is lost on its way, though what was asked for has been done."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.lost: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write_soon(self, work: Any) -> "Future[Any]":
        return self._heard(getattr(work, "func", work).__qualname__, self._store.write_soon(work))

    def together_soon(self, move: Any, items: Sequence[Any]) -> "Future[Any]":
        return self._heard(move.__qualname__, self._store.together_soon(move, items))

    def _heard(self, kind: str, answer: "Future[Any]") -> "Future[Any]":
        if self.lost[kind]:
            return answer
        self.lost[kind] += 1
        answer.result()
        deaf: Future[Any] = Future()
        deaf.set_exception(Unavailable("the line broke before the answer came"))
        return deaf


def test_what_was_done_though_the_answer_was_lost_is_neither_done_twice_nor_left_lying(program: Yard) -> None:
    """Above all what was claimed: the worker lives and beats, and so would keep for ever what it does not know of."""
    done: list[int] = []

    @program.task("work")
    async def work(ctx: Context, number: int) -> int:
        await ctx.step("once", done.append, number)
        return number

    tasks = program.submit_many([program.new_task("work", {"number": number}) for number in range(5)])
    parts = program.open_parts()
    store = DeafStore(parts.store)
    desk = StoreDesk(store, parts.services, parts.actor)  # type: ignore[arg-type]
    worker = Worker(desk, program.handlers, new_id=lambda: str(uuid4()), jitter=lambda: 0.0, slots=2)
    worker.start()
    outputs = [ended(program, task).output for task in tasks]
    worker.drain()
    assert worker.join(timedelta(seconds=PATIENCE_S))

    assert sorted(outputs) == sorted(done) == list(range(5))
    assert {program.get(task.id).claims for task in tasks} == {1}
    kinds = {kind.partition(".<locals>")[0].rpartition(".")[2] for kind in store.lost}
    assert kinds >= {"register", "_claimed", "step", "settle"}


def test_what_is_refused_as_a_whole_is_settled_one_by_one(program: Yard) -> None:
    class ChokingDesk(StoreDesk):
        async def settle(self, settlements: Sequence[Settlement]) -> list[Task | Exception | None]:
            if any(each.outcome == Done("odd") for each in settlements):
                raise ValueError("chokes on this one")
            return await super().settle(settlements)

    @program.task("work")
    async def work(ctx: Context, what: str) -> str:
        return what

    tasks = [program.submit("work", {"what": what}) for what in ("fine", "odd", "fine")]
    parts = program.open_parts()
    desk = ChokingDesk(parts.store, parts.services, parts.actor)
    worker = Worker(desk, program.handlers, new_id=lambda: str(uuid4()), jitter=lambda: 0.0, until_idle=True)
    assert worker.run() == 0
    states = [program.get(task.id).state for task in tasks]
    assert states == ["succeeded", "failed", "succeeded"]
    assert "chokes on this one" in program.get(tasks[1].id).error.message


def test_a_burst_is_settled_in_a_few_commits(program: Yard) -> None:
    sizes: list[int] = []

    class CountingDesk(StoreDesk):
        async def settle(self, settlements: Sequence[Settlement]) -> list[Task | Exception | None]:
            sizes.append(len(settlements))
            return await super().settle(settlements)

    @program.task("work")
    async def work(ctx: Context) -> None: ...

    program.submit_many([program.new_task("work")] * 200)
    parts = program.open_parts()
    desk = CountingDesk(parts.store, parts.services, parts.actor)
    worker = Worker(
        desk, program.handlers, new_id=lambda: str(uuid4()), jitter=lambda: 0.0, slots=100, until_idle=True
    )
    assert worker.run() == 0
    assert sum(sizes) == worker.tasks_done == 200
    assert len(sizes) <= 10
