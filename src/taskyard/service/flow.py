"""
What one task's move does to others: slots of concurrency keys, tasks that waited for one that ended.

Becoming ready always goes through :func:`make_ready`, and ending always through :func:`after_ends`, so that a limit
is never exceeded and nothing waits for what is over.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from taskyard.core.task import Json, Moved, Reason, State, Task
from taskyard.core.times import to_micros
from taskyard.store.engine import Value
from taskyard.store.records import Records

TASK = "task"
EVENT = "event"

#: What counts of a task under a concurrency key: its organisation, the key, and how many may be ready or running at a time.
Limited = tuple[int, str, int]


def tell_ready(records: Records, organisation: int, queue: str) -> None:
    records.news.add(f"ready:{organisation}:{queue}")


def take_slots(records: Records, places: dict[tuple[int, str], int], task: Limited) -> bool:
    """
    Say whether *task* may be ready under its concurrency key, and count it in *places* if so.

    A place is counted once in a transaction, and nobody else counts it until the transaction ends. Where tasks of one key
    have different limits, each keeps to its own.
    """
    organisation, key, limit = task
    place = (organisation, key)
    if place not in places:
        places[place] = _count_slots(records, organisation, key)
    if places[place] >= limit:
        return False
    places[place] += 1
    return True


def _count_slots(records: Records, organisation: int, key: str) -> int:
    records.work.lock_concurrency_key(organisation, key)
    return records.work.taken_slots(organisation, key)


def make_ready(records: Records, tasks: Iterable[Task]) -> list[Moved]:
    """
    Move scheduled or suspended tasks on: to ready, to ``suspended`` where their concurrency key is taken, or to
    ``scheduled`` where their time has not come. What is where it should be already is not moved.
    """
    now = records.now
    rows: list[dict[str, Value]] = []
    places: dict[tuple[int, str], int] = {}
    # By key first: whoever locks several locks them in one order.
    in_order = sorted(
        tasks, key=lambda task: (task.organisation, task.concurrency_key or "", -task.priority, task.number)
    )
    for task in in_order:
        state, reason = State.READY, None
        if task.run_at > now:
            state, reason = State.SCHEDULED, Reason.DELAYED
        elif task.concurrency_key is not None and not take_slots(
            records, places, (task.organisation, task.concurrency_key, task.concurrency_limit)
        ):
            state, reason = State.SUSPENDED, Reason.LIMIT
        if (state, reason) != (task.state, task.reason):
            rows.append(_put(task, state, reason, task.run_at, now))
    rows.sort(key=lambda row: row["number"])  # type: ignore[arg-type, return-value]
    moved = records.work.put_open(rows)
    for each in moved:
        if each.state is State.READY:
            tell_ready(records, each.organisation, each.queue)
            records.events.append_task("ready", each, now)
            continue
        if each.state is State.SCHEDULED:
            records.news.add("due")
        kind = "delayed" if each.state is State.SCHEDULED else "suspended"
        records.events.append_task(kind, each, now, {"reason": each.reason})
    return moved


def _put(task: Task, state: State, reason: str | None, run_at: datetime, now: datetime) -> dict[str, Value]:
    return {
        "number": task.number,
        "state": state.value,
        "reason": reason,
        "run_at": to_micros(run_at),
        "now": to_micros(now),
    }


def after_slots(records: Records, left: Iterable[Moved]) -> None:
    """Give the slots of tasks that are no longer ready or running to those that wait for them."""
    places = sorted(
        {(task.organisation, task.concurrency_key) for task in left if task.concurrency_key is not None}
    )
    for organisation, key in places:
        # Counted, and so locked, before looking: who is just found to be one too many elsewhere is not overlooked here.
        taken = _count_slots(records, organisation, key)
        while first := records.work.limited(organisation, key, 1):
            free = first[0].concurrency_limit - taken
            if free <= 0:
                break
            moved = make_ready(records, records.work.limited(organisation, key, free))
            if not moved:
                break
            taken += sum(each.state is State.READY for each in moved)


def after_ends(records: Records, ended: Sequence[Moved]) -> None:
    """Do what the ends of tasks set going: slots are given on, and who waited for them goes on."""
    if not ended:
        return
    after_slots(records, ended)
    waiting = records.work.blocked_by(TASK, [task.id for task in ended])
    if waiting:
        # The waiting rows are locked before their blockers are deleted: of two that end at once, one sees the other's delete.
        records.tasks.lock_numbers(waiting)
        records.work.unblock(TASK, [task.id for task in ended])
        go_on(records, waiting)


def go_on(records: Records, waiting: Sequence[int]) -> None:
    """Move on those of some suspended tasks, locked before, that nothing blocks any more."""
    blocked = records.work.still_blocked(waiting)
    free = [
        task
        for task in records.tasks.lock_numbers([number for number in waiting if number not in blocked])
        if task.state is State.SUSPENDED and task.reason == Reason.BLOCKED
    ]
    if free:
        make_ready(records, free)


def answer_event(records: Records, number: int, attempt: int, name: str, payload: Json) -> None:
    """Remember, as a step that is done, what was sent under *name*: the handler finds it when it runs again."""
    records.tasks.add_step(number, f"event:{name}", attempt, payload, records.now)
