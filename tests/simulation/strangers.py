"""
Workers of other makes: they make the same moves as ours, over a server, and keep to none of the good manners.

They say things twice, late, and after they were told that they are dead; what they are answered must be right all the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final

from taskyard.core.errors import LeaseLost
from taskyard.core.hold import Hold, Report, Settlement
from taskyard.core.outcome import Done, Failed, Later, Outcome, Released, Stopped, Waits
from taskyard.core.task import NewTask, State, Task
from taskyard.core.times import to_micros
from taskyard.core.worker import Lane
from tests.simulation.checks import must
from tests.simulation.disk import Crash
from tests.simulation.program import TYPES

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.world import World

LANES: Final = [Lane(queue, type) for type, queue in TYPES.items()]
LEASE: Final = timedelta(seconds=30)
SLOTS: Final = 5


@dataclass
class Stranger:
    """What it believes it holds may long be another's."""

    id: str | None = None
    holds: list[Task] = field(default_factory=list)
    paused: bool = False


class Strangers:
    MOVES: ClassVar[Mapping[str, float]] = {
        "stranger_beats": 6,
        "stranger_claims": 7,
        "stranger_settles": 9,
        "stranger_finishes_a_step": 2,
        "stranger_spawns": 1,
        "stranger_reports": 1,
        "stranger_repeats_itself": 2.5,
        "stranger_changes_its_mind": 2.5,
        "stranger_ends_what_is_anothers": 1,
        "stranger_leaves": 0.4,
        "stranger_dies": 0.4,
        "stranger_freezes": 1,
    }

    def __init__(self, world: "World") -> None:
        self.world = world
        self.workers = [Stranger(), Stranger()]
        self.said: list[Settlement] = []

    def vanish(self) -> None:
        self.workers = [Stranger(paused=True)]

    def _write(self, what: Any) -> Any:
        return self.world.ask(lambda server: server.store.write(lambda r: what(r, server.services.work)))

    def _awake(self) -> Stranger | None:
        worker = self.world.rng.choice(self.workers)
        if worker.paused:
            return None
        if worker.id is None:
            id = self.world.new_id()
            self._write(
                lambda r, work: work.register(
                    r, self.world.actor, id=id, name="stranger", lanes=LANES, slots=SLOTS, lease=LEASE
                )
            )
            worker.id = id
        return worker

    def _holding(self) -> Stranger | None:
        worker = self.world.rng.choice(self.workers)
        return worker if worker.holds and not worker.paused else None

    # -- moves -------------------------------------------------------------------------------------------------------------------

    def stranger_beats(self) -> None:
        worker = self._awake()
        if worker is None:
            return
        id = worker.id

        def beat(server: "Process") -> Any:
            server.store.writer.commit_some(
                1_000
            )  # what waits there first would change what is expected here
            wanted = {
                (task.number, task.claims)
                for task in self.world.checker.seen.values()
                if task.holder == f"worker:{id}" and task.cancel_requested_at is not None
            }
            lives = self._lives(id)
            stops = server.store.write(
                lambda r: server.services.work.beat(r, self.world.actor, id, lease=LEASE)
            )
            must(lives, "G2 a worker rose from the dead", id)
            told = {(number, claims) for _, number, claims in stops}
            must(told == wanted, "G5 a beat did not tell what is to stop", (told, wanted))
            return told

        try:
            told = self.world.ask(beat)
        except LeaseLost:
            worker.id, worker.holds = None, []
            raise
        stopping = [
            task
            for task in worker.holds
            if (task.number, task.claims) in told and self.world.rng.random() < 0.7
        ]
        worker.holds = [task for task in worker.holds if task not in stopping]
        self.settle([Settlement(Hold.of(task), Stopped()) for task in stopping])

    def stranger_claims(self) -> None:
        worker = self._awake()
        if worker is None or len(worker.holds) >= SLOTS:
            return
        lanes = self.world.rng.sample(LANES, 4)
        room = SLOTS - len(worker.holds)
        try:
            worker.holds += self._write(
                lambda r, work: work.claim(r, self.world.actor, worker.id, lanes, room)
            )
        except LeaseLost:
            worker.id, worker.holds = None, []
            raise

    def stranger_settles(self) -> None:
        worker = self._holding()
        if worker is None:
            return
        count = self.world.rng.randint(1, len(worker.holds))
        ending, worker.holds = worker.holds[:count], worker.holds[count:]
        try:
            self.settle([Settlement(Hold.of(task), self._outcome(task)) for task in ending])
        except Crash:
            worker.holds += ending  # not answered: it will say it again, perhaps otherwise
            raise

    def stranger_finishes_a_step(self) -> None:
        worker = self._holding()
        if worker is None:
            return
        task = self.world.rng.choice(worker.holds)
        name, output, hold = self.world.rng.choice("pqr"), self.world.rng.random(), Hold.of(task)

        def finish(server: "Process") -> Any:
            server.store.writer.commit_some(1_000)
            held = self._is_held(hold)
            step = server.store.write(lambda r: server.services.work.finish_step(r, hold, name, output))
            must(held, "G2 a stale attempt finished a step", hold)
            again = server.store.write(lambda r: server.services.work.finish_step(r, hold, name, "other"))
            must(again.output == step.output, "a step was remembered twice", (hold, step, again))
            return step

        step = self.world.ask(finish)
        first = self.world.remembered.setdefault((task.id, name), step.output)
        must(step.output == first, "a step was remembered twice", (task.id, step, first))

    def stranger_spawns(self) -> None:
        worker = self._holding()
        if worker is None:
            return
        task = worker.holds[0]
        news = [NewTask(type="a", queue="fast", max_failures=2) for _ in range(2)]
        ids = self._write(lambda r, work: work.spawn(r, self.world.actor, Hold.of(task), "children", news))
        spawned = self.world.spawned.setdefault(task.id, ids)
        must(spawned == ids, "children were spawned twice", (spawned, ids))
        for id in ids:
            self.world.checker.acknowledge(id)

    def stranger_reports(self) -> None:
        worker = self._holding()
        if worker is not None:
            report = Report(Hold.of(self.world.rng.choice(worker.holds)), {"done": 1}, "on it")
            self.world.ask(lambda server: server.store.together(server.services.work.report, [report]))

    def stranger_repeats_itself(self) -> None:
        """A settlement arrives a second time, late: it must be refused, unless the first never arrived."""
        if self.said:
            self.settle([self.world.rng.choice(self.said)], again=True)

    def stranger_changes_its_mind(self) -> None:
        """What was said to have failed, or to be gone on with later, is said to be done after all."""
        holders = {task.number: task.holder for task in self.world.checker.seen.values()}
        # Best of what the same worker has again, in another attempt: only the fence tells the two from one another.
        again = [each for each in self.said if holders.get(each.hold.number) == each.hold.holder]
        if self.said:
            said = self.world.rng.choice(again or self.said)
            self.settle([replace(said, outcome=Done("after all"))], again=True)

    def stranger_ends_what_is_anothers(self) -> None:
        worker = self._holding()
        running = [task for task in self.world.checker.seen.values() if task.state == State.RUNNING]
        if worker is not None and running:
            task, mine = self.world.rng.choice(running), Hold.of(worker.holds[0])
            hold = replace(mine, number=task.number, id=task.id, claims=task.claims)
            self.settle([Settlement(hold, Done("mine"))], again=True)

    def stranger_leaves(self) -> None:
        worker = self._awake()
        if worker is not None:
            id, worker.id, worker.holds = worker.id, None, []
            self._write(lambda r, work: work.leave(r, self.world.actor, id))

    def stranger_dies(self) -> None:
        self.workers[self.world.rng.randrange(len(self.workers))] = Stranger()

    def stranger_freezes(self) -> None:
        worker = self.world.rng.choice(self.workers)
        worker.paused = not worker.paused

    def _outcome(self, task: Task) -> Outcome:
        rng = self.world.rng
        dice = rng.random()
        if dice < 0.55:
            return Done({"by": task.claims})
        if dice < 0.7:
            return Failed("it broke", final=dice < 0.58)
        if dice < 0.76:
            return Released("not for me")
        if dice < 0.82:
            return Later(timedelta(seconds=rng.uniform(0, 30)))
        if dice < 0.9:
            # Bounded: tasks that wait for one another in a circle would wait for ever.
            until = self.world.now + timedelta(seconds=rng.uniform(1, 60))
            return Waits(tasks=tuple(self.world.some_tasks(2)), until=until)
        name = f"event {len(self.said)} of {task.id}"
        self.world.unsent.append(name)
        return Waits(events=(name,))

    # -- settle, and judge the answers -----------------------------------------------------------------------------------------------

    def settle(self, settlements: list[Settlement], *, again: bool = False) -> None:
        """Settle attempts; each must be taken if it stands and refused if it does not."""
        if not settlements:
            return

        def settle(server: "Process") -> None:
            server.store.writer.commit_some(
                1_000
            )  # what waits there first would change what is expected here
            before = [self.world.checker.seen.get(each.hold.number) for each in settlements]
            stands = [self.stands(each.hold) for each in settlements]
            answers = server.store.together(server.services.work.settle, settlements)
            for settlement, answer, stood, task in zip(settlements, answers, stands, before, strict=True):
                must(
                    isinstance(answer, Exception) != stood,
                    "G2 a stale end was taken, or a good one refused",
                    (settlement, answer, task),
                )
                what = "settlement refused" if isinstance(answer, Exception) else "settlement taken"
                self.world.counts[what + (" the second time" if again else "")] += 1

        if not again:
            self.said = [*self.said[-60:], *settlements]
        self.world.ask(settle)

    def _is_held(self, hold: Hold) -> bool:
        """Say whether an attempt has not been taken from its holder yet."""
        task = self.world.checker.seen.get(hold.number)
        return task is not None and (task.state, task.claims, task.holder) == (
            State.RUNNING,
            hold.claims,
            hold.holder,
        )

    def stands(self, hold: Hold) -> bool:
        """Say whether an attempt is its holder's, and the lease has not run out."""
        if not self._is_held(hold):
            return False
        task = self.world.checker.seen[hold.number]
        now = to_micros(self.world.now)
        if not hold.holder.startswith("worker:"):
            return task.lease_until is not None and task.lease_until >= now
        return self._lives(hold.holder.removeprefix("worker:"))

    def _lives(self, worker: str | None) -> bool:
        rows = self.world.disk.raw.execute(
            "SELECT state, lease_until FROM workers WHERE id = ?", (worker,)
        ).fetchall()
        now = to_micros(self.world.now)
        return any(state in ("active", "draining") and until >= now for state, until in rows)
