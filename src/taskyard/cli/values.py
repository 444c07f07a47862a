"""What people type, as values: times, spans, sizes, inputs. Each raises ValueError with a sentence that says what is accepted."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TextIO

from taskyard.core.task import Json

_UNITS: Final = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)")


def span(text: str) -> timedelta:
    """
    Read a span: ``30s``, ``5m``, ``2h``, ``1h30m``, ``7d``; a bare number is seconds.

    >>> span("1h30m")
    datetime.timedelta(seconds=5400)
    """
    said = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", said):
        return timedelta(seconds=float(said))
    parts = _PART.findall(said)
    if not parts or _PART.sub("", said).strip():
        raise ValueError(f"{text!r} is not a span; say 30s, 5m, 2h, 1h30m or 7d")
    try:
        return sum((float(number) * _UNITS[unit] for number, unit in parts), timedelta(0))
    except OverflowError:
        raise ValueError(f"{text!r} is longer than time itself") from None


def moment(text: str, now: datetime) -> datetime:
    """
    Read a time: RFC 3339 (``2026-03-01T12:00:00Z``), ``now``, or a span from *now* (``in 5m``, ``5m ago``).

    A time without a zone is taken in the zone of *now*.

    >>> moment("in 5m", datetime(2026, 3, 1, 12, 0, tzinfo=UTC)).isoformat()
    '2026-03-01T12:05:00+00:00'
    """
    said = text.strip()
    if said.lower() == "now":
        return now.astimezone(UTC)
    if said.lower().startswith("in "):
        return now.astimezone(UTC) + span(said[3:])
    if said.lower().endswith(" ago"):
        return now.astimezone(UTC) - span(said[:-4])
    try:
        at = datetime.fromisoformat(said)
    except ValueError:
        raise ValueError(f"{text!r} is not a time; say 2026-03-01T12:00:00Z, in 5m or 2h ago") from None
    return (at if at.tzinfo else at.replace(tzinfo=now.tzinfo)).astimezone(UTC)


def since(text: str, now: datetime) -> datetime:
    """Read how far back to look: a span (``1h``) or a time."""
    try:
        return now.astimezone(UTC) - span(text)
    except ValueError:
        return moment(text, now)


def pair(text: str) -> tuple[str, str]:
    """Read ``name=value``."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"{text!r} is not name=value")
    return name, value


def rate(text: str) -> dict[str, Any]:
    """Read a rate limit: ``10/1m`` is at most ten starts in any minute."""
    count, slash, period = text.partition("/")
    if not slash or not count.strip().isdigit():
        raise ValueError(f"{text!r} is not a rate; say 10/1m for at most ten in a minute")
    return {"count": int(count), "period": span(period if period[:1].isdigit() else f"1{period}")}


def member(text: str) -> tuple[str, Json]:
    """
    Read ``name=value``, where a value that is JSON is taken as JSON and everything else as text.

    >>> member("size=256"), member("name=Ana"), member('zip="01234"')
    (('size', 256), ('name', 'Ana'), ('zip', '01234'))
    """
    name, value = pair(text)
    try:
        return name, json.loads(value, parse_constant=_no_constant)
    except ValueError:
        return name, value


def whole_input(text: str, stdin: TextIO) -> Json:
    """Read JSON: as it stands, from a file (``@file.json``) or from standard input (``-``)."""
    where = "it"
    if text == "-":
        text, where = stdin.read(), "standard input"
    elif text.startswith("@"):
        where = text[1:]
        try:
            text = Path(where).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ValueError(f"{where} cannot be read: {reason}") from None
    try:
        return json.loads(text, parse_constant=_no_constant)
    except ValueError as error:
        raise ValueError(f"{where} is not JSON: {error}") from None


def task_input(members: Sequence[tuple[str, Json]], whole: Json, is_whole: bool) -> Json:
    """Return the input that ``--input`` and ``-i`` say together: members stand over those of the whole."""
    if not is_whole:
        return dict(members) if members else None
    if not members:
        return whole
    if not isinstance(whole, dict):
        raise ValueError("-i adds members to an object, and --input is none")
    return {**whole, **dict(members)}


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def without_password(url: str) -> str:
    """Return the address of a database as it may be shown: screens and logs are read by others."""
    url = re.sub(r"(//[^:/?@]*):[^/?]*@", r"\1@", url)
    return re.sub(r"([?&]password=)[^&]*", r"\1…", url)
