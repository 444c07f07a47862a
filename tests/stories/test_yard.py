"""How a program uses Taskyard from Python: declare, submit, work, look; and how it tests what it declared."""

import asyncio
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

import taskyard
from taskyard import Context, Failed, Later, NewTask, SyncContext, TaskFailed, Yard
from taskyard.core.errors import Conflict, Invalid, NotFound, StillOpen
from taskyard.testing import yard_for_tests
from tests.working import PATIENCE_S


def test_declare_submit_work_and_read(program: Yard) -> None:
    @program.task("thumbnail", queue="images", timeout=30, max_failures=5)
    async def thumbnail(ctx: Context, path: str, size: int = 256) -> dict:
        image = await ctx.step("load", lambda: f"pixels of {path}")
        await ctx.progress(1, total=2, message="loaded")
        await ctx.publish("preview", {"of": image})
        ctx.log("resized to", size)
        return {"path": path, "size": size}

    task = program.submit(thumbnail, {"path": "a.jpg"}, priority=3, labels={"album": "summer"})
    assert (task.state, task.queue, task.timeout, task.max_failures) == (
        "ready",
        "images",
        timedelta(seconds=30),
        5,
    )

    with program.working():
        assert program.result(task.id, timeout=PATIENCE_S) == {"path": "a.jpg", "size": 256}
    assert program.results(task.id) == {"preview": {"of": "pixels of a.jpg"}}
    assert program.log(task.id) == "resized to 256\n"
    assert program.get(task.id).labels == {"album": "summer"}


def test_a_yard_that_only_declares_opens_nothing(tmp_path: Path) -> None:
    yard = Yard(tmp_path / "yard.db")

    @yard.task("double")
    def double(ctx: SyncContext, number: int) -> int:
        return 2 * number

    assert not (tmp_path / "yard.db").exists()
    with yard:
        assert (tmp_path / "yard.db").exists()
        yard.submit(double, 4)
        assert yard.run_until_idle() == 1
    assert double(None, 4) == 8  # what is declared stays a function


def test_a_yard_opened_again_has_what_was_submitted(tmp_path: Path) -> None:
    with Yard(f"sqlite:///{tmp_path}/yard.db") as yard:
        id = yard.submit("double", 4).id
    with Yard(tmp_path / "yard.db") as yard:
        assert yard.get(id).input == 4


def test_organisations_do_not_see_one_another(tmp_path: Path) -> None:
    with Yard(tmp_path / "yard.db") as ours, Yard(tmp_path / "yard.db", organisation="others") as theirs:
        id = ours.submit("secret").id
        with pytest.raises(NotFound):
            theirs.get(id)


@pytest.mark.parametrize("url", ["", "mysql://localhost/yard", "redis://"])
def test_an_address_that_is_no_database_is_refused(url: str) -> None:
    with pytest.raises(Invalid, match="is not a database"):
        Yard(url).open()


def test_many_are_submitted_together_or_not_at_all(program: Yard) -> None:
    program.submit("import", key="july")
    with pytest.raises(Conflict, match="july"):
        program.submit_many([NewTask(type="import", key="august"), NewTask(type="import", key="july")])
    august = program.submit_many(
        [NewTask(type="import", key="august"), NewTask(type="import", key="september")]
    )
    assert [task.key for task in august] == ["august", "september"]


def test_the_result_of_what_failed_was_canceled_or_still_runs_is_an_error(program: Yard) -> None:
    @program.task("fail")
    async def fail(ctx: Context) -> Failed:
        return Failed("no such album", final=True)

    failed, canceled, waiting = program.submit("fail"), program.submit("other"), program.submit("other")
    program.cancel(canceled.id)
    program.run_until_idle()
    with pytest.raises(TaskFailed, match="no such album") as error:
        program.result(failed.id)
    assert error.value.task.id == failed.id
    with pytest.raises(TaskFailed, match="canceled"):
        program.result(canceled.id)
    with pytest.raises(StillOpen, match="is still ready"):
        program.result(waiting.id, timeout=0)
    with pytest.raises(NotFound):
        program.result("nothing")


def test_an_ended_task_is_retried_as_another(program: Yard) -> None:
    @program.task("import")
    async def load(ctx: Context, month: str) -> object:
        return Failed("closed", final=True) if ctx.task.retry_of is None else month

    first = program.submit("import", {"month": "july"})
    program.run_until_idle()
    second = program.retry(first.id)
    program.run_until_idle()
    assert second.retry_of == first.id
    assert program.result(second.id) == "july"
    assert program.get(first.id).state == "failed"


def test_a_function_that_is_no_handler_cannot_be_submitted(program: Yard) -> None:
    with pytest.raises(Invalid, match="not a handler"):
        program.submit(print)


def test_running_until_idle_runs_what_that_makes_ready_too(program: Yard) -> None:
    @program.task("leaf")
    def leaf(ctx: SyncContext, number: int) -> int:
        return number

    @program.task("tree")
    async def tree(ctx: Context) -> int:
        return sum(await ctx.map("leaves", leaf, [1, 2, 3]))

    id = program.submit(tree).id
    assert program.run_until_idle(slots=2) == 5  # the tree twice: it waits in between
    assert program.result(id) == 6
    assert program.run_until_idle() == 0


# -- testing what a program declares -----------------------------------------------------------------------------------------------


def shop() -> Yard:
    yard = Yard("sqlite:///never-opened.db")

    @yard.task("ship")
    def ship(ctx: SyncContext, order: int) -> dict:
        return {"shipped": order}

    @yard.task("flaky", retry_delay=60)
    async def flaky(ctx: Context) -> int:
        if ctx.attempt < 3:
            raise OSError("busy")
        return ctx.attempt

    @yard.task("nap")
    async def nap(ctx: Context) -> str:
        ctx.log("attempt", ctx.attempt)
        await ctx.sleep_until(ctx.task.created_at + timedelta(days=3))
        return "awake"

    @yard.task("pay")
    def pay(ctx: SyncContext) -> object:
        return ctx.event("paid", until=ctx.task.created_at + timedelta(hours=1))

    @yard.task("forever")
    async def forever(ctx: Context) -> Later:
        return Later(timedelta(0))

    return yard


def test_a_delayed_task_runs_when_the_test_moves_the_clock() -> None:
    with yard_for_tests(shop()) as yard:
        order = yard.submit("ship", {"order": 7}, run_at=yard.now + timedelta(days=1))
        assert yard.drain() == []
        assert yard.get(order.id).state == "scheduled"
        yard.forward(days=1)
        assert yard.drain() == [order.id]
        assert yard.result(order.id) == {"shipped": 7}


def test_retries_come_when_their_time_has_come() -> None:
    with yard_for_tests(shop()) as yard:
        task = yard.submit("flaky")
        for failures in (1, 2):
            assert yard.drain() == [task.id]
            assert yard.get(task.id).failures == failures
            assert yard.drain() == []
            yard.forward(seconds=60)
        yard.drain()
        assert yard.result(task.id) == 3


def test_a_handler_that_sleeps_runs_again_when_it_is_time() -> None:
    with yard_for_tests(shop()) as yard:
        task = yard.submit("nap")
        yard.drain()
        assert yard.get(task.id).state == "suspended"
        yard.forward(days=2)
        assert yard.drain() == []
        yard.forward(days=1)
        yard.drain()
        assert yard.result(task.id) == "awake"
        assert yard.log(task.id) == "attempt 1\nattempt 2\n"


def test_a_handler_waits_for_an_event_no_longer_than_it_said() -> None:
    with yard_for_tests(shop()) as yard:
        task = yard.submit("pay", max_failures=1)
        yard.drain()
        assert yard.get(task.id).state == "suspended"
        yard.forward(hours=1)
        yard.drain()
        assert yard.get(task.id).error.message.startswith("TimeoutError: nothing was sent under 'paid'")


def test_draining_runs_one_after_the_other_in_the_order_of_claims() -> None:
    with yard_for_tests(shop()) as yard:
        low, high = yard.submit("ship", {"order": 1}), yard.submit("ship", {"order": 2}, priority=9)
        assert yard.drain() == [high.id, low.id]


def test_draining_what_never_ends_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskyard.testing.MOST_ATTEMPTS", 20)
    with yard_for_tests(shop()) as yard:
        yard.submit("forever")
        with pytest.raises(RuntimeError, match="after 20 attempts"):
            yard.drain()


def test_each_use_has_a_file_of_its_own_and_leaves_none() -> None:
    yard = shop()
    with yard_for_tests(yard) as first, yard_for_tests(yard) as second:
        id = first.submit("ship", {"order": 1}).id
        with pytest.raises(NotFound):
            second.get(id)
        file = Path(first.url)
        assert file.exists()
    assert not file.parent.exists()


# -- the names -----------------------------------------------------------------------------------------------------------------------


def test_the_public_names_are_few_and_all_there() -> None:
    assert len(taskyard.__all__) <= 12
    assert all(getattr(taskyard, name) is not None for name in taskyard.__all__)


def test_importing_a_program_loads_neither_store_nor_client() -> None:
    """A child process imports the program's module, and must stay slim; the command line must not wait."""
    program = "import sys; from taskyard import Context, Yard; print(*[m for m in ('apsw', 'httpx', 'psycopg', 'starlette') if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []


def test_a_yard_can_be_used_from_an_event_loop(program: Yard) -> None:
    @program.task("double")
    async def double(ctx: Context, number: int) -> int:
        return 2 * number

    async def use() -> object:
        task = await asyncio.to_thread(program.submit, double, 4)
        return await asyncio.to_thread(program.result, task.id, PATIENCE_S)

    with program.working():
        assert asyncio.run(use()) == 8
