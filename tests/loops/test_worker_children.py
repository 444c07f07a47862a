"""Handlers in processes of their own: they do what others do, and can be killed."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from taskyard import Yard
from taskyard.core.errors import Invalid
from taskyard.core.outcome import Done
from taskyard.loops.attempt import Attempt
from taskyard.loops.children import Children
from tests.chaos import handlers
from tests.working import ended, running, until, workers

MIB = 1024 * 1024


def isolated(program: Yard, function: Callable, **options: object) -> None:
    program.task(function.__name__, isolation="process", retry_delay=0, **options)(function)


def is_alive(pid: int) -> bool:
    """Say whether the process runs; one that nobody has asked for its exit status yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # gone before, or while it is read
        return False
    return state != "Z"


def pid_of(program: Yard, task_id: str) -> int:
    """Wait until the handler has published its process."""
    return until(lambda: program.results(task_id).get("pid"))


def test_an_isolated_handler_runs_in_another_process_which_is_kept_warm(program: Yard) -> None:
    isolated(program, handlers.who)
    with program.working(slots=1):
        first = ended(program, program.submit("who", {"number": 1})).output
        second = ended(program, program.submit("who", [2])).output
        own = [program.submit("who").id for _ in range(3)]
        assert [program.wait(id).output["id"] for id in own] == own
    assert first["pid"] == second["pid"] != os.getpid()
    assert (first["number"], second["number"]) == (1, 2)


def test_the_children_go_with_their_worker(program: Yard) -> None:
    isolated(program, handlers.who)
    with program.working():
        pid = ended(program, program.submit("who")).output["pid"]
        assert is_alive(pid)
    until(lambda: not is_alive(pid))


def test_an_isolated_handler_may_be_asynchronous(program: Yard) -> None:
    isolated(program, handlers.who_async)
    with program.working():
        output = ended(program, program.submit("who_async", {"number": 4})).output
    assert output["number"] == 8
    assert output["pid"] != os.getpid()


def test_an_isolated_handlers_context_does_all_that_others_do(program: Yard) -> None:
    isolated(program, handlers.who)
    isolated(program, handlers.everything)
    with program.working():
        task = ended(program, program.submit("everything"))
    assert task.output == [task.output[0], 5]
    assert (task.progress, task.message) == ({"done": 1, "total": 2}, "half")
    assert program.results(task.id) == {"preview": {"size": 3}}
    assert program.log(task.id) == "printed\ntold\n" * task.claims
    assert task.failures == 1
    assert task.claims in (2, 3)  # its child may have ended before it looked


def test_a_refusal_reaches_an_isolated_handler_as_it_was(program: Yard) -> None:
    isolated(program, handlers.bad_step, max_failures=1)
    with program.working():
        error = ended(program, program.submit("bad_step")).error
    assert error.message.startswith("Invalid: 'not a name!' is not a result name")


def test_an_answer_that_cannot_be_sent_fails_and_says_so(program: Yard) -> None:
    isolated(program, handlers.returns_what_cannot_be_sent)
    with program.working():
        task = ended(program, program.submit("returns_what_cannot_be_sent"))
    assert (task.state, task.error.code) == ("failed", "not_json")


def test_errors_that_another_try_would_not_mend_are_known_from_a_child_too(program: Yard) -> None:
    isolated(program, handlers.lookup, no_retry=(LookupError,))
    with program.working():
        task = ended(program, program.submit("lookup"))
    assert (task.state, task.failures) == ("failed", 1)
    assert "handlers.py" in task.error.traceback


def test_canceling_kills_the_process(program: Yard) -> None:
    isolated(program, handlers.hang)
    isolated(program, handlers.who)
    with program.working(slots=1):
        task = program.submit("hang")
        pid = pid_of(program, task.id)
        program.cancel(task.id)
        assert ended(program, task).state == "canceled"
        until(lambda: not is_alive(pid))
        assert ended(program, program.submit("who")).output["pid"] != pid


def test_a_process_whose_time_is_up_is_killed_and_that_does_not_poison(program: Yard) -> None:
    isolated(program, handlers.hang, timeout=0.5, max_failures=4)
    with program.working():
        task = ended(program, program.submit("hang"))
    assert (task.state, task.reason, task.failures, task.losses) == ("failed", "timed_out", 4, 0)
    assert not is_alive(program.results(task.id)["pid"])


def test_an_attempt_that_allocates_more_than_its_limit_fails_and_the_process_lives_on(program: Yard) -> None:
    isolated(program, handlers.eat, memory_limit_bytes=64 * MIB, max_failures=1)
    isolated(program, handlers.who)
    with program.working(slots=1):
        pid = ended(program, program.submit("who")).output["pid"]
        greedy = ended(program, program.submit("eat", {"size_bytes": 512 * MIB}))
        modest = ended(program, program.submit("eat", {"size_bytes": 8 * MIB}))
        assert ended(program, program.submit("who")).output["pid"] == pid
    assert (greedy.state, greedy.error.code) == ("failed", "memory")
    assert modest.output == 8 * MIB


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_process_that_dies_is_a_failure_that_names_the_signal_and_three_are_poison(
    program: Yard, number: int
) -> None:
    isolated(program, handlers.crash, max_failures=100)
    isolated(program, handlers.who)
    with program.working(slots=1) as worker:
        task = ended(program, program.submit("crash", {"signal_number": int(number)}))
        assert ended(program, program.submit("who")).state == "succeeded"
        assert worker.exit_code is None
        assert len(workers(program)) == 1
    assert (task.state, task.reason, task.error.code) == ("failed", "poisoned", "poisoned")
    assert (task.failures, task.losses, task.claims) == (3, 3, 3)
    assert signal.Signals(number).name in task.error.message
    assert program.log(task.id) == "about to crash\n" * 3


def test_a_process_that_exits_by_itself_is_a_failure_that_names_the_status(program: Yard) -> None:
    isolated(program, handlers.leave, max_failures=1)
    with program.working():
        task = ended(program, program.submit("leave"))
    assert task.error.code == "killed"
    assert "exited with status 3" in task.error.message


def test_when_the_process_that_forks_them_dies_so_do_its_children_and_another_takes_its_place(
    program: Yard,
) -> None:
    isolated(program, handlers.hang, max_failures=1)
    isolated(program, handlers.who)
    with program.working():
        task = program.submit("hang")
        pid = pid_of(program, task.id)
        parent = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        os.kill(parent, signal.SIGKILL)
        assert ended(program, task).error.code == "killed"
        until(lambda: not is_alive(pid))
        assert ended(program, program.submit("who")).state == "succeeded"


def test_what_is_given_back_at_the_end_of_the_grace_is_killed(program: Yard) -> None:
    isolated(program, handlers.hang)
    with program.working() as worker:
        task = running(program, program.submit("hang"))
        pid = pid_of(program, task.id)
        worker.drain(grace=timedelta(0))
        worker.join()
    until(lambda: not is_alive(pid))
    assert (program.get(task.id).state, program.get(task.id).failures) == ("ready", 0)


def test_a_handler_that_a_process_could_not_find_is_refused_when_it_is_declared(program: Yard) -> None:
    with pytest.raises(Invalid, match="top of its module"):

        @program.task("local", isolation="process")
        def local(ctx: object) -> None: ...


def test_a_memory_limit_without_a_process_is_refused(program: Yard) -> None:
    with pytest.raises(Invalid, match="isolation"):
        program.task("limited", memory_limit_bytes=MIB)(handlers.who)


def test_a_fresh_child_is_there_in_no_time(program: Yard) -> None:
    """Not a promise in numbers: fifty forks would take a minute if each imported the program anew."""
    isolated(program, handlers.leave, max_failures=1)
    began = time.monotonic()
    with program.working(slots=1):
        for task in [program.submit("leave") for _ in range(50)]:
            ended(program, task)
    assert time.monotonic() - began < 30


async def _given_after_a_kill(program: Yard) -> tuple[object, object]:
    ends: dict[Attempt, asyncio.Future] = {}
    owner = SimpleNamespace(ended=lambda attempt, outcome: ends[attempt].set_result(outcome))
    children = Children(list(program.handlers))

    async def run() -> object:
        task = replace(program.submit("who"), holder="worker:one", claims=1)
        attempt = Attempt(task, program.handlers.get("who"), owner)
        ends[attempt] = asyncio.get_running_loop().create_future()
        children.begin(attempt)
        assert isinstance(await ends[attempt], Done)
        return attempt.runner

    try:
        first = await run()
        children.kill(first)
        return first, await run()
    finally:
        children.close()


def test_nothing_is_given_to_a_child_that_is_about_to_be_killed(program: Yard) -> None:
    """Its attempt may have been answered while the word to kill it was on its way."""
    isolated(program, handlers.who)
    first, second = asyncio.run(_given_after_a_kill(program))
    assert first is not second
