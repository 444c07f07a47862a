"""Refusals as problem documents (RFC 9457), each with a code for programs and a sentence for people."""

from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from taskyard.core.errors import Conflict, Fault, Invalid, TaskyardError, Unauthenticated, WrongState
from taskyard.http.dialect import request_id
from taskyard.http.refusal import status_of

_encode: Final = msgspec.json.Encoder().encode


class ProblemFault(msgspec.Struct, frozen=True):
    """One thing that is wrong with a request. ``pointer`` is a JSON pointer into the body, or ``?name`` of the query."""

    pointer: str
    code: str
    detail: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was refused, and why. ``code`` is stable; ``detail`` is for people and may change."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str
    errors: list[ProblemFault] = msgspec.field(default_factory=list)
    allowed_actions: list[str] | None = None
    existing: str | None = None


def problem_of(request: Request, refusal: TaskyardError, *, below: str = "") -> Problem:
    """
    Return *refusal* as a problem document.

    Args:
        below: Where in the body it happened, as a JSON pointer: one refusal among the answers to many.
    """
    status = status_of(refusal)
    faults: tuple[Fault, ...] = refusal.faults if isinstance(refusal, Invalid) else ()
    return Problem(
        type=f"urn:taskyard:problem:{refusal.code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=str(refusal),
        instance=request.url.path[:500],
        code=refusal.code,
        request_id=request_id(request),
        errors=[ProblemFault(_placed(each.pointer, below), each.code, each.detail) for each in faults],
        allowed_actions=list(refusal.allowed) if isinstance(refusal, WrongState) else None,
        existing=refusal.existing if isinstance(refusal, Conflict) else None,
    )


def _placed(pointer: str, below: str) -> str:
    return pointer if pointer.startswith("?") else below + pointer


def refuse(request: Request, refusal: TaskyardError) -> Response:
    problem = problem_of(request, refusal)
    headers: dict[str, str] = {}
    if isinstance(refusal, Unauthenticated):
        headers["WWW-Authenticate"] = 'Bearer realm="taskyard"'
    return Response(_encode(problem), problem.status, headers, media_type="application/problem+json")


def refused_one(request: Request, refusal: Exception, below: str) -> dict[str, Any]:
    """Return what stands in the place of one answer among many. Raises what is no refusal."""
    if not isinstance(refusal, TaskyardError):
        raise refusal
    return {"problem": problem_of(request, refusal, below=below)}
