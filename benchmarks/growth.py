"""The moves and looks on a yard of millions and behind blocked tasks, timed in turns with those on a small one."""

import itertools
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from statistics import median

from benchmarks.long_yard import BATCH, LongYard, Run, timed, yard_on
from benchmarks.servers import Servers
from taskyard.core.task import State, Task
from taskyard.store.tasks import Between, TaskFilter

FEW = 10_000
BLOCKED = 10_000
STEP = 100_000
TURNS, EACH = 40, 5
#: Looks are short, and change nothing: with 200 of each, a neighbour's seconds have moved a median by half.
LOOK_TURNS = 120
MOVES = ("claim", "complete", f"claim {BATCH}", f"complete {BATCH}")
#: When the filled tasks were made: ten a second, as their ids say, too; five million are a week's.
EPOCH_MS, APART_MS = 0x018F00000000, 100
#: Finished tasks as they lie there, made by the database itself: millions by the front door would take hours. A hundredth has failed, a tenth
#: was answered by a person; every hundred have a parent in common.
FILL = """
INSERT INTO tasks (id, organisation, type, queue, state, priority, input, labels, run_at, created_at, started_at, attempted_at,
                   finished_at, updated_at, claims, max_failures, output, actor, origin, settled_by, parent, schedule)
SELECT substr(hex, 1, 8) || '-' || substr(hex, 9, 4) || '-7000-8000-000000000000', {organisation}, 'kind' || (n % 20), 'queue' || (n % 10),
       CASE n % 100 WHEN 0 THEN 'failed' ELSE 'succeeded' END, 0, '{{"n":1}}', '{{"site":"s' || (n % 100) || '","fleet":"f"}}', at, at, at, at, at, at,
       1, 3, '1', 'user:1', 'native', CASE n % 100 / 10 WHEN 3 THEN 'user:1' ELSE 'worker:w' END, 'parent' || (n / 100), 'schedule' || (n % 20)
FROM   (SELECT n, ({epoch} + n * {apart}) * 1000 AS at, {hex} AS hex FROM {series}) AS made
"""
#: One label that all have, and one that a hundredth has; in the order of their index.
LABELS = (
    "INSERT INTO labels (organisation, name, value, task) SELECT organisation, 'fleet', 'f', number FROM tasks WHERE parent IS NOT NULL ORDER BY number",
    """
    INSERT INTO labels (organisation, name, value, task) SELECT organisation, 'site', 's' || ((run_at / 1000 - {epoch}) / {apart} % 100) AS value, number
    FROM   tasks WHERE parent IS NOT NULL ORDER BY value, number
    """,
)
INDEXES = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'tasks' AND sql IS NOT NULL",
    "postgresql": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'taskyard' AND tablename = 'tasks'"
    " AND indexname NOT IN (SELECT conname FROM pg_constraint)",
}
#: What comes after a load, so that nothing of it goes on while the looks are timed.
SETTLE = {
    "sqlite": ("ANALYZE", "PRAGMA wal_checkpoint(TRUNCATE)"),
    "postgresql": ("VACUUM (ANALYZE) tasks", "VACUUM (ANALYZE) labels", "CHECKPOINT"),
}
CHECKED = (
    "newest", "state", "type", "queue", "rare label", "common label", "parent", "schedule", "key", "id", "created until", "answered by",
)  # fmt: skip


def fill(run: Run, store: str, organisation: int, records: int) -> None:
    """Load *records* finished tasks with two labels each; the indexes are made afterwards. Then let the database come to rest."""
    began = time.perf_counter()
    indexes = run(INDEXES[store])
    run("PRAGMA synchronous = OFF" if store == "sqlite" else "SET session_replication_role = replica")
    for name, _ in indexes:
        run(f"DROP INDEX {name}")
    for first in range(0, records, STEP):
        last = min(records, first + STEP)
        if store == "sqlite":
            series = f"(WITH RECURSIVE each (n) AS (SELECT {first + 1} UNION ALL SELECT n + 1 FROM each WHERE n < {last}) SELECT n FROM each)"
            hex = f"printf('%012x', {EPOCH_MS} + n * {APART_MS})"
        else:
            series, hex = (
                f"generate_series({first + 1}, {last}) AS n",
                f"lpad(to_hex({EPOCH_MS} + n * {APART_MS}), 12, '0')",
            )
        run(FILL.format(hex=hex, epoch=EPOCH_MS, apart=APART_MS, organisation=organisation, series=series))
        _say(f"{last:,} tasks", began)
    for text in LABELS:
        run(text.format(epoch=EPOCH_MS, apart=APART_MS))
        _say("labels", began)
    for name, text in indexes:
        run(text)
        _say(name, began)
    for text in SETTLE[store]:
        run(text)
        _say(text, began)


def _say(what: str, began: float) -> None:
    print(f"long:   {time.perf_counter() - began:6.1f} s  {what}", file=sys.stderr, flush=True)


def _await_quiet(run: Run) -> None:
    """Wait until no vacuum goes on; three minutes at most."""
    for _ in range(180):
        if not run("SELECT 1 FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'"):
            return
        time.sleep(1)


class Looks:
    """The moves and looks on one yard, each by its name; each call is one."""

    def __init__(self, yard: LongYard, records: int) -> None:
        self.yard = yard
        self.claimed: dict[int, deque[list[Task]]] = {1: deque(), BATCH: deque()}
        once = (TURNS + 1) * EACH
        for _ in range(0, once + (TURNS + 1) * BATCH + 500, 500):
            yard.submit(500)
        self.keyed = yard.submit(1, key="one", queue="elsewhere")[0]
        self.moves: dict[str, tuple[int, Callable[[], object]]] = {
            "claim": (EACH, lambda: self._claim(1)),
            "complete": (EACH, lambda: yard.settle(self.claimed[1].popleft())),
            f"claim {BATCH}": (1, lambda: self._claim(BATCH)),
            "holder": (EACH, lambda: self._listed(TaskFilter(holder=self.claimed[BATCH][0][0].holder))()),
            f"complete {BATCH}": (1, lambda: yard.settle(self.claimed[BATCH].popleft())),
            "get": (
                EACH,
                lambda: yard.store.read(lambda r: yard.services.tasks.get(r, yard.actor, self.keyed.id)),
            ),
        }
        ids = (_id(each) for each in itertools.cycle(range(1, records, max(1, records // 997))))
        self.moves["get any"] = (
            EACH,
            lambda: yard.store.read(lambda r: yard.services.tasks.get(r, yard.actor, next(ids))),
        )
        half = datetime.fromtimestamp((EPOCH_MS + records // 2 * APART_MS) / 1e3, UTC)
        for name, filter in {
            "newest": TaskFilter(),
            "state": TaskFilter(states=(State.FAILED,)),
            "states": TaskFilter(states=(State.FAILED, State.SUCCEEDED, State.RUNNING)),
            "type": TaskFilter(type="kind7"),
            "queue": TaskFilter(queue="queue3"),
            "rare label": TaskFilter(labels={"site": "s42"}),
            "common label": TaskFilter(labels={"fleet": "f"}),
            "parent": TaskFilter(parent=f"parent{records // 200}"),
            "schedule": TaskFilter(schedule="schedule7"),
            "key": TaskFilter(key="one"),
            "id": TaskFilter(ids=(self.keyed.id,)),
            "created since": TaskFilter(created=Between(gte=half)),
            "created until": TaskFilter(created=Between(lt=half)),
        }.items():
            self.moves[name] = (EACH, self._listed(filter))
        self.moves["oldest"] = (EACH, self._listed(TaskFilter(), oldest_first=True))
        for name, filter in {
            "finished": TaskFilter(),
            "finished until": TaskFilter(finished=Between(lt=half)),
            "answered by": TaskFilter(answered_by="user:1"),
        }.items():
            self.moves[name] = (EACH, self._ended(filter))

    def _claim(self, count: int) -> None:
        self.claimed[count].append(self.yard.claim(count))

    def _listed(self, filter: TaskFilter, **named: bool) -> Callable[[], object]:
        yard = self.yard
        return lambda: yard.store.read(
            lambda r: yard.services.tasks.search(r, yard.actor, filter, limit=50, **named)
        )

    def _ended(self, filter: TaskFilter) -> Callable[[], object]:
        yard = self.yard
        return lambda: yard.store.read(
            lambda r: r.tasks.list_finished(yard.organisation, "queue3", filter, limit=50)
        )


def _id(n: int) -> str:
    """Return the id of the n-th task that was filled in."""
    made = f"{EPOCH_MS + n * APART_MS:012x}"
    return f"{made[:8]}-{made[8:]}-7000-8000-000000000000"


def check_alike(looks: Iterable[Looks]) -> None:
    """Raise AssertionError if a list finds nothing, or not as much on each yard: it would not be the same look."""
    for name in CHECKED:
        found = {len(each.moves[name][1]()) for each in looks}  # type: ignore[arg-type]
        if len(found) > 1 or found == {0}:
            raise AssertionError(f"{name} finds {found}")


def in_turns(yards: dict[str, Looks]) -> dict[str, dict[str, float]]:
    """Return the p50 of each look on each yard, in milliseconds: a few on one, a few on the next, many turns; the first turn warms."""
    found: dict[str, dict[str, float]] = {}
    for name in next(iter(yards.values())).moves:
        taken: dict[str, list[float]] = {yard: [] for yard in yards}
        for turn in range((TURNS if name in MOVES else LOOK_TURNS) + 1):
            for yard in list(yards)[:: -1 if turn % 2 else 1]:
                times, move = yards[yard].moves[name]
                spent = [timed(move, 1) for _ in range(times)]
                taken[yard] += spent if turn else []
        found[name] = {yard: median(each) for yard, each in taken.items()}
    return found


def growth(servers: Servers, store: str, records: int) -> dict[str, float]:
    """Return how much slower each look is on a full yard than on one of 10,000, and on one of those with 10,000 blocked tasks in front."""
    with ExitStack() as open:
        yards = {name: open.enter_context(yard_on(servers, store)) for name in ("few", "full", "blocked")}
        began = time.perf_counter()
        for name, (yard, run) in yards.items():
            fill(run, store, yard.organisation, records if name == "full" else FEW)
        loaded = time.perf_counter() - began
        yard = yards["blocked"][0]
        first = yard.submit(1, queue="elsewhere")[0].id
        for _ in range(0, BLOCKED, 500):
            yard.submit(500, priority=10, blocked_by=(first,))
        looks = {name: Looks(yard, records if name == "full" else FEW) for name, (yard, _) in yards.items()}
        for _, run in yards.values():
            for text in SETTLE[store]:
                run(text)
        if store == "postgresql":
            _await_quiet(run)
        check_alike(looks.values())
        taken = in_turns(looks)
    found: dict[str, float] = {f"{store}.records": records, f"{store}.load_s": loaded}
    for name, p50 in taken.items():
        found[f"{store}.{name}.ms"] = p50["few"]
        found[f"{store}.{name}.growth"] = p50["full"] / p50["few"]
        found[f"{store}.{name}.blocked"] = p50["blocked"] / p50["few"]
    found[f"{store}.worst_growth"] = max(
        max(p50["full"], p50["blocked"]) / p50["few"] for p50 in taken.values()
    )
    return found


def looks_table(found: Mapping[str, float]) -> str:
    """Return each look as a row in Markdown: what it takes on a small yard, and how much more on a full one and behind blocked tasks."""
    named = dict.fromkeys(
        name.split(".")[2] for name in found if name.startswith("long.") and name.endswith(".growth")
    )
    lines = [
        "| | SQLite, ms | full ÷ few | blocked ÷ few | PostgreSQL, ms | full ÷ few | blocked ÷ few |",
        "|---" + "|--:" * 6 + "|",
    ]
    for name in named:
        cells = (
            found.get(f"long.{store}.{name}.{what}")
            for store in SETTLE
            for what in ("ms", "growth", "blocked")
        )
        lines.append(
            f"| {name} | " + " | ".join("–" if each is None else f"{each:.2f}" for each in cells) + " |"
        )
    return "\n".join(lines) if named else ""
