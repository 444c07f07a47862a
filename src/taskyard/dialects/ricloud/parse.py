"""Bodies and queries of this wire (contract, sections 2, 4 and 5)."""

import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from taskyard.core.errors import NotFound
from taskyard.core.limits import MAX_KEY_LENGTH, check_text
from taskyard.core.task import State
from taskyard.dialects.ricloud.refuse import Bad
from taskyard.dialects.ricloud.render import STATES, TYPES
from taskyard.http.bodies import read_json
from taskyard.http.dialect import Call
from taskyard.http.refusal import Malformed
from taskyard.store.listing import LARGEST, Window
from taskyard.store.tasks import Between, TaskFilter

DEFAULT_LIMIT: Final = 10
MAX_LIMIT: Final = 1_000
PAGING: Final = ("limit", "after_id", "before_id")
MAX_AWAIT_SECONDS: Final = 10.0

_DATES: Final = ("date_created", "date_started", "date_completed")
#: ``date_created[gte]``, and the same as ``date_created__gte``.
_RANGE: Final = re.compile(r"(date_\w+?)(?:\[(gte?|lte?)\]|__(gte?|lte?))?")
_MOMENT: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d(?:[.,](\d{1,6})\d*)?)?)?\s*(Z|[+-]\d\d:?\d\d)?", re.IGNORECASE
)
_NUMBER: Final = re.compile(r"[0-9]{1,30}")
_SECONDS: Final = re.compile(r"[0-9]{1,9}(\.[0-9]*)?")
#: The labels that tasks are filtered by: those that fewest tasks share come first, as the first is what tasks are looked up by.
_LABELS: Final = ("poll", "session", "source", "user", "source_type", "key")
#: Those of them that are numbers.
_NUMBERS: Final = frozenset({"source", "user", "key"})


# -- bodies -----------------------------------------------------------------------------------------------------------------


async def body_of(call: Call) -> dict[str, Any]:
    """
    Return the body, whatever its content type says; an empty one and ``null`` are an empty object.

    Raises:
        Malformed: it is not JSON, or no object.
    """
    body = await anything_of(call)
    if not isinstance(body, dict):
        raise Malformed("the body is a JSON object", code="bad_json")
    return body


async def anything_of(call: Call) -> Any:
    """Return the body as JSON, an empty object where there is none. Raises Malformed."""
    body = read_json(await call.body())
    return {} if body is None else body


def text(body: Mapping[str, Any], name: str, *, most: int = MAX_KEY_LENGTH) -> str | None:
    """Return a member that is text; None where it is not given. Raises Bad."""
    value = body.get(name)
    if value is None:
        return None
    for fault in check_text(value, name, most=most):
        raise Bad(name, fault.detail)
    return str(value)


def needed_text(body: Mapping[str, Any], name: str) -> str:
    value = text(body, name)
    if not value:
        raise Bad(name, "this is required")
    return value


def number(body: Mapping[str, Any], name: str) -> int | None:
    """Return a member that is the id of something, as a number or in a text; None where it is not given. Raises Bad."""
    value = body.get(name)
    return None if value is None else _whole(name, value)


def needed_number(body: Mapping[str, Any], name: str) -> int:
    value = number(body, name)
    if value is None:
        raise Bad(name, "this is required")
    return value


def mapping(body: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """Return a member that is an object; None where it is not given. Raises Bad."""
    value = body.get(name)
    if value is not None and not isinstance(value, dict):
        raise Bad(name, "this is an object")
    return value


def _whole(name: str, value: object) -> int:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Bad(name, "an id of these is a whole number")
    return min(value, LARGEST)  # what is larger stands for nothing, as this does


# -- queries ----------------------------------------------------------------------------------------------------------------


def query_of(call: Call, known: Collection[str], *, dates: bool = False) -> dict[str, str]:
    """
    Return the parameters by name; with *dates* also those that are ranges of times.

    Raises:
        Bad: one is unknown, given twice, or cannot be kept.
    """
    given: dict[str, str] = {}
    names = sorted({*known, *PAGING, *(_DATES if dates else ())})
    for name, value in call.request.query_params.multi_items():
        ranged = _RANGE.fullmatch(name) if dates else None
        if name not in names and (ranged is None or ranged[1] not in _DATES):
            raise Bad(name[:100], f"there is no such parameter here; there are {', '.join(names)}")
        if name in given:
            raise Bad(name, "this is given twice; give it once")
        for fault in check_text(value, name, most=MAX_KEY_LENGTH):
            raise Bad(name, fault.detail)
        given[name] = value
    return given


def number_in(query: Mapping[str, str], name: str) -> int | None:
    return None if name not in query else _whole(name, query[name])


def word_in(query: Mapping[str, str], name: str, words: Collection[str]) -> str | None:
    """Return a parameter that is one of *words*. Raises Bad."""
    word = query.get(name)
    if word is not None and word not in words:
        raise Bad(name, f"this is one of {', '.join(sorted(words))}")
    return word


def limit_of(query: Mapping[str, str]) -> int:
    given = query.get("limit")
    if given is None:
        return DEFAULT_LIMIT
    if not _NUMBER.fullmatch(given) or not 1 <= int(given) <= MAX_LIMIT:
        raise Bad("limit", f"this is a whole number from 1 to {MAX_LIMIT:,}")
    return int(given)


def window_of(query: Mapping[str, str], find: Callable[[str], int | None]) -> Window:
    """
    Return which part of a list is asked for, with one more than its limit: whether there is more.

    Args:
        find: Returns the number of what an id stands for, None when it stands for nothing.

    Raises:
        Bad.
    """
    bounds: dict[str, int] = {}
    for name in ("after_id", "before_id"):
        if name in query:
            found = find(query[name])
            if found is None:
                raise Bad(name, f"there is nothing of the id {query[name]} here")
            bounds[name] = found
    # Lists run from the newest to the oldest, so what comes after one is older.
    return Window(limit=limit_of(query) + 1, before=bounds.get("after_id"), after=bounds.get("before_id"))


def task_filter(query: Mapping[str, str]) -> TaskFilter:
    """Return which tasks a query of ``/tasks`` asks for. Raises Bad."""
    labels = {
        name: str(_whole(name, query[name])) if name in _NUMBERS else query[name]
        for name in _LABELS
        if name in query
    }
    word = word_in(query, "state", set(STATES.values()))
    wanted_type = query.get("type")
    return TaskFilter(
        states=() if word is None else tuple(state for state in State if STATES[state] == word),
        type=wanted_type and {word: type for type, word in TYPES.items()}.get(wanted_type, wanted_type),
        labels=labels,
        created=_between(query, "date_created"),
        started=_between(query, "date_started"),
        finished=_between(query, "date_completed"),
    )


def _between(query: Mapping[str, str], name: str) -> Between:
    bounds: dict[str, datetime] = {}
    for given, value in query.items():
        ranged = _RANGE.fullmatch(given)
        if ranged is None or ranged[1] != name:
            continue
        at, width = moment(given, value)
        bound = ranged[2] or ranged[3]
        if bound is None:
            bounds |= {"gte": at, "lt": at + width}
        elif bound in bounds:
            raise Bad(given, "this bound is given twice; give it once")
        else:
            bounds[bound] = at
    return Between(**bounds)


def moment(name: str, value: str) -> tuple[datetime, timedelta]:
    """
    Return a time and how wide it is: a bare day is a day long, ``.110`` a millisecond. Without a zone it is UTC.

    Raises:
        Bad.
    """
    # In a query a plus means a space, and clients forget to say it otherwise.
    text = re.sub(r"(?<=\d) (?=\d\d:?\d\d$)", "+", value.strip())
    found = _MOMENT.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        day, minutes, seconds, fraction, zone = found.groups()
        clock = f"{minutes or '00:00'}{(seconds or ':00').replace(',', '.')[:10]}"
        whole, _, part = clock.partition(".")
        at = datetime.fromisoformat(f"{day}T{whole}.{part or '0':0<6}"[:26] + (zone or "Z").upper())
        at = at.astimezone(UTC)
        width = _width(minutes, seconds, fraction)
        _ = at + width
    except (ValueError, OverflowError):
        raise Bad(name, f"{value[:60]!r} is not a time; write it as 2020-02-20T11:59:15Z") from None
    return at, width


def _width(minutes: str | None, seconds: str | None, fraction: str | None) -> timedelta:
    if minutes is None:
        return timedelta(days=1)
    if seconds is None:
        return timedelta(minutes=1)
    return timedelta(microseconds=10 ** (6 - len(fraction or "")))


# -- paths and headers ------------------------------------------------------------------------------------------------------


def id_in_path(call: Call, noun: str) -> str:
    """Return the id in the path. Raises NotFound for one that no database could look up."""
    id = str(call.path["id"])
    if check_text(id, "", most=MAX_KEY_LENGTH):
        raise NotFound(noun, ascii(id[:60]))
    return id


def seconds_to_await(call: Call) -> float:
    """Return how long the client lets its answer be held; junk is passed over (contract, section 13)."""
    given = call.headers.get("ricloud-await", "").strip()
    return min(float(given), MAX_AWAIT_SECONDS) if _SECONDS.fullmatch(given) else 0.0
