"""What people do with tasks of queues that people work: claim, draft, answer, give back."""

from collections.abc import Callable
from typing import Any, Final

from starlette.responses import Response

from taskyard.core.task import Task
from taskyard.dialects.native.parse.queues import (
    AssignBody,
    CommentBody,
    CompleteBody,
    DraftBody,
    FailBody,
    LeaseBody,
)
from taskyard.dialects.native.render.queues import (
    CommentPage,
    CommentShown,
    DraftShown,
    comment_shown,
    draft_shown,
)
from taskyard.dialects.native.render.tasks import TaskPage, TaskShown, task_shown
from taskyard.dialects.native.render.words import reply
from taskyard.dialects.native.routes.acting import IDEMPOTENT, act
from taskyard.http.bodies import Body
from taskyard.http.call import Call
from taskyard.http.operation import Operation
from taskyard.store.records import Records

LEASE: Final = Body(LeaseBody)
DRAFT: Final = Body(DraftBody)
COMPLETE: Final = Body(CompleteBody)
FAIL: Final = Body(FailBody)
COMMENT: Final = Body(CommentBody)
ASSIGN: Final = Body(AssignBody)


async def claim_next(call: Call) -> Response:
    """Claim the most urgent task of a queue; 204 when there is none."""
    lease, inbox = LEASE.read(await call.body()).span(), call.backend.services.inbox
    return await _moved(call, lambda records: inbox.next(records, call.actor, call.path["name"], lease=lease))


async def claim_task(call: Call) -> Response:
    """Claim this very task; whoever holds it already keeps it."""
    lease, inbox = LEASE.read(await call.body()).span(), call.backend.services.inbox
    return await _moved(call, lambda records: inbox.claim(records, call.actor, call.path["id"], lease=lease))


async def extend_task(call: Call) -> Response:
    """Keep a task for so long from now."""
    lease, inbox = LEASE.read(await call.body()).span(), call.backend.services.inbox
    return await _moved(call, lambda records: inbox.extend(records, call.actor, call.path["id"], lease=lease))


async def release_task(call: Call) -> Response:
    """Give a task back as it was; a draft stays with it."""
    inbox = call.backend.services.inbox
    return await _moved(call, lambda records: inbox.release(records, call.actor, call.path["id"]))


async def assign_task(call: Call) -> Response:
    """Give a task to a user, or take it from whoever holds it."""
    user, inbox = ASSIGN.read(await call.body()).user, call.backend.services.inbox
    return await _moved(call, lambda records: inbox.assign(records, call.actor, call.path["id"], user))


async def complete_task(call: Call) -> Response:
    """Answer a task: the output must be as the form of its queue asks."""
    output, inbox = COMPLETE.read(await call.body()).output, call.backend.services.inbox
    return await _moved(call, lambda records: inbox.complete(records, call.actor, call.path["id"], output))


async def fail_task(call: Call) -> Response:
    """Say that a task cannot be done."""
    message, inbox = FAIL.read(await call.body()).message, call.backend.services.inbox
    return await _moved(call, lambda records: inbox.fail(records, call.actor, call.path["id"], message))


async def draft_task(call: Call) -> Response:
    """Keep an answer that is not finished; return the task."""
    data, inbox, tasks = (
        DRAFT.read(await call.body()).data,
        call.backend.services.inbox,
        call.backend.services.tasks,
    )

    def work(records: Records) -> Task:
        inbox.save_draft(records, call.actor, call.path["id"], data)
        return tasks.get(records, call.actor, call.path["id"])

    return await _moved(call, work)


async def get_draft(call: Call) -> Response:
    """Return the answer that was begun; 204 when none was."""
    found = await call.backend.read(call.backend.services.inbox.draft, call.actor, call.path["id"])
    return Response(status_code=204) if found is None else reply(draft_shown(found))


async def list_held(call: Call) -> Response:
    """List what you hold."""
    held = await call.backend.read(call.backend.services.inbox.held, call.actor)
    organisation = await call.backend.keys.organisation(call.actor)
    return reply(TaskPage(tasks=[task_shown(each, organisation) for each in held], next_page_token=None))


async def list_comments(call: Call) -> Response:
    """List what people said of a task, oldest first."""
    found = await call.backend.read(call.backend.services.inbox.comments, call.actor, call.path["id"])
    return reply(CommentPage(comments=[comment_shown(each) for each in found]))


async def comment_task(call: Call) -> Response:
    """Say something of a task."""
    text, inbox = COMMENT.read(await call.body()).text, call.backend.services.inbox
    return await act(
        call,
        lambda records: inbox.comment(records, call.actor, call.path["id"], text),
        comment_shown,
        status=201,
    )


async def _moved(call: Call, work: Callable[[Records], Task | None]) -> Response:
    organisation = await call.backend.keys.organisation(call.actor)

    def shown(task: Task | None) -> Any:
        return None if task is None else task_shown(task, organisation)

    return await act(call, work, shown)


def _move(verb: str, endpoint: Any, body: Any = None) -> Operation:
    return Operation(
        "POST",
        f"/tasks/{{id}}:{verb}",
        endpoint,
        "inbox",
        {200: TaskShown},
        body=body,
        headers=IDEMPOTENT,
        refusals=(409, 422),
    )


OPERATIONS: Final = (
    Operation(
        "POST",
        "/queues/{name}:next",
        claim_next,
        "inbox",
        {200: TaskShown, 204: None},
        body=LeaseBody,
        headers=IDEMPOTENT,
        refusals=(409,),
    ),
    _move("claim", claim_task, LeaseBody),
    _move("extend", extend_task, LeaseBody),
    _move("release", release_task),
    _move("assign", assign_task, AssignBody),
    _move("draft", draft_task, DraftBody),
    _move("complete", complete_task, CompleteBody),
    _move("fail", fail_task, FailBody),
    Operation("GET", "/inbox", list_held, "inbox", {200: TaskPage}),
    Operation("GET", "/tasks/{id}/draft", get_draft, "inbox", {200: DraftShown, 204: None}),
    Operation("GET", "/tasks/{id}/comments", list_comments, "inbox", {200: CommentPage}),
    Operation(
        "POST",
        "/tasks/{id}/comments",
        comment_task,
        "inbox",
        {201: CommentShown},
        body=CommentBody,
        headers=IDEMPOTENT,
    ),
)
