"""How values cross into SQL and back: JSON is declared, never guessed; times are microseconds."""

from datetime import datetime, timedelta
from typing import Any

import msgspec

from taskyard.core.times import from_micros, span, span_micros, to_micros

_encoder = msgspec.json.Encoder(decimal_format="string")
_decode = msgspec.json.Decoder().decode


def json_text(value: Any) -> str | None:
    """Return *value* as JSON text; None, JSON's null, is stored as NULL."""
    return None if value is None else _encoder.encode(value).decode()


def from_json(text: str | None) -> Any:
    return None if text is None else _decode(text)


def micros(at: datetime | None) -> int | None:
    return None if at is None else to_micros(at)


def moment(number: int | None) -> datetime | None:
    return None if number is None else from_micros(number)


def length(period: timedelta | None) -> int | None:
    return None if period is None else span_micros(period)


def period(number: int | None) -> timedelta | None:
    return None if number is None else span(number)
