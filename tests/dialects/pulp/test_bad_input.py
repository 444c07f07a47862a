"""What nobody should send: answered in the wire's own words, a bare JSON string, and never with a page."""

import asyncio
import base64

import pytest

UNKNOWN = "7e419e4f-3719-11e1-9ea0-f0def14122c8"
STRANGE = ["%00", "%ff", "..", "%2e%2e", "'%20OR%201=1--", "é", "a" * 5_000]
PATHS = ["/tasks/{}/", "/tasks/{}/cancel/", "/tasks/{}/snapshot/", "/jobs/{}/", "/jobs/{}/cancel/"]


def ask(wire, method, path, **named):
    return asyncio.run(wire.ask(method, path, **named))


def refused(answer, *statuses):
    assert answer.status_code in statuses, answer.text
    assert answer.headers["content-type"] == "application/json"
    words = answer.json()
    assert isinstance(words, str)
    return words


@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize("path", PATHS)
def test_an_id_that_is_none_leads_nowhere(wire, path, strange):
    for method in ("GET", "POST", "DELETE"):
        assert refused(ask(wire, method, path.format(strange)), 404) == "not found"


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        ("GET", "/tasks/{}/", "Task not found: {}"),
        ("DELETE", "/tasks/{}/", "Task not found: {}"),
        ("POST", "/tasks/{}/cancel/", "Task not found: {}"),
        ("GET", "/jobs/{}/", "job {}, not-found"),
        ("POST", "/jobs/{}/cancel/", "job {}, not-found"),
    ],
)
def test_an_id_that_nobody_has_or_another_has_is_told_by_name(wire, method, path, words):
    other = wire.yard.other_organisation()
    foreign = wire.yard.submit(actor=other, labels={"job": UNKNOWN})

    for id in (UNKNOWN, foreign.id):
        assert refused(ask(wire, method, path.format(id)), 404) == words.format(id)
    assert wire.yard.get(foreign, actor=other).is_open


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_snapshot_that_is_none_or_anothers_is_told_by_name(wire, method):
    other = wire.yard.other_organisation()
    foreign = wire.yard.submit(actor=other)

    for id in (UNKNOWN, foreign.id):
        words = refused(ask(wire, method, f"/tasks/{id}/snapshot/"), 404)
        assert words in (f"Snapshot for task not found: {id}", f"Task not found: {id}")


@pytest.mark.parametrize("word", ["%00", "é", "waiting%20", "waiting,running", "x" * 5_000, "<b>", "null"])
def test_a_state_that_is_none_is_refused(wire, word):
    assert refused(ask(wire, "GET", f"/tasks/?state=waiting&state={word}"), 400).startswith("Unknown state: ")


def test_filters_that_are_unknown_and_ids_that_are_none_are_passed_over(wire):
    task = wire.make()

    def ids(query):
        answer = ask(wire, "GET", f"/tasks/?{query}")
        assert answer.status_code == 200
        return [each["id"] for each in answer.json()]

    assert ids("page_size=99999999999&since=2011-02-30&sort=%00") == [task.id]
    assert ids(f"id=%00&id=é&id={UNKNOWN}&id={task.id}") == [task.id]
    assert ids("&".join(f"id=7e419e4f-3719-11e1-9ea0-{n:012x}" for n in range(300))) == []


@pytest.mark.parametrize("method", ["PATCH", "PUT", "POST", "OPTIONS", "TRACE", "MKCOL"])
def test_methods_that_are_none_name_those_there_are(wire, method):
    answer = ask(wire, method, "/tasks/snapshots/")

    assert "GET" in refused(answer, 405)
    assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]" * 1000, b"\0", None])
def test_what_a_cancel_carries_does_not_matter(wire, content):
    task = wire.make()

    answer = ask(wire, "POST", f"/tasks/{task.id}/cancel/", content=content)

    assert (answer.status_code, answer.json()["state"]) == (202, "canceled")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic ",
        "Basic Og==",
        "Basic " + base64.b64encode(b"admin").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(),
        "Basic " + base64.b64encode(b"ad\0min:x").decode(),
        "Basic " + base64.b64encode(b"a" * 9_000 + b":" + b"x" * 9_000).decode(),
        "Basic é",
        'OAuth oauth_consumer_key="k", oauth_signature="x"',
        "Negotiate YII=",
    ],
)
def test_credentials_that_are_none_are_turned_away(wire, header):
    for path in ("/tasks/", f"/tasks/{UNKNOWN}/", "/jobs/", "/tasks/snapshots/"):
        headers = {"Authorization": header.encode("latin-1")}
        words = refused(ask(wire.as_(None), "GET", path, headers=headers), 401)
        assert words in ("Authentication Required", "Invalid username or password")
