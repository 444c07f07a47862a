"""Everything that this wire shows (contract, sections 4, 7, 8, 9 and 10)."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec
from starlette.responses import Response

from taskyard.core.account import Key, Organisation
from taskyard.core.destination import Destination, Kind
from taskyard.core.source import FETCH, EndUser, Poll, Session, Source
from taskyard.core.task import State, Task
from taskyard.store.results import NONE, First, Published

Noun = TypeVar("Noun")

STATES: Final[Mapping[State, str]] = {
    State.SCHEDULED: "pending",
    State.READY: "pending",
    State.SUSPENDED: "suspended",
    State.RUNNING: "processing",
    State.SUCCEEDED: "succeeded",
    State.FAILED: "failed",
    State.CANCELED: "failed",
}
#: The wire names only what is done, not what it is done to; other types are called what they are called.
TYPES: Final[Mapping[str, str]] = {
    FETCH["info_types"]: "info",
    FETCH["data_types"]: "data",
    FETCH["files"]: "files",
}
#: How much of a list is shown inside something else: the first page of its own.
NESTED: Final = 10
_RESOURCES: Final = {Kind.STORAGE: "storage_config", Kind.WEBHOOK: "webhook_config"}


def answer(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status_code=status, media_type="application/json")


def page(data: Sequence[Any], *, total: int, url: str, has_more: bool) -> dict[str, Any]:
    return {
        "resource": "list",
        "data": list(data),
        "has_more": has_more,
        "total_count": total,
        "url": url,
    }


def first_of(data: Sequence[Noun], show: Callable[[Noun], Any], url: str) -> dict[str, Any]:
    """Return the list inside something of which all are at hand."""
    shown = [show(each) for each in data[:NESTED]]
    return page(shown, total=len(data), url=url, has_more=len(data) > NESTED)


def moment(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# -- tasks and results --------------------------------------------------------------------------------------------------------


def task(task: Task, results: First = NONE) -> dict[str, Any]:
    labels = task.labels
    return {
        "id": task.id,
        "resource": "task",
        "organisation": task.organisation,
        "key": _number(labels.get("key")),
        "user": _number(labels.get("user")),
        "source": _number(labels.get("source")),
        "session": labels.get("session"),
        "poll": labels.get("poll"),
        "source_type": labels.get("source_type"),
        "type": TYPES.get(task.type, task.type),
        "target": task.target,
        "results": results_of(results, task.organisation, f"/tasks/{task.id}/results"),
        "state": STATES[task.state],
        "error": _error(task),
        "date_created": moment(task.created_at),
        "date_started": moment(task.started_at),
        "date_completed": moment(task.finished_at),
    }


def _number(label: str | None) -> int | None:
    return (
        int(label)
        if label is not None and label.isdecimal() and label.isascii() and len(label) < 19
        else None
    )


def _error(task: Task) -> str | None:
    if task.state is State.CANCELED:
        return "canceled"
    if task.state is not State.FAILED:
        return None
    return task.error.code if task.error is not None else "failed"


def results_of(results: First, organisation: int, url: str) -> dict[str, Any]:
    shown = [result(each, organisation) for each in results.results]
    return page(shown, total=results.total, url=url, has_more=results.total > len(shown))


def result(published: Published, organisation: int) -> dict[str, Any]:
    """Return a result. One that is no stored file, but a value, has no URL; it is measured as the JSON that it is."""
    found, file = published.result, published.result.value
    if not isinstance(file, dict) or not {"identifier", "url", "type", "checksum", "size"} <= file.keys():
        text = msgspec.json.encode(found.value)
        checksum = hashlib.md5(text, usedforsecurity=False).hexdigest()
        file = {
            "identifier": found.name,
            "url": None,
            "type": "json",
            "checksum": checksum,
            "size": len(text),
        }
    return {
        "id": found.id,
        "resource": "result",
        "organisation": organisation,
        "poll": published.labels.get("poll"),
        "task": published.task,
        "identifier": file["identifier"],
        "url": file["url"],
        "type": file["type"],
        "checksum": file["checksum"],
        "size": file["size"],
        "signed_url": None,
        "state": "available" if found.consumed_at is None else "consumed",
        "date_created": moment(found.created_at),
        "date_consumed": moment(found.consumed_at),
        "date_deleted": None,
    }


# -- users, sources, sessions, polls ------------------------------------------------------------------------------------------


def user(user: EndUser) -> dict[str, Any]:
    return {
        "id": user.number,
        "resource": "user",
        "organisation": user.organisation,
        "key": user.key,
        "identifier": user.identifier,
        "state": user.state,
        "date_created": moment(user.created_at),
    }


def source(source: Source, children: Sequence[Source] = ()) -> dict[str, Any]:
    return {
        "id": source.number,
        "resource": "source",
        "user": source.user,
        "type": source.type,
        "identifier": source.identifier or None,
        "parent": source.parent,
        "children": first_of(children, _child, "/sources"),
        "state": source.state,
        "date_created": moment(source.created_at),
    }


def _child(child: Source) -> dict[str, Any]:
    return source(child)


def session(session: Session, source: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": session.id,
        "resource": "session",
        "organisation": session.organisation,
        "key": session.key,
        "user": session.user,
        "source": source,
        "state": session.state,
        "error": session.error,
        "date_created": moment(session.created_at),
        "date_expired": moment(session.expired_at),
    }


def poll(poll: Poll, results: First = NONE) -> dict[str, Any]:
    ids: dict[str, list[str]] = {word: [] for word in STATES.values()}
    for fetch in poll.fetches:
        ids[STATES[fetch.state]].append(fetch.id)
    failed = [fetch for fetch in poll.fetches if STATES[fetch.state] == "failed"]
    errors = [
        {
            "task": fetch.id,
            "error": "canceled" if fetch.error is None else fetch.error.code,
            "message": "the task was canceled" if fetch.error is None else fetch.error.message,
        }
        for fetch in failed[:NESTED]
    ]
    return {
        "id": poll.id,
        "resource": "poll",
        "organisation": poll.organisation,
        "key": poll.key,
        "user": poll.user,
        "source": poll.source,
        "session": poll.session,
        "subscription": None,
        **{f"tasks_{word}": each for word, each in ids.items()},
        "results": results_of(results, poll.organisation, f"/polls/{poll.id}/results"),
        # No "resource" here: the client would look for a class of what is in it, and there is none.
        "errors": {
            "data": errors,
            "has_more": len(failed) > NESTED,
            "total_count": len(failed),
            "url": f"/polls/{poll.id}",
        },
        "state": poll.state,
        "date_created": moment(poll.created_at),
        "date_started": moment(poll.started_at),
        "date_completed": moment(poll.finished_at),
    }


# -- organisation, keys, configs ----------------------------------------------------------------------------------------------


def organisation(
    found: Organisation, storages: Sequence[Destination], webhooks: Sequence[Destination]
) -> dict[str, Any]:
    config = found.settings.get("config")
    return {
        "id": found.number,
        "resource": "organisation",
        "type": "standard",
        "name": found.title or found.name,
        "slug": found.name,
        "api_version": "v3",
        "config": config if isinstance(config, dict) else {},
        "permissions": {
            "id": found.number,
            "resource": "permissions",
            "organisation": found.number,
            "identifier": None,
            "scopes": {f"{scope}:*": [] for scope in ("source_type", "task_type", "data_type", "file_type")},
            "date_created": moment(found.created_at),
        },
        "storage_configs": first_of(storages, destination, "/configs/storage"),
        "storage_config_default": found.settings.get(Kind.STORAGE),
        "webhook_configs": first_of(webhooks, destination, "/configs/webhook"),
        "webhook_config_default": found.settings.get(Kind.WEBHOOK),
        "state": "active" if any(each.state == "valid" for each in storages) else "unconfigured",
        "date_created": moment(found.created_at),
    }


def key(key: Key, now: datetime, token: str | None) -> dict[str, Any]:
    """Return a key; its *token* where it is known, as only its digest is kept."""
    state = "active"
    if key.revoked_at is not None:
        state = "deactivated"
    elif key.expires_at is not None and key.expires_at <= now:
        state = "expired"
    return {
        "id": key.number,
        "resource": "key",
        "organisation": key.organisation,
        "type": "standard",
        "config": {},
        "storage_config": key.settings.get(Kind.STORAGE),
        "webhook_config": key.settings.get(Kind.WEBHOOK),
        "token": token,
        "state": state,
        "date_created": moment(key.created_at),
        "date_expires": moment(key.expires_at),
    }


def destination(destination: Destination, *, with_secret: bool = False) -> dict[str, Any]:
    """Return a config. The secret of a webhook is shown when it is made, and not again."""
    shown = {
        "id": destination.number,
        "resource": _RESOURCES[destination.kind],
        "organisation": destination.organisation,
        "url": destination.url,
        "state": destination.state,
        "date_created": moment(destination.created_at),
    }
    if destination.kind is Kind.WEBHOOK:
        return {**shown, "secret": destination.secret if with_secret else None}
    return {
        **shown,
        "type": destination.url.partition(":")[0],
        # What is stored is sealed, and not shown again.
        "credentials": {},
        "signed_urls_enabled": bool(destination.settings.get("signed_urls_enabled")),
        "signed_urls_expiry": destination.settings.get("signed_urls_expiry"),
    }
