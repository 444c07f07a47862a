"""Everything Taskyard may refuse, and why.

    TaskyardError
    ├── Invalid            the request says something that cannot be
    ├── TooLarge           a payload exceeds its limit
    ├── Unauthenticated    nobody we know is asking
    ├── Forbidden          somebody we know is asking for what is not theirs to do
    ├── NotFound           there is no such task, queue, schedule …
    ├── Conflict           the thing exists already, or has changed meanwhile
    ├── WrongState         the move cannot be made from the task's state
    ├── LeaseLost          the attempt is no longer the holder's
    ├── LimitReached       too much at once; come back later
    ├── TaskFailed         the task whose output was asked for did not succeed
    ├── StillOpen          the task did not end in the time given
    └── Unavailable        the store cannot answer now; nothing was acknowledged
        └── Broken         the store failed in a way that only a restart may heal

Services raise these, faces translate each once, nobody in between catches them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any


class TaskyardError(Exception):
    """Base of all refusals; ``code`` is a stable word for programs, ``str(error)`` a sentence for people."""

    code = "error"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a request: where (a JSON pointer, RFC 6901), what, and what to do."""

    pointer: str
    code: str
    detail: str


class Invalid(TaskyardError):
    code = "invalid"

    def __init__(
        self, detail: str, *, pointer: str = "", code: str = "invalid", faults: Sequence[Fault] = ()
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.faults = tuple(faults) or (Fault(pointer, code, detail),)


class TooLarge(TaskyardError):
    code = "too_large"

    def __init__(self, what: str, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(f"{what} has {size_bytes:,} bytes; at most {limit_bytes:,} are accepted")
        self.size_bytes, self.limit_bytes = size_bytes, limit_bytes


class Unauthenticated(TaskyardError):
    code = "unauthenticated"


class Forbidden(TaskyardError):
    code = "forbidden"

    def __init__(self, permission: str) -> None:
        super().__init__(f"this needs the permission {permission!r}, which your key or role does not have")
        self.permission = permission


class NotFound(TaskyardError):
    code = "not_found"

    def __init__(self, noun: str, name: object) -> None:
        super().__init__(f"there is no {noun} {name}")
        self.noun, self.name = noun, name


class Conflict(TaskyardError):
    code = "conflict"

    def __init__(self, detail: str, *, code: str = "conflict", existing: str | None = None) -> None:
        super().__init__(detail)
        self.code, self.existing = code, existing


class WrongState(TaskyardError):
    code = "wrong_state"

    def __init__(self, task_id: str, state: str, action: str, allowed: Sequence[str]) -> None:
        may = f"; it can: {', '.join(allowed)}" if allowed else ""
        super().__init__(f"task {task_id} is {state} and cannot {action}{may}")
        self.task_id, self.state, self.action, self.allowed = task_id, state, action, tuple(allowed)


class LeaseLost(TaskyardError):
    code = "lease_lost"

    def __init__(self, task_id: str, attempt: int) -> None:
        super().__init__(f"attempt {attempt} of task {task_id} is no longer yours")
        self.task_id, self.attempt = task_id, attempt


class LimitReached(TaskyardError):
    code = "limit_reached"

    def __init__(self, detail: str, retry_after: timedelta) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class TaskFailed(TaskyardError):
    """``task`` is the task as it ended."""

    code = "task_failed"

    def __init__(self, task_id: str, state: str, message: str | None, task: Any) -> None:
        super().__init__(f"task {task_id} {state}" + (f": {message}" if message else ""))
        self.task = task


class StillOpen(TaskyardError):
    """``task`` is the task as it was when the time was up."""

    code = "still_open"

    def __init__(self, task_id: str, state: str, task: Any) -> None:
        super().__init__(f"task {task_id} is still {state}")
        self.task = task


class Unavailable(TaskyardError):
    code = "unavailable"

    def __init__(self, detail: str, *, retry_after: timedelta = timedelta(seconds=1)) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class Broken(Unavailable):
    code = "broken"
