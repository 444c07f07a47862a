"""Both databases understand every statement there is, with every condition that it takes."""

import re
from importlib.resources import files

import apsw
import pytest

from taskyard.store.postgres import PostgresDatabase
from taskyard.store.postgres.texts import text
from taskyard.store.sqlite import SqliteDatabase
from taskyard.store.sqlite.engine import _text
from taskyard.store.statements import parse, shared


def variants():
    """Yield every statement, alone and with each condition of its own file that speaks of a table the statement reads."""
    for file in files("taskyard.store").joinpath("sql").iterdir():
        own = parse(file.read_text())
        for name, statement in own.statements.items():
            yield name, ()
            if "{where}" not in statement.text:
                continue
            read = set(re.findall(r"(?:FROM|JOIN)\s+(\w+)", shared().statements[name].text))
            for condition, asked in own.conditions.items():
                its_own = set(re.findall(r"FROM (?:\w+ AS )?(\w+)", asked))
                if set(re.findall(r"(?<!\w)(\w+)\.\w+", asked)) - its_own <= read:
                    yield name, (condition,)


VARIANTS = sorted(variants())


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    database = SqliteDatabase(tmp_path_factory.mktemp("statements") / "yard.db", lambda: None)
    database.migrate()
    raw = apsw.Connection(str(database.path))
    yield raw
    raw.close()


@pytest.fixture(scope="module")
def shared_server(postgres):
    url = postgres.borrow()
    raw = PostgresDatabase(url).open(writes=True).raw
    yield raw
    raw.close()
    postgres.give_back(url)


@pytest.mark.parametrize(("name", "conditions"), VARIANTS)
def test_sqlite_understands(embedded, name, conditions):
    sql = _text(name, conditions)
    positions = [int(number) for number in re.findall(r"\?(\d+)", sql)]
    values = (None,) * max(positions) if positions else dict.fromkeys(re.findall(r":(\w+)", sql))

    assert embedded.execute(f"EXPLAIN {sql}", values).fetchall()
    assert "{" not in sql


@pytest.mark.parametrize("name", [name for name, each in sorted(shared().statements.items()) if each.given])
def test_sqlite_understands_many_rows_at_once(embedded, name):
    sql = _text(name, (), 3)

    assert embedded.execute(f"EXPLAIN {sql}", (None,) * sql.count("?")).fetchall()
    assert "{" not in sql


@pytest.mark.parametrize(("name", "conditions"), VARIANTS)
def test_postgres_understands(shared_server, name, conditions):
    named = text(name, conditions)
    values = ["[]" if each == "given" else None for each in named.names]

    assert shared_server.execute(f"EXPLAIN {named.sql}".encode(), values, prepare=True).fetchall()
    assert "{" not in named.sql


@pytest.mark.parametrize("name", sorted(shared().statements))
def test_a_statement_that_answers_is_known_to(name):
    """The PostgreSQL engine sends rows without waiting where nothing comes back; it must know which."""
    answers = re.search(r"\bRETURNING\b|^\s*(SELECT|WITH)\b", shared().statements[name].text) is not None

    assert text(name).answers is answers
