"""Each move reads an index and stops, whether a yard is new, full of what waits, or full of what is over (SQLite's plans)."""

import re
from datetime import UTC, datetime, timedelta

import apsw
import pytest
from uuid_utils import uuid7

from taskyard.core.actor import Actor
from taskyard.core.hold import Hold, Settlement
from taskyard.core.outcome import Done
from taskyard.core.task import NewTask
from taskyard.core.worker import Lane
from taskyard.service.services import build_services
from taskyard.service.tasks import Submission
from taskyard.store.sqlite import SqliteDatabase
from taskyard.store.sqlite.engine import _text
from taskyard.store.statements import shared
from taskyard.store.store import Store

INDEXES = {
    "claim_ready": "tasks_ready",
    "pick_ready": "tasks_ready",
    "lane_heads": "tasks_ready",
    "ready_lanes": "tasks_ready",
    "running_weight": "tasks_running",
    "taken_slots": "tasks_slots",
    "limited_tasks": "tasks_limited",
    "held_tasks": "tasks_held",
    "stops_of_holder": "tasks_held",
    "overdue_leases": "tasks_leased",
    "due_tasks": "tasks_due",
    "waking_tasks": "tasks_waking",
    "expired_tasks": "tasks_expiring",
    "lock_open_children": "tasks_by_parent",
    "get_task_by_key": "tasks_key",
    "blocked_by": "blockers_by_subject",
    "settle_attempts": "INTEGER PRIMARY KEY",
    "end_open": "INTEGER PRIMARY KEY",
    "put_open": "INTEGER PRIMARY KEY",
    "set_progress": "INTEGER PRIMARY KEY",
    "lock_attempts": "INTEGER PRIMARY KEY",
    "ask_to_stop": "INTEGER PRIMARY KEY",
    "delete_tasks": "INTEGER PRIMARY KEY",
    "lock_tasks_by_number": "INTEGER PRIMARY KEY",
    "holds_attempt": "INTEGER PRIMARY KEY",
    "extend_lease": "INTEGER PRIMARY KEY",
    "set_report": "INTEGER PRIMARY KEY",
    "lock_tasks": "sqlite_autoindex_tasks_1",
    "tasks_by_id": "sqlite_autoindex_tasks_1",
    "get_task": "sqlite_autoindex_tasks_1",
    "open_ids": "sqlite_autoindex_tasks_1",
    "claim_numbers": "INTEGER PRIMARY KEY",
    "still_blocked": "PRIMARY KEY",
}
FULL_OF = ("nothing", "what waits", "what runs", "what is over")


@pytest.fixture(scope="module", params=FULL_OF)
def plans(request, tmp_path_factory):
    """A connection to a database full of one kind of tasks, analysed, as a maintenance would do at the wrong moment."""
    yard = _yard(tmp_path_factory.mktemp("plans"), request.param)
    raw = apsw.Connection(str(yard))
    raw.execute("ANALYZE")
    raw.close()
    raw = apsw.Connection(str(yard))
    yield raw
    raw.close()


def _yard(folder, full_of):
    database = SqliteDatabase(folder / "yard.db", lambda: datetime(2026, 3, 1, tzinfo=UTC))
    database.migrate()
    store, services = Store(database), build_services(lambda: str(uuid7()), lambda: 0.0)
    number = store.write(lambda r: r.accounts.insert_organisation("default", "", {}, r.now))
    assert number is not None
    actor = Actor(organisation=number, identity="user:1")
    if full_of != "nothing":
        new = [NewTask(type="a", concurrency_key=None if each % 2 else "k") for each in range(2000)]
        store.together(services.tasks.submit, [Submission(actor, each) for each in new])
    if full_of in ("what runs", "what is over"):
        lanes = [Lane("default", "a")]
        store.write(
            lambda r: services.work.register(
                r, actor, id="w", name="w", lanes=lanes, slots=1, lease=timedelta(days=1)
            )
        )
        claimed = store.write(lambda r: services.work.claim(r, actor, "w", lanes, 1000))
        if full_of == "what is over":
            store.together(services.work.settle, [Settlement(Hold.of(task), Done()) for task in claimed])
    store.close()
    return database.path


MANY = [name for name in INDEXES if shared().statements[name].given]


@pytest.mark.parametrize(
    ("statement", "rows"), [(name, 1) for name in INDEXES] + [(name, 32) for name in MANY]
)
def test_a_move_reads_its_index(plans, statement, rows):
    text = _text(statement, (), rows)
    values = (None,) * (rows * len(shared().statements[statement].given)) if rows > 1 else _anything_for(text)
    plan = " | ".join(row[3] for row in plans.execute("EXPLAIN QUERY PLAN " + text, values))

    assert INDEXES[statement] in plan, plan
    assert "SCAN tasks" not in plan, plan


def test_a_list_of_some_ids_reads_those(plans):
    text = _text("list_tasks", ("by_ids",))
    plan = " | ".join(row[3] for row in plans.execute("EXPLAIN QUERY PLAN " + text, _anything_for(text)))

    assert "number=?" in plan, plan
    assert "sqlite_autoindex_tasks_1" in plan, plan


@pytest.mark.parametrize(
    "statement", ["claim_ready", "pick_ready", "lane_heads", "limited_tasks", "due_tasks"]
)
def test_what_is_first_is_read_first_and_nothing_is_sorted(plans, statement):
    plan = " | ".join(
        row[3] for row in plans.execute("EXPLAIN QUERY PLAN " + _text(statement), _anything(statement))
    )

    assert "TEMP B-TREE" not in plan, plan


def _anything(statement):
    return _anything_for(_text(statement))


def _anything_for(text):
    """Values for every parameter; a plan does not look at them."""
    positions = [int(number) for number in re.findall(r"\?(\d+)", text)]
    if positions:
        return (None,) * max(positions)
    return dict.fromkeys(re.findall(r":(\w+)", text), "[]")


def test_what_a_person_has_answered_is_read_from_its_own_index(plans):
    for statement in ("list_finished", "count_tasks"):
        conditions = ("by_state", "answered_by") + (("by_queue",) if statement == "count_tasks" else ())
        text = _text(statement, conditions)
        plan = " | ".join(row[3] for row in plans.execute("EXPLAIN QUERY PLAN " + text, _anything_for(text)))

        assert "tasks_answered" in plan, plan
        assert "TEMP B-TREE" not in plan, plan


def test_whom_to_tell_and_what_is_due_are_read_from_indexes(plans):
    for statement, index in {
        "hooks_for": "hooks_enabled",
        "due_hooks": "deliveries_due",
        "claim_deliveries": "deliveries_due",
        "finished_numbers": "deliveries_waiting",
    }.items():
        plan = " | ".join(
            row[3] for row in plans.execute("EXPLAIN QUERY PLAN " + _text(statement), _anything(statement))
        )

        assert index in plan, plan
        assert "SCAN deliveries" not in plan, plan
