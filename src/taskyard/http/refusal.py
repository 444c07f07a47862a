"""What every wire says of a refusal whatever its body: the status, and when to come back."""

import math
from collections.abc import Sequence
from typing import Final

from starlette.responses import Response

from taskyard.core.errors import (
    Conflict,
    Forbidden,
    Invalid,
    LeaseLost,
    LimitReached,
    NotFound,
    TaskyardError,
    TooLarge,
    Unauthenticated,
    Unavailable,
    WrongState,
)


class NoSuchPath(NotFound):
    """No endpoint lies at this path."""

    code = "no_such_path"

    def __init__(self, path: str) -> None:
        super().__init__("resource at", path)


class MethodNotAllowed(TaskyardError):
    """The path is right, the method is not."""

    code = "method_not_allowed"

    def __init__(self, method: str, allowed: Sequence[str]) -> None:
        super().__init__(
            f"{method} is not answered here; {' and '.join(allowed)} {'is' if len(allowed) == 1 else 'are'}"
        )
        self.method, self.allowed = method, tuple(allowed)


class Unexpected(TaskyardError):
    """A fault of ours: the dialect answers 500 in its own words, and the log has the traceback under the reference."""

    code = "internal"

    def __init__(self, reference: str) -> None:
        super().__init__(f"something went wrong here; the log has it under {reference}")
        self.reference = reference


class Malformed(Invalid):
    """The request cannot even be read: its JSON, its query, its headers."""


class Changed(Conflict):
    """What ``If-Match`` names is no longer what there is."""

    def __init__(self) -> None:
        super().__init__("it has changed since you read it; read it again and decide anew", code="changed")


#: The status of each kind of refusal; the first that fits counts.
STATUS: Final[tuple[tuple[type[TaskyardError], int], ...]] = (
    (Malformed, 400),
    (Invalid, 422),
    (TooLarge, 413),
    (Unauthenticated, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (MethodNotAllowed, 405),
    (Changed, 412),
    (Conflict, 409),
    (WrongState, 409),
    (LeaseLost, 409),
    (LimitReached, 429),
    (Unavailable, 503),
)


def status_of(refusal: TaskyardError) -> int:
    return next((status for kind, status in STATUS if isinstance(refusal, kind)), 500)


def finish(response: Response, refusal: TaskyardError) -> Response:
    """Add the headers that a refusal has on every wire, where the dialect has not set them itself."""
    if isinstance(refusal, LimitReached | Unavailable):
        seconds = max(1, math.ceil(refusal.retry_after.total_seconds()))
        response.headers.setdefault("Retry-After", str(seconds))
        if isinstance(refusal, LimitReached):
            response.headers.setdefault("RateLimit", f'"default";r=0;t={seconds}')
    if isinstance(refusal, MethodNotAllowed):
        response.headers.setdefault("Allow", ", ".join(refusal.allowed))
    if isinstance(refusal, TooLarge):
        response.headers.setdefault("Connection", "close")  # the rest of the body is not read
    return response
