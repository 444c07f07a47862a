"""Refusals in this wire's words: ``{"error", "message", "params"?}``, an object always (contract, section 6)."""

from collections.abc import Mapping, Sequence
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
from taskyard.http.dialect import MethodNotAllowed
from taskyard.http.refusal import status_of

BAD_BODY: Final = "invalid-body"
BAD_PARAMETER: Final = "invalid-parameter"
#: What an Invalid of the services says that has a word of its own here.
_OWN_WORDS: Final[Mapping[str, str]] = {
    "bad_json": BAD_BODY,
    "too_deep": BAD_BODY,
    "bad_number": BAD_BODY,
    "unconfigured": "unconfigured",
    "session_expired": "session-expired",
}
#: The first that fits counts.
_WORDS: Final[tuple[tuple[type[TaskyardError], str], ...]] = (
    (MethodNotAllowed, "method-not-allowed"),
    (Unauthenticated, "unauthorised"),
    (Forbidden, "missing-scope"),
    (NotFound, "not-found"),
    (TooLarge, "too-large"),
    (WrongState, "wrong-state"),
    (LeaseLost, "wrong-state"),
    (Conflict, "conflict"),
    (LimitReached, "rate-limited"),
    (Unavailable, "unavailable"),
)


class Bad(Invalid):
    """A parameter of the body, the query or a header that cannot be."""

    def __init__(self, name: str, sentence: str) -> None:
        super().__init__(f"{name}: {sentence}", pointer=f"/{name}", code="bad_value")
        self.params = {name: [sentence]}


def refuse(request: Request, refusal: TaskyardError) -> Response:
    if isinstance(refusal, Invalid):
        word = _OWN_WORDS.get(refusal.code, BAD_PARAMETER)
        params = _params(refusal) if word == BAD_PARAMETER else None
        return _body(400, word, str(refusal), params)
    word = next((word for kind, word in _WORDS if isinstance(refusal, kind)), "internal-error")
    return _body(status_of(refusal), word, str(refusal))


def _params(refusal: Invalid) -> dict[str, list[str]]:
    """Return what is wrong by the name of the member it is wrong with."""
    if isinstance(refusal, Bad):
        return refusal.params
    params: dict[str, list[str]] = {}
    for fault in refusal.faults:
        name = fault.pointer.strip("/?").split("/")[0]
        if name:
            params.setdefault(name, []).append(fault.detail)
    return params


def _body(
    status: int, word: str, message: str, params: Mapping[str, Sequence[str]] | None = None
) -> Response:
    body: dict[str, Any] = {"error": word, "message": message}
    if params:
        body["params"] = params
    headers = {"WWW-Authenticate": "Token"} if status == 401 else {}
    return Response(msgspec.json.encode(body), status, headers, media_type="application/json")
