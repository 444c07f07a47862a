"""Refusals in this wire's words."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from taskyard.core.errors import TaskyardError
from taskyard.http.refusal import status_of


def refuse(request: Request, refusal: TaskyardError) -> Response:
    body = msgspec.json.encode({"oops": str(refusal)})
    return Response(body, status_of(refusal), media_type="application/json")
