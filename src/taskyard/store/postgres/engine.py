"""PostgreSQL as a database: opening connections with our settings, through a pooler or not, and backing off when there are none."""

import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Final

import psycopg
from psycopg import RawCursor

from taskyard.core.errors import Unavailable
from taskyard.store.postgres.address import address
from taskyard.store.postgres.connection import Opened, PostgresConnection, Raw
from taskyard.store.postgres.patience import Patience
from taskyard.store.postgres.pipe import Command
from taskyard.store.postgres.refusals import translated
from taskyard.store.postgres.wake import Notifications

#: The oldest that is still maintained and understands every statement; the tests have run on 15 and 18.
OLDEST_VERSION: Final = 140000
#: The settings of every transaction of ours. Our statements find few rows by an index, always, whatever the planner was told
#: about the tables: whatever reads one as a whole, or compiles, would be a bad plan.
SETTINGS: Final[Mapping[str, str]] = {
    "jit": "off",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    # By the server's own price of a page, a list of one queue would walk all tasks by number and drop the others': millions, if they are newer.
    "random_page_cost": "0.1",
    # A process that is cut off in the middle must not keep its locks: the reaper passes over rows that are locked.
    "idle_in_transaction_session_timeout": "10s",
    # Somebody else's lock (a person in psql, say) may delay a write so long, not for good.
    "lock_timeout": "15s",
    # Ours take milliseconds. What takes this long holds up every other write of its process.
    "statement_timeout": "20s",
}
#: Of a connection of our own, not of a pooler's: the server lets go of a host that is cut off, and of what it has locked.
OF_CONNECTION: Final[Mapping[str, str]] = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "15s",
}
#: The moves are planned once and again now and then (PLANS_KEPT_S); looks each time, since what suits a label of three tasks does
#: not suit one of a million.
WRITERS_PLANS: Final = "force_generic_plan"
READERS_PLANS: Final = "force_custom_plan"
#: What a lost connection waits before it tries again, doubled each time, so that a server that comes back is not run over.
FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 2.0


class PostgresDatabase:
    """
    A yard in a PostgreSQL database.

    Args:
        url: See :func:`taskyard.store.postgres.address.address`.
        now: The clock in place of the server's; tests set it.
        monotonic: What pauses between attempts to connect are measured by, in seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        now: Callable[[], datetime] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = address(url)
        self.url = url
        self.where = self._address.where
        self.schema = self._address.schema
        self.notify = self._address.notify
        self.now = now
        self.notifications = Notifications(self._address.schema, uuid.uuid4().hex[:8])
        self.monotonic = monotonic
        self.patience = Patience()
        self._lock = threading.Lock()
        self._failures = 0
        self._not_before = 0.0

    def connect(self, *, writes: bool) -> PostgresConnection:
        return PostgresConnection(self, writes=writes)

    def open(self, *, writes: bool) -> Opened:
        """
        Open a connection to the server.

        Raises:
            Unavailable: there is none to be had; or a moment ago there was none, and it is too soon to ask again.
        """
        with self._lock:
            early = self._not_before - self.monotonic()
            if early > 0:
                raise Unavailable(
                    f"PostgreSQL at {self.where} cannot be reached just now; it is tried again in {early:.1f} s"
                )
        try:
            with translated(self.where):
                opened = self._open(writes=writes)
        except Unavailable:
            self._pause()
            raise
        with self._lock:
            self._failures, self._not_before = 0, 0.0
        return opened

    def _pause(self) -> None:
        with self._lock:
            pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**self._failures)
            self._failures = min(self._failures + 1, 10)
            # Up to a fifth less, so that processes that lost the server together do not come back together.
            self._not_before = self.monotonic() + pause * (1 - random.random() / 5)

    def _open(self, *, writes: bool) -> Opened:
        raw: Raw = psycopg.connect(
            self._address.conninfo,
            autocommit=True,
            prepare_threshold=1,
            cursor_factory=RawCursor,
            **({"target_session_attrs": "read-write"} if writes else {}),  # type: ignore[arg-type]
        )
        try:
            if raw.info.server_version < OLDEST_VERSION:
                raise Unavailable(
                    f"PostgreSQL at {self.where} has version {raw.info.server_version // 10000}; it must be 14 or newer"
                )
            if not self._pooled(raw):
                raw.execute(self._settings(writes=writes, local=False)[0].encode(), prepare=False)
                return Opened(raw, None)
            # The next transaction may run on another server connection, which knows neither our settings nor our statements.
            raw.prepare_threshold = None
            return Opened(raw, self._settings(writes=writes, local=True))
        except BaseException:
            raw.close()
            raise

    def _pooled(self, raw: Raw) -> bool:
        if self._address.pooler != "auto":
            return self._address.pooler == "on"
        # A pooler makes up the process number that it tells its clients, since the real one changes.
        [(pid,)] = raw.execute("SELECT pg_backend_pid()").fetchall()
        return bool(pid != raw.info.backend_pid)

    def _settings(self, *, writes: bool, local: bool) -> Command:
        plans = WRITERS_PLANS if writes else READERS_PLANS
        settings = {**SETTINGS, "plan_cache_mode": plans, "search_path": self.schema}
        if not local:
            settings |= OF_CONNECTION
        calls = [f"set_config('{name}', '{value}', {str(local).lower()})" for name, value in settings.items()]
        return f"SELECT {', '.join(calls)}", None

    def migrate(self, progress: Callable[[str], None] = lambda _: None) -> int:
        from taskyard.store.postgres.migrate import migrate

        with translated(self.where):
            opened = self.open(writes=True)
            try:
                return migrate(opened.raw, self.schema, self.where, progress)
            finally:
                opened.raw.close()

    def listen(self) -> Iterator[frozenset[str]]:
        if not self.notify:
            return iter(())
        return self.notifications.listen(lambda: self.open(writes=False))

    def hear_all(self) -> None:
        self.notifications.hear_all()

    def maintain(self) -> None:
        """Do nothing: the server's own autovacuum is set up by the schema."""

    def close(self) -> None:
        self.notifications.close()
        self.patience.close()
