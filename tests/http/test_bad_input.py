"""Whatever is wrong with a request is answered by a problem document that names it; nothing is changed, nothing is lost."""

from datetime import timedelta

import pytest

from taskyard.core.actor import Permission
from taskyard.core.outcome import Done

WRONG = [
    (b"{", 400, "bad_json", ""),
    (b"", 422, "required", "/type"),
    (b"\xff\xfe", 400, "bad_json", ""),
    (b"[" * 500, 400, "too_deep", ""),
    (b'{"type": "a", "input": NaN}', 400, "bad_json", ""),
    (b'{"type": "a", "input": ' + b"9" * 5000 + b"}", 400, "bad_number", ""),
    ({"type": "a", "queu": "b"}, 422, "unknown_field", "/queu"),
    ({"type": 7}, 422, "bad_type", "/type"),
    ({"type": "has space"}, 422, "bad_name", "/type"),
    ({"type": "a", "queue": ""}, 422, "bad_name", "/queue"),
    ({"type": "a", "priority": 10_000}, 422, "out_of_range", "/priority"),
    ({"type": "a", "run_at": "tomorrow"}, 422, None, "/run_at"),
    ({"type": "a", "run_at": "2026-03-01T12:00:00"}, 422, None, "/run_at"),
    ({"type": "a", "timeout": -1}, 422, "out_of_range", "/timeout"),
    ({"type": "a", "timeout": 1e300}, 422, "out_of_range", "/timeout"),
    ({"type": "a", "max_failures": 0}, 422, "out_of_range", "/max_failures"),
    ({"type": "a", "key": "x\0y"}, 422, "bad_text", "/key"),
    ({"type": "a", "labels": {"a b": "c"}}, 422, "bad_name", "/labels/a b"),
    ({"type": "a", "labels": {"a": 1}}, 422, "bad_type", None),
    ({"type": "a", "on_conflict": "perhaps"}, 422, "bad_value", "/on_conflict"),
    ({"type": "a", "parent": "nobody"}, 422, "unknown_task", "/parent"),
    ({"type": "a", "blocked_by": ["nobody"]}, 422, "unknown_task", "/blocked_by/0"),
]


@pytest.mark.parametrize(("body", "status", "code", "pointer"), WRONG)
def test_a_wrong_task_is_refused_by_a_problem_that_points_at_it(wire, body, status, code, pointer):
    answer = wire.ask("POST", "/tasks", body)

    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "detail", "instance", "code", "request_id"} <= problem.keys()
    if code is not None:
        assert problem["errors"][0]["code"] == code
    if pointer is not None:
        assert problem["errors"][0]["pointer"] == pointer
    assert "Traceback" not in answer.text
    assert wire.ask("GET", "/tasks").json()["tasks"] == []


def test_every_fault_of_a_task_is_told_at_once(wire):
    problem = wire.ask("POST", "/tasks", {"type": "a b", "priority": 9999, "max_failures": 0}).json()

    assert [each["pointer"] for each in problem["errors"]] == ["/type", "/priority", "/max_failures"]


def test_a_body_that_is_too_large_is_not_read(wire):
    answer = wire.ask("POST", "/tasks", b" " * 200_000)

    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("colour=red", "unknown"),
        ("state=sleeping", "bad_value"),
        ("page_size=0", "bad_value"),
        ("page_size=many", "bad_value"),
        ("page_token=forged", "bad_page_token"),
        ("type=a&type=b", "repeated"),
        ("created_at[gte]=yesterday", "bad_value"),
        ("finished_at[gte]=2026-01-01T00:00:00Z", "no_index"),
    ],
)
def test_a_wrong_query_is_refused_by_name(wire, query, code):
    answer = wire.ask("GET", f"/tasks?{query}")

    assert answer.status_code == 400
    assert code in {answer.json()["code"], *(each["code"] for each in answer.json()["errors"])}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/tasks/nobody", 404, "not_found"),
        ("POST", "/tasks/nobody:cancel", 404, "not_found"),
        ("GET", "/tasks/nobody:explain", 404, "not_found"),
        ("GET", "/queues/nothing", 404, "not_found"),
        ("GET", "/schedules/nothing", 404, "not_found"),
        ("GET", "/nothing", 404, "no_such_path"),
        ("GET", "/tasks/", 404, "no_such_path"),
        ("PUT", "/tasks", 405, "method_not_allowed"),
    ],
)
def test_what_is_not_there_is_a_problem_too(wire, method, path, status, code):
    answer = wire.ask(method, path)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_an_illegal_move_names_the_legal_ones(wire, yard):
    task = yard.submit()
    yard.settle(yard.worker().claim()[0], Done())

    answer = wire.ask("POST", f"/tasks/{task.id}:cancel")

    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")
    assert answer.json()["allowed_actions"] == ["retry"]


def test_strangers_learn_nothing(wire, clock):
    expiring = wire.key(expires_at=clock.now + timedelta(hours=1))
    clock.forward(hours=2)

    for secret in (None, "ty_wrong", expiring):
        for method, path in (("GET", "/tasks"), ("PUT", "/tasks"), ("GET", "/tasks/x")):
            answer = wire.as_(secret).ask(method, path)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
            assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_key_may_do_what_its_scopes_say(wire):
    reader = wire.as_(wire.key(Permission.READ))

    assert reader.ask("GET", "/tasks").status_code == 200
    for method, path, body in (
        ("POST", "/tasks", {"type": "a"}),
        ("POST", "/queues", {"name": "q"}),
        ("POST", "/keys", {"name": "k"}),
        ("POST", "/leases:register", {"name": "w", "lanes": [{"queue": "q", "type": "t"}]}),
    ):
        answer = reader.ask(method, path, body)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_another_organisations_things_are_not_found(wire, yard):
    task = yard.submit()
    other = yard.other_organisation()
    stranger = wire.as_(wire.key(organisation=other.organisation))

    assert stranger.ask("GET", "/tasks").json()["tasks"] == []
    for method, path in (
        ("GET", f"/tasks/{task.id}"),
        ("POST", f"/tasks/{task.id}:cancel"),
        ("POST", f"/tasks/{task.id}:retry"),
        ("POST", f"/tasks/{task.id}:claim"),
        ("GET", f"/tasks/{task.id}/events"),
        ("GET", f"/tasks/{task.id}:explain"),
        ("GET", "/queues/default"),
    ):
        assert stranger.ask(method, path).status_code == 404
    assert yard.get(task) == task


def test_a_request_id_is_echoed_unless_it_could_break_a_line(wire):
    assert wire.ask("GET", "/tasks", headers={"X-Request-Id": "mine-1"}).headers["x-request-id"] == "mine-1"
    assert wire.ask("GET", "/tasks", headers={"X-Request-Id": "a b"}).headers["x-request-id"] != "a b"


def test_what_we_did_not_expect_is_told_without_a_traceback(wire, monkeypatch):
    def broken(*_args, **_named):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(wire.yard.services.explain.__class__, "explain", broken)
    answer = wire.ask("GET", "/tasks/x:explain")

    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret" not in answer.text
