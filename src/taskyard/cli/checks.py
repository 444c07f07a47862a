"""A check: one thing that was looked at, and what to do about it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """``remedy`` says what to do when it is not ``fine``."""

    name: str
    fine: bool
    detail: str
    remedy: str | None = None
