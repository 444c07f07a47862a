"""Refusals in this wire's envelope (contract, section 1)."""

from collections.abc import Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from taskyard.core.errors import Forbidden, Invalid, NotFound, TaskyardError, Unauthenticated
from taskyard.http.dialect import MethodNotAllowed, Unexpected
from taskyard.http.refusal import status_of


class Said(TaskyardError):
    """A refusal in the wire's own words. ``field`` names the member it concerns, if one."""

    code = "said"

    def __init__(self, status: int, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.status, self.field = status, field


def refuse(request: Request, refusal: TaskyardError) -> Response:
    status, errors = _told(request, refusal)
    headers = {"Vary": "Accept, Origin", "X-Frame-Options": "SAMEORIGIN"}
    if status == 401:
        headers["WWW-Authenticate"] = "Token"
    body = msgspec.json.encode({"status_code": status, "errors": errors})
    return Response(body, status, headers, media_type="application/json")


def _told(request: Request, refusal: TaskyardError) -> tuple[int, Sequence[dict[str, str]]]:
    match refusal:
        case Said():
            message = {"message": str(refusal)}
            return refusal.status, [message if refusal.field is None else {"field": refusal.field, **message}]
        case Invalid():
            return 400, [{"field": "data", "message": str(refusal)}]
        case Unauthenticated():
            return 401, [{"message": str(refusal)}]
        case Forbidden():
            return 403, [{"message": "You do not have permission to perform this action."}]
        case NotFound():
            return 404, [{"message": "Not found."}]
        case MethodNotAllowed():
            return 405, [{"message": f'Method "{request.method}" not allowed.'}]
        case Unexpected():
            return 500, [{"message": f"Server error; the log has it under {refusal.reference}"}]
        case _:
            return status_of(refusal), [{"message": str(refusal)}]
