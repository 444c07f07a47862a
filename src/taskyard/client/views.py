"""
The server's nouns, as a client sees them.

Times are aware datetimes, spans are seconds and say so. What a newer server adds is kept in ``raw``, which is the JSON as it came.
"""

from datetime import datetime
from typing import Any, TypeVar

import msgspec

from taskyard.core.task import OPEN

Seen = TypeVar("Seen", bound="View")


class View(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Base of all views."""

    @property
    def raw(self) -> dict[str, Any]:
        """The JSON object this was read from."""
        raw: dict[str, Any] = self.__dict__["raw"]
        return raw

    @classmethod
    def of(cls: type[Seen], raw: Any) -> Seen:
        """Read *raw*, JSON that is already decoded. Raises msgspec.ValidationError."""
        view = msgspec.convert(raw, cls)
        view.__dict__["raw"] = raw
        return view


class ErrorView(msgspec.Struct, frozen=True, kw_only=True):
    code: str = "error"
    message: str = ""
    traceback: str | None = None


class TaskView(View, frozen=True, kw_only=True):
    """
    A task as it was when it was read. Lists leave out ``input``, ``output``, ``report`` and the traceback unless
    they are asked to ``expand`` them.
    """

    id: str
    number: int
    type: str
    queue: str
    state: str
    organisation: str = ""
    reason: str | None = None
    priority: int = 0
    target: str | None = None
    input: Any = None
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    key: str | None = None
    concurrency_key: str | None = None
    concurrency_limit: int = 1
    weight: int = 1
    run_at: datetime | None = None
    wake_at: datetime | None = None
    start_by: datetime | None = None
    created_at: datetime
    started_at: datetime | None = None
    attempted_at: datetime | None = None
    finished_at: datetime | None = None
    updated_at: datetime | None = None
    claims: int = 0
    failures: int = 0
    losses: int = 0
    max_failures: int = 0
    timeout_seconds: float | None = msgspec.field(default=None, name="timeout")
    holder: str | None = None
    lease_until: datetime | None = None
    progress: Any = None
    message: str | None = None
    output: Any = None
    error: ErrorView | None = None
    parent: str | None = None
    schedule: str | None = None
    rule: str | None = None
    retry_of: str | None = None
    report: Any = None
    actor: str = ""
    origin: str = "native"
    trace: str | None = None
    cancel_requested_at: datetime | None = None
    allowed_actions: list[str] = msgspec.field(default_factory=list)

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    @property
    def succeeded(self) -> bool:
        return self.state == "succeeded"


class ResultView(View, frozen=True, kw_only=True):
    id: str
    name: str
    value: Any = None
    attempt: int = 0
    created_at: datetime | None = None


class StepView(View, frozen=True, kw_only=True):
    name: str
    attempt: int = 0
    output: Any = None
    created_at: datetime | None = None


class LogView(View, frozen=True, kw_only=True):
    attempt: int
    text: str
    updated_at: datetime | None = None


class EventView(View, frozen=True, kw_only=True):
    """``id`` is the cursor: what comes after this event is asked for with it."""

    id: str
    at: datetime
    kind: str
    subject: str
    queue: str | None = None
    type: str | None = None
    data: Any = None


class RateView(msgspec.Struct, frozen=True, kw_only=True):
    count: int
    period_seconds: float = msgspec.field(name="period")


class QueueView(View, frozen=True, kw_only=True):
    name: str
    title: str | None = None
    kind: str = "machine"
    paused: bool = False
    concurrency: int | None = None
    rate: RateView | None = None
    lease_seconds: float | None = msgspec.field(default=None, name="lease")
    max_failures: int = 0
    retention_seconds: float | None = msgspec.field(default=None, name="retention")
    form: Any = None
    settings: Any = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    counts: dict[str, int] = msgspec.field(default_factory=dict)


class ScheduleView(View, frozen=True, kw_only=True):
    id: str
    name: str
    timing: str
    spec: str
    timezone: str = "UTC"
    task: dict[str, Any] = msgspec.field(default_factory=dict)
    catch_up: str = "one"
    overlap: str = "skip"
    paused: bool = False
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    runs_left: int | None = None
    failure_threshold: int | None = None
    next_at: datetime | None = None
    last_at: datetime | None = None


class FiringView(View, frozen=True, kw_only=True):
    fire_at: datetime
    task: str | None = None
    outcome: str = ""
    created_at: datetime | None = None


class HookView(View, frozen=True, kw_only=True):
    """``secret`` is there once, in the answer to the call that made it."""

    id: str
    url: str
    events: list[str] = msgspec.field(default_factory=list)
    queue: str | None = None
    type: str | None = None
    wire: str = "standard"
    enabled: bool = True
    reason: str | None = None
    secret: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class DeliveryView(View, frozen=True, kw_only=True):
    """``status``, ``error`` and ``took_seconds`` are of the last attempt."""

    id: str
    hook: str = ""
    state: str
    kind: str
    subject: str = ""
    queue: str | None = None
    type: str | None = None
    data: Any = None
    at: datetime | None = None
    attempts: int = 0
    next_at: datetime | None = None
    sent_at: datetime | None = None
    status: int | None = None
    error: str | None = None
    took_seconds: float | None = msgspec.field(default=None, name="took")
    finished_at: datetime | None = None
    created_at: datetime | None = None


class WorkerView(View, frozen=True, kw_only=True):
    id: str
    name: str = ""
    state: str = "active"
    slots: int = 0
    version: str = ""
    lanes: list[dict[str, str]] = msgspec.field(default_factory=list)
    started_at: datetime | None = None
    seen_at: datetime | None = None
    lease_until: datetime | None = None


class KeyView(View, frozen=True, kw_only=True):
    """``secret`` is there once, in the answer to the call that made the key."""

    id: str
    name: str = ""
    permissions: list[str] = msgspec.field(default_factory=list)
    secret: str | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class UserView(View, frozen=True, kw_only=True):
    number: int
    login: str
    name: str = ""
    role: str = ""
    disabled: bool = False
    created_at: datetime | None = None
