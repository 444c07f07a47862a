"""
What is sent again, when, and for how long.

A flow does no I/O, so these tests are the network: they see each step and say what came back.
"""

import json
from collections.abc import Generator
from datetime import timedelta
from typing import Any

import pytest

from taskyard.client.errors import Refused, ServerFault, Unreachable
from taskyard.client.flow import Answer, Pause, Request
from taskyard.client.sending import act, answered, read
from taskyard.client.tasks import TaskCalls
from taskyard.core.errors import (
    Conflict,
    Forbidden,
    Invalid,
    LeaseLost,
    LimitReached,
    NotFound,
    TooLarge,
    Unauthenticated,
    Unavailable,
    WrongState,
)


class Face:
    """A face with a patience, and no chance in it."""

    def __init__(self, patience: float = 30.0) -> None:
        self.patience = timedelta(seconds=patience)
        self.keys = 0

    def new_key(self) -> str:
        self.keys += 1
        return f"key-{self.keys}"

    def jitter(self) -> float:
        return 0.0

    def elapsed(self) -> float:
        return 0.0


def problem(status: int, **members: Any) -> Answer:
    headers = {"retry-after": str(members.pop("retry_after"))} if "retry_after" in members else {}
    return Answer(status, headers, json.dumps({"status": status, **members}).encode())


GOOD = Answer(200, {}, b'{"well": true}')
GET = Request("GET", "/v1/me", again=True)
BROKEN = Unreachable("http://yard", "the connection was reset")
REFUSED = Unreachable("http://yard", "connection refused", unsent=True)


def returned(flow: Generator[Any, Any, Any], answer: Any) -> Any:
    with pytest.raises(StopIteration) as end:
        flow.send(answer)
    return end.value.value


def test_what_is_answered_is_sent_once():
    flow = read(Face(), "/v1/me")

    request = next(flow)

    assert (request.method, request.path) == ("GET", "/v1/me")
    assert returned(flow, GOOD) == {"well": True}


def test_a_server_that_is_unavailable_is_asked_again_when_it_said():
    flow = answered(Face(), Request("POST", "/v1/tasks"))
    first = next(flow)

    assert flow.send(problem(503, detail="the disk is full", retry_after=7)) == Pause(7.0)
    assert flow.send(None) is first
    assert returned(flow, GOOD) is GOOD


def test_a_limit_is_waited_for():
    flow = answered(Face(), GET)
    next(flow)

    assert flow.send(problem(429, code="limit_reached", retry_after=2)) == Pause(2.0)


def test_pauses_grow_while_nobody_answers():
    flow = answered(Face(), GET)
    next(flow)
    pauses = []
    for _ in range(4):
        pauses.append(flow.throw(BROKEN).seconds)
        flow.send(None)

    assert pauses == [0.1, 0.2, 0.4, 0.8]


def test_patience_ends_and_the_last_refusal_is_raised():
    flow = answered(Face(patience=1.0), GET)
    next(flow)

    with pytest.raises(Unavailable, match="the disk is full"):
        flow.send(problem(503, detail="the disk is full", retry_after=5))


def test_a_broken_connection_is_not_tried_again_where_the_request_may_have_arrived():
    flow = answered(Face(), Request("POST", "/v1/x"))
    next(flow)

    with pytest.raises(Unreachable, match="reset"):
        flow.throw(BROKEN)


def test_a_connection_that_was_never_made_is_tried_again_whatever_was_to_be_sent():
    flow = answered(Face(), Request("POST", "/v1/x"))
    next(flow)

    assert isinstance(flow.throw(REFUSED), Pause)


def test_what_is_not_the_same_twice_carries_one_idempotency_key_through_all_tries():
    flow = act(Face(), "POST", "/v1/tasks", {"type": "x"}, again=False)
    keys = [next(flow).headers["Idempotency-Key"]]
    for _ in range(2):
        flow.throw(BROKEN)
        keys.append(flow.send(None).headers["Idempotency-Key"])

    assert keys == ["key-1"] * 3


def test_a_submit_takes_the_callers_idempotency_key():
    flow = TaskCalls.submit.flow(Face(), "resize", idempotency_key="mine")

    assert next(flow).headers["Idempotency-Key"] == "mine"


def test_a_submit_says_only_what_was_asked_for():
    flow = TaskCalls.submit.flow(Face(), "resize", {"path": "cat.jpg"}, timeout=timedelta(minutes=1))

    assert next(flow).body == {
        "type": "resize",
        "queue": "default",
        "input": {"path": "cat.jpg"},
        "timeout": 60.0,
    }


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (problem(401, detail="no key"), Unauthenticated),
        (problem(403, code="forbidden", detail="not yours"), Forbidden),
        (problem(404, code="not_found", detail="there is no task x"), NotFound),
        (problem(409, code="key_taken", detail="taken", existing="t1"), Conflict),
        (problem(409, code="wrong_state", detail="it has ended", allowed_actions=["retry"]), WrongState),
        (problem(409, code="lease_lost", detail="attempt 1 is over"), LeaseLost),
        (problem(413, detail="1,000 bytes too many"), TooLarge),
        (
            problem(
                422, code="invalid", detail="bad", errors=[{"pointer": "/a", "code": "c", "detail": "d"}]
            ),
            Invalid,
        ),
        (problem(418, code="teapot", detail="short and stout"), Refused),
        (problem(500, detail="the log has it under 12"), ServerFault),
        (Answer(502, {}, b"<html>bad gateway</html>"), Unavailable),
    ],
)
def test_each_problem_becomes_the_error_it_was(answer, kind):
    flow = answered(Face(patience=0), GET)
    next(flow)

    with pytest.raises(kind) as raised:
        flow.send(answer)
    if answer.body.startswith(b"{"):
        assert str(raised.value) == json.loads(answer.body)["detail"]


def test_errors_keep_what_programs_need_of_a_problem():
    def error(answer: Answer) -> Any:
        flow = answered(Face(patience=0), GET)
        next(flow)
        with pytest.raises(Exception) as raised:  # noqa: PT011
            flow.send(answer)
        return raised.value

    assert error(problem(409, code="key_taken", detail="taken", existing="t1")).existing == "t1"
    assert error(problem(409, code="wrong_state", detail="no", allowed_actions=["retry"])).allowed == (
        "retry",
    )
    [fault] = error(problem(422, detail="bad", errors=[{"pointer": "/a", "code": "c", "detail": "d"}])).faults
    assert (fault.pointer, fault.code, fault.detail) == ("/a", "c", "d")
    limit = error(problem(429, detail="slow down", retry_after=9))
    assert isinstance(limit, LimitReached)
    assert limit.retry_after == timedelta(seconds=9)
    assert error(problem(500, detail="x", request_id="r1")).__notes__ == ["request r1"]
