"""
When a schedule fires: pure arithmetic from a spec to instants, with no clock and no store.

Clocks change twice a year in many zones. The rule, for times given on the wall clock (cron, and months and years of an
interval): a time that is skipped fires at the first instant after the gap; a time that comes twice fires the first time only.
A cron expression whose hour is ``*`` means every hour that passes, so there nothing is skipped and nothing comes twice.
"""

import calendar
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import count, takewhile
from typing import Final, assert_never
from zoneinfo import ZoneInfo

import isodate
from cronsim import CronSim, CronSimError
from isodate.duration import Duration

from taskyard.core.errors import Invalid
from taskyard.core.schedule import Timing
from taskyard.core.times import MICROSECOND

MAX_SPEC_LENGTH: Final = 200
#: Cron cannot ask for less than a minute; below a second a schedule is a loop, which belongs inside one task.
MIN_INTERVAL: Final = timedelta(seconds=1)
MAX_RUNS: Final = 1_000_000_000
CRON_FIELDS: Final = 5
#: The hours of a cron expression that mean every hour that passes, whatever the clock on the wall says.
EVERY_HOUR: Final = frozenset({"*", "*/1"})

_RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:\d\d)")
_RUNS: Final = re.compile(r"R(\d{0,10})")
_WHOLE_MONTHS: Final = re.compile(r"P(\d+Y)?(\d+M)?([^YM]*)(T.*)?")


@dataclass(frozen=True, slots=True)
class At:
    """One instant."""

    at: datetime

    @property
    def runs(self) -> int | None:
        return 1

    def instants(self, after: datetime, anchor: datetime) -> Iterator[datetime]:
        if self.at > after:
            yield self.at


@dataclass(frozen=True, slots=True)
class Interval:
    """
    Every ``months`` and ``length`` from ``start``; with no start, from the anchor that is given. There is no drift: an instant
    is counted from where the grid begins, never from when the last one was noticed.
    """

    start: datetime | None
    months: int
    length: timedelta
    runs: int | None
    zone: tzinfo

    def instants(self, after: datetime, anchor: datetime) -> Iterator[datetime]:
        begin = self.start or anchor
        for step in count(self._step_after(begin, after)):
            yield self._instant(begin, step)

    def _instant(self, begin: datetime, step: int) -> datetime:
        if not step or not self.months:
            return begin + step * self.length
        wall = begin.astimezone(self.zone).replace(tzinfo=None)
        year, month = divmod(wall.year * 12 + wall.month - 1 + step * self.months, 12)
        # The 31st of a short month is its last day; the next is counted from the start again, so it is the 31st once more.
        day = min(wall.day, calendar.monthrange(year, month + 1)[1])
        return instant_of(wall.replace(year=year, month=month + 1, day=day) + step * self.length, self.zone)

    def _step_after(self, begin: datetime, after: datetime) -> int:
        """Return the least step, from 0, whose instant is after *after*."""
        if after < begin:
            return 0
        if not self.months:
            return (after - begin) // self.length + 1
        low, high = 0, (after - begin) // (self.months * timedelta(days=28) + self.length) + 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._instant(begin, middle) > after else (middle, high)
        return high


@dataclass(frozen=True, slots=True)
class Cron:
    """The minutes that a cron expression of five fields names on the clock of a zone."""

    expression: str
    zone: tzinfo

    @property
    def runs(self) -> int | None:
        return None

    def instants(self, after: datetime, anchor: datetime) -> Iterator[datetime]:
        local = after.astimezone(self.zone)
        if self.zone is UTC or self.expression.split()[1] in EVERY_HOUR:
            for instant in CronSim(self.expression, local):
                yield instant.astimezone(UTC)
            return
        last = after
        for wall in CronSim(self.expression, local.replace(tzinfo=None)):
            instant = instant_of(wall, self.zone)
            if instant > last:  # several times within one gap fire once, together
                last = instant
                yield instant


Spec = At | Interval | Cron


def parse(timing: Timing, text: str, timezone: str = "UTC") -> Spec:
    """
    Return what *text* means.

    Raises:
        Invalid: at ``/spec`` or ``/timezone``; the message names the value and what to write instead.

    >>> parse(Timing.INTERVAL, "R3/2026-03-01T06:00:00Z/PT5M").runs
    3
    """
    zone = find_zone(timezone)
    if len(text) > MAX_SPEC_LENGTH:
        raise _bad(f"the spec has {len(text):,} characters; at most {MAX_SPEC_LENGTH} are accepted")
    match timing:
        case Timing.AT:
            return At(_parse_at(text))
        case Timing.INTERVAL:
            return _parse_interval(text, zone)
        case Timing.CRON:
            return _parse_cron(text, zone)
        case _:
            assert_never(timing)


@lru_cache(maxsize=1_000)
def find_zone(name: str) -> tzinfo:
    """Return the time zone that IANA calls *name*. Raises Invalid."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise Invalid(
            f"{name[:60]!r} is not a time zone; use a name of the IANA database, such as 'Europe/Berlin' or 'UTC'",
            pointer="/timezone",
            code="bad_timezone",
        ) from None


def _parse_at(text: str) -> datetime:
    if _RFC_3339.fullmatch(text):
        try:
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise _bad(
        f"{text!r} is not a time; write it as RFC 3339 does, with its offset, such as '2026-03-01T06:00:00Z'"
    )


def _parse_interval(text: str, zone: tzinfo) -> Interval:
    """Read ``[R<n>/][<start>/]P…``, parts in any order, the delimiter ``/`` or ``--``."""
    runs: int | None = None
    start: datetime | None = None
    duration: timedelta | Duration | None = None
    seen: set[str] = set()
    for part in re.split(r"/|--", text):
        repeat = _RUNS.fullmatch(part)
        what = "repetition" if repeat else "duration" if part.startswith(("P", "-P", "+P")) else "start"
        if what in seen:
            raise _bad_interval(text, f"the {what} stands twice")
        seen.add(what)
        if repeat:
            runs = int(repeat[1]) if repeat[1] else None
        elif what == "duration":
            duration = _parse_duration(text, part)
        else:
            start = _parse_start(text, part, zone)
    if duration is None:
        raise _bad_interval(text, "the duration is missing")
    if runs is not None and not 0 < runs <= MAX_RUNS:
        raise _bad_interval(
            text, f"{runs} runs are asked for, and 1 to {MAX_RUNS:,} can be; leave R out for no end"
        )
    months, length = _measured(text, duration)
    if months and start is None:
        raise _bad_interval(
            text, "months and years differ in length, so they need a start to be counted from"
        )
    return Interval(start, months, length, runs, zone)


def _parse_duration(text: str, part: str) -> timedelta | Duration:
    try:
        duration = isodate.parse_duration(part)
    except (isodate.ISO8601Error, ValueError, OverflowError, ArithmeticError):
        raise _bad_interval(text, f"{part!r} is not a duration") from None
    if part.endswith(("P", "T")):
        raise _bad_interval(text, f"the duration {part!r} says nothing")
    if isinstance(duration, Duration) and not _WHOLE_MONTHS.fullmatch(part):
        raise _bad_interval(text, f"{part!r} has a part of a month or year, and those can only be whole")
    assert isinstance(duration, timedelta | Duration)
    return duration


def _measured(text: str, duration: timedelta | Duration) -> tuple[int, timedelta]:
    """Return the duration as (months, length)."""
    months, length = 0, duration
    if isinstance(duration, Duration):
        months, length = int(duration.years * 12 + duration.months), duration.tdelta
    assert isinstance(length, timedelta)
    if months < 0 or length < timedelta(0) or (not months and length < MIN_INTERVAL):
        raise _bad_interval(text, "the duration is less than a second, and PT1S is the shortest")
    return months, length


def _parse_start(text: str, part: str, zone: tzinfo) -> datetime:
    try:
        start: datetime = isodate.parse_datetime(part)
        if start.tzinfo is None:
            return instant_of(start, zone)
        return start.astimezone(UTC)
    except (isodate.ISO8601Error, ValueError, OverflowError):
        raise _bad_interval(text, f"{part!r} is neither R<n>, nor a start, nor a duration") from None


def _parse_cron(text: str, zone: tzinfo) -> Cron:
    fields = text.split()
    if len(fields) != CRON_FIELDS:
        raise _bad_cron(text, f"it has {len(fields)} fields, not five")
    try:
        CronSim(text, datetime(2000, 1, 1))  # noqa: DTZ001 (a wall clock's time; only the expression is looked at)
    except (CronSimError, ValueError) as error:
        raise _bad_cron(text, f"its {_field_named(str(error))} cannot be") from None
    return Cron(" ".join(fields), zone)


def _field_named(error: str) -> str:
    return error.removeprefix("Bad ") if error.startswith("Bad ") else "number"


def instant_of(wall: datetime, zone: tzinfo) -> datetime:
    """
    Return the instant at which the clock on the wall of *zone* shows *wall*, in UTC.

    What is skipped is the first instant after the gap, what comes twice is the first of the two.

    >>> instant_of(datetime(2026, 3, 29, 2, 30), ZoneInfo("Europe/Berlin")).isoformat()
    '2026-03-29T01:00:00+00:00'
    """
    early = wall.replace(tzinfo=zone, fold=0)
    before, after = early.utcoffset(), early.replace(fold=1).utcoffset()
    assert before is not None
    assert after is not None
    wall = wall.replace(tzinfo=UTC, fold=0)
    if before >= after:
        return wall - before
    # In a gap (PEP 495). Its end is the least instant with the new offset, and lies between these two.
    low, high = wall - after, wall - before
    while high - low > MICROSECOND:
        middle = low + (high - low) // 2
        low, high = (middle, high) if middle.astimezone(zone).utcoffset() == before else (low, middle)
    return high


def _bad(detail: str) -> Invalid:
    return Invalid(detail, pointer="/spec", code="bad_spec")


def _bad_interval(text: str, why: str) -> Invalid:
    return _bad(
        f"{text!r} is not an interval: {why}; write [R<runs>/][<start>/]<duration> as ISO 8601 does, "
        "such as 'PT1H' or 'R3/2026-03-01T06:00:00Z/P1D'"
    )


def _bad_cron(text: str, why: str) -> Invalid:
    return _bad(
        f"{text!r} is not a cron expression: {why}; write minute, hour, day of month, month and day of week, "
        "such as '30 2 * * *' for half past two each night"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """
    The instants of a spec within bounds, both included.

    ``anchor`` is where an interval without a start begins.
    """

    spec: Spec
    anchor: datetime
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    def first(self, since: datetime) -> datetime | None:
        """Return the first instant at or after *since*; None when there is none."""
        return next(self._from(since), None)

    def after(self, moment: datetime) -> datetime | None:
        return self.first(moment + MICROSECOND)

    def newest(self, since: datetime, until: datetime, most: int) -> tuple[list[datetime], bool]:
        """
        Return the last *most* instants from *since* to *until*, both included, oldest first; and whether there were more.

        However long the time between, it looks at a small multiple of *most* instants.
        """
        window = timedelta(minutes=1)
        while True:
            begin = max(since, until - window) if until - since > window else since
            found = deque(takewhile(lambda instant: instant <= until, self._from(begin)), maxlen=most + 1)
            if begin == since or len(found) > most:
                return list(found)[-most:], len(found) > most
            window *= 4

    def _from(self, since: datetime) -> Iterator[datetime]:
        if self.starts_at is not None:
            since = max(since, self.starts_at)
        try:
            for instant in self.spec.instants(since - MICROSECOND, self.anchor):
                if self.ends_at is not None and instant > self.ends_at:
                    return
                yield instant
        except (OverflowError, ValueError):
            return  # past the year 9999
