"""Tasks as records: insert, read, list, and what hangs on them (labels, results, steps, logs)."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from taskyard.core.task import STATES, Error, Json, State, Task, make_task
from taskyard.core.times import EPOCH, from_micros, to_micros
from taskyard.store.engine import Connection, Row, Value
from taskyard.store.values import from_json, json_text, moment, period

#: How far numbers and times of creation may disagree: transactions that overlap take numbers in one order and commit in another.
SKEW: Final = timedelta(seconds=60)
#: Within these a time can be skewed and stays one.
EARLIEST: Final = EPOCH
LATEST: Final = datetime(9999, 1, 1, tzinfo=UTC)
#: The conditions by further labels that the statements have.
MAX_FILTER_LABELS: Final = 6
#: Counting stops here; lists say "10,000+".
MOST_COUNTED: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """A range of times; each bound may be left open."""

    gte: datetime | None = None
    gt: datetime | None = None
    lte: datetime | None = None
    lt: datetime | None = None

    def bounds(self) -> Iterable[tuple[str, datetime]]:
        for name in ("gte", "gt", "lte", "lt"):
            at = getattr(self, name)
            if at is not None:
                yield name, at


ANY_TIME: Final = Between()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """
    Which tasks a list shows; everything given must hold.

    ``labels`` may name at most :data:`MAX_FILTER_LABELS`. The first leads to the tasks, so let it be the one that fewest have. ``answered_by`` is
    the identity of a person.
    """

    states: tuple[State, ...] = ()
    type: str | None = None
    queue: str | None = None
    parent: str | None = None
    schedule: str | None = None
    key: str | None = None
    holder: str | None = None
    answered_by: str | None = None
    ids: tuple[str, ...] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    created: Between = ANY_TIME
    started: Between = ANY_TIME
    finished: Between = ANY_TIME


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    number: int
    id: str
    task: int
    attempt: int
    name: str
    value: Json
    created_at: datetime
    consumed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    name: str
    attempt: int
    output: Json
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    attempt: int
    text: str
    updated_at: datetime


def task_of(row: Row) -> Task:
    """Return the Task of a row whose columns are the fragment ``{task}``: the fields in their order."""
    (
        number, id, organisation, type, queue, state, reason, priority, target, input, labels, key, concurrency_key,
        concurrency_limit, weight, run_at, wake_at, start_by, created_at, started_at, attempted_at, finished_at, updated_at,
        claims, failures, losses, max_failures, timeout, holder, lease_until, progress, message, output, error, parent,
        schedule, rule, retry_of, report, actor, origin, trace, cancel_requested_at, settled_by,
    ) = row  # fmt: skip
    return make_task(
        number, id, organisation, type, queue, STATES[state], reason, priority, target,
        from_json(input), from_json(labels) or {}, key, concurrency_key,
        concurrency_limit, weight, from_micros(run_at), moment(wake_at), moment(start_by), from_micros(created_at),
        moment(started_at), moment(attempted_at), moment(finished_at), from_micros(updated_at),
        claims, failures, losses, max_failures, period(timeout), holder, moment(lease_until), from_json(progress), message,
        from_json(output), error_of(error), parent, schedule, rule, retry_of, from_json(report), actor, origin, trace,
        moment(cancel_requested_at), settled_by,
    )  # fmt: skip


def error_of(text: str | None) -> Error | None:
    if text is None:
        return None
    error: dict[str, Any] = from_json(text)
    return Error(code=error["code"], message=error["message"], traceback=error.get("traceback"))


def error_text(error: Error | None) -> str | None:
    if error is None:
        return None
    shown = {"code": error.code, "message": error.message}
    return json_text(shown if error.traceback is None else {**shown, "traceback": error.traceback})


#: What 48 bits of a UUIDv7 hold.
_LAST_MILLISECOND: Final = 2**48 - 1


def _first_id(at: datetime) -> str:
    """Return the least UUIDv7 of the millisecond of *at* (RFC 9562, section 5.7)."""
    milliseconds = min(max(0, to_micros(at) // 1000), _LAST_MILLISECOND)
    return str(UUID(int=milliseconds << 80))


class TaskRecords:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def insert(self, rows: Sequence[Mapping[str, Value]]) -> dict[str, int]:
        """Insert tasks; return the numbers of those that went in by id. One whose key is taken by an open task does not."""
        return dict(self._connection.rows_for_each("insert_tasks", rows))

    def insert_soon(self, rows: Sequence[Mapping[str, Value]]) -> Callable[[], dict[str, int]]:
        """Do the same for tasks without a key; the numbers may be asked for after the commit, which saves waiting for them before."""
        inserted = self._connection.rows_to_come("insert_tasks", rows)
        return lambda: dict(inserted())

    def label(self, organisation: int, labels: Iterable[tuple[int, Mapping[str, str]]]) -> None:
        """Index the labels of tasks, given as (task number, labels)."""
        self._connection.rows_for_each(
            "insert_labels",
            [
                {"organisation": organisation, "name": name, "value": value, "task": number}
                for number, each in labels
                for name, value in each.items()
            ],
        )

    def relabel(self, task: Task, labels: Mapping[str, str], now: datetime) -> None:
        """Give *task* exactly *labels*."""
        for name in task.labels:
            self._connection.run("delete_label", organisation=task.organisation, name=name, task=task.number)
        self.label(task.organisation, [(task.number, labels)])
        self._connection.run(
            "relabel_task", number=task.number, labels=json_text(dict(labels) or None), now=to_micros(now)
        )

    def get(self, organisation: int, id: str) -> Task | None:
        return self._one("get_task", organisation=organisation, id=id)

    def get_by_number(self, organisation: int, number: int) -> Task | None:
        return self._one("get_task_by_number", organisation=organisation, number=number)

    def get_by_key(self, organisation: int, key: str) -> Task | None:
        return self._one("get_task_by_key", organisation=organisation, key=key)

    def get_many(self, organisation: int, ids: Sequence[str]) -> list[Task]:
        return self._all("tasks_by_id", organisation=organisation, ids=list(ids)) if ids else []

    def lock(self, organisation: int, ids: Sequence[str]) -> list[Task]:
        """Read tasks and keep anyone else from moving them until the transaction ends; in the order of their numbers."""
        return self._all("lock_tasks", organisation=organisation, ids=list(ids)) if ids else []

    def lock_open_children(self, organisation: int, parents: Sequence[str]) -> list[Task]:
        return (
            self._all("lock_open_children", organisation=organisation, parents=list(parents))
            if parents
            else []
        )

    def lock_numbers(self, numbers: Sequence[int]) -> list[Task]:
        return self._all("lock_tasks_by_number", numbers=list(numbers)) if numbers else []

    def search(
        self,
        organisation: int,
        filter: TaskFilter,
        *,
        limit: int,
        before: int | None = None,
        after: int | None = None,
        offset: int = 0,
        oldest_first: bool = False,
    ) -> list[Task]:
        """
        Return tasks newest first (by number), at most *limit*.

        Args:
            before: Only numbers below this one: the keyset for the next page.
            after: Only numbers above this one.
            offset: For the wires that page so; costs what it skips.
            oldest_first: The other order.
        """
        states: tuple[State | None, ...] = filter.states or (None,)
        most = limit + offset if len(states) > 1 else limit
        found: list[Task] = []
        # One look per state, each in the order of an index; a list of states would cost the index its order.
        for state in states:
            conditions, values = self._conditions(organisation, filter, state)
            if before is not None:
                conditions, values = (*conditions, "before_number"), {**values, "before": before}
            if after is not None:
                conditions, values = (*conditions, "after_number"), {**values, "after": after}
            statement = ("list_labelled" if filter.labels else "list_tasks") + (
                "_oldest" if oldest_first else ""
            )
            skip = offset if len(states) == 1 else 0
            found += self._all(
                statement, *conditions, organisation=organisation, limit=most, offset=skip, **values
            )
        if len(states) == 1:
            return found
        found.sort(key=lambda task: task.number, reverse=not oldest_first)
        return found[offset : offset + limit]

    def list_finished(
        self,
        organisation: int,
        queue: str,
        filter: TaskFilter,
        *,
        limit: int,
        offset: int = 0,
        before: tuple[datetime, int] | None = None,
    ) -> list[Task]:
        """Return the ended tasks of one queue, the last to end first."""
        state = filter.states[0] if len(filter.states) == 1 else None
        conditions, values = self._conditions(organisation, filter, state)
        if before is not None:
            conditions = (*conditions, "finished_before")
            values = {**values, "before_finished": to_micros(before[0]), "before_number": before[1]}
        values["queue"] = queue
        return self._all(
            "list_finished", *conditions, organisation=organisation, limit=limit, offset=offset, **values
        )

    def count(self, organisation: int, filter: TaskFilter, *, most: int = MOST_COUNTED) -> int:
        """Return how many tasks match, counted up to *most*."""
        total = 0
        for state in filter.states or (None,):
            conditions, values = self._conditions(organisation, filter, state)
            statement = "count_labelled" if filter.labels else "count_tasks"
            row = self._connection.row(statement, *conditions, organisation=organisation, most=most, **values)
            total += row[0] if row else 0
        return min(total, most)

    def count_states(self, organisation: int, queue: str, *, most: int = MOST_COUNTED) -> dict[str, int]:
        """Return how many open tasks of *queue* are in each state, each counted up to *most*."""
        return dict(self._connection.rows("count_states", organisation=organisation, queue=queue, most=most))

    def _conditions(
        self, organisation: int, filter: TaskFilter, state: State | None
    ) -> tuple[tuple[str, ...], dict[str, Value]]:
        conditions: list[str] = []
        values: dict[str, Value] = {}
        if state is not None:
            conditions.append("by_state")
            values["state"] = state.value
        for name in ("type", "queue", "parent", "schedule", "key", "holder"):
            wanted = getattr(filter, name)
            if wanted is not None:
                conditions.append(f"by_{name}")
                values[name] = wanted
        if filter.answered_by is not None:
            conditions.append("answered_by")
            values["answered_by"] = filter.answered_by
        if filter.ids is not None:
            conditions.append("by_ids")
            values["ids"] = list(filter.ids)
        for position, (name, value) in enumerate(filter.labels.items(), start=1):
            suffix = "" if position == 1 else f"_{position}"
            if position > 1:
                conditions.append(f"with_label{suffix}")
            values[f"label_name{suffix}"], values[f"label_value{suffix}"] = name, value
        for noun in ("created", "started", "finished"):
            for bound, at in getattr(filter, noun).bounds():
                conditions.append(f"{noun}_{bound}")
                values[f"{noun}_{bound}"] = to_micros(at)
        since = filter.created.gte or filter.created.gt
        if since is not None:
            first = self._connection.row("number_at", id=_first_id(max(since, EARLIEST) - SKEW))
            conditions.append("from_number")
            values["from_number"] = first[0] if first else (1 << 62)
        until = filter.created.lte or filter.created.lt
        if until is not None:
            last = self._connection.row("number_at", id=_first_id(min(until, LATEST) + SKEW))
            if last:
                conditions.append("before_number")
                values["before"] = last[0]
        return tuple(conditions), values

    def set_progress(self, rows: Sequence[Mapping[str, Value]]) -> dict[tuple[int, int, str, int], str]:
        """Write progress of running attempts; return the ids of those that still stood by (number, claims, holder, organisation)."""
        return {
            (number, claims, holder, organisation): id
            for id, number, claims, holder, organisation in self._connection.rows_for_each(
                "set_progress", rows
            )
        }

    def set_report(
        self,
        number: int,
        claims: int,
        holder: str,
        *,
        organisation: int,
        report: Json,
        rule: str | None,
        message: str | None,
        now: datetime,
    ) -> bool:
        return bool(
            self._connection.run(
                "set_report",
                organisation=organisation,
                number=number,
                claims=claims,
                holder=holder,
                report=json_text(report),
                rule=rule,
                message=message,
                now=to_micros(now),
            )
        )

    def publish(self, rows: Sequence[Mapping[str, Value]]) -> dict[str, int]:
        """Insert results; return their numbers by id."""
        return dict(self._connection.rows_for_each("insert_results", rows))

    def results(self, task: Task) -> list[Result]:
        return [result_of(row) for row in self._connection.rows("results_of_task", task=task.number)]

    def get_result(self, organisation: int, id: str) -> Result | None:
        row = self._connection.row("get_result", organisation=organisation, id=id)
        return result_of(row) if row else None

    def consume_result(self, organisation: int, id: str, now: datetime) -> bool:
        return bool(
            self._connection.run("consume_result", organisation=organisation, id=id, now=to_micros(now))
        )

    def add_step(self, number: int, name: str, attempt: int, output: Json, now: datetime) -> bool:
        """Remember a step as done; False when it was done already."""
        row = self._connection.row(
            "insert_step",
            task=number,
            name=name,
            attempt=attempt,
            output=json_text(output),
            now=to_micros(now),
        )
        return row is not None

    def steps(self, number: int) -> list[Step]:
        return [_step_of(row) for row in self._connection.rows("steps_of_task", task=number)]

    def get_step(self, number: int, name: str) -> Step | None:
        row = self._connection.row("get_step", task=number, name=name)
        return _step_of(row) if row else None

    def set_log(self, number: int, attempt: int, text: str, now: datetime) -> None:
        self._connection.run("set_log", task=number, attempt=attempt, text=text, now=to_micros(now))

    def logs(self, number: int) -> list[Log]:
        return [
            Log(attempt=attempt, text=text, updated_at=from_micros(at))
            for attempt, text, at in self._connection.rows("logs_of_task", task=number)
        ]

    def finished_before(self, organisation: int, queue: str, before: datetime, limit: int) -> list[int]:
        rows = self._connection.rows(
            "finished_numbers", organisation=organisation, queue=queue, before=to_micros(before), limit=limit
        )
        return [row[0] for row in rows]

    def finished_places(self) -> Iterator[tuple[int, str]]:
        """Give each organisation and queue that has ended tasks, whether there is such a queue any more or not."""
        place: tuple[int, str] = (0, "")
        while row := self._connection.row("next_finished_place", organisation=place[0], queue=place[1]):
            place = (row[0], row[1])
            yield place

    def delete(self, numbers: Sequence[int]) -> int:
        """Remove ended tasks and all that hangs on them."""
        return self._connection.run("delete_tasks", numbers=list(numbers))

    def _one(self, statement: str, **values: Value) -> Task | None:
        row = self._connection.row(statement, **values)
        return task_of(row) if row else None

    def _all(self, statement: str, *conditions: str, **values: Value) -> list[Task]:
        return [task_of(row) for row in self._connection.rows(statement, *conditions, **values)]


def result_of(row: Row) -> Result:
    number, id, task, attempt, name, value, created_at, consumed_at = row
    return Result(
        number=number,
        id=id,
        task=task,
        attempt=attempt,
        name=name,
        value=from_json(value),
        created_at=from_micros(created_at),
        consumed_at=moment(consumed_at),
    )


def _step_of(row: Row) -> Step:
    name, attempt, output, created_at = row
    return Step(name=name, attempt=attempt, output=from_json(output), created_at=from_micros(created_at))
