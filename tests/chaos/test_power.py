"""Power cuts, at the points of a history at which a disk is in doubt; ``python -m tests.chaos.power`` cuts at all of them."""

import tempfile
from pathlib import Path

import pytest

from taskyard.store.sqlite import SqliteDatabase
from tests.chaos.disk import SECTOR_BYTES, Create, Platter, Sync, SyncFolder, Truncate, Write
from tests.chaos.power import START, VARIANTS, History, Tally, cut, fail_everywhere, fast_folder

MOVES = 30


@pytest.fixture
def disk():
    """A folder in memory: thousands of yards are opened there, and each syncs what it writes."""
    with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    return History(seed=4, folder=tmp_path_factory.mktemp("history")).run(MOVES)


@pytest.mark.parametrize("variant", VARIANTS)
def test_after_a_power_cut_the_yard_is_as_it_was_acknowledged_last_and_works_on(history, variant, disk):
    tally = Tally()
    cut(history, history, variant, disk, tally, every=1 if variant == "dropped" else 7)

    assert tally.broken == []
    assert tally.acknowledged > 200


def test_after_any_sync_has_failed_nothing_is_acknowledged_and_nothing_that_was_is_lost():
    tally = fail_everywhere(seed=4, moves=MOVES, every=2, cut_every=131)

    assert tally.broken == []
    assert tally.disks > 30


def test_the_history_has_all_that_a_disk_can_be_caught_at(history):
    """The first writes into an empty folder, a log that begins anew, checkpoints, and the last to leave."""
    names = [type(step).__name__ for step in history.disk.steps]

    assert {"Write", "Truncate", "Sync", "Create", "Delete", "SyncFolder"} <= set(names)
    assert len(history.commits) > 20
    assert history.settled


def test_each_commit_is_synced_before_it_is_acknowledged(history):
    for before, commit in zip(history.commits, history.commits[1:], strict=False):
        if commit.after != before.after:
            steps = history.disk.steps[commit.asked : commit.told]
            assert isinstance([step for step in steps if not isinstance(step, SyncFolder)][-1], Sync)


@pytest.mark.parametrize("writes", [True, False])
def test_every_connection_syncs_fully_and_writes_ahead(tmp_path, writes):
    database = SqliteDatabase(tmp_path / "yard.db", lambda: START)
    database.migrate()
    connection = database.connect(writes=writes)

    assert connection._raw.pragma("synchronous") == 2  # FULL
    assert connection._raw.pragma("journal_mode") == "wal"
    connection.close()
    database.close()


def test_what_is_not_synced_may_be_lost_kept_or_torn():
    platter = Platter()
    for step in (Create(1, "a"), SyncFolder(), Write(1, 0, b"1" * 600), Sync(1), Write(1, 600, b"2" * 600)):
        platter.take(step)

    assert platter.dropped() == {"a": b"1" * 600}
    assert platter.kept() == {"a": b"1" * 600 + b"2" * 600}
    assert SECTOR_BYTES == 512


def test_what_a_failed_sync_was_to_write_is_gone_whatever_is_synced_later():
    platter = Platter()
    for step in (
        Create(1, "a"),
        SyncFolder(),
        Write(1, 0, b"lost"),
        Sync(1, failed=True),
        Write(1, 0, b"k"),
        Sync(1),
    ):
        platter.take(step)

    assert platter.dropped() == platter.kept() == {"a": b"k"}


def test_a_file_is_there_for_sure_when_its_folder_was_synced():
    platter = Platter()
    for step in (Create(1, "a"), Write(1, 0, b"x"), Truncate(1, 0), Sync(1)):
        platter.take(step)
    assert platter.dropped() == {}

    platter.take(SyncFolder())
    assert platter.dropped() == {"a": b""}
