"""What renderings share: times, lengths, and the one encoder."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Final

import msgspec
from starlette.responses import Response

#: RFC 3339 in UTC, always with microseconds and Z, so that equal times are equal texts and texts sort as times do.
Moment = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
Seconds = Annotated[float, msgspec.Meta(description="Seconds.")]

encode: Final = msgspec.json.Encoder().encode


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all that is shown."""


@lru_cache(
    maxsize=1024
)  # a task that was just submitted shows one instant three times, and a list shows many like it
def moment(at: datetime) -> str:
    """
    >>> from datetime import UTC
    >>> moment(datetime(2026, 3, 1, 12, tzinfo=UTC))
    '2026-03-01T12:00:00.000000Z'
    """
    return at.isoformat(timespec="microseconds")[:-6] + "Z"


def maybe(at: datetime | None) -> str | None:
    return None if at is None else moment(at)


def seconds(length: timedelta | None) -> float | None:
    return None if length is None else length.total_seconds()


def reply(shown: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(encode(shown), status, headers, media_type="application/json")
