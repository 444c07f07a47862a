"""Extend, report, publish, step, spawn: what holders do while they work."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from operator import itemgetter

from taskyard.core.actor import Actor, Permission
from taskyard.core.errors import Invalid, LeaseLost, TooLarge
from taskyard.core.hold import Hold, Report
from taskyard.core.limits import MAX_LOG_BYTES, check_name
from taskyard.core.task import Json, NewTask, Task
from taskyard.core.times import to_micros
from taskyard.service.holds import check_one, fence, kept_message, still_stands
from taskyard.service.payloads import end, fitting
from taskyard.service.tasks import Submission, Tasks
from taskyard.store.engine import Value
from taskyard.store.records import Records
from taskyard.store.tasks import Step


class Reports:
    """A part of :class:`taskyard.service.work.Work`: what is said and done under a hold, none of which ends it."""

    _tasks: Tasks
    _new_id: Callable[[], str]
    _max_payload_bytes: int

    def extend(self, records: Records, actor: Actor, task: Task, *, lease: timedelta) -> Task:
        """Keep a person's lease on *task* for *lease* from now. Raises LeaseLost."""
        actor.require(Permission.WORK)
        mine = replace(task, holder=actor.identity, organisation=actor.organisation)
        extended = records.work.extend(mine, records.now + lease, records.now)
        if extended is None:
            raise LeaseLost(task.id, task.claims)
        return extended

    def report(self, records: Records, reports: Sequence[Report]) -> list[Exception | None]:
        """Write progress and messages of many attempts; who no longer holds his is told so."""
        answers: list[Exception | None] = [None] * len(reports)
        said: dict[tuple[int, int, str, int], dict[str, Value]] = {}
        for position, each in enumerate(reports):
            try:
                row = self._report_row(records, each)
            except (Invalid, TooLarge) as refusal:
                answers[position] = refusal
                continue
            # The last word counts where one attempt reports twice; what it does not speak of stays as it was.
            known = said.setdefault(fence(each.hold), row)
            known.update((name, value) for name, value in row.items() if value is not None)
        kept = records.tasks.set_progress(sorted(said.values(), key=itemgetter("number")))
        for position, each in enumerate(reports):
            if answers[position] is not None:
                continue
            if kept.get(fence(each.hold)) != each.hold.id:
                answers[position] = LeaseLost(each.hold.id, each.hold.claims)
                continue
            records.events.append(
                "task.progressed",
                organisation=each.hold.organisation,
                subject=each.hold.id,
                at=records.now,
                data={"progress": each.progress, "message": kept_message(each.message)},
            )
        return answers

    def _report_row(self, records: Records, report: Report) -> dict[str, Value]:
        return {
            "organisation": report.hold.organisation,
            "number": report.hold.number,
            "claims": report.hold.claims,
            "holder": report.hold.holder,
            "progress": self._fitting("the progress", report.progress),
            "message": kept_message(report.message),
            "now": to_micros(records.now),
        }

    def set_report(
        self,
        records: Records,
        hold: Hold,
        report: Json,
        *,
        rule: str | None = None,
        message: str | None = None,
    ) -> None:
        """Write the execution report of a plan, and the rule it was resolved to. Raises LeaseLost, Invalid, TooLarge."""
        self._fitting("the report", report)
        written = records.tasks.set_report(
            hold.number,
            hold.claims,
            hold.holder,
            organisation=hold.organisation,
            report=report,
            rule=rule,
            message=kept_message(message),
            now=records.now,
        )
        if not written:
            raise LeaseLost(hold.id, hold.claims)

    def publish(self, records: Records, hold: Hold, name: str, value: Json) -> str:
        """Publish a result, visible at once; return its id. Raises LeaseLost, Invalid, TooLarge."""
        self._check(records, hold)
        faults = check_name(name, "/name", "result name")
        if faults:
            raise Invalid(faults[0].detail, faults=faults)
        id = self._new_id()
        records.tasks.publish(
            [
                {
                    "id": id,
                    "organisation": hold.organisation,
                    "task": hold.number,
                    "attempt": hold.claims,
                    "name": name,
                    "value": self._fitting("the result", value),
                    "created_at": to_micros(records.now),
                }
            ]
        )
        records.events.append(
            "task.published",
            organisation=hold.organisation,
            subject=hold.id,
            at=records.now,
            data={"result": id, "name": name},
        )
        return id

    def finish_step(self, records: Records, hold: Hold, name: str, output: Json) -> Step:
        """Remember a step as done; return it as it is remembered: the first to finish counts. Raises LeaseLost, Invalid, TooLarge."""
        self._check(records, hold)
        check_one(name, "/step")
        self._fitting(f"the output of the step {name!r}", output)
        records.tasks.add_step(hold.number, name, hold.claims, output, records.now)
        step = records.tasks.get_step(hold.number, name)
        assert step is not None
        return step

    def steps(self, records: Records, hold: Hold) -> list[Step]:
        """Return the steps of a task that are done; a read. Raises LeaseLost."""
        task = records.tasks.get_by_number(hold.organisation, hold.number)
        if not still_stands(task, hold, records.now):
            raise LeaseLost(hold.id, hold.claims)
        return records.tasks.steps(hold.number)

    def spawn(
        self, records: Records, actor: Actor, hold: Hold, step: str, news: Sequence[NewTask]
    ) -> list[str]:
        """
        Submit children of a task as one step: done once, however often the task is tried. Returns their ids.

        Raises:
            LeaseLost, and what submitting raises; nothing is submitted then.
        """
        self._check(records, hold)
        check_one(step, "/step")
        done = records.tasks.get_step(hold.number, step)
        if done is not None:
            return [str(id) for id in done.output]
        children = [Submission(actor, replace(new, parent=hold.id)) for new in news]
        ids: list[str] = []
        for answer in self._tasks.submit(records, children):
            if isinstance(answer, Exception):
                raise answer
            ids.append(answer.id)
        records.tasks.add_step(hold.number, step, hold.claims, ids, records.now)
        return ids

    def save_log(self, records: Records, hold: Hold, text: str) -> None:
        """Write what the attempt has logged so far; the newest is kept when it is too long. Raises LeaseLost."""
        self._check(records, hold)
        records.tasks.set_log(hold.number, hold.claims, end(text, MAX_LOG_BYTES), records.now)

    def _check(self, records: Records, hold: Hold) -> None:
        if not records.work.holds(hold.organisation, hold.number, hold.id, hold.claims, hold.holder):
            raise LeaseLost(hold.id, hold.claims)

    def _fitting(self, what: str, value: Json) -> str | None:
        return fitting(what, value, self._max_payload_bytes)
