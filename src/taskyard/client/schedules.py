"""The calls about schedules."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from taskyard.client.flow import Flow, call, stream_of
from taskyard.client.sending import Sender, act, read
from taskyard.client.tasks import pages
from taskyard.client.views import FiringView, ScheduleView, TaskView
from taskyard.client.words import given, new_task_json, plain, segment
from taskyard.core.schedule import CatchUp, Overlap, Timing
from taskyard.core.task import NewTask


class ScheduleCalls:
    """A schedule is named by its id or its name."""

    @stream_of(ScheduleView)
    def schedules(self: Sender) -> Flow[None]:
        yield from pages(self, "/v1/schedules", "schedules", ScheduleView, {})

    @call
    def schedule(self: Sender, name: str) -> Flow[ScheduleView]:
        return ScheduleView.of((yield from read(self, _schedule(name))))

    @call
    def create_schedule(
        self: Sender,
        name: str,
        timing: Timing | str,
        spec: str,
        task: NewTask | Mapping[str, Any],
        *,
        timezone: str | None = None,
        catch_up: CatchUp | str | None = None,
        overlap: Overlap | str | None = None,
        paused: bool | None = None,
        starts_at: datetime | None = None,
        ends_at: datetime | None = None,
        runs: int | None = None,
        failure_threshold: int | None = None,
    ) -> Flow[ScheduleView]:
        """
        Submit *task* at every instant of *spec*; see :class:`taskyard.core.schedule.NewSchedule`.

        Raises:
            Conflict (the name is taken), Invalid.
        """
        body = given(
            name=name,
            timing=timing,
            spec=spec,
            task=new_task_json(task),
            timezone=timezone,
            catch_up=catch_up,
            overlap=overlap,
            paused=paused,
            starts_at=starts_at,
            ends_at=ends_at,
            runs=runs,
            failure_threshold=failure_threshold,
        )
        return ScheduleView.of((yield from act(self, "POST", "/v1/schedules", body, again=False)))

    @call
    def change_schedule(self: Sender, name: str, /, **changes: Any) -> Flow[ScheduleView]:
        """Set what is given and leave the rest."""
        body = {member: plain(value) for member, value in changes.items()}
        return ScheduleView.of((yield from act(self, "PATCH", _schedule(name), body, again=True)))

    @call
    def delete_schedule(self: Sender, name: str) -> Flow[None]:
        """Submit nothing more; what was submitted stays."""
        yield from act(self, "DELETE", _schedule(name), again=True)

    @call
    def pause_schedule(self: Sender, name: str) -> Flow[ScheduleView]:
        return ScheduleView.of((yield from act(self, "POST", f"{_schedule(name)}:pause", again=True)))

    @call
    def resume_schedule(self: Sender, name: str) -> Flow[ScheduleView]:
        return ScheduleView.of((yield from act(self, "POST", f"{_schedule(name)}:resume", again=True)))

    @call
    def trigger_schedule(self: Sender, name: str) -> Flow[TaskView]:
        """Submit its task now, beside its instants; return it."""
        return TaskView.of((yield from act(self, "POST", f"{_schedule(name)}:trigger", again=False)))

    @stream_of(FiringView)
    def firings(self: Sender, name: str) -> Flow[None]:
        """Give the instants that came and what became of each, newest first."""
        yield from pages(self, f"{_schedule(name)}/firings", "firings", FiringView, {})


def _schedule(name: str) -> str:
    return f"/v1/schedules/{segment(name)}"
