"""Results beyond those of one task: lists across tasks and polls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from taskyard.store.engine import Connection, Row, Value
from taskyard.store.listing import NEWEST, Window, count, rows_in
from taskyard.store.tasks import Result, result_of
from taskyard.store.values import from_json

Of = TypeVar("Of", int, str)

#: The condition of each state a result can be in.
STATES: Final[Mapping[str, str]] = {"available": "results_available", "consumed": "results_consumed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A result, with what is told of the task that published it."""

    result: Result
    task: str
    labels: Mapping[str, str]
    target: str | None


@dataclass(frozen=True, slots=True)
class First:
    """The newest results of something, and how many it has in all."""

    results: Sequence[Published] = ()
    total: int = 0


NONE: Final = First()


class ResultRecords:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, organisation: int, id: str) -> Published | None:
        rows = rows_in(self._connection, "list_results", organisation, {"id": id}, NEWEST)
        return _published(rows[0]) if rows else None

    def search(
        self,
        organisation: int,
        *,
        task: str | None,
        poll: str | None,
        state: str | None,
        window: Window,
    ) -> list[Published]:
        conditions, wanted = _narrowed(task, poll, state)
        rows = rows_in(self._connection, "list_results", organisation, wanted, window, *conditions)
        return [_published(row) for row in rows]

    def count(self, organisation: int, *, task: str | None, poll: str | None, state: str | None) -> int:
        conditions, wanted = _narrowed(task, poll, state)
        return count(self._connection, "count_results", organisation, wanted, *conditions)

    def first_of_tasks(self, numbers: Sequence[int], most: int) -> dict[int, First]:
        """Return the first *most* results of each task, by the task's number; of none for those without."""
        rows = self._connection.rows("first_results_of_tasks", tasks=list(numbers), most=most)
        return _grouped([(row[2], row) for row in rows])

    def first_of_polls(self, organisation: int, ids: Sequence[str], most: int) -> dict[str, First]:
        rows = self._connection.rows(
            "first_results_of_polls", organisation=organisation, polls=list(ids), most=most
        )
        return _grouped([(row[12], row) for row in rows])


def _narrowed(task: str | None, poll: str | None, state: str | None) -> tuple[list[str], dict[str, Value]]:
    conditions = [] if state is None else [STATES[state]]
    wanted: dict[str, Value] = {}
    for name, value, condition in (
        ("task", task, "results_of_task_id"),
        ("poll", poll, "results_of_poll_id"),
    ):
        if value is not None:
            conditions.append(condition)
            wanted[name] = value
    return conditions, wanted


def _grouped(rows: Sequence[tuple[Of, Row]]) -> dict[Of, First]:
    found: dict[Of, list[Published]] = {}
    totals: dict[Of, int] = {}
    for of, row in rows:
        found.setdefault(of, []).append(_published(row))
        totals[of] = row[11]
    return {of: First(tuple(each), totals[of]) for of, each in found.items()}


def _published(row: Row) -> Published:
    return Published(result=result_of(row[:8]), task=row[8], labels=from_json(row[9]) or {}, target=row[10])
