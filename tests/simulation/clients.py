"""What clients and people do: they ask servers, are not always answered, and then ask again."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from taskyard.core.actor import Actor
from taskyard.core.errors import TaskyardError, Unavailable
from taskyard.core.event import Cursor
from taskyard.core.hold import Hold, Settlement
from taskyard.core.outcome import Done, Failed, Released
from taskyard.core.task import NewTask, OnConflict, State, Task
from taskyard.core.times import to_micros
from taskyard.http.once import Keyed, Once, Replayed
from taskyard.service.feed import FeedPage
from taskyard.service.tasks import Submission
from taskyard.store.accounts import Reply
from taskyard.store.records import Records
from tests.simulation.checks import must
from tests.simulation.program import TYPES

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.world import World

QUEUES = (*dict.fromkeys(TYPES.values()), "people")


@dataclass
class Request:
    """A submit under an idempotency key; the answer is what its client knows, None for nothing."""

    key: str
    new: NewTask
    answer: str | None = None


def _shown(task: Task) -> Reply:
    return Reply(fingerprint="same", status=201, body=task.id, headers={})


class Clients:
    MOVES: ClassVar[Mapping[str, float]] = {
        "client_submits": 9,
        "client_repeats_a_request": 3,
        "client_cancels": 4,
        "client_retries": 2,
        "client_hurries": 1.5,
        "client_sends_an_event": 3,
        "client_pauses_a_queue": 1.5,
        "client_reads_the_feed": 4,
        "person_claims": 4,
        "person_extends": 1,
        "person_answers": 3,
    }

    def __init__(self, world: "World") -> None:
        self.world = world
        self.requests: list[Request] = []
        self.people = [
            Actor(organisation=world.actor.organisation, identity=f"user:{each}", number=each)
            for each in (1, 2)
        ]
        self.held: list[tuple[Actor, Task]] = []

    def _write(self, what: Any) -> Any:
        """Run *what*, given a server's services, as one transaction of its own."""
        return self.world.ask(lambda server: server.store.write(lambda r: what(r, server.services)))

    # -- submit ------------------------------------------------------------------------------------------------------------------

    def client_submits(self) -> None:
        some = []
        for _ in range(self.world.rng.choice((1, 1, 1, 1, 3))):
            key = f"request {len(self.requests)}"
            some.append(Request(key, self._new_task(key)))
            self.requests.append(some[-1])
        self._deliver(some)

    def client_repeats_a_request(self) -> None:
        """A request comes again: it was not answered, or the network delivered it twice."""
        if self.requests:
            self._deliver([self.world.rng.choice(self.requests[-30:])])

    def _deliver(self, requests: list[Request]) -> None:
        world = self.world

        def submit(server: "Process") -> list[Any]:
            keyed = [
                Keyed(Submission(world.actor, each.new), Once(world.actor, each.key, "same"), _shown)
                for each in requests
            ]
            return server.store.together(server.once.many, keyed)

        try:
            answers = world.ask(submit)
        except Unavailable:
            raise
        except TaskyardError as refusal:  # of a single request, which has its batch for itself
            answers = [refusal]
        for request, answer in zip(requests, answers, strict=True):
            if isinstance(answer, Exception):
                must(request.answer is None, "G9 a repeat was refused", (request, answer))
                world.counts[f"refused: {getattr(answer, 'code', answer)}"] += 1
                continue
            repeated = isinstance(answer, Replayed)
            id = answer.reply.body if repeated else answer.id
            world.counts["request answered as before" if repeated else "request answered"] += 1
            must(request.answer in (None, id), "G9 a repeat was answered otherwise", (request, id))
            must(repeated or request.answer is None, "G9 a repeat was done again", (request, id))
            request.answer = id
            world.checker.acknowledge(id)

    def _new_task(self, request: str) -> NewTask:
        rng = self.world.rng
        type = rng.choice((*TYPES, "ask"))
        new = NewTask(
            type=type,
            queue=TYPES.get(type, "people"),
            priority=rng.choice((0, 0, 5)),
            max_failures=rng.choice((1, 2, 5)),
            weight=rng.choice((1, 1, 2)),
            input={"request": request},
        )
        soon = self.world.now + timedelta(seconds=rng.uniform(1, 90))
        if rng.random() < 0.2:
            new = replace(new, start_by=soon + timedelta(seconds=rng.choice((0.001, 5))))
        dice = rng.random()
        if dice < 0.15:
            new = replace(new, run_at=soon)
        elif dice < 0.42:
            key = rng.choice("klm")
            limit = {"k": 1, "l": 2}.get(key) or rng.choice((1, 3))
            new = replace(new, concurrency_key=key, concurrency_limit=limit)
        elif dice < 0.53:
            new = replace(new, key=rng.choice("xyz"), on_conflict=rng.choice(list(OnConflict)))
        elif dice < 0.61:
            new = replace(new, timeout=timedelta(seconds=rng.uniform(1, 10)))
        elif dice < 0.75:
            new = replace(new, blocked_by=tuple(self.world.some_tasks(2)))
        return new

    # -- the rest ----------------------------------------------------------------------------------------------------------------

    def client_cancels(self) -> None:
        ids = self.world.some_tasks(1)
        at_once = self.world.rng.random() < 0.2
        answers = self._write(
            lambda r, services: services.tasks.cancel(r, self.world.actor, ids, at_once=at_once)
        )
        for task in answers:
            if isinstance(task, Task) and task.state is State.CANCELED:
                self.world.checker.canceled.add(task.id)

    def client_retries(self) -> None:
        [id] = self.world.some_tasks(1) or [""]
        task = self._write(lambda r, services: services.tasks.retry(r, self.world.actor, id))
        self.world.checker.acknowledge(task.id)

    def client_hurries(self) -> None:
        [id] = self.world.some_tasks(1) or [""]
        self._write(lambda r, services: services.tasks.run_now(r, self.world.actor, id))

    def client_sends_an_event(self) -> None:
        if self.world.unsent:
            name = self.world.rng.choice(self.world.unsent)
            self._write(lambda r, services: services.tasks.send(r, self.world.actor, name, {"for": name}))
            self.world.unsent.remove(name)

    def client_pauses_a_queue(self) -> None:
        self._change(self.world.rng.choice(QUEUES), paused=self.world.rng.random() < 0.3)

    def _change(self, name: str, **settings: Any) -> None:
        organisation = self.world.checker.organisation

        def change(r: Records, _: Any) -> None:
            queue = r.queues.get(organisation, name)
            if queue is not None:
                r.queues.update(organisation, name, replace(queue.settings, **settings), r.now)

        self._write(change)

    def client_reads_the_feed(self) -> None:
        self.world.checker.read_feed(self.read_feed, self.world.rng.choice((1, 10, 100)))

    def read_feed(self, after: Cursor | None, limit: int) -> FeedPage:
        page = self.world.ask(
            lambda server: server.store.read(
                lambda r: server.services.feed.read(r, self.world.actor, after, limit=limit)
            )
        )
        assert isinstance(page, FeedPage)
        return page

    # -- people ------------------------------------------------------------------------------------------------------------------

    def person_claims(self) -> None:
        person = self.world.rng.choice(self.people)
        task = self._write(lambda r, services: services.work.claim_next(r, person, "people"))
        if task is not None:
            self.held.append((person, task))

    def person_extends(self) -> None:
        if self.held:
            now = to_micros(self.world.now)
            seen = self.world.checker.seen
            late = [each for each in self.held if (seen[each[1].number].lease_until or now) < now]
            person, task = self.world.rng.choice(late or self.held)
            lease = timedelta(seconds=20)

            def extend(server: "Process") -> None:
                server.store.writer.commit_some(1_000)
                stands = self.world.strangers.stands(Hold.of(task))
                server.store.write(lambda r: server.services.work.extend(r, person, task, lease=lease))
                must(stands, "G2 a lease that had run out was extended", task)

            self.world.ask(extend)

    def person_answers(self) -> None:
        if self.held:
            _, task = self.held.pop(self.world.rng.randrange(len(self.held)))
            outcome = self.world.rng.choice([Done({"ok": True}), Released(), Failed("no", final=True)])
            self.world.strangers.settle([Settlement(Hold.of(task), outcome)])

    # -- the end -----------------------------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Let everything go on as fast as it can."""
        for name in QUEUES:
            self._change(name, paused=False, concurrency=None, rate=None)

    def finish(self) -> None:
        """Send what is waited for, and answer what people are asked."""
        while self.world.unsent:
            self.client_sends_an_event()
        while (
            self.world.checker.is_ready("people", "ask")
            and (
                task := self._write(lambda r, services: services.work.claim_next(r, self.people[0], "people"))
            )
            is not None
        ):
            self.world.strangers.settle([Settlement(Hold.of(task), Done())])

    def repeat_all(self) -> None:
        """Every request that was answered comes once more, and changes nothing."""
        before = len(self.world.checker.seen)
        answered = [request for request in self.requests if request.answer is not None]
        for start in range(0, len(answered), 100):
            self._deliver(answered[start : start + 100])
        must(len(self.world.checker.seen) == before, "G9 a repeat was done again")
