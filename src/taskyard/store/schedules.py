"""Schedules and their firings."""

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

from taskyard.core.schedule import CatchUp, Firing, Overlap, Schedule, Timing
from taskyard.core.task import NewTask, OnConflict, State, Task
from taskyard.core.times import from_micros, span, span_micros, to_micros
from taskyard.store.engine import Connection, Row, Value
from taskyard.store.tasks import task_of
from taskyard.store.values import from_json, json_text, micros, moment

_TIMES = ("run_at", "start_by")


def template_text(template: NewTask) -> str:
    """Return *template* as JSON: only what differs from the defaults."""
    plain = NewTask(type=template.type)
    shown: dict[str, Any] = {"type": template.type}
    for each in fields(template):
        value = getattr(template, each.name)
        if each.name == "type" or value == getattr(plain, each.name):
            continue
        if each.name in _TIMES:
            value = to_micros(value)
        elif each.name == "timeout":
            value = span_micros(value)
        elif each.name == "labels":
            value = dict(value)
        shown[each.name] = value
    text = json_text(shown)
    assert text is not None
    return text


def template_of(text: str) -> NewTask:
    shown: dict[str, Any] = from_json(text)
    for name in _TIMES:
        if name in shown:
            shown[name] = from_micros(shown[name])
    if "timeout" in shown:
        shown["timeout"] = span(shown["timeout"])
    if "on_conflict" in shown:
        shown["on_conflict"] = OnConflict(shown["on_conflict"])
    if "blocked_by" in shown:
        shown["blocked_by"] = tuple(shown["blocked_by"])
    return NewTask(**shown)


class ScheduleRecords:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def insert(self, schedule: Schedule) -> Schedule | None:
        """Add a schedule; return it with its number, None when the name is taken. ``schedule.number`` is ignored."""
        row = self._connection.row(
            "insert_schedule",
            id=schedule.id,
            name=schedule.name,
            actor=schedule.actor,
            **{name: value for name, value in _columns(schedule).items() if name != "last_at"},
        )
        return replace(schedule, number=row[0]) if row else None

    def update(self, schedule: Schedule) -> bool:
        return bool(self._connection.run("update_schedule", id=schedule.id, **_columns(schedule)))

    def get(self, organisation: int, id: str) -> Schedule | None:
        row = self._connection.row("get_schedule", organisation=organisation, id=id)
        return _schedule_of(row) if row else None

    def lock(self, organisation: int, id: str) -> Schedule | None:
        """Read a schedule and keep anyone else from firing or changing it until the transaction ends."""
        row = self._connection.row("lock_schedule", organisation=organisation, id=id)
        return _schedule_of(row) if row else None

    def get_by_name(self, organisation: int, name: str) -> Schedule | None:
        row = self._connection.row("get_schedule_by_name", organisation=organisation, name=name)
        return _schedule_of(row) if row else None

    def all(self, organisation: int) -> list[Schedule]:
        return [
            _schedule_of(row) for row in self._connection.rows("list_schedules", organisation=organisation)
        ]

    def delete(self, organisation: int, id: str) -> bool:
        return bool(self._connection.run("delete_schedule", organisation=organisation, id=id))

    def due(self, now: datetime, limit: int) -> list[Schedule]:
        return [
            _schedule_of(row)
            for row in self._connection.rows("due_schedules", now=to_micros(now), limit=limit)
        ]

    def fire(
        self, schedule: str, fire_at: datetime, *, task: str | None, outcome: str, now: datetime
    ) -> bool:
        """Note what came of an instant; False when the instant was taken."""
        row = self._connection.row(
            "insert_firing",
            schedule=schedule,
            fire_at=to_micros(fire_at),
            task=task,
            outcome=outcome,
            now=to_micros(now),
        )
        return row is not None

    def note(self, schedule: str, fire_at: datetime, *, task: str | None, outcome: str) -> None:
        """Write what came of an instant that was taken by :meth:`fire`."""
        self._connection.run(
            "update_firing", schedule=schedule, fire_at=to_micros(fire_at), task=task, outcome=outcome
        )

    def newest_task(self, schedule: str) -> Task | None:
        row = self._connection.row("newest_of_schedule", schedule=schedule)
        return task_of(row) if row else None

    def last_runs(self, schedule: str, limit: int) -> list[tuple[str, State | None]]:
        """Return (outcome, state of the task) of the last instants that were submitted or paused at, newest first."""
        rows = self._connection.rows("last_runs", schedule=schedule, limit=limit)
        return [(outcome, None if state is None else State(state)) for outcome, state in rows]

    def firings(self, schedule: str, limit: int = 100) -> list[Firing]:
        """Return the last firings, newest first."""
        return [
            Firing(fire_at=from_micros(at), task=task, outcome=outcome, created_at=from_micros(created_at))
            for at, task, outcome, created_at in self._connection.rows(
                "list_firings", schedule=schedule, limit=limit
            )
        ]

    def forget_firings(self, before: datetime, limit: int) -> int:
        return self._connection.run("delete_firings", before=to_micros(before), limit=limit)


def _columns(schedule: Schedule) -> Mapping[str, Value]:
    return {
        "organisation": schedule.organisation,
        "kind": schedule.timing.value,
        "spec": schedule.spec,
        "timezone": schedule.timezone,
        "template": template_text(schedule.template),
        "catch_up": schedule.catch_up.value,
        "overlap": schedule.overlap.value,
        "paused": int(schedule.paused),
        "starts_at": micros(schedule.starts_at),
        "ends_at": micros(schedule.ends_at),
        "runs_left": schedule.runs_left,
        "failure_threshold": schedule.failure_threshold,
        "settings": json_text(schedule.settings),
        "next_at": micros(schedule.next_at),
        "last_at": micros(schedule.last_at),
        "now": to_micros(schedule.updated_at),
    }


def _schedule_of(row: Row) -> Schedule:
    (number, id, organisation, name, kind, spec, timezone, template, catch_up, overlap, paused, starts_at, ends_at, runs_left,
     failure_threshold, settings, next_at, last_at, actor, created_at, updated_at) = row  # fmt: skip
    return Schedule(
        number=number,
        id=id,
        organisation=organisation,
        name=name,
        timing=Timing(kind),
        spec=spec,
        timezone=timezone,
        template=template_of(template),
        catch_up=CatchUp(catch_up),
        overlap=Overlap(overlap),
        paused=bool(paused),
        starts_at=moment(starts_at),
        ends_at=moment(ends_at),
        runs_left=runs_left,
        failure_threshold=failure_threshold,
        settings=from_json(settings),
        next_at=moment(next_at),
        last_at=moment(last_at),
        actor=actor,
        created_at=from_micros(created_at),
        updated_at=from_micros(updated_at),
    )
