"""What holds for every wire, whatever its words: each dialect that is mounted is asked, and one that is written for this alone."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

import taskyard.core.errors
import taskyard.http.refusal
from taskyard.core.errors import (
    Broken,
    Conflict,
    Forbidden,
    Invalid,
    LeaseLost,
    LimitReached,
    NotFound,
    StillOpen,
    TaskFailed,
    TaskyardError,
    TooLarge,
    Unauthenticated,
    Unavailable,
    WrongState,
)
from taskyard.core.task import State
from taskyard.http.backend import Backend
from taskyard.http.dialect import Path
from taskyard.http.refusal import Changed, Malformed, MethodNotAllowed, NoSuchPath, Unexpected
from tests.dialects.shared import MAX_BODY_BYTES, NAMES, WAYS, Wire, dialect_of, sample_of

SECRET = "a secret of ours"


@pytest.fixture(params=NAMES)
def wire(request, yard):
    return Wire(request.param, yard)


@pytest.mark.parametrize("name", NAMES)
def test_a_dialect_that_is_mounted_has_a_sample(name):
    sample_of(name)


def test_a_dialect_without_a_sample_is_told_where_to_put_it():
    with pytest.raises(AssertionError, match=r"write tests/dialects/klingon/sample\.py with a Sample"):
        sample_of("klingon")


# -- states -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_there_is_a_word_for_every_state(name):
    states = dialect_of(name).states

    assert set(states) == set(State)
    assert all(isinstance(word, str) and word for word in states.values())


def test_every_state_can_be_brought_about():
    assert {state for state, _ in WAYS.values()} == set(State)


@pytest.mark.parametrize("way", WAYS)
def test_a_task_shows_the_word_of_its_state(wire, way):
    state, bring_about = WAYS[way]

    task = bring_about(wire)

    assert task.state is state
    assert wire.sample.look(wire, task) == wire.sample.words.get(way, wire.dialect.states[state])
    list(wire.sample.walk(wire))  # and no list stumbles over it


# -- refusals -----------------------------------------------------------------------------------------------------------------

HOSTILE = 'he said "no"\n\t\0\\ <script> \u2028 é \U0001f600'
REFUSALS = (
    TaskyardError("of a kind that nobody has heard of"),
    Invalid(HOSTILE, pointer="/a~1b", code="bad_value"),
    Invalid("half a pair: \ud800"),
    TooLarge("the input", 2_000_000, 1_000_000),
    Unauthenticated("who are you?"),
    Forbidden("tasks:submit"),
    NotFound("task", HOSTILE),
    Conflict(HOSTILE, existing="x"),
    WrongState("x", "succeeded", "cancel", ("retry",)),
    LeaseLost("x", 2),
    LimitReached("too much", timedelta(seconds=6.5)),
    TaskFailed("x", "failed", "it broke", None),
    StillOpen("x", "running", None),
    Unavailable("busy", retry_after=timedelta(seconds=3)),
    Broken("the disk failed"),
    NoSuchPath("/a/b"),
    MethodNotAllowed("PUT", ("GET", "POST")),
    Unexpected("r-1"),
    Malformed(HOSTILE, code="bad_json"),
    Changed(),
)


def test_every_kind_of_refusal_is_tried():
    kinds = {
        kind
        for module in (taskyard.core.errors, taskyard.http.refusal)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, TaskyardError)
    }

    assert kinds == {type(refusal) for refusal in REFUSALS}


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: type(refusal).__name__)
def test_every_refusal_has_its_status_and_the_wires_own_body(wire, refusal):
    async def refuse(_):
        raise refusal

    asked = wire.but(paths=lambda _: [Path("/refuses", {"GET": refuse}, public=True)])
    answer = asked.ask("GET", "/refuses", breaks=True)

    encodable = "\ud800" not in str(refusal)
    assert answer.status_code == (wire.sample.status_of(refusal) if encodable else 500)
    assert wire.sample.is_error(answer.json(), answer.status_code)
    if isinstance(refusal, LimitReached):
        assert answer.headers["retry-after"] == "7"
    if isinstance(refusal, Unavailable):
        assert answer.headers["retry-after"] in ("1", "3")
    if isinstance(refusal, MethodNotAllowed):
        assert answer.headers["allow"]


# -- what nobody expected -----------------------------------------------------------------------------------------------------


def test_a_fault_of_ours_is_the_wires_own_error_and_is_logged(wire):
    async def breaks(_):
        raise ZeroDivisionError(SECRET)

    asked = wire.but(paths=lambda _: [Path("/breaks", {"GET": breaks}, public=True)])
    with capture_logs() as logs:
        answer = asked.ask("GET", "/breaks", more={"X-Request-Id": "mine-7"}, breaks=True)

    assert answer.status_code == 500
    assert SECRET not in answer.text
    assert [(each["log_level"], each["reference"], each["exc_info"]) for each in logs] == [
        ("error", "mine-7", True)
    ]


def test_a_fault_in_finding_out_who_asks_is_no_way_in(wire):
    async def breaks(*_):
        raise ZeroDivisionError(SECRET)

    asked = wire.but(identify=breaks)
    answer = asked.ask("GET", wire.sample.lists(wire.place), params=wire.place.query, breaks=True)

    assert answer.status_code == 500
    assert SECRET not in answer.text


class Failing(Backend):
    """A backend whose store fails at everything."""

    error: Exception = ZeroDivisionError(SECRET)

    async def read(self, *_args, **_named):
        raise self.error

    write = together = submit = read


@pytest.mark.parametrize(
    ("error", "status"), [(ZeroDivisionError(SECRET), 500), (Unavailable("the disk is full"), 503)]
)
def test_whatever_fails_beneath_an_endpoint_is_told_in_the_wires_words(wire, error, status):
    actor = wire.yard.actor

    async def identify(*_):
        return actor

    backend = wire.make_backend(Failing)
    backend.error = error
    asked = wire.but(identify=identify, backend=backend)
    failed = 0
    with capture_logs() as logs:
        for method, path, body in [
            *((method, path, {}) for path, methods in wire.paths() for method in sorted(methods)),
            *wire.sample.bodies(wire.place),
        ]:
            sent = None if method == "GET" else body
            answer = asked.ask(method, path, sent, params=wire.place.query, breaks=True)
            assert SECRET not in answer.text
            assert answer.status_code == status or answer.status_code != 500, (method, path)
            if status == 503 and answer.status_code == 503:
                assert answer.headers["retry-after"] == "1"
            failed += answer.status_code == status

    assert failed >= len(wire.sample.bodies(wire.place)) + 1
    assert len(logs) == (failed if status == 500 else 0)


# -- who asks -----------------------------------------------------------------------------------------------------------------

GARBAGE = (
    {},
    {"Authorization": ""},
    {"Authorization": "x"},
    {"Authorization": "Basic"},
    {"Authorization": "Basic !!!"},
    {"Authorization": "Basic Og=="},
    {"Authorization": "Basic AGE6AGI="},
    {"Authorization": "Basic /w=="},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer é"},
    {"Authorization": "Bearer a.b.c"},
    {"Authorization": "Bearer " + "x" * 10_000},
    {"Authorization": "Token"},
    {"Authorization": "Token é"},
    {"Authorization": "Token " + "0" * 10_000},
    {"Cookie": "session=1"},
)


def test_who_shows_no_credentials_or_wrong_ones_is_turned_away_everywhere(wire):
    for headers in (*GARBAGE, *wire.sample.wrong):
        answer = wire.ask("GET", wire.sample.lists(wire.place), headers=headers, params=wire.place.query)
        assert answer.status_code == 401, headers
    public = {wire.filled(path.pattern) for path in wire.dialect.paths(wire.backend) if path.public}
    for path, methods in wire.paths():
        for method in sorted(methods | {"PUT"}) if path not in public else ():
            answer = wire.ask(method, path, {} if method != "GET" else None, headers={})
            assert answer.status_code == 401, (method, path)


def test_what_is_another_organisations_cannot_be_seen_nor_touched(wire):
    task = wire.sample.show(wire)
    before = wire.yard.get(task)

    for method, path, body in wire.sample.theirs(wire, task):
        answer = wire.ask(method, path, body, headers=wire.place.stranger)
        assert answer.status_code in wire.sample.hides, (method, path, answer.text)
        assert wire.ask(method, path, body).status_code not in wire.sample.hides, (method, path)
        if method == "GET":
            assert wire.yard.get(task) == before


def test_a_stranger_changes_nothing(wire):
    task = wire.sample.show(wire)
    before = wire.yard.get(task)

    for method, path, body in wire.sample.theirs(wire, task):
        wire.ask(method, path, body, headers=wire.place.stranger)

    assert wire.yard.get(task) == before


# -- paging -------------------------------------------------------------------------------------------------------------------


def test_a_walk_through_the_pages_sees_each_task_once_while_others_are_made(wire):
    there = [wire.sample.id_of(wire.sample.show(wire)) for _ in range(7)]

    seen = []
    for page in wire.sample.walk(wire):
        seen += page
        assert len(seen) < 200, "the pages have no end"
        if len(seen) < 30:
            wire.yard.clock.forward(seconds=1)
            WAYS["ready"][1](wire)

    assert set(there) <= set(seen)
    if not wire.sample.repeats:
        assert sorted(seen) == sorted(set(seen))


# -- what is wrong with a request ---------------------------------------------------------------------------------------------

ODD_PATHS = (
    "",
    "/",
    "//",
    "/nothing",
    "/nothing/at/all/",
    "/..",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/%ff",
    "/%00",
    "/a%0d%0aX-Evil:%201",
    "/<script>",
    "/é/\U0001f600",
    "/" + "x" * 5_000,
    "/nothing?a=b&c",
)


def test_a_path_that_is_none_is_told_in_the_wires_words(wire):
    for path in ODD_PATHS:
        for method in ("GET", "POST", "DELETE", "BREW"):
            answer = wire.ask(method, path)
            assert answer.status_code in (404, 401), (method, path)
            assert "x-evil" not in answer.headers


ODD_IDS = (
    "%00",
    "a%00b",
    "%ff",
    "'",
    "0" * 5_000,
    "%F0%9F%98%80",
    "..%2f..",
    "%ED%A0%80",
    "-1",
    "9" * 18,
    "9" * 30,
)


def test_an_id_that_is_none_finds_nothing(wire):
    task = wire.sample.show(wire)
    for id in ODD_IDS:
        for method, path, body in wire.sample.theirs(wire, replace(task, id=id, number=id)):
            answer = wire.ask(method, path, body)
            if f"/{id}" in path:
                assert answer.status_code in (400, 404, 405, 422), (method, path, answer.text)


def told_methods(answer):
    return set(answer.headers["allow"].split(", "))


def test_a_wrong_method_is_told_with_the_right_ones(wire):
    for path, methods in wire.paths():
        for method in ({"GET", "POST", "PUT", "PATCH", "DELETE", "BREW"} - methods) - {"HEAD"}:
            answer = wire.ask(method, path, params=wire.place.query)
            assert answer.status_code == 405, (method, path, answer.text)
            assert told_methods(answer) - wire.sample.always == methods - wire.sample.always


def test_a_head_is_a_get_without_its_body_and_options_are_answered(wire):
    for path, methods in wire.paths():
        if "GET" in methods:
            got = wire.ask("GET", path, params=wire.place.query)
            head = wire.ask("HEAD", path, params=wire.place.query)
            assert (head.status_code, head.content) == (got.status_code, b""), path
            assert head.headers["content-type"] == got.headers["content-type"]
        if "OPTIONS" not in methods:
            options = wire.ask("OPTIONS", path, params=wire.place.query)
            assert options.status_code == 405, path
            assert told_methods(options) - wire.sample.always == methods - wire.sample.always


BROKEN_BODIES = (
    b"{",
    b"{'a': 1}",
    b"<a/>",
    b"\xff\xfe\x00",
    b'{"a": "\xff"}',
    b'{"a": NaN}',
    b'{"a": 1e999',
    b"[" * 3_000,
    b'{"a":' * 3_000,
    b"nul",
    b"a=b&c=d",
    b"\0",
)
ODD_BODIES = (
    b"",
    b"{}",
    b"[]",
    b"null",
    b"7",
    b'"text"',
    b"[{}]",
    b'{"":""}',
    b"1e999",
    b"9" * 4_500,
    b"[" * 2_000 + b"]" * 2_000,
    b'{"\\ud800": "\\ud800"}',
    b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
)
ODD_VALUES = (
    None,
    True,
    -1,
    0,
    7,
    1.5,
    10**18,
    10**30,
    1e308,
    "",
    "x",
    "a\0b",
    "\ud800",
    "é\U0001f600",
    "x" * 3_000,
    "2026-02-30T00:00:00Z",
    "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00+23:59",
    [],
    [None],
    ["x", 7],
    [["x"]],
    {},
    {"x": None},
    {"a\0b": "a\0b"},
    {"\ud800": "\ud800"},
    {"": {"": {"": [{}]}}},
)


def test_a_body_that_is_not_json_is_refused_in_the_wires_words(wire):
    for method, path, _ in wire.sample.bodies(wire.place):
        for raw in BROKEN_BODIES:
            answer = wire.ask(method, path, raw=raw, params=wire.place.query)
            assert 400 <= answer.status_code < 500, (path, raw[:40])
        for raw in ODD_BODIES:
            wire.ask(method, path, raw=raw, params=wire.place.query)


def _spoilt(body, value):
    """Give *body* with *value* in the place of each of its parts, one at a time, and beside them."""
    yield value
    if isinstance(body, dict):
        yield {**body, "a member nobody knows": value}
        for name, part in body.items():
            for each in _spoilt(part, value):
                yield {**body, name: each}
    elif isinstance(body, list):
        for index, part in enumerate(body):
            for each in _spoilt(part, value):
                yield [*body[:index], each, *body[index + 1 :]]


def test_no_value_of_a_wrong_type_or_out_of_its_range_breaks_anything(wire):
    for method, path, body in wire.sample.bodies(wire.place):
        for value in ODD_VALUES:
            for spoilt in _spoilt(body, value):
                wire.ask(method, path, spoilt, params=wire.place.query)


def test_a_body_that_is_too_large_is_refused(wire):
    for method, path, _ in wire.sample.bodies(wire.place):
        for raw, more in (
            (b" " * (MAX_BODY_BYTES + 1), {}),
            (b'{"a": "' + b"x" * MAX_BODY_BYTES + b'"}', {}),
            (b"{}", {"Content-Length": "9" * 30}),
        ):
            answer = wire.ask(method, path, raw=raw, more=more, params=wire.place.query)
            assert answer.status_code == 413, path


ODD_TEXTS = (
    "",
    " ",
    "x",
    "true",
    "null",
    "-1",
    "0",
    "1",
    "+1",
    "1.5",
    "1e400",
    "NaN",
    "0x10",
    "1_000",
    "²",
    "١٢",
    "100000",
    "2147483648",
    "9223372036854775808",
    "9" * 30,
    "9" * 5_000,
    "2026-02-30",
    "2026-02-30T00:00:00Z",
    "2026-01-01T25:61:61Z",
    "2026-01-01",
    "0000-00-00",
    "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00+23:59",
    "-99999-01-01T00:00:00Z",
    "1e30",
    "a\0b",
    "\0",
    "'; DROP TABLE tasks; --",
    "%",
    "_%",
    "é\U0001f600",
    "x" * 5_000,
    "[]",
    "{}",
    "../..",
)


def test_no_value_in_a_query_breaks_anything(wire):
    path = wire.sample.lists(wire.place)
    for name in (*wire.sample.parameters, "nothing"):
        for text in ODD_TEXTS:
            wire.ask("GET", path, params={**wire.place.query, name: text})
        wire.ask("GET", path, params=[*wire.place.query.items(), (name, "1"), (name, "2")])
    for query in ("%ff=%fe", "=&&==", "a=%00", "&".join(["a=1"] * 500), "%", "a;b"):
        joined = "&".join([*(f"{name}={value}" for name, value in wire.place.query.items()), query])
        wire.ask("GET", f"{path}?{joined}")


def test_no_header_breaks_anything(wire):
    path = wire.sample.lists(wire.place)
    for more in (
        {"Accept": "text/html"},
        {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"},
        {"Accept": "é;q=x,,;"},
        {"Content-Type": "text/html; charset=nothing"},
        {"Content-Length": "-1"},
        {"If-None-Match": "*"},
        {"Range": "bytes=5-1"},
        {"X-Request-Id": "a b\té"},
        {"X-Forwarded-Proto": "gopher"},
        {"Expect": "100-continue"},
    ):
        answer = wire.ask("GET", path, params=wire.place.query, more=more)
        assert answer.status_code < 500
        for method, where, body in wire.sample.bodies(wire.place):
            wire.ask(method, where, body, params=wire.place.query, more=more)


def test_nothing_of_all_that_is_answered_with_a_page(wire):
    for path, methods in wire.paths():
        for method in sorted(methods):
            answer = wire.ask(method, path, params=wire.place.query, more={"Accept": "text/html"})
            assert "html" not in answer.headers.get("content-type", "")
            if answer.headers.get("content-type", "").startswith("application/json"):
                json.loads(answer.content)
