"""What people do: claim, draft, answer, hand on. Every move is made through :mod:`taskyard.service.work`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from taskyard.core.account import User
from taskyard.core.actor import ROLES, Actor, Permission
from taskyard.core.blocks import merged
from taskyard.core.errors import Conflict, Fault, Invalid, LeaseLost, NotFound, WrongState
from taskyard.core.form import to_pointer
from taskyard.core.hold import Hold, Settlement
from taskyard.core.limits import MAX_MESSAGE_LENGTH, MAX_PAYLOAD_BYTES, check_text
from taskyard.core.outcome import Done, Failed, Outcome, Released
from taskyard.core.queue import HUMAN_LEASE, Kind, Queue
from taskyard.core.task import ACTIONS, Json, State, Task
from taskyard.service.form import check_answer
from taskyard.service.payloads import fitting
from taskyard.service.queues import MAX_LEASE, MIN_LEASE
from taskyard.service.tasks import Tasks
from taskyard.service.work import Work
from taskyard.store.inbox import Comment, Draft
from taskyard.store.records import Records
from taskyard.store.tasks import MOST_COUNTED

MAX_COMMENT_LENGTH: Final = 10_000
MOST_COMMENTS: Final = 1_000
MOST_HELD: Final = 1_000


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queue for people: how many of its tasks wait for someone, and how many someone has; counted up to a bound."""

    queue: Queue
    ready: int
    held: int


class Inbox:
    """
    Whoever holds a task may name the attempt (``claims``) with what they do to it: what they say about an attempt that is
    over is then refused even where they hold the next one.
    """

    def __init__(
        self,
        tasks: Tasks,
        work: Work,
        new_id: Callable[[], str],
        *,
        max_payload_bytes: int = MAX_PAYLOAD_BYTES,
    ) -> None:
        self._tasks = tasks
        self._work = work
        self._new_id = new_id
        self._max_payload_bytes = max_payload_bytes

    # -- claim ---------------------------------------------------------------------------------------------------------------

    def next(
        self,
        records: Records,
        actor: Actor,
        queue: str,
        *,
        lease: timedelta | None = None,
        resume: bool = False,
    ) -> Task | None:
        """
        Give the person who asks the most urgent ready task of *queue*; None when there is none, or it is paused.

        Args:
            lease: How long they keep it untouched; the queue's, when left out.
            resume: First what they hold in this queue already, its lease begun anew.

        Raises:
            NotFound, Forbidden, Invalid.
        """
        _check_lease(lease)
        actor.require(Permission.WORK)
        held = records.inbox.held(actor.organisation, actor.identity, 1, queue=queue) if resume else []
        if held and (held[0].lease_until is None or held[0].lease_until >= records.now):
            return self.extend(records, actor, held[0].id, lease=lease)
        return self._work.claim_next(records, actor, queue, lease=lease)

    def claim(self, records: Records, actor: Actor, id: str, *, lease: timedelta | None = None) -> Task:
        """Give the person who asks this very task; see :meth:`Work.claim_task`."""
        _check_lease(lease)
        return self._work.claim_task(records, actor, id, lease=lease)

    def assign(
        self,
        records: Records,
        actor: Actor,
        id: str,
        user: int | None,
        *,
        lease: timedelta | None = None,
    ) -> Task:
        """
        Put a task into someone's hands, or into nobody's, taking it from the person who has it.

        Raises:
            NotFound (the task, the user), WrongState (it neither waits nor is held by a person).
            Forbidden: it is for who may ``manage`` to decide about others; people may take and give back for themselves.
            Invalid: the user is disabled, or may not work.
        """
        _check_lease(lease)
        actor.require(Permission.WORK)
        task = self._locked(records, actor, id)
        wanted = None if user is None else _identity(self._worker(records, actor, user))
        if {wanted, task.holder} - {None, actor.identity}:
            actor.require(Permission.MANAGE)
        if task.state not in (State.READY, State.RUNNING) or _is_a_workers(task):
            raise WrongState(id, task.state, "assign", ACTIONS[task.state])
        if task.holder == wanted:
            return task
        if task.lease_until is not None and task.lease_until < records.now:
            raise Conflict(
                f"the lease of task {id} has just run out; try again in a moment", code="in_between"
            )
        if task.holder is not None:
            self._settle(records, task, Released())
        if wanted is not None:
            self._work.claim_task(records, replace(actor, identity=wanted), id, lease=lease)
        records.events.append_task(
            "assigned", task, records.now, {"to": wanted, "from": task.holder, "by": actor.identity}
        )
        return self._tasks.get(records, _reader(actor), id)

    def _worker(self, records: Records, actor: Actor, number: int) -> User:
        user = records.accounts.user(actor.organisation, number)
        if user is None:
            raise NotFound("user", number)
        if user.disabled or Permission.WORK not in ROLES[user.role]:
            raise Invalid(f"{user.name} may not work on tasks", pointer="/user", code="cannot_work")
        return user

    # -- while they hold it --------------------------------------------------------------------------------------------------

    def extend(
        self,
        records: Records,
        actor: Actor,
        id: str,
        *,
        lease: timedelta | None = None,
        claims: int | None = None,
    ) -> Task:
        """Keep a task for *lease* from now, the queue's when left out. Raises NotFound, LeaseLost, WrongState, Invalid."""
        _check_lease(lease)
        task = self._held(records, actor, id, claims)
        return self._work.extend(records, actor, task, lease=lease or self._lease(records, task))

    def save_draft(
        self, records: Records, actor: Actor, id: str, data: Json, *, claims: int | None = None
    ) -> Draft:
        """
        Keep an answer that is not finished, in place of the last one, and the task for as long as when it was claimed.

        A draft stays with the task when it is given back, for whoever goes on. It need not keep to the form yet.

        Raises:
            NotFound, LeaseLost, WrongState, TooLarge, Invalid.
        """
        text = fitting("the draft", data, self._max_payload_bytes, pointer="/data")
        task = self._held(records, actor, id, claims)
        lease = self._lease(records, task)
        if task.lease_until is not None:  # a longer one that was asked for is not cut short
            lease = max(lease, task.lease_until - records.now)
        self._work.extend(records, actor, task, lease=lease)
        records.inbox.set_draft(
            task.number, attempt=task.claims, author=actor.identity, data=text, now=records.now
        )
        records.events.append_task(
            "drafted", task, records.now, {"attempt": task.claims, "by": actor.identity}
        )
        return Draft(attempt=task.claims, author=actor.identity, data=data, updated_at=records.now)

    def draft(self, records: Records, actor: Actor, id: str) -> Draft | None:
        """Return what was drafted last; None when nothing was, or the task has been answered."""
        return records.inbox.draft(self._tasks.get(records, actor, id).number)

    # -- settle --------------------------------------------------------------------------------------------------------------

    def complete(
        self, records: Records, actor: Actor, id: str, output: Json, *, claims: int | None = None
    ) -> Task:
        """
        Answer a task: it succeeds with *output*.

        Raises:
            NotFound, LeaseLost, WrongState, TooLarge.
            Invalid: the answer does not keep to the queue's form; a fault for each value that is wrong, below ``/output``.
        """
        fitting("the output", output, self._max_payload_bytes, pointer="/output")
        task = self._held(records, actor, id, claims)
        queue = records.queues.get(task.organisation, task.queue)
        if queue is not None and queue.settings.form is not None:
            faults = check_answer(queue.settings.form, output, to_pointer("", "output"))
            if faults:
                raise Invalid(faults[0].detail, faults=faults)
            if isinstance(
                queue.settings.form, list
            ):  # what is kept is whole: the task's values, and the person's
                output = merged(queue.settings.form, task.input, output)
                fitting("the output", output, self._max_payload_bytes, pointer="/output")
        self._settle(records, task, Done(output))
        records.inbox.forget_draft(task.number)
        return self._tasks.get(records, _reader(actor), id)

    def fail(
        self, records: Records, actor: Actor, id: str, message: str, *, claims: int | None = None
    ) -> Task:
        """Say that a task cannot be done: it fails, and is not tried again. Raises NotFound, LeaseLost, WrongState, Invalid."""
        _refuse(check_text(message, "/message", most=MAX_MESSAGE_LENGTH))
        task = self._held(records, actor, id, claims)
        self._settle(records, task, Failed(message, code="rejected", final=True))
        return self._tasks.get(records, _reader(actor), id)

    def release(
        self,
        records: Records,
        actor: Actor,
        id: str,
        *,
        message: str | None = None,
        claims: int | None = None,
    ) -> Task:
        """Give a task back as it was, with what was drafted. Raises NotFound, LeaseLost, WrongState, Invalid."""
        _refuse([] if message is None else check_text(message, "/message", most=MAX_MESSAGE_LENGTH))
        task = self._held(records, actor, id, claims)
        self._settle(records, task, Released(message))
        return self._tasks.get(records, _reader(actor), id)

    def _settle(self, records: Records, task: Task, outcome: Outcome) -> None:
        [answer] = self._work.settle(records, [Settlement(Hold.of(task), outcome)])
        if isinstance(answer, Exception):
            raise answer

    def _held(self, records: Records, actor: Actor, id: str, claims: int | None) -> Task:
        """Return the task, locked, if it is the actor's: what everything that a holder does begins with."""
        actor.require(Permission.WORK)
        task = self._locked(records, actor, id)
        if task.state is not State.RUNNING:
            if claims is not None and claims < task.claims:
                raise LeaseLost(id, claims)
            raise WrongState(id, task.state, "be worked on", ACTIONS[task.state])
        if task.holder != actor.identity or claims not in (None, task.claims):
            raise LeaseLost(id, task.claims if claims is None else claims)
        return task

    def _locked(self, records: Records, actor: Actor, id: str) -> Task:
        locked = records.tasks.lock(actor.organisation, [id])
        if not locked:
            raise NotFound("task", id)
        return locked[0]

    def _lease(self, records: Records, task: Task) -> timedelta:
        queue = records.queues.get(task.organisation, task.queue)
        return HUMAN_LEASE if queue is None else queue.settings.lease

    # -- comments ------------------------------------------------------------------------------------------------------------

    def comment(self, records: Records, actor: Actor, id: str, text: str) -> Comment:
        """Say something about a task, whatever its state. Raises NotFound, Forbidden, Invalid, Conflict (there are too many)."""
        actor.require(Permission.WORK)
        faults = check_text(text, "/text", most=MAX_COMMENT_LENGTH)
        if not faults and not text.strip():
            faults = [Fault("/text", "empty", "a comment says something")]
        _refuse(faults)
        task = self._locked(records, actor, id)
        if len(records.inbox.comments(task.number, MOST_COMMENTS)) >= MOST_COMMENTS:
            raise Conflict(f"task {id} has {MOST_COMMENTS:,} comments, and takes no more", code="too_many")
        comment_id = self._new_id()
        number = records.inbox.add_comment(
            actor.organisation,
            task.number,
            id=comment_id,
            author=actor.identity,
            text=text,
            now=records.now,
        )
        records.events.append_task(
            "commented", task, records.now, {"comment": comment_id, "by": actor.identity}
        )
        return Comment(
            number=number,
            id=comment_id,
            task=task.number,
            author=actor.identity,
            text=text,
            created_at=records.now,
        )

    def comments(self, records: Records, actor: Actor, id: str) -> list[Comment]:
        """Return what was said about a task, the first first."""
        return records.inbox.comments(self._tasks.get(records, actor, id).number, MOST_COMMENTS)

    def delete_comment(self, records: Records, actor: Actor, id: str, comment: str) -> None:
        """Take back what one has said; who may ``manage`` may remove any. Raises NotFound, Forbidden."""
        task = self._tasks.get(records, actor, id)
        found = records.inbox.comment(actor.organisation, task.number, comment)
        if found is None:
            raise NotFound("comment", comment)
        if found.author != actor.identity:
            actor.require(Permission.MANAGE)
        records.inbox.delete_comment(actor.organisation, comment)
        records.events.append_task(
            "comment_deleted", task, records.now, {"comment": comment, "by": actor.identity}
        )

    # -- read ----------------------------------------------------------------------------------------------------------------

    def held(
        self, records: Records, actor: Actor, *, user: int | None = None, queue: str | None = None
    ) -> list[Task]:
        """Return what the actor, or another *user*, holds now, the longest held first."""
        actor.require(Permission.READ)
        holder = actor.identity if user is None else f"user:{user}"
        return records.inbox.held(actor.organisation, holder, MOST_HELD, queue=queue)

    def waiting(self, records: Records, actor: Actor) -> list[Waiting]:
        """Return the queues for people, and how much waits in each."""
        actor.require(Permission.READ)
        return [
            Waiting(queue, counts.get(State.READY, 0), counts.get(State.RUNNING, 0))
            for queue in records.queues.all(actor.organisation)
            if queue.settings.kind is Kind.HUMAN
            for counts in [records.tasks.count_states(actor.organisation, queue.name, most=MOST_COUNTED)]
        ]


def _identity(user: User) -> str:
    return f"user:{user.number}"


def _is_a_workers(task: Task) -> bool:
    return task.holder is not None and task.holder.startswith("worker:")


def _reader(actor: Actor) -> Actor:
    """Who has just worked on a task is shown what became of it, even by a key that may only work."""
    return replace(actor, permissions=actor.permissions | {Permission.READ})


def _check_lease(lease: timedelta | None) -> None:
    if lease is not None and not MIN_LEASE <= lease <= MAX_LEASE:
        _refuse(
            [Fault("/lease", "out_of_range", f"a lease is from 1 second to {MAX_LEASE.days:,} days long")]
        )


def _refuse(faults: list[Fault]) -> None:
    if faults:
        raise Invalid(faults[0].detail, faults=faults)
