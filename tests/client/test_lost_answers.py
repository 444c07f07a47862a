"""An answer that is lost on its way changes nothing: what was done is not done twice, and nobody holds what nobody knows of."""

import asyncio
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest

from taskyard.client import AsyncClient, Client, Unreachable
from taskyard.client.desk import HttpDesk
from taskyard.core.errors import Unavailable
from taskyard.core.hold import Hold, Settlement
from taskyard.core.outcome import Done
from taskyard.core.task import Task
from taskyard.core.worker import Lane
from tests.served import Served


class BadNetwork:
    """Passes on what goes to a server and what comes back, but for the next answer to what is to be lost."""

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self._to = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.losing: bytes | None = None
        self.lost = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._to)
                doomed = threading.Event()
                for source, target, goes in ((near, far, True), (far, near, False)):
                    threading.Thread(
                        target=self._pass_on, args=(source, target, goes, doomed), daemon=True
                    ).start()

    def _pass_on(
        self, source: socket.socket, target: socket.socket, goes: bool, doomed: threading.Event
    ) -> None:
        with suppress(OSError), source, target:
            while piece := source.recv(65536):
                if goes and self.losing is not None and self.losing in piece:
                    self.losing = None
                    doomed.set()
                if not goes and doomed.is_set():
                    self.lost += 1
                    break  # the server has answered, and nobody hears it
                target.sendall(piece)
            for end in (source, target):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def network(served: Served) -> Iterator[BadNetwork]:
    network = BadNetwork(served.url)
    yield network
    network.close()


@contextmanager
def losing(network: BadNetwork, what: bytes) -> Iterator[None]:
    """Within: one answer to a request that has *what* in it is lost."""
    before, network.losing = network.lost, what
    yield
    assert network.lost == before + 1


@pytest.fixture
def mark() -> str:
    """A name nobody else uses."""
    return f"t-{uuid.uuid4().hex}"


def test_a_submit_whose_answer_is_lost_makes_one_task(served: Served, network: BadNetwork, mark: str):
    with losing(network, b"POST /v1/tasks "), Client(network.url, served.key) as client:
        task = client.submit("absent", labels={"mark": mark})

    assert [each.id for each in served.client().search(labels={"mark": mark})] == [task.id]


def test_a_batch_whose_answer_is_lost_makes_its_tasks_once(served: Served, network: BadNetwork, mark: str):
    async def submit() -> list[str]:
        async with AsyncClient(network.url, served.key) as client:
            tasks = await client.submit_many([{"type": "absent", "labels": {"mark": mark}}] * 3)
            return [task.id for task in tasks if not isinstance(task, Exception)]

    with losing(network, b"POST /v1/tasks:batch "):
        ids = asyncio.run(submit())

    assert sorted(each.id for each in served.client().search(labels={"mark": mark})) == sorted(ids)


def test_a_retry_whose_answer_is_lost_makes_one_task(served: Served, network: BadNetwork):
    task = served.client().submit("absent")
    served.client().cancel(task.id)

    with losing(network, b":retry "), Client(network.url, served.key) as client:
        again = client.retry(task.id)

    newest = next(served.client().search(type="absent"))
    assert (newest.id, newest.retry_of) == (again.id, task.id)
    assert (
        sum(
            each.retry_of == task.id
            for each in served.client().search(type="absent", created_since=task.created_at)
        )
        == 1
    )


def test_a_feed_that_breaks_misses_nothing_and_tells_nothing_twice(
    served: Served, network: BadNetwork, mark: str
):
    ids = [served.client().submit("absent", queue=mark).id for _ in range(3)]

    with losing(network, b"GET /v1/events"), Client(network.url, served.key) as client:
        events = client.events(after="0-0", queue=mark, kind="task.submitted")
        seen = [next(events).subject for _ in ids]

    assert seen == ids


def test_what_a_worker_claimed_and_did_not_hear_of_it_is_told_when_it_asks_again(
    served: Served, network: BadNetwork, mark: str
):
    client = served.client()
    task = client.submit("odd", queue=mark)

    async def work() -> list[str]:
        desk = HttpDesk(network.url, served.key)
        worker = str(uuid.uuid4())
        lease = timedelta(minutes=1)
        lanes = [Lane(mark, "odd")]
        await desk.register(worker, name="w", lanes=lanes, slots=2, lease=lease, version="1")
        with losing(network, b"leases:acquire"), pytest.raises(Unreachable):
            await desk.acquire(worker, 2, timedelta(0))
        claimed = await desk.acquire(worker, 1, timedelta(0))
        assert await desk.settle([Settlement(Hold.of(each), Done()) for each in claimed]) == [None]
        assert await desk.acquire(worker, 2, timedelta(0)) == []
        await desk.leave(worker)
        return [each.id for each in claimed]

    assert asyncio.run(work()) == [task.id]
    ended = client.get(task.id)
    assert (ended.state, ended.claims) == ("succeeded", 1)


def test_what_a_server_claimed_before_its_database_was_cut_off_is_told_when_it_is_asked_again(
    served: Served, mark: str
):
    """It says that it is unavailable, and cannot know whether what it did has been kept."""
    client = served.client()
    task = client.submit("odd", queue=mark)

    async def work() -> list[str]:
        desk = HttpDesk(served.url, served.key)
        acquire = desk._asks.acquire
        losses = iter([True])

        async def cut_off(*asked: Any, **how: Any) -> list[Task]:
            tasks = await acquire(*asked, **how)
            if next(losses, False):
                raise Unavailable("the database does not answer")
            return tasks

        desk._asks.acquire = cut_off  # type: ignore[method-assign]
        worker = str(uuid.uuid4())
        lanes = [Lane(mark, "odd")]
        await desk.register(worker, name="w", lanes=lanes, slots=2, lease=timedelta(minutes=1), version="1")
        with pytest.raises(Unavailable):
            await desk.acquire(worker, 2, timedelta(0))
        claimed = await desk.acquire(worker, 1, timedelta(0))
        assert await desk.settle([Settlement(Hold.of(each), Done()) for each in claimed]) == [None]
        await desk.leave(worker)
        return [each.id for each in claimed]

    assert asyncio.run(work()) == [task.id]
    assert (client.get(task.id).state, client.get(task.id).claims) == ("succeeded", 1)


def test_what_is_claimed_for_a_worker_that_no_longer_wants_it_is_given_back(served: Served, mark: str):
    client = served.client()

    async def work() -> str:
        desk = HttpDesk(served.url, served.key)
        worker = str(uuid.uuid4())
        await desk.register(
            worker, name="w", lanes=[Lane(mark, "odd")], slots=2, lease=timedelta(minutes=1), version="1"
        )
        waiting = asyncio.create_task(desk.acquire(worker, 2, timedelta(seconds=30)))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        task = await asyncio.to_thread(client.submit, "odd", queue=mark)
        while (await asyncio.to_thread(client.get, task.id)).claims == 0:
            continue
        while (await asyncio.to_thread(client.get, task.id)).state == "running":
            continue
        await desk.leave(worker)
        return task.id

    given_back = client.get(asyncio.run(work()))
    assert (given_back.state, given_back.claims, given_back.failures) == ("ready", 1, 0)
