"""Settle: how attempts end, whoever ends them: their holders, their cancelers, or the reaper of those who died."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, assert_never

from taskyard.core.backoff import retry_delay
from taskyard.core.errors import Invalid, LeaseLost, TooLarge
from taskyard.core.hold import Hold, Settlement
from taskyard.core.limits import MAX_LOG_BYTES, MAX_MESSAGE_LENGTH, MAX_NAME_LENGTH
from taskyard.core.outcome import Done, Failed, Later, Released, Stopped, Waits
from taskyard.core.task import MAX_LOSSES, Error, Json, Moved, Reason, State, Task
from taskyard.service.flow import EVENT, TASK, after_ends, after_slots, answer_event, tell_ready
from taskyard.service.holds import WORKER, check_one, kept_message, lives, still_stands
from taskyard.service.payloads import beginning, end, fitting
from taskyard.service.tasks import check_known
from taskyard.store.engine import Value
from taskyard.store.records import Records
from taskyard.store.tasks import error_text
from taskyard.store.values import from_json, micros

LOST: Final = Error(code="lost", message="the worker that ran this died or was cut off")
POISONED: Final = Error(
    code="poisoned",
    message=f"{MAX_LOSSES} workers or their child processes died while running this, so it is likely what kills them",
)


class Settling:
    """
    A part of :class:`taskyard.service.work.Work`: the ends of attempts.

    ``_jitter`` spreads the retries of what failed together.
    """

    _jitter: Callable[[], float]
    _max_payload_bytes: int

    def settle(self, records: Records, settlements: Sequence[Settlement]) -> list[Moved | Exception]:
        """
        End many attempts: the answer for each, in order, is where its task is now, or the refusal that concerns it alone.

        Refusals:
            LeaseLost: the attempt is no longer the holder's; nothing of it is kept.
            Invalid, TooLarge: the output; the attempt is still the holder's, who may settle it otherwise.
        """
        if not settlements:
            return []
        dead = self._dead_holders(records, settlements)
        looked_at = _to_look_at(settlements)
        attempts = records.work.lock_attempts(sorted(looked_at))
        endings: dict[int, dict[str, Value]] = {}
        waits: dict[int, list[tuple[int, str, str]]] = {}
        answers: list[Moved | Exception | None] = [None] * len(settlements)
        for position, settlement in enumerate(settlements):
            hold = settlement.hold
            attempt = attempts.get(hold.number)
            stands = hold.number not in looked_at or still_stands(attempt, hold, records.now)
            try:
                # A number that is in the endings was looked at: its attempt is ended by an earlier settlement of this batch.
                if (hold.organisation, hold.holder) in dead or not stands or hold.number in endings:
                    raise LeaseLost(hold.id, hold.claims)
                endings[hold.number] = self._decided(records, settlement, attempt, waits)
            except (LeaseLost, Invalid, TooLarge) as refusal:
                answers[position] = refusal
        settled = self._write(records, [endings[number] for number in sorted(endings)], waits)
        for position, settlement in enumerate(settlements):
            if answers[position] is None:
                answers[position] = self._settled(records, settlement, settled)
        return [answer for answer in answers if answer is not None]

    def _settled(
        self, records: Records, settlement: Settlement, settled: Mapping[int, Moved]
    ) -> Moved | Exception:
        hold = settlement.hold
        task = settled.get(hold.number)
        if task is None:
            return LeaseLost(hold.id, hold.claims)
        if settlement.log:
            records.tasks.set_log(hold.number, hold.claims, end(settlement.log, MAX_LOG_BYTES), records.now)
        return task

    def _dead_holders(self, records: Records, settlements: Sequence[Settlement]) -> set[tuple[int, str]]:
        """Return the workers among the holders whose lease has run out: late is refused, even before the reaper came by."""
        holders = {(each.hold.organisation, each.hold.holder) for each in settlements}
        return {
            (organisation, holder)
            for organisation, holder in holders
            if holder.startswith(WORKER) and not lives(records, organisation, holder.removeprefix(WORKER))
        }

    def _decided(
        self,
        records: Records,
        settlement: Settlement,
        task: Task | None,
        waits: dict[int, list[tuple[int, str, str]]],
    ) -> dict[str, Value]:
        """Return the row that ends the attempt; for a task that waits, its blockers go into *waits*."""
        hold, outcome = settlement.hold, settlement.outcome
        if isinstance(outcome, Done):
            output = fitting("the output", outcome.output, self._max_payload_bytes)
            return self._ending(records, hold, State.SUCCEEDED, None, output=output)
        assert task is not None  # looked at, and found to stand
        if task.cancel_requested_at is not None:
            message = outcome.message if isinstance(outcome, Stopped | Released) else None
            return self._ending(records, hold, State.CANCELED, None, message=message)
        match outcome:
            case Failed():
                return self._failed(records, task, outcome)
            case Later(delay):
                if delay <= timedelta(0):
                    return self._ending(records, hold, State.READY, Reason.LATER, run_at=records.now)
                return self._ending(records, hold, State.SCHEDULED, Reason.LATER, run_at=records.now + delay)
            case Waits():
                return self._waiting(records, task, outcome, waits)
            case Stopped(message):
                return self._ending(records, hold, State.CANCELED, None, message=message)
            case Released(message):
                return self._ending(records, hold, State.READY, None, run_at=records.now, message=message)
            case _:
                assert_never(outcome)

    def _failed(self, records: Records, task: Task, failed: Failed) -> dict[str, Value]:
        error = _error_of(failed)
        spent: dict[str, Value] = {"failed": 1, "lost": int(failed.code == Reason.KILLED)}
        if failed.code == Reason.KILLED and task.losses + 1 >= MAX_LOSSES:
            error = replace(POISONED, message=f"{POISONED.message}; at last: {failed.message}")
            return {**self._ending(records, task, State.FAILED, Reason.POISONED, error=error), **spent}
        reason = Reason(failed.code) if failed.code in (Reason.TIMED_OUT, Reason.KILLED) else None
        if failed.final or task.failures + 1 >= task.max_failures:
            return {**self._ending(records, task, State.FAILED, reason, error=error), **spent}
        after = (
            failed.after if failed.after is not None else retry_delay(task.failures + 1, jitter=self._jitter)
        )
        ending = self._ending(
            records, task, State.SCHEDULED, Reason.RETRY, run_at=records.now + after, error=error
        )
        return {**ending, **spent}

    def _waiting(
        self, records: Records, task: Task, outcome: Waits, waits: dict[int, list[tuple[int, str, str]]]
    ) -> dict[str, Value]:
        open_ids = records.work.open_ids(task.organisation, list(outcome.tasks))
        ended = [id for id in dict.fromkeys(outcome.tasks) if id not in open_ids]
        check_known(records, task.organisation, ended, outcome.tasks, "/tasks")
        blockers = [(task.number, TASK, id) for id in sorted(open_ids) if id != task.id]
        for index, name in enumerate(outcome.events):
            check_one(name, f"/events/{index}")
            sent = records.work.signal(task.organisation, name)
            if sent is not None:
                answer_event(records, task.number, task.claims, name, sent[0])
            else:
                blockers.append((task.number, EVENT, f"{task.organisation}:{name}"))
        only_sleeps = not outcome.tasks and not outcome.events and outcome.until is not None
        if not blockers and not only_sleeps:
            return self._ending(records, task, State.READY, None)
        waits[task.number] = blockers
        return self._ending(records, task, State.SUSPENDED, Reason.BLOCKED, wake_at=outcome.until)

    def _ending(
        self,
        records: Records,
        hold: Hold | Task,
        state: State,
        reason: str | None,
        *,
        run_at: datetime | None = None,
        wake_at: datetime | None = None,
        output: str | None = None,
        error: Error | None = None,
        message: str | None = None,
    ) -> dict[str, Value]:
        return {
            "organisation": hold.organisation,
            "number": hold.number,
            "claims": hold.claims,
            "holder": hold.holder,
            "state": state.value,
            "reason": reason,
            "run_at": micros(run_at),
            "wake_at": micros(wake_at),
            "failed": 0,
            "lost": 0,
            "output": output,
            "error": error_text(error),
            "message": kept_message(message),
            "now": micros(records.time),
        }

    def _write(
        self,
        records: Records,
        endings: Sequence[dict[str, Value]],
        waits: Mapping[int, list[tuple[int, str, str]]] | None = None,
    ) -> dict[int, Moved]:
        """Write endings and do what follows from them; the one way in which any attempt ends."""
        if not endings:
            return {}
        settled = records.work.settle(endings)
        if waits:
            records.work.block(
                [blocker for number in settled if number in waits for blocker in waits[number]]
            )
        errors = {ending["number"]: ending["error"] for ending in endings if ending["error"] is not None}
        # Who decided belongs in the log for good; that a worker did stands in the event of its start.
        people = {
            ending["number"]: ending["holder"]
            for ending in endings
            if not str(ending["holder"]).startswith(WORKER)
        }
        ended: list[Moved] = []
        freed: list[Moved] = []
        for task in settled.values():
            records.news.add(
                f"left:{task.organisation}:{task.queue}"
            )  # a queue with a limit has room for another
            data: dict[str, Json] = {"attempt": task.claims}
            if task.number in people:
                data["holder"] = people[task.number]
            if not task.is_open:
                ended.append(task)
                if task.state is State.FAILED:
                    data["error"] = from_json(str(errors[task.number]))["code"]
                records.events.append_task(task.state.value, task, records.time, data)
                continue
            if task.state is State.READY:
                tell_ready(records, task.organisation, task.queue)
            else:
                freed.append(task)
                if task.state is State.SCHEDULED or task.wakes:
                    records.news.add("due")
            data["state"] = task.state.value
            records.events.append_task(_still_open_kind(task), task, records.time, data)
        after_slots(records, freed)
        after_ends(records, ended)
        return settled

    # -- of those who are gone ---------------------------------------------------------------------------------------------------

    def _give_back(self, records: Records, held: Sequence[Task], message: str | None = None) -> None:
        """Make ready again what a holder lets go, in its old place; what was asked to stop has stopped by that."""
        self._write(
            records,
            [
                self._ending(
                    records,
                    task,
                    State.READY if task.cancel_requested_at is None else State.CANCELED,
                    None,
                    message=message,
                )
                for task in held
            ],
        )

    def _lose(self, records: Records, held: Sequence[Task]) -> None:
        endings = []
        for task in held:
            losses, failures = task.losses + 1, task.failures + 1
            if task.cancel_requested_at is not None:
                ending = self._ending(records, task, State.CANCELED, None)
            elif losses >= MAX_LOSSES:
                ending = self._ending(records, task, State.FAILED, Reason.POISONED, error=POISONED)
            elif failures >= task.max_failures:
                ending = self._ending(records, task, State.FAILED, Reason.LOST, error=LOST)
            else:
                ending = self._ending(records, task, State.READY, Reason.LOST, error=LOST)
            endings.append({**ending, "failed": 1, "lost": 1})
        self._write(records, endings)


def _to_look_at(settlements: Sequence[Settlement]) -> set[int]:
    """
    Return the numbers of the tasks that must be read before their attempts can be ended.

    A worker's ``Done`` needs no look, as the write is fenced; but of several settlements of one task the right one must be
    known, and a person's lease stands on the task.
    """
    times = Counter(each.hold.number for each in settlements)
    return {
        each.hold.number
        for each in settlements
        if times[each.hold.number] > 1
        or not isinstance(each.outcome, Done)
        or not each.hold.holder.startswith(WORKER)
    }


def _error_of(failed: Failed) -> Error:
    """Return the error as it is kept. A failure is never refused for what it says: it is cut instead."""
    return Error(
        code=beginning(failed.code, MAX_NAME_LENGTH) or "error",
        message=beginning(failed.message, MAX_MESSAGE_LENGTH),
        traceback=None if failed.traceback is None else end(failed.traceback, MAX_LOG_BYTES),
    )


def _still_open_kind(task: Moved) -> str:
    if task.reason == Reason.RETRY:
        return "retried"
    if task.reason == Reason.LOST:
        return "lost"
    if task.state is State.SUSPENDED:
        return "suspended"
    return "released" if task.state is State.READY else "delayed"
