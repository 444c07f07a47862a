"""The database stops under real servers and workers: everybody says so, nobody gives up what it holds, and all goes on when it is back."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from taskyard import Yard
from tests.chaos import handlers
from tests.postgres import Cluster, with_database
from tests.served import PATIENCE_SECONDS, Served, serving
from tests.working import SHORT_LEASE, attempts, ended, until, workers


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    yield cluster
    cluster.remove()


@pytest.fixture
def url(cluster: Cluster) -> str:
    return with_database(cluster.url, "postgres")


@pytest.fixture
def served(url: str, tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, "--database", url, "--no-worker") as served:
        yield served


def test_while_the_database_is_away_the_server_lives_says_so_and_then_goes_on(
    cluster: Cluster, served: Served
) -> None:
    http = httpx.Client(base_url=served.url, headers={"Authorization": f"Bearer {served.key}"}, timeout=20)
    task = http.post("/v1/tasks", json={"type": "greet"}).json()
    assert http.get("/readyz").status_code == 200

    cluster.stop("immediate")
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/v1/tasks", {"json": {"type": "greet"}, "headers": {"Idempotency-Key": "once"}}),
        ("GET", f"/v1/tasks/{task['id']}", {}),
        ("GET", "/v1/tasks", {}),
        ("POST", f"/v1/tasks/{task['id']}:cancel", {}),
        ("GET", "/v1/events", {}),
    ]
    for method, path, what in requests:
        answer = http.request(method, path, **what)
        assert answer.status_code == 503, (path, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) >= 1
        problem = answer.json()
        assert problem["code"] == "unavailable"
        assert "PostgreSQL at" in problem["detail"]
    ready = http.get("/readyz")
    assert (ready.status_code, ready.json()["store"]["ok"]) == (503, False)
    assert "PostgreSQL at" in ready.json()["store"]["reason"]
    assert http.get("/healthz").status_code == 200

    cluster.start()
    until(lambda: http.get("/readyz").status_code == 200)
    assert http.get(f"/v1/tasks/{task['id']}").json()["state"] == "ready"
    method, path, what = requests[0]
    made = http.request(method, path, **what)
    assert made.status_code == 201
    assert http.request(method, path, **what).json()["id"] == made.json()["id"]
    http.close()


def test_a_client_waits_for_a_database_that_comes_back(cluster: Cluster, served: Served) -> None:
    with served.client() as client:
        cluster.stop("immediate")
        starting = subprocess.Popen(
            [sys.executable, "-c", "pass"]
        )  # about as long as an operator needs at the least
        starting.wait()
        cluster.start()
        assert client.submit("greet").state == "ready"


# -- workers -----------------------------------------------------------------------------------------------------------

Hire = Callable[[timedelta], "subprocess.Popen[str]"]


@pytest.fixture
def hire(url: str, tmp_path: Path) -> Iterator[Hire]:
    hired: list[subprocess.Popen[str]] = []

    def hire(lease: timedelta) -> "subprocess.Popen[str]":
        how = {"url": url, "lease_s": lease.total_seconds(), "restart": True, "isolation": None, "slots": 4}
        script = Path(__file__).with_name("worker_process.py")
        worker = subprocess.Popen(
            [sys.executable, script, json.dumps(how)], stdout=subprocess.PIPE, text=True, bufsize=1
        )
        hired.append(worker)
        return worker

    yield hire
    for worker in hired:
        worker.kill()
        worker.wait(PATIENCE_SECONDS)
        assert worker.stdout is not None
        worker.stdout.close()


@pytest.fixture
def program(url: str) -> Iterator[Yard]:
    with Yard(url) as program:
        program.task("wait_for", retry_delay=0)(handlers.wait_for)
        yield program


def said(worker: "subprocess.Popen[str]", what: str) -> None:
    """Wait until the worker has logged *what*."""
    assert worker.stdout is not None
    for line in worker.stdout:
        if what in line:
            return
    raise AssertionError(f"it never said {what!r}")


def test_a_worker_runs_on_while_the_database_is_away_and_settles_when_it_is_back(
    cluster: Cluster, program: Yard, hire: Hire, tmp_path: Path
) -> None:
    worker = hire(timedelta(seconds=30))
    task = program.submit("wait_for", {"file": str(tmp_path / "go on")})
    until(lambda: program.results(task.id).get("pid"))
    [before] = workers(program)

    cluster.stop("immediate")
    (tmp_path / "go on").touch()
    said(worker, "cannot claim")  # it has noticed, and has ended its task by now or soon
    cluster.start()

    task = patiently(lambda: ended(program, task))
    assert (task.state, task.output, task.claims) == ("succeeded", "attempt 1", 1)
    assert [each.id for each in workers(program)] == [before.id]


def test_what_ends_after_its_lease_did_with_the_database_away_is_refused_and_done_again(
    cluster: Cluster, program: Yard, hire: Hire, tmp_path: Path
) -> None:
    worker = hire(SHORT_LEASE)
    task = program.submit("wait_for", {"file": str(tmp_path / "go on")})
    until(lambda: program.results(task.id).get("pid"))
    [before] = workers(program)

    cluster.stop("immediate")
    said(worker, "lost its lease")
    (tmp_path / "go on").touch()
    cluster.start()

    task = patiently(lambda: ended(program, task))
    assert (task.state, task.output, task.claims, task.losses) == ("succeeded", "attempt 2", 2, 1)
    assert task.settled_by != f"worker:{before.id}"
    assert attempts(program, task).count("succeeded") == 1


def patiently(look: Callable[[], Any]) -> Any:
    """Look, once the database answers."""
    from taskyard.core.errors import Unavailable

    while True:
        try:
            return look()
        except Unavailable:
            continue
