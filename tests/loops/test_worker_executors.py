"""The computing may be done elsewhere, by any executor: threads, processes, a Dask cluster of machines of its own."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from taskyard import Yard
from tests.chaos import handlers
from tests.working import ended, running, until

REPOSITORY = Path(__file__).parents[2]


class Cluster:
    """A Dask cluster: a scheduler and two workers, each a process of its own, as they would run on three machines."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        scheduler = self._program("scheduler", "--port", "0", "--no-dashboard", "--host", "127.0.0.1")
        self.address = told(scheduler, r"Scheduler at:\s+(tcp://\S+)")
        self.workers = [self.hire() for _ in range(2)]

    def hire(self) -> "subprocess.Popen[str]":
        worker = self._program("worker", self.address, "--nthreads", "2", "--no-nanny", "--no-dashboard")
        told(worker, r"Registered to:\s+(\S+)")
        return worker

    def close(self) -> None:
        self._stack.close()

    def _program(self, *args: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *args],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process


def told(process: "subprocess.Popen[str]", pattern: str) -> str:
    """Wait until a program of Dask has said something of *pattern*, and let it say on."""
    assert process.stderr is not None
    for line in process.stderr:
        found = re.search(pattern, line)
        if found:
            subprocess.Popen(
                ["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL
            )  # so that it never blocks
            return found[1]
    raise AssertionError(f"it ended with {process.wait()}")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    yield cluster
    cluster.close()


@contextmanager
def executing(kind: str, cluster: Any) -> Iterator[Executor]:
    if kind == "threads":
        with ThreadPoolExecutor(2) as threads:
            yield threads
    elif kind == "processes":
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as processes:
            yield processes
    else:
        import distributed

        with distributed.Client(cluster().address) as client, client.get_executor() as executor:
            yield executor


@pytest.fixture(params=["threads", "processes", "dask"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    with executing(request.param, lambda: request.getfixturevalue("cluster")) as executor:
        yield executor


@pytest.fixture
def elsewhere(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Executor]:
    """An executor whose processes die alone."""
    with executing("dask", lambda: cluster) as executor:
        yield executor


def declare(program: Yard, executor: Executor, *functions: Any, **options: Any) -> None:
    for function in functions:
        program.task(function.__name__, executor=executor, retry_delay=0, **options)(function)


def test_the_whole_context_works_from_there(program: Yard, executor: Executor) -> None:
    declare(program, executor, handlers.everything, handlers.who)
    with program.working():
        task = ended(program, program.submit("everything"))
    once, number = task.output
    assert (task.state, task.failures, number) == ("succeeded", 1, 5)
    assert isinstance(once, int)
    assert task.progress == {"done": 1, "total": 2}
    assert task.message == "half"
    assert program.results(task.id) == {"preview": {"size": 3}}
    assert "printed\n" in program.log(task.id)
    assert "told\n" in program.log(task.id)


def test_children_are_spawned_and_gathered_from_there(program: Yard, executor: Executor) -> None:
    declare(program, executor, handlers.fan_out, handlers.who)
    with program.working():
        assert ended(program, program.submit("fan_out", {"count": 3})).output == [0, 1, 2]


def test_what_it_raises_or_cannot_send_is_judged_as_anywhere(program: Yard, executor: Executor) -> None:
    declare(program, executor, handlers.eat)
    declare(program, executor, handlers.lookup, no_retry=(LookupError,))
    declare(program, executor, handlers.bad_step, handlers.returns_what_cannot_be_sent, max_failures=1)
    with program.working():
        tasks = {type: program.submit(type) for type in ("lookup", "bad_step", "returns_what_cannot_be_sent")}
        tasks = {type: ended(program, task) for type, task in tasks.items()}
        unfit = ended(program, program.submit("eat", {"never": "asked"}))
    assert (tasks["lookup"].state, tasks["lookup"].failures) == ("failed", 1)
    assert "in lookup" in tasks["lookup"].error.traceback
    assert "name" in tasks["bad_step"].error.message
    assert tasks["returns_what_cannot_be_sent"].error.code == "not_json"
    assert unfit.error.code == "bad_input"


def test_a_function_there_is_told_that_its_task_was_canceled(
    program: Yard, executor: Executor, tmp_path: Path
) -> None:
    declare(program, executor, handlers.spin, handlers.look_up_and_spin)
    with program.working():
        spins = [
            program.submit("spin", {"folder": str(tmp_path)}),
            program.submit("look_up_and_spin"),
        ]
        for task in spins:
            until(lambda task=task: program.results(task.id).get("pid"))
            program.cancel(task.id)
        spun, saw = (ended(program, task) for task in spins)
        assert spun.state == "canceled"
        assert saw.output == "I saw it"  # it ended its work all the same, and that counts
        assert (tmp_path / "stopped-1").exists()


def test_a_function_whose_time_is_up_is_told_and_its_slot_is_free(
    program: Yard, executor: Executor, tmp_path: Path
) -> None:
    declare(program, executor, handlers.spin, max_failures=1, timeout=timedelta(seconds=2))
    declare(program, executor, handlers.who)
    with program.working(slots=1):
        ended(program, program.submit("who"))  # its process is there now, and the time is for the function
        task = ended(program, program.submit("spin", {"folder": str(tmp_path)}))
        assert ended(program, program.submit("who")).state == "succeeded"
        until(lambda: (tmp_path / "stopped-1").exists())
    assert (task.state, task.error.code) == ("failed", "timed_out")


def test_what_waits_for_room_there_is_canceled_at_once_and_never_begins(
    program: Yard, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(1) as executor:
        declare(program, executor, handlers.wait_for, handlers.who)
        with program.working():
            first = program.submit("wait_for", {"file": str(tmp_path / "go")})
            until(lambda: program.results(first.id).get("pid"))
            second = running(program, program.submit("who"))
            program.cancel(second.id)
            assert ended(program, second).state == "canceled"
            (tmp_path / "go").touch()
            assert ended(program, first).state == "succeeded"


# -- a cluster of machines ---------------------------------------------------------------------------------------------


def test_a_machine_of_the_cluster_that_dies_is_a_lost_attempt_and_the_task_runs_on_another(
    program: Yard, cluster: Cluster, elsewhere: Executor, tmp_path: Path
) -> None:
    declare(program, elsewhere, handlers.steps)
    with program.working():
        task = program.submit("steps", {"folder": str(tmp_path)})
        pid = until(lambda: program.results(task.id).get("pid"))
        [victim] = [worker for worker in cluster.workers if worker.pid == pid]
        victim.kill()
        task = ended(program, task)
    cluster.workers = [worker for worker in cluster.workers if worker is not victim] + [cluster.hire()]
    assert task.output == ["one", "two", "three"]
    assert (task.claims, task.losses) == (2, 1)
    # Dask ran it again by itself, too: that one was not let begin.
    assert [(tmp_path / name).read_text() for name in ("one", "two", "three")] == ["x", "x", "x"]


def test_a_task_that_kills_the_machines_of_a_cluster_is_poison(
    program: Yard, cluster: Cluster, elsewhere: Executor, tmp_path: Path
) -> None:
    declare(program, elsewhere, handlers.kill_the_worker, max_failures=100)
    cluster.workers += [cluster.hire() for _ in range(3)]
    with program.working():
        task = ended(program, program.submit("kill_the_worker", {"folder": str(tmp_path)}))
    cluster.workers = [worker for worker in cluster.workers if worker.poll() is None]
    assert (task.state, task.reason, task.losses) == ("failed", "poisoned", 3)
    assert len(list(tmp_path.glob("killed-*"))) == 3


def test_a_machine_that_cannot_reach_the_worker_says_what_to_do(program: Yard, elsewhere: Executor) -> None:
    declare(program, elsewhere, handlers.who, max_failures=1)
    worker = program.worker(reachable_at="127.0.0.1")
    worker.start()
    assert worker.wait_ready()
    assert worker._shift is not None
    worker._shift._bench._board._socket.close()
    worker._shift._bench._board._server.close()
    task = ended(program, program.submit("who"))
    worker.drain()
    assert worker.join()
    assert "--reachable-at" in task.error.message


def test_when_the_worker_is_killed_what_it_had_sent_away_is_told_to_stop(
    program: Yard, cluster: Cluster, tmp_path: Path
) -> None:
    code = """
import sys
import distributed
from taskyard import Yard
from tests.chaos import handlers

client = distributed.Client(sys.argv[2])
with Yard(sys.argv[1]) as yard:
    yard.task("spin", executor=client.get_executor())(handlers.spin)
    yard.work()
"""
    worker = subprocess.Popen(
        [sys.executable, "-c", code, program.url, cluster.address],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
    )
    task = program.submit("spin", {"folder": str(tmp_path)})
    until(lambda: program.results(task.id).get("pid"))
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    until(lambda: (tmp_path / "stopped-1").exists())


# -- strangers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        b'["Hello", {"token": "guessed", "place": "here"}]\n',
        b'["Progressed", {"progress": 1, "message": null}]\n',
        b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
        b"x" * 5000,
        b'["Ended", {"outcome": "Done", "members": {"output": 1}, "raised": []}]\n',
    ],
)
def test_a_stranger_who_calls_the_worker_is_hung_up_on(program: Yard, said: bytes) -> None:
    import socket

    with ThreadPoolExecutor(1) as executor:
        declare(program, executor, handlers.who)
        worker = program.worker()
        worker.start()
        assert worker.wait_ready()
        assert worker._shift is not None
        port = worker._shift._bench._board._port
        with socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.sendall(said)
            answer = b""
            while data := stranger.recv(1000):
                answer += data
        assert b"Answered" not in answer
        assert ended(program, program.submit("who")).state == "succeeded"
        worker.drain()
        assert worker.join()
