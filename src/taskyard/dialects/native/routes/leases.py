"""The worker protocol: a worker on another machine needs this, a URL and a key."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from starlette.responses import Response

from taskyard.core.task import Task
from taskyard.dialects.native.parse.leases import (
    AcquireBody,
    BeatBody,
    HeldBody,
    LeaveBody,
    LogBody,
    PublishBody,
    RegisterBody,
    ReportsBody,
    SettleBody,
    SpawnBody,
    StepBody,
    lanes,
    lease,
)
from taskyard.dialects.native.parse.tasks import MAX_WAIT_SECONDS
from taskyard.dialects.native.refuse import refused_one
from taskyard.dialects.native.render.leases import (
    AcquiredShown,
    DoneShown,
    PublishedShown,
    RegisteredShown,
    SpawnedShown,
    StopsShown,
    stop_shown,
)
from taskyard.dialects.native.render.tasks import (
    MovedAnswers,
    StepPage,
    StepShown,
    moved_shown,
    step_shown,
    task_shown,
)
from taskyard.dialects.native.render.words import encode, reply
from taskyard.dialects.native.routes.acting import IDEMPOTENT, REPLAYED, act
from taskyard.http.bodies import Body
from taskyard.http.call import Call
from taskyard.http.once import Replayed, once_of
from taskyard.http.operation import Operation
from taskyard.store.accounts import Reply
from taskyard.store.records import Records

REGISTER: Final = Body(RegisterBody)
ACQUIRE: Final = Body(AcquireBody)
BEAT: Final = Body(BeatBody)
SETTLE: Final = Body(SettleBody)
REPORTS: Final = Body(ReportsBody)
STEP: Final = Body(StepBody)
HELD: Final = Body(HeldBody)
PUBLISH: Final = Body(PublishBody)
SPAWN: Final = Body(SpawnBody)
LOG: Final = Body(LogBody)
LEAVE: Final = Body(LeaveBody)

#: What is kept of a claim for its repeat: the numbers of the tasks, each with the number of its claim.
CLAIMED: Final = msgspec.json.Decoder(frozenset[tuple[int, int]])


async def register_worker(call: Call) -> Response:
    """Make a worker known under a fresh id; it lives as long as it extends its lease."""
    body, work = REGISTER.read(await call.body()), call.backend.services.work
    span, id = lease(body.lease), body.worker or call.backend.new_id()
    return await act(
        call,
        lambda records: work.register(
            records,
            call.actor,
            id=id,
            name=body.name,
            lanes=lanes(body.lanes),
            slots=body.slots,
            lease=span,
            version=body.version,
        ),
        lambda worker: RegisteredShown(worker=worker.id, lease=body.lease),
    )


async def acquire_tasks(call: Call) -> Response:
    """
    Claim up to `max` ready tasks of the lanes.

    With `wait` and nothing ready, the answer is held until something is. Asked again under the same `Idempotency-Key` after an answer
    was lost, the same tasks are answered, as far as the worker still holds them.
    """
    body, backend = ACQUIRE.read(await call.body()), call.backend
    organisation = await backend.keys.organisation(call.actor)
    wanted = lanes(body.lanes)
    topics = sorted({f"ready:{call.actor.organisation}:{lane.queue}" for lane in wanted})
    ends = time.monotonic() + min(body.wait, MAX_WAIT_SECONDS)
    once = once_of(call.actor, call.request, await call.body())

    def claim(records: Records) -> list[Task]:
        claimed = backend.services.work.claim(records, call.actor, body.worker, wanted, body.max)
        if not claimed and time.monotonic() < ends:
            raise _NothingYet  # nothing is kept for repeats before there is something to tell
        return claimed

    def kept(tasks: list[Task]) -> Reply:
        assert once is not None
        # Not the tasks themselves: they are there, and with their inputs they may be many megabytes.
        return once.reply(200, encode([(task.number, task.claims) for task in tasks]), {})

    def claimed(records: Records) -> tuple[list[Task], Mapping[str, str]]:
        answer = backend.submissions.one(records, once, claim, kept)
        if not isinstance(answer, Replayed):
            return answer, {}
        known = CLAIMED.decode(answer.reply.body)
        tasks = backend.services.work.claimed_before(records, call.actor, body.worker, known)
        return tasks, REPLAYED

    with backend.bells.listening(topics) as bell:
        while True:
            try:
                tasks, headers = await backend.write(claimed)
                shown = AcquiredShown(tasks=[task_shown(task, organisation) for task in tasks])
                return reply(shown, headers=headers)
            except _NothingYet:
                left = ends - time.monotonic()
                await call.while_here(bell.wait(min(max(left, 0.0), LOOK_EVERY_SECONDS)))
                if bell.over:
                    ends = time.monotonic()


#: News is a hint: what was missed is found this much later.
LOOK_EVERY_SECONDS: Final = 5.0


class _NothingYet(Exception):
    """Nothing is ready, and there is time left to wait."""


async def extend_lease(call: Call) -> Response:
    """Keep a worker's lease; the answer names the attempts that are asked to stop."""
    body, work = BEAT.read(await call.body()), call.backend.services.work
    span = lease(body.lease)
    stops = await call.backend.write(
        lambda records: work.beat(
            records, call.actor, body.worker, lease=span, claimed_at=records.now, draining=body.draining
        )
    )
    return reply(StopsShown(stop=[stop_shown(each) for each in stops]))


async def settle_attempts(call: Call) -> Response:
    """End attempts; the answer for each, in order, is where its task is now or the problem that concerns it alone."""
    bodies = SETTLE.read(await call.body()).settlements
    settlements = [each.settlement(call.actor, f"/settlements/{at}") for at, each in enumerate(bodies)]
    answers = (
        await call.backend.together(call.backend.services.work.settle, settlements) if settlements else []
    )
    return reply({"results": _answers(call, answers, "/settlements", moved_shown)})


async def report_attempts(call: Call) -> Response:
    """Say how far attempts are; the answer for each is empty or the problem that concerns it alone."""
    bodies = REPORTS.read(await call.body()).reports
    reports = [each.report(call.actor) for each in bodies]
    answers = await call.backend.together(call.backend.services.work.report, reports) if reports else []
    return reply({"results": _answers(call, answers, "/reports", lambda _: None)})


def _answers(
    call: Call, answers: Sequence[Any], below: str, shown: Callable[[Any], Any]
) -> list[dict[str, Any]]:
    results = []
    for position, answer in enumerate(answers):
        if isinstance(answer, Exception):
            results.append(refused_one(call.request, answer, f"{below}/{position}"))
        else:
            told = shown(answer)
            results.append({} if told is None else {"task": told})
    return results


async def finish_step(call: Call) -> Response:
    """Remember a step as done; the answer is the step as it is remembered: the first to finish counts."""
    body, work = STEP.read(await call.body()), call.backend.services.work
    hold = body.hold.hold(call.actor)
    return await act(
        call, lambda records: work.finish_step(records, hold, body.name, body.output), step_shown
    )


async def list_done_steps(call: Call) -> Response:
    """List the steps of a held task that are done."""
    hold, work = HELD.read(await call.body()).hold.hold(call.actor), call.backend.services.work
    done = await call.backend.write(work.steps, hold)
    return reply(StepPage(steps=[step_shown(each) for each in done]))


async def publish_result(call: Call) -> Response:
    """Publish a result, visible at once."""
    body, work = PUBLISH.read(await call.body()), call.backend.services.work
    hold = body.hold.hold(call.actor)
    return await act(
        call,
        lambda records: work.publish(records, hold, body.name, body.value),
        lambda id: PublishedShown(id=id),
    )


async def spawn_tasks(call: Call) -> Response:
    """Submit children of a held task as one step: once, however often the task is tried."""
    body, work = SPAWN.read(await call.body()), call.backend.services.work
    hold = body.hold.hold(call.actor)
    news = [each.new_task(f"/tasks/{at}") for at, each in enumerate(body.tasks)]
    return await act(
        call,
        lambda records: work.spawn(records, call.actor, hold, body.step, news),
        lambda ids: SpawnedShown(tasks=ids),
    )


async def save_log(call: Call) -> Response:
    """Keep what an attempt has printed so far."""
    body, work = LOG.read(await call.body()), call.backend.services.work
    await call.backend.write(work.save_log, body.hold.hold(call.actor), body.text)
    return reply(DoneShown())


async def leave_worker(call: Call) -> Response:
    """End a worker; what it still holds goes back untouched."""
    worker, work = LEAVE.read(await call.body()).worker, call.backend.services.work
    await call.backend.write(work.leave, call.actor, worker)
    return reply(DoneShown())


def _verb(verb: str, endpoint: Any, body: Any, answer: Any, *, refusals: Sequence[int] = (409,)) -> Operation:
    return Operation(
        "POST",
        f"/leases:{verb}",
        endpoint,
        "leases",
        {200: answer},
        body=body,
        headers=IDEMPOTENT,
        refusals=refusals,
    )


OPERATIONS: Final = (
    _verb("register", register_worker, RegisterBody, RegisteredShown),
    _verb("acquire", acquire_tasks, AcquireBody, AcquiredShown),
    _verb("extend", extend_lease, BeatBody, StopsShown),
    _verb("settle", settle_attempts, SettleBody, MovedAnswers),
    _verb("report", report_attempts, ReportsBody, MovedAnswers),
    _verb("step", finish_step, StepBody, StepShown),
    _verb("steps", list_done_steps, HeldBody, StepPage),
    _verb("publish", publish_result, PublishBody, PublishedShown),
    _verb("spawn", spawn_tasks, SpawnBody, SpawnedShown),
    _verb("log", save_log, LogBody, DoneShown),
    _verb("leave", leave_worker, LeaveBody, DoneShown),
)
