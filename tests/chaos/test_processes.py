"""Real workers in real processes, killed, stopped and told to go: nothing is lost, and nothing is settled twice."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from taskyard import Yard
from tests.working import PATIENCE_S, SHORT_LEASE, attempts, ended, reap, running, until, workers

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(program: Yard) -> Iterator[Start]:
    """Starts a worker in a process of its own on the program's database, and waits until it is there."""
    started: list[subprocess.Popen[bytes]] = []

    def start_one(
        *, restart: bool = True, isolation: str | None = None, slots: int = 4
    ) -> subprocess.Popen[bytes]:
        how = {
            "url": program.url,
            "lease_s": SHORT_LEASE.total_seconds(),
            "restart": restart,
            "isolation": isolation,
            "slots": slots,
        }
        there = {worker.id for worker in workers(program)}
        process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("worker_process.py"), json.dumps(how)]
        )
        started.append(process)
        until(lambda: {worker.id for worker in workers(program)} - there)
        return process

    yield start_one
    for process in started:
        process.kill()
        process.wait()


def pid_of(program: Yard, task_id: str) -> int:
    return until(lambda: program.results(task_id).get("pid"))


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone before, or while it is read
        return False


def test_the_tasks_of_a_worker_that_is_killed_are_lost_and_run_elsewhere_from_their_last_step(
    program: Yard, start: Start, tmp_path: Path
) -> None:
    first = start()
    task = program.submit("steps", {"folder": str(tmp_path)})
    pid_of(program, task.id)
    first.kill()
    assert first.wait(PATIENCE_S) == -signal.SIGKILL
    start()
    until(lambda: reap(program) or program.get(task.id).losses)  # the second worker may be faster
    task = ended(program, task)
    assert task.output == ["one", "two", "three"]
    assert (task.claims, task.failures, task.losses) == (2, 1, 1)
    assert attempts(program, task)[-3:] == ["lost", "started", "succeeded"]
    assert [(tmp_path / name).read_text() for name in ("one", "two", "three")] == ["x", "x", "x"]


def test_what_a_worker_finishes_after_it_was_stopped_past_its_lease_is_refused(
    program: Yard, start: Start, tmp_path: Path
) -> None:
    stopped = start(slots=1)
    go_on = tmp_path / "go on"
    task = program.submit("wait_for", {"file": str(go_on)})
    pid_of(program, task.id)
    [before] = workers(program)
    stopped.send_signal(signal.SIGSTOP)
    until(lambda: reap(program))  # its lease has run out, and the task is another's to take
    assert program.get(task.id).state == "ready"
    program.cancel(task.id)
    go_on.touch()  # the handler ends, and is late
    stopped.send_signal(signal.SIGCONT)

    [after] = until(lambda: workers(program))
    assert after.id != before.id
    assert ended(program, program.submit("who")).state == "succeeded"
    task = program.get(task.id)
    assert (task.state, task.output, task.claims) == ("canceled", None, 1)


def test_a_worker_that_is_not_to_restart_exits_with_75_when_it_was_cut_off(
    program: Yard, start: Start
) -> None:
    cut_off = start(restart=False)
    program.submit("hang")
    cut_off.send_signal(signal.SIGSTOP)
    until(lambda: not workers(program))
    cut_off.send_signal(signal.SIGCONT)
    assert cut_off.wait(PATIENCE_S) == 75


def test_a_task_that_kills_three_workers_is_poison_and_harms_no_fourth(
    program: Yard, start: Start, tmp_path: Path
) -> None:
    [task] = program.submit_many(
        [program.new_task("kill_the_worker", {"folder": str(tmp_path)}, max_failures=100)]
    )
    for loss in range(1, 4):
        assert start().wait(PATIENCE_S) == -signal.SIGKILL
        until(lambda: reap(program))
        assert program.get(task.id).losses == loss
    fourth = start()
    assert ended(program, program.submit("who")).state == "succeeded"
    assert fourth.poll() is None
    task = program.get(task.id)
    assert (task.state, task.reason, task.error.code, task.claims) == ("failed", "poisoned", "poisoned", 3)
    assert len(list(tmp_path.glob("killed-*"))) == 3


def test_a_task_that_kills_its_own_process_kills_no_worker(
    program: Yard, start: Start, tmp_path: Path
) -> None:
    worker = start(isolation="process")
    [task] = program.submit_many(
        [program.new_task("kill_the_worker", {"folder": str(tmp_path)}, max_failures=100)]
    )
    task = ended(program, task)
    assert (task.state, task.reason, task.losses) == ("failed", "poisoned", 3)
    assert worker.poll() is None
    assert ended(program, program.submit("who")).state == "succeeded"


def test_the_processes_of_a_worker_that_is_killed_die_with_it(program: Yard, start: Start) -> None:
    worker = start(isolation="process")
    pid = pid_of(program, program.submit("hang").id)
    assert pid != worker.pid
    worker.kill()
    until(lambda: not is_alive(pid))


@pytest.mark.parametrize("isolation", [None, "process"])
def test_sigterm_lets_a_worker_finish_what_it_runs_and_start_nothing_more(
    program: Yard, start: Start, tmp_path: Path, isolation: str | None
) -> None:
    worker = start(isolation=isolation, slots=1)
    go_on = tmp_path / "go on"
    task = running(program, program.submit("wait_for", {"file": str(go_on)}))
    pid = pid_of(program, task.id)
    later = program.submit("who")
    worker.terminate()
    if isolation:
        os.kill(pid, signal.SIGTERM)  # a service manager tells them all
    [draining] = until(lambda: [each for each in workers(program) if each.state == "draining"])
    until(lambda: workers(program)[0].lease_until > draining.lease_until + SHORT_LEASE)
    assert reap(program) == 0
    go_on.touch()
    assert worker.wait(PATIENCE_S) == 0
    task = program.get(task.id)
    assert (task.output, task.claims) == ("attempt 1", 1)
    assert program.get(later.id).state == "ready"


def test_a_second_signal_gives_back_at_once_what_still_runs(program: Yard, start: Start) -> None:
    worker = start()
    task = program.submit("hang")
    pid_of(program, task.id)
    worker.send_signal(signal.SIGINT)
    until(lambda: [each for each in workers(program) if each.state == "draining"])
    worker.send_signal(signal.SIGINT)
    assert worker.wait(PATIENCE_S) == 0
    task = program.get(task.id)
    assert (task.state, task.failures, task.losses) == ("ready", 0, 0)


def test_a_task_submitted_by_one_process_wakes_a_worker_in_another(program: Yard, start: Start) -> None:
    worker = start()
    output = ended(program, program.submit("who", {"number": 3})).output
    assert (output["pid"], output["number"]) == (worker.pid, 3)


def test_a_running_task_is_canceled_from_another_process(program: Yard, start: Start) -> None:
    start(isolation="process")
    task = program.submit("hang")
    pid = pid_of(program, task.id)
    program.cancel(task.id)
    assert ended(program, task).state == "canceled"
    until(lambda: not is_alive(pid))


def test_two_workers_share_the_work_and_do_each_task_once(program: Yard, start: Start) -> None:
    start(), start()
    tasks = program.submit_many([program.new_task("who", {"number": number}) for number in range(200)])
    outputs = [ended(program, task).output for task in tasks]
    assert [output["number"] for output in outputs] == list(range(200))
    assert all(output["attempt"] == 1 for output in outputs)
