"""The webhook of a queue, what it is sent when a person has answered, and what a connector needs."""

import json
from datetime import timedelta

import pytest

from taskyard.core.hook import NewHook
from taskyard.dialects.human_lambdas import dialect
from taskyard.service.hooks import standard
from tests.dialects.human_lambdas.test_human_lambdas import APPROVE, COMMENT, Wire, refused

TARGET = "https://receiver.example/hook"
ZAP = "https://hooks.zapier.com/hooks/standard/1/abc/"
ORIGIN = {"Origin": "https://app.example"}


@pytest.fixture
def wire(yard):
    return Wire(yard)


def letters(yard):
    """Claim everything that is due; return what would be sent, and to where."""
    hooks = yard.services.hooks
    due = yard.read(hooks.due)[1]
    claimed = yard.write(hooks.claim, {hook: 100 for hook, _ in due}, timedelta(seconds=30))
    return yard.read(hooks.letters, claimed, lambda name: dialect.letter if name != "standard" else standard)


def test_a_queue_has_one_webhook_that_is_set_replaced_and_taken_away(wire):
    path = wire.path("/webhook")
    assert wire.ask("GET", path).json() == {"target": ""}
    assert wire.ask("PATCH", path, {"target": ""}).status_code == 204

    made = wire.ask("PUT", path, {"target": TARGET})
    shown = {"target": TARGET, "user": wire.ana, "event": "task.completed", "workflow": wire.queue}
    assert (made.status_code, made.json()) == (201, shown | {"id": made.json()["id"]})
    assert made.headers["allow"] == "GET, PUT, PATCH, HEAD, OPTIONS"
    assert wire.ask("GET", path).json() == made.json()

    replaced = wire.ask("PATCH", path, {"target": TARGET + "2"})
    assert (replaced.status_code, replaced.json()) == (200, made.json() | {"target": TARGET + "2"})
    assert wire.ask("GET", wire.path("")).json()["webhook"] == {"target": TARGET + "2"}

    cleared = wire.ask("PATCH", path, {"target": ""})
    assert (cleared.status_code, cleared.content) == (204, b"")
    assert "webhook" not in wire.ask("GET", wire.path("")).json()


@pytest.mark.parametrize("root", ["", "/v1"])
@pytest.mark.parametrize("noun", ["queues", "workflows"])
def test_it_has_every_spelling_of_its_path(wire, root, noun):
    path = wire.path("/webhook", root=root, noun=noun)
    assert wire.ask("PUT", path, {"target": TARGET}).status_code == 201
    assert wire.ask("GET", wire.path("/webhook")).json()["target"] == TARGET


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"target": "nope"}, "Enter a valid URL."),
        ({"target": 7}, "Enter a valid URL."),
        ({"target": "http://a.example/" + "x" * 255}, "Ensure this field has no more than 255 characters."),
        ({"target": None}, "This field may not be null."),
        ({}, "This field is required."),
        ([], "This field is required."),
    ],
)
def test_a_target_that_is_no_url_is_refused(wire, body, message):
    refused(wire.ask("PATCH", wire.path("/webhook"), body), 400, message, "target")
    assert wire.ask("GET", wire.path("/webhook")).json() == {"target": ""}


def test_the_webhook_is_for_administrators_and_of_queues_that_are_there(wire):
    denied = "You do not have permission to perform this action."
    for method in ("GET", "PUT", "PATCH"):
        refused(wire.ask(method, wire.path("/webhook"), {}, token=wire.member_key), 403, denied)
    refused(wire.ask("PUT", wire.path("/webhook", queue=99999), {"target": TARGET}), 404, "Not found.")
    refused(wire.ask("POST", wire.path("/webhook"), {}), 405, 'Method "POST" not allowed.')


def test_an_answer_is_sent_as_the_task_itself_with_times_in_milliseconds(wire, clock):
    wire.ask("PUT", wire.path("/webhook"), {"target": TARGET})
    other = wire.make("other", [COMMENT])
    wire.create({"comment": "elsewhere"}, queue=other)
    task = wire.create({"comment": "This is some random text"}).json()
    assert letters(wire.yard) == []
    clock.forward(seconds=1, microseconds=987_654)
    wire.complete({"approve": True})

    [letter] = letters(wire.yard)

    assert letter.url == TARGET
    assert letter.headers["Content-Type"] == "application/json"
    assert {"webhook-id", "webhook-timestamp", "webhook-signature"} <= set(letter.headers)
    assert json.loads(letter.body) == {
        "id": task["id"],
        "status": "completed",
        "completed_at": "2026-03-01T12:00:01.987Z",
        "created_at": "2026-03-01T12:00:00.000Z",
        "completed_by": "bo@example.com",
        "queue": "Moderate Comments",
        "queue_id": wire.queue,
        "data": {"comment": "This is some random text", "approve": True},
        "source": "api",
        "correct": None,
    }
    assert list(json.loads(letter.body)["data"]) == ["comment", "approve"]


def test_a_test_sends_what_was_answered_last(wire):
    wire.ask("PUT", wire.path("/webhook"), {"target": TARGET})
    [hook] = wire.yard.read(wire.yard.services.hooks.all, wire.yard.actor)
    wire.yard.write(wire.yard.services.hooks.test, wire.yard.actor, hook.id)
    [nothing] = letters(wire.yard)
    assert isinstance(nothing, Exception)

    wire.create({"comment": "x"})
    wire.complete({"approve": True})
    letters(wire.yard)
    wire.yard.write(wire.yard.services.hooks.test, wire.yard.actor, hook.id)
    [letter] = letters(wire.yard)
    assert json.loads(letter.body)["data"]["approve"] is True


def test_a_connector_subscribes_beside_the_webhook_and_takes_its_own_away(wire):
    wire.ask("PUT", wire.path("/webhook"), {"target": TARGET})
    made = wire.ask("POST", "/zapier/hook", {"workflow_id": wire.queue, "target": ZAP}, token=wire.member_key)
    shown = made.json()
    assert (made.status_code, shown) == (
        201,
        {
            "id": shown["id"],
            "created": "2026-03-01T12:00:00Z",
            "updated": "2026-03-01T12:00:00Z",
            "event": "task.completed",
            "target": ZAP,
            "is_zapier": True,
            "user": wire.bo,
            "workflow": wire.queue,
        },
    )
    webhook = wire.ask("GET", wire.path("/webhook")).json()
    assert webhook["target"] == TARGET
    wire.create({"comment": "x"})
    wire.complete({})
    assert {letter.url for letter in letters(wire.yard)} == {TARGET, ZAP}

    refused(wire.ask("DELETE", "/zapier/hook", {"hook_id": webhook["id"]}), 404, "Not found.")
    assert wire.ask("DELETE", "/zapier/hook", {"hook_id": shown["id"]}).status_code == 204
    refused(wire.ask("DELETE", "/zapier/hook", {"hook_id": shown["id"]}), 404, "Not found.")
    refused(wire.ask("DELETE", "/zapier/hook", {}), 404, "Not found.")


def test_a_subscription_that_cannot_be_names_its_field(wire):
    def ask(**body):
        return wire.ask("POST", "/zapier/hook", body)

    refused(ask(workflow_id=wire.queue, target="zz"), 400, "Enter a valid URL.", "target")
    refused(ask(workflow_id=wire.queue, target=""), 400, "This field may not be blank.", "target")
    refused(ask(target=ZAP), 400, "This field is required.", "workflow")
    refused(ask(workflow_id=9, target=ZAP), 400, 'Invalid pk "9" - object does not exist.', "workflow")
    refused(
        ask(workflow_id=[], target=ZAP), 400, "Incorrect type. Expected pk value, received list.", "workflow"
    )


def test_hooks_of_the_native_api_are_no_webhooks_of_a_queue(wire):
    new = NewHook(url=TARGET, queue="moderate", events=("task.succeeded",))
    wire.yard.write(wire.yard.services.hooks.create, wire.yard.actor, new)
    assert wire.ask("GET", wire.path("/webhook")).json() == {"target": ""}


def test_a_connector_builds_its_form_of_the_blocks(wire):
    options = [{"id": "a", "name": "A"}, {"id": "b", "name": "B"}]
    choices = [{"label": "A", "value": "a", "sample": "a"}, {"label": "B", "value": "b", "sample": "b"}]
    blocks = [
        COMMENT,
        APPROVE,
        {"id": "ss", "name": "ss", "type": "single_selection", "single_selection": {"options": options}},
        {"id": "ms", "name": "ms", "type": "multiple_selection", "multiple_selection": {"options": options}},
        {"id": "ner", "name": "ner", "type": "named_entity_recognition"},
        {"id": "n", "name": "n", "type": "number", "number": {"placeholder": 5}},
        {"id": "f", "name": "f", "type": "form_sequence", "form_sequence": {"data": [APPROVE]}},
    ]
    queue = wire.make("zap", blocks)

    found = wire.ask("GET", f"/zapier/get-task-inputs?workflow_id={queue}", token=wire.member_key).json()

    assert found == {
        "key": "data",
        "label": "Data",
        "required": True,
        "children": [
            {"key": "comment", "label": "Comment", "type": "string"},
            {"key": "approve", "label": "Approve", "type": "boolean"},
            {"key": "ss", "label": "ss", "type": "string", "choices": choices},
            {"key": "ms", "label": "ms", "type": "string", "choices": choices, "list": True},
            {
                "key": "ner",
                "label": "ner",
                "children": [
                    {"key": "text", "label": "Text", "type": "string"},
                    {
                        "key": "entities",
                        "label": "Entities",
                        "type": "string",
                        "helpText": "Optional field, in JSON format.See the Human Lambdas docs for more details.",
                    },
                ],
            },
            {"key": "n", "label": "n", "type": "number"},
            {"key": "f", "label": "f", "type": "string", "dict": True},
        ],
    }
    [sample] = wire.ask("GET", f"/zapier/sample-data?workflow_id={queue}").json()
    assert (sample["n"], sample["ss"], sample["ms"], sample["f"]) == (5, "a", ["a"], {"approve": True})
    assert wire.create(sample, queue=queue).status_code == 201


def test_the_sample_is_what_was_answered_last_where_something_was(wire):
    wire.create({"comment": "mine"})
    wire.complete({"approve": False})
    answer = wire.ask("GET", f"/zapier/sample-data?workflow_id={wire.queue}")
    assert answer.json() == [{"comment": "mine", "approve": False}]


@pytest.mark.parametrize("what", ["get-task-inputs", "sample-data"])
def test_a_queue_that_is_not_there_has_no_form(wire, what):
    for asked in ("99999", "x", "9" * 30):
        refused(wire.ask("GET", f"/zapier/{what}?workflow_id={asked}"), 404, "Not found.")
    assert wire.ask("GET", "/zapier/get-task-inputs?workflow_id=").json() == {}


def test_pages_of_any_origin_may_ask(wire):
    answer = wire.ask("POST", wire.path("/tasks/create"), {"data": {"comment": "x"}}, headers=ORIGIN)
    assert answer.status_code == 201
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["vary"] == "Accept, Origin"
    failed = wire.ask("GET", wire.path("/tasks/create"), headers=ORIGIN | {"Authorization": "x"})
    assert (failed.status_code, failed.headers["access-control-allow-origin"]) == (401, "https://app.example")
    assert "access-control-allow-origin" not in wire.ask("GET", wire.path("")).headers


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/webhook", "GET, PUT, PATCH, HEAD, OPTIONS"),
        ("GET", "/tasks/create", "POST, OPTIONS"),
        ("GET", "/tasks/completed", "GET, HEAD, OPTIONS"),
        ("GET", "/flush", "PUT, OPTIONS"),
        ("GET", "/nothing", None),
    ],
)
def test_every_answer_names_the_methods_of_its_path(wire, method, path, allowed):
    assert wire.ask(method, wire.path(path)).headers.get("allow") == allowed
    assert wire.ask(method, wire.path(path), token="x").headers.get("allow") == allowed


def test_a_preflight_is_answered_before_anybody_is_asked_who_he_is(wire):
    asked = ORIGIN | {"Access-Control-Request-Method": "POST", "Authorization": ""}
    answer = wire.ask("OPTIONS", wire.path("/tasks/create"), headers=asked)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert answer.headers["access-control-max-age"] == "86400"
    assert answer.headers["access-control-allow-methods"] == "DELETE, GET, OPTIONS, PATCH, POST, PUT"
    assert "x-csrftoken" in answer.headers["access-control-allow-headers"]
    refused(
        wire.ask("OPTIONS", wire.path("/tasks/create"), headers={"Authorization": ""}),
        401,
        "Authentication credentials were not provided.",
    )


def test_answers_are_paged_by_who_gave_them(wire):
    for number, who in enumerate([wire.ana, wire.bo, wire.bo, wire.ana, wire.bo]):
        wire.create({"comment": str(number)})
        wire.yard.clock.forward(seconds=1)
        wire.complete({}, who)
    page = wire.ask("GET", wire.path(f"/tasks/completed?worker_id={wire.bo}&limit=2")).json()
    assert (page["count"], [each["data"]["comment"] for each in page["tasks"]]) == (3, ["4", "2"])
    rest = wire.ask("GET", page["next"].removeprefix("http://yard")).json()
    assert [each["data"]["comment"] for each in rest["tasks"]] == ["1"]
