"""What people need beside a task: drafts, comments, and a look at what each of them holds."""

from dataclasses import dataclass
from datetime import datetime

from taskyard.core.task import Json, Task
from taskyard.core.times import from_micros, to_micros
from taskyard.store.engine import Connection, Row
from taskyard.store.tasks import task_of
from taskyard.store.values import from_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An answer that is not finished, and who wrote it in which attempt."""

    attempt: int
    author: str
    data: Json
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    number: int
    id: str
    task: int
    author: str
    text: str
    created_at: datetime


class InboxRecords:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def set_draft(self, task: int, *, attempt: int, author: str, data: str | None, now: datetime) -> None:
        """Keep *data*, JSON text, in place of what was drafted before."""
        self._connection.run(
            "set_draft", task=task, attempt=attempt, author=author, data=data, now=to_micros(now)
        )

    def draft(self, task: int) -> Draft | None:
        row = self._connection.row("get_draft", task=task)
        if row is None:
            return None
        attempt, author, data, updated_at = row
        return Draft(attempt=attempt, author=author, data=from_json(data), updated_at=from_micros(updated_at))

    def forget_draft(self, task: int) -> None:
        self._connection.run("delete_draft", task=task)

    def add_comment(
        self, organisation: int, task: int, *, id: str, author: str, text: str, now: datetime
    ) -> int:
        """Return the new comment's number."""
        row = self._connection.row(
            "insert_comment",
            id=id,
            organisation=organisation,
            task=task,
            author=author,
            text=text,
            now=to_micros(now),
        )
        assert row is not None
        return int(row[0])

    def comment(self, organisation: int, task: int, id: str) -> Comment | None:
        row = self._connection.row("get_comment", organisation=organisation, task=task, id=id)
        return _comment_of(row) if row else None

    def comments(self, task: int, limit: int) -> list[Comment]:
        """Return the comments of a task, the first one first."""
        return [_comment_of(row) for row in self._connection.rows("comments_of_task", task=task, limit=limit)]

    def delete_comment(self, organisation: int, id: str) -> bool:
        return bool(self._connection.run("delete_comment", organisation=organisation, id=id))

    def held(self, organisation: int, holder: str, limit: int, *, queue: str | None = None) -> list[Task]:
        """Return what *holder* has now, the longest held first."""
        if queue is None:
            rows = self._connection.rows(
                "tasks_held_by", organisation=organisation, holder=holder, limit=limit
            )
        else:
            rows = self._connection.rows(
                "tasks_held_in", organisation=organisation, holder=holder, queue=queue, limit=limit
            )
        return [task_of(row) for row in rows]


def _comment_of(row: Row) -> Comment:
    number, id, task, author, text, created_at = row
    return Comment(
        number=number, id=id, task=task, author=author, text=text, created_at=from_micros(created_at)
    )
