"""The rest of the wire: who may ask, what is refused and how, filters and pages, and what becomes of sessions and polls."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from taskyard.core.actor import Permission
from taskyard.core.errors import Broken, Invalid, LimitReached, NotFound, TaskyardError, Unavailable
from taskyard.core.hold import Hold
from taskyard.core.outcome import Failed
from taskyard.core.task import State
from taskyard.dialects.ricloud import dialect
from taskyard.dialects.ricloud.refuse import refuse
from taskyard.dialects.ricloud.render import STATES
from taskyard.http.dialect import Path, application
from taskyard.store.listing import NEWEST
from tests.dialects.ricloud.wire import Wire

NOBODY = "00000000-0000-4000-8000-000000000000"


def refused(answer):
    """Return status and word of a refusal; whatever is refused, the client is told in an object."""
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body.keys() <= {"error", "message", "params"}
    assert isinstance(body["error"], str)
    assert isinstance(body["message"], str)
    assert all(isinstance(each, list) for each in body.get("params", {}).values())
    return answer.status_code, body["error"]


def blamed(answer):
    """Return what is named as wrong in a parameter that cannot be."""
    assert refused(answer) == (400, "invalid-parameter")
    return sorted(answer.json().get("params", {}))


# -- who asks ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Token",
        "Token ",
        "Token a b",
        "Bearer {token}",
        "Basic YTpi",
        "{token}",
        "Token ty_{token}",
        "Token \u00e9",
    ],
)
def test_strangers_are_turned_away(wire, header):
    said = header.replace("{token}", wire.token).encode("latin-1")
    answer = wire.ask("GET", "/tasks", token=None, headers={"Authorization": said})

    assert refused(answer) == (401, "unauthorised")
    assert answer.headers["www-authenticate"] == "Token"


def test_the_scheme_is_a_word_in_any_case(wire):
    headers = {"Authorization": f"token {wire.token}"}
    assert wire.ask("GET", "/tasks", token=None, headers=headers).status_code == 200


def test_a_key_that_is_over_is_turned_away(wire):
    soon = wire.yard.clock.now + timedelta(hours=1)
    token = wire.key(wire.yard.organisation, expires_at=soon)
    assert wire.ask("GET", "/key", token=token).json()["date_expires"] == "2026-03-01T13:00:00.000000Z"
    wire.yard.clock.forward(hours=2)
    wire.backend.keys.forget()
    assert refused(wire.ask("GET", "/key", token=token)) == (401, "unauthorised")


def test_a_key_does_only_what_it_may(wire):
    token = wire.key(wire.yard.organisation, permissions=[Permission.READ])
    source = {"user": wire.user(), "type": "mocks.mock"}

    assert wire.ask("GET", "/tasks", token=token).status_code == 200
    for path, body in (
        ("/users", {"identifier": "x"}),
        ("/sources", source),
        ("/sessions", {"source": source, "payload": {}}),
        ("/configs/webhook", {"url": "https://receiver.example"}),
        ("/organisation", {"name": "x"}),
        ("/keys", {}),
    ):
        assert refused(wire.ask("POST", path, body, token=token)) == (403, "missing-scope"), path


# -- what cannot be read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [b"{", b'{"identifier": "x",}', b"identifier=x", b'"x"', b"[]", b"[1]", b"\xff", b'{"identifier": "\xe9"}', b'{"identifier": "\\ud800"}',
     b"{" * 100_000, b'{"a":' * 200 + b"1" + b"}" * 200, b'{"identifier": ' + b"9" * 5000 + b"}", b"NaN", b'{"a": Infinity}'],
)  # fmt: skip
def test_a_body_that_is_no_object_is_refused(wire, raw):
    assert refused(wire.ask("POST", "/users", raw=raw)) == (400, "invalid-body")


@pytest.mark.parametrize(
    "content_type", [None, "application/json", "text/plain", "application/x-www-form-urlencoded"]
)
def test_a_body_is_json_whatever_its_type_says(wire, content_type):
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = wire.ask("POST", "/users", raw='{"identifier": "ünï@example.com"}'.encode(), headers=headers)

    assert answer.status_code == 201
    assert answer.json()["identifier"] == "ünï@example.com"


@pytest.mark.parametrize(
    ("path", "body", "wrong"),
    [
        ("/users", {}, ["identifier"]),
        ("/users", {"identifier": ""}, ["identifier"]),
        ("/users", {"identifier": 5}, ["identifier"]),
        ("/users", {"identifier": ["x"]}, ["identifier"]),
        ("/users", {"identifier": "a\0b"}, ["identifier"]),
        ("/users", {"identifier": "x" * 501}, ["identifier"]),
        ("/users", {"identifier": "x", "key": 99}, ["key"]),
        ("/users", {"identifier": "x", "key": True}, ["key"]),
        ("/sources", {"type": "mocks.mock"}, ["user"]),
        ("/sources", {"user": "ana", "type": "mocks.mock"}, ["user"]),
        ("/sources", {"user": 1.5, "type": "mocks.mock"}, ["user"]),
        ("/sources", {"user": -1, "type": "mocks.mock"}, ["user"]),
        ("/sources", {"user": 10**30, "type": "mocks.mock"}, ["user"]),
        ("/sources", {"user": 99, "type": "mocks.mock"}, ["user"]),
        ("/sources", {"user": 1}, ["type"]),
        ("/sources", {"user": 1, "type": "no type"}, ["type", "user"]),
        ("/sessions", {"payload": {}}, ["source"]),
        ("/sessions", {"source": {}, "payload": {}}, ["user"]),
        ("/sessions", {"source": "x", "payload": {}}, ["source"]),
        ("/sessions", {"source": 99, "payload": {}}, ["source"]),
        ("/sessions", {"source": [1], "payload": {}}, ["source"]),
        ("/sessions", {"source": {"user": 1, "type": "mocks.mock"}}, ["payload"]),
        ("/sessions", {"source": {"user": 1, "type": "mocks.mock"}, "payload": "x"}, ["payload"]),
        ("/polls", {"payload": {"info_types": ["*"]}}, ["session"]),
        ("/polls", {"session": 5, "payload": {"info_types": ["*"]}}, ["session"]),
        ("/polls", {"session": NOBODY, "payload": {"info_types": ["*"]}}, ["session"]),
        ("/polls", {"session": NOBODY}, ["payload"]),
        ("/polls", {"session": NOBODY, "payload": {}}, ["payload"]),
        ("/polls", {"session": NOBODY, "payload": {"other": ["x"]}}, ["payload"]),
        ("/polls", {"session": NOBODY, "payload": {"files": "x"}}, ["payload"]),
        ("/polls", {"session": NOBODY, "payload": {"files": [""]}}, ["payload"]),
        ("/polls", {"session": NOBODY, "payload": {"files": [5]}}, ["payload"]),
        ("/polls", {"session": NOBODY, "payload": {"files": ["a\0"]}}, ["payload"]),
        ("/polls", {"session": NOBODY, "payload": {"files": [str(n) for n in range(1001)]}}, ["payload"]),
        ("/polls", {"subscription": NOBODY, "payload": {"files": ["x"]}}, ["subscription"]),
        ("/configs/webhook", {}, ["url"]),
        ("/configs/webhook", {"url": "ftp://example.com"}, ["url"]),
        ("/configs/webhook", {"url": "https://"}, ["url"]),
        ("/configs/webhook", {"url": "https://[half"}, ["url"]),
        ("/configs/webhook", {"url": "https://host:port"}, ["url"]),
        ("/configs/storage", {"url": "https://example.com"}, ["url"]),
        ("/configs/storage", {"url": "local://etc/passwd"}, ["url"]),
        ("/configs/storage", {"url": "local:///srv?x"}, ["url"]),
        ("/configs/storage", {"url": "s3://bucket", "credentials": "x"}, ["credentials"]),
        ("/configs/storage", {"url": "s3://bucket", "signed_urls_enabled": 1}, ["signed_urls_enabled"]),
        ("/organisation", {"storage_config_default": 99}, ["storage_config_default"]),
        ("/organisation", {"webhook_config_default": "x"}, ["webhook_config_default"]),
        ("/results/ack", {}, ["results"]),
        ("/results/ack", {"results": "x"}, ["results"]),
    ],
)  # fmt: skip
def test_what_a_body_says_wrongly_is_named(wire, path, body, wrong):
    assert blamed(wire.ask("POST", path, body)) == wrong


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ({"colour": "red"}, "colour"),
        ({"organisation": "1"}, "organisation"),
        ({"user": "ana"}, "user"),
        ({"user": "-1"}, "user"),
        ({"source": "1.5"}, "source"),
        ({"key": ""}, "key"),
        ({"key": "\u0663"}, "key"),
        ({"state": "done"}, "state"),
        ({"session": "a\0b"}, "session"),
        ({"type": "x" * 501}, "type"),
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"limit": "9" * 40}, "limit"),
        ({"after_id": NOBODY}, "after_id"),
        ({"before_id": "x"}, "before_id"),
        ({"date_created": "yesterday"}, "date_created"),
        ({"date_created": ""}, "date_created"),
        ({"date_started": "2020-13-01"}, "date_started"),
        ({"date_started": "2021-02-29T00:00:00Z"}, "date_started"),
        ({"date_completed[gte]": "2020-02-20T25:00:00Z"}, "date_completed[gte]"),
        ({"date_completed__lt": "0001-01-01T00:00:00+14:00"}, "date_completed__lt"),
        ({"date_created[lt]": "9999-12-31T23:59:59.999999Z"}, "date_created[lt]"),
        ({"date_created[near]": "2020-02-20"}, "date_created[near]"),
        ({"date_deleted": "2020-02-20"}, "date_deleted"),
        ({"date_created[gte": "2020-02-20"}, "date_created[gte"),
        ([("user", "1"), ("user", "2")], "user"),
        ([("date_created[gte]", "2020-01-01"), ("date_created__gte", "2021-01-01")], "date_created__gte"),
    ],
)  # fmt: skip
def test_what_a_query_says_wrongly_is_named(wire, query, wrong):
    assert blamed(wire.ask("GET", "/tasks", query=query)) == [wrong]


def test_other_lists_refuse_what_they_do_not_know_too(wire):
    for path in (
        "/users",
        "/sources",
        "/sessions",
        "/polls",
        "/results",
        "/keys",
        "/configs/storage",
        "/configs/webhook",
    ):
        assert blamed(wire.ask("GET", path, query={"colour": "red"})) == ["colour"]
        assert blamed(wire.ask("GET", path, query={"limit": "1001"})) == ["limit"]
        assert blamed(wire.ask("GET", path, query={"after_id": "999999"})) == ["after_id"]
        if path != "/keys":
            assert blamed(wire.ask("GET", path, query={"state": "odd"})) == ["state"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404), ("GET", "/tasks/", 404), ("GET", "/nowhere", 404), ("GET", "/users/ana", 404), ("GET", "/v3/tasks", 404),
        ("POST", "/tasks", 405), ("DELETE", "/tasks", 405), ("DELETE", f"/tasks/{NOBODY}", 405), ("POST", f"/tasks/{NOBODY}", 405),
        ("PATCH", "/users/1", 405), ("PUT", "/organisation", 405), ("POST", f"/sessions/{NOBODY}", 405), ("OPTIONS", "/tasks", 405),
        ("GET", f"/tasks/{NOBODY}", 404), ("GET", "/tasks/a%00b", 404), ("GET", f"/tasks/{NOBODY}/results", 404), ("GET", "/tasks/%ff", 404),
        ("GET", f"/results/{NOBODY}", 404), ("POST", f"/results/{NOBODY}/ack", 404), ("GET", "/users/99", 404), ("POST", "/users/99", 404),
        ("GET", "/sources/99", 404), ("GET", f"/sessions/{NOBODY}", 404), ("DELETE", f"/sessions/{NOBODY}", 404),
        ("GET", f"/polls/{NOBODY}", 404), ("GET", f"/polls/{NOBODY}/results", 404), ("GET", "/keys/99", 404), ("POST", "/keys/99", 404),
        ("GET", "/configs/storage/99", 404), ("POST", "/configs/webhook/99/test", 404), ("DELETE", "/configs/webhook/99", 404),
        ("GET", f"/users/{'9' * 18}", 404), ("GET", f"/users/{'9' * 30}", 404),
    ],
)  # fmt: skip
def test_what_is_not_there_and_what_is_not_answered(wire, method, path, status):
    words = {404: "not-found", 405: "method-not-allowed"}
    answer = wire.ask(method, path, {} if method == "POST" else None)

    assert refused(answer) == (status, words[status])
    assert ("allow" in answer.headers) == (status == 405)


def test_a_body_that_is_too_large_is_not_read(wire):
    wire.backend.max_body_bytes = 1000
    assert refused(wire.ask("POST", "/users", {"identifier": "x" * 1000})) == (413, "too-large")


def test_a_fault_of_ours_is_told_in_the_same_words(wire):
    async def boom(call):
        raise RuntimeError("a secret detail")

    wire.app = application(replace(dialect, paths=lambda _: [Path("/boom", {"GET": boom})]), wire.backend)
    answer = wire.ask("GET", "/boom")

    assert refused(answer) == (500, "internal-error")
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    "refusal",
    [TaskyardError("x"), NotFound("task", "x"), Invalid("x"), Invalid("x", pointer="/a/b"), Unavailable("x"), Broken("x"),
     LimitReached("x", timedelta(seconds=3))],
)  # fmt: skip
def test_every_refusal_is_an_object(refusal):
    answer = refuse(None, refusal)
    assert answer.status_code >= 400
    assert answer.body.startswith(b'{"error":"')


# -- other tenants -----------------------------------------------------------------------------------------------------------


def test_what_is_another_organisations_is_not_there(wire):
    poll = wire.polled("messages.sms")
    user, source, session = poll["user"], poll["source"], poll["session"]
    task, result = poll["tasks_succeeded"][0], poll["results"]["data"][0]["id"]
    [storage] = wire.get("/configs/storage")["data"]
    stranger = wire.stranger()

    for path in (
        f"/tasks/{task}", f"/tasks/{task}/results", f"/results/{result}", f"/users/{user}", f"/sources/{source}",
        f"/sessions/{session}", f"/polls/{poll['id']}", f"/configs/storage/{storage['id']}", f"/keys/{poll['key']}",
    ):  # fmt: skip
        assert refused(stranger.ask("GET", path)) == (404, "not-found"), path
    for path in ("/tasks", "/results", "/users", "/sources", "/sessions", "/polls", "/configs/storage"):
        assert stranger.get(path)["total_count"] == 0
    assert blamed(stranger.ask("GET", "/tasks", query={"after_id": task})) == ["after_id"]
    assert stranger.get("/results", task=task)["data"] == []
    assert stranger.get("/tasks", poll=poll["id"])["data"] == []
    assert refused(stranger.ask("DELETE", f"/sessions/{session}"))[0] == 404
    assert refused(stranger.ask("POST", f"/results/{result}/ack"))[0] == 404
    assert refused(stranger.ask("POST", f"/configs/storage/{storage['id']}/test"))[0] == 404
    payload = {"info_types": ["*"]}
    assert blamed(stranger.ask("POST", "/polls", {"session": session, "payload": payload})) == ["session"]
    assert blamed(stranger.ask("POST", "/sources", {"user": user, "type": "mocks.mock"})) == ["user"]
    assert blamed(stranger.ask("POST", "/sessions", {"source": source, "payload": {}})) == ["source"]
    assert blamed(stranger.ask("POST", "/keys", {"storage_config": storage["id"]})) == ["storage_config"]
    assert wire.get(f"/sessions/{session}")["state"] == "active"


# -- tasks -------------------------------------------------------------------------------------------------------------------


def test_every_state_has_its_word():
    assert set(STATES) == set(State)
    assert set(STATES.values()) == {"pending", "processing", "suspended", "succeeded", "failed"}


def test_tasks_of_other_faces_are_shown_by_their_words(wire):
    yard = wire.yard
    ready = yard.submit()
    later = yard.submit(run_at=yard.clock.now + timedelta(hours=1), labels={"user": "ana", "poll": "mine"})
    waits = yard.submit(blocked_by=(ready.id,))
    ended = yard.submit(type="other")
    yard.write(yard.services.tasks.cancel, yard.actor, [ended.id])

    shown = {task["id"]: task for task in wire.get("/tasks")["data"]}
    assert {id: task["state"] for id, task in shown.items()} == {
        ready.id: "pending",
        later.id: "pending",
        waits.id: "suspended",
        ended.id: "failed",
    }
    assert shown[ended.id]["error"] == "canceled"
    assert shown[ended.id]["date_completed"] == "2026-03-01T12:00:00.000000Z"
    assert (shown[later.id]["user"], shown[later.id]["poll"]) == (None, "mine")
    assert [task["id"] for task in wire.get("/tasks", state="failed")["data"]] == [ended.id]
    assert [task["id"] for task in wire.get("/tasks", type="other")["data"]] == [ended.id]

    [claimed] = yard.worker().claim()
    assert wire.get(f"/tasks/{claimed.id}")["state"] == "processing"
    yard.settle(claimed, Failed("it broke", code="broken"))
    tried_again = wire.get(f"/tasks/{claimed.id}")
    assert (tried_again["state"], tried_again["error"]) == ("pending", None)


def test_a_published_value_is_a_result_without_a_file(wire):
    yard = wire.yard
    yard.submit()
    [task] = yard.worker().claim()
    for number in range(12):
        yard.write(yard.services.work.publish, Hold.of(task), f"preview-{number}", {"size": number})

    shown = wire.get(f"/tasks/{task.id}")["results"]
    assert (len(shown["data"]), shown["has_more"], shown["total_count"]) == (10, True, 12)
    assert shown["data"][0]["identifier"] == "preview-11"
    assert (shown["data"][0]["url"], shown["data"][0]["size"]) == (None, len('{"size":11}'))
    assert len(wire.get(f"/tasks/{task.id}/results", limit=50)["data"]) == 12
    one = shown["data"][4]["id"]
    assert [each["identifier"] for each in wire.get("/results", after_id=one, limit=2)["data"]] == [
        "preview-6",
        "preview-5",
    ]


def test_each_filter_finds_what_it_names(wire):
    ana, bo = wire.user("ana"), wire.user("bo")
    first = wire.open(user=ana)
    other = wire.open(user=bo, password="x")
    polls = [wire.poll(session, "messages.sms", info_types=["*"]) for session in (first, other)]
    wire.work()
    wire.ask(
        "POST",
        "/polls",
        {"session": first["id"], "payload": {"files": ["f"]}},
        token=wire.key(wire.yard.organisation),
    )

    def found(**query):
        tasks = wire.get("/tasks", **query)
        assert tasks["total_count"] == len(tasks["data"])
        return {(task["type"], task["user"], task["state"]) for task in tasks["data"]}

    tested = ("storage_config.test", None, "succeeded")
    opened = {("session.init", user, "succeeded") for user in (ana, bo)}
    done = {(type, user, "succeeded") for type in ("info", "data") for user in (ana, bo)}
    files = ("files", ana, "pending")
    assert found() == {tested, files} | opened | done
    assert found(user=ana) == {each for each in opened | done | {files} if each[1] == ana}
    assert found(source=other["source"]["id"]) == {each for each in opened | done if each[1] == bo}
    assert found(session=first["id"]) == found(user=ana)
    assert found(poll=polls[0]["id"]) == {("info", ana, "succeeded"), ("data", ana, "succeeded")}
    assert found(source_type="mocks.mock") == opened | done | {files}
    assert found(source_type="icloud.account") == set()
    assert found(type="data", user=bo) == {("data", bo, "succeeded")}
    assert found(type="session.init") == opened
    assert found(state="pending") == {files}
    assert found(key=polls[0]["key"]) == {tested} | opened | done
    assert found(key=polls[0]["key"] + 1) == {files}
    assert found(key=10**25) == set()
    everything = {
        "key": polls[0]["key"], "user": ana, "source": first["source"]["id"], "session": first["id"], "poll": polls[0]["id"],
        "source_type": "mocks.mock", "type": "data", "state": "succeeded",
        **{f"date_{noun}[gte]": "2026-03-01" for noun in ("created", "started", "completed")},
    }  # fmt: skip
    assert found(**everything) == {("data", ana, "succeeded")}
    for name, value in (
        ("user", bo),
        ("poll", polls[1]["id"]),
        ("type", "info"),
        ("date_created[gte]", "2026-03-02"),
    ):
        assert found(**{**everything, name: value}) - {("info", ana, "succeeded")} == set(), name


def test_dates_are_narrowed_to_ranges(wire):
    clock = wire.yard.clock
    clock.now = datetime.now(UTC).replace(microsecond=123456)  # ids tell the time too
    first = clock.now
    wire.storage()
    clock.forward(hours=1)
    wire.session()

    def found(**query):
        return [task["type"] for task in wire.get("/tasks", **query)["data"]]

    def at(moment, **span):
        return (moment + timedelta(**span)).isoformat().replace("+00:00", "Z")

    test, init = "storage_config.test", "session.init"
    assert found(**{"date_created[gt]": at(first)}) == [init]
    assert found(**{"date_created[gte]": at(first)}) == [init, test]
    assert found(**{"date_created[lt]": at(first)}) == []
    assert found(**{"date_created[lte]": at(first)}) == [test]
    assert found(date_created__lt=at(clock.now)) == [test]
    assert found(**{"date_created[gt]": at(first, minutes=1), "date_created[lt]": at(first, minutes=2)}) == []
    assert found(date_created=at(first)) == [test]
    # The client cuts its times to milliseconds, so such a one means all of its millisecond.
    assert found(date_created=at(first)[:23] + "Z") == [test]
    assert found(date_created=at(first, seconds=1)) == []
    assert found(date_created=first.date().isoformat()) in ([init, test], [test])  # about midnight
    assert found(**{"date_created[gte]": first.astimezone().isoformat()}) == [init, test]
    assert found(**{"date_created[gte]": at(first).replace("Z", "").replace("T", " ")}) == [init, test]
    # What has not begun began at no time.
    assert found(**{"date_started[gte]": "1970-01-01"}) == [test]
    assert found(**{"date_completed[lte]": "2999-01-01"}) == [test]
    wire.work()
    assert found(**{"date_completed[gte]": at(first, minutes=30)}) == [init]


def test_pages_show_each_task_once_while_others_are_made(wire):
    expected = [wire.yard.submit().id for _ in range(25)][::-1]
    seen, query = [], {"limit": 4}
    while True:
        page = wire.get("/tasks", **query)
        seen += [task["id"] for task in page["data"]]
        wire.yard.submit()
        if not page["has_more"]:
            break
        assert len(page["data"]) == 4
        query["after_id"] = seen[-1]

    assert seen == expected


def test_two_cursors_select_what_lies_between(wire):
    ids = [wire.yard.submit().id for _ in range(12)][::-1]

    def listed(**query):
        page = wire.get("/tasks", **query)
        assert page["total_count"] == 12
        return [task["id"] for task in page["data"]], page["has_more"]

    assert listed() == (ids[:10], True)
    assert listed(limit=12) == (ids, False)
    assert listed(before_id=ids[3]) == (ids[:3], False)
    assert listed(after_id=ids[3], before_id=ids[6]) == (ids[4:6], False)
    assert listed(after_id=ids[3], before_id=ids[9], limit=2) == (ids[4:6], True)
    assert listed(after_id=ids[11]) == ([], False)
    assert listed(after_id=ids[6], before_id=ids[3]) == ([], False)


# -- users and sources -------------------------------------------------------------------------------------------------------


def test_users_and_sources_are_made_once(wire):
    ana = wire.user("ana")
    assert wire.ask("POST", "/users", {"identifier": "ana"}).status_code == 200
    mine = {"user": str(ana), "type": "mocks.mock", "identifier": "x"}
    made = wire.ask("POST", "/sources", mine)
    again = wire.ask("POST", "/sources", mine)

    assert (made.status_code, again.status_code) == (201, 200)
    assert made.json() == again.json()
    assert wire.post("/sources", {**mine, "user": wire.user("bo")})["id"] != made.json()["id"]
    nameless = wire.post("/sources", {"user": ana, "type": "mocks.mock"})
    assert nameless["identifier"] is None
    assert wire.get("/users", identifier="ana")["total_count"] == 1
    assert wire.get("/users", identifier="ANA")["total_count"] == 0
    assert wire.get("/sources", user=ana, type="mocks.mock")["total_count"] == 2
    assert [user["identifier"] for user in wire.get("/users")["data"]] == ["bo", "ana"]
    assert wire.get("/users", after_id=wire.user("bo"))["data"][0]["id"] == ana


def test_a_user_is_changed_by_posting(wire):
    ana = wire.user("ana")
    wire.user("bo")

    assert wire.post(f"/users/{ana}", {"identifier": "anna"})["identifier"] == "anna"
    assert blamed(wire.ask("POST", f"/users/{ana}", {"identifier": "bo"})) == ["identifier"]
    assert blamed(wire.ask("POST", f"/users/{ana}", {"state": "odd"})) == ["state"]
    assert wire.post(f"/users/{ana}", {"state": "deactivated"})["state"] == "deactivated"
    source = {"user": ana, "type": "mocks.mock", "identifier": "x"}
    assert blamed(wire.ask("POST", "/sessions", {"source": source, "payload": {}})) == ["user"]
    assert wire.get("/sources")["data"] == []  # all or nothing
    assert wire.get("/users", state="deactivated")["total_count"] == 1


def test_a_deactivated_source_is_not_polled(wire):
    session = wire.open()
    source = session["source"]["id"]

    assert wire.post(f"/sources/{source}", {"state": "deactivated"})["state"] == "deactivated"
    body = {"session": session["id"], "payload": {"info_types": ["*"]}}
    assert blamed(wire.ask("POST", "/polls", body)) == ["source"]
    assert wire.post(f"/sources/{source}", {"state": "active"})["state"] == "active"
    assert wire.ask("POST", "/polls", body).status_code == 201


# -- sessions ----------------------------------------------------------------------------------------------------------------


def test_a_session_that_is_refused_says_why(wire):
    session = wire.session("fail:code-required")
    wire.work()
    shown = wire.get(f"/sessions/{session['id']}")

    assert (shown["state"], shown["error"]) == ("failed", "code-required")
    assert shown["source"]["state"] == "unvalidated"
    assert wire.get("/sessions", state="failed")["total_count"] == 1
    assert wire.get("/sessions", state="pending")["total_count"] == 0
    body = {"session": session["id"], "payload": {"info_types": ["*"]}}
    assert blamed(wire.ask("POST", "/polls", body)) == ["session"]
    assert wire.delete(f"/sessions/{session['id']}")["state"] == "failed"


def test_a_session_whose_task_is_canceled_has_failed(wire):
    session = wire.session()
    [task] = wire.get("/tasks", session=session["id"])["data"]
    wire.yard.write(wire.yard.services.tasks.cancel, wire.yard.actor, [task["id"]])

    shown = wire.get(f"/sessions/{session['id']}")
    assert (shown["state"], shown["error"]) == ("failed", "canceled")
    assert [each["id"] for each in wire.get("/sessions", state="failed")["data"]] == [session["id"]]


def test_a_type_without_a_connector_fails_its_sessions(wire):
    session = wire.session(type="icloud.account")
    wire.work()
    shown = wire.get(f"/sessions/{session['id']}")
    assert (shown["state"], shown["error"]) == ("failed", "source-type-not-supported")


def test_passwords_are_kept_sealed_and_no_longer_than_needed(wire):
    session = wire.session("hush-hush")
    other = wire.session("fail:hush-hush")

    def kept():
        organisation = wire.yard.organisation
        return [
            wire.yard.read(lambda records, id=each["id"]: records.sessions.get(organisation, id).credentials)
            for each in (session, other)
        ]

    assert all("hush" not in each for each in kept())
    assert "hush" in wire.seal.open(kept()[0])
    for task in wire.get("/tasks")["data"]:
        assert "hush" not in str(wire.yard.get(task["id"]))
    wire.work()
    assert kept()[1] is None
    assert "hush" not in wire.seal.open(kept()[0])
    wire.delete(f"/sessions/{session['id']}")
    assert kept() == [None, None]


def test_a_session_that_ends_early_is_not_opened(wire):
    session = wire.session()
    ended = wire.delete(f"/sessions/{session['id']}")
    wire.work()

    assert (ended["state"], ended["error"]) == ("expired", "organisation")
    assert wire.get(f"/sessions/{session['id']}") == {**ended, "source": ended["source"]}
    assert wire.get("/tasks")["data"][0]["error"] == "session-expired"
    assert wire.delete(f"/sessions/{session['id']}")["date_expired"] == ended["date_expired"]
    assert wire.get("/sessions", state="expired")["total_count"] == 1


def test_the_newest_active_session_of_a_source_comes_first(wire):
    first, second = wire.open(), wire.open()
    wire.session("fail:x")
    wire.work()

    found = wire.get("/sessions", source=first["source"]["id"], state="active", limit=1)
    assert [each["id"] for each in found["data"]] == [second["id"]]
    assert (found["has_more"], found["total_count"]) == (True, 2)
    assert wire.get("/sessions", user=first["user"], key=first["key"])["total_count"] == 3


# -- polls -------------------------------------------------------------------------------------------------------------------


def test_a_poll_has_a_task_for_each_thing(wire):
    poll = wire.poll(
        wire.open(),
        "messages.sms",
        "messages.sms",
        info_types=["*", "battery"],
        files=["a/b", "../c"],
        since="2020-01-01",
    )
    tasks = wire.get("/tasks", poll=poll["id"])["data"][::-1]

    assert [(task["type"], task["target"]) for task in tasks] == [
        ("info", None),
        ("info", "battery"),
        ("data", "messages.sms"),
        ("files", "a/b"),
        ("files", "../c"),
    ]
    assert (poll["state"], poll["tasks_pending"]) == ("pending", [task["id"] for task in tasks])
    wire.work()
    done = wire.get(f"/polls/{poll['id']}")
    assert (done["state"], len(done["tasks_succeeded"])) == ("completed", 5)
    found = {each["identifier"]: each for each in done["results"]["data"]}
    assert set(found) == {"mocks.mock", "battery", "messages.sms", "a/b", "../c"}
    for result in found.values():
        path = result["url"].removeprefix("local://")
        assert path.startswith(f"{wire.folder}/{poll['id']}/")
        with open(path, "rb") as file:
            assert len(file.read()) == result["size"]
    assert found["../c"]["type"] == "txt"


def test_a_poll_is_processing_until_all_its_tasks_have_ended(wire):
    poll = wire.poll(wire.open(), "messages.sms", "suspend:60", "fail:odd")
    wire.work()
    while_waiting = wire.get(f"/polls/{poll['id']}")

    assert (while_waiting["state"], while_waiting["date_completed"]) == ("processing", None)
    assert [len(while_waiting[f"tasks_{word}"]) for word in ("succeeded", "suspended", "failed")] == [1, 1, 1]
    assert wire.get("/polls", state="processing")["total_count"] == 1
    assert wire.get("/polls", state="completed")["total_count"] == 0
    wire.later(seconds=59)
    assert wire.get(f"/polls/{poll['id']}")["state"] == "processing"
    wire.later(seconds=1)
    done = wire.get(f"/polls/{poll['id']}")
    assert (done["state"], done["date_completed"]) == ("completed", "2026-03-01T12:01:00.000000Z")
    assert done["errors"]["data"] == [
        {"task": done["tasks_failed"][0], "error": "odd", "message": "the mock was told to fail with odd"}
    ]
    assert "resource" not in done["errors"]
    assert (
        wire.get("/polls", session=poll["session"], requestor="client", state="completed")["total_count"] == 1
    )


def test_a_poll_of_an_empty_list_is_completed_at_once(wire):
    poll = wire.poll(wire.open(), files=[])  # the client does so after results without files

    assert (poll["state"], poll["results"]["data"]) == ("completed", [])
    assert poll["date_started"] == poll["date_completed"] == poll["date_created"]


def test_nothing_is_fetched_for_a_session_that_has_ended(wire):
    session = wire.open()
    poll = wire.poll(session, "messages.sms")
    wire.delete(f"/sessions/{session['id']}")
    wire.work()

    done = wire.get(f"/polls/{poll['id']}")
    assert (done["state"], done["errors"]["data"][0]["error"]) == ("completed", "session-expired")
    assert done["results"]["total_count"] == 0


def test_results_need_somewhere_to_go(wire):
    session = wire.session()
    wire.work()
    body = {"session": session["id"], "payload": {"info_types": ["*"]}}

    assert wire.get("/organisation")["state"] == "unconfigured"
    assert refused(wire.ask("POST", "/polls", body)) == (400, "unconfigured")
    config = wire.post("/configs/storage", {"url": "s3://bucket"})["id"]
    wire.work()
    assert wire.get(f"/configs/storage/{config}")["state"] == "invalid"
    assert refused(wire.ask("POST", "/polls", body)) == (400, "unconfigured")
    wire.storage()
    assert wire.get("/organisation")["state"] == "active"
    assert wire.ask("POST", "/polls", body).status_code == 201
    wire.post("/organisation", {"storage_config_default": config})
    assert refused(wire.ask("POST", "/polls", body)) == (400, "unconfigured")
    wire.post("/organisation", {"storage_config_default": None})
    assert wire.ask("POST", "/polls", body).status_code == 201


def test_a_key_may_have_a_storage_of_its_own(wire):
    session = wire.open()
    own = wire.post("/configs/storage", {"url": f"local://{wire.folder}/own"})["id"]
    default = wire.get("/configs/storage")["data"][1]["id"]
    wire.work()
    wire.post("/organisation", {"storage_config_default": default})
    key = wire.get("/key")
    changed = wire.post(f"/keys/{key['id']}", {"storage_config": own})
    poll = wire.poll(session, "messages.sms")
    wire.work()

    assert (changed["storage_config"], changed["token"]) == (own, wire.token)
    url = wire.get(f"/polls/{poll['id']}/results")["data"][0]["url"]
    assert url.startswith(f"local://{wire.folder}/own/")


def test_results_are_acknowledged_once(wire):
    poll = wire.polled("messages.sms", "messages.whatsapp", "notes")
    ids = [each["id"] for each in poll["results"]["data"]]

    first = wire.post(f"/results/{ids[0]}/ack")
    wire.yard.clock.forward(hours=1)
    assert wire.get(f"/results/{ids[0]}/ack") == first
    assert [each["id"] for each in wire.get("/results", poll=poll["id"])["data"]] == ids[1:]
    assert refused(wire.ask("POST", "/results/ack", {"results": [ids[1], NOBODY]})) == (404, "not-found")
    assert wire.get(f"/results/{ids[1]}")["state"] == "available"
    for body in ({"results": [ids[1]]}, {"ids": ids[1:]}, ids):
        assert {each["state"] for each in wire.post("/results/ack", body)["data"]} == {"consumed"}
    assert wire.get("/results")["total_count"] == 0
    assert wire.get("/results", state="expired")["total_count"] == 0
    assert (
        wire.get(f"/polls/{poll['id']}")["results"]["total_count"] == 3
    )  # who has fetched them still finds them


# -- configs -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "state", "error"),
    [(204, "valid", None), (302, "invalid", "webhook-refused"), (500, "invalid", "webhook-refused")],
)
def test_a_webhook_is_as_good_as_its_receiver(wire, answers, state, error):
    wire.receiver_answers = answers
    made = wire.post("/configs/webhook", {"url": "https://receiver.example/hooks/"})
    wire.work()

    [task] = wire.get("/tasks", type="webhook_config.test")["data"]
    assert (task["target"], task["error"]) == (str(made["id"]), error)
    shown = wire.get(f"/configs/webhook/{made['id']}")
    assert (shown["state"], shown["secret"]) == (state, None)  # a secret is told once
    assert wire.posted[0].url.startswith("https://receiver.example/hooks/")
    assert "//" not in wire.posted[0].url.removeprefix("https://")
    assert made["secret"].encode() not in wire.posted[0].body


def test_a_config_that_is_changed_is_tested_again(wire):
    made = wire.post("/configs/webhook", {"url": "https://receiver.example/a"})
    wire.work()
    wire.receiver_answers = 404
    changed = wire.post(f"/configs/webhook/{made['id']}", {"url": "https://receiver.example/b"})
    assert changed["state"] == "new"
    wire.work()
    assert wire.get("/configs/webhook", state="invalid")["total_count"] == 1
    assert wire.delete(f"/configs/webhook/{made['id']}")["state"] == "deactivated"
    assert refused(wire.ask("POST", f"/configs/webhook/{made['id']}/test")) == (400, "invalid-parameter")
    assert wire.get("/organisation")["webhook_configs"]["total_count"] == 0


def test_a_test_judges_only_what_it_has_tested(wire):
    made = wire.post("/configs/storage", {"url": "s3://bucket"})
    [old] = wire.get("/tasks", type="storage_config.test")["data"]
    wire.post(f"/configs/storage/{made['id']}", {"url": f"local://{wire.folder}"})
    wire.delete(f"/configs/storage/{made['id']}")
    wire.work()

    assert wire.get(f"/configs/storage/{made['id']}")["state"] == "deactivated"
    assert wire.get(f"/tasks/{old['id']}")["state"] == "succeeded"


def test_storage_credentials_are_not_shown_again(wire):
    made = wire.post(
        "/configs/storage",
        {"url": "s3://b", "credentials": {"secret_access_key": "hush"}, "signed_urls_enabled": True},
    )
    assert (made["credentials"], made["signed_urls_enabled"], made["type"]) == ({}, True, "s3")
    kept = wire.yard.read(lambda records: records.destinations.search(wire.yard.organisation, {}, NEWEST))
    assert "hush" not in kept[0].credentials
    assert "hush" in wire.seal.open(kept[0].credentials)


# -- keys --------------------------------------------------------------------------------------------------------------------


def test_keys_are_made_and_rotated(wire):
    made = wire.post("/keys", {})
    assert wire.ask("GET", "/key", token=made["token"]).json()["id"] == made["id"]
    assert wire.get(f"/keys/{made['id']}")["token"] is None
    rotated = wire.post(f"/keys/{made['id']}/rotate", {})
    assert rotated["id"] == made["id"]
    assert refused(wire.ask("GET", "/key", token=made["token"])) == (401, "unauthorised")
    assert wire.ask("GET", "/key", token=rotated["token"]).status_code == 200
    listed = wire.get("/keys", limit=1)
    assert (listed["data"][0]["id"], listed["has_more"], listed["total_count"]) == (made["id"], True, 2)
    assert wire.get("/keys", after_id=made["id"])["data"][0]["token"] == wire.token


def test_the_client_may_let_its_answer_be_held(wire):
    for said in ("junk", "-1", "1e9", "0", "0.2", ""):
        body = {"source": {"user": wire.user(), "type": "mocks.mock"}, "payload": {}}
        answer = wire.ask("POST", "/sessions", body, headers={"Ricloud-Await": said})
        assert (answer.status_code, answer.json()["state"]) == (201, "pending")


def test_one_server_speaks_to_two_wires_of_keys(yard, tmp_path):
    hexadecimal = Wire(
        yard, tmp_path, token=Wire(yard, tmp_path).key(yard.organisation, settings={"secret": "hex"})
    )
    assert len(hexadecimal.token) == 40
    assert hexadecimal.get("/key")["token"] == hexadecimal.token
