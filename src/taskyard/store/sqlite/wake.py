"""
Wake-ups across the processes that share one SQLite file: a datagram to each listener's socket, after the commit.

Each listening process owns a socket in a folder beside the database, whose name says what it hears. A hint only: a datagram may be
lost or late, and a slow poll lies beneath everything that waits for one.
"""

import hashlib
import os
import socket
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from taskyard.store.news import is_quiet

#: The longest list of topics sent as they are; longer ones are sent as "anything".
MAX_DATAGRAM_BYTES: Final = 4_096
ANYTHING: Final = frozenset({"*"})
HEARS, HEARS_ALL = ".wake", ".all.wake"


class Datagrams:
    def __init__(self, path: Path) -> None:
        # Socket paths are limited to about 100 bytes, so the folder lies in the temporary directory, named by the file.
        digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
        self._folder = Path(tempfile.gettempdir()) / f"taskyard-{os.getuid()}-{digest}"
        self._mine: Path | None = None
        self._sender: socket.socket | None = None
        self._hears = HEARS
        self._lock = threading.Lock()
        self._closed = False

    def announce(self, topics: frozenset[str]) -> None:
        hears = HEARS_ALL if all(map(is_quiet, topics)) else HEARS
        try:
            others = [each for each in os.scandir(self._folder) if each.name.endswith(hears)]
        except OSError:
            return  # nobody listens
        if self._sender is None:
            self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._sender.setblocking(False)
        message = "\n".join(sorted(topics)).encode()
        if len(message) > MAX_DATAGRAM_BYTES:
            message = b"*"
        for other in others:
            if self._mine is not None and other.name == self._mine.name:
                continue
            try:
                self._sender.sendto(message, other.path)
            except (ConnectionRefusedError, FileNotFoundError):
                Path(other.path).unlink(missing_ok=True)  # its process is gone
            except OSError:
                continue  # its buffer is full: it has news enough to wake for

    def listen(self) -> Iterator[frozenset[str]]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
            with self._lock:
                self._mine = self._folder / (uuid.uuid4().hex + self._hears)
                self._bind(receiver, self._mine)
            try:
                yield ANYTHING  # whatever was told before we listened
                while not self._closed:
                    message = receiver.recv(MAX_DATAGRAM_BYTES)
                    yield frozenset(message.decode().split("\n")) if message != b"*" else ANYTHING
            finally:
                self._mine.unlink(missing_ok=True)
                self._leave()

    def hear_all(self) -> None:
        with self._lock:
            if self._hears == HEARS_ALL:
                return
            self._hears = HEARS_ALL
            if self._mine is not None:
                with suppress(OSError):  # it has just left
                    self._mine = self._mine.rename(self._mine.with_suffix(HEARS_ALL))
                    self._poke()

    def _bind(self, receiver: socket.socket, mine: Path) -> None:
        while True:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            try:
                receiver.bind(str(mine))
                return
            except FileNotFoundError:
                continue  # the last of the others has just left, and has taken the folder along

    def _leave(self) -> None:
        """Remove the folder, and what processes that were killed have left in it, unless somebody still listens there."""
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            for other in self._folder.glob("*.wake"):
                try:
                    probe.connect(str(other))
                except (ConnectionRefusedError, FileNotFoundError):
                    other.unlink(missing_ok=True)
            self._folder.rmdir()  # fails where somebody is left

    def close(self) -> None:
        self._closed = True
        with suppress(OSError):
            self._poke()
        if self._sender is not None:
            self._sender.close()

    def _poke(self) -> None:
        """Wake whoever listens in this process."""
        if self._mine is not None:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as poke:
                poke.sendto(b"*", str(self._mine))
