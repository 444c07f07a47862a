"""
A disk that remembers in which order it was written, so that it can tell what a power cut would have left of it.

It believes in little: what no fsync has confirmed may be there or not, in part, and in any order. An entry of the folder is there
for sure once the folder was synced, which SQLite does with the first sync of a journal or log. That a write does not harm the
bytes beside it (``SQLITE_IOCAP_POWERSAFE_OVERWRITE``) is believed, as SQLite does by default.
"""

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import apsw
from uuid_utils import uuid7

#: Of what is being written when the power goes, each of these is there as a whole or not at all.
SECTOR_BYTES: Final = 512
RECORDED: Final = apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_WAL
LOGS: Final = apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_WAL


@dataclass(frozen=True, slots=True)
class Write:
    file: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    file: int
    size: int


@dataclass(frozen=True, slots=True)
class Sync:
    """``failed``: the disk said so, and lost what it had not written; Linux calls those pages clean from then on."""

    file: int
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Create:
    file: int
    name: str


@dataclass(frozen=True, slots=True)
class Delete:
    name: str


@dataclass(frozen=True, slots=True)
class SyncFolder:
    pass


Change = Write | Truncate
Entry = Create | Delete
Step = Change | Sync | Entry | SyncFolder


class RecordingDisk(apsw.VFS):
    """
    Args:
        fails: Says of the n-th sync whether it fails.
    """

    def __init__(self, fails: Callable[[int], bool] = lambda _: False) -> None:
        self.name = f"recording-{uuid7()}"
        self.steps: list[Step] = []
        self.syncs = 0
        self._fails = fails
        self._files: dict[str, int] = {}
        self._made = 0
        super().__init__(self.name, base="")

    def xOpen(self, name, flags):  # noqa: N802 (SQLite's name)
        kind = flags[0] & RECORDED
        if not kind:
            return super().xOpen(name, flags)
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        if not os.path.exists(path):
            self._made += 1
            self._files[path] = self._made
            self.steps.append(Create(self._made, os.path.basename(path)))
        return RecordingFile(self, name, flags, self._files[path], is_log=bool(kind & LOGS))

    def xDelete(self, path, sync_folder):  # noqa: N802 (SQLite's name)
        super().xDelete(path, False)
        if self._files.pop(path, None) is not None:
            self.steps.append(Delete(os.path.basename(path)))
            if sync_folder:
                self.steps.append(SyncFolder())

    def sync(self, file: int, *, first_of_log: bool) -> None:
        self.syncs += 1
        failed = self._fails(self.syncs)
        self.steps.append(Sync(file, failed))
        if failed:
            raise apsw.exception_for(apsw.SQLITE_IOERR_FSYNC)
        if first_of_log:
            self.steps.append(SyncFolder())


class RecordingFile(apsw.VFSFile):
    def __init__(self, disk, name, flags, file, *, is_log) -> None:
        self._disk = disk
        self._file = file
        self._unsynced_log = is_log
        super().__init__("", name, flags)

    def xWrite(self, data, offset):  # noqa: N802 (SQLite's name)
        super().xWrite(data, offset)
        self._disk.steps.append(Write(self._file, offset, bytes(data)))

    def xTruncate(self, size):  # noqa: N802 (SQLite's name)
        super().xTruncate(size)
        self._disk.steps.append(Truncate(self._file, size))

    def xSync(self, flags):  # noqa: N802 (SQLite's name)
        self._disk.sync(self._file, first_of_log=self._unsynced_log)
        self._unsynced_log = False


@dataclass(slots=True)
class _File:
    durable: bytearray = field(default_factory=bytearray)
    pending: list[Change] = field(default_factory=list)


class Platter:
    """What is on the disk for sure, and what may be, after some steps."""

    def __init__(self) -> None:
        self._files: dict[int, _File] = {}
        self._names: dict[str, int] = {}
        self._pending: list[Entry] = []

    def take(self, step: Step) -> None:
        match step:
            case Write() | Truncate():
                self._files[step.file].pending.append(step)
            case Sync(number, failed):
                file = self._files[number]
                if not failed:
                    for change in file.pending:
                        _change(file.durable, change)
                file.pending.clear()
            case Create(number):
                self._files[number] = _File()
                self._pending.append(step)
            case Delete():
                self._pending.append(step)
            case SyncFolder():
                self._names = _entered(self._names, self._pending)
                self._pending.clear()

    def dropped(self) -> dict[str, bytes]:
        """Return the files as they are when nothing survives but what was synced."""
        return {name: bytes(self._files[number].durable) for name, number in self._names.items()}

    def kept(self) -> dict[str, bytes]:
        """Return the files as they are when all survives, synced or not."""
        return self._left(lambda changes: changes, len(self._pending))

    def prefix(self, chance: random.Random) -> dict[str, bytes]:
        """Return the files as they are when of each a beginning survives of what was not synced."""
        return self._left(lambda changes: changes[: chance.randint(0, len(changes))], self._some(chance))

    def torn(self, chance: random.Random) -> dict[str, bytes]:
        """Return the files as they are when of each a beginning survives, and of the last write some sectors."""

        def some(changes: list[Change]) -> list[Change]:
            if not changes:
                return []
            last = chance.randrange(len(changes))
            return [*changes[:last], *_sectors(changes[last], chance)]

        return self._left(some, self._some(chance))

    def shuffled(self, chance: random.Random) -> dict[str, bytes]:
        """Return the files as they are when any of what was not synced survives, some of it in part, in whatever order."""

        def some(changes: list[Change]) -> list[Change]:
            return [part for change in changes if chance.random() < 0.5 for part in _sectors(change, chance)]

        return self._left(some, self._some(chance))

    def _some(self, chance: random.Random) -> int:
        return chance.randint(0, len(self._pending))

    def _left(self, survive: Callable[[list[Change]], list[Change]], entries: int) -> dict[str, bytes]:
        left = {}
        for name, number in _entered(self._names, self._pending[:entries]).items():
            content = bytearray(self._files[number].durable)
            for change in survive(self._files[number].pending):
                _change(content, change)
            left[name] = bytes(content)
        return left


def _change(content: bytearray, change: Change) -> None:
    match change:
        case Write(_, offset, data):
            if len(content) < offset:
                content.extend(bytes(offset - len(content)))
            content[offset : offset + len(data)] = data
        case Truncate(_, size):
            if size < len(content):
                del content[size:]
            else:
                content.extend(bytes(size - len(content)))


def _sectors(change: Change, chance: random.Random) -> Iterator[Change]:
    """Yield what survives of one change: of a write some of its sectors, cut where sectors begin."""
    if isinstance(change, Truncate):
        if chance.random() < 0.5:
            yield change
        return
    start, end = change.offset, change.offset + len(change.data)
    while start < end:
        stop = min(end, (start // SECTOR_BYTES + 1) * SECTOR_BYTES)
        if chance.random() < 0.5:
            yield Write(change.file, start, change.data[start - change.offset : stop - change.offset])
        start = stop


def _entered(names: dict[str, int], entries: list[Entry]) -> dict[str, int]:
    found = dict(names)
    for entry in entries:
        match entry:
            case Create(number, name):
                found[name] = number
            case Delete(name):
                found.pop(name, None)
    return found


def put(files: dict[str, bytes], folder: Path) -> None:
    """Make *folder* hold just *files*."""
    for old in folder.iterdir():
        old.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
