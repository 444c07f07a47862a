"""
What a server refused, as the errors of the core; and what only a client can meet.

    TaskyardError
    ├── …              what the server refused: core/errors.py
    ├── Unavailable
    │   └── Unreachable   nobody answers at the URL
    ├── ServerFault    the server failed in a way it does not explain
    └── Refused        refused for a reason this client does not know
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, TypeVar

import msgspec

from taskyard.client.flow import Answer
from taskyard.core.errors import (
    Conflict,
    Fault,
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

Kind = TypeVar("Kind", bound=TaskyardError)


class Unreachable(Unavailable):
    """``unsent`` says that the request cannot have arrived."""

    code = "unreachable"

    def __init__(self, url: str, why: str, *, unsent: bool = False) -> None:
        super().__init__(f"no answer from {url}: {why}")
        self.url, self.unsent = url, unsent


class ServerFault(TaskyardError):
    code = "internal"


class Refused(TaskyardError):
    code = "refused"

    def __init__(self, detail: str, *, code: str, status: int) -> None:
        super().__init__(detail)
        self.code, self.status = code, status


def error_of(answer: Answer) -> TaskyardError:
    """Return the error that an answer of 400 or more tells of."""
    try:
        problem = msgspec.json.decode(answer.body, type=dict[str, Any])
    except msgspec.DecodeError:
        problem = {}
    return problem_error({"status": answer.status, **problem}, retry_after(answer))


def problem_error(problem: Mapping[str, Any], retry_after: timedelta | None = None) -> TaskyardError:
    """Return a problem document (RFC 9457) as the error it was before it went over the wire."""
    status = int(problem.get("status") or 500)
    detail = str(problem.get("detail") or problem.get("title") or f"the server answered {status}")
    code = str(problem.get("code") or "")
    make = _BY_CODE.get(code) or _BY_STATUS.get(status)
    if make is not None:
        error = make(detail, code, problem)
    elif status >= 500:
        error = ServerFault(detail)
    else:
        error = Refused(detail, code=code or "refused", status=status)
    if isinstance(error, LimitReached | Unavailable) and retry_after is not None:
        error.retry_after = retry_after
    if problem.get("request_id"):
        error.add_note(f"request {problem['request_id']}")
    return error


def retry_after(answer: Answer) -> timedelta | None:
    """Return what ``Retry-After`` says in seconds; dates, which Taskyard never sends, are not read."""
    text = answer.headers.get("retry-after", "")
    return timedelta(seconds=int(text)) if text.isdigit() else None


def _said(kind: type[Kind], detail: str, **members: Any) -> Kind:
    """Return an error of *kind* with the sentence that the server built; these kinds else build their own."""
    error = kind.__new__(kind, detail)
    for name, value in members.items():
        setattr(error, name, value)
    return error


def _invalid(detail: str, code: str, problem: Mapping[str, Any]) -> TaskyardError:
    faults = [
        Fault(str(each.get("pointer", "")), str(each.get("code", "invalid")), str(each.get("detail", detail)))
        for each in problem.get("errors") or ()
    ]
    return Invalid(detail, code=code or "invalid", faults=faults)


def _not_found(detail: str, code: str, problem: Mapping[str, Any]) -> TaskyardError:
    return _said(NotFound, detail, noun="", name=problem.get("instance", ""), code=code or NotFound.code)


def _conflict(detail: str, code: str, problem: Mapping[str, Any]) -> TaskyardError:
    return Conflict(detail, code=code or "conflict", existing=problem.get("existing"))


def _wrong_state(detail: str, code: str, problem: Mapping[str, Any]) -> TaskyardError:
    allowed = tuple(problem.get("allowed_actions") or ())
    return _said(WrongState, detail, task_id="", state="", action="", allowed=allowed)


def _limit(detail: str, code: str, problem: Mapping[str, Any]) -> TaskyardError:
    return LimitReached(detail, timedelta(seconds=1))


_Make = Callable[[str, str, Mapping[str, Any]], TaskyardError]

_BY_CODE: Final[Mapping[str, _Make]] = {
    "wrong_state": _wrong_state,
    "lease_lost": lambda detail, code, problem: _said(LeaseLost, detail, task_id="", attempt=0),
    "limit_reached": _limit,
}
_BY_STATUS: Final[Mapping[int, _Make]] = {
    400: _invalid,
    401: lambda detail, code, problem: Unauthenticated(detail),
    403: lambda detail, code, problem: _said(Forbidden, detail, permission=""),
    404: _not_found,
    409: _conflict,
    412: _conflict,
    413: lambda detail, code, problem: _said(TooLarge, detail, size_bytes=0, limit_bytes=0),
    422: _invalid,
    429: _limit,
    503: lambda detail, code, problem: Unavailable(detail),
    502: lambda detail, code, problem: Unavailable(detail),
    504: lambda detail, code, problem: Unavailable(detail),
}
