"""Storages: where the files of results are written. A file is there whole or not at all."""

import asyncio
import os
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from taskyard.loops.connector import Refused

_count: Final = count(1)


def _unlike_any() -> str:
    """Return a word that no other writer uses now, of this process or another."""
    return f"{os.getpid()}-{next(_count)}"


class Storage(Protocol):
    """One way of storing, for URLs of one scheme. What it raises but Refused is tried again."""

    scheme: str

    async def put(self, url: str, name: str, content: bytes) -> str:
        """Write *content* under *name* below the storage's *url*, replacing what is there; return where it is."""
        ...

    async def probe(self, url: str) -> None:
        """Raise Refused unless files can be written below *url*."""
        ...


class LocalStorage:
    """
    Folders of this machine, as ``local:///srv/results``.

    Args:
        root: The only folder that is written to, with those below it: whoever may name a storage shall not write elsewhere.
    """

    scheme = "local"

    def __init__(self, root: Path) -> None:
        self._root = root

    async def put(self, url: str, name: str, content: bytes) -> str:
        folder = self._folder(url)
        await asyncio.to_thread(write_whole, folder / name, content)
        return f"local://{folder / name}"

    async def probe(self, url: str) -> None:
        file = self._folder(url) / f".probe-{_unlike_any()}"
        try:
            await asyncio.to_thread(write_whole, file, b"")
            file.unlink()
        except OSError as error:
            raise Refused("storage-not-writable", f"{file.parent} cannot be written: {error}") from error

    def _folder(self, url: str) -> Path:
        folder = Path(urlsplit(url).path).resolve()
        root = self._root.resolve()
        if not folder.is_relative_to(root):
            raise Refused(
                "storage-not-allowed", f"results are stored below {root} only; {folder} is elsewhere"
            )
        return folder


def write_whole(file: Path, content: bytes) -> None:
    """Write a file so that nobody ever sees a part of it, and that it outlives a loss of power."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{_unlike_any()}.part")
    try:
        with part.open("wb") as writing:
            writing.write(content)
            writing.flush()
            os.fsync(writing.fileno())
        part.replace(file)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
