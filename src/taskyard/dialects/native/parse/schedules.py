"""What is said about schedules."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from taskyard.core.schedule import CatchUp, NewSchedule, Overlap, Timing
from taskyard.dialects.native.parse.tasks import NewTaskBody
from taskyard.dialects.native.parse.words import Body, Moment, Name, given
from taskyard.http.bodies import instant


class NewScheduleBody(Body, frozen=True, kw_only=True):
    """A schedule to make."""

    name: Name
    timing: Timing
    spec: Annotated[
        str,
        msgspec.Meta(
            description="`at`: an RFC 3339 time; `interval`: ISO 8601 `[R<n>/][<start>/]P…`; `cron`: five fields."
        ),
    ]
    task: Annotated[NewTaskBody, msgspec.Meta(description="What is submitted at every instant.")]
    timezone: str = "UTC"
    catch_up: CatchUp = CatchUp.ONE
    overlap: Overlap = Overlap.SKIP
    paused: bool = False
    starts_at: Moment | None = None
    ends_at: Moment | None = None
    runs: int | None = None
    failure_threshold: int | None = None
    settings: Any = None

    def new_schedule(self) -> NewSchedule:
        """Raises Invalid."""
        return NewSchedule(
            name=self.name,
            timing=self.timing,
            spec=self.spec,
            template=self.task.new_task("/task"),
            timezone=self.timezone,
            catch_up=self.catch_up,
            overlap=self.overlap,
            paused=self.paused,
            starts_at=None if self.starts_at is None else instant(self.starts_at, "/starts_at"),
            ends_at=None if self.ends_at is None else instant(self.ends_at, "/ends_at"),
            runs=self.runs,
            failure_threshold=self.failure_threshold,
            settings=self.settings,
        )


class ScheduleChangeBody(Body, frozen=True, kw_only=True):
    """What to change: what is left out stays, `null` lifts a bound."""

    timing: Timing | UnsetType = UNSET
    spec: str | UnsetType = UNSET
    task: NewTaskBody | UnsetType = UNSET
    timezone: str | UnsetType = UNSET
    catch_up: CatchUp | UnsetType = UNSET
    overlap: Overlap | UnsetType = UNSET
    paused: bool | UnsetType = UNSET
    starts_at: Moment | None | UnsetType = UNSET
    ends_at: Moment | None | UnsetType = UNSET
    runs: int | None | UnsetType = UNSET
    failure_threshold: int | None | UnsetType = UNSET
    settings: Any = UNSET

    def changes(self) -> dict[str, Any]:
        """Return members of ScheduleChange. Raises Invalid."""
        said = given(self)
        for member in ("starts_at", "ends_at"):
            if said.get(member) is not None:
                said[member] = instant(said[member], f"/{member}")
        if "task" in said:
            said["template"] = said.pop("task").new_task("/task")
        return said
