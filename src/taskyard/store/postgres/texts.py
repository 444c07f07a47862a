"""The shared statements as PostgreSQL takes them, and how their values go over the wire."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import msgspec

from taskyard.store.engine import Value
from taskyard.store.statements import Statement, shared

#: The transaction's time: that of its beginning, the same for all that it writes.
TIME: Final = "(extract(epoch FROM now()) * 1000000)::bigint"
#: KEY SHARE, for who only needs a row to stay: it bars the reaper's FOR UPDATE, but not a heartbeat's UPDATE.
FRAGMENTS: Final[Mapping[str, str]] = {
    "skip_locked": "FOR UPDATE SKIP LOCKED",
    "for_update": "FOR UPDATE",
    "for_share": "FOR KEY SHARE",
    "any_picked": "= ANY(ARRAY(SELECT number FROM picked))",
    "tx": "pg_current_xact_id()::text::bigint",
    "settled": "tx < pg_snapshot_xmin(pg_current_snapshot())::text::bigint",
    "feed_after": "(tx, seq) > (:tx, :seq)",
    "feed_order": "tx, seq",
    "feed_newest": "tx DESC, seq DESC",
}

#: One parameter for all rows: the server takes JSON apart as fast as arrays, and we write it eight times as fast.
_GIVEN: Final = ":given"
#: The rows are locked one after the other, as given. OFFSET 0 keeps the planner from turning the join around, which is
#: quadratic when it was told that hardly any row is running.
_LOCK: Final = "CROSS JOIN LATERAL (SELECT 1 FROM tasks AS one WHERE one.number = given.number FOR UPDATE OFFSET 0) AS locked"


@dataclass(frozen=True, slots=True)
class Text:
    """A statement with ``$1``, ``$2`` … for values, whose names stand in *names* in that order."""

    sql: str
    names: tuple[str, ...]
    answers: bool
    locks_given: bool
    usually: str | None


@cache
def text(name: str, conditions: tuple[str, ...] = ()) -> Text:
    statement = shared().statements[name]
    sql = statement.text.replace(
        "{where}", "".join(f" AND {shared().conditions[each]}" for each in conditions)
    )
    for fragment, replacement in FRAGMENTS.items():
        sql = sql.replace("{" + fragment + "}", replacement)
    locks_given = "{locked_given}" in sql
    if locks_given or "number = :number" in sql:
        sql = _by_number_alone(sql)
    sql = sql.replace("{locked_given}", "{given} " + _LOCK).replace("{given}", _relation(statement))
    sql = re.sub(r"\{any:(\w+)\}", r"= ANY(:\1)", sql)
    sql = re.sub(r"\{at:([^}]+)\}", rf"COALESCE(\1, {TIME})", sql)
    return _numbered(sql, locks_given, statement.usually)


def _by_number_alone(sql: str) -> str:
    """
    Put the fence of *sql* into expressions, so that no partial index of what runs or is held seems to fit. (COALESCE, since the
    planner sees through anything that is NULL for a NULL: that would mean IS NOT NULL to it.)
    """
    before, where, fence = sql.partition("WHERE")
    return (
        before
        + where
        + re.sub(r"(?<!\.)\b((?:tasks\.)?(?:state|holder)) (?== |IN\b)", r"COALESCE(\1, '') ", fence)
    )


def _relation(statement: Statement) -> str:
    columns = ", ".join(f"{column} {type}" for column, type in statement.given)
    return f"json_to_recordset({_GIVEN}::json) AS given({columns})"


def _numbered(sql: str, locks_given: bool, usually: str | None) -> Text:
    names: list[str] = []

    def number(found: re.Match[str]) -> str:
        if found[1] not in names:
            names.append(found[1])
        return f"${names.index(found[1]) + 1}"

    sql = re.sub(r"(?<!:):([a-z]\w*)", number, sql)
    answers = sql.lstrip().upper().startswith(("SELECT", "WITH")) or "RETURNING" in sql
    return Text(sql, tuple(names), answers, locks_given, usually)


def wire(value: Value) -> str | None:
    """Return *value* as text of no declared type: the server then infers it, and each statement is prepared once."""
    if value is None or type(value) is str:
        return value
    if isinstance(value, str):
        return str.__str__(value)  # a member of an enumeration
    if isinstance(value, (list, tuple)):
        return _array(value)
    return str(value)


def _array(values: Sequence[str] | Sequence[int]) -> str:
    return "{" + ",".join(_element(value) for value in values) + "}"


def _element(value: str | int) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)


_by_number: Final[Callable[[Mapping[str, Value]], Value]] = lambda row: row["number"]  # noqa: E731


def given_rows(statement: Text, rows: Sequence[Mapping[str, Value]]) -> str:
    """Return *rows* as one value; where the rows of tasks are locked, in the order of their numbers."""
    ordered = sorted(rows, key=_by_number) if statement.locks_given and len(rows) > 1 else rows  # type: ignore[arg-type]
    return msgspec.json.encode(ordered).decode()
