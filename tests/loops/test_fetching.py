"""Connectors, storages and the tests of destinations, as the worker meets them."""

import asyncio
import hashlib
import json
from datetime import timedelta

import pytest

from taskyard.core.destination import Kind, Standing
from taskyard.core.errors import LeaseLost
from taskyard.core.outcome import Done, Failed
from taskyard.core.source import QUEUE
from taskyard.loops.connector import Found, MockSource, Refused
from taskyard.loops.context import Context
from taskyard.loops.fetching import Fetching
from taskyard.loops.guard import networks
from taskyard.loops.handlers import Handlers
from taskyard.loops.proving import poster
from taskyard.loops.storage import LocalStorage, write_whole
from taskyard.loops.store_desk import StoreDesk
from taskyard.loops.worker import Worker
from taskyard.service.hooks import Letter
from taskyard.service.seal import Seal
from tests.conftest import new_id
from tests.receiving import receiving

SEAL = Seal("the seal of tests")


class Album(MockSource):
    """A source type of one's own: a class with a type, and what it does."""

    type = "albums.album"

    def __init__(self):
        self.opened_with, self.visited_with, self.fails = [], [], 0

    async def open(self, visit):
        self.opened_with.append(visit.secret)
        return {"cookie": "c-1"}

    async def file(self, visit, wanted):
        self.visited_with.append((visit.source.identifier, visit.secret))
        if self.fails:
            self.fails -= 1
            raise ConnectionError("the album is away")
        return Found(b"\x89PNG", "png")

    async def data(self, visit, wanted):
        return Found(json.dumps(await visit.event(f"shared:{wanted}")).encode())


class House:
    """A yard with an album, a storage, and a hand that does one attempt at a time."""

    def __init__(self, yard, folder):
        self.yard, self.folder = yard, folder
        self.album = Album()
        self.fetching = Fetching(
            yard.store, yard.services, [self.album], [LocalStorage(folder)], seal=SEAL, now=yard.clock
        )
        self.handlers = {handler.type: handler.function for handler in self.fetching.handlers()}
        services, actor = yard.services, yard.actor
        user, _ = yard.write(services.sources.welcome, actor, "ana")
        source, _ = yard.write(services.sources.add, actor, user.number, Album.type, "holidays")
        storage = yard.write(services.destinations.add, actor, Kind.STORAGE, f"local://{folder}")
        tested = yard.write(lambda r: r.destinations.judge(storage, Standing.VALID))
        assert tested
        secret = SEAL.seal('{"password": "p"}')
        self.session = yard.write(services.sessions.begin, actor, source, credentials=secret)

    def open(self):
        self.attempt("session.init")
        return self.yard.read(self.yard.services.sessions.get, self.yard.actor, self.session.id)

    def poll(self, **payload):
        return self.yard.write(self.yard.services.polls.begin, self.yard.actor, self.session.id, payload)

    def look(self, poll):
        return self.yard.read(self.yard.services.polls.get, self.yard.actor, poll.id)

    def claim(self, type):
        [task] = self.yard.worker(type, queue=QUEUE).claim()
        return task

    def do(self, task):
        """Do an attempt as the worker would, up to where it would settle."""
        return asyncio.run(self.handlers[task.type](Context(task, None)))

    def attempt(self, type):
        task = self.claim(type)
        self.yard.settle(task, self.do(task))
        return self.yard.get(task)


@pytest.fixture
def house(yard, tmp_path):
    return House(yard, tmp_path / "results")


def test_a_source_type_is_one_class(house):
    session = house.open()
    poll = house.poll(files=["beach"])
    task = house.attempt("source.files")

    assert session.state == "active"
    assert house.album.opened_with == [{"password": "p"}]
    assert house.album.visited_with == [("holidays", {"cookie": "c-1"})]
    assert house.look(poll).state == "completed"
    [result] = house.yard.read(house.yard.services.tasks.results, house.yard.actor, task.id)
    assert result.value == {
        "identifier": "beach",
        "url": f"local://{house.folder}/{poll.id}/{task.id}.png",
        "type": "png",
        "checksum": hashlib.md5(b"\x89PNG").hexdigest(),
        "size": 4,
    }
    assert (house.folder / poll.id / f"{task.id}.png").read_bytes() == b"\x89PNG"


def test_a_session_is_active_only_once_its_task_has_succeeded(house):
    task = house.claim("session.init")
    outcome = house.do(task)

    def state():
        return house.yard.read(house.yard.services.sessions.get, house.yard.actor, house.session.id).state

    assert (outcome, state()) == (Done(), "pending")
    house.yard.settle(task, outcome)
    assert state() == "active"


def test_a_session_is_opened_once_though_its_worker_dies(house):
    house.do(house.claim("session.init"))
    house.yard.clock.forward(hours=1)
    house.yard.reap()

    assert house.open().state == "active"
    assert len(house.album.opened_with) == 1


def test_a_result_is_published_once_though_its_worker_dies(house):
    house.open()
    house.poll(files=["beach"])
    first = house.claim("source.files")
    house.do(first)  # and dies before it could say that it is done
    house.yard.clock.forward(hours=1)
    house.yard.reap()
    task = house.attempt("source.files")

    assert (task.id, task.claims, task.state) == (first.id, 2, "succeeded")
    assert len(house.yard.read(house.yard.services.tasks.results, house.yard.actor, task.id)) == 1


def test_who_is_no_longer_the_holder_publishes_nothing(house):
    house.open()
    house.poll(files=["beach"])
    lost = house.claim("source.files")
    house.yard.clock.forward(hours=1)
    house.yard.reap()

    with pytest.raises(LeaseLost):
        house.do(lost)
    assert house.yard.read(house.yard.services.tasks.results, house.yard.actor, lost.id) == []


def test_what_a_source_fails_at_is_tried_again(house):
    house.open()
    house.poll(files=["beach"])
    house.album.fails = 1
    task = house.claim("source.files")
    with pytest.raises(ConnectionError):
        house.do(task)
    house.yard.settle(task, Failed("the album is away"))
    house.yard.clock.forward(hours=1)
    house.yard.due()
    assert house.attempt("source.files").state == "succeeded"


@pytest.mark.parametrize("seal", [Seal("another"), None])
def test_a_seal_of_another_server_is_told(house, seal):
    house.fetching._seal = seal
    task = house.attempt("session.init")
    assert task.error.code == "credentials-unreadable"


def test_tasks_of_these_types_that_nobody_polled_for_fail_for_good(house):
    for input in (None, {}, {"poll": "x"}, {"poll": 5}, {"poll": "a\0b"}, "x"):
        house.yard.submit("source.data", queue=QUEUE, input=input, target="x")
        assert house.attempt("source.data").error.code == "poll-unknown"
    for input in (None, {"session": "x"}, [1]):
        house.yard.submit("session.init", queue=QUEUE, input=input, priority=5)
        assert house.attempt("session.init").error.code == "session-expired"


# -- storages ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/elsewhere", "/../elsewhere", "/results/../elsewhere", "/results-too", "/results/out", "/"]
)
def test_nothing_is_written_outside_the_folder_of_results(tmp_path, path):
    storage = LocalStorage(tmp_path / "results")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "results").mkdir()
    (tmp_path / "results/out").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(Refused, match="only"):
        asyncio.run(storage.probe(f"local://{tmp_path}{path}"))
    with pytest.raises(Refused, match="only"):
        asyncio.run(storage.put(f"local://{tmp_path}{path}", "a/b.json", b"x"))
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_storage_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "results").write_text("a file stands where the folder should be")
    with pytest.raises(Refused, match="cannot be written") as refusal:
        asyncio.run(LocalStorage(tmp_path / "results").probe(f"local://{tmp_path}/results"))
    assert refusal.value.code == "storage-not-writable"


def test_a_probe_leaves_nothing_behind(tmp_path):
    asyncio.run(LocalStorage(tmp_path).probe(f"local://{tmp_path}/deep/down"))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    file = tmp_path / "one.json"
    write_whole(file, b"first")

    with pytest.raises(TypeError):
        write_whole(file, "no bytes")

    assert file.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [file]


# -- receivers ---------------------------------------------------------------------------------------------------------------


def post(url, *, allow=("127.0.0.0/8",)):
    letter = Letter(url=url, headers={"Content-Type": "application/json", "X-Signature": "s"}, body=b"{}")
    return asyncio.run(poster(networks(allow), agent="tests")(letter))


def test_a_letter_is_posted_as_it_is():
    with receiving(204) as (url, posted):
        assert post(f"{url}/hooks/1") == 204
    [(path, headers, body)] = posted
    assert (path, body, headers["X-Signature"]) == ("/hooks/1", b"{}", "s")
    assert headers["Content-Type"] == "application/json"


def test_a_redirect_is_not_followed():
    with receiving(200) as (elsewhere, led_to), receiving(307, Location=elsewhere) as (url, _):
        assert post(url) == 307
        assert led_to == []


def test_a_receiver_that_is_not_there_is_told():
    with receiving(200) as (url, _):
        pass
    with pytest.raises(Refused) as refusal:
        post(url)
    assert refusal.value.code == "webhook-unreachable"


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.1", "169.254.169.254", "0.0.0.0"],
)
def test_this_machine_and_its_network_are_not_written_to(host):
    with pytest.raises(Refused) as refusal:
        post(f"http://{host}:9/", allow=())
    assert refusal.value.code == "webhook-unreachable"
    assert "not a public address" in str(refusal.value)


def test_a_task_waits_for_what_a_person_does_elsewhere(yard, tmp_path):
    house = House(yard, tmp_path)
    house.open()
    poll = house.poll(data_types=["inbox"])
    [fetch] = house.look(poll).fetches
    assert fetch.state == "ready"

    def work():
        handlers = Handlers()
        for handler in house.fetching.handlers():
            handlers.add(handler)
        desk = StoreDesk(yard.store, yard.services, yard.actor)
        Worker(desk, handlers, new_id=new_id, jitter=lambda: 0.0, until_idle=True).run()

    work()
    assert (house.look(poll).state, house.look(poll).fetches[0].state) == ("processing", "suspended")
    yard.clock.now += timedelta(hours=1)
    yard.write(yard.services.tasks.send, yard.actor, "shared:inbox", {"data": []})
    work()
    assert house.look(poll).state == "completed"
