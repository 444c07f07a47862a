"""How long to wait before trying again."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

BASE: Final = timedelta(seconds=2)
#: Long enough for an outage of a night's length to be outlived by a handful of tries, short enough to be noticed.
CAP: Final = timedelta(hours=1)
JITTER: Final = 0.1


def retry_delay(
    failures: int, *, jitter: Callable[[], float], base: timedelta = BASE, cap: timedelta = CAP
) -> timedelta:
    """
    Return how long to wait after the *failures*-th failure: 2 s, 4 s, 8 s, … up to an hour.

    Args:
        failures: How many attempts have failed, counted from 1.
        jitter: Returns a number in [0, 1); up to a tenth is added, so that tasks that failed together do
            not all come back together.

    Raises:
        ValueError: *failures* is less than 1.

    >>> retry_delay(3, jitter=lambda: 0.0)
    datetime.timedelta(seconds=8)
    """
    if failures < 1:
        raise ValueError(f"failures counts from 1, not {failures}")
    doublings: int = 2 ** min(
        failures - 1, 40
    )  # 2**40 × any base is past any cap; more would only grow the number
    delay = min(base * doublings, cap)
    return delay + delay * JITTER * jitter()
