"""
Exchanges of this wire, as a client and the server it knows have them: what is sent, what comes back.

What makes tasks is no part of the wire, so they are made through the native API and looked at from here.
"""

import asyncio
import json
import uuid

import httpx
import pytest

from taskyard.core.outcome import Done, Failed, Stopped
from taskyard.core.schedule import NewSchedule, Timing
from taskyard.core.task import NewTask
from taskyard.dialects.native import dialect as native
from taskyard.http.backend import Backend
from taskyard.http.dialect import application
from tests.conftest import new_id
from tests.dialects.matching import (
    anything,
    each,
    filled,
    holds,
    is_list,
    is_text,
    is_text_or_null,
    is_time,
    is_time_or_null,
    is_uuid,
    is_whole,
    like,
    match,
    one_of,
)

FAR = "2099-01-01T00:00:00Z"
#: What a task of a plain function shows before anything has come of it.
BARE = {
    "job_id": None, "class_name": None, "args": is_list, "result": None, "exception": None, "traceback": None, "progress": None,
}  # fmt: skip
RAN = {"start_time": is_time, "finish_time": is_time, "scheduled_time": is_time_or_null}
ONCE = {"scheduler": "immediate", "snapshot_id": is_text_or_null}


def snapshot():
    pickled = (
        "callable", "args", "kwargs", "timeout", "timeout_delta", "schedule_threshold", "_progress_callback", "start_time",
        "finish_time", "result", "exception", "traceback",
    )  # fmt: skip
    return {
        "_id": is_text, "id": "{task}", "class_name": None, "method_name": "wait", "state": one_of("waiting", "running"),
        "failure_threshold": lambda value: value is None or is_whole(value), "cancel_attempts": 0, "progress": None,
        **dict.fromkeys(pickled, is_text),
    }  # fmt: skip


# number, what there is before, method, path, {query, as}, status, answer
EXCHANGES = [
    (6, "waits finished", "GET", "/tasks/?state=waiting&state=complete&id={waits}&id={finished}", {}, 200,
     holds({"id": "{waits}", "state": "waiting"}, {"id": "{finished}", "state": "finished"})),
    (8, "finished second", "GET", "/tasks/?id={finished}&id={second}", {}, 200, holds({"id": "{finished}"}, {"id": "{second}"})),
    (9, "finished", "GET", "/tasks/?state=archived&id={finished}", {}, 200, [{
        **BARE, "id": "{finished}", "method_name": "noop", "args": ["here"], "kwargs": {}, "state": "finished",
        "consecutive_failures": 0, "scheduled_time": is_time, "start_time": is_time, "finish_time": is_time,
    }]),
    (10, "finished", "GET", "/tasks/?state=archived&state=current&id={finished}",
     {"headers": {"Accept-Language": "en", "Content-Type": "application/json"}}, 200,
     [{"id": "{finished}", "state": "finished"}]),
    (11, "running", "GET", "/tasks/{task}/", {}, 200, {
        **BARE, "id": "{task}", "method_name": "wait", "state": "running", "start_time": is_time, "finish_time": None,
        "scheduled_time": is_time_or_null, "scheduler": "immediate", "snapshot_id": is_text,
    }),
    (13, "failed", "GET", "/tasks/{task}/", {}, 200, {
        **BARE, **RAN, **ONCE, "id": "{task}", "method_name": "boom", "state": "error", "exception": "Aaaargh!",
        "traceback": like("Aaaargh!"),
    }),
    (14, "late", "GET", "/tasks/{task}/", {}, 200,
     {**BARE, **RAN, **ONCE, "id": "{task}", "method_name": "wait", "state": "timed_out"}),
    (15, "canceled", "GET", "/tasks/{task}/", {}, 200,
     {**BARE, **RAN, **ONCE, "id": "{task}", "method_name": is_text, "state": "canceled"}),
    (17, "past", "GET", "/tasks/{task}/", {}, 200, {
        **BARE, **RAN, "id": "{task}", "method_name": is_text, "state": "finished", "scheduler": None, "result": "here",
        "snapshot_id": None,
    }),
    (20, "running", "POST", "/tasks/{task}/cancel/", {}, 202, {
        **BARE, "id": "{task}", "method_name": "wait", "state": one_of("running", "canceled"), "start_time": is_time,
        "finish_time": is_time_or_null, "scheduled_time": is_time_or_null, "scheduler": "immediate",
    }),
    (21, "", "POST", "/tasks/{nobody}/cancel/", {}, 404, is_text),
    (22, "finished", "POST", "/tasks/{finished}/cancel/", {}, 202, {"id": "{finished}", "state": "finished"}),
    (23, "past", "POST", "/tasks/{task}/cancel/", {}, 404, is_text),
    (30, "waits", "DELETE", "/tasks/{waits}/", {}, 202, {
        **BARE, "id": "{waits}", "method_name": is_text, "state": "waiting", "start_time": None, "finish_time": None,
        "scheduled_time": is_time, "scheduler": is_text,
    }),
    (31, "gone", "GET", "/tasks/{task}/", {}, 404, is_text),
    (33, "running", "DELETE", "/tasks/{task}/", {}, 202, {"id": "{task}", "state": "running"}),
    (40, "running", "GET", "/tasks/{task}/snapshot/", {}, 200, snapshot()),
    (42, "finished", "GET", "/tasks/{finished}/snapshot/", {}, 404, is_text),
    (43, "running", "DELETE", "/tasks/{task}/snapshot/", {}, 200, snapshot()),
    (44, "", "DELETE", "/tasks/{nobody}/snapshot/", {}, 404, is_text),
    (50, "job", "GET", "/jobs/{job}/", {}, 200, {"id": "{job}", "tasks": each({
        **BARE, "id": is_uuid, "job_id": is_uuid, "method_name": is_text, "state": is_text, "start_time": is_time_or_null,
        "finish_time": is_time_or_null, "scheduled_time": is_time_or_null, "scheduler": "immediate", "result": anything,
    }, 2)}),
    (53, "", "GET", "/jobs/{nobody}/", {}, 404, is_text),
    (60, "", "GET", "/tasks/", {"as": None}, 401, "Authentication Required"),
    (62, "guest", "GET", "/tasks/", {"as": "guest"}, 401, "Permission Denied"),
    (63, "guest", "GET", "/tasks/snapshots/", {"as": "guest"}, 401, "Permission Denied"),
    (72, "finished", "GET", "/v1/tasks/{finished}/", {}, 200, {"id": "{finished}", "state": "finished"}),
]  # fmt: skip


def wait(wire, **named):
    return wire.run(wire.make("wait", "3", **named))


def recurring(wire, spec):
    template = NewTask(type="echo", input={"args": ["here"]})
    new = NewSchedule(name="echo", timing=Timing.INTERVAL, spec=spec, template=template)
    return wire.yard.write(wire.yard.services.schedules.create, wire.yard.actor, new)


def ask(wire, method, path, **named):
    return asyncio.run(wire.ask(method, path, **named))


def waits(wire):
    return {"waits": native_post(wire, "/v1/tasks", {"type": "echo", "run_at": FAR})[1]["id"]}


def finished(wire):
    task = wire.run(wire.make("noop", "here"))
    wire.yard.settle(task, Done())
    return {"finished": task.id}


def second(wire):
    return {"second": finished(wire)["finished"]}


def running(wire):
    return {"task": wait(wire).id}


def failed(wire):
    task = wire.run(wire.make("boom"))
    wire.yard.settle(
        task, Failed("Aaaargh!", final=True, traceback="Traceback (…):\n  …\nRuntimeError: Aaaargh!")
    )
    return {"task": task.id}


def late(wire):
    task = wait(wire, max_failures=1)
    wire.yard.settle(task, Failed("it ran for longer than 1s", code="timed_out"))
    return {"task": task.id}


def canceled(wire):
    task = wait(wire)
    assert ask(wire, "POST", f"/tasks/{task.id}/cancel/").status_code == 202
    wire.yard.settle(task, Stopped())
    return {"task": task.id}


def past(wire):
    schedule = recurring(wire, "PT1H")
    wire.yard.write(wire.yard.services.schedules.fire_due, 10)
    [run] = wire.yard.worker("echo").claim()
    wire.yard.settle(run, Done("here"))
    assert ask(wire, "DELETE", f"/tasks/{schedule.id}/").status_code == 202
    return {"task": schedule.id}


def gone(wire):
    id = waits(wire)["waits"]
    assert ask(wire, "DELETE", f"/tasks/{id}/").status_code == 202
    return {"task": id}


def job(wire):
    id = str(uuid.uuid4())
    for _ in range(2):
        wait(wire, labels={"job": id})
    return {"job": id}


def guest(wire):
    wire.user("guest", "guest")
    return {}


BEFORE = {
    each.__name__: each
    for each in (waits, finished, second, running, failed, late, canceled, past, gone, job, guest)
}


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: f"{exchange[0]:02}")
def test_the_wire_answers_as_its_clients_know_it(wire, exchange):
    _, before, method, path, request, status, answer = exchange
    names = {"nobody": str(uuid.uuid4())}
    for name in before.split():
        names |= BEFORE[name](wire)
    client = wire.as_(request["as"]) if "as" in request else wire

    response = ask(client, method, filled(path, names), headers=request.get("headers", {}))

    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    match(named(answer, names), response.json())


def named(answer, names):
    """Return *answer* with its names filled in, also within what judges a list."""
    if not callable(answer) or not getattr(answer, "__closure__", None):
        return filled(answer, names)
    cells = dict(zip(answer.__code__.co_freevars, answer.__closure__, strict=True))
    if "patterns" in cells:
        return holds(*(filled(each, names) for each in cells["patterns"].cell_contents))
    return answer


# -- what makes tasks ------------------------------------------------------------------------------------------------------


def native_post(wire, path, body):
    """Ask the native API, as the program that feeds this wire's clients; return status and answer."""
    yard = wire.yard
    app = application(
        native, Backend(store=yard.store, services=yard.services, new_id=new_id), at=native.prefix
    )
    secret = yard.write(yard.services.accounts.create_key, yard.actor, "maker").secret

    async def exchange():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://yard") as client:
            return await client.post(
                path, content=json.dumps(body), headers={"Authorization": f"Bearer {secret}"}
            )

    response = asyncio.run(exchange())
    return response.status_code, response.json()


def shown(wire, id):
    response = ask(wire, "GET", f"/tasks/{id}/")
    assert response.status_code == 200
    return response.json()


class TestProducers:
    """Exchanges 80 to 83: their paths are the producers' own affair, and here it is ``POST /v1/tasks`` and ``POST /v1/schedules``."""

    def test_80_what_is_made_is_seen_at_once_as_the_wire_shows_it(self, wire):
        status, made = native_post(wire, "/v1/tasks", {"type": "noop", "input": {"args": ["here"]}})

        assert status == 201
        expected = {
            **BARE, "id": is_uuid, "method_name": "noop", "args": ["here"], "state": "waiting", "start_time": None,
            "finish_time": None, "scheduled_time": is_time, "scheduler": "immediate",
        }  # fmt: skip
        match(expected, shown(wire, made["id"]))

    def test_81_the_same_call_while_one_runs_is_a_conflict(self, wire):
        wait(wire, key="wait 3")

        status, refusal = native_post(wire, "/v1/tasks", {"type": "wait", "key": "wait 3"})

        assert (status, refusal["code"]) == (409, "key_taken")

    def test_82_a_call_for_later_waits_for_its_time(self, wire):
        status, made = native_post(
            wire, "/v1/tasks", {"type": "echo", "input": {"args": ["here"]}, "run_at": FAR}
        )

        assert status == 201
        expected = {
            **BARE, "method_name": "echo", "state": "waiting", "start_time": None, "finish_time": None, "scheduled_time": FAR,
            "scheduler": "at",
        }  # fmt: skip
        match(expected, shown(wire, made["id"]))

    def test_83_a_second_schedule_of_one_name_is_a_conflict(self, wire):
        def make(spec):
            body = {"name": "echo:here", "timing": "interval", "spec": spec, "task": {"type": "echo"}}
            return native_post(wire, "/v1/schedules", body)

        status, made = make(f"{FAR}/P1D")
        assert status == 201, made
        expected = {"state": "waiting", "scheduler": "interval", "scheduled_time": FAR, "method_name": "echo"}
        match({**BARE, **expected}, shown(wire, made["id"]))

        assert make(f"{FAR}/PT5M")[0] == 409
