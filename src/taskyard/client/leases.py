"""
The worker protocol over HTTP: what a worker on another machine says to the server.

Every write of a worker carries its hold (the task, the number of the attempt, and the worker), and is refused as
LeaseLost when that no longer stands; so all of it may be sent twice.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from taskyard.client.errors import problem_error
from taskyard.client.flow import Flow, call
from taskyard.client.sending import Sender, act
from taskyard.client.wire import AcquiredRead, hold_json, lanes_json, outcome_json, task_of
from taskyard.client.words import given, new_task_json
from taskyard.core.errors import TaskyardError
from taskyard.core.hold import Hold, Report, Settlement, Stop
from taskyard.core.task import Json, NewTask, Task
from taskyard.core.worker import Lane

#: What proxies let a request last: 60 s (nginx), and half of it to spare.
LONGEST_WAIT: Final = timedelta(seconds=30)


class LeaseCalls:
    """One method per move of the protocol, in the order of a worker's life."""

    @call
    def register(
        self: Sender,
        worker: str,
        *,
        name: str,
        lanes: Sequence[Lane],
        slots: int,
        lease: timedelta,
        version: str,
    ) -> Flow[str]:
        """Make a worker known under a fresh id; return the id."""
        body = given(
            worker=worker, name=name, lanes=lanes_json(lanes), slots=slots, lease=lease, version=version
        )
        registered = yield from _lease(self, "register", body, again=False)
        return str(registered["worker"])

    @call
    def acquire(
        self: Sender,
        worker: str,
        lanes: Sequence[Lane],
        limit: int,
        *,
        wait: timedelta = timedelta(0),
        idempotency_key: str | None = None,
    ) -> Flow[list[Task]]:
        """Claim up to *limit* tasks; with none ready, wait for some. Raises LeaseLost."""
        wait = min(wait, LONGEST_WAIT)
        body = given(worker=worker, lanes=lanes_json(lanes), max=limit, wait=wait)
        headers = {"Idempotency-Key": idempotency_key or self.new_key()}
        answer = yield from act(
            self,
            "POST",
            "/v1/leases:acquire",
            body,
            again=False,
            headers=headers,
            holds_seconds=wait.total_seconds(),
            shape=AcquiredRead,
        )
        return [task_of(read) for read in answer.tasks]

    @call
    def beat(
        self: Sender,
        worker: str,
        *,
        lease: timedelta,
        draining: bool = False,
        within: timedelta | None = None,
    ) -> Flow[list[Stop]]:
        """Keep the worker's lease for *lease* from now; return the attempts that are asked to stop. Raises LeaseLost."""
        body = given(worker=worker, lease=lease, draining=draining or None)
        seconds = within.total_seconds() if within is not None else None
        answer = yield from act(self, "POST", "/v1/leases:extend", body, again=True, within_seconds=seconds)
        return [Stop(each["number"], each["claims"]) for each in answer["stop"]]

    @call
    def settle(self: Sender, settlements: Sequence[Settlement]) -> Flow[list[TaskyardError | None]]:
        """End attempts; the answer for each, in order, is None or the refusal that concerns it alone."""
        body = {
            "settlements": [
                given(**hold_json(each.hold), outcome=outcome_json(each.outcome), log=each.log)
                for each in settlements
            ]
        }
        return _refusals((yield from _lease(self, "settle", body, again=True)))

    @call
    def report(self: Sender, reports: Sequence[Report]) -> Flow[list[TaskyardError | None]]:
        """Say how far attempts are; the answer for each is None or its refusal."""
        body = {
            "reports": [
                given(**hold_json(each.hold), progress=each.progress, message=each.message)
                for each in reports
            ]
        }
        return _refusals((yield from _lease(self, "report", body, again=True)))

    @call
    def step(self: Sender, hold: Hold, name: str, output: Json) -> Flow[Json]:
        """Remember a step as done; return its output as it is remembered: the first to finish counts."""
        body = {"hold": hold_json(hold), "name": name, "output": output}
        return (yield from _lease(self, "step", body, again=True))["output"]

    @call
    def done_steps(self: Sender, hold: Hold) -> Flow[dict[str, Json]]:
        """Return the outputs of the steps that are done, by name."""
        answer = yield from _lease(self, "steps", {"hold": hold_json(hold)}, again=True)
        return {step["name"]: step["output"] for step in answer["steps"]}

    @call
    def publish(self: Sender, hold: Hold, name: str, value: Json) -> Flow[str]:
        """Publish a result; return its id."""
        body = {"hold": hold_json(hold), "name": name, "value": value}
        published = yield from _lease(self, "publish", body, again=False)
        return str(published["id"])

    @call
    def spawn(self: Sender, hold: Hold, step: str, tasks: Sequence[NewTask]) -> Flow[list[str]]:
        """Submit children as a step, once whatever happens; return their ids."""
        body = {"hold": hold_json(hold), "step": step, "tasks": [new_task_json(task) for task in tasks]}
        spawned = yield from _lease(self, "spawn", body, again=True)
        return [str(id) for id in spawned["tasks"]]

    @call
    def log(self: Sender, hold: Hold, text: str) -> Flow[None]:
        """Keep what an attempt has printed so far."""
        yield from _lease(self, "log", {"hold": hold_json(hold), "text": text}, again=True)

    @call
    def leave(self: Sender, worker: str) -> Flow[None]:
        """End the worker; what it still holds goes back untouched."""
        yield from _lease(self, "leave", {"worker": worker}, again=True)


def _lease(face: Sender, move: str, body: Json, *, again: bool) -> Flow[Any]:
    return (yield from act(face, "POST", f"/v1/leases:{move}", body, again=again))


def _refusals(answer: dict[str, Any]) -> list[TaskyardError | None]:
    return [problem_error(one["problem"]) if one.get("problem") else None for one in answer["results"]]
