"""What callers say, as the wire says it."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from taskyard.core.task import Json, NewTask

#: What a submit may not say over the wire: the server decides it.
_SERVERS_OWN: Final = frozenset({"schedule", "rule", "retry_of", "origin", "trace", "id", "report"})

Seconds = timedelta | float | int


def segment(name: str) -> str:
    """Return *name* as one segment of a path: names may hold ``/`` and ``:``."""
    return quote(name, safe="")


def moment(at: datetime) -> str:
    """Return an aware time in RFC 3339. Raises ValueError when it is not aware: its meaning would be a guess."""
    if at.tzinfo is None:
        raise ValueError(f"{at.isoformat()} has no time zone; say datetime(…, tzinfo=UTC)")
    return at.isoformat()


def seconds(span: Seconds) -> float:
    return span.total_seconds() if isinstance(span, timedelta) else float(span)


def plain(value: Any) -> Any:
    """Return *value* with its times and spans as the wire has them; everything else as it is."""
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value


def given(**members: Any) -> dict[str, Any]:
    """Return the *members* that are not None, as the wire has them."""
    return {name: plain(value) for name, value in members.items() if value is not None}


def new_task_json(task: NewTask | Mapping[str, Any]) -> dict[str, Json]:
    """Return the body that submits *task*: what differs from the defaults, which are the server's too."""
    if isinstance(task, Mapping):
        return given(**task)
    body: dict[str, Json] = {"type": task.type}
    for member, default in _DEFAULTS.items():
        value = getattr(task, member)
        if value != default:
            body[member] = plain(list(value) if isinstance(value, tuple) else value)
    return body


def filters(
    labels: Mapping[str, str] | None, ranges: Mapping[str, datetime | None], **named: Any
) -> dict[str, Any]:
    """Return the query of a list: *named* members, ``label.<name>``, and ranges such as ``created_at[gte]``."""
    query = {name: _text(value) for name, value in named.items() if value is not None}
    query |= {f"label.{name}": value for name, value in (labels or {}).items()}
    query |= {name: moment(at) for name, at in ranges.items() if at is not None}
    return query


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Iterable):
        return ",".join(str(each) for each in value)
    return str(value)


_DEFAULTS: Final[dict[str, Any]] = {
    name: getattr(NewTask(type="x"), name)
    for name in NewTask.__dataclass_fields__
    if name != "type" and name not in _SERVERS_OWN
}
