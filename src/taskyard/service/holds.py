"""What a hold is worth: whose it is, whether it still stands, and what its holder may say."""

from datetime import datetime
from typing import Final

from taskyard.core.errors import Invalid
from taskyard.core.hold import Hold
from taskyard.core.limits import MAX_KEY_LENGTH, MAX_MESSAGE_LENGTH, check_text
from taskyard.core.task import Task
from taskyard.service.payloads import beginning
from taskyard.store.records import Records

WORKER: Final = "worker:"


def fence(hold: Hold) -> tuple[int, int, str, int]:
    return hold.number, hold.claims, hold.holder, hold.organisation


def still_stands(attempt: Task | None, hold: Hold, now: datetime) -> bool:
    return (
        attempt is not None
        and fence(hold) == (attempt.number, attempt.claims, attempt.holder, attempt.organisation)
        and not is_overdue(attempt, now)
    )


def is_overdue(task: Task, now: datetime) -> bool:
    """Say whether a person's lease has run out; the reaper takes the task away shortly."""
    return task.lease_until is not None and task.lease_until < now


def kept_message(text: str | None) -> str | None:
    return None if text is None else beginning(text, MAX_MESSAGE_LENGTH)


def check_one(text: str, pointer: str) -> None:
    faults = check_text(text, pointer, most=MAX_KEY_LENGTH)
    if faults:
        raise Invalid(faults[0].detail, faults=faults)


def lives(records: Records, organisation: int, worker: str) -> bool:
    """Say whether a worker's lease stands; the reaper leaves it alone until the transaction ends."""
    return records.workers.lives(organisation, worker, records.time)
