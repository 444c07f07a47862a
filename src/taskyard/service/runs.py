"""
A schedule and its runs under one id, beside the tasks that run once: for faces that know no schedule.

What such a face calls a task is a :class:`Standing`: a task of its own, or a schedule with the run that is open, if one is. The
ended runs of a schedule are its history, many records under the schedule's id.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from taskyard.core.actor import Actor, Permission
from taskyard.core.errors import Forbidden, NotFound, WrongState
from taskyard.core.schedule import Schedule
from taskyard.core.task import OPEN, TERMINAL, State, Task
from taskyard.service.schedules import Schedules
from taskyard.service.tasks import Tasks
from taskyard.store.records import Records
from taskyard.store.tasks import Between, TaskFilter

#: How long an ended task still counts as current.
LINGERS: Final = timedelta(hours=1)
#: A label that takes an ended task out of what is current before its time.
DROPPED: Final = "dropped"
#: A label of tasks that are not to be started again if their worker dies.
NOT_RESUMED: Final = "not_resumed"
JOB: Final = "job"
MOST: Final = 10_000


@dataclass(frozen=True, slots=True)
class Standing:
    """One recurring or single task as it stands: at least one of the two is there."""

    schedule: Schedule | None
    task: Task | None

    @property
    def id(self) -> str:
        if self.schedule is not None:
            return self.schedule.id
        assert self.task is not None
        return self.task.schedule or self.task.id

    @property
    def is_running(self) -> bool:
        return self.task is not None and self.task.state is State.RUNNING


class Runs:
    def __init__(self, tasks: Tasks, schedules: Schedules) -> None:
        self._tasks = tasks
        self._schedules = schedules

    def current(self, records: Records, actor: Actor) -> list[Standing]:
        """Return what is to run, runs, or ended within the hour; recurring ones once each. In the order they were made."""
        actor.require(Permission.READ)
        schedules = {
            each.id: each for each in self._schedules.all(records, actor) if each.next_at is not None
        }
        live: dict[str, Task] = {}
        single: list[Task] = []
        for task in self._open(records, actor):
            if task.schedule is None:
                single.append(task)
            else:
                live.setdefault(task.schedule, task)
        # A schedule that has no instant left stands for its last run, until that is old.
        for task in self._ended(records, actor, since=records.now - LINGERS):
            if task.schedule is None:
                single.append(task)
            elif task.schedule not in schedules:
                live.setdefault(task.schedule, task)
        found = [Standing(None, task) for task in single if DROPPED not in task.labels]
        found += [
            Standing(schedules.get(id), live.get(id))
            for id in {**schedules, **live}
            if id not in live or DROPPED not in live[id].labels
        ]
        return sorted(found, key=_made)

    def archived(self, records: Records, actor: Actor, *, limit: int = MOST) -> list[Standing]:
        """Return every run that has ended, the last to end first."""
        actor.require(Permission.READ)
        return [Standing(None, task) for task in self._ended(records, actor)[:limit]]

    def known(
        self, records: Records, actor: Actor, ids: Iterable[str]
    ) -> tuple[list[Standing], list[Standing]]:
        """Return what :meth:`current` and :meth:`archived` have of *ids*, without a look at anything else."""
        actor.require(Permission.READ)
        current: list[Standing] = []
        ended: list[Task] = []
        for id in sorted(set(ids)):
            try:
                standing = self.find(records, actor, id)
            except NotFound:
                continue
            if standing.id != id:  # one run of what recurs: it has no standing of its own
                continue
            if self.is_current(standing, records.now):
                current.append(standing)
            if standing.schedule is None and standing.task is not None and standing.task.schedule is None:
                ended += [] if standing.task.is_open else [standing.task]
            else:
                over = TaskFilter(schedule=id, states=tuple(sorted(TERMINAL)))
                ended += records.tasks.search(actor.organisation, over, limit=MOST)
        return sorted(current, key=_made), [Standing(None, task) for task in sorted(ended, key=_over)[::-1]]

    def find(self, records: Records, actor: Actor, id: str) -> Standing:
        """
        Return what is known under *id*: as it stands, else its last run.

        Raises:
            NotFound.
        """
        actor.require(Permission.READ)
        task = records.tasks.get(actor.organisation, id)
        if task is not None:
            return Standing(None, task)
        schedule = records.schedules.get(actor.organisation, id)
        runs = records.tasks.search(actor.organisation, TaskFilter(schedule=id), limit=1)
        run = runs[0] if runs else None
        if schedule is not None and schedule.next_at is not None:
            return Standing(schedule, run if run is not None and run.is_open else None)
        if run is not None:
            return Standing(None, run)
        if schedule is not None:
            return Standing(schedule, None)
        raise NotFound("task", id)

    def is_current(self, standing: Standing, now: datetime) -> bool:
        """Say whether a standing counts as current, or is history only."""
        task = standing.task
        if standing.schedule is not None or task is None or task.is_open:
            return True
        return (
            DROPPED not in task.labels and task.finished_at is not None and task.finished_at >= now - LINGERS
        )

    def cancel(self, records: Records, actor: Actor, id: str) -> Standing:
        """
        Cancel: a run that is open is canceled or asked to stop; a recurring one that waits skips its next instant. What has
        ended stays as it is. Who submitted a task may cancel it.

        Raises:
            NotFound: also for what is history only.
            Forbidden.
        """
        standing = self._standing(records, actor, id)
        task = standing.task
        if task is not None and task.actor != actor.identity:
            actor.require(Permission.CONTROL)
        if task is not None and task.is_open:
            by = Actor(
                organisation=actor.organisation, identity=actor.identity, name=actor.name, number=actor.number
            )
            with suppress(WrongState):  # it ended just now
                self._tasks.cancel_one(records, by, task.id)
        elif standing.schedule is not None:
            actor.require(Permission.CONTROL)
            self._schedules.skip_next(records, actor, id)
        return self.find(records, actor, id)

    def remove(self, records: Records, actor: Actor, id: str) -> Standing:
        """
        Take a task out of what is current, without interrupting it: what waits is gone and leaves no history, what runs goes on
        and is not run again, what has ended is history only. Returns it as it was.

        Raises:
            NotFound: also for what is history only.
            Forbidden.
        """
        actor.require(Permission.ADMIN)
        standing = self._standing(records, actor, id)
        if standing.schedule is not None:
            self._schedules.delete(records, actor, id)
        task = standing.task
        if standing.is_running:
            return standing
        if task is not None and not task.is_open:
            self._drop(records, task)
            return standing
        if task is not None:
            self._tasks.cancel_one(records, actor, task.id)
            records.tasks.delete([task.number])
        # Its last run does not stand for it now that it is gone: what there is of it is history.
        for run in records.tasks.search(actor.organisation, TaskFilter(schedule=id), limit=1):
            self._drop(records, run)
        return standing

    def _drop(self, records: Records, task: Task) -> None:
        records.tasks.relabel(task, {**task.labels, DROPPED: "yes"}, records.now)

    def _standing(self, records: Records, actor: Actor, id: str) -> Standing:
        standing = self.find(records, actor, id)
        if not self.is_current(standing, records.now):
            raise NotFound("task", id)
        return standing

    # -- what is kept of a running one, so that it can be started again ------------------------------------------------------

    def resumable(self, records: Records, actor: Actor) -> list[Standing]:
        """Return what runs now and will be started again should its worker die."""
        actor.require(Permission.ADMIN)
        running = TaskFilter(states=(State.RUNNING,))
        return [
            Standing(None, task)
            for task in records.tasks.search(actor.organisation, running, limit=MOST)
            if NOT_RESUMED not in task.labels
        ]

    def find_resumable(self, records: Records, actor: Actor, id: str) -> Standing:
        """Raises NotFound, Forbidden."""
        if not actor.may(Permission.ADMIN):
            raise Forbidden(Permission.ADMIN)
        standing = self.find(records, actor, id)
        if not standing.is_running or standing.task is None or NOT_RESUMED in standing.task.labels:
            raise NotFound("snapshot", id)
        return standing

    def forbid_resuming(self, records: Records, actor: Actor, id: str) -> Standing:
        """Let a running task not be started again should its worker die; return it as it was. Raises NotFound, Forbidden."""
        standing = self.find_resumable(records, actor, id)
        assert standing.task is not None
        records.tasks.relabel(standing.task, {**standing.task.labels, NOT_RESUMED: "yes"}, records.now)
        records.work.spend_tries(standing.task.number, records.now)
        return standing

    # -- jobs ----------------------------------------------------------------------------------------------------------------

    def jobs(self, records: Records, actor: Actor) -> dict[str, list[Standing]]:
        """Return the current tasks that belong to jobs, by job."""
        jobs: dict[str, list[Standing]] = {}
        for standing in self.current(records, actor):
            if standing.task is not None and JOB in standing.task.labels:
                jobs.setdefault(standing.task.labels[JOB], []).append(standing)
        return jobs

    def job(self, records: Records, actor: Actor, id: str) -> list[Standing]:
        """Return every task of a job, history included. Raises NotFound."""
        actor.require(Permission.READ)
        found = records.tasks.search(
            actor.organisation, TaskFilter(labels={JOB: id}), limit=MOST, oldest_first=True
        )
        if not found:
            raise NotFound("job", id)
        return [Standing(None, task) for task in found]

    def cancel_job(self, records: Records, actor: Actor, id: str) -> tuple[list[Standing], list[Standing]]:
        """Cancel what is open of a job; return what was canceled, and what had ended before."""
        before = [each.task for each in self.job(records, actor, id) if each.task is not None]
        for task in before:
            if task.is_open:
                self.cancel(records, actor, task.id)
        now = {
            task.id: task for task in records.tasks.get_many(actor.organisation, [task.id for task in before])
        }
        canceled = [Standing(None, now[task.id]) for task in before if task.is_open]
        return canceled, [Standing(None, task) for task in before if not task.is_open]

    # -- looks ---------------------------------------------------------------------------------------------------------------

    def _open(self, records: Records, actor: Actor) -> Iterable[Task]:
        filter = TaskFilter(states=tuple(sorted(OPEN)))
        return records.tasks.search(actor.organisation, filter, limit=MOST, oldest_first=True)

    def _ended(self, records: Records, actor: Actor, *, since: datetime | None = None) -> Sequence[Task]:
        """Return ended tasks of every queue, the last to end first: each queue has its index by that time."""
        filter = TaskFilter(finished=Between(gte=since))
        found = [
            task
            for queue in records.queues.all(actor.organisation)
            for task in records.tasks.list_finished(actor.organisation, queue.name, filter, limit=MOST)
            if task.state in TERMINAL
        ]
        return sorted(found, key=_over, reverse=True)


def _over(task: Task) -> tuple[datetime, int]:
    assert task.finished_at is not None
    return task.finished_at, task.number


def _made(standing: Standing) -> tuple[datetime, str]:
    made = standing.schedule or standing.task
    assert made is not None
    return made.created_at, made.id
