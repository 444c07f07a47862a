"""A worker on another machine needs the URL and a key, and nothing else."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.served import PATIENCE_SECONDS, YARD, Served, serving, start, stop


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that runs nothing itself."""
    with serving(tmp_path_factory.mktemp("server"), "--no-worker") as server:
        yield server


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder that has the yard, and neither the database nor the key."""
    (tmp_path / "yard.py").write_text(YARD)
    return tmp_path


def hired(server: Served, place: Path, *args: str):
    return start(place, "worker", "yard:yard", "--url", server.url, "--key", server.key, *args)


@pytest.fixture
def worker(server: Served, elsewhere: Path):
    process = hired(server, elsewhere)
    yield process
    stop(process)


def test_it_runs_what_handlers_can_do(server: Served, worker):
    client = server.client()
    greeting = client.submit("greet", {"name": "far away"})
    sum_of_doubles = client.submit("double", {"numbers": list(range(12))})
    shown = client.submit("show")
    client.send_event(f"go:{shown.id}")

    assert client.result(greeting.id, timeout=PATIENCE_SECONDS) == "hello far away"
    assert client.result(sum_of_doubles.id, timeout=PATIENCE_SECONDS) == 132
    assert client.result(shown.id, timeout=PATIENCE_SECONDS) == 3
    assert [log.text for log in client.logs(greeting.id)] == ["greeting far away\n"]
    assert [step.name for step in client.steps(shown.id)][:1] == ["measure"]
    assert client.get(shown.id).progress == {"done": 1, "total": 3}
    assert [result.name for result in client.results(shown.id)][:1] == ["preview"]


def test_a_task_may_have_more_children_than_a_request_submits(server: Served, worker):
    client = server.client()
    task = client.submit("double", {"numbers": list(range(1200))})

    assert client.result(task.id, timeout=PATIENCE_SECONDS) == 2 * sum(range(1200))


def test_a_failure_says_why_and_where(server: Served, worker):
    client = server.client()
    task = client.submit("twice", {"number": None}, max_failures=1)

    failed = client.wait(task.id, timeout=PATIENCE_SECONDS)

    assert failed.state == "failed"
    assert failed.error is not None
    assert "TypeError" in failed.error.message
    assert "return 2 * number" in (failed.error.traceback or "")


def test_it_is_told_to_stop_a_task(server: Served, elsewhere: Path):
    worker = hired(server, elsewhere, "--lease", "3s")
    client = server.client()
    task = client.submit("spin")
    for seen in client.watch(task.id, timeout=PATIENCE_SECONDS):
        if seen.state == "running" and seen.cancel_requested_at is None:
            client.cancel(task.id)

    assert client.get(task.id).state == "canceled"
    assert stop(worker) == 0


def test_what_a_killed_one_held_is_finished_by_another(server: Served, elsewhere: Path):
    client = server.client()
    first = hired(server, elsewhere, "--lease", "1s", "--name", "first")
    task = client.submit("spin", max_failures=5)
    for seen in client.watch(task.id, timeout=PATIENCE_SECONDS):
        if seen.message == "spinning":
            break
    first.send_signal(signal.SIGKILL)
    first.wait()
    second = hired(server, elsewhere, "--name", "second")

    for seen in client.watch(task.id, timeout=PATIENCE_SECONDS):
        if seen.claims == 2 and seen.state == "running" and seen.cancel_requested_at is None:
            client.cancel(task.id)

    ended = client.get(task.id)
    assert (ended.state, ended.claims, ended.losses) == ("canceled", 2, 1)
    assert stop(second) == 0
    stop(first)


def test_told_to_stop_it_finishes_what_it_runs_and_takes_no_more(server: Served, elsewhere: Path):
    client = server.client()
    worker = hired(server, elsewhere, "--lease", "3s")
    task = client.submit("spin")
    for seen in client.watch(task.id, timeout=PATIENCE_SECONDS):
        if seen.message == "spinning":
            break
    worker.send_signal(signal.SIGTERM)
    waits = client.submit("greet", {"name": "later"})

    client.cancel(task.id)

    assert client.wait(task.id, timeout=PATIENCE_SECONDS).state == "canceled"
    assert stop(worker) == 0
    assert client.get(waits.id).state == "ready"
    client.cancel(waits.id)
