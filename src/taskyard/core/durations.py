"""Lengths of time as text: ``90s``, ``1h30m``, ``500ms``; what rules are written in, and what operators know from Go programs."""

import re
from datetime import timedelta
from typing import Final

_MICROSECONDS: Final = {
    "ns": 0.001,
    "us": 1,
    "µs": 1,  # the micro sign
    "μs": 1,  # the Greek letter, which keyboards give as well
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
}
_PART: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
#: Longer than any work on hardware, and far within what a timedelta holds.
LONGEST: Final = timedelta(days=366)


def parse_duration(text: str) -> timedelta:
    """
    Return the length that *text* names: numbers, each with its unit (ns, us, ms, s, m, h); ``0`` needs none.

    Raises:
        ValueError: it is not a length, or longer than a year.

    >>> parse_duration("1h30m")
    datetime.timedelta(seconds=5400)
    >>> parse_duration("1.5s")
    datetime.timedelta(seconds=1, microseconds=500000)
    """
    bare = text.removeprefix("-").removeprefix("+") if len(text) < 100 else ""
    sign = -1 if text.startswith("-") else 1
    if bare == "0":
        return timedelta(0)
    parts = _PART.findall(bare)
    if not parts or "".join(number + unit for number, unit in parts) != bare:
        raise ValueError(f"{text[:40]!r} is not a length of time; write it like 30s, 15m or 1h30m")
    micros = sum(float(number) * _MICROSECONDS[unit] for number, unit in parts)
    if micros > LONGEST / timedelta(microseconds=1):
        raise ValueError(f"{text[:40]!r} is longer than {LONGEST.days} days")
    return sign * timedelta(microseconds=round(micros))


def format_duration(length: timedelta) -> str:
    """
    Return *length* as text, always the same for the same length.

    >>> format_duration(timedelta(minutes=15)), format_duration(timedelta(0)), format_duration(timedelta(milliseconds=500))
    ('15m0s', '0s', '500ms')
    """
    if length < timedelta(0):
        return "-" + format_duration(-length)
    micros = length // timedelta(microseconds=1)
    if micros == 0:
        return "0s"
    if micros < 1_000:
        return f"{micros}µs"
    if micros < 1_000_000:
        return f"{_decimal(micros, 1_000)}ms"
    hours, rest = divmod(micros, 3_600_000_000)
    minutes, rest = divmod(rest, 60_000_000)
    seconds = _decimal(rest, 1_000_000)
    if hours:
        return f"{hours}h{minutes}m{seconds}s"
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"


def _decimal(number: int, unit: int) -> str:
    whole, part = divmod(number, unit)
    if not part:
        return str(whole)
    digits = len(str(unit)) - 1
    return f"{whole}.{part:0{digits}d}".rstrip("0")
