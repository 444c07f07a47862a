"""
Group commit: one at a time writes in a process, and what waits together shares one commit.

A commit costs 150–220 µs on a good disk whatever is in it, so the way to be fast with full durability is to
share it. Nothing is answered before its commit is on the disk; one that fails, fails alone.

What waits is written by a thread of its own. Who blocks for an answer anyway, and finds nobody writing or waiting, writes on
his own thread: handing it to another and back would cost as much as the commit.
"""

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from taskyard.core.errors import Broken, Unavailable
from taskyard.store.engine import Collided, Connection, Database, Guessed
from taskyard.store.news import News
from taskyard.store.records import Records

Item = TypeVar("Item")
Answer = TypeVar("Answer")
#: The answers to many, in their order, refusals among them as exceptions; as a function they are asked for after the commit.
Answers = Sequence[Answer | Exception] | Callable[[], Sequence[Answer | Exception]]
#: A move over many.
SetMove = Callable[[Records, Sequence[Item]], Answers[Answer]]

#: How much shares one commit at most, so that one slow batch delays nobody for long.
MOST_ITEMS: Final = 500
#: How often a job that collides with other processes runs on its own before it is refused.
MOST_TRIES: Final = 5


@dataclass(slots=True)
class _Job:
    """One caller's part of a batch: either any work, or items for a move over many."""

    work: Callable[[Records], Any] | None
    move: Any
    items: Sequence[Any]
    future: Future[Any]
    tries: int = 1


class Writer:
    """
    The one writer of this process.

    Args:
        database: Where to write.
        news: Told of what each commit changed.
        failed: Called once, with the error, when the store is broken for good.
    """

    def __init__(
        self, database: Database, news: News, failed: Callable[[Exception], None] = lambda _: None
    ) -> None:
        self._database = database
        self._news = news
        self._failed = failed
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._connection: Connection | None = None
        self._records: Records | None = None
        self._broken: Exception | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._queued = 0  # jobs that wait for the thread, or that it has in its hands
        self._turn = threading.Lock()  # who has it, writes
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def write(self, work: Callable[[Records], Answer]) -> Answer:
        """Run *work* in a transaction; return its answer once it is on the disk."""
        answer: Answer = self._now(_Job(work, None, (), Future()))
        return answer

    def write_soon(self, work: Callable[[Records], Answer]) -> "Future[Answer]":
        """Return a future of what :meth:`write` returns."""
        return self._put(_Job(work, None, (), Future()))

    def together(self, move: "SetMove[Item, Answer]", items: Sequence[Item]) -> list[Answer | Exception]:
        """Run *move* over *items* and whatever else waits for the same move, in one go."""
        answers: list[Answer | Exception] = self._now(_Job(None, move, items, Future()))
        return answers

    def together_soon(
        self, move: "SetMove[Item, Answer]", items: Sequence[Item]
    ) -> "Future[list[Answer | Exception]]":
        """Return a future of what :meth:`together` returns."""
        return self._put(_Job(None, move, items, Future()))

    def _now(self, job: _Job) -> Any:
        if not self._takes_turn():
            return self._put(job).result()
        try:
            self._commit([job])
        except BaseException:
            self._disconnect()  # interrupted by Ctrl-C, wherever it was: the next begins with a fresh connection
            raise
        finally:
            self._turn.release()
        return job.future.result()

    def _takes_turn(self) -> bool:
        """Take the turn if nobody has it or waits for it."""
        with self._lock:
            return not self._closed and not self._queued and self._turn.acquire(blocking=False)

    def _put(self, job: _Job) -> "Future[Any]":
        with self._lock:
            if self._closed:
                raise Unavailable("the yard is closed")
            self._queued += 1
            self._jobs.put(job)
        return job.future

    def close(self) -> None:
        """Finish what waits, then stop."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        is_open = True
        while is_open:
            first = self._jobs.get()
            with self._turn:
                jobs, is_open = self._gathered(first)
                # From here on nobody can cancel them: they are going to be answered.
                batch = [job for job in jobs if job.future.set_running_or_notify_cancel()]
                if batch:
                    self._commit(batch)
            with self._lock:
                self._queued -= len(jobs)
        with self._turn:
            self._disconnect()

    def _gathered(self, job: _Job | None) -> tuple[list[_Job], bool]:
        """Return *job* and what else waits, as much as may share a commit; and whether more may come."""
        jobs: list[_Job] = []
        size = 0
        while job is not None:
            jobs.append(job)
            size += len(job.items) or 1
            if size >= MOST_ITEMS:
                return jobs, True
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return jobs, True
        return jobs, False

    def _commit(self, batch: list[_Job]) -> None:
        if self._broken is not None:
            for job in batch:
                job.future.set_exception(self._broken)
            return
        try:
            answers, news = self._transacted(batch)
        except (Collided, Guessed) as error:
            self._again(batch, error)
            return
        except _Apart:
            for job in batch:
                self._commit([job])
            return
        except Exception as error:
            self._undone(batch, error)
            return
        if news:
            self._news.tell(news)
        for job, answer, refusal in answers:
            if refusal is None:
                job.future.set_result(answer)
            else:
                job.future.set_exception(refusal)

    def _transacted(
        self, batch: list[_Job]
    ) -> tuple[list[tuple[_Job, Any, Exception | None]], frozenset[str]]:
        """Run a batch in one transaction; return the answers, which count now, and what there is news of."""
        groups = _grouped(batch)
        records = self._connected()
        records.begin()
        with records.connection.transaction():
            if len(groups) == 1:
                done = [self._alone(records, groups[0])]
            else:
                done = [each for group in groups for each in self._beside(records, group)]
            records.end()
            news = frozenset(records.news)
            if news:
                records.connection.announce(news)
        return [each for group, answers in done for each in _split(group, answers)], news

    def _again(self, batch: list[_Job], collided: Collided | Guessed) -> None:
        """
        Run what collided with another process again, each job in a transaction of its own: alone, a job takes its locks in
        order, and only one that collides once more is refused. A guess that was wrong is nobody's fault.
        """
        if len(batch) > 1 and not isinstance(collided, Guessed):
            for job in batch:
                self._commit([job])
            return
        if batch[0].tries >= MOST_TRIES:
            self._undone(batch, Collided(str(collided)))
            return
        batch[0].tries += 1
        self._commit(batch)

    def _alone(self, records: Records, group: list[_Job]) -> tuple[list[_Job], Any]:
        """Run the only group of a transaction; when it fails it has failed as a whole."""
        try:
            return group, _answered(records, group)
        except Unavailable:
            raise
        except Exception as error:
            records.connection.prove()  # who is refused is not refused for what is not so
            raise (_Refused(error) if len(group) == 1 else _Apart()) from error

    def _beside(self, records: Records, group: list[_Job]) -> list[tuple[list[_Job], Any]]:
        """Run one group of several; when a shared move fails, run its parts one by one, so that only the culprit fails."""
        mark, news = records.events.mark(), set(records.news)
        try:
            with records.connection.savepoint():
                return [(group, _answered(records, group))]
        except Unavailable:
            raise
        except Exception as error:
            records.connection.prove()
            records.events.forget(mark)
            records.news = news
            if len(group) == 1:
                return [(group, _Refused(error))]
            return [done for job in group for done in self._beside(records, [job])]

    def _undone(self, batch: list[_Job], error: Exception) -> None:
        if isinstance(error, _Refused):
            batch[0].future.set_exception(error.reason)
            return
        if isinstance(error, Broken):
            self._broken = error
        self._disconnect()  # whatever state the connection is in, the next batch begins with a fresh one
        for job in batch:
            job.future.set_exception(error)
        if self._broken is not None:
            self._failed(error)

    def _connected(self) -> Records:
        if self._records is None:
            self._connection = self._database.connect(writes=True)
            self._records = Records(self._connection)
        return self._records

    def _disconnect(self) -> None:
        connection, self._connection, self._records = self._connection, None, None
        if connection is not None:
            with suppress(Exception):  # it may be broken already
                connection.close()


class _Apart(Exception):
    """Jobs that shared a transaction failed by the fault of one of them: it is undone, and each runs on its own."""


class _Refused(Exception):
    """A job failed by its own fault: what it did is undone, the connection is fine."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


def _grouped(batch: list[_Job]) -> list[list[_Job]]:
    """Bring the jobs of one move together; what waits at the same time has no order among itself."""
    groups: list[list[_Job]] = []
    by_move: dict[Any, list[_Job]] = {}
    for job in batch:
        if job.work is not None:
            groups.append([job])
        elif job.move in by_move:
            by_move[job.move].append(job)
        else:
            by_move[job.move] = [job]
            groups.append(by_move[job.move])
    return groups


def _answered(records: Records, group: list[_Job]) -> Any:
    work = group[0].work
    if work is not None:
        return work(records)
    if len(group) == 1:
        return group[0].move(records, group[0].items)
    return group[0].move(records, [item for job in group for item in job.items])


def _split(group: list[_Job], answers: Any) -> list[tuple[_Job, Any, Exception | None]]:
    """Return what came of each job: its answer or its refusal."""
    if isinstance(answers, _Refused):
        return [(group[0], None, answers.reason)]
    if group[0].work is not None:
        return [(group[0], answers, None)]
    if callable(answers):
        answers = answers()
    parts: list[tuple[_Job, Any, Exception | None]] = []
    start = 0
    for job in group:
        parts.append((job, answers[start : start + len(job.items)], None))
        start += len(job.items)
    return parts
