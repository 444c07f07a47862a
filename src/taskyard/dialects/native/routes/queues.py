"""Queues: make, read, change, pause, resume, delete."""

from collections.abc import Callable
from typing import Final

from starlette.responses import Response

from taskyard.core.actor import Actor
from taskyard.core.queue import Queue
from taskyard.dialects.native.parse.queues import NewQueueBody, QueueChangeBody
from taskyard.dialects.native.render.queues import QueuePage, QueueShown, queue_shown, view_shown
from taskyard.dialects.native.render.words import reply
from taskyard.dialects.native.routes.acting import IDEMPOTENT, act, no_answer
from taskyard.http.bodies import Body
from taskyard.http.call import Call
from taskyard.http.operation import Operation
from taskyard.store.records import Records

CREATE: Final = Body(NewQueueBody)
CHANGE: Final = Body(QueueChangeBody)


async def list_queues(call: Call) -> Response:
    """List the queues, each with how many open tasks it has."""
    found = await call.backend.read(call.backend.services.queues.all, call.actor)
    return reply(QueuePage(queues=[view_shown(each) for each in found]))


async def create_queue(call: Call) -> Response:
    """Make a queue. Submitting to one that is not there makes it too, with every default."""
    body = CREATE.read(await call.body())
    settings, queues = body.queue_settings(), call.backend.services.queues
    return await act(
        call,
        lambda records: queues.create(records, call.actor, body.name, settings),
        queue_shown,
        status=201,
        headers=lambda queue: {"Location": f"/v1/queues/{queue.name}"},
    )


async def get_queue(call: Call) -> Response:
    """Return a queue, with how many open tasks it has."""
    return reply(
        view_shown(await call.backend.read(call.backend.services.queues.view, call.actor, call.path["name"]))
    )


async def change_queue(call: Call) -> Response:
    """Change what is given of a queue; `null` lifts a limit."""
    changes = CHANGE.read(await call.body()).changes()
    queues = call.backend.services.queues
    return await act(
        call, lambda records: queues.change(records, call.actor, call.path["name"], changes), queue_shown
    )


async def delete_queue(call: Call) -> Response:
    """Delete a queue that has no open tasks."""
    queues = call.backend.services.queues
    return await act(call, lambda records: queues.delete(records, call.actor, call.path["name"]), no_answer)


async def pause_queue(call: Call) -> Response:
    """Start nothing of this queue any more; what runs goes on."""
    return await _set(call, call.backend.services.queues.pause)


async def resume_queue(call: Call) -> Response:
    """Start tasks of this queue again."""
    return await _set(call, call.backend.services.queues.resume)


async def _set(call: Call, move: Callable[[Records, Actor, str], Queue]) -> Response:
    return await act(call, lambda records: move(records, call.actor, call.path["name"]), queue_shown)


OPERATIONS: Final = (
    Operation("GET", "/queues", list_queues, "queues", {200: QueuePage}),
    Operation(
        "POST",
        "/queues",
        create_queue,
        "queues",
        {201: QueueShown},
        body=NewQueueBody,
        headers=IDEMPOTENT,
        refusals=(409,),
    ),
    Operation(
        "POST",
        "/queues/{name}:pause",
        pause_queue,
        "queues",
        {200: QueueShown},
        headers=IDEMPOTENT,
        refusals=(422,),
    ),
    Operation(
        "POST",
        "/queues/{name}:resume",
        resume_queue,
        "queues",
        {200: QueueShown},
        headers=IDEMPOTENT,
        refusals=(422,),
    ),
    Operation("GET", "/queues/{name}", get_queue, "queues", {200: QueueShown}),
    Operation(
        "PATCH",
        "/queues/{name}",
        change_queue,
        "queues",
        {200: QueueShown},
        body=QueueChangeBody,
        headers=IDEMPOTENT,
    ),
    Operation(
        "DELETE",
        "/queues/{name}",
        delete_queue,
        "queues",
        {204: None},
        headers=IDEMPOTENT,
        refusals=(409, 422),
    ),
)
