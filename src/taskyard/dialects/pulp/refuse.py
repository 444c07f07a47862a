"""Refusals in this wire's words: a bare JSON string; who may not is 401, as there is no 403 (contract, sections 1.8 and 1.9)."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from taskyard.core.errors import Forbidden, Invalid, NotFound, TaskyardError, TooLarge
from taskyard.http.dialect import NoSuchPath, Unexpected
from taskyard.http.refusal import status_of


def refuse(request: Request, refusal: TaskyardError) -> Response:
    return Response(
        msgspec.json.encode(_words(refusal)), status_code=_status(refusal), media_type="application/json"
    )


def _status(refusal: TaskyardError) -> int:
    if isinstance(refusal, Forbidden):
        return 401
    if isinstance(refusal, Invalid | TooLarge):
        return 413 if isinstance(refusal, TooLarge) else 400
    return status_of(refusal)


def _words(refusal: TaskyardError) -> str:
    if isinstance(refusal, Forbidden):
        return "Permission Denied"
    if isinstance(refusal, NoSuchPath):
        return "not found"
    if isinstance(refusal, NotFound):
        return _missing(refusal)
    if isinstance(refusal, Unexpected):
        # The original client splits what begins so at its last newline, and shows only what comes after.
        return f"Traceback: withheld\nInternal error {refusal.reference}"
    return str(refusal)


def _missing(refusal: NotFound) -> str:
    match refusal.noun:
        case "job":
            return f"job {refusal.name}, not-found"
        case "snapshot":
            return f"Snapshot for task not found: {refusal.name}"
        case _:
            return f"Task not found: {refusal.name}"
