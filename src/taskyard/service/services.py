"""Every service, built together: what a face or a loop is given."""

from collections.abc import Callable
from dataclasses import dataclass

from taskyard.core.limits import MAX_PAYLOAD_BYTES
from taskyard.service.tasks import Tasks
from taskyard.service.work import Work


@dataclass(frozen=True, slots=True)
class Services:
    tasks: Tasks
    work: Work


def build_services(
    new_id: Callable[[], str], jitter: Callable[[], float], *, max_payload_bytes: int = MAX_PAYLOAD_BYTES
) -> Services:
    """
    Args:
        new_id: Makes UUIDv7 text.
        jitter: Returns a number in [0, 1).
    """
    tasks = Tasks(new_id, max_payload_bytes=max_payload_bytes)
    return Services(tasks=tasks, work=Work(tasks, new_id, jitter, max_payload_bytes=max_payload_bytes))
