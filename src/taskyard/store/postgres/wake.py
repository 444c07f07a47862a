"""
Wake-ups across hosts: one NOTIFY per commit, inside it, and a connection of its own that listens. What is quiet goes over a channel
of its own, to which only those listen who want to hear it.

A hint only: what is missed while the connection is away is found by polling, and a pooler lets nothing through at all.
"""

import select
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

import psycopg

from taskyard.core.errors import Unavailable
from taskyard.store.news import is_quiet

#: PostgreSQL takes payloads of less than 8,000 bytes; longer lists of topics are sent as "anything".
MAX_PAYLOAD_BYTES: Final = 7_900
ANYTHING: Final = frozenset({"*"})
#: How long to wait for the server to come back before the next try; the first pauses are shorter, by the database's own back-off.
PAUSE_S: Final = 1.0


class Notifications:
    """
    Args:
        channel: What to listen on.
        sender: Told with every notification, so that this process does not wake itself: it has been told already.
    """

    def __init__(self, channel: str, sender: str) -> None:
        self._channel = channel
        self._quiet = f"{channel[:57]}_quiet"  # names have at most 63 characters
        self._sender = sender
        self._hears_all = False
        self._closed = False
        self._bell, self._ringer = (
            socket.socketpair()
        )  # closing the ringer wakes whoever waits for the server
        self._bell.setblocking(False)

    def message(self, topics: frozenset[str]) -> tuple[str, list[str | None]]:
        """Return the statement that tells others of *topics*."""
        listed = "\n".join(sorted(topics))
        if len(listed.encode()) > MAX_PAYLOAD_BYTES:
            listed = "*"
        channel = self._quiet if all(map(is_quiet, topics)) else self._channel
        return "SELECT pg_notify($1, $2)", [channel, f"{self._sender}\n{listed}"]

    def listen(self, open: Callable[[], Any]) -> Iterator[frozenset[str]]:
        """Yield what others tell, until :meth:`close`; a connection that breaks is made again."""
        while not self._closed:
            try:
                opened = open()
            except Unavailable:
                self._wait(PAUSE_S)
                continue
            if opened.preamble is not None:  # a pooler: what listens there hears nothing
                opened.raw.close()
                return
            try:
                opened.raw.execute(f"LISTEN {self._channel}")
                yield from self._heard(opened.raw)
            except psycopg.Error:
                self._wait(PAUSE_S)
            finally:
                opened.raw.close()

    def _heard(self, raw: psycopg.Connection[Any]) -> Iterator[frozenset[str]]:
        readable = select.poll()
        readable.register(self._bell, select.POLLIN)
        readable.register(raw.fileno(), select.POLLIN)
        hears_all = False
        yield ANYTHING  # whatever was told before we listened
        while not self._closed:
            if self._hears_all and not hears_all:
                hears_all = True
                raw.execute(f"LISTEN {self._quiet}")
                yield ANYTHING
            readable.poll()
            self._hush()
            raw.pgconn.consume_input()
            topics: set[str] = set()
            while (notification := raw.pgconn.notifies()) is not None:
                sender, *told = notification.extra.decode().split("\n")
                if sender != self._sender:
                    topics.update(told)
            if topics:
                yield frozenset(topics)

    def _wait(self, seconds: float) -> None:
        """Wait until :meth:`close` is called, or *seconds* are over."""
        readable = select.poll()
        readable.register(self._bell, select.POLLIN)
        readable.poll(seconds * 1000)
        self._hush()

    def _hush(self) -> None:
        """Let the bell ring no more for what it has rung for."""
        with suppress(BlockingIOError):
            self._bell.recv(64)

    def hear_all(self) -> None:
        if not self._hears_all:
            self._hears_all = True
            with suppress(OSError):  # closed
                self._ringer.send(b"!")

    def close(self) -> None:
        self._closed = True
        self._ringer.close()
