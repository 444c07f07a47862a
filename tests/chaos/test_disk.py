"""
Bad luck with the file: kills, full disks, files that cannot be written, disks that fail, many processes at once.

Nothing that was acknowledged is ever lost, whoever cannot be served is told so, and work goes on when the trouble is over.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import apsw
import pytest
from uuid_utils import uuid7

from taskyard.core.actor import Actor
from taskyard.core.errors import Broken, Unavailable
from taskyard.core.task import NewTask, State
from taskyard.service.services import build_services
from taskyard.service.tasks import Submission
from taskyard.store.sqlite import SqliteDatabase
from taskyard.store.store import Store

PROCESS = Path(__file__).with_name("acknowledging.py")
KILLS = 20
PATIENCE_SECONDS = 120


def start(move: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, PROCESS, move, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def said(*processes: subprocess.Popen[str]) -> list[list[object]]:
    """Wait for the processes to end, and return what they said."""
    lines: list[list[object]] = []
    for process in processes:
        out, _ = process.communicate(timeout=PATIENCE_SECONDS)
        lines += [json.loads(line) for line in out.splitlines(keepends=True) if line.endswith("\n")]
    return lines


def words(lines: list[list[object]], word: str) -> list[object]:
    return [line[1] for line in lines if line[0] == word]


def stored(path: Path) -> dict[str, str]:
    """Return the states of all tasks in the file by id, past all of our code; the file is whole."""
    raw = apsw.Connection(str(path))
    try:
        assert raw.pragma("integrity_check") == "ok"
        return dict(raw.execute("SELECT id, state FROM tasks").fetchall())
    finally:
        raw.close()


def events(path: Path, kind: str) -> list[str]:
    raw = apsw.Connection(str(path))
    try:
        return [row[0] for row in raw.execute("SELECT subject FROM events WHERE kind = ?", (kind,))]
    finally:
        raw.close()


# -- kills -------------------------------------------------------------------------------------------------------------


def test_whatever_was_acknowledged_is_there_however_often_the_process_is_killed(tmp_path):
    path, chance = tmp_path / "yard.db", random.Random(7)
    acknowledged: list[object] = []
    for _ in range(KILLS):
        process = start("submit_for_ever", path)
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(chance.randint(1, 60))]
        process.send_signal(signal.SIGKILL)
        lines += said(process)
        assert words(lines, "refused") == []
        acknowledged += words(lines, "submitted")

    found = stored(path)
    assert len(acknowledged) >= KILLS
    assert set(acknowledged) <= set(found)
    assert sorted(events(path, "task.submitted")) == sorted(found)  # and no task without its event, nor twice


# -- full disks --------------------------------------------------------------------------------------------------------


def test_when_files_may_not_grow_nothing_acknowledged_is_lost_and_work_goes_on_when_they_may(tmp_path):
    path = tmp_path / "yard.db"

    lines = said(start("fill", path))

    space = lines.index(["said", "space"])
    before, after = lines[:space], lines[space:]
    assert {error for kind, error, *_ in before if kind == "refused"} == {"Unavailable"}
    assert words(before, "read") == [len(words(before, "submitted"))]
    assert len(words(after, "submitted")) == 10
    assert set(words(lines, "submitted")) == set(stored(path))
    assert words(lines, "broken") == []


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A disk of four megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder]
    if shutil.which("mount") is None or subprocess.run(mounting, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


class Commanded:
    """A process that does one thing after the other."""

    def __init__(self, path: Path) -> None:
        self._process = start("on_command", path)
        assert self.hear() == ["said", "ready"]

    def hear(self) -> list[object]:
        assert self._process.stdout is not None
        answer = json.loads(self._process.stdout.readline())
        assert isinstance(answer, list)
        return answer

    def ask(self, command: str) -> list[object]:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self.hear()

    def end(self) -> list[list[object]]:
        return said(self._process)


def fill(folder: Path) -> Path:
    """Fill the disk that *folder* is on to the last byte."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65_536, 512, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return ballast


def test_a_full_disk_is_told_and_read_from_and_written_to_again_when_there_is_space(small_disk):
    path = small_disk / "yard.db"
    process = Commanded(path)
    acknowledged = [process.ask("submit 1000")[1] for _ in range(20)]

    for _ in range(3):
        ballast = fill(small_disk)
        answers = [process.ask("submit 20000") for _ in range(20)]
        refusals = [answer for answer in answers if answer[0] == "refused"]
        assert refusals
        assert {refusal[1] for refusal in refusals} == {"Unavailable"}
        acknowledged += words(answers, "submitted")
        assert process.ask("read") == ["read", len(acknowledged)]
        ballast.unlink()
        answers = [process.ask("submit 1000") for _ in range(5)]
        assert words(answers, "refused") == []
        acknowledged += words(answers, "submitted")

    assert process.end() == []
    assert set(stored(path)) == set(acknowledged)


def test_a_disk_that_the_yard_itself_fills_is_told_too(small_disk):
    path = small_disk / "yard.db"
    process = Commanded(path)
    acknowledged = []
    while (answer := process.ask("submit 50000"))[0] == "submitted":
        acknowledged.append(answer[1])
    assert answer[1] == "Unavailable"
    assert process.ask("read") == ["read", len(acknowledged)]

    subprocess.run(["mount", "-o", "remount,size=16m", small_disk], check=True)
    acknowledged += [process.ask("submit 50000")[1] for _ in range(20)]

    process.end()
    assert set(stored(path)) == set(acknowledged)


# -- files that cannot be written --------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_written_is_told_and_works_when_it_can(tmp_path):
    folder = tmp_path / "yard"
    folder.mkdir()
    for each in (folder, *folder.parents):  # the folders of the tests are closed to others
        if each.stat().st_uid == os.geteuid() and not each.stat().st_mode & 0o001:
            each.chmod(0o755)
    path = folder / "yard.db"
    assert words(said(start("submit_some", path)), "refused") == []
    path.chmod(0o444)
    folder.chmod(0o555)
    before = stored(path)

    try:
        refused = said(start("as_nobody", path))
    finally:
        folder.chmod(0o777)
        path.chmod(0o666)
    allowed = said(start("as_nobody", path))

    assert words(refused, "refused") == ["Unavailable"]
    assert words(refused, "submitted") == []
    assert set(stored(path)) == {*before, *words(allowed, "submitted")}
    assert len(words(allowed, "submitted")) == 1


def test_a_folder_that_is_not_there_is_named(tmp_path):
    database = SqliteDatabase(tmp_path / "nowhere" / "yard.db", lambda: datetime.now(UTC))

    with pytest.raises(Unavailable, match="nowhere"):
        database.connect(writes=True)
    with pytest.raises(Unavailable):
        database.migrate()


def test_what_is_no_database_is_told_and_left_as_it_is(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("These are my notes, and no yard. " * 100)
    database = SqliteDatabase(path, lambda: datetime.now(UTC))

    with pytest.raises(Unavailable, match="not a Taskyard database"):
        database.migrate()
    assert path.read_text().startswith("These are my notes")


# -- disks that fail ---------------------------------------------------------------------------------------------------


class FailingDisk(apsw.VFS):
    """A disk whose fsync fails when it is told to."""

    def __init__(self) -> None:
        self.name = f"failing-{uuid7()}"
        self.fails = False
        super().__init__(self.name, base="")

    def xOpen(self, name, flags):  # noqa: N802 (SQLite's name)
        return FailingFile(self, name, flags)


class FailingFile(apsw.VFSFile):
    def __init__(self, disk, name, flags) -> None:
        self._disk = disk
        super().__init__("", name, flags)

    def xSync(self, flags):  # noqa: N802 (SQLite's name)
        if self._disk.fails:
            raise apsw.exception_for(apsw.SQLITE_IOERR_FSYNC)
        super().xSync(flags)


def test_after_an_fsync_has_failed_nothing_is_acknowledged_until_somebody_has_looked(tmp_path):
    """The kernel may call the lost pages clean, so a second fsync would succeed and lie."""
    path, disk, failures = tmp_path / "yard.db", FailingDisk(), []
    database = SqliteDatabase(path, lambda: datetime.now(UTC), vfs=disk.name)
    database.migrate()
    store = Store(database, failed=failures.append)
    services = build_services(lambda: str(uuid7()), lambda: 0.0)
    number = store.write(lambda r: r.accounts.insert_organisation("default", "", {}, r.now))
    actor = Actor(organisation=number or 0, identity="user:1")

    def submit():
        [task] = store.together(services.tasks.submit, [Submission(actor, NewTask(type="resize"))])
        return task

    kept = submit()
    disk.fails = True
    with pytest.raises(Broken):
        submit()
    disk.fails = False
    with pytest.raises(Broken):
        submit()
    store.close()

    assert len(failures) == 1
    assert kept.id in stored(path)


# -- many processes ----------------------------------------------------------------------------------------------------


def test_processes_that_begin_at_once_on_a_fresh_file_and_write_together_never_meet_a_lock(tmp_path):
    for number in range(3):
        path = tmp_path / f"yard-{number}.db"
        lines = said(*[start("submit_some", path) for _ in range(4)])

        assert words(lines, "refused") == []
        assert len(words(lines, "submitted")) == 400
        assert set(words(lines, "submitted")) == set(stored(path))


def test_processes_that_work_on_one_file_settle_each_task_once(tmp_path):
    path = tmp_path / "yard.db"
    submitted = words(said(*[start("submit_some", path) for _ in range(2)]), "submitted")

    lines = said(*[start("work", path) for _ in range(3)])

    assert words(lines, "refused") == []
    assert sorted(map(str, words(lines, "settled"))) == sorted(map(str, submitted))
    assert set(stored(path).values()) == {State.SUCCEEDED.value}
    assert sorted(events(path, "task.succeeded")) == sorted(map(str, submitted))
