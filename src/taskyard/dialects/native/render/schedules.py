"""Schedules, as the API shows them."""

from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

from taskyard.core.schedule import CatchUp, Firing, Overlap, Schedule, Timing
from taskyard.core.task import NewTask
from taskyard.dialects.native.render.words import Moment, Shown, maybe, moment


class ScheduleShown(Shown, frozen=True, kw_only=True):
    """`task` shows what of the submitted tasks differs from the defaults."""

    id: str
    number: int
    name: str
    timing: Timing
    spec: str
    timezone: str
    task: dict[str, Any]
    catch_up: CatchUp
    overlap: Overlap
    paused: bool
    starts_at: Moment | None
    ends_at: Moment | None
    runs_left: int | None
    failure_threshold: int | None
    settings: Any
    next_at: Moment | None
    last_at: Moment | None
    actor: str
    created_at: Moment
    updated_at: Moment


class SchedulePage(Shown, frozen=True, kw_only=True):
    schedules: list[ScheduleShown]
    next_page_token: str | None = None


class FiringShown(Shown, frozen=True, kw_only=True):
    fire_at: Moment
    task: str | None
    outcome: str
    created_at: Moment


class FiringPage(Shown, frozen=True, kw_only=True):
    firings: list[FiringShown]
    next_page_token: str | None = None


def schedule_shown(schedule: Schedule) -> ScheduleShown:
    return ScheduleShown(
        id=schedule.id,
        number=schedule.number,
        name=schedule.name,
        timing=schedule.timing,
        spec=schedule.spec,
        timezone=schedule.timezone,
        task=_template(schedule.template),
        catch_up=schedule.catch_up,
        overlap=schedule.overlap,
        paused=schedule.paused,
        starts_at=maybe(schedule.starts_at),
        ends_at=maybe(schedule.ends_at),
        runs_left=schedule.runs_left,
        failure_threshold=schedule.failure_threshold,
        settings=schedule.settings,
        next_at=maybe(schedule.next_at),
        last_at=maybe(schedule.last_at),
        actor=schedule.actor,
        created_at=moment(schedule.created_at),
        updated_at=moment(schedule.updated_at),
    )


def _template(template: NewTask) -> dict[str, Any]:
    plain = NewTask(type=template.type)
    shown: dict[str, Any] = {"type": template.type, "queue": template.queue}
    for each in fields(template):
        value = getattr(template, each.name)
        if each.name in shown or value == getattr(plain, each.name):
            continue
        if isinstance(value, datetime):
            value = moment(value)
        elif isinstance(value, timedelta):
            value = value.total_seconds()
        shown[each.name] = value
    return shown


def firing_shown(firing: Firing) -> FiringShown:
    return FiringShown(
        fire_at=moment(firing.fire_at),
        task=firing.task,
        outcome=firing.outcome,
        created_at=moment(firing.created_at),
    )
