"""Queues and their settings, and the log of recent starts that rate limits are kept by."""

from datetime import datetime
from functools import lru_cache

from taskyard.core.queue import Kind, Queue, QueueSettings, RateLimit
from taskyard.core.times import from_micros, span, span_micros, to_micros
from taskyard.store.engine import Connection, Row, Value
from taskyard.store.values import from_json, json_text


class QueueRecords:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def insert(self, organisation: int, name: str, settings: QueueSettings, now: datetime) -> bool:
        """Add a queue; False when there is one of that name."""
        row = self._connection.row(
            "insert_queue", organisation=organisation, name=name, now=to_micros(now), **_columns(settings)
        )
        return row is not None

    def update(self, organisation: int, name: str, settings: QueueSettings, now: datetime) -> bool:
        return bool(
            self._connection.run(
                "update_queue", organisation=organisation, name=name, now=to_micros(now), **_columns(settings)
            )
        )

    def get(self, organisation: int, name: str) -> Queue | None:
        row = self._connection.row("get_queue", organisation=organisation, name=name)
        return _queue_of(row) if row else None

    def get_by_number(self, organisation: int, number: int) -> Queue | None:
        row = self._connection.row("get_queue_by_number", organisation=organisation, number=number)
        return _queue_of(row) if row else None

    def lock(self, organisation: int, name: str) -> tuple[Queue, list[list[int]]] | None:
        """Return the queue and its log of starts, [[second bucket's end in µs, starts], …]; nobody else counts meanwhile."""
        row = self._connection.row("lock_queue", organisation=organisation, name=name)
        return (_queue_of(row[:-1]), from_json(row[-1])) if row else None

    def rate_log(self, organisation: int, name: str) -> list[list[int]]:
        row = self._connection.row("rate_log", organisation=organisation, name=name)
        return from_json(row[0]) if row else []

    def set_rate_log(self, organisation: int, name: str, log: list[list[int]]) -> None:
        self._connection.run("set_rate_log", organisation=organisation, name=name, rate_log=json_text(log))

    def by_name(self, organisation: int, names: list[str]) -> dict[str, Queue]:
        if len(names) == 1:  # the common case has a plainer statement
            queue = self.get(organisation, names[0])
            return {names[0]: queue} if queue else {}
        rows = self._connection.rows("queues_by_name", organisation=organisation, names=names)
        return {queue.name: queue for queue in map(_queue_of, rows)}

    def all(self, organisation: int) -> list[Queue]:
        return [_queue_of(row) for row in self._connection.rows("list_queues", organisation=organisation)]

    def every(self) -> list[Queue]:
        """Return the queues of all organisations: the janitor's round."""
        return [_queue_of(row) for row in self._connection.rows("every_queue")]

    def delete(self, organisation: int, name: str) -> bool:
        return bool(self._connection.run("delete_queue", organisation=organisation, name=name))


def _columns(settings: QueueSettings) -> dict[str, Value]:
    return {
        "title": settings.title,
        "kind": settings.kind.value,
        "paused": int(settings.paused),
        "concurrency": settings.concurrency,
        "rate_count": settings.rate.count if settings.rate else None,
        "rate_period": span_micros(settings.rate.period) if settings.rate else None,
        "lease": span_micros(settings.lease),
        "max_failures": settings.max_failures,
        "retention": span_micros(settings.retention),
        "form": json_text(settings.form),
        "settings": json_text(settings.settings),
    }


@lru_cache(maxsize=1024)  # every submission and claim reads one, and they seldom change
def _queue_of(row: Row) -> Queue:
    (number, organisation, name, title, kind, paused, concurrency, rate_count, rate_period, lease, max_failures, retention,
     form, settings, created_at, updated_at) = row  # fmt: skip
    return Queue(
        number=number,
        organisation=organisation,
        name=name,
        settings=QueueSettings(
            kind=Kind(kind),
            title=title,
            paused=bool(paused),
            concurrency=concurrency,
            rate=RateLimit(count=rate_count, period=span(rate_period)) if rate_count is not None else None,
            lease=span(lease),
            max_failures=max_failures,
            retention=span(retention),
            form=from_json(form),
            settings=from_json(settings),
        ),
        created_at=from_micros(created_at),
        updated_at=from_micros(updated_at),
    )
