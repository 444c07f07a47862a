"""The worker protocol: what a worker on another machine says (its lease, its claims, its attempts and their ends)."""

from datetime import timedelta
from typing import Annotated, Any, Final, Literal, assert_never

import msgspec

from taskyard.core.actor import Actor, Permission
from taskyard.core.errors import Invalid
from taskyard.core.hold import Hold, Report, Settlement
from taskyard.core.limits import MAX_BATCH, MAX_BLOCKERS
from taskyard.core.outcome import Done, Failed, Later, Outcome, Released, Stopped, Waits
from taskyard.core.worker import LEASE, Lane
from taskyard.dialects.native.parse.tasks import NewTaskBody, Wait
from taskyard.dialects.native.parse.words import Body, Moment, Name, Number, Seconds
from taskyard.http.bodies import instant, length

MAX_LANES: Final = 1_000
MAX_SLOTS: Final = 10_000
#: A worker that is silent for longer is not to be waited for; shorter leases are lost to a slow network.
MIN_LEASE: Final = timedelta(seconds=1)
MAX_LEASE: Final = timedelta(hours=1)

WorkerId = Annotated[str, msgspec.Meta(description="Fresh for every start of a worker: a UUID.")]


class LaneBody(Body, frozen=True, kw_only=True):
    queue: Name
    type: Name


Lanes = Annotated[list[LaneBody], msgspec.Meta(min_length=1, max_length=MAX_LANES)]


def lanes(given: list[LaneBody]) -> list[Lane]:
    return [Lane(each.queue, each.type) for each in given]


def lease(seconds: float, pointer: str = "/lease") -> timedelta:
    """Raises Invalid when a worker's lease cannot be so short or so long."""
    span = length(seconds, pointer)
    if not MIN_LEASE <= span <= MAX_LEASE:
        raise Invalid(
            f"a worker's lease is from {MIN_LEASE.seconds} s to {MAX_LEASE.seconds} s, not {seconds:g} s",
            pointer=pointer,
            code="out_of_range",
        )
    return span


class RegisterBody(Body, frozen=True, kw_only=True):
    worker: WorkerId | None = None
    name: str
    lanes: Lanes
    slots: Annotated[int, msgspec.Meta(ge=1, le=MAX_SLOTS)] = 1
    lease: Seconds = LEASE.total_seconds()
    version: str = ""


class AcquireBody(Body, frozen=True, kw_only=True):
    worker: WorkerId
    lanes: Lanes
    max: Annotated[int, msgspec.Meta(ge=1, le=MAX_BATCH)] = 1
    wait: Wait = 0.0


class BeatBody(Body, frozen=True, kw_only=True):
    worker: WorkerId
    lease: Seconds = LEASE.total_seconds()
    draining: bool = False


class LeaveBody(Body, frozen=True, kw_only=True):
    worker: WorkerId


class HoldBody(Body, frozen=True, kw_only=True):
    """One attempt: the task, the number of its claim, and the worker that holds it. What does not stand any more is refused."""

    id: str
    number: Number
    claims: Number
    worker: WorkerId

    def hold(self, actor: Actor) -> Hold:
        """Raises Forbidden: what a holder does is for those who may work, whatever they know of the attempt."""
        actor.require(Permission.WORK)
        return Hold(actor.organisation, self.number, self.id, self.claims, f"worker:{self.worker}")


class OutcomeBody(Body, frozen=True, kw_only=True):
    """How an attempt ended. Each kind reads its own members: `done` output; `failed` message, code, final, traceback, after;
    `later` delay; `waits` tasks, events, until; `stopped` and `released` message."""

    kind: Literal["done", "failed", "later", "waits", "stopped", "released"]
    output: Any = None
    message: str | None = None
    code: str = "error"
    final: bool = False
    traceback: str | None = None
    after: float | None = None
    delay: float = 0.0
    tasks: list[str] = msgspec.field(default_factory=list)
    events: list[str] = msgspec.field(default_factory=list)
    until: Moment | None = None

    def outcome(self, pointer: str) -> Outcome:
        """Raises Invalid."""
        match self.kind:
            case "done":
                return Done(self.output)
            case "failed":
                after = None if self.after is None else length(self.after, f"{pointer}/after")
                return Failed(self.message or "", self.code, self.final, self.traceback, after)
            case "later":
                return Later(length(self.delay, f"{pointer}/delay"))
            case "waits":
                until = None if self.until is None else instant(self.until, f"{pointer}/until")
                return Waits(tuple(self.tasks), tuple(self.events), until)
            case "stopped":
                return Stopped(self.message)
            case "released":
                return Released(self.message)
            case _:
                assert_never(self.kind)


class SettlementBody(HoldBody, frozen=True, kw_only=True):
    outcome: OutcomeBody
    log: str | None = None

    def settlement(self, actor: Actor, pointer: str) -> Settlement:
        return Settlement(self.hold(actor), self.outcome.outcome(f"{pointer}/outcome"), self.log)


class SettleBody(Body, frozen=True, kw_only=True):
    settlements: Annotated[list[SettlementBody], msgspec.Meta(max_length=MAX_BATCH)]


class ReportBody(HoldBody, frozen=True, kw_only=True):
    progress: Any = None
    message: str | None = None

    def report(self, actor: Actor) -> Report:
        return Report(self.hold(actor), self.progress, self.message)


class ReportsBody(Body, frozen=True, kw_only=True):
    reports: Annotated[list[ReportBody], msgspec.Meta(max_length=MAX_BATCH)]


class StepBody(Body, frozen=True, kw_only=True):
    hold: HoldBody
    name: str
    output: Any = None


class HeldBody(Body, frozen=True, kw_only=True):
    hold: HoldBody


class PublishBody(Body, frozen=True, kw_only=True):
    hold: HoldBody
    name: Name
    value: Any = None


class SpawnBody(Body, frozen=True, kw_only=True):
    hold: HoldBody
    step: str
    tasks: Annotated[list[NewTaskBody], msgspec.Meta(max_length=MAX_BLOCKERS)]


class LogBody(Body, frozen=True, kw_only=True):
    hold: HoldBody
    text: str
