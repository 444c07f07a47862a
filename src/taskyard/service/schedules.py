"""Create, change, pause, trigger and read schedules; what they do when their time comes is in :mod:`.firing`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import Any, Final

from taskyard.core.actor import Actor, Permission
from taskyard.core.errors import Conflict, Fault, Invalid, NotFound
from taskyard.core.limits import MAX_FAILURES, MAX_PAYLOAD_BYTES, check_name, check_new_task, check_range
from taskyard.core.schedule import Firing, NewSchedule, Schedule
from taskyard.core.task import NewTask, Task
from taskyard.service.firing import fire_due, note, timetable_of
from taskyard.service.payloads import fitting
from taskyard.service.tasks import Tasks
from taskyard.service.timetable import MAX_RUNS, parse
from taskyard.store.records import Records

#: What belongs to one task and cannot be the same for each that a schedule submits.
_OF_ONE_TASK: Final = ("id", "run_at", "start_by", "parent", "retry_of", "blocked_by", "schedule")
#: What a change of makes the schedule look for its next instant again.
_TIMED: Final = ("timing", "spec", "timezone", "starts_at", "ends_at", "runs_left")
_CHANGEABLE: Final = frozenset(each.name for each in fields(NewSchedule)) - {"id", "name"}


class Schedules:
    """
    Schedules are named by their id or their name.

    Args:
        tasks: Submits what falls due.
        new_id: Makes UUIDv7 text.
    """

    def __init__(
        self, tasks: Tasks, new_id: Callable[[], str], *, max_payload_bytes: int = MAX_PAYLOAD_BYTES
    ) -> None:
        self._tasks = tasks
        self._new_id = new_id
        self._max_payload_bytes = max_payload_bytes

    def create(self, records: Records, actor: Actor, new: NewSchedule) -> Schedule:
        """
        Add a schedule. An interval that names no start begins now, and fires at once.

        Raises:
            Invalid: something cannot be, or no instant is to come.
            Conflict: the name is taken.
            Forbidden, TooLarge.
        """
        actor.require(Permission.MANAGE)
        _refuse(check_name(new.name, "/name", "schedule name"))
        wanted = Schedule(
            number=0,
            id=new.id or self._new_id(),
            organisation=actor.organisation,
            name=new.name,
            timing=new.timing,
            spec=new.spec,
            timezone=new.timezone,
            template=new.template,
            catch_up=new.catch_up,
            overlap=new.overlap,
            paused=new.paused,
            starts_at=new.starts_at,
            ends_at=new.ends_at,
            runs_left=_runs(new.runs, parse(new.timing, new.spec, new.timezone).runs),
            failure_threshold=new.failure_threshold,
            settings=new.settings,
            next_at=None,
            last_at=None,
            actor=actor.identity,
            created_at=records.now,
            updated_at=records.now,
        )
        schedule = records.schedules.insert(self._set(self._checked(wanted), records.now))
        if schedule is None:
            existing = records.schedules.get_by_name(actor.organisation, new.name)
            raise Conflict(
                f"there is a schedule named {new.name!r} already; change that one, or take another name",
                code="exists",
                existing=existing.id if existing else None,
            )
        note(records, "created", schedule, {"by": actor.identity, "name": schedule.name})
        records.news.add("due")
        return schedule

    def change(self, records: Records, actor: Actor, which: str, changes: Mapping[str, Any]) -> Schedule:
        """
        Set what *changes* names, by the members of :class:`NewSchedule`, and leave the rest. When its times change, the
        schedule goes on from its next instant from now on.

        Raises:
            NotFound, Forbidden, Invalid, TooLarge.
        """
        actor.require(Permission.MANAGE)
        unknown = [member for member in changes if member not in _CHANGEABLE]
        _refuse(
            [Fault(f"/{each}", "unknown_member", f"a schedule has no {each} to change") for each in unknown]
        )
        schedule = self._locked(records, actor, which)
        members = {name: value for name, value in changes.items() if name != "runs"}
        after: Schedule = replace(schedule, **members)
        after = self._checked(replace(after, runs_left=_runs_left(schedule, after, changes)))
        if any(getattr(after, member) != getattr(schedule, member) for member in _TIMED):
            after = self._set(after, records.now)
        elif after.paused != schedule.paused:
            after = replace(after, next_at=None if after.paused else _next(after, records.now))
        if after == schedule:
            return schedule
        after = replace(after, updated_at=records.now)
        records.schedules.update(after)
        if after.paused != schedule.paused:
            note(records, "paused" if after.paused else "resumed", after, {"by": actor.identity})
        if changes.keys() - {"paused"}:
            note(records, "changed", after, {"by": actor.identity, "changed": sorted(changes)})
        records.news.add("due")
        return after

    def pause(self, records: Records, actor: Actor, which: str) -> Schedule:
        """Fire no more until it is resumed. What it has submitted goes on. A schedule that is paused stays so."""
        return self._pause(records, actor, which, paused=True)

    def resume(self, records: Records, actor: Actor, which: str) -> Schedule:
        """Fire again from the next instant on; what passed during the pause was not missed, it was not wanted."""
        return self._pause(records, actor, which, paused=False)

    def _pause(self, records: Records, actor: Actor, which: str, *, paused: bool) -> Schedule:
        actor.require(Permission.CONTROL)
        manager = replace(actor, permissions=actor.permissions | {Permission.MANAGE})
        return self.change(records, manager, which, {"paused": paused})

    def delete(self, records: Records, actor: Actor, which: str) -> None:
        """Remove a schedule. What it has submitted stays, and goes on."""
        actor.require(Permission.MANAGE)
        schedule = self._locked(records, actor, which)
        records.schedules.delete(schedule.organisation, schedule.id)
        note(records, "deleted", schedule, {"by": actor.identity, "name": schedule.name})

    def trigger(self, records: Records, actor: Actor, which: str) -> Task:
        """
        Submit a task of the schedule now, whatever its times, its overlap policy, and even when it is paused. Its runs left
        and its next instant stay as they are.

        Raises:
            NotFound, Forbidden, Conflict (the template's key is taken).
        """
        actor.require(Permission.CONTROL)
        schedule = self._found(records, actor, which)
        submitter = replace(actor, permissions=frozenset({Permission.SUBMIT}))
        task = self._tasks.submit_one(records, submitter, replace(schedule.template, schedule=schedule.id))
        note(records, "triggered", schedule, {"by": actor.identity, "task": task.id})
        return task

    def skip_next(self, records: Records, actor: Actor, which: str) -> Schedule:
        """Let the next instant pass without a run. Raises NotFound, Forbidden."""
        actor.require(Permission.CONTROL)
        schedule = self._locked(records, actor, which)
        if schedule.next_at is None:
            return schedule
        records.schedules.fire(schedule.id, schedule.next_at, task=None, outcome="skipped", now=records.now)
        after = replace(
            schedule, next_at=timetable_of(schedule).after(schedule.next_at), updated_at=records.now
        )
        records.schedules.update(after)
        note(records, "skipped", schedule, {"by": actor.identity})
        return after

    def fire_due(self, records: Records, limit: int) -> int:
        """Do what up to *limit* schedules are due to do, those due longest first; return how many it were."""
        return fire_due(records, self._tasks, self._new_id, limit)

    # -- read ----------------------------------------------------------------------------------------------------------------

    def get(self, records: Records, actor: Actor, which: str) -> Schedule:
        """Raises NotFound; another organisation's schedule is not found."""
        actor.require(Permission.READ)
        return self._found(records, actor, which)

    def all(self, records: Records, actor: Actor) -> list[Schedule]:
        """Return the organisation's schedules, oldest first."""
        actor.require(Permission.READ)
        return records.schedules.all(actor.organisation)

    def firings(self, records: Records, actor: Actor, which: str, limit: int = 100) -> list[Firing]:
        """Return what came of the last instants, newest first."""
        return records.schedules.firings(self.get(records, actor, which).id, limit)

    def _found(self, records: Records, actor: Actor, which: str) -> Schedule:
        schedule = records.schedules.get(actor.organisation, which) or records.schedules.get_by_name(
            actor.organisation, which
        )
        if schedule is None:
            raise NotFound("schedule", which)
        return schedule

    def _locked(self, records: Records, actor: Actor, which: str) -> Schedule:
        schedule = records.schedules.lock(actor.organisation, self._found(records, actor, which).id)
        if schedule is None:
            raise NotFound("schedule", which)
        return schedule

    # -- check ---------------------------------------------------------------------------------------------------------------

    def _checked(self, schedule: Schedule) -> Schedule:
        """Return *schedule*; raises Invalid or TooLarge when something about it cannot be."""
        template, plain = schedule.template, NewTask(type=schedule.template.type)
        faults = [
            Fault(
                f"/template/{member}",
                "of_one_task",
                f"{member} belongs to one task, not to each of a schedule; leave it out",
            )
            for member in _OF_ONE_TASK
            if getattr(template, member) != getattr(plain, member)
        ]
        if schedule.runs_left is not None:
            faults += check_range(schedule.runs_left, "/runs", 0, MAX_RUNS)
        if schedule.failure_threshold is not None:
            faults += check_range(schedule.failure_threshold, "/failure_threshold", 1, MAX_FAILURES)
        if (
            schedule.starts_at is not None
            and schedule.ends_at is not None
            and schedule.ends_at < schedule.starts_at
        ):
            faults.append(
                Fault("/ends_at", "out_of_range", "ends_at is before starts_at, so nothing lies between them")
            )
        _refuse(faults)
        check_new_task(template, "/template")
        fitting("the template's input", template.input, self._max_payload_bytes, pointer="/template/input")
        fitting("the settings", schedule.settings, self._max_payload_bytes, pointer="/settings")
        return schedule

    def _set(self, schedule: Schedule, now: datetime) -> Schedule:
        """Return *schedule* with its next instant from *now* on; raises Invalid when none is to come."""
        next_at = _next(schedule, now)
        if next_at is None:
            raise Invalid(
                f"{schedule.spec!r} has no instant to come within the bounds that are given; "
                "name a later time, or submit a task instead",
                pointer="/spec",
                code="never_fires",
            )
        return replace(schedule, next_at=None if schedule.paused else next_at)


def _next(schedule: Schedule, now: datetime) -> datetime | None:
    return None if schedule.runs_left == 0 else timetable_of(schedule).first(now)


def _runs_left(before: Schedule, after: Schedule, changes: Mapping[str, Any]) -> int | None:
    """Return how many runs are left after *changes*: counted anew where they say how many, otherwise as before."""
    if "runs" not in changes and (before.timing, before.spec) == (after.timing, after.spec):
        return before.runs_left
    in_spec = parse(after.timing, after.spec, after.timezone).runs
    if "runs" in changes:
        return _runs(changes["runs"], in_spec)
    if in_spec is not None or parse(before.timing, before.spec, before.timezone).runs is not None:
        return in_spec
    return before.runs_left


def _runs(asked: int | None, in_spec: int | None) -> int | None:
    """Return how often a schedule may fire. Raises Invalid when *asked* and the spec disagree."""
    if asked is None:
        return in_spec
    if asked < 1:
        raise Invalid(
            f"{asked} runs never fire; ask for at least 1, or leave runs out for no end", pointer="/runs"
        )
    if in_spec is not None and asked != in_spec:
        raise Invalid(
            f"{asked} runs are asked for, and the spec says {in_spec}; leave one of them out",
            pointer="/runs",
            code="contradiction",
        )
    return asked


def _refuse(faults: Sequence[Fault]) -> None:
    if faults:
        raise Invalid(faults[0].detail, faults=faults)
