"""The engine and a model of it agree after every move, the same on SQLite and on PostgreSQL."""

import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from taskyard.service import tasks
from taskyard.store.engine import Database
from taskyard.store.postgres import PostgresDatabase
from taskyard.store.sqlite import SqliteDatabase
from tests.model import model
from tests.model.machine import SETTINGS, START, Machine
from tests.postgres import TestServer


@pytest.fixture
def on_sqlite(tmp_path: Path) -> type[Machine]:
    template = tmp_path / "template.db"
    SqliteDatabase(template, lambda: START).migrate()

    def lend(now: Callable[[], datetime]) -> tuple[Database, Callable[[], None]]:
        for each in tmp_path.glob("yard.db*"):
            each.unlink()
        return SqliteDatabase(shutil.copy(template, tmp_path / "yard.db"), now), lambda: None

    class OnSqlite(Machine): ...

    OnSqlite.lend = staticmethod(lend)
    return OnSqlite


def test_on_sqlite(on_sqlite):
    run_state_machine_as_test(on_sqlite, settings=SETTINGS)


def test_a_limit_that_is_taken_from_the_engine_is_missed(on_sqlite, monkeypatch):
    monkeypatch.setattr(tasks, "take_slots", lambda *_: True)
    once = settings(SETTINGS, max_examples=100, phases=[Phase.generate])
    with pytest.raises(AssertionError):
        run_state_machine_as_test(on_sqlite, settings=once)


def test_on_postgres(postgres: TestServer):
    def lend(now: Callable[[], datetime]) -> tuple[Database, Callable[[], None]]:
        url = postgres.borrow()
        return PostgresDatabase(url, now=now), lambda: postgres.give_back(url)

    class OnPostgres(Machine): ...

    OnPostgres.lend = staticmethod(lend)
    run_state_machine_as_test(OnPostgres, settings=SETTINGS)


def test_the_model_is_small_enough_to_be_believed():
    assert len(Path(model.__file__).read_text().splitlines()) <= 250
