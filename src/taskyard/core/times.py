"""Times as the store keeps them: whole microseconds since 1970 in UTC, so that both databases hold the same number."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
#: The year 2106: up to there a float of seconds is finer than half a microsecond, so it rounds to the right one.
_EXACT: Final = 2**32 * 1_000_000


@lru_cache(maxsize=1024)  # a transaction writes its one instant many times
def to_micros(at: datetime) -> int:
    """
    Return *at* in microseconds since the epoch. *at* must be aware.

    >>> to_micros(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000000
    """
    return (at - EPOCH) // MICROSECOND


@lru_cache(maxsize=1024)  # what is read together was mostly written together, at the same instants
def from_micros(micros: int) -> datetime:
    """
    Return the aware UTC datetime of *micros*.

    >>> from_micros(1_000_000).isoformat()
    '1970-01-01T00:00:01+00:00'
    """
    if 0 <= micros < _EXACT:
        return datetime.fromtimestamp(micros / 1e6, UTC)  # twice as fast as adding to the epoch
    return EPOCH + timedelta(microseconds=micros)


def span_micros(span: timedelta) -> int:
    return span // MICROSECOND


def span(micros: int) -> timedelta:
    return timedelta(microseconds=micros)
