"""
How long a server may take to answer: what is silent for longer is hung up on.

A network that drops packets is noticed by TCP itself (see the address's DEFAULTS). A server that is frozen, or a box in between that
acknowledges what it never delivers, is not: without this, the one writer of a process would wait for good.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import psycopg

#: Longer than the server itself lets a statement take (SETTINGS), so that whoever answers at all is heard.
PATIENCE_S: Final = 30.0
LOOK_EVERY_S: Final = 2.0


class Patience:
    """Watches the connections of one database. From any thread."""

    def __init__(self, seconds: float = PATIENCE_S, look_every: float = LOOK_EVERY_S) -> None:
        self._seconds = seconds
        self._look_every = look_every
        self._asked: dict[psycopg.Connection[Any], float] = {}
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    @contextmanager
    def waiting(self, raw: "psycopg.Connection[Any]") -> Iterator[None]:
        """Within: *raw* waits for an answer."""
        self._asked[raw] = time.monotonic()  # one step of a dictionary: no lock
        if self._thread is None:
            self._start()
        try:
            yield
        finally:
            self._asked.pop(raw, None)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="patience", daemon=True)
                self._thread.start()

    def _watch(self) -> None:
        while not self._closed.wait(self._look_every):
            late = time.monotonic() - self._seconds
            for raw, asked in list(self._asked.items()):
                if asked < late:
                    hang_up(raw)

    def close(self) -> None:
        self._closed.set()


def hang_up(raw: "psycopg.Connection[Any]") -> None:
    """End the connection under whoever waits on it; psycopg then says that the server closed it."""
    with suppress(OSError, psycopg.Error):
        descriptor = os.dup(raw.fileno())  # the socket is psycopg's, and may be closed by it at any moment
        with socket.socket(fileno=descriptor) as connection:
            connection.shutdown(socket.SHUT_RDWR)
