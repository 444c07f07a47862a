"""Tasks, queues and pages as this wire shows them (contract, sections 3.1, 3.2, 3.4)."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from taskyard.core.blocks import config_of
from taskyard.core.hook import Hook
from taskyard.core.queue import Queue
from taskyard.core.task import State, Task
from taskyard.service.questionnaires import SOURCE, blocks_of, values_of

#: A word for each state. A task that was claimed before and waits again is ``open`` instead of ``new``; what failed or was
#: canceled has ended, and is in no list of this wire.
STATES: Final[Mapping[State, str]] = {
    State.SCHEDULED: "new",
    State.READY: "new",
    State.SUSPENDED: "new",
    State.RUNNING: "in_progress",
    State.SUCCEEDED: "completed",
    State.FAILED: "completed",
    State.CANCELED: "completed",
}
#: The one event that this wire has.
COMPLETED: Final = "task.completed"
_HEADERS: Final = {"Vary": "Accept, Origin", "X-Frame-Options": "SAMEORIGIN"}


def answer(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, _HEADERS, media_type="application/json")


def empty(status: int = 200) -> Response:
    return Response(b"", status, _HEADERS)


def status_of(task: Task) -> str:
    if task.claims and task.state in (State.SCHEDULED, State.READY, State.SUSPENDED):
        return "open"
    return STATES[task.state]


def milliseconds(at: datetime) -> str:
    """As in what is sent to webhooks: cut, not rounded."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{at.microsecond // 1000:03}Z"


def moment(at: datetime) -> str:
    at = at.astimezone(UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S") + (f".{at.microsecond:06}Z" if at.microsecond else "Z")


def task(
    task: Task, queue: Queue, completed_by: str | None, *, at: Callable[[datetime], str] = moment
) -> dict[str, Any]:
    return {
        "id": task.number,
        "status": status_of(task),
        "completed_at": None if task.finished_at is None else at(task.finished_at),
        "created_at": at(task.created_at),
        "completed_by": completed_by,
        "queue": queue_name(queue),
        "queue_id": queue.number,
        "data": values_of(queue, task),
        "source": task.labels.get(SOURCE, "api"),
        "correct": None,
    }


def queue(queue: Queue, n_tasks: int, active: Sequence[str], *, whole: bool) -> dict[str, Any]:
    """Return the queue object: *whole* as in lists, with what only the builder of forms needs; else as asked for by id."""
    settings = queue.settings.settings if isinstance(queue.settings.settings, dict) else {}
    blocks = [_told(block) for block in blocks_of(queue)]
    if not whole:
        blocks = [{name: each[name] for name in each if name not in ("layout", "_id")} for each in blocks]
    return {
        "id": queue.number,
        "name": queue_name(queue),
        "n_tasks": n_tasks,
        "created_at": moment(queue.created_at),
        "active_users": list(active),
        **({} if whole else {"org_id": queue.organisation}),
        "data": blocks,
        "is_running": bool(settings.get("is_running", False)),
        "task_description": settings.get("task_description"),
        "guidelines_url": settings.get("guidelines_url"),
        "pinned_block": settings.get("pinned_block"),
    }


def _told(block: Mapping[str, Any]) -> dict[str, Any]:
    """Return a block as this wire has always told it: some types with a value, which is never set."""
    if block["type"] not in ("text", "number", "list", "rich_text"):
        return dict(block)
    return {**block, block["type"]: {"value": None, **config_of(block)}}


def queue_name(queue: Queue) -> str:
    return queue.settings.title or queue.name


def page(
    request: Request, tasks: Sequence[dict[str, Any]], count: int, limit: int, offset: int
) -> dict[str, Any]:
    following = _link(request, limit, offset + limit) if offset + limit < count else None
    previous = _link(request, limit, offset - limit) if offset > 0 else None
    return {"next": following, "previous": previous, "count": count, "tasks": list(tasks)}


def _link(request: Request, limit: int, offset: int) -> str:
    query = [
        (name, value) for name, value in request.query_params.multi_items() if name not in ("limit", "offset")
    ]
    query.append(("limit", str(limit)))
    if offset > 0:
        query.append(("offset", str(offset)))
    query.sort(key=lambda each: each[0])
    scheme = "https" if request.headers.get("x-forwarded-proto") == "https" else request.url.scheme
    return f"{scheme}://{request.url.netloc}{request.url.path}?{urlencode(query)}"


def webhook(hook: Hook, queue: Queue) -> dict[str, Any]:
    return {
        "target": hook.url,
        "user": _user(hook),
        "event": COMPLETED,
        "workflow": queue.number,
        "id": hook.number,
    }


def subscription(hook: Hook, queue: Queue) -> dict[str, Any]:
    return {
        "id": hook.number,
        "created": moment(hook.created_at),
        "updated": moment(hook.updated_at),
        "event": COMPLETED,
        "target": hook.url,
        "is_zapier": True,
        "user": _user(hook),
        "workflow": queue.number,
    }


def _user(hook: Hook) -> int | None:
    """Return the number of who made the hook; None for a key that is nobody's."""
    kind, _, number = hook.actor.partition(":")
    return int(number) if kind == "user" and number.isdecimal() else None
