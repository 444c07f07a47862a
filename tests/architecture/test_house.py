"""What keeps the house in order: where SQL lives, what is used, what things are called."""

import ast
import re
from pathlib import Path

import pytest

import taskyard
from taskyard.store.statements import shared

HOUSE = Path(taskyard.__file__).parent
STORE = HOUSE / "store"
FILES = sorted(HOUSE.rglob("*.py"))
SQL = re.compile(
    r"\b(SELECT\s.+?\sFROM\s|INSERT\s+INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|CREATE\s+(TABLE|INDEX)\s)",
    re.DOTALL,
)
DIALECTS = re.compile(r"ricloud|\bpulp|human[ _-]?lambdas|\bnico\b", re.IGNORECASE)
EMPTY_NAMES = re.compile(r"(^|_)(utils?|helpers?|misc|common|manager|stuff)(_|$)", re.IGNORECASE)


def strings(path: Path) -> list[str]:
    tree = ast.parse(path.read_text())
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


def test_sql_lives_in_the_store_alone():
    for path in FILES:
        if not path.is_relative_to(STORE):
            for text in strings(path):
                assert not SQL.search(text), f"{path.relative_to(HOUSE)} holds SQL: {text[:60]!r}"


def test_the_engines_alone_know_sql_of_their_own():
    # What moves a yard from one engine to the other speaks both, and makes its few texts from the file's catalogue.
    for path in sorted(set(STORE.glob("*.py")) - {STORE / "moving.py"}):
        for text in strings(path):
            assert not SQL.search(text), f"{path.name} holds SQL: {text[:60]!r}"


def test_every_statement_is_used_and_every_one_used_exists():
    told = {
        text for path in STORE.rglob("*.py") for text in strings(path) if re.fullmatch(r"[a-z_0-9]+", text)
    }
    # Lists are read in two orders, and the statements of the second are named after those of the first.
    told |= {f"{name}_oldest" for name in told}

    assert set(shared().statements) - told == set()


def test_a_statement_that_the_store_names_exists():
    for path in STORE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("row", "rows", "run", "rows_for_each", "_one", "_all")
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                assert node.args[0].value in shared().statements, f"{path.name} names {node.args[0].value}"


def test_every_condition_is_used():
    source = "".join(path.read_text() for path in STORE.glob("*.py"))
    patterns = {
        *re.findall(r'"(\w+)"', source),
        *(f"by_{name}" for name in ("type", "queue", "parent", "schedule", "key", "holder")),
        *(f"with_label_{number}" for number in range(2, 7)),
        *(
            f"{noun}_{bound}"
            for noun in ("created", "started", "finished")
            for bound in ("gte", "gt", "lte", "lt")
        ),
    }

    assert set(shared().conditions) - patterns == set()


@pytest.mark.parametrize("floor", ["core", "store", "service", "loops"])
def test_no_dialect_is_known_by_name_below_it(floor):
    for path in (HOUSE / floor).rglob("*"):
        if path.suffix in (".py", ".sql"):
            found = DIALECTS.search(path.read_text())
            assert not found, f"{path.relative_to(HOUSE)} speaks of {found[0] if found else ''}"


def test_names_say_what_a_thing_is():
    for path in FILES:
        assert not EMPTY_NAMES.search(path.stem), path
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                assert not re.search(r"(Manager|Helper|Utils?|Processor)$", node.name), f"{path}: {node.name}"


def test_the_core_reads_no_clock_and_rolls_no_dice():
    for path in (HOUSE / "core").glob("*.py"):
        found = re.search(
            r"\bdatetime\.now|\btime\.time|\brandom\.(?!Random\(seed\))|\buuid\d\b|\bimport asyncio\b|\bimport threading\b|\bopen\(",
            path.read_text(),
        )
        assert not found, f"{path.name} uses {found[0] if found else ''}"


def test_services_open_no_transactions_and_read_no_clock():
    for path in (HOUSE / "service").glob("*.py"):
        text = path.read_text()
        for name in (".transaction(", "datetime.now(", "time.time(", ".snapshot("):
            assert name not in text, f"{path.name} uses {name}"
