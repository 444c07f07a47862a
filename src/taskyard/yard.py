"""The yard: declare what a program can do, submit tasks, and run them, all from Python."""

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, Unpack

from taskyard.core.actor import Actor
from taskyard.core.errors import Conflict, StillOpen, TaskFailed
from taskyard.core.task import DEFAULT_QUEUE, Json, NewTask, State, Task
from taskyard.core.worker import LEASE
from taskyard.loops import loading
from taskyard.loops.handlers import Handler, Handlers, Kind, RetryDelay, TaskOptions, place_of

if TYPE_CHECKING:  # a child process that only wants the handlers need not load the store
    from taskyard.loops.worker import Worker
    from taskyard.service.services import Services
    from taskyard.store.records import Records
    from taskyard.store.store import Store

Answer = TypeVar("Answer")
Function = TypeVar("Function", bound=Callable[..., Any])

DATABASE: Final = "sqlite:///taskyard.db"
ORGANISATION: Final = "default"
#: What news may have been missed is looked up this often by whoever waits for a task.
LOOK_EVERY: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Opened:
    """The parts of an open yard, for what stands above it."""

    store: "Store"
    services: "Services"
    actor: Actor


class Yard:
    """
    What a program declares its handlers on. Nothing is opened until the first call that needs the database, or ``with``.

    Args:
        url: ``sqlite:///file.db``, a path, or ``postgresql://…``.
        organisation: By name; made when there is none.
        now: The clock.
        jitter: Returns a number in [0, 1): spreads retries and beats.

    >>> yard = Yard()
    >>> @yard.task("double")
    ... def double(ctx, number: int) -> int:
    ...     return 2 * number
    """

    def __init__(
        self,
        url: "str | PathLike[str]" = DATABASE,
        organisation: str = ORGANISATION,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.url = fspath(url)
        self.organisation = organisation
        self.handlers = Handlers()
        self._now = now
        self._jitter = jitter
        self._opened: Opened | None = None
        self._lock = threading.Lock()

    # -- declare ---------------------------------------------------------------------------------------------------------------

    def task(
        self,
        type: str,
        *,
        queue: str = DEFAULT_QUEUE,
        timeout: timedelta | float | None = None,
        max_failures: int | None = None,
        isolation: str | None = None,
        memory_limit_bytes: int | None = None,
        retry_delay: RetryDelay | float | None = None,
        no_retry: tuple[Kind, ...] = (),
        executor: Executor | None = None,
    ) -> Callable[[Function], Function]:
        """
        Declare the decorated function as what does the tasks of *type*. It stays what it was, and can be called as before.

        It is given a :class:`Context` (a :class:`SyncContext`, if it is not ``async def``), then the task's input: an
        object by name, an array by position, anything else as one argument. What it returns is the task's output, or an outcome.

        Args:
            timeout: How long one attempt may take (a number is in seconds).
            max_failures: After so many failures the task is failed for good.
            isolation: ``"process"`` runs it in a child process, which is killed on cancel, timeout or too much memory.
            memory_limit_bytes: How much more one attempt may allocate than the child process has when it begins.
            retry_delay: How long to wait after a failure (a number is in seconds; a function is given how many there were).
            no_retry: Errors that another try would not mend.
            executor: Runs it there: any ``concurrent.futures.Executor``. Its context can tell, but not do anything.

        Raises:
            Invalid: what is asked for cannot be.
        """

        def declare(function: Function) -> Function:
            self.handlers.add(
                Handler(
                    type=type,
                    function=function,
                    place=place_of(function, isolation, executor),
                    queue=queue,
                    timeout=_span(timeout),
                    max_failures=max_failures,
                    memory_limit_bytes=memory_limit_bytes,
                    retry_delay=retry_delay if callable(retry_delay) else _span(retry_delay),
                    no_retry=no_retry,
                    executor=executor,
                )
            )
            return function

        return declare

    # -- open and close ----------------------------------------------------------------------------------------------------------

    def open(self) -> Self:
        """
        Open the database, and make it if there is none; doing it again changes nothing.

        Raises:
            Unavailable: it cannot be reached.
        """
        self.open_parts()
        return self

    def close(self) -> None:
        """Finish what is being written and let go of the database."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.store.close()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def open_parts(self) -> Opened:
        """Open it if it is not, and return its parts."""
        with self._lock:
            if self._opened is None:
                self._opened = self._open_database()
            return self._opened

    def _open_database(self) -> Opened:
        if loading.inside_zygote:
            raise Conflict(
                "the module of a handler opens the yard while a child process imports it; "
                'put what opens it under `if __name__ == "__main__":`'
            )
        from taskyard.service.services import build_services
        from taskyard.store.opening import migrate, open_database
        from taskyard.store.store import Store

        database = open_database(self.url, self._now)
        migrate(database)
        store = Store(database)
        try:
            store.listen()
            number = store.write(self._organisation_number)
        except BaseException:
            store.close()
            raise
        actor = Actor(organisation=number, identity="system", name="yard")
        return Opened(store, build_services(new_id, self._jitter), actor)

    def _organisation_number(self, records: "Records") -> int:
        found = records.accounts.organisation_by_name(self.organisation)
        if found is not None:
            return found.number
        made = records.accounts.insert_organisation(
            self.organisation, self.organisation.capitalize(), {}, records.now
        )
        if made is None:  # another process was faster
            return self._organisation_number(records)
        return made

    # -- submit, cancel, retry, send ---------------------------------------------------------------------------------------------

    def submit(
        self, what: str | Callable[..., Any], input: Json = None, /, **options: Unpack[TaskOptions]
    ) -> Task:
        """
        Submit a task; it is durable when this returns.

        Args:
            what: A handler of this yard, or a type that some worker handles.
            input: Any JSON value.
            options: See :class:`NewTask`; queue, timeout and max_failures are the handler's unless they are given.

        Raises:
            Invalid, TooLarge, Conflict (its key is taken), Unavailable.
        """
        from taskyard.service.tasks import Submission

        opened = self.open_parts()
        submission = Submission(opened.actor, self.handlers.new_task(what, input, **options))
        [answer] = opened.store.together(opened.services.tasks.submit_soon, [submission])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def submit_many(self, news: Sequence[NewTask]) -> list[Task]:
        """Submit all of *news* or, when one is refused, none. Raises what :meth:`submit` does."""
        from taskyard.service.tasks import Submission

        opened = self.open_parts()

        def submit_all(records: "Records") -> list[Task]:
            tasks: list[Task] = []
            for answer in opened.services.tasks.submit(
                records, [Submission(opened.actor, new) for new in news]
            ):
                if isinstance(answer, Exception):
                    raise answer
                tasks.append(answer)
            return tasks

        return opened.store.write(submit_all)

    def new_task(
        self, what: str | Callable[..., Any], input: Json = None, /, **options: Unpack[TaskOptions]
    ) -> NewTask:
        """Return what :meth:`submit` would submit: for :meth:`submit_many`, or for ``ctx.spawn``."""
        return self.handlers.new_task(what, input, **options)

    def cancel(self, id: str) -> Task:
        """Cancel a task and its open children; what runs is asked to stop. Raises NotFound, WrongState."""
        return self._write(
            lambda opened, records: opened.services.tasks.cancel_one(records, opened.actor, id)
        )

    def retry(self, id: str) -> Task:
        """Submit an ended task again, as a new one. Raises NotFound, WrongState, Conflict."""
        return self._write(lambda opened, records: opened.services.tasks.retry(records, opened.actor, id))

    def send(self, name: str, payload: Json = None) -> bool:
        """Send an event to whoever waits for it, now or later; False when one of this name was sent before."""
        return self._write(
            lambda opened, records: opened.services.tasks.send(records, opened.actor, name, payload)
        )

    # -- read --------------------------------------------------------------------------------------------------------------------

    def get(self, id: str) -> Task:
        """Raises NotFound."""
        return self._read(lambda opened, records: opened.services.tasks.get(records, opened.actor, id))

    def result(self, id: str, timeout: timedelta | float | None = None) -> Json:
        """
        Wait until a task has succeeded and return its output.

        Raises:
            TaskFailed: it failed or was canceled.
            StillOpen: it has not ended within *timeout* (a number is in seconds).
            NotFound: there is no such task.
        """
        task = self.wait(id, timeout)
        if task.state is not State.SUCCEEDED:
            raise TaskFailed(task.id, task.state, task.error.message if task.error else None, task)
        return task.output

    def wait(self, id: str, timeout: timedelta | float | None = None) -> Task:
        """Wait until a task has ended, however it ended. Raises StillOpen, NotFound."""
        limit = _span(timeout)
        until = None if limit is None else time.monotonic() + limit.total_seconds()
        news = threading.Event()
        stop = self.open_parts().store.news.subscribe("feed", news.set)
        try:
            while True:
                news.clear()  # before the look, so that news during it counts
                task = self.get(id)
                if not task.is_open:
                    return task
                left = LOOK_EVERY.total_seconds() if until is None else until - time.monotonic()
                if left <= 0:
                    raise StillOpen(task.id, task.state, task)
                news.wait(min(left, LOOK_EVERY.total_seconds()))
        finally:
            stop()

    def results(self, id: str) -> dict[str, Json]:
        """Return what a task has published, by name; of several under one name, the last."""
        found = self._read(lambda opened, records: opened.services.tasks.results(records, opened.actor, id))
        return {result.name: result.value for result in found}

    def log(self, id: str) -> str:
        """Return what a task has logged, all attempts in order."""
        logs = self._read(lambda opened, records: opened.services.tasks.logs(records, opened.actor, id))
        return "".join(log.text for log in logs)

    # -- work --------------------------------------------------------------------------------------------------------------------

    def work(
        self,
        *,
        slots: int | None = None,
        lease: timedelta = LEASE,
        grace: timedelta | None = None,
        reachable_at: str | None = None,
    ) -> int:
        """
        Run tasks on this thread until SIGTERM or SIGINT, then finish what runs; return the exit code.

        Args:
            slots: How many run at once.
            lease: How long this worker may be silent before its tasks go to others.
            grace: What still runs so long after the signal is given back for others; None waits for it. A second signal gives it
                back at once.
            reachable_at: This machine's address for the machines of executors; without it, for those of this machine alone.
        """
        opened = self.open_parts()
        worker = self.worker(slots=slots, lease=lease, reachable_at=reachable_at)
        signals = 0

        def drain(_signal: int, _frame: object) -> None:
            nonlocal signals
            signals += 1
            worker.drain(grace if signals == 1 else timedelta(0))

        with _upkeep(opened, self._now, self._jitter), _on_signals(drain):
            return worker.run()

    @contextmanager
    def working(
        self,
        *,
        slots: int | None = None,
        lease: timedelta = LEASE,
        grace: timedelta | None = None,
        reachable_at: str | None = None,
    ) -> "Iterator[Worker]":
        """Within: tasks run on threads beside the program; at the end, what runs is finished."""
        opened = self.open_parts()
        worker = self.worker(slots=slots, lease=lease, reachable_at=reachable_at)
        with _upkeep(opened, self._now, self._jitter):
            worker.start()
            try:
                if not worker.wait_ready() and worker.error is not None:
                    raise worker.error
                yield worker
            finally:
                worker.drain(grace)
                worker.join()

    def run_until_idle(self, *, slots: int | None = None) -> int:
        """Run here all that is ready or due, and what that makes ready; return how many attempts that took."""
        opened = self.open_parts()
        total = 0
        while True:
            while opened.store.write(lambda records: opened.services.tasks.become_due(records, 1000)):
                continue
            worker = self.worker(slots=slots, until_idle=True)
            worker.run()
            if not worker.tasks_done:
                return total
            total += worker.tasks_done

    def worker(
        self,
        *,
        slots: int | None = None,
        lease: timedelta = LEASE,
        restart: bool = True,
        until_idle: bool = False,
        reachable_at: str | None = None,
    ) -> "Worker":
        """Return a worker for this yard's handlers, not yet started."""
        from taskyard.loops.store_desk import StoreDesk
        from taskyard.loops.switchboard import LOOPBACK
        from taskyard.loops.worker import SLOTS, Worker

        opened = self.open_parts()
        return Worker(
            StoreDesk(opened.store, opened.services, opened.actor),
            self.handlers,
            new_id=new_id,
            jitter=self._jitter,
            slots=slots or SLOTS,
            lease=lease,
            restart=restart,
            until_idle=until_idle,
            reachable_at=reachable_at or LOOPBACK,
        )

    def _write(self, work: "Callable[[Opened, Records], Answer]") -> Answer:
        opened = self.open_parts()
        return opened.store.write(lambda records: work(opened, records))

    def _read(self, work: "Callable[[Opened, Records], Answer]") -> Answer:
        opened = self.open_parts()
        return opened.store.read(lambda records: work(opened, records))


@contextmanager
def _upkeep(opened: Opened, now: Callable[[], datetime], jitter: Callable[[], float]) -> Iterator[None]:
    """Within: what every server does besides: what is due becomes ready, what dead workers held goes to others."""
    from taskyard.loops.supervisor import server_loops

    with server_loops(opened.store, opened.services, now=now, jitter=jitter):
        yield


@contextmanager
def _on_signals(call: Callable[[int, Any], None]) -> Iterator[None]:
    """Within: SIGTERM and SIGINT call *call*, where signals can be had at all."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, call) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _span(span: timedelta | float | None) -> timedelta | None:
    return timedelta(seconds=span) if isinstance(span, (int, float)) else span


def new_id() -> str:
    from uuid_utils import uuid7

    return str(uuid7())
