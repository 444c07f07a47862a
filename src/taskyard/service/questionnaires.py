"""Questions to people in queues whose form is a list of blocks: asked one by one or from a table, listed, taken back."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from taskyard.core.actor import Actor, Permission
from taskyard.core.blocks import PLAIN, Unfit, block_id, literal, merged, taken
from taskyard.core.errors import Fault, Invalid, NotFound, TooLarge
from taskyard.core.limits import MAX_LABEL_VALUE_LENGTH
from taskyard.core.queue import Queue
from taskyard.core.task import OPEN, Json, NewTask, State, Task
from taskyard.service.tasks import Submission, Tasks
from taskyard.store.records import Records
from taskyard.store.tasks import Between, TaskFilter

#: The type of the tasks that are made here.
TYPE: Final = "question"
#: The label that tells where a question came from: ``api``, ``manual``, ``zapier``, or the name of a file.
SOURCE: Final = "source"
#: Rows of one table: what is made in one transaction, all or none.
MAX_ROWS: Final = 10_000
MOST_ACTIVE: Final = 1_000
#: Exact as far as anybody pages.
MOST_COUNTED: Final = 1 << 40

Block = Mapping[str, Any]


def blocks_of(queue: Queue) -> list[dict[str, Any]]:
    """Return the blocks of a queue; none, when its form is something else."""
    form = queue.settings.form
    return form if isinstance(form, list) else []


def values_of(queue: Queue, task: Task) -> dict[str, Json]:
    """Return the values of a task: as they were answered, or for an open one by the queue's blocks of now."""
    if task.state is State.SUCCEEDED and isinstance(task.output, dict):
        return task.output
    return merged(blocks_of(queue), task.input, None)


@dataclass(frozen=True, slots=True)
class Answered:
    """Some answered questions, the last first, and how many there are in all."""

    tasks: list[Task]
    count: int


class Questionnaires:
    """A queue is named by its number here."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks

    def queue(self, records: Records, actor: Actor, number: int) -> Queue:
        """Raises NotFound; another organisation's queue is not found."""
        actor.require(Permission.READ)
        queue = records.queues.get_by_number(actor.organisation, number) if number < 1 << 62 else None
        if queue is None:
            raise NotFound("queue", number)
        return queue

    def queues(self, records: Records, actor: Actor) -> list[Queue]:
        """Return the queues whose form is a list of blocks."""
        actor.require(Permission.READ)
        return [queue for queue in records.queues.all(actor.organisation) if blocks_of(queue)]

    def words(self, records: Records, queue: Queue, word: Callable[[Task], str]) -> set[str]:
        """Return what *word* says of the tasks of a queue, as far as they are looked at."""
        found = records.tasks.search(
            queue.organisation, TaskFilter(states=tuple(sorted(OPEN)), queue=queue.name), limit=MOST_ACTIVE
        )
        found += records.tasks.list_finished(
            queue.organisation, queue.name, TaskFilter(states=(State.SUCCEEDED,)), limit=1
        )
        return {word(task) for task in found}

    def ask(self, records: Records, actor: Actor, queue: Queue, data: Mapping[str, Any], source: str) -> Task:
        """
        Submit a question with the values of its blocks that are known.

        Raises:
            Forbidden, TooLarge.
            Invalid: a value is not of its block's type.
        """
        return self._tasks.submit_one(
            records, actor, _question(queue.name, blocks_of(queue), data, source, "/data")
        )

    def load(self, records: Records, actor: Actor, name: str, table: str, source: str) -> list[Task]:
        """
        Submit a question for each row of a table in CSV whose first row has the ids of blocks: all, or none.

        Text is taken as it is; numbers, lists and objects are literals of Python (``True``, ``['a', 'b']``). Columns of no
        block are passed over.

        Raises:
            NotFound (the queue), Forbidden.
            Invalid: the table cannot be read, or has no row; a fault names the row (``/rows/3``, the first is 1).
            TooLarge: it has too many rows.
        """
        actor.require(Permission.SUBMIT)
        queue = records.queues.get(actor.organisation, name)
        if queue is None:
            raise NotFound("queue", name)
        questions = [
            Submission(actor, question)
            for question in questions_of(queue.name, blocks_of(queue), table, source)
        ]
        tasks: list[Task] = []
        for answer in self._tasks.submit(records, questions):
            if isinstance(answer, Exception):
                raise answer
            tasks.append(answer)
        return tasks

    def answered(
        self,
        records: Records,
        actor: Actor,
        queue: Queue,
        *,
        limit: int,
        offset: int,
        finished: Between,
        user: int | None = None,
    ) -> Answered:
        """Return what was answered, by *user* if one is named."""
        actor.require(Permission.READ)
        wanted = TaskFilter(
            states=(State.SUCCEEDED,),
            finished=finished,
            answered_by=None if user is None else f"user:{user}",
        )
        tasks = records.tasks.list_finished(
            actor.organisation, queue.name, wanted, limit=limit, offset=offset
        )
        counted = replace(wanted, queue=queue.name)
        return Answered(tasks, records.tasks.count(actor.organisation, counted, most=MOST_COUNTED))

    def waiting(self, records: Records, actor: Actor, queue: Queue) -> tuple[int, list[str]]:
        """Return how many questions are not answered yet, and the names of the people who are at some."""
        actor.require(Permission.READ)
        counts = records.tasks.count_states(actor.organisation, queue.name, most=MOST_COUNTED)
        held: list[Task] = []
        if counts.get(State.RUNNING):
            running = TaskFilter(states=(State.RUNNING,), queue=queue.name)
            held = records.tasks.search(actor.organisation, running, limit=MOST_ACTIVE, oldest_first=True)
        names = [person(records, task.organisation, task.holder, by_login=False) for task in held]
        return sum(counts.values()), list(dict.fromkeys(name for name in names if name is not None))

    def flush(self, records: Records, actor: Actor, queue: Queue) -> int:
        """Cancel every open task of a queue, taken from whoever is at it; return how many."""
        actor.require(Permission.CONTROL)
        total = 0
        wanted = TaskFilter(states=tuple(sorted(OPEN)), queue=queue.name)
        while found := records.tasks.search(actor.organisation, wanted, limit=1_000):
            self._tasks.cancel(records, actor, [task.id for task in found], at_once=True)
            total += len(found)
        return total


def person(records: Records, organisation: int, identity: str | None, *, by_login: bool = True) -> str | None:
    """Return the login, or the name, of who is known as *identity*; None for nobody, and for programs."""
    kind, _, number = (identity or "").partition(":")
    if kind != "user" or not number.isdecimal():
        return None
    user = records.accounts.user(organisation, int(number))
    if user is None:
        return None
    return user.login if by_login else user.name


def newest_answered(records: Records, queue: Queue) -> Task | None:
    """Return the question of a queue that was answered last."""
    answered = TaskFilter(states=(State.SUCCEEDED,))
    found = records.tasks.list_finished(queue.organisation, queue.name, answered, limit=1)
    return found[0] if found else None


def questions_of(queue: str, blocks: Sequence[Block], table: str, source: str) -> list[NewTask]:
    """Return a question for each row of a table in CSV; see :meth:`Questionnaires.load`. Raises Invalid, TooLarge."""
    return [
        _question(queue, blocks, _cells(blocks, row, index), source, f"/rows/{index}")
        for index, row in enumerate(_rows(table), start=1)
    ]


def _question(
    queue: str, blocks: Sequence[Block], data: Mapping[str, Any], source: str, pointer: str
) -> NewTask:
    try:
        values = taken(blocks, data)
    except Unfit as unfit:
        raise Invalid(str(unfit), pointer=pointer, code="bad_value") from None
    return NewTask(
        type=TYPE,
        queue=queue,
        input=values,
        labels={SOURCE: source[-MAX_LABEL_VALUE_LENGTH:]},
        origin=source if source in ("api", "zapier", "manual") else "file",
    )


def _rows(table: str) -> list[dict[str, str]]:
    reader = csv.reader(io.StringIO(table.removeprefix("\ufeff"), newline=""), strict=True)
    try:
        ids = next(reader, None)
        if not ids:
            raise Invalid(
                "the file is empty: its first row has the ids of blocks", pointer="/rows", code="empty"
            )
        # Of two columns of one name the first counts.
        places = {id: place for place, id in reversed(list(enumerate(ids)))}
        rows = [
            {id: row[place] for id, place in places.items() if place < len(row)} for row in reader if any(row)
        ]
    except csv.Error as error:
        raise Invalid(
            f"line {reader.line_num} is not CSV: {error}", pointer="/rows", code="bad_csv"
        ) from None
    if len(rows) > MAX_ROWS:
        raise TooLarge("the table, counted in rows,", len(rows), MAX_ROWS)
    return rows


def _cells(blocks: Sequence[Block], row: Mapping[str, str], index: int) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for block in blocks:
        id, kind = block_id(block), block["type"]
        text = row.get(id)
        if text is None and kind == "named_entity_recognition":
            text = row.get(f"{id}.text")
            if text is not None:
                data[id] = text
            continue
        if text is None:
            continue
        try:
            data[id] = text if kind in PLAIN else literal(text)
        except Unfit as unfit:
            raise Invalid(
                f"row {index}: {unfit}",
                faults=[Fault(f"/rows/{index}", "bad_value", f"{id}: {unfit}")],
            ) from None
        if data[id] is None:
            del data[id]
    return data


def at_end_of(day: datetime) -> datetime:
    """Return the last microsecond of the day that begins at *day*."""
    return day.replace(hour=23, minute=59, second=59, microsecond=999_999)
