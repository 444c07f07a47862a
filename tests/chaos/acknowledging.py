"""
A process that writes to a yard and says on its standard output, line by line, what was acknowledged to it.

It is told what to do by its arguments: ``python acknowledging.py MOVE DATABASE [ARGUMENT]``. A line is a JSON list whose first
element is a word: ``["submitted", id]``, ``["settled", id]``, ``["refused", error, text]``, ``["read", count]``, ``["said", …]``.
"""

import json
import os
import resource
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from uuid_utils import uuid7

from taskyard.core.actor import Actor
from taskyard.core.errors import TaskyardError
from taskyard.core.hold import Hold, Settlement
from taskyard.core.outcome import Done
from taskyard.core.task import NewTask, Task
from taskyard.core.worker import Lane
from taskyard.service.services import build_services
from taskyard.service.tasks import Submission
from taskyard.store.records import Records
from taskyard.store.sqlite import SqliteDatabase
from taskyard.store.store import Store
from taskyard.store.tasks import TaskFilter

NOBODY = 65534
LANES = [Lane("default", "resize")]
_lock = threading.Lock()


def say(*words: Any) -> None:
    with _lock:
        sys.stdout.write(json.dumps(words) + "\n")
        sys.stdout.flush()


class Process:
    def __init__(self, path: Path) -> None:
        self.database = SqliteDatabase(path, lambda: datetime.now(UTC))
        self.database.migrate()
        self.store = Store(self.database, failed=lambda error: say("broken", str(error)))
        self.services = build_services(lambda: str(uuid7()), lambda: 0.0)
        self.actor = Actor(organisation=self.store.write(_organisation), identity="user:1")

    def submit(self, **named: Any) -> bool:
        """Submit a task and say what became of it."""
        new = NewTask(type="resize", **named)
        try:
            [task] = self.store.together(self.services.tasks.submit, [Submission(self.actor, new)])
            if isinstance(task, Exception):
                raise task
        except Exception as error:
            say("refused", type(error).__name__, str(error))
            return False
        say("submitted", task.id)
        return True

    def read(self) -> None:
        say(
            "read",
            self.store.read(lambda r: r.tasks.count(self.actor.organisation, TaskFilter(), most=10**6)),
        )

    def register(self) -> str:
        id = str(uuid7())
        self.store.write(
            lambda r: self.services.work.register(
                r, self.actor, id=id, name="w", lanes=LANES, slots=1, lease=timedelta(hours=1)
            )
        )
        return id

    def claim(self, worker: str) -> list[Task]:
        return self.store.write(lambda r: self.services.work.claim(r, self.actor, worker, LANES, 5))


def _organisation(records: Records) -> int:
    number = records.accounts.insert_organisation("default", "Default", {}, records.now)
    if number is not None:
        return number
    found = records.accounts.organisation_by_name("default")
    assert found is not None
    return found.number


def submit_for_ever(path: Path) -> None:
    """Until somebody kills it, from four threads that share commits."""
    process = Process(path)

    def go_on() -> None:
        while process.submit():
            pass

    for _ in range(4):
        threading.Thread(target=go_on).start()


def submit_some(path: Path) -> None:
    process = Process(path)
    for number in range(100):
        process.submit(input=number)
    process.store.close()


def work(path: Path) -> None:
    """Claim and settle until nothing is ready."""
    process = Process(path)
    worker = process.register()
    try:
        while claimed := process.claim(worker):
            batch = [Settlement(Hold.of(task), Done(os.getpid())) for task in claimed]
            for answer in process.store.together(process.services.work.settle, batch):
                if isinstance(answer, Exception):
                    raise answer
                say("settled", answer.id)
    except TaskyardError as error:
        say("refused", type(error).__name__, str(error))
    process.store.close()


def fill(path: Path) -> None:
    """Submit until no file may grow any more, read, let them grow again, and go on."""
    process = Process(path)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    while process.submit(input="x" * 20_000):
        pass
    process.submit()
    process.read()
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    say("said", "space")
    for _ in range(10):
        process.submit(input="y" * 20_000)
    process.read()
    process.store.close()


def on_command(path: Path) -> None:
    """Do one thing for each line of the standard input."""
    process = Process(path)
    say("said", "ready")
    for line in sys.stdin:
        match line.split():
            case ["submit", size]:
                process.submit(input="x" * int(size))
            case ["read"]:
                process.read()
    process.store.close()


def as_nobody(path: Path) -> None:
    """Open and write with no more rights than files give to anybody."""
    if os.geteuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    try:
        process = Process(path)
    except TaskyardError as error:
        say("refused", type(error).__name__, str(error))
        return
    process.submit()
    process.store.close()


MOVES: dict[str, Callable[[Path], None]] = {
    each.__name__: each for each in (submit_for_ever, submit_some, work, fill, on_command, as_nobody)
}

if __name__ == "__main__":
    MOVES[sys.argv[1]](Path(sys.argv[2]))
