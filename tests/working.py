"""What tests of workers share: waiting until something has come true, and short words for what a yard holds."""

import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from taskyard import Yard
from taskyard.core.task import Task
from taskyard.core.worker import Worker

#: Far longer than anything takes on a slow machine: what exceeds it hangs.
PATIENCE_S: Final = float(os.environ.get("TASKYARD_TEST_PATIENCE", "30"))
LOOK_EVERY_S: Final = 0.02
#: Short, so that losing it does not take long; a machine that stalls for longer makes these tests slow, not wrong.
SHORT_LEASE: Final = timedelta(seconds=1.5)


def until(condition: Callable[[], Any]) -> Any:
    """Return the first answer of *condition* that is true; fail when none is for long."""
    pause = threading.Event()
    deadline = time.monotonic() + PATIENCE_S
    while not (answer := condition()):
        assert time.monotonic() < deadline, "it never came true"
        pause.wait(LOOK_EVERY_S)
    return answer


def ended(yard: Yard, task: Task | str) -> Task:
    return yard.wait(task if isinstance(task, str) else task.id, PATIENCE_S)


def running(yard: Yard, task: Task) -> Task:
    """Wait until *task* runs."""
    return until(lambda: (now := yard.get(task.id)).state == "running" and now)


def workers(yard: Yard) -> list[Worker]:
    """Return the workers that live, oldest first."""
    parts = yard.open_parts()
    return parts.store.read(lambda records: records.workers.live(parts.actor.organisation, records.now))


def attempts(yard: Yard, task: Task) -> list[str]:
    """Return what happened to *task*, in order."""
    parts = yard.open_parts()
    events = parts.store.read(lambda records: records.events.of_subject(parts.actor.organisation, task.id))
    return [event.kind.removeprefix("task.") for event in events]


def reap(yard: Yard) -> int:
    """Do what the reaper does once."""
    parts = yard.open_parts()
    return parts.store.write(lambda records: parts.services.work.reap(records, 100))


def lose_lease(yard: Yard, worker: Worker) -> None:
    """Let the worker's lease run out and its tasks be taken away, as if it had been silent for too long."""
    parts = yard.open_parts()

    def expire(records: Any) -> None:
        records.workers.beat(
            parts.actor.organisation,
            worker.id,
            lease_until=records.now - timedelta(seconds=1),
            claimed_at=None,
            state="active",
            now=records.now,
        )
        assert parts.services.work.reap(records, 100)

    parts.store.write(expire)
