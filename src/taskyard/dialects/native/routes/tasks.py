"""Tasks: submit, read, list, act."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from starlette.responses import Response

from taskyard.core.errors import Invalid, TaskyardError
from taskyard.core.task import NewTask, OnConflict, Task
from taskyard.dialects.native.parse.tasks import (
    MAX_WAIT_SECONDS,
    BatchBody,
    NewTaskBody,
    RelabelBody,
    SubmitBody,
    TaskLook,
)
from taskyard.dialects.native.refuse import refused_one
from taskyard.dialects.native.render.tasks import TaskAnswers, TaskShown, etag, task_shown
from taskyard.dialects.native.render.words import encode, reply
from taskyard.dialects.native.routes.acting import IDEMPOTENT, act, replayed
from taskyard.http.bodies import Body, read_query
from taskyard.http.call import Call
from taskyard.http.once import Keyed, Once, Replayed, once_of
from taskyard.http.operation import Operation
from taskyard.http.refusal import Changed
from taskyard.service.tasks import Submission
from taskyard.store.accounts import Reply
from taskyard.store.records import Records

SUBMIT: Final = Body(SubmitBody)
BATCH: Final = Body(BatchBody)
RELABEL: Final = Body(RelabelBody)

#: W3C Trace Context, version 00; what is not one is ignored, as the specification asks.
_TRACEPARENT: Final = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_WAIT: Final = re.compile(r"(?:^|[,;\s])wait\s*=\s*(\d{1,4})(?:$|[,;\s])")


def location(task: Task) -> str:
    return f"/v1/tasks/{task.id}"


# -- submit -------------------------------------------------------------------------------------------------------------------


async def submit_task(call: Call) -> Response:
    """
    Submit a task.

    201 with the task. 200 with the task that has the key already, where `on_conflict` is `return`. With `Prefer: wait=10`
    the answer is held for the end of the task: 200 when it has ended, 202 when it has not.
    """
    backend, actor = call.backend, call.actor
    body = SUBMIT.read(await call.body())
    new = _new_task(call, body)
    organisation = await backend.keys.organisation(actor)
    if body.validate_only:
        return await _validated(call, new, organisation)
    once = once_of(actor, call.request, await call.body())

    def kept(task: Task) -> Reply:
        assert once is not None
        return _submitted(once, task, new, organisation)

    answer = await backend.submit(Keyed(Submission(actor, new), once, kept))
    if isinstance(answer, Replayed):
        return replayed(answer)
    wait = _preferred_wait(call)
    if wait and answer.is_open:
        return await _waited(call, answer, wait)
    text = encode(task_shown(answer, organisation))
    return Response(text, _status(answer, new), _headers(answer, text), media_type="application/json")


def _new_task(call: Call, body: NewTaskBody, pointer: str = "") -> NewTask:
    trace = call.headers.get("traceparent")
    new = body.new_task(pointer, trace if trace and _TRACEPARENT.fullmatch(trace) else None)
    if new.key is not None and new.on_conflict is OnConflict.RETURN:
        # An id of ours tells the task that was made from the one that was there.
        return replace(new, id=call.backend.new_id())
    return new


def _status(task: Task, new: NewTask) -> int:
    return 201 if new.id is None or new.id == task.id else 200


def _headers(task: Task, text: bytes) -> dict[str, str]:
    return {"Location": location(task), "ETag": etag(text)}


def _submitted(once: Once, task: Task, new: NewTask, organisation: str) -> Reply:
    text = encode(task_shown(task, organisation))
    return once.reply(_status(task, new), text, _headers(task, text))


class _OnlyValidated(Exception):
    """Undoes the transaction in which a submit was tried."""

    def __init__(self, task: Task) -> None:
        self.task = task


async def _validated(call: Call, new: NewTask, organisation: str) -> Response:
    def tried(records: Records) -> None:
        raise _OnlyValidated(call.backend.services.tasks.submit_one(records, call.actor, new))

    try:
        await call.backend.write(tried)
    except _OnlyValidated as validated:
        return reply(task_shown(validated.task, organisation))
    raise AssertionError("a transaction that is always undone was not")


def _preferred_wait(call: Call) -> float:
    wanted = _WAIT.search(call.headers.get("prefer", ""))
    return 0.0 if wanted is None else min(float(wanted[1]), MAX_WAIT_SECONDS)


async def _waited(call: Call, task: Task, wait: float) -> Response:
    """Hold the answer for the end of *task*."""
    backend, actor = call.backend, call.actor
    organisation = await backend.keys.organisation(actor)

    def look(records: Records) -> Task:
        found = records.tasks.get(actor.organisation, task.id)
        return task if found is None else found

    seen = await call.while_here(
        backend.feed.look_until(
            look,
            lambda seen: not seen.is_open,
            organisation=actor.organisation,
            subject=task.id,
            seconds=wait,
        )
    )
    text = encode(task_shown(seen, organisation))
    headers = {**_headers(seen, text), "Preference-Applied": f"wait={wait:g}"}
    return Response(text, 202 if seen.is_open else 200, headers, media_type="application/json")


async def submit_tasks(call: Call) -> Response:
    """
    Submit up to a thousand tasks.

    The answer for each, in order, is its task or the problem that concerns it alone. All that is accepted is in one transaction.
    """
    backend, actor = call.backend, call.actor
    bodies = BATCH.read(await call.body()).tasks
    organisation = await backend.keys.organisation(actor)
    news: list[NewTask | TaskyardError] = []
    for position, body in enumerate(bodies):
        try:
            news.append(_new_task(call, body, f"/tasks/{position}"))
        except Invalid as refusal:
            news.append(refusal)
    submissions = [Submission(actor, new) for new in news if isinstance(new, NewTask)]

    def work(records: Records) -> list[Task | Exception]:
        return backend.services.tasks.submit(records, submissions)

    def shown(answers: list[Task | Exception]) -> dict[str, Any]:
        rest = iter(answers)
        results = []
        for position, new in enumerate(news):
            if isinstance(new, TaskyardError):
                results.append(refused_one(call.request, new, ""))
                continue
            answer = next(rest)
            if isinstance(answer, Exception):
                results.append(refused_one(call.request, answer, f"/tasks/{position}"))
            else:
                results.append({"task": task_shown(answer, organisation)})
        return {"results": results}

    return await act(call, work, shown)


# -- read one -----------------------------------------------------------------------------------------------------------------


async def get_task(call: Call) -> Response:
    """
    Return a task.

    With `wait` the answer is held until the task is no longer as `If-None-Match` says, or, without that header, until it has
    ended; or until the time is over.
    """
    query = read_query(call.request.query_params, TaskLook)
    backend, actor, id = call.backend, call.actor, call.path["id"]
    organisation = await backend.keys.organisation(actor)
    expand = frozenset(query.expand)

    def look(records: Records) -> tuple[bytes, str, bool]:
        task = backend.services.tasks.get(records, actor, id)
        text = encode(task_shown(task, organisation, **expanded(records, task, expand)))
        return text, etag(text), task.is_open

    known = _tags(call.headers.get("if-none-match"))

    def enough(seen: tuple[bytes, str, bool]) -> bool:
        _, tag, is_open = seen
        return not is_open or (bool(known) and not _matches(tag, known))

    wait = min(query.wait, MAX_WAIT_SECONDS)
    if wait:
        waiting = backend.feed.look_until(
            look, enough, organisation=actor.organisation, subject=id, seconds=wait
        )
        text, tag, _ = await call.while_here(waiting)
    else:
        text, tag, _ = await backend.read(look)
    if _matches(tag, known):
        return Response(status_code=304, headers={"ETag": tag})
    return Response(text, 200, {"ETag": tag}, media_type="application/json")


def expanded(records: Records, task: Task, expand: frozenset[str]) -> dict[str, Any]:
    """Return what hangs on *task* as far as *expand* names it."""
    return {
        "results": records.tasks.results(task) if "results" in expand else None,
        "steps": records.tasks.steps(task.number) if "steps" in expand else None,
        "logs": records.tasks.logs(task.number) if "logs" in expand else None,
    }


def _tags(header: str | None) -> tuple[str, ...]:
    return tuple(tag.strip().removeprefix("W/") for tag in (header or "").split(",") if tag.strip())


def _matches(tag: str, known: tuple[str, ...]) -> bool:
    return "*" in known or tag in known


async def relabel_task(call: Call) -> Response:
    """Give a task exactly these labels, if it is still as `If-Match` says."""
    body = RELABEL.read(await call.body())
    backend, actor, id = call.backend, call.actor, call.path["id"]
    organisation = await backend.keys.organisation(actor)
    known = _tags(call.headers.get("if-match"))

    def work(records: Records) -> Task:
        if known:
            for before in records.tasks.lock(actor.organisation, [id]):
                if not _matches(etag(encode(task_shown(before, organisation))), known):
                    raise Changed
        return backend.services.tasks.relabel(records, actor, id, body.labels)

    return await act(call, work, lambda task: task_shown(task, organisation), headers=tagged(organisation))


def tagged(organisation: str) -> Any:
    """Return what makes the headers of an answer that is a task."""

    def headers(task: Task) -> Mapping[str, str]:
        return {"ETag": etag(encode(task_shown(task, organisation)))}

    return headers


# -- act ----------------------------------------------------------------------------------------------------------------------


async def cancel_task(call: Call) -> Response:
    """
    Cancel a task and its open children.

    What nobody holds is canceled at once; what a worker runs is asked to stop, and shows `cancel_requested_at` until it has.
    """
    backend, actor, id = call.backend, call.actor, call.path["id"]
    organisation = await backend.keys.organisation(actor)
    return await act(
        call,
        lambda records: backend.services.tasks.cancel_one(records, actor, id),
        lambda task: task_shown(task, organisation),
        headers=tagged(organisation),
    )


async def retry_task(call: Call) -> Response:
    """Submit an ended task again, as a new one that says `retry_of`."""
    backend, actor, id = call.backend, call.actor, call.path["id"]
    organisation = await backend.keys.organisation(actor)
    return await act(
        call,
        lambda records: backend.services.tasks.retry(records, actor, id),
        lambda task: task_shown(task, organisation),
        status=201,
        headers=lambda task: {"Location": location(task), **tagged(organisation)(task)},
    )


async def run_task_now(call: Call) -> Response:
    """Make a scheduled task ready at once; one that is ready or running already is left alone."""
    backend, actor, id = call.backend, call.actor, call.path["id"]
    organisation = await backend.keys.organisation(actor)
    return await act(
        call,
        lambda records: backend.services.tasks.run_now(records, actor, id),
        lambda task: task_shown(task, organisation),
        headers=tagged(organisation),
    )


OPERATIONS: Final = (
    Operation(
        "POST",
        "/tasks",
        submit_task,
        "tasks",
        {201: TaskShown, 200: TaskShown, 202: TaskShown},
        body=SubmitBody,
        headers={
            **IDEMPOTENT,
            "Prefer": "`wait=10` holds the answer for the end of the task, for so many seconds.",
            "traceparent": "Kept with the task as its `trace`.",
        },
        refusals=(409,),
    ),
    Operation(
        "POST", "/tasks:batch", submit_tasks, "tasks", {200: TaskAnswers}, body=BatchBody, headers=IDEMPOTENT
    ),
    Operation(
        "GET",
        "/tasks/{id}",
        get_task,
        "tasks",
        {200: TaskShown, 304: None},
        query=TaskLook,
        headers={"If-None-Match": "304 while the task is still as this `ETag` says."},
    ),
    Operation(
        "PATCH",
        "/tasks/{id}",
        relabel_task,
        "tasks",
        {200: TaskShown},
        body=RelabelBody,
        headers={"If-Match": "412 when the task is no longer as this `ETag` says.", **IDEMPOTENT},
        refusals=(412,),
    ),
    Operation(
        "POST",
        "/tasks/{id}:cancel",
        cancel_task,
        "tasks",
        {200: TaskShown},
        headers=IDEMPOTENT,
        refusals=(409, 422),
    ),
    Operation(
        "POST",
        "/tasks/{id}:retry",
        retry_task,
        "tasks",
        {201: TaskShown},
        headers=IDEMPOTENT,
        refusals=(409, 422),
    ),
    Operation(
        "POST",
        "/tasks/{id}:run_now",
        run_task_now,
        "tasks",
        {200: TaskShown},
        headers=IDEMPOTENT,
        refusals=(409, 422),
    ),
)
