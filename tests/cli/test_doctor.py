"""What the doctor sees of a database that lies beside it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from taskyard.cli import failing
from taskyard.cli.database import MOST_LOG_BYTES, database_checks
from tests.served import run

NOBODY = "http://127.0.0.1:9"


def checks(url: str):
    return {check.name: check for check in database_checks(url, lambda: datetime.now(UTC))}


def migrated(folder: Path) -> Path:
    assert run(folder, "migrate").code == 0
    return folder / "taskyard.db"


def test_a_database_that_is_well_is_fine(tmp_path: Path):
    found = checks(f"sqlite:///{migrated(tmp_path)}")

    assert set(found) == {"database", "rights", "log", "disk"}
    assert all(check.fine for check in found.values())


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path):
    found = checks(f"sqlite:///{tmp_path}/gone.db")

    assert "there is no file" in found["database"].detail
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_something_else_is_said_to_be(tmp_path: Path):
    (tmp_path / "letter.db").write_text("Dear Ana, " * 1000)

    found = checks(f"sqlite:///{tmp_path}/letter.db")

    assert not found["database"].fine


def test_a_log_that_grows_without_end_is_noticed(tmp_path: Path):
    database = migrated(tmp_path)
    with (tmp_path / "taskyard.db-wal").open("ab") as log:
        log.truncate(MOST_LOG_BYTES + 1)

    found = checks(str(database))

    assert not found["log"].fine
    assert "256 MiB" in found["log"].detail


def test_without_a_server_the_doctor_says_so_and_goes_on_to_the_database(tmp_path: Path):
    migrated(tmp_path)

    ran = run(tmp_path, "doctor", "--url", NOBODY, "--database", "sqlite:///taskyard.db")

    assert ran.code == failing.UNAVAILABLE
    assert "BAD  server" in ran.out
    assert "→ start it with `taskyard serve`" in ran.out
    assert "ok   disk" in ran.out


def test_migrate_makes_a_database_and_does_nothing_the_second_time(tmp_path: Path):
    first, second = run(tmp_path, "migrate"), run(tmp_path, "migrate", "--json")

    assert "schema version" in first.err
    assert (second.err, second.json()["schema_version"] >= 1) == ("", True)


def test_a_transaction_that_is_open_for_long_is_named_with_how_to_end_it(postgres):
    import psycopg

    from taskyard.store.postgres import PostgresDatabase
    from taskyard.store.postgres.activity import old_transactions

    url = postgres.borrow()
    database = PostgresDatabase(url)
    assert {check.name for check in database_checks(url, lambda: datetime.now(UTC))} == {
        "database",
        "clock",
        "transactions",
    }
    with psycopg.connect(url, application_name="a forgotten shell") as forgotten:
        forgotten.execute("SELECT 1")
        found = old_transactions(database, timedelta(0))
        pid = forgotten.info.backend_pid
    database.close()
    postgres.give_back(url)

    [old] = [old for old in found if old.place == str(pid)]
    assert (old.application, old.state) == ("a forgotten shell", "idle in transaction")
