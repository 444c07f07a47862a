"""The hold: one attempt in the hands of its holder, and what the holder says of it."""

from dataclasses import dataclass

from taskyard.core.outcome import Outcome
from taskyard.core.task import Json, Task


@dataclass(frozen=True, slots=True)
class Hold:
    """One attempt, as its holder names it: every write of a holder carries it, and is refused when it no longer stands."""

    organisation: int
    number: int
    id: str
    claims: int
    holder: str

    @classmethod
    def of(cls, task: Task) -> "Hold":
        assert task.holder is not None
        return cls(task.organisation, task.number, task.id, task.claims, task.holder)


@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of one attempt: what came of it, and the log captured meanwhile."""

    hold: Hold
    outcome: Outcome
    log: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What a holder says while it works."""

    hold: Hold
    progress: Json = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """An attempt that is asked to stop, by the number of its task and of the attempt."""

    number: int
    claims: int
