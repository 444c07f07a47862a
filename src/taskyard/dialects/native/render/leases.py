"""What the worker protocol answers."""

from taskyard.dialects.native.render.tasks import TaskShown
from taskyard.dialects.native.render.words import Seconds, Shown


class RegisteredShown(Shown, frozen=True, kw_only=True):
    worker: str
    lease: Seconds


class AcquiredShown(Shown, frozen=True, kw_only=True):
    tasks: list[TaskShown]


class StopShown(Shown, frozen=True, kw_only=True):
    """An attempt that is asked to stop."""

    id: str
    number: int
    claims: int


class StopsShown(Shown, frozen=True, kw_only=True):
    stop: list[StopShown]


class PublishedShown(Shown, frozen=True, kw_only=True):
    id: str


class SpawnedShown(Shown, frozen=True, kw_only=True):
    """The ids of the children, in the order in which they were given."""

    tasks: list[str]


class DoneShown(Shown, frozen=True, kw_only=True):
    """Nothing more to say."""


def stop_shown(stop: tuple[str, int, int]) -> StopShown:
    id, number, claims = stop
    return StopShown(id=id, number=number, claims=claims)
