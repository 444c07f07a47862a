"""
A day of this wire, exchange by exchange, as its client and the server it knows have them: what is sent, what comes back.

They follow one another. ``{name}`` in what is sent is what an earlier answer had there; ``keep("name", …)`` keeps it, and
where it is kept already it must be the same. Answers are matched in part: members that are not named may be anything.
"""

import hashlib
import json
import re
import uuid
from datetime import datetime

import pytest

from taskyard.dialects.ricloud.notify import SIGNATURE, signature

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def text(value, kept):
    return isinstance(value, str)


def whole(value, kept):
    return isinstance(value, int) and not isinstance(value, bool)


def boolean(value, kept):
    return isinstance(value, bool)


def unique(value, kept):
    return isinstance(value, str) and str(uuid.UUID(value)) == value


def time(value, kept):
    return isinstance(value, str) and MOMENT.fullmatch(value) and datetime.fromisoformat(value)


def time_or_none(value, kept):
    return value is None or time(value, kept)


def md5(value, kept):
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{32}", value)


def array(value, kept):
    return isinstance(value, list)


def nested(value, kept):
    """A list object: the client makes one of it only when it says what it is."""
    return (
        isinstance(value, dict)
        and value["resource"] == "list"
        and array(value["data"], kept)
        and boolean(value["has_more"], kept)
        and whole(value["total_count"], kept)
        and value["url"].startswith("/")
    )


def one_of(*words):
    return lambda value, kept: value in words


def keep(name, kind):
    def judge(value, kept):
        assert kind(value, kept), f"{name}: {value!r}"
        return kept.setdefault(name, value) == value

    return judge


def kept_text(name):
    return lambda value, kept: value == str(kept[name])


def match(pattern, value, kept, place="body"):
    if callable(pattern):
        assert pattern(value, kept), f"{place}: {value!r}"
    elif isinstance(pattern, dict):
        assert isinstance(value, dict), f"{place}: {value!r}"
        for name, wanted in pattern.items():
            assert name in value, f"{place}.{name} is not there"
            match(wanted, value[name], kept, f"{place}.{name}")
    elif isinstance(pattern, list):
        assert isinstance(value, list), f"{place}: {value!r}"
        assert len(value) == len(pattern), f"{place}: {value!r}"
        for index, (wanted, found) in enumerate(zip(pattern, value, strict=True)):
            match(wanted, found, kept, f"{place}[{index}]")
    else:
        assert value == filled(pattern, kept), f"{place}: {value!r}"


def filled(value, kept):
    if isinstance(value, str):
        whole_name = re.fullmatch(r"\{(\w+)\}", value)
        if whole_name:
            return kept[whole_name[1]]
        return re.sub(r"\{(\w+)\}", lambda name: str(kept[name[1]]), value)
    if isinstance(value, dict):
        return {name: filled(each, kept) for name, each in value.items()}
    if isinstance(value, list):
        return [filled(each, kept) for each in value]
    return value


ORG, KEY, USER, SOURCE = (keep(name, whole) for name in ("org", "key", "user", "source"))
SESSION = keep("session", unique)
REFUSED = {"error": text, "message": text}
NOBODYS = {"user": None, "source": None, "session": None, "poll": None, "source_type": None}
DATES = {"date_created": time, "date_started": time, "date_completed": time}
OF_SOURCE = {
    "organisation": ORG,
    "key": KEY,
    "user": USER,
    "source": SOURCE,
    "session": SESSION,
    "source_type": "mocks.mock",
}
TASK = {"resource": "task", **OF_SOURCE, "results": nested, "error": None, "state": "succeeded", **DATES}
POLL_HEAD = {
    "organisation": ORG,
    "key": KEY,
    "user": USER,
    "source": SOURCE,
    "session": SESSION,
    "subscription": None,
}
SESSION_SHOWN = {
    "id": SESSION,
    "resource": "session",
    "organisation": ORG,
    "key": KEY,
    "user": USER,
    "source": {"id": SOURCE, "resource": "source", "user": USER, "type": "mocks.mock"},
    "error": None,
    "date_created": time,
    "date_expired": None,
}
RESULT = {
    "id": keep("result", unique),
    "resource": "result",
    "organisation": ORG,
    "poll": "{poll2}",
    "task": "{page1}",
    "identifier": one_of("messages.sms", "messages.whatsapp"),
    "url": keep("result_url", text),
    "type": "json",
    "checksum": md5,
    "size": whole,
    "signed_url": None,
    "date_created": time,
    "date_deleted": None,
}
ADDRESS = "john.appleseed@example.com"


def a_list(url, data, *, total=None, more=False):
    total = len(data) if total is None else total
    return {"resource": "list", "data": data, "has_more": more, "total_count": total, "url": url}


def proof(config, task):
    return {
        "id": keep(task, unique),
        "resource": "task",
        "organisation": ORG,
        "key": KEY,
        **NOBODYS,
        "type": f"{config}_config.test",
        "target": kept_text(f"{config}_config"),
        "results": nested,
        "date_created": time,
    }


# number, what happens before, method, path, {query, body, raw, token}, statuses, answer
EXCHANGES = [
    (1, "", "GET", "/organisation", {}, (200,), {
        "id": ORG, "resource": "organisation", "name": text, "slug": text, "permissions": {"id": whole, "resource": "permissions"},
        "storage_configs": nested, "storage_config_default": None, "webhook_configs": nested, "webhook_config_default": None,
        "state": "unconfigured", "date_created": time,
    }),
    (2, "", "GET", "/organisation", {"token": "wrong"}, (401,), REFUSED),
    (3, "", "GET", "/tasks", {"token": None}, (401,), REFUSED),
    (4, "", "POST", "/users", {"raw": '{"identifier": "x",}'}, (400,), {"error": "invalid-body", "message": text}),
    (5, "", "POST", "/users", {"body": {}}, (400,), {"error": "invalid-parameter", "message": text, "params": {"identifier": array}}),
    (6, "", "GET", "/tasks/00000000-0000-4000-8000-000000000000", {}, (404,), REFUSED),
    (7, "", "GET", "/key", {}, (200,), {
        "id": KEY, "resource": "key", "organisation": ORG, "type": "standard", "storage_config": None, "webhook_config": None,
        "token": "{token}", "state": "active", "date_created": time, "date_expires": None,
    }),
    (8, "", "GET", "/keys", {"query": {"limit": 1}}, (200,), {
        "resource": "list", "data": array, "has_more": boolean, "total_count": whole, "url": "/keys",
    }),
    (9, "", "POST", "/users", {"body": {"identifier": "end-user@example.com"}}, (201,), {
        "id": USER, "resource": "user", "organisation": ORG, "key": KEY, "identifier": "end-user@example.com", "state": "active",
        "date_created": time,
    }),
    (10, "", "POST", "/users", {"body": {"identifier": "end-user@example.com"}}, (200,), {"id": USER, "resource": "user"}),
    (11, "", "POST", "/sources", {"body": {"user": "{user}", "type": "mocks.mock", "identifier": ADDRESS}}, (201,), {
        "id": SOURCE, "resource": "source", "user": USER, "type": "mocks.mock", "identifier": ADDRESS, "parent": None,
        "children": nested, "state": "unvalidated", "date_created": time,
    }),
    (12, "", "GET", "/sources", {"query": {"user": "{user}", "identifier": ADDRESS}}, (200,),
     a_list("/sources", [{"id": SOURCE, "resource": "source"}])),
    (13, "", "POST", "/configs/webhook", {"body": {"url": "{receiver}webhooks"}}, (201,), {
        "id": keep("webhook_config", whole), "resource": "webhook_config", "organisation": ORG, "url": "{receiver}webhooks",
        "secret": keep("secret", text), "state": "new", "date_created": time,
    }),
    (14, "", "POST", "/configs/webhook/{webhook_config}/test", {"raw": "null"}, (201,), {
        **proof("webhook", "webhook_test"), "state": "pending", "error": None, "date_started": None, "date_completed": None,
    }),
    (15, "work", "GET", "/tasks/{webhook_test}", {}, (200,), {
        **proof("webhook", "webhook_test"), "state": "succeeded", "error": None, **DATES,
    }),
    (16, "", "POST", "/configs/storage", {"body": {"url": "{storage}", "credentials": {}}}, (201,), {
        "id": keep("storage_config", whole), "resource": "storage_config", "organisation": ORG, "type": "local", "url": "{storage}",
        "state": "new", "date_created": time,
    }),
    (17, "", "POST", "/configs/storage/{storage_config}/test", {"raw": "null"}, (201,), {
        **proof("storage", "storage_test"), "state": "pending", "error": None, "date_started": None, "date_completed": None,
    }),
    (18, "work", "GET", "/tasks/{storage_test}", {}, (200,), {
        **proof("storage", "storage_test"), "state": "succeeded", "error": None, **DATES,
    }),
    (19, "", "POST", "/organisation", {"body": {"storage_config_default": "{storage_config}"}}, (200,), {
        "resource": "organisation", "storage_config_default": "{storage_config}", "state": "active",
    }),
    (20, "", "POST", "/sessions", {"body": {
        "source": {"user": "{user}", "type": "mocks.mock", "identifier": ADDRESS}, "payload": {"password": "abcd1234"},
    }}, (201,), {**SESSION_SHOWN, "state": "pending"}),
    (21, "work", "GET", "/sessions/{session}", {}, (200,), {**SESSION_SHOWN, "state": "active"}),
    (22, "", "GET", "/tasks", {"query": {"session": "{session}", "type": "session.init"}}, (200,),
     a_list("/tasks", [{**TASK, "poll": None, "type": "session.init", "target": None}])),
    (23, "", "GET", "/sessions", {"query": {"source": "{source}", "state": "active", "limit": 1}}, (200,),
     a_list("/sessions", [{"id": SESSION, "resource": "session"}])),
    (24, "", "POST", "/polls", {"body": {"session": "{session}", "payload": {"info_types": ["*"]}}}, (201,), {
        "id": keep("poll", unique), "resource": "poll", **POLL_HEAD, "tasks_pending": [unique], "tasks_processing": [],
        "tasks_succeeded": [], "tasks_failed": [], "tasks_suspended": [], "results": nested, "state": "pending",
        "date_created": time, "date_started": None, "date_completed": None,
    }),
    (25, "work", "GET", "/polls/{poll}", {}, (200,), {
        "id": keep("poll", unique), "resource": "poll", **POLL_HEAD, "tasks_pending": [], "tasks_processing": [],
        "tasks_succeeded": [keep("task", unique)], "tasks_failed": [], "tasks_suspended": [], "results": nested,
        "state": "completed", **DATES,
    }),
    (26, "", "GET", "/tasks/{task}", {}, (200,), {
        "id": keep("task", unique), **TASK, "poll": "{poll}", "type": "info", "target": None,
        "results": {"resource": "list", "data": array, "has_more": False, "total_count": 1, "url": "/tasks/{task}/results"},
    }),
    (27, "", "POST", "/polls", {"body": {
        "session": "{session}", "payload": {"data_types": ["messages.sms", "messages.whatsapp"]},
    }}, (201,), {"id": keep("poll2", unique), "resource": "poll", "state": "pending"}),
    (28, "work", "GET", "/polls/{poll2}", {}, (200,), {"id": "{poll2}", "resource": "poll", "state": "completed"}),
    (29, "", "GET", "/tasks", {"query": {"poll": "{poll2}", "limit": 1}}, (200,), a_list("/tasks", [{
        "id": keep("page1", unique), **TASK, "poll": "{poll2}", "type": "data",
        "target": one_of("messages.sms", "messages.whatsapp"),
    }], total=2, more=True)),
    (30, "", "GET", "/tasks", {"query": {"poll": "{poll2}", "limit": 1, "after_id": "{page1}"}}, (200,), a_list("/tasks", [{
        "id": keep("page2", unique), "resource": "task", "poll": "{poll2}",
    }], total=2)),
    (31, "", "GET", "/tasks", {"query": {"poll": "{poll2}", "state": "failed"}}, (200,), a_list("/tasks", [])),
    (32, "", "GET", "/tasks", {"query": {"poll": "{poll2}", "date_created[gte]": "2999-01-01T00:00:00.000Z"}}, (200,),
     a_list("/tasks", [])),
    (33, "", "GET", "/tasks/{page1}/results", {}, (200,),
     a_list("/tasks/{page1}/results", [{**RESULT, "state": "available", "date_consumed": None}])),
    (34, "", "GET", "/results", {"query": {"task": "{page1}"}}, (200,),
     a_list("/results", [{"id": "{result}", "resource": "result"}])),
    (35, "", "POST", "/results/{result}/ack", {"raw": "null"}, (200,), {**RESULT, "state": "consumed", "date_consumed": time}),
    (36, "", "GET", "/results", {"query": {"task": "{page1}"}}, (200,), a_list("/results", [])),
    (37, "", "GET", "/results", {"query": {"task": "{page1}", "state": "consumed"}}, (200,),
     a_list("/results", [{"id": "{result}", "state": "consumed"}])),
    (38, "", "POST", "/polls", {"body": {"session": "{session}", "payload": {"data_types": ["fail:mock-error"]}}}, (201,),
     {"id": keep("poll3", unique), "resource": "poll"}),
    (39, "work", "GET", "/polls/{poll3}", {}, (200,), {
        "state": "completed", "tasks_failed": [keep("failed", unique)], "tasks_succeeded": [],
        "errors": {"total_count": 1, "has_more": False, "data": [{"task": "{failed}", "error": "mock-error", "message": text}]},
    }),
    (40, "", "GET", "/tasks/{failed}", {}, (200,), {
        "id": "{failed}", **TASK, "poll": "{poll3}", "type": "data", "target": "fail:mock-error", "state": "failed",
        "error": "mock-error",
    }),
    (41, "", "POST", "/polls", {"body": {"session": "{session}", "payload": {"data_types": ["suspend:2"]}}}, (201,),
     {"id": keep("poll4", unique), "resource": "poll"}),
    (42, "work", "GET", "/polls/{poll4}", {}, (200,),
     {"state": "processing", "tasks_suspended": [keep("suspended", unique)], "date_completed": None}),
    (43, "", "GET", "/tasks/{suspended}", {}, (200,),
     {"state": "suspended", "error": None, "date_started": time, "date_completed": None}),
    (44, "later", "GET", "/tasks/{suspended}", {}, (200,),
     {"state": "succeeded", "error": None, "date_started": time, "date_completed": time}),
    (48, "", "GET", "/polls", {"query": {"subscription": "{session}", "requestor": "subscription", "limit": 1}}, (200,),
     a_list("/polls", [])),
    (50, "", "DELETE", "/sessions/{session}", {}, (200,),
     {"id": SESSION, "state": "expired", "error": "organisation", "date_expired": time}),
    (51, "", "POST", "/polls", {"body": {"session": "{session}", "payload": {"info_types": ["*"]}}}, (400,),
     {"error": "session-expired", "message": text}),
    (52, "", "POST", "/tasks", {"body": {"type": "info"}}, (405,), REFUSED),
]  # fmt: skip

#: Exchange 53: what a receiver is posted when a webhook config is tested.
TEST_EVENT = {
    "id": keep("event", unique),
    "resource": "event",
    "type": "webhook_config",
    "action": "test",
    "data": {
        "id": "{webhook_config}",
        "resource": "webhook_config",
        "organisation": ORG,
        "url": "{receiver}webhooks",
        "state": "new",
        "date_created": time,
    },
    "state": "pending",
    "retries": 0,
    "date_created": time,
    "date_delivered": None,
}


@pytest.fixture
def kept(wire):
    return {
        "token": wire.token,
        "receiver": "https://receiver.example/",
        "storage": f"local://{wire.folder}",
    }


def test_a_day_of_the_wire(wire, kept):
    for number, before, method, path, request, statuses, answer in EXCHANGES:
        if before == "work":
            wire.work()
        elif before == "later":
            wire.later(seconds=3)

        sent = filled(request, kept)
        found = wire.ask(method, filled(path, kept), **sent)

        assert found.status_code in statuses, f"{number}: {found.text}"
        assert found.headers["content-type"] == "application/json"
        match(answer, found.json(), kept, f"{number:03}")

    letter = wire.posted[0]
    match(TEST_EVENT, json.loads(letter.body), kept, "053")
    assert letter.url == f"https://receiver.example/webhooks/{kept['event']}"
    assert letter.headers["Content-Type"] == "application/json"
    stamp = int(re.fullmatch(r"t=(\d+),s=[A-Za-z0-9+/]{43}=", letter.headers[SIGNATURE])[1])
    assert letter.headers[SIGNATURE] == signature(kept["secret"], letter.body, stamp)
    stored = kept["result_url"].removeprefix("local://")
    with open(stored, "rb") as file:
        content = file.read()
    shown = wire.get(f"/results/{kept['result']}")
    assert (shown["size"], shown["checksum"]) == (len(content), hashlib.md5(content).hexdigest())
    assert isinstance(json.loads(content)["data"], list)
