"""Hooks as their users see them: a server of its own process, the command line, the client, and a receiver."""

import json
import signal
import stat

import pytest
from standardwebhooks import Webhook

from taskyard.core.errors import Conflict, Invalid, NotFound
from tests.receiver import receiving, say
from tests.served import serving, stop


@pytest.fixture
def receiver():
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "taskyard.toml").write_text('[hooks]\nallow = ["127.0.0.1"]\ntimeout_seconds = 1\n')
    return tmp_path


@pytest.fixture(params=["sqlite", "postgres"])
def where(request):
    """How ``serve`` is told of a database of each engine."""
    if request.param == "sqlite":
        yield []
        return
    server = request.getfixturevalue("postgres")
    url = server.borrow()
    yield ["--database", url]
    server.give_back(url)


def test_who_asked_for_it_is_told_when_a_task_ends(folder, receiver, where):
    with serving(folder, *where, "yard:yard") as served, served.client() as client:
        hook = client.create_hook(receiver.url, ["task.succeeded", "task.failed"])
        done = client.submit("greet", {"name": "Ana"})
        broken = client.submit("fail")

        first, second = receiver.wait(2)

        told = {json.loads(each.body)["data"]["subject"]: each for each in (first, second)}
        assert set(told) == {done.id, broken.id}
        for each in (first, second):
            Webhook(hook.secret).verify(each.body, dict(each.headers))
        assert json.loads(told[broken.id].body)["type"] == "task.failed"


def test_a_server_that_is_killed_before_it_delivers_delivers_when_it_is_back(folder, receiver, where):
    receiver.answer = lambda _, request: receiver.released.wait(30)
    with serving(folder, *where) as served, served.client() as client:
        client.create_hook(receiver.url, ["task.submitted"])
        ids = {client.submit("nobody").id for _ in range(20)}
        receiver.wait(1)
        served.process.send_signal(signal.SIGKILL)
        served.process.wait()
    tried = len(receiver.received)
    receiver.released.set()
    receiver.answer = None

    with serving(folder, *where):
        told: dict[str, str] = {}
        while set(told) != ids:
            for each in receiver.wait(tried + 1)[tried:]:
                told[json.loads(each.body)["data"]["subject"]] = each.headers["webhook-id"]
            tried = len(receiver.received)

    by_task: dict[str, set[str]] = {}
    for each in receiver.received:
        by_task.setdefault(json.loads(each.body)["data"]["subject"], set()).add(each.headers["webhook-id"])
    assert all(len(used) == 1 for used in by_task.values())  # one id, however often


def test_hooks_from_the_command_line(folder, receiver):
    with serving(folder) as served:
        made = served.run("hook", "create", receiver.url, "--event", "task.submitted", "--json").json()
        id = made["id"]
        assert made["secret"].startswith("whsec_")
        assert stat.S_IMODE((folder / "taskyard.secret").stat().st_mode) == 0o600

        tested = served.run("hook", "test", id)
        [got] = receiver.wait(1)
        assert got.headers["webhook-id"] == tested.out.strip()

        again = served.run("hook", "resend", id, tested.out.strip())
        assert (again.code, len(receiver.wait(2))) == (0, 2)

        listed = served.run("hook", "deliveries", id, "--json").json()
        assert [(each["kind"], each["id"]) for each in listed] == [("hook.test", tested.out.strip())]

        rotated = served.run("hook", "rotate", id)
        assert rotated.out.strip() not in ("", made["secret"])
        assert made["secret"] not in served.run("hook", "show", id, "--json").out

        changed = served.run("hook", "set", id, "--disable", "--queue", "mail", "--json").json()
        assert (changed["enabled"], changed["queue"], changed["events"]) == (
            False,
            "mail",
            ["task.submitted"],
        )
        refused = served.run("hook", "test", id)
        assert (refused.code != 0, "disabled" in refused.err) == (True, True)
        assert "disabled" in served.run("hook", "list").out
        assert served.run("hook", "delete", id, "--yes").code == 0
        assert served.run("hook", "show", id).code != 0


def test_a_secret_outlives_the_server_and_is_nowhere_in_the_database(folder, receiver):
    with serving(folder) as served, served.client() as client:
        hook = client.create_hook(receiver.url)
        database = next(folder.glob("*.db"))
    assert hook.secret.removeprefix("whsec_").encode() not in database.read_bytes()

    with serving(folder) as served, served.client() as client:
        client.submit("nobody")
        [got] = receiver.wait(1)
        Webhook(hook.secret).verify(got.body, dict(got.headers))


def test_a_private_address_is_sent_to_only_where_the_server_is_told_so(tmp_path, receiver):
    with serving(tmp_path) as served, served.client() as client:
        hook = client.create_hook(receiver.url)
        delivery = client.test_hook(hook.id)
        while delivery.error is None:
            delivery = client.delivery(hook.id, delivery.id)

    assert "not a public address" in delivery.error
    assert receiver.received == []


def test_what_the_receiver_answers_is_seen(folder, receiver):
    receiver.answer = lambda _, request: say(request, 410, b"never again")
    with serving(folder) as served, served.client() as client:
        hook = client.create_hook(receiver.url)
        delivery = client.test_hook(hook.id)
        while delivery.state == "pending":
            delivery = client.delivery(hook.id, delivery.id)
        assert (delivery.state, delivery.status, delivery.error) == (
            "given_up",
            410,
            "410 Gone: never again",
        )
        assert not client.hook(hook.id).enabled
        with pytest.raises(Conflict):
            client.resend_delivery(hook.id, delivery.id)
        with pytest.raises(NotFound):
            client.delivery(hook.id, "nothing")
        with pytest.raises(Invalid):
            client.create_hook("ftp://example.org/x")
        assert stop(served.process) == 0
