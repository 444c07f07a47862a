"""
The ceiling: the three moves as bare SQL on Taskyard's own schema and driver, in one loop, and nothing else.

No events, no tenancy, no validation, no retries: what is left is what the database costs.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from uuid_utils import uuid7

BATCH = 100
HOLDER = "worker:raw"

INSERT = """
INSERT INTO tasks (id, organisation, type, queue, state, priority, input, run_at, created_at, updated_at, max_failures, actor, origin)
"""
CLAIM = """
WITH picked AS MATERIALIZED (
    SELECT number FROM tasks WHERE state = 'ready' AND organisation = 1 AND queue = 'default' AND type = 'noop'
    ORDER BY priority DESC, run_at, number LIMIT {limit} {skip}
)
UPDATE tasks SET state = 'running', claims = claims + 1, holder = 'worker:raw', started_at = {now}, attempted_at = {now}, updated_at = {now}
WHERE  number {any} AND (state || '') = 'ready' RETURNING number, claims, id, type, input
"""


class RawSqlite:
    def __init__(self, url: str) -> None:
        from taskyard.store.sqlite import SqliteDatabase

        self._database = SqliteDatabase(Path(url), lambda: datetime.now(UTC))
        self._database.migrate()
        # Opened as the store opens it: full fsync, and checkpoints on a connection of their own.
        self._raw = self._database.connect(writes=True)._raw

    def insert(self, count: int) -> None:
        now = time.time_ns() // 1000
        rows = [(str(uuid7()), f'{{"n":{n}}}', now, now, now) for n in range(count)]
        self._raw.execute("BEGIN IMMEDIATE")
        self._raw.executemany(
            INSERT + "VALUES (?, 1, 'noop', 'default', 'ready', 0, ?, ?, ?, ?, 3, 'user:1', 'native')", rows
        )
        self._raw.execute("COMMIT")

    def claim(self, count: int) -> list[Any]:
        now = time.time_ns() // 1000
        text = CLAIM.format(limit="?1", now="?2", skip="", any="IN (SELECT number FROM picked)")
        self._raw.execute("BEGIN IMMEDIATE")
        claimed = self._raw.execute(text, (count, now)).fetchall()
        self._raw.execute("COMMIT")
        return claimed

    def complete(self, claimed: list[Any]) -> None:
        now = time.time_ns() // 1000
        self._raw.execute("BEGIN IMMEDIATE")
        self._raw.executemany(
            "UPDATE tasks SET state = 'succeeded', output = ?, finished_at = ?, updated_at = ?, holder = NULL "
            "WHERE number = ? AND claims = ? AND holder = ? AND state = 'running'",
            [('{"ok":1}', now, now, row[0], row[1], HOLDER) for row in claimed],
        )
        self._raw.execute("COMMIT")

    def close(self) -> None:
        self._raw.close()
        self._database.close()


class RawPostgres:
    def __init__(self, url: str) -> None:
        from taskyard.store.postgres import PostgresDatabase

        database = PostgresDatabase(url)
        database.migrate()
        self._raw = database.open(writes=True).raw

    def insert(self, count: int) -> None:
        now = str(time.time_ns() // 1000)
        ids = "{" + ",".join(str(uuid7()) for _ in range(count)) + "}"
        self._raw.execute(
            INSERT.encode()
            + b"""SELECT id, 1, 'noop', 'default', 'ready', 0, '{"n":1}', $2, $2, $2, 3, 'user:1', 'native' FROM unnest($1::text[]) AS id""",
            (ids, now),
        )

    def claim(self, count: int) -> list[Any]:
        text = CLAIM.format(
            limit="$1", now="$2", skip="FOR UPDATE SKIP LOCKED", any="= ANY(ARRAY(SELECT number FROM picked))"
        )
        return self._raw.execute(text.encode(), (str(count), str(time.time_ns() // 1000))).fetchall()

    def complete(self, claimed: list[Any]) -> None:
        now = str(time.time_ns() // 1000)
        numbers = "{" + ",".join(str(row[0]) for row in claimed) + "}"
        claims = "{" + ",".join(str(row[1]) for row in claimed) + "}"
        outputs = "{" + ",".join(['"{\\"ok\\":1}"'] * len(claimed)) + "}"
        self._raw.execute(
            b"""UPDATE tasks SET state = 'succeeded', output = given.output, finished_at = $4, updated_at = $4, holder = NULL
                FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS given (number, claims, output)
                CROSS JOIN LATERAL (SELECT 1 FROM tasks AS one WHERE one.number = given.number FOR UPDATE OFFSET 0) AS locked
                WHERE tasks.number = given.number AND tasks.claims = given.claims AND COALESCE(tasks.holder, '') = 'worker:raw'
                AND COALESCE(tasks.state, '') = 'running'""",
            (numbers, claims, outputs, now),
        )

    def close(self) -> None:
        self._raw.close()


def measure(store: str, url: str, *, count: int, one: int) -> dict[str, float]:
    """Return the rates per second of the loop at batches of 100, of its moves alone, and of single commits."""
    raw: Any = RawSqlite(url) if store == "sqlite" else RawPostgres(url)
    raw.insert(1)
    raw.complete(raw.claim(1))
    seconds = {"insert": 0.0, "claim": 0.0, "complete": 0.0}

    def timed(name: str, move: Callable[..., Any], *args: Any) -> Any:
        began = time.perf_counter()
        answer = move(*args)
        seconds[name] += time.perf_counter() - began
        return answer

    for _ in range(count // BATCH):
        timed("insert", raw.insert, BATCH)
        timed("complete", raw.complete, timed("claim", raw.claim, BATCH))
    singles = []
    for _ in range(one):
        began = time.perf_counter()
        raw.insert(1)
        singles.append(time.perf_counter() - began)
    raw.close()
    return {
        "loop": count / sum(seconds.values()),
        **{name: count / each for name, each in seconds.items()},
        "single": one / sum(singles),
        "single_p50_ms": median(singles) * 1e3,
    }
