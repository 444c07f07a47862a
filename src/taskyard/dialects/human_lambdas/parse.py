"""Bodies and queries of this wire (contract, sections 1.4, 3.3, 3.4)."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from starlette.requests import Request

from taskyard.core.errors import Invalid
from taskyard.core.hook import check_url
from taskyard.dialects.human_lambdas.refuse import Said
from taskyard.http.bodies import check_depth
from taskyard.http.dialect import Call
from taskyard.service.questionnaires import at_end_of
from taskyard.store.tasks import Between

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1_000
MAX_TARGET_LENGTH: Final = 255
MAX_OFFSET: Final = 1 << 40
BEGINNING: Final = datetime(2019, 1, 1, tzinfo=UTC)
_FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data")


async def json_body(call: Call) -> Any:
    """Return the body; an empty one and one that is a form are an empty object. Raises Said (400, 415)."""
    body = await call.body()
    if not body:
        return {}
    declared = call.headers.get("content-type", "")
    media = declared.split(";")[0].strip().lower()
    if media in _FORMS:
        return {}
    if media != "application/json":
        raise Said(415, f'Unsupported media type "{declared}" in request.')
    try:
        check_depth(body)
        found = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_number)
        if b"\\u" in body:  # half of a surrogate pair can neither be kept nor shown
            json.dumps(found, ensure_ascii=False).encode()
        return found
    except (ValueError, RecursionError, Invalid) as error:
        raise Said(400, f"JSON parse error - {error}") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"Out of range float values are not JSON compliant: {name!r}")


def _number(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"Out of range float values are not JSON compliant: {text[:50]!r}")
    return value


async def data_of(call: Call) -> dict[str, Any]:
    """Return the ``data`` of a task to be created. Raises Said."""
    body = await json_body(call)
    data = body.get("data") if isinstance(body, dict) else None
    if not data:
        raise Said(400, "No data")
    if not isinstance(data, dict):
        raise Said(400, "data must be an object: a value for each block's id", field="data")
    if body.get("region") not in (None, "EU"):
        raise Said(400, "this server keeps data in one region only", field="region")
    return data


async def target_of(call: Call) -> str:
    """Return the ``target`` of a webhook; empty to have none. Raises Said."""
    body = await json_body(call)
    return _target(body if isinstance(body, dict) else {}, may_be_empty=True)


async def subscription_of(call: Call) -> tuple[int, str]:
    """Return the queue, and the target, that a connector subscribes. Raises Said."""
    body = await json_body(call)
    body = body if isinstance(body, dict) else {}
    if body.get("workflow_id") is None:
        raise Said(400, "This field is required.", field="workflow")
    number = _whole(body["workflow_id"])
    if number is None:
        kind = type(body["workflow_id"]).__name__
        raise Said(400, f"Incorrect type. Expected pk value, received {kind}.", field="workflow")
    return number, _target(body, may_be_empty=False)


async def hook_number_of(call: Call) -> int:
    """Return which hook a connector wants to be rid of; 0, which is none, when that is no number. Raises Said."""
    body = await json_body(call)
    return (_whole(body.get("hook_id")) or 0) if isinstance(body, dict) else 0


def _whole(said: Any) -> int | None:
    text = str(said)
    whole = isinstance(said, int | str) and not isinstance(said, bool)
    return int(text) if whole and text.isdecimal() and text.isascii() and len(text) <= 18 else None


def _target(body: dict[str, Any], *, may_be_empty: bool) -> str:
    if "target" not in body:
        raise Said(400, "This field is required.", field="target")
    target = body["target"]
    if target is None:
        raise Said(400, "This field may not be null.", field="target")
    if target == "" and not may_be_empty:
        raise Said(400, "This field may not be blank.", field="target")
    if isinstance(target, str) and len(target) > MAX_TARGET_LENGTH:
        raise Said(400, f"Ensure this field has no more than {MAX_TARGET_LENGTH} characters.", field="target")
    if target != "" and check_url(target, "/target"):
        raise Said(400, "Enter a valid URL.", field="target")
    return str(target)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which completed tasks are asked for; ``none`` when nothing can match."""

    limit: int
    offset: int
    finished: Between
    user: int | None
    none: bool


def wanted(request: Request) -> Wanted:
    """Return what the query asks for: what cannot be read falls back to the default, but a filter that is no number finds nothing."""
    query = request.query_params
    start = _moment(query.get("start_date"))
    end = _moment(query.get("end_date"), end=True)
    numbers = {name: query[name] for name in ("worker_id", "source_id", "queue_id") if query.get(name)}
    bad = any(not text.isdecimal() or not text.isascii() or len(text) > 18 for text in numbers.values())
    queue = numbers.get("queue_id")
    path_queue = request.path_params.get("queue")
    return Wanted(
        limit=min(_count(query.get("limit"), least=1, default=DEFAULT_LIMIT), MAX_LIMIT),
        offset=min(_count(query.get("offset"), least=0, default=0), MAX_OFFSET),
        finished=Between(gte=start or BEGINNING, lte=end),
        user=None if bad or "worker_id" not in numbers else int(numbers["worker_id"]),
        # Nothing was audited here, and sources are names and not rows.
        none=bad
        or "source_id" in numbers
        or query.get("correct", "").lower() in ("true", "false")
        or (queue is not None and int(queue) != path_queue),
    )


def _count(text: str | None, *, least: int, default: int) -> int:
    if text is None or not text.strip().isdecimal() or len(text) > 18:
        return default
    return int(text) if int(text) >= least else default


def _moment(text: str | None, *, end: bool = False) -> datetime | None:
    try:
        at = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    whole_day = len(text or "") == 10
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    try:
        at = at.astimezone(UTC)
    except OverflowError:
        return None
    return at_end_of(at) if end and whole_day else at
