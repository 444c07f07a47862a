"""Every statement that writes a task guards the state it leaves, and enters only what MOVES lists."""

import re

import pytest

from taskyard.core.task import MOVES, OPEN, TERMINAL, State
from taskyard.store.statements import shared

#: Which moves each statement makes whose states come from its caller, or that makes a move at all.
MADE_BY = {
    "claim_ready": {"claim"},
    "claim_numbers": {"claim"},
    "settle_attempts": {"succeed", "fail", "try_again", "wait", "release", "stop"},
    "end_open": {"cancel", "expire"},
    "put_open": {"become_due", "unblock"},
    "insert_tasks": {"submit"},
}
#: What may be changed of a task in any state, as it is no part of what is moved.
FREE = {"relabel_task"}

STATEMENTS = shared().statements
UPDATES = {
    name: each.text for name, each in STATEMENTS.items() if re.search(r"\bUPDATE\s+tasks\b", each.text)
}


def set_part(text: str) -> str:
    return re.split(
        r"\bFROM\s+\{|\bWHERE\b", re.split(r"\bSET\b", text.split("UPDATE tasks")[1], maxsplit=1)[1]
    )[0]


def where_part(text: str) -> str:
    return re.split(r"\bRETURNING\b", re.split(r"\bWHERE\b", text.split("UPDATE tasks")[1], maxsplit=1)[1])[0]


def guarded(text: str) -> set[State]:
    """Return the states that the WHERE of an update lets through."""
    where = where_part(text)
    if one := re.search(r"\bstate(?: \|\| ''\))? = '(\w+)'", where):
        return {State(one[1])}
    if some := re.search(r"\bstate IN \(([^)]*)\)", where):
        return {State(word) for word in re.findall(r"'(\w+)'", some[1])}
    return set()


def moves() -> set[str]:
    return {name for name, text in UPDATES.items() if re.search(r"\bstate\s*=", set_part(text))}


def test_every_move_is_made_by_a_statement_and_no_statement_makes_another():
    assert set().union(*MADE_BY.values()) == set(MOVES)
    assert moves() == set(MADE_BY) - {"insert_tasks"}


@pytest.mark.parametrize("name", sorted(moves()))
def test_a_move_leaves_only_the_states_it_may_leave(name):
    leaves = set().union(*(MOVES[move].leaves for move in MADE_BY[name]))

    assert guarded(UPDATES[name]) == leaves


@pytest.mark.parametrize("name", sorted(moves()))
def test_a_move_enters_a_state_it_may_enter(name):
    entered = re.search(r"\bstate\s*=\s*('?)([\w.]+)'?", set_part(UPDATES[name]))
    assert entered is not None
    if entered[1]:
        for move in MADE_BY[name]:
            assert State(entered[2]) in MOVES[move].enters
    else:
        assert entered[2] == "given.state"  # what services give is seen by the walks of test_limits.py


@pytest.mark.parametrize("name", sorted(set(UPDATES) - moves() - FREE))
def test_what_is_written_beside_a_move_is_written_while_the_task_runs(name):
    assert guarded(UPDATES[name]) == {State.RUNNING}


@pytest.mark.parametrize(
    "name", ["settle_attempts", "set_report", "set_progress", "extend_lease", "holds_attempt"]
)
def test_every_write_of_a_holder_names_its_organisation_attempt_and_holder(name):
    text = STATEMENTS[name].text
    where = text.rsplit("WHERE", maxsplit=1)[1]

    for column in ("organisation", "number", "claims", "holder", "state"):
        assert re.search(rf"\b{column} = ", where), f"{name} does not compare {column}"


def test_only_what_has_ended_is_deleted():
    deletes = [each.text for each in STATEMENTS.values() if re.search(r"DELETE\s+FROM\s+tasks\b", each.text)]

    assert deletes
    for text in deletes:
        assert re.search(r"AND (finished_at IS NOT NULL|COALESCE\(finished_at, 0\) > 0)", text)


def test_what_has_ended_is_never_left():
    assert set(State) == OPEN | TERMINAL
    assert not OPEN & TERMINAL
    for move in MOVES.values():
        assert not move.leaves & TERMINAL


def test_every_state_is_reached_and_every_open_one_is_left():
    assert set().union(*(move.enters for move in MOVES.values())) == set(State)
    assert set().union(*(move.leaves for move in MOVES.values())) == OPEN
