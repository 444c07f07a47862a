"""The store: one database, its writer, its readers, and the news between them."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

from taskyard.core.errors import Unavailable
from taskyard.store.engine import Connection, Database
from taskyard.store.news import News, is_quiet
from taskyard.store.records import Records
from taskyard.store.writer import SetMove, Writer

Item = TypeVar("Item")
Answer = TypeVar("Answer")

#: Reads at once. More than the cores help little, and each is a connection.
READERS: Final = 4


class Store:
    """
    What everything above asks for transactions.

    ``write`` and ``read`` block; ``write_soon``, ``together_soon`` and ``read_soon`` return futures, which ``asyncio.wrap_future``
    turns into awaitables. Services are plain functions of :class:`Records`, and this decides when and on which
    connection they run.

    Args:
        database: Migrated already.
        failed: Called when the database is broken for good.
    """

    def __init__(self, database: Database, failed: Callable[[Exception], None] = lambda _: None) -> None:
        self.database = database
        self.news = News(self._heard)
        self._writer = Writer(database, self.news, failed)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="reader")
        self._local = threading.local()
        self._connections: list[Connection] = []
        self._lock = threading.Lock()
        self._listens = False
        self._listener: threading.Thread | None = None

    def write(self, work: Callable[[Records], Answer]) -> Answer:
        """Run *work* in a transaction and return its answer, which is durable then."""
        return self._writer.write(work)

    def write_soon(self, work: Callable[[Records], Answer]) -> "Future[Answer]":
        return self._writer.write_soon(work)

    def together(self, move: "SetMove[Item, Answer]", items: Sequence[Item]) -> list[Answer | Exception]:
        """Run a move over many, sharing it with whoever asks for the same at the same time."""
        return self._writer.together(move, items)

    def together_soon(
        self, move: "SetMove[Item, Answer]", items: Sequence[Item]
    ) -> "Future[list[Answer | Exception]]":
        return self._writer.together_soon(move, items)

    def read(self, work: Callable[[Records], Answer]) -> Answer:
        """Run *work* on what is committed now, all at one moment. Never waits for a writer."""
        records: Records | None = getattr(self._local, "records", None)
        if records is None:
            connection = self.database.connect(writes=False)
            with self._lock:
                self._connections.append(connection)
            records = self._local.records = Records(connection)
        records.begin()
        try:
            with records.connection.snapshot():
                return work(records)
        except Unavailable:
            self._forget_reader()
            raise

    def read_soon(self, work: Callable[[Records], Answer]) -> "Future[Answer]":
        return self._readers.submit(self.read, work)

    def _forget_reader(self) -> None:
        records, self._local.records = self._local.records, None
        with self._lock:
            if records.connection in self._connections:
                self._connections.remove(records.connection)
        records.connection.close()

    def listen(self) -> None:
        """Hear also the news of other processes on this database, from the first subscription on: who only submits need not be woken."""
        self._listens = True
        self._start_listener()

    def _heard(self, prefix: str) -> None:
        if is_quiet(prefix):
            self.database.hear_all()
        self._start_listener()

    def _start_listener(self) -> None:
        with self._lock:
            if self._listens and self.news.is_heard and self._listener is None:
                self._listener = threading.Thread(target=self._hear, name="listener", daemon=True)
                self._listener.start()

    def _hear(self) -> None:
        for topics in self.database.listen():
            self.news.tell(topics)

    def close(self) -> None:
        """Finish the writes that wait and let go of the database."""
        self._writer.close()
        self._readers.shutdown()
        self.database.close()
        with self._lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()
