"""Questions asked and collected by API key, answered by people through the inbox."""

import asyncio
import json

import httpx
import pytest

from taskyard.core.errors import Invalid
from taskyard.core.queue import Kind, QueueSettings
from taskyard.core.task import State
from taskyard.dialects.human_lambdas import dialect
from taskyard.http.dialect import Backend, application
from tests.conftest import new_id

COMMENT = {
    "id": "comment",
    "_id": "b1",
    "name": "Comment",
    "type": "text",
    "text": {"read_only": True},
    "layout": {"x": 0},
}
APPROVE = {"id": "approve", "name": "Approve", "type": "binary", "binary": {"is_required": True}}


class Wire:
    def __init__(self, yard):
        self.yard, services = yard, yard.services
        self.app = application(dialect, Backend(store=yard.store, services=services, new_id=new_id))
        self.ana = self.person("ana@example.com", "admin")
        self.bo = self.person("bo@example.com", "member")
        self.key, self.member_key = self.hex_key(self.ana), self.hex_key(self.bo)
        self.queue = self.make("moderate", [COMMENT, APPROVE], title="Moderate Comments")

    def person(self, login, role):
        user = self.yard.write(self.yard.services.accounts.create_user, self.yard.actor, login, role=role)
        return user.number

    def hex_key(self, owner):
        made = self.yard.write(
            self.yard.services.accounts.create_key,
            self.yard.actor,
            "api",
            owner=owner,
            settings={"secret": "hex"},
        )
        return made.secret

    def make(self, name, blocks, **settings):
        settings = QueueSettings(kind=Kind.HUMAN, form=blocks, **settings)
        return self.yard.write(self.yard.services.queues.create, self.yard.actor, name, settings).number

    def ask(self, method, path, body=None, *, token=None, headers=None, raw=None):
        token = self.key if token is None else token
        given = {"Authorization": f"Token {token}", "Content-Type": "application/json", **(headers or {})}
        content = raw if raw is not None else (None if body is None else json.dumps(body).encode())

        async def exchange():
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://yard") as client:
                sent = {name: value for name, value in given.items() if value}
                return await client.request(method, path, content=content, headers=sent)

        return asyncio.run(exchange())

    def path(self, rest, *, queue=None, root="", noun="queues"):
        return f"{root}/orgs/{self.yard.organisation}/{noun}/{queue or self.queue}{rest}"

    def create(self, data, **where):
        return self.ask("POST", self.path("/tasks/create", **where), {"data": data})

    def worker(self, number):
        from taskyard.service.accounts import actor_of

        return actor_of(self.yard.read(lambda r: r.accounts.user(self.yard.organisation, number)))

    def complete(self, output, number=None):
        actor = self.worker(number or self.bo)
        inbox = self.yard.services.inbox
        task = self.yard.write(inbox.next, actor, "moderate")
        return self.yard.write(inbox.complete, actor, task.id, output)


@pytest.fixture
def wire(yard):
    return Wire(yard)


def refused(answer, status, message, field=None):
    error = {"message": message} | ({} if field is None else {"field": field})
    assert (answer.status_code, answer.json()) == (status, {"status_code": status, "errors": [error]})


def test_a_question_is_created_answered_by_a_person_and_collected(wire):
    made = wire.create({"comment": "This is some random text", "zzz": 1})
    assert made.status_code == 201
    shown = made.json()
    assert shown == {
        "id": shown["id"],
        "status": "new",
        "completed_at": None,
        "created_at": "2026-03-01T12:00:00Z",
        "completed_by": None,
        "queue": "Moderate Comments",
        "queue_id": wire.queue,
        "data": {"comment": "This is some random text", "approve": None},
        "source": "api",
        "correct": None,
    }
    assert list(shown["data"]) == ["comment", "approve"]
    wire.yard.clock.forward(seconds=1.5)
    wire.complete({"approve": True})
    page = wire.ask("GET", wire.path("/tasks/completed")).json()
    assert page == {
        "next": None,
        "previous": None,
        "count": 1,
        "tasks": [
            shown
            | {
                "status": "completed",
                "completed_at": "2026-03-01T12:00:01.500000Z",
                "completed_by": "bo@example.com",
                "data": {"comment": "This is some random text", "approve": True},
            }
        ],
    }


def test_an_answer_that_is_not_of_its_blocks_type_is_refused_and_the_task_stays_held(wire):
    wire.create({"comment": "x"})
    actor, inbox = wire.worker(wire.bo), wire.yard.services.inbox
    task = wire.yard.write(inbox.next, actor, "moderate")
    with pytest.raises(Invalid) as refusal:
        wire.yard.write(inbox.complete, actor, task.id, {"approve": 1, "nope": 2})
    assert [fault.pointer for fault in refusal.value.faults] == ["/output/approve", "/output/nope"]
    assert wire.yard.get(task).state is State.RUNNING


def test_what_was_given_back_is_open_and_what_is_held_counts_with_who_holds_it(wire):
    wire.create({"comment": "x"})
    actor, inbox = wire.worker(wire.bo), wire.yard.services.inbox
    task = wire.yard.write(inbox.next, actor, "moderate")
    wire.yard.write(inbox.save_draft, actor, task.id, {"approve": True})
    held = wire.ask("GET", wire.path("")).json()
    assert (held["n_tasks"], held["active_users"]) == (1, ["bo@example.com"])
    root = f"/orgs/{wire.yard.organisation}/queues?task_status="
    assert len(wire.ask("GET", root + "in_progress").json()) == 1
    wire.yard.write(inbox.release, actor, task.id)
    assert wire.yard.get(task).state is State.READY
    assert len(wire.ask("GET", root + "open").json()) == 1
    assert wire.ask("GET", root + "new").json() == []


@pytest.mark.parametrize("root", ["", "/v1"])
@pytest.mark.parametrize("noun", ["queues", "workflows"])
def test_every_spelling_of_a_path_answers_alike(wire, root, noun):
    assert wire.create({"comment": "x"}, root=root, noun=noun).status_code == 201
    assert wire.ask("GET", wire.path("/tasks/completed", root=root, noun=noun)).status_code == 200
    queue = wire.ask("GET", wire.path("", root=root, noun=noun)).json()
    assert queue["org_id"] == wire.yard.organisation
    assert set(queue["data"][0]) == {"id", "name", "type", "text"}
    [listed] = wire.ask("GET", wire.path("", root=root, noun=noun).rsplit("/", 1)[0]).json()
    assert "layout" in listed["data"][0]
    assert "org_id" not in listed
    emptied = wire.ask("PUT", wire.path("/flush", root=root, noun=noun), token=wire.member_key)
    assert (emptied.status_code, emptied.content) == (200, b"")
    assert wire.ask("GET", wire.path("", root=root, noun=noun)).json()["n_tasks"] == 0


def test_pages_of_completed_tasks_link_to_one_another(wire):
    ids = []
    for number in range(3):
        ids.insert(0, wire.create({"comment": f"comment {number}"}).json()["id"])
        wire.yard.clock.forward(seconds=1)
        wire.complete({})
    path = wire.path("/tasks/completed")
    page = wire.ask("GET", f"{path}?zeta=1&limit=1&alpha=b").json()
    assert page["next"] == f"http://yard{path}?alpha=b&limit=1&offset=1&zeta=1"
    page = wire.ask("GET", f"{path}?limit=1&offset=1").json()
    assert (page["count"], [task["id"] for task in page["tasks"]]) == (3, ids[1:2])
    assert page["next"] == f"http://yard{path}?limit=1&offset=2"
    assert page["previous"] == f"http://yard{path}?limit=1"
    page = wire.ask("GET", f"{path}?limit=2&offset=50").json()
    assert (page["next"], page["tasks"]) == (None, [])
    assert page["previous"] == f"http://yard{path}?limit=2&offset=48"
    assert [task["id"] for task in wire.ask("GET", f"{path}?limit=0&offset=-1").json()["tasks"]] == ids
    assert wire.ask("GET", f"{path}?limit=x").json()["count"] == 3
    assert wire.ask("GET", f"{path}?start_date=2099-01-01").json()["count"] == 0
    assert wire.ask("GET", f"{path}?end_date=2020-01-01").json()["count"] == 0
    assert wire.ask("GET", f"{path}?end_date=2026-03-01").json()["count"] == 3
    assert wire.ask("GET", f"{path}?worker_id={wire.bo}").json()["count"] == 3
    assert wire.ask("GET", f"{path}?worker_id={wire.ana}").json()["count"] == 0
    forwarded = {"Host": "api.example", "X-Forwarded-Proto": "https"}
    page = wire.ask("GET", f"{path}?limit=1", headers=forwarded).json()
    assert page["next"] == f"https://api.example{path}?limit=1&offset=1"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("", "Authentication credentials were not provided."),
        ("Bearer {key}", "Authentication credentials were not provided."),
        ("{key}", "Authentication credentials were not provided."),
        ("Token nope", "Invalid token."),
        ("Token", "Invalid token header. No credentials provided."),
        ("Token a b", "Invalid token header. Token string should not contain spaces."),
    ],
)
def test_without_a_key_nothing_is_told(wire, header, message):
    headers = {"Authorization": header.format(key=wire.key)}
    answer = wire.ask("GET", wire.path("/tasks/create"), headers=headers)  # a wrong method, too
    refused(answer, 401, message)
    assert answer.headers["WWW-Authenticate"] == "Token"


def test_a_key_of_the_yard_is_as_good_as_one_of_forty_digits(wire):
    assert len(wire.key) == 40
    made = wire.yard.write(wire.yard.services.accounts.create_key, wire.yard.actor, "usual")
    assert made.secret.startswith("ty_")
    assert wire.ask("GET", wire.path("/tasks/completed"), token=made.secret).status_code == 200
    lower = {"Authorization": f"token {wire.key}"}
    assert wire.ask("GET", wire.path("/tasks/completed"), headers=lower).status_code == 200


def test_a_rotated_key_of_forty_digits_has_forty_digits_again(wire):
    accounts = wire.yard.services.accounts
    made = wire.yard.write(accounts.create_key, wire.yard.actor, "api", settings={"secret": "hex"})
    again = wire.yard.write(accounts.rotate_key, wire.yard.actor, made.key.id)
    assert len(again.secret) == 40
    assert wire.ask("GET", wire.path("/tasks/completed"), token=made.secret).status_code == 401
    assert wire.ask("GET", wire.path("/tasks/completed"), token=again.secret).status_code == 200


def test_other_organisations_and_roles_are_refused_alike_and_their_queues_not_found(wire):
    denied = "You do not have permission to perform this action."
    refused(wire.ask("GET", wire.path("/tasks/completed"), token=wire.member_key), 403, denied)
    refused(wire.ask("POST", wire.path("/tasks/create"), {}, token=wire.member_key), 403, denied)
    refused(wire.ask("GET", f"/orgs/99999/queues/{wire.queue}/tasks/completed"), 403, denied)
    other = wire.yard.other_organisation()
    made = wire.yard.write(wire.yard.services.accounts.create_key, other, "k", settings={"secret": "hex"})
    refused(wire.ask("GET", wire.path("/tasks/completed"), token=made.secret), 403, denied)
    foreign = f"/orgs/{other.organisation}/queues/{wire.queue}/tasks/create"
    refused(wire.ask("POST", foreign, {"data": {"comment": "x"}}, token=made.secret), 404, "Not found.")


@pytest.mark.parametrize(
    ("raw", "headers", "status", "message"),
    [
        (b"{}", {}, 400, "No data"),
        (b'{"data":{}}', {}, 400, "No data"),
        (b'{"data":null}', {}, 400, "No data"),
        (b"[1]", {}, 400, "No data"),
        (b"", {}, 400, "No data"),
        (
            b"{bad",
            {},
            400,
            "JSON parse error - Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        ),
        (
            b'{"data":{"comment":NaN}}',
            {},
            400,
            "JSON parse error - Out of range float values are not JSON compliant: 'NaN'",
        ),
        (b"{}", {"Content-Type": ""}, 415, 'Unsupported media type "" in request.'),
        (b"{}", {"Content-Type": "text/plain"}, 415, 'Unsupported media type "text/plain" in request.'),
        (b"{}", {"Accept": "image/png"}, 406, "Could not satisfy the request Accept header."),
    ],
)
def test_what_cannot_be_read_is_refused_in_this_wires_words(wire, raw, headers, status, message):
    refused(wire.ask("POST", wire.path("/tasks/create"), raw=raw, headers=headers), status, message)


def test_wrong_methods_paths_and_shapes_have_the_envelope_too(wire):
    refused(wire.ask("GET", wire.path("/tasks/create")), 405, 'Method "GET" not allowed.')
    refused(wire.ask("POST", wire.path("/tasks/completed"), {}), 405, 'Method "POST" not allowed.')
    refused(wire.ask("GET", wire.path("/flush")), 405, 'Method "GET" not allowed.')
    refused(wire.ask("POST", wire.path("/tasks/create/"), {}), 404, "Not found.")
    refused(wire.ask("GET", f"/orgs/{wire.yard.organisation}/nothing"), 404, "Not found.")
    refused(wire.ask("POST", wire.path("/tasks/create", queue=99999), {"data": {"a": 1}}), 404, "Not found.")
    assert wire.ask("POST", wire.path("/tasks/create"), {"data": "comment"}).status_code == 400


def test_a_connector_creates_tasks_of_its_own_source(wire):
    answer = wire.ask("POST", f"/zapier/{wire.queue}/create-task", {"data": {"comment": "zap"}})
    assert (answer.status_code, answer.json()["source"]) == (201, "zapier")
    assert wire.ask("GET", "/zapier/authentication").json() == {"organization": "Default"}
    assert wire.ask("GET", "/zapier/get-workflows").json()["choices"] == {
        str(wire.queue): "Moderate Comments"
    }


def test_a_table_makes_a_task_of_each_row_or_none(wire):
    load = wire.yard.services.questionnaires.load
    table = "\ufeffcomment,approve,other\r\nfirst,True,x\r\nsecond,,y\r\n"
    first, second = wire.yard.write(load, wire.yard.actor, "moderate", table, "tasks.csv")
    assert first.input == {"comment": "first", "approve": True}
    assert second.input == {"comment": "second", "approve": None}
    assert first.labels == {"source": "tasks.csv"}
    with pytest.raises(Invalid) as refusal:
        wire.yard.write(load, wire.yard.actor, "moderate", "comment,approve\na,True\nb,true\n", "t.csv")
    assert refusal.value.faults[0].pointer == "/rows/2"
    assert wire.ask("GET", wire.path("")).json()["n_tasks"] == 2
    wire.complete({})
    [task] = wire.ask("GET", wire.path("/tasks/completed")).json()["tasks"]
    assert task["source"] == "tasks.csv"


def test_what_was_answered_keeps_its_values_when_the_blocks_change(wire):
    wire.create({"comment": "x"})
    wire.complete({"approve": False})
    wire.create({"comment": "y"})
    wire.yard.write(wire.yard.services.queues.change, wire.yard.actor, "moderate", {"form": [APPROVE]})
    [task] = wire.ask("GET", wire.path("/tasks/completed")).json()["tasks"]
    assert task["data"] == {"comment": "x", "approve": False}
    assert wire.complete({"approve": True}).output == {"approve": True}


def test_a_form_of_blocks_is_checked_when_it_is_set(wire):
    bad = [{"id": "a", "name": "A", "type": "map"}, {"id": "", "name": "B", "type": "text"}]
    with pytest.raises(Invalid) as refusal:
        wire.make("bad", bad)
    assert [fault.pointer for fault in refusal.value.faults] == ["/form/0/type", "/form/1/id"]


def test_every_state_has_a_word():
    assert set(dialect.states) == set(State)


def test_an_unexpected_fault_is_told_in_the_envelope(wire, monkeypatch):
    def broken(*_args, **_named):
        raise RuntimeError("boom")

    monkeypatch.setattr(type(wire.yard.services.questionnaires), "queue", broken)
    answer = wire.ask("GET", wire.path(""))
    assert answer.status_code == 500
    assert answer.json()["status_code"] == 500
    assert "boom" not in answer.text
