"""All records of one connection, and the transaction they share."""

from collections.abc import Callable
from datetime import datetime

from uuid_utils import uuid7

from taskyard.store.accounts import AccountRecords
from taskyard.store.destinations import DestinationRecords
from taskyard.store.engine import Connection
from taskyard.store.events import EventRecords
from taskyard.store.hooks import HookRecords
from taskyard.store.inbox import InboxRecords
from taskyard.store.polls import PollRecords
from taskyard.store.queues import QueueRecords
from taskyard.store.results import ResultRecords
from taskyard.store.rollouts import RolloutRecords
from taskyard.store.rules import RuleRecords
from taskyard.store.schedules import ScheduleRecords
from taskyard.store.sessions import SessionRecords
from taskyard.store.sites import SiteRecords
from taskyard.store.sources import SourceRecords
from taskyard.store.tasks import TaskRecords
from taskyard.store.work import WorkRecords
from taskyard.store.workers import WorkerRecords


def _new_id() -> str:
    return str(uuid7())


class Records:
    """
    What a service is given: the records of every noun, inside one open transaction.

    ``now`` is the database's clock, read once per transaction. ``news`` gathers the topics others are to be told of
    once it has committed: ``ready:<organisation>:<queue>``, ``stop:<holder>``, ``due``, ``delivery`` and ``feed``.
    """

    def __init__(self, connection: Connection, new_id: Callable[[], str] = _new_id) -> None:
        self.connection = connection
        self.tasks = TaskRecords(connection)
        self.work = WorkRecords(connection)
        self.events = EventRecords(connection)
        self.queues = QueueRecords(connection)
        self.workers = WorkerRecords(connection)
        self.schedules = ScheduleRecords(connection)
        self.accounts = AccountRecords(connection)
        self.inbox = InboxRecords(connection)
        self.sites = SiteRecords(connection)
        self.rules = RuleRecords(connection)
        self.rollouts = RolloutRecords(connection)
        self.sources = SourceRecords(connection)
        self.sessions = SessionRecords(connection)
        self.polls = PollRecords(connection)
        self.results = ResultRecords(connection)
        self.destinations = DestinationRecords(connection)
        self.hooks = HookRecords(connection, new_id)
        self.news: set[str] = set()
        self._now: datetime | None = None

    @property
    def now(self) -> datetime:
        if self._now is None:
            self._now = self.connection.now()
        return self._now

    @property
    def time(self) -> datetime | None:
        """:attr:`now` for what is written only: None where the database puts it in by itself, which saves asking for it."""
        if self._now is None:
            self._now = self.connection.time_known
        return self._now

    def begin(self) -> None:
        """Forget the last transaction."""
        self._now = None
        self.news = set()
        self.events.forget()

    def end(self) -> None:
        """Write the gathered events, and what is to be delivered of them: the last thing before the commit."""
        if self.hooks.cause(self.events.gathered, lambda: self.now):
            self.news.add("delivery")
        if self.events.flush():
            self.news.add("feed")
