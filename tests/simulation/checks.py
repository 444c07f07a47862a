"""
What must hold in a simulated history: the guarantees G1 to G10.

After every commit what it touched is compared with what was true before and with the events it wrote; now and then, and at the
end, everything is looked at.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, NamedTuple

from taskyard.core.event import Cursor, Event
from taskyard.core.task import MOVES, OPEN, TERMINAL, State
from tests.simulation.disk import Disk

#: Which states may follow which by one move.
FOLLOWS: Final[Mapping[str | None, set[str]]] = defaultdict(set)
for _move in MOVES.values():
    for _state in _move.leaves or [None]:
        FOLLOWS[_state] |= _move.enters
#: The state that an event says its task is in; what is not here says nothing of it, or says it in its data.
TOLD: Final = {
    "task.ready": "ready",
    "task.started": "running",
    "task.succeeded": "succeeded",
    "task.failed": "failed",
    "task.canceled": "canceled",
    "task.released": "ready",
    "task.lost": "ready",
    "task.retried": "scheduled",
    "task.delayed": "scheduled",
    "task.suspended": "suspended",
}
#: All that there is looked at once in so many commits.
EVERYTHING_EVERY: Final = 40
#: An instant that is fired so many microseconds after it had to be made up for.
LATE: Final = 10_000_000


class Broken(BaseException):
    """A guarantee did not hold. Not an Exception: nothing that is tested may catch it."""


def must(holds: object, guarantee: str, detail: object = "") -> None:
    if not holds:
        raise Broken(f"{guarantee}: {detail}")


class Seen(NamedTuple):
    """A task as it was after the last commit that touched it, as the file has it: times in microseconds."""

    number: int
    id: str
    type: str
    queue: str
    state: str
    reason: str | None
    priority: int
    weight: int
    key: str | None
    concurrency_key: str | None
    concurrency_limit: int
    run_at: int
    wake_at: int | None
    start_by: int | None
    started_at: int | None
    finished_at: int | None
    claims: int
    failures: int
    holder: str | None
    lease_until: int | None
    cancel_requested_at: int | None
    output: str | None
    error: str | None
    input: str | None
    schedule: str | None
    retry_of: str | None

    @property
    def is_open(self) -> bool:
        return self.finished_at is None

    @property
    def place(self) -> tuple[int, int, int]:
        """Where it stands in its lane."""
        return -self.priority, self.run_at, self.number


_COLUMNS: Final = ", ".join(Seen._fields)
_TOUCHED: Final = f"SELECT {_COLUMNS} FROM tasks WHERE number IN (SELECT value FROM json_each(?))"
_EVENTS: Final = (
    "SELECT subject, kind, data FROM events WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq"
)
#: What must never be found, whatever happened before.
NEVER: Final = {
    "G4 held by a worker that nobody will reap": """
        SELECT id FROM tasks WHERE state = 'running' AND holder LIKE 'worker:%' AND NOT EXISTS
        (SELECT 1 FROM workers WHERE workers.id = substr(holder, 8) AND workers.state IN ('active', 'draining'))""",
    "G4 held by a person without a lease": """
        SELECT id FROM tasks WHERE state = 'running' AND holder NOT LIKE 'worker:%' AND lease_until IS NULL""",
    "G4 suspended for nothing": """
        SELECT id FROM tasks WHERE state = 'suspended' AND reason = 'blocked' AND wake_at IS NULL
        AND NOT EXISTS (SELECT 1 FROM blockers WHERE task = number)""",
    "G4 waits for what has ended": """
        SELECT waiting.id FROM blockers JOIN tasks AS waiting ON waiting.number = blockers.task
        JOIN tasks AS ended ON ended.id = blockers.subject
        WHERE blockers.kind = 'task' AND ended.finished_at IS NOT NULL AND waiting.state = 'suspended'""",
    "G4 waits for what was sent": """
        SELECT task FROM blockers JOIN signals ON subject = organisation || ':' || name WHERE kind = 'event'""",
    "G4 waits for a slot that is free": """
        SELECT id FROM tasks AS waiting WHERE state = 'suspended' AND reason = 'limit'
        AND NOT EXISTS (SELECT 1 FROM tasks AS first WHERE first.concurrency_key = waiting.concurrency_key
            AND first.state = 'suspended' AND first.reason = 'limit'
            AND (-first.priority, first.number) < (-waiting.priority, waiting.number))
        AND concurrency_limit > (SELECT count(*) FROM tasks AS taken
            WHERE taken.concurrency_key = waiting.concurrency_key AND taken.state IN ('ready', 'running'))""",
    "a key twice among the open": """
        SELECT key FROM tasks WHERE key IS NOT NULL AND finished_at IS NULL GROUP BY key HAVING count(*) > 1""",
}


class Checker:
    """
    Args:
        concurrency: How much of a queue may run at once.
        rates: How many tasks of a queue may start in how long.
    """

    def __init__(
        self,
        disk: Disk,
        organisation: int,
        concurrency: Mapping[str, int],
        rates: Mapping[str, tuple[int, timedelta]],
    ) -> None:
        self._disk = disk
        self.organisation = organisation
        self._concurrency = concurrency
        self._rates = rates
        self.seen: dict[int, Seen] = {}
        self.ids: set[str] = set()
        self.acknowledged: dict[str, None] = {}  # in order, to draw from
        self._removed_ids: set[str] = set()
        self.canceled: set[str] = set()
        self.ends: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self.commits = 0
        self._running: dict[str, dict[int, int]] = defaultdict(dict)
        self._slots: dict[str, set[int]] = defaultdict(set)
        self._ready: dict[tuple[str, str], dict[int, Seen]] = defaultdict(dict)
        self._starts: dict[str, list[int]] = defaultdict(list)
        self._requests: dict[str, str] = {}
        self._instants: set[tuple[str, int]] = set()
        self._cursor: Cursor | None = None
        self._feed: list[Event] = []
        self._retention: Mapping[str, timedelta] = {}

    def keeps(self, retention: Mapping[str, timedelta]) -> None:
        """Expect that ended tasks of some queues are removed after a time."""
        self._retention = retention

    def lift_limits(self) -> None:
        """Expect no limits of queues any more."""
        self._concurrency, self._rates = {}, {}

    def acknowledge(self, id: str) -> None:
        """Expect a task to be there until it is old; one that was removed already is only spoken of again."""
        if id not in self._removed_ids:
            must(id in self.ids, "G1 an acknowledged task is not there", id)
            self.acknowledged[id] = None

    def is_ready(self, queue: str, type: str) -> bool:
        """Say whether there is a ready task of one lane."""
        return bool(self._ready[queue, type])

    # -- after every commit -------------------------------------------------------------------------------------------------------

    def after_commit(self, now: int) -> None:
        self.commits += 1
        disk = self._disk
        if self.commits % EVERYTHING_EVERY == 0:
            self.everything()
        if not disk.changed:
            return
        run = disk.raw.execute
        told: dict[str, list[tuple[str, str | None]]] = defaultdict(list)
        if disk.told:
            for subject, kind, data in run(_EVENTS, (json.dumps(list(disk.told)),)):
                told[subject].append((kind, data))
        present = {row[0]: Seen._make(row) for row in run(_TOUCHED, (json.dumps(list(disk.changed)),))}
        queues, keys, started = set(), set(), []
        for number in sorted(disk.changed):
            before, task = self.seen.get(number), present.get(number)
            if task is None:
                self._removed(before, now)
                self.seen.pop(number, None)
                continue
            starts = self._told(before, task, told.get(task.id, ()))
            self._moved(before, task, starts, now)
            self._placed(before, task)
            if task.reason is not None and (before is None or before.reason != task.reason):
                self.counts[f"reason: {task.reason}"] += 1
            if starts:
                started.append((before, task))
                queues.add(task.queue)
                self._starts[task.queue] += [now] * starts
            if task.concurrency_key is not None:
                keys.add(task.concurrency_key)
        for before, task in started:
            self._in_order(before, task, present, now)
        for number, task in present.items():
            self.seen[number] = task
            lane = self._ready[task.queue, task.type]
            if task.state == State.READY:
                lane[number] = task
            else:
                lane.pop(number, None)
        self._limits(queues, keys, now)

    def _removed(self, before: Seen | None, now: int) -> None:
        if before is None:
            return
        must(not before.is_open, "G1 an open task was removed", before)
        kept = self._retention.get(before.queue)
        assert before.finished_at is not None
        old = kept is not None and before.finished_at < now - kept // timedelta(microseconds=1)
        must(old, "G1 a task was removed too early", before)
        self.ids.discard(before.id)
        self._removed_ids.add(before.id)
        self.acknowledged.pop(before.id, None)
        self.counts["state: removed"] += 1

    def _told(self, before: Seen | None, task: Seen, told: Any) -> int:
        """Follow the events of one task in this commit: each a listed move, and the last says where it is. Return its starts."""
        state = before.state if before is not None else None
        starts = 0
        for kind, data in told:
            after: str | None = TOLD.get(kind)
            if kind == "task.submitted":
                after = json.loads(data)["state"]
            if after is None:
                continue
            must(after in FOLLOWS[state], "MOVES no such move", (state, after, kind, task.id))
            self.counts[f"state: {state or 'new'} → {after}"] += 1
            starts += after == State.RUNNING
            state = after
        must(state == task.state, "G7 the events tell another state", (state, task, told))
        return starts

    def _moved(self, before: Seen | None, task: Seen, starts: int, now: int) -> None:
        claims = before.claims if before is not None else 0
        must(task.claims == claims + starts, "G2 a claim did not move the fence", (before, task))
        if before is None:
            self._is_new(task, now)
            return
        if before.state in TERMINAL:
            must(task.state == before.state, "G3 a final state was left", (before, task))
            same = (task.output, task.error) == (before.output, before.error)
            must(same, "G3 an end was rewritten", task)
            return
        must(task.failures >= before.failures, "the retry budget went back", task)
        if starts:
            must(task.id not in self.canceled, "G5 a canceled task started", task)
            must(before.cancel_requested_at is None, "G5 a task that is to stop started again", task)
            in_time = task.start_by is None or task.start_by > now or before.started_at is not None
            must(in_time, "an expired task started", task)

    def _is_new(self, task: Seen, now: int) -> None:
        self.ids.add(task.id)
        request = json.loads(task.input).get("request") if task.input else None
        if request is not None and task.retry_of is None:
            first = self._requests.setdefault(request, task.id)
            must(first == task.id, "G9 a request was done twice", (request, first, task.id))
        if task.schedule is not None:
            instant = (task.schedule, task.run_at)
            must(instant not in self._instants, "G6 an instant fired twice", instant)
            self._instants.add(instant)
            self.counts["schedule fired" if now < task.run_at + LATE else "schedule fired late"] += 1

    def _placed(self, before: Seen | None, task: Seen) -> None:
        """Keep count of what runs and of what has a slot."""
        if task.state == State.RUNNING:
            self._running[task.queue][task.number] = task.weight
        elif before is not None and before.state == State.RUNNING:
            self._running[task.queue].pop(task.number, None)
        if task.concurrency_key is not None:
            slots = self._slots[task.concurrency_key]
            slots.add(task.number) if task.state in ("ready", "running") else slots.discard(task.number)

    def _in_order(self, before: Seen | None, task: Seen, present: Mapping[int, Seen], now: int) -> None:
        """The more urgent of a lane go first, then the longer ready. What the same commit touched may have come later."""
        if before is None or before.state != State.READY:
            return
        for other in self._ready[task.queue, task.type].values():
            if other.number in present or other.place >= before.place:
                continue
            late = other.start_by is not None and other.start_by <= now and other.started_at is None
            must(late, "a task was overtaken in its lane", (other, task))

    def _limits(self, queues: set[str], keys: set[str], now: int) -> None:
        """G10: limits are never exceeded."""
        for name in queues:
            most = self._concurrency.get(name)
            if most is not None:
                weight = sum(self._running[name].values())
                must(weight <= most, "G10 concurrency of a queue", (name, weight))
                self.counts["limit: concurrency of a queue reached"] += weight == most
            if name in self._rates:
                count, period = self._rates[name]
                since = now - period // timedelta(microseconds=1)
                recent = self._starts[name] = [at for at in self._starts[name] if at > since]
                must(len(recent) <= count, "G10 rate of a queue", (name, len(recent), count))
                self.counts["limit: rate of a queue reached"] += len(recent) == count
        for key in keys:
            slots = self._slots[key]
            most = max((self.seen[number].concurrency_limit for number in slots), default=0)
            must(len(slots) <= most, "G10 slots of a concurrency key", (key, slots))
            self.counts["limit: slots of a key reached"] += 0 < len(slots) == most

    # -- everything -----------------------------------------------------------------------------------------------------------------

    def everything(self) -> None:
        for guarantee, query in NEVER.items():
            found = self._disk.raw.execute(query).fetchall()
            must(not found, guarantee, found[:3])

    # -- the feed -------------------------------------------------------------------------------------------------------------------

    def read_feed(self, read: Any, limit: int) -> None:
        """Read on from where the feed was left, as a client that was cut off would."""
        page = read(self._cursor, limit)
        for event in page.events:
            must(self._cursor is None or event.cursor > self._cursor, "G7 the feed went back", event)
            self._feed.append(event)
            kind = event.kind.removeprefix("task.")
            if event.kind.startswith("task.") and kind in TERMINAL:
                earlier = self.ends.get(event.subject)
                must(earlier is None, "G3 two ends", (event.subject, earlier, kind))
                self.ends[event.subject] = kind
        self._cursor = page.next

    # -- the end --------------------------------------------------------------------------------------------------------------------

    def at_the_end(self, read: Any, instants: Mapping[str, set[int]]) -> None:
        """When everything was healed and nothing is left to do."""
        size = -1
        while size != len(self._feed):
            size = len(self._feed)
            self.read_feed(read, 1000)
        run = self._disk.raw.execute
        every = [seq for (seq,) in run("SELECT seq FROM events ORDER BY seq")]
        must(every == [event.cursor.seq for event in self._feed], "G7 the feed missed something", len(every))
        self.everything()
        rows = {row[0]: Seen._make(row) for row in run(f"SELECT {_COLUMNS} FROM tasks")}
        must(rows == self.seen, "a change went unseen", set(rows.items()) ^ set(self.seen.items()))
        by_id = {task.id: task for task in rows.values()}
        for task in rows.values():
            must(task.state not in OPEN, "G4 a task never ended", task)
            must(self.ends.get(task.id) == task.state, "G3 the feed tells another end", task)
        for id in self.acknowledged:
            must(id in by_id, "G1 an acknowledged task was lost", id)
            if id in self.canceled:
                must(by_id[id].state == State.CANCELED, "G5 a canceled task ended otherwise", by_id[id])
        for schedule, due in instants.items():
            fired = {
                at for (at,) in run("SELECT fire_at FROM firings WHERE schedule = ?", (schedule,)).fetchall()
            }
            must(due <= fired, "G6 an instant was missed", (schedule, sorted(due - fired)[:3]))
