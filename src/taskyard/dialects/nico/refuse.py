"""Refusals in this wire's words: ``{"source", "message", "data"}``, always all three."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from starlette.requests import Request
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
from taskyard.http.dialect import MethodNotAllowed, NoSuchPath, Unexpected

PARSE_FAILED: Final = "Failed to parse request data"
NO_ROLE: Final = "User does not have Provider Admin role with org"


class Said(TaskyardError):
    """A refusal whose status and words the wire fixes. ``data`` says what is wrong with each member of the request."""

    code = "refused"

    def __init__(self, status: int, message: str, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status, self.data = status, data


#: The first that fits counts. A message of None is the refusal's own sentence.
_ANSWERS: Final[tuple[tuple[type[TaskyardError], int, str | None], ...]] = (
    (NoSuchPath, 404, "The requested path could not be found"),
    (MethodNotAllowed, 405, "Method Not Allowed"),
    (Unauthenticated, 401, None),
    (Forbidden, 403, NO_ROLE),
    (Invalid, 400, None),
    (TooLarge, 413, None),
    (WrongState, 409, None),
    (Conflict, 409, None),
    (LeaseLost, 409, None),
    (LimitReached, 429, None),
    (Unavailable, 503, None),
    (Unexpected, 500, None),
)


def refuse(api: str, request: Request, refusal: TaskyardError) -> Response:
    """Answer *refusal* as the API called *api* does."""
    if isinstance(refusal, Said):
        return _body(api, refusal.status, str(refusal), refusal.data)
    for kind, status, message in _ANSWERS:
        if isinstance(refusal, kind):
            return _body(api, status, message or str(refusal), None)
    if isinstance(refusal, NotFound):
        return _body(api, 404, f"{refusal.noun[:1].upper()}{refusal.noun[1:]} not found", None)
    return _body(api, 500, str(refusal), None)


def _body(api: str, status: int, message: str, data: Mapping[str, Any] | None) -> Response:
    body = {"source": api, "message": message, "data": data}
    return Response(msgspec.json.encode(body), status_code=status, media_type="application/json")
