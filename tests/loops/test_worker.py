"""What a worker promises whoever wrote the handlers; each on every engine."""

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from taskyard import Context, Done, Failed, Later, NewTask, SyncContext, Waits, Yard
from taskyard.core.errors import Invalid
from taskyard.core.limits import MAX_LOG_BYTES
from taskyard.core.task import State
from tests.working import PATIENCE_S, attempts, ended, running, until, workers

# -- where handlers run, and what they are given ------------------------------------------------------------------------------------


def test_an_async_handler_runs_on_one_event_loop_and_its_answer_is_the_output(program: Yard) -> None:
    threads = set()

    @program.task("add")
    async def add(ctx: Context, a: int, b: int = 1) -> dict:
        threads.add(threading.get_ident())
        await asyncio.sleep(0)
        return {"sum": a + b, "attempt": ctx.attempt}

    with program.working():
        tasks = [program.submit(add, {"a": number}) for number in range(5)]
        assert [ended(program, task).output["sum"] for task in tasks] == [1, 2, 3, 4, 5]
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


def test_plain_handlers_run_beside_one_another_in_threads(program: Yard) -> None:
    together = threading.Barrier(3, timeout=PATIENCE_S)

    @program.task("meet")
    def meet(ctx: SyncContext) -> int:
        together.wait()
        return threading.get_ident()

    with program.working(slots=3):
        tasks = [program.submit("meet") for _ in range(3)]
        assert len({ended(program, task).output for task in tasks}) == 3


def test_a_handler_may_run_on_any_executor(program: Yard) -> None:
    with ThreadPoolExecutor(1, thread_name_prefix="cluster") as executor:

        @program.task("compute", executor=executor)
        def compute(ctx: SyncContext, number: int) -> list:
            return [threading.current_thread().name, ctx.id, number]

        with program.working():
            task = ended(program, program.submit("compute", {"number": 7}))
    assert task.output == ["cluster_0", task.id, 7]


def test_a_handler_whose_executor_is_shut_down_fails(program: Yard) -> None:
    executor = ThreadPoolExecutor(1)
    executor.shutdown()

    @program.task("compute", executor=executor, max_failures=1)
    def compute(ctx: SyncContext) -> None: ...

    with program.working():
        assert "shutdown" in ended(program, program.submit("compute")).error.message


@pytest.mark.parametrize(
    ("input", "given"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 2}),
        ([1, 2], {"a": 1, "b": 2}),
        (1, {"a": 1, "b": None}),
        ("word", {"a": "word", "b": None}),
        (None, {"a": None, "b": None}),
    ],
)
def test_an_object_is_given_by_name_an_array_by_position_and_anything_else_as_one(
    program: Yard, input: object, given: object
) -> None:
    @program.task("show")
    async def show(ctx: Context, a: object = None, b: object = None) -> dict:
        return {"a": a, "b": b}

    with program.working():
        assert ended(program, program.submit("show", input)).output == given


def test_a_handler_that_takes_only_its_context_is_not_given_the_input(program: Yard) -> None:
    @program.task("look")
    async def look(ctx: Context) -> object:
        return ctx.input

    with program.working():
        assert ended(program, program.submit("look", {"any": "thing"})).output == {"any": "thing"}


def test_input_that_does_not_fit_fails_for_good_and_says_how(program: Yard) -> None:
    @program.task("resize")
    async def resize(ctx: Context, width: int) -> None: ...

    @program.task("plainly")
    def plainly(ctx: SyncContext, width: int) -> None: ...

    with program.working():
        for type in ("resize", "plainly"):
            task = ended(program, program.submit(type, {"height": 3}))
            assert (task.state, task.error.code, task.failures) == ("failed", "bad_input", 1)
            assert "height" in task.error.message


def test_two_handlers_cannot_have_one_type(program: Yard) -> None:
    @program.task("resize")
    async def resize(ctx: Context) -> None: ...

    with pytest.raises(Invalid, match="has a handler already"):
        program.task("resize")(resize)


def test_a_worker_claims_only_what_it_has_handlers_for(program: Yard) -> None:
    @program.task("mine", queue="images")
    async def mine(ctx: Context) -> str:
        return "done"

    theirs, elsewhere = program.submit("theirs", queue="images"), program.submit("mine", queue="videos")
    with program.working():
        assert program.result(program.submit("mine").id, PATIENCE_S) == "done"
    assert program.get(theirs.id).state == program.get(elsewhere.id).state == "ready"


def test_no_more_run_at_once_than_there_are_slots(program: Yard) -> None:
    now, most = 0, 0

    @program.task("count")
    async def count(ctx: Context) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1

    tasks = program.submit_many([NewTask(type="count")] * 50)
    with program.working(slots=4):
        for task in tasks:
            ended(program, task)
    assert most == 4


# -- outcomes ---------------------------------------------------------------------------------------------------------------------


def test_a_handler_may_return_an_outcome(program: Yard) -> None:
    @program.task("choose")
    async def choose(ctx: Context, what: str) -> object:
        return {
            "done": Done({"is": "done"}),
            "failed": Failed("no", code="refused_by_them", final=True),
            "later": Later(timedelta(days=1)),
            "waits": Waits(until=datetime(2100, 1, 1, tzinfo=UTC)),
        }[what]

    tasks = {what: program.submit("choose", {"what": what}) for what in ("done", "failed", "later", "waits")}
    program.run_until_idle()
    now = {what: program.get(task.id) for what, task in tasks.items()}
    assert {what: task.state for what, task in now.items()} == {
        "done": "succeeded",
        "failed": "failed",
        "later": "scheduled",
        "waits": "suspended",
    }
    assert now["done"].output == {"is": "done"}
    assert now["failed"].error.code == "refused_by_them"
    assert all(task.failures == 0 for what, task in now.items() if what != "failed")


@pytest.mark.parametrize("place", ["loop", "thread"])
@pytest.mark.parametrize("kind", [ValueError, SystemExit, MemoryError, KeyboardInterrupt, GeneratorExit])
def test_whatever_a_handler_raises_is_a_failure_and_the_worker_goes_on(
    program: Yard, place: str, kind: type[BaseException]
) -> None:
    async def on_loop(ctx: Context) -> None:
        raise kind

    def in_thread(ctx: SyncContext) -> None:
        raise kind

    program.task("break", max_failures=1)(on_loop if place == "loop" else in_thread)

    @program.task("next")
    async def following(ctx: Context) -> str:
        return "still here"

    with program.working():
        failed = ended(program, program.submit("break"))
        assert program.result(program.submit("next").id, PATIENCE_S) == "still here"
    assert failed.state == "failed"
    assert failed.error.message.startswith(kind.__name__)
    assert "raise kind" in failed.error.traceback
    assert "taskyard/loops" not in failed.error.traceback


def test_a_coroutine_that_a_handler_started_cannot_exit_the_worker(program: Yard) -> None:
    @program.task("exit")
    async def leave(ctx: Context) -> str:
        async def exit() -> None:
            raise SystemExit(3)

        left = asyncio.create_task(exit())
        await asyncio.wait([left])
        return "still here"

    with program.working():
        assert ended(program, program.submit("exit")).output == "still here"


def test_a_failed_attempt_is_tried_again_after_the_handlers_own_delay(program: Yard) -> None:
    @program.task("flaky", retry_delay=lambda failures: timedelta(milliseconds=failures))
    async def flaky(ctx: Context) -> int:
        if ctx.attempt < 3:
            raise OSError("busy")
        return ctx.attempt

    with program.working():
        task = ended(program, program.submit("flaky"))
    assert (task.output, task.claims, task.failures) == (3, 3, 2)


def test_errors_that_another_try_would_not_mend_fail_for_good(program: Yard) -> None:
    @program.task("lookup", no_retry=(LookupError,))
    async def lookup(ctx: Context) -> None:
        raise KeyError("gone")

    with program.working():
        task = ended(program, program.submit("lookup"))
    assert (task.state, task.failures) == ("failed", 1)


def test_a_type_submitted_elsewhere_keeps_to_its_handlers_tries(program: Yard) -> None:
    @program.task("twice", max_failures=2, retry_delay=0)
    async def twice(ctx: Context) -> None:
        raise OSError("busy")

    with program.working():
        [task] = program.submit_many([NewTask(type="twice", max_failures=100)])
        assert ended(program, task).failures == 2


def test_output_that_is_not_json_fails_and_says_so_and_harms_no_other(program: Yard) -> None:
    @program.task("odd")
    async def odd(ctx: Context) -> object:
        return object()

    @program.task("long")
    async def long(ctx: Context) -> str:
        return "x" * 2_000_000

    @program.task("fine")
    async def fine(ctx: Context) -> str:
        return "fine"

    tasks = [program.submit(type) for type in ("odd", "fine", "long", "fine")]
    with program.working():
        odd_task, first, long_task, second = (ended(program, task) for task in tasks)
    assert (odd_task.state, odd_task.error.code) == ("failed", "not_json")
    assert (long_task.state, long_task.error.code) == ("failed", "too_large")
    assert first.output == second.output == "fine"


# -- time --------------------------------------------------------------------------------------------------------------------------


def test_an_async_handler_whose_time_is_up_is_cancelled_and_may_clean_up(program: Yard) -> None:
    cleaned = []

    @program.task("slow", timeout=0.05, max_failures=1)
    async def slow(ctx: Context) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(ctx.id)

    with program.working():
        task = ended(program, program.submit("slow"))
    assert (task.state, task.error.code, task.reason) == ("failed", "timed_out", "timed_out")
    assert cleaned == [task.id]


def test_a_thread_whose_time_is_up_gives_its_slot_to_another_and_what_it_returns_late_is_dropped(
    program: Yard,
) -> None:
    go_on, came_late = threading.Event(), threading.Event()

    @program.task("stuck", timeout=0.05, max_failures=1)
    def stuck(ctx: SyncContext) -> str:
        go_on.wait(PATIENCE_S)
        came_late.set()
        return "too late"

    @program.task("next")
    def following(ctx: SyncContext) -> str:
        return "has a slot"

    with program.working(slots=1):
        task = program.submit("stuck")
        assert ended(program, task).error.code == "timed_out"
        assert program.result(program.submit("next").id, PATIENCE_S) == "has a slot"
        go_on.set()
        assert came_late.wait(PATIENCE_S)
        assert program.result(program.submit("next").id, PATIENCE_S) == "has a slot"
    assert program.get(task.id).output is None


def test_the_timeout_of_the_submit_counts_before_the_handlers(program: Yard) -> None:
    @program.task("slow", timeout=1000, max_failures=1)
    async def slow(ctx: Context) -> None:
        await asyncio.Event().wait()

    with program.working():
        task = ended(program, program.submit("slow", timeout=timedelta(milliseconds=50)))
    assert "0.05 s" in task.error.message


# -- cancel ------------------------------------------------------------------------------------------------------------------------


def test_a_running_async_handler_is_cancelled_at_once(program: Yard) -> None:
    seen = []

    @program.task("wait")
    async def wait(ctx: Context) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append(ctx.canceled)
            raise

    with program.working(
        lease=timedelta(hours=1)
    ):  # a beat by itself would come long after the test has given up
        task = running(program, program.submit("wait"))
        until(lambda: program.cancel(task.id).cancel_requested_at)
        assert ended(program, task).state == "canceled"
    assert seen == [True]


def test_a_plain_handler_sees_that_it_is_canceled_and_is_stopped_by_its_next_call(program: Yard) -> None:
    begun, stopped_by = threading.Event(), []

    @program.task("spin")
    def spin(ctx: SyncContext) -> None:
        begun.set()
        until(lambda: ctx.canceled)
        try:
            ctx.progress(1)
        except BaseException as error:
            stopped_by.append(type(error).__name__)
            ctx.publish("cleaned", True)  # once stopped it may still use its context to clean up
            raise

    with program.working():
        task = program.submit("spin")
        assert begun.wait(PATIENCE_S)
        program.cancel(task.id)
        assert ended(program, task).state == "canceled"
    assert stopped_by == ["Canceled"]
    assert program.results(task.id) == {"cleaned": True}


def test_what_succeeds_although_it_was_asked_to_stop_has_succeeded(program: Yard) -> None:
    begun = threading.Event()

    @program.task("stubborn")
    async def stubborn(ctx: Context) -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "finished all the same"

    with program.working():
        task = program.submit("stubborn")
        assert begun.wait(PATIENCE_S)
        program.cancel(task.id)
        assert ended(program, task).output == "finished all the same"


def test_a_task_canceled_before_it_starts_never_starts(program: Yard) -> None:
    ran = []

    @program.task("never")
    async def never(ctx: Context) -> None:
        ran.append(ctx.id)

    task = program.submit("never")
    program.cancel(task.id)
    program.run_until_idle()
    assert ran == []


# -- steps, children, events, sleep ------------------------------------------------------------------------------------------------


def test_a_step_that_is_done_is_not_done_again_when_the_task_is_tried_again(program: Yard) -> None:
    done = []

    def load(path: str) -> dict:
        done.append(path)
        return {"size": 3, "at": [1, 2]}

    async def load_slowly(path: str) -> str:
        done.append(path)
        return path.upper()

    @program.task("thumbnail", retry_delay=0)
    async def thumbnail(ctx: Context, path: str) -> list:
        loaded = await ctx.step("load", load, path)
        upper = await ctx.step("upper", load_slowly, path=path)
        if ctx.attempt == 1:
            raise OSError("disk full")
        return [loaded, upper]

    with program.working():
        task = ended(program, program.submit("thumbnail", {"path": "a.jpg"}))
    assert done == ["a.jpg", "a.jpg"]
    assert task.output == [{"size": 3, "at": [1, 2]}, "A.JPG"]


def test_a_plain_handlers_steps_are_remembered_just_so(program: Yard) -> None:
    done = []

    @program.task("thumbnail", retry_delay=0)
    def thumbnail(ctx: SyncContext) -> object:
        loaded = ctx.step("load", lambda: done.append(1) or {"size": 3})
        if ctx.attempt == 1:
            raise OSError("disk full")
        return loaded

    with program.working():
        assert ended(program, program.submit("thumbnail")).output == {"size": 3}
    assert done == [1]


def test_a_plain_handler_that_gives_a_step_something_asynchronous_is_told_so(program: Yard) -> None:
    async def never() -> None:
        await asyncio.sleep(1)

    @program.task("mixed", max_failures=1)
    def mixed(ctx: SyncContext) -> None:
        ctx.step("never", never)

    with program.working():
        assert "async def" in ended(program, program.submit("mixed")).error.message


def test_children_fan_out_and_in_and_their_parent_waits_without_a_slot(program: Yard) -> None:
    squared = []

    @program.task("square", queue="small")
    def square(ctx: SyncContext, number: int) -> int:
        squared.append(number)
        return number * number

    @program.task("sum")
    async def total(ctx: Context, numbers: list) -> int:
        return sum(await ctx.map("squares", square, numbers))

    with program.working(slots=1):
        task = ended(program, program.submit("sum", {"numbers": [1, 2, 3]}))
    assert task.output == 14
    assert sorted(squared) == [1, 2, 3]
    assert "suspended" in attempts(program, task)
    assert task.failures == 0


def test_a_plain_handler_fans_out_and_in_too_and_sees_every_child_however_it_ended(program: Yard) -> None:
    @program.task("odd", max_failures=1)
    def odd(ctx: SyncContext, number: int) -> int:
        assert number % 2
        return number

    @program.task("all")
    def all_of_them(ctx: SyncContext) -> list:
        ids = ctx.spawn("them", [NewTask(type="odd", input=[number], max_failures=1) for number in (1, 2, 3)])
        return [child.state for child in ctx.gather(ids)]

    with program.working():
        assert ended(program, program.submit("all")).output == ["succeeded", "failed", "succeeded"]


def test_a_map_one_of_whose_children_failed_fails_and_names_it(program: Yard) -> None:
    @program.task("odd", max_failures=1)
    async def odd(ctx: Context, number: int) -> int:
        assert number % 2, "is even"
        return number

    @program.task("all", max_failures=1)
    async def all_of_them(ctx: Context) -> list:
        return await ctx.map("them", "odd", [1, 2])

    with program.working():
        task = ended(program, program.submit("all"))
    assert task.error.message.startswith("ChildFailed")
    assert "is even" in task.error.message


def test_a_map_over_nothing_waits_for_nothing(program: Yard) -> None:
    @program.task("all")
    async def all_of_them(ctx: Context) -> list:
        return await ctx.map("them", "any", [])

    with program.working():
        assert ended(program, program.submit("all")).output == []


@pytest.mark.parametrize("sent", ["before", "after"])
def test_a_handler_waits_for_an_event_sent_before_or_after(program: Yard, sent: str) -> None:
    @program.task("order")
    async def order(ctx: Context) -> object:
        return await ctx.event("paid")

    if sent == "before":
        program.send("paid", {"by": "ana"})
    with program.working():
        task = program.submit("order")
        if sent == "after":
            until(lambda: program.get(task.id).state == "suspended")
            program.send("paid", {"by": "ana"})
        assert ended(program, task).output == {"by": "ana"}


def test_a_handler_that_catches_exceptions_cannot_catch_that_it_is_to_wait(program: Yard) -> None:
    @program.task("order")
    async def order(ctx: Context) -> object:
        try:
            return await ctx.event("paid")
        except Exception:
            return "caught"

    task = program.submit("order")
    program.run_until_idle()
    assert program.get(task.id).state == "suspended"


# -- what is seen while it runs ----------------------------------------------------------------------------------------------------


def test_progress_and_results_are_seen_while_the_handler_runs(program: Yard) -> None:
    go_on = threading.Event()

    @program.task("work")
    def work(ctx: SyncContext) -> None:
        for done in range(1000):
            ctx.progress(done, total=1000, message="counting")
        ctx.publish("preview", [1, 2])
        ctx.publish("preview", [3])
        ctx.log("half", "way")
        go_on.wait(PATIENCE_S)

    with program.working():
        task = program.submit("work")
        until(lambda: program.get(task.id).progress == {"done": 999, "total": 1000})
        assert program.get(task.id).message == "counting"
        assert program.results(task.id) == {"preview": [3]}
        until(lambda: program.log(task.id) == "half way\n")
        assert program.get(task.id).state is State.RUNNING
        go_on.set()
        ended(program, task)
    assert len([kind for kind in attempts(program, task) if kind == "progressed"]) < 20


def test_the_last_progress_is_kept_however_soon_the_attempt_ends(program: Yard) -> None:
    @program.task("work")
    async def work(ctx: Context) -> None:
        await ctx.progress(1, total=2, message="half")
        await ctx.progress(2, total=2, message="all")

    with program.working():
        task = ended(program, program.submit("work"))
    assert (task.progress, task.message) == ({"done": 2, "total": 2}, "all")


def test_what_handlers_print_and_log_is_kept_per_attempt_and_does_not_mix(program: Yard) -> None:
    logger = logging.getLogger("shop")
    together = threading.Barrier(2, timeout=PATIENCE_S)

    @program.task("plain")
    def plain(ctx: SyncContext, name: str) -> None:
        together.wait()
        print("printed by", name)
        logger.warning("logged by %s", name)

    @program.task("async", retry_delay=0)
    async def asynchronous(ctx: Context, name: str) -> None:
        print("printed by", name)
        await asyncio.to_thread(logger.warning, "logged by %s", name)
        ctx.log("told by", name)
        if ctx.attempt == 1:
            raise OSError

    print("printed by nobody's task")
    with program.working():
        tasks = {
            name: ended(program, task)
            for name, task in [(name, program.submit(type, {"name": name})) for name, type in NAMES.items()]
        }
    for name, task in tasks.items():
        log = program.log(task.id)
        lines = log.splitlines()
        assert all(line.endswith(f"by {name}") for line in lines), log
        assert len(lines) == (2 if NAMES[name] == "plain" else 6), log
        assert "WARNING shop: logged by" in log


NAMES = {"ana": "plain", "bo": "plain", "cy": "async", "di": "async"}


def test_a_log_is_bounded_and_keeps_its_end(program: Yard) -> None:
    @program.task("chatty")
    async def chatty(ctx: Context) -> None:
        for line in range(20_000):
            ctx.log("line", line, "ü" * 10)

    with program.working():
        log = program.log(ended(program, program.submit("chatty")).id)
    assert len(log.encode()) <= MAX_LOG_BYTES
    assert log.endswith(f"line 19999 {'ü' * 10}\n")
    assert "earlier lines were dropped" in log.splitlines()[0]


# -- limits of queues, without waiting for a poll -----------------------------------------------------------------------------------


@pytest.fixture
def _no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only news wakes a worker: a poll would come long after a test has given up."""
    monkeypatch.setattr("taskyard.loops.shift.WAIT", timedelta(hours=1))


@pytest.mark.usefixtures("_no_poll")
def test_an_idle_worker_is_woken_by_news_of_work(program: Yard) -> None:
    @program.task("work", retry_delay=0)
    async def work(ctx: Context) -> int:
        if ctx.attempt == 1:
            raise OSError
        return ctx.attempt

    with program.working():
        for _ in range(5):
            assert ended(program, program.submit("work")).output == 2


@pytest.mark.usefixtures("_no_poll")
def test_a_queue_that_runs_one_at_a_time_goes_on_when_that_one_has_ended(program: Yard) -> None:
    from taskyard.core.queue import QueueSettings

    parts = program.open_parts()
    parts.store.write(
        lambda records: parts.services.queues.create(
            records, parts.actor, "narrow", QueueSettings(concurrency=1)
        )
    )

    @program.task("work", queue="narrow")
    async def work(ctx: Context) -> None:
        await asyncio.sleep(0)

    tasks = [program.submit("work") for _ in range(5)]
    with program.working(), program.working():
        for task in tasks:
            ended(program, task)


@pytest.mark.usefixtures("_no_poll")
def test_a_worker_is_there_when_a_rate_limit_opens(program: Yard) -> None:
    from taskyard.core.queue import QueueSettings, RateLimit

    parts = program.open_parts()
    rate = RateLimit(count=2, period=timedelta(milliseconds=200))
    parts.store.write(
        lambda records: parts.services.queues.create(records, parts.actor, "slow", QueueSettings(rate=rate))
    )

    @program.task("work", queue="slow")
    async def work(ctx: Context) -> None: ...

    tasks = [program.submit("work") for _ in range(5)]
    with program.working():
        for task in tasks:
            ended(program, task)


def test_a_worker_is_known_while_it_works_and_gone_when_it_left(program: Yard) -> None:
    @program.task("work", queue="images")
    async def work(ctx: Context) -> None: ...

    with program.working(slots=7):
        [worker] = workers(program)
        assert (worker.slots, [(lane.queue, lane.type) for lane in worker.lanes]) == (7, [("images", "work")])
    assert workers(program) == []
