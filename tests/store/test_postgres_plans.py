"""
PostgreSQL's plans stay, whatever the planner was told about the tables: nothing, all waits, all runs, all is over.

What it is told is as old as the last ANALYZE, and the worst time for one is when a table is empty or full of one kind.
"""

import json

import pytest

from taskyard.store.postgres import PostgresDatabase
from taskyard.store.postgres.texts import text

#: What each move reads the tasks by. Anything else may read all that waits, all that runs, or all that ever was.
INDEXES = {
    "claim_ready": {"tasks_ready", "tasks_pkey"},
    "pick_ready": {"tasks_ready"},
    "lane_heads": {"tasks_ready"},
    "ready_lanes": {"tasks_ready"},
    "claim_numbers": {"tasks_pkey"},
    "running_weight": {"tasks_running"},
    "taken_slots": {"tasks_slots"},
    "limited_tasks": {"tasks_limited"},
    "lock_attempts": {"tasks_pkey"},
    "lock_tasks": {"tasks_id_key"},
    "lock_tasks_by_number": {"tasks_pkey"},
    "open_ids": {"tasks_id_key"},
    "settle_attempts": {"tasks_pkey"},
    "set_progress": {"tasks_pkey"},
    "end_open": {"tasks_pkey"},
    "put_open": {"tasks_pkey"},
    "holds_attempt": {"tasks_pkey"},
    "ask_to_stop": {"tasks_pkey"},
    "held_tasks": {"tasks_held"},
    "stops_of_holder": {"tasks_held"},
    "overdue_leases": {"tasks_leased"},
    "due_tasks": {"tasks_due"},
    "waking_tasks": {"tasks_waking"},
    "expired_tasks": {"tasks_expiring"},
    "lock_open_children": {"tasks_by_parent"},
    "get_task": {"tasks_id_key"},
    "get_task_by_key": {"tasks_key"},
}
#: In order: what the tables hold, as SQL that makes it so from what was before.
#: The names are as long as real ones: the ready index is then a level deeper than those of the lists, and seems dearer.
FILLED = {
    "nothing": "SELECT 1",
    "what waits": """
        INSERT INTO tasks (id, organisation, type, queue, state, priority, run_at, created_at, updated_at, max_failures,
                           actor, origin, key, concurrency_key, parent)
        SELECT gen_random_uuid()::text, 1, 'noop', 'default', 'ready', 0, n, n, n, 3, 'a', 'o', 'k' || n, 'c' || n % 7, 'p' || n % 100
        FROM   generate_series(1, 20000) AS n""",
    "what runs": "UPDATE tasks SET state = 'running', holder = 'worker:' || number % 10, claims = 1",
    "what is over": "UPDATE tasks SET state = 'succeeded', holder = NULL, finished_at = 1",
}
#: While a table is empty every plan is as good as any, and none is kept for longer than PLANS_KEPT_S.
PAIRS = [
    (told, is_) for at, told in enumerate(FILLED) for is_ in list(FILLED)[at : at + 2] if is_ != "nothing"
]
#: And a yard that is filled before the server has ever looked at it.
PAIRS += [("no ANALYZE", is_) for is_ in FILLED if is_ != "nothing"]


@pytest.fixture(scope="module", params=PAIRS, ids=lambda pair: f"told of {pair[0]}, full of {pair[1]}")
def raw(request, postgres):
    """A writer's connection to a database whose statistics are of another time than what it holds."""
    told, is_ = request.param
    database = PostgresDatabase(postgres.database())
    raw = database.open(writes=True).raw
    raw.execute("ALTER TABLE tasks SET (autovacuum_enabled = off)")
    done = []
    for filled, statement in FILLED.items():
        raw.execute(statement.encode())
        done.append(filled)
        if filled == told:
            raw.execute("ANALYZE")
        if filled == is_:
            break
    assert told in [*done, "no ANALYZE"]
    yield raw
    raw.close()
    postgres.drop(database.url)


def plan(raw, statement, *values, how="FORMAT JSON"):
    """Return the plan that a prepared *statement* gets, as the writer prepares it."""
    named = text(statement)
    raw.execute(f"PREPARE planned AS {named.sql}".encode(), prepare=False)
    given = values or ["'[]'" if name == "given" else "NULL" for name in named.names]
    call = f"planned({', '.join(given)})" if given else "planned"
    try:
        [(found,)] = raw.execute(f"EXPLAIN ({how}) EXECUTE {call}".encode(), prepare=False).fetchall()
    finally:
        raw.execute(b"DEALLOCATE planned", prepare=False)
    return found[0]["Plan"]


def nodes(plan):
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


@pytest.mark.parametrize("statement", INDEXES)
def test_a_move_reads_the_tasks_by_its_index(raw, statement):
    [*scans] = [
        node
        for node in nodes(plan(raw, statement))
        if node.get("Relation Name") == "tasks" and "Scan" in node["Node Type"]
    ]

    assert {node.get("Index Name", node["Node Type"]) for node in scans} == INDEXES[statement]
    # A full index is read from its beginning to its end; only the types of a lane are hopped through.
    assert all("Index Cond" in node for node in scans), scans


@pytest.mark.parametrize(
    "statement", ["claim_ready", "pick_ready", "lane_heads", "due_tasks", "waking_tasks", "limited_tasks"]
)
def test_what_is_first_is_read_first_and_nothing_is_sorted(raw, statement):
    assert not [node for node in nodes(plan(raw, statement)) if "Sort" in node["Node Type"]]


def test_a_plan_made_at_the_worst_time_settles_many_in_as_many_steps(raw):
    running = [
        number
        for (number,) in raw.execute("SELECT number FROM tasks WHERE state = 'running' LIMIT 200").fetchall()
    ]
    endings = [
        {"organisation": 1, "number": number, "claims": 1, "holder": f"worker:{number % 10}", "state": "succeeded", "finished_at": 2, "now": 2,
         "failed": 0, "lost": 0}
        for number in running
    ]  # fmt: skip
    raw.execute("BEGIN")

    root = plan(raw, "settle_attempts", f"'{json.dumps(endings)}'", how="ANALYZE, BUFFERS, FORMAT JSON")
    raw.execute("ROLLBACK")

    assert root["Actual Rows"] == len(running)
    assert not looked_at_in_vain(root)


def test_a_plan_made_at_the_worst_time_claims_many_in_as_many_steps(raw):
    values = {
        "organisation": "1",
        "queue": "'default'",
        "type": "'noop'",
        "at_least": "-9",
        "now": "30000",
        "limit": "200",
        "holder": "'w'",
    }
    raw.execute("BEGIN")

    given = (values.get(name, "NULL") for name in text("claim_ready").names)
    root = plan(raw, "claim_ready", *given, how="ANALYZE, BUFFERS, FORMAT JSON")
    raw.execute("ROLLBACK")

    assert root["Actual Rows"] in (0, 200)
    assert not looked_at_in_vain(root)


def looked_at_in_vain(root):
    """Return how many rows were read and then not wanted."""
    return sum(
        value for node in nodes(root) for name, value in node.items() if name.startswith("Rows Removed by")
    )


def test_a_list_reads_its_own_index_and_not_what_is_newer_of_others(postgres):
    database = PostgresDatabase(postgres.database())
    raw = database.open(writes=False).raw
    raw.execute(b"""
        INSERT INTO tasks (id, organisation, type, queue, state, priority, run_at, created_at, updated_at, finished_at, max_failures, actor,
                           origin, schedule)
        SELECT gen_random_uuid()::text, 1, 't' || n / 10000, 'q' || n / 10000, CASE n / 10000 WHEN 0 THEN 'failed' ELSE 'succeeded' END, 0, n, n, n, n, 3,
               'a', 'o', 's' || n / 10000
        FROM   generate_series(0, 19999) AS n""")
    raw.execute(b"ANALYZE tasks")
    for by, value in {"queue": "q0", "schedule": "s0", "type": "t0", "state": "failed"}.items():
        listed = text("list_tasks", (f"by_{by}",))
        raw.execute(f"PREPARE listed AS {listed.sql}".encode(), prepare=False)
        given = {"organisation": "1", "limit": "50", "offset": "0", by: f"'{value}'"}
        call = ", ".join(given[name] for name in listed.names)
        [(found,)] = raw.execute(
            f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE listed({call})".encode(), prepare=False
        ).fetchall()
        raw.execute(b"DEALLOCATE listed", prepare=False)

        assert found[0]["Plan"]["Actual Rows"] == 50
        assert not looked_at_in_vain(found[0]["Plan"]), by
    raw.close()
    postgres.drop(database.url)
