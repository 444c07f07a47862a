"""Queues: make, change, pause, resume, delete."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any, Final

from taskyard.core.actor import Actor, Permission
from taskyard.core.errors import Conflict, Fault, Invalid, NotFound
from taskyard.core.limits import MAX_CONCURRENCY, MAX_FAILURES, check_name, check_range, check_text
from taskyard.core.queue import Kind, Queue, QueueSettings, RateLimit
from taskyard.core.task import Json, State
from taskyard.service.flow import tell_ready
from taskyard.service.form import check_form
from taskyard.service.payloads import fitting
from taskyard.store.records import Records
from taskyard.store.tasks import MOST_COUNTED

MAX_TITLE_LENGTH: Final = 500
MAX_STARTS: Final = 1_000_000
MAX_RATE_PERIOD: Final = timedelta(days=366)
MIN_LEASE: Final = timedelta(seconds=1)
#: Some wires know no leases at all: what a person has taken stays theirs. Ten years come near enough.
MAX_LEASE: Final = timedelta(days=3660)
MAX_RETENTION: Final = timedelta(days=36_600)
#: A form or settings of more than this are data, and belong into a task or a file.
MAX_FORM_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class QueueView:
    """A queue and how many tasks it has in each open state, each counted up to ``MOST_COUNTED``."""

    queue: Queue
    counts: Mapping[State, int]


class Queues:
    """A queue is named by its name. Submitting to one that is not there makes it, with the settings of ``QueueSettings()``."""

    def create(
        self, records: Records, actor: Actor, name: str, settings: QueueSettings | None = None
    ) -> Queue:
        """Raises Forbidden, Invalid, Conflict (there is one of that name)."""
        actor.require(Permission.MANAGE)
        settings = settings or QueueSettings()
        _refuse([*check_name(name, "/name", "queue name"), *check_settings(settings)])
        if not records.queues.insert(actor.organisation, name, settings, records.now):
            raise Conflict(f"there is a queue {name} already", code="exists", existing=name)
        self._tell(records, actor, "created", name)
        return self._found(records, actor, name)

    def get(self, records: Records, actor: Actor, name: str) -> Queue:
        """Raises NotFound; another organisation's queue is not found."""
        actor.require(Permission.READ)
        return self._found(records, actor, name)

    def view(self, records: Records, actor: Actor, name: str) -> QueueView:
        return self._view(records, self.get(records, actor, name))

    def all(self, records: Records, actor: Actor) -> list[QueueView]:
        """Return every queue of the actor's organisation, the oldest first."""
        actor.require(Permission.READ)
        return [self._view(records, queue) for queue in records.queues.all(actor.organisation)]

    def change(self, records: Records, actor: Actor, name: str, changes: Mapping[str, Any]) -> Queue:
        """
        Set what *changes* names, by the members of :class:`QueueSettings`, and leave the rest.

        Raises:
            NotFound, Forbidden, Invalid.
        """
        actor.require(Permission.MANAGE)
        return self._change(records, actor, name, changes, "changed")

    def pause(self, records: Records, actor: Actor, name: str) -> Queue:
        """Start nothing of the queue any more; what runs goes on. A queue that is paused stays so."""
        actor.require(Permission.CONTROL)
        return self._change(records, actor, name, {"paused": True}, "paused")

    def resume(self, records: Records, actor: Actor, name: str) -> Queue:
        actor.require(Permission.CONTROL)
        return self._change(records, actor, name, {"paused": False}, "resumed")

    def delete(self, records: Records, actor: Actor, name: str) -> None:
        """
        Remove a queue and its settings; tasks that have ended stay readable.

        Raises:
            NotFound, Forbidden, Conflict (it has open tasks).
        """
        actor.require(Permission.MANAGE)
        self._found(records, actor, name)
        counts = records.tasks.count_states(actor.organisation, name, most=1)
        if counts:
            states = " and ".join(sorted(counts))
            raise Conflict(
                f"the queue {name} has {states} tasks; wait for them or cancel them first",
                code="has_open_tasks",
            )
        records.queues.delete(actor.organisation, name)
        self._tell(records, actor, "deleted", name)

    def _change(
        self, records: Records, actor: Actor, name: str, changes: Mapping[str, Any], kind: str
    ) -> Queue:
        locked = records.queues.lock(actor.organisation, name)  # two partial changes at once keep both
        if locked is None:
            raise NotFound("queue", name)
        before = locked[0].settings
        unknown = [member for member in changes if member not in _MEMBERS]
        _refuse([Fault(f"/{each}", "unknown_member", f"a queue has no {each}") for each in unknown])
        after = replace(before, **changes)
        if after == before:
            return locked[0]
        _refuse(check_settings(after))
        records.queues.update(actor.organisation, name, after, records.now)
        self._tell(records, actor, kind, name, {"changed": sorted(changes)})
        return self._found(records, actor, name)

    def _tell(self, records: Records, actor: Actor, kind: str, name: str, data: Json = None) -> None:
        # Whatever was changed may let tasks start that could not before; who waits for some looks again.
        tell_ready(records, actor.organisation, name)
        by = {"by": actor.identity, **(data or {})}
        records.events.append(
            f"queue.{kind}",
            organisation=actor.organisation,
            subject=name,
            at=records.now,
            queue=name,
            data=by,
        )

    def _found(self, records: Records, actor: Actor, name: str) -> Queue:
        queue = records.queues.get(actor.organisation, name)
        if queue is None:
            raise NotFound("queue", name)
        return queue

    def _view(self, records: Records, queue: Queue) -> QueueView:
        counted = records.tasks.count_states(queue.organisation, queue.name, most=MOST_COUNTED)
        return QueueView(queue, {State(state): count for state, count in counted.items()})


_MEMBERS: Final = frozenset(field.name for field in fields(QueueSettings))


def check_settings(settings: QueueSettings, pointer: str = "") -> list[Fault]:
    """Return everything that is wrong with *settings*, types included: they may come from a partial change."""
    return [
        fault
        for member, check in _CHECKS.items()
        for fault in check(getattr(settings, member), f"{pointer}/{member}")
    ]


def _refuse(faults: list[Fault]) -> None:
    if faults:
        raise Invalid(faults[0].detail, faults=faults)


def _check_title(title: object, pointer: str) -> list[Fault]:
    return [] if title is None else check_text(title, pointer, most=MAX_TITLE_LENGTH)


def _check_kind(kind: object, pointer: str) -> list[Fault]:
    if isinstance(kind, Kind):
        return []
    return [Fault(pointer, "bad_kind", f"a queue's kind is {' or '.join(Kind)}")]


def _check_paused(paused: object, pointer: str) -> list[Fault]:
    return [] if isinstance(paused, bool) else [Fault(pointer, "bad_type", "paused is true or false")]


def _check_concurrency(concurrency: object, pointer: str) -> list[Fault]:
    return [] if concurrency is None else check_range(concurrency, pointer, 1, MAX_CONCURRENCY)


def _check_rate(rate: object, pointer: str) -> list[Fault]:
    if rate is None:
        return []
    if not isinstance(rate, RateLimit):
        return [Fault(pointer, "bad_type", "a rate is a count and a period")]
    return [
        *check_range(rate.count, f"{pointer}/count", 1, MAX_STARTS),
        *_check_span(rate.period, f"{pointer}/period", timedelta(milliseconds=1), MAX_RATE_PERIOD),
    ]


def _check_lease(lease: object, pointer: str) -> list[Fault]:
    return _check_span(lease, pointer, MIN_LEASE, MAX_LEASE)


def _check_max_failures(failures: object, pointer: str) -> list[Fault]:
    return check_range(failures, pointer, 1, MAX_FAILURES)


def _check_retention(retention: object, pointer: str) -> list[Fault]:
    return _check_span(retention, pointer, timedelta(0), MAX_RETENTION)


def _check_span(span: object, pointer: str, least: timedelta, most: timedelta) -> list[Fault]:
    if not isinstance(span, timedelta) or not least <= span <= most:
        shown = f"{least.total_seconds():g} s to {most.days:,} days"
        return [Fault(pointer, "out_of_range", f"this is not a span from {shown}")]
    return []


def _check_form(form: object, pointer: str) -> list[Fault]:
    if form is None:
        return []
    fitting("the form", form, MAX_FORM_BYTES, pointer=pointer)
    return check_form(form, pointer)


def _check_json(value: object, pointer: str) -> list[Fault]:
    fitting("the settings", value, MAX_FORM_BYTES, pointer=pointer)
    return []


_CHECKS: Final[Mapping[str, Callable[[object, str], list[Fault]]]] = {
    "kind": _check_kind,
    "title": _check_title,
    "paused": _check_paused,
    "concurrency": _check_concurrency,
    "rate": _check_rate,
    "lease": _check_lease,
    "max_failures": _check_max_failures,
    "retention": _check_retention,
    "form": _check_form,
    "settings": _check_json,
}
