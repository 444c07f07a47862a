"""The calls about queues, and about the tasks of queues that people work."""

from typing import Any

from taskyard.client.flow import Flow, call, stream_of
from taskyard.client.sending import Sender, act, read
from taskyard.client.tasks import pages
from taskyard.client.views import QueueView, TaskView
from taskyard.client.words import Seconds, given, plain, seconds, segment
from taskyard.core.task import Json


class QueueCalls:
    """
    A queue is named by its name.

    What is settable, all optional: ``title``, ``kind`` (machine, human), ``paused``, ``concurrency``, ``rate``
    (``{"count": 10, "period": 60}``), ``lease``, ``max_failures``, ``retention`` (seconds or timedelta), ``form``, ``settings``.
    """

    @stream_of(QueueView)
    def queues(self: Sender) -> Flow[None]:
        """Give the queues with the number of tasks in each open state."""
        yield from pages(self, "/v1/queues", "queues", QueueView, {})

    @call
    def queue(self: Sender, name: str) -> Flow[QueueView]:
        return QueueView.of((yield from read(self, _queue(name))))

    @call
    def create_queue(self: Sender, name: str, /, **settings: Any) -> Flow[QueueView]:
        """Raises Conflict, Invalid."""
        body = given(name=name, **settings)
        return QueueView.of((yield from act(self, "POST", "/v1/queues", body, again=False)))

    @call
    def change_queue(self: Sender, name: str, /, **settings: Any) -> Flow[QueueView]:
        """Set what is given and leave the rest; a limit of None is lifted. Raises NotFound, Invalid."""
        body = {member: plain(value) for member, value in settings.items()}
        return QueueView.of((yield from act(self, "PATCH", _queue(name), body, again=True)))

    @call
    def delete_queue(self: Sender, name: str) -> Flow[None]:
        """Raises NotFound, Conflict (it has open tasks)."""
        yield from act(self, "DELETE", _queue(name), again=True)

    @call
    def pause_queue(self: Sender, name: str) -> Flow[QueueView]:
        """Start nothing of this queue any more; what runs goes on."""
        return QueueView.of((yield from act(self, "POST", f"{_queue(name)}:pause", again=True)))

    @call
    def resume_queue(self: Sender, name: str) -> Flow[QueueView]:
        return QueueView.of((yield from act(self, "POST", f"{_queue(name)}:resume", again=True)))


class InboxCalls:
    """What people do, under a key or session of their own: claim, draft, complete."""

    @call
    def claim_next(self: Sender, queue: str, *, lease: Seconds | None = None) -> Flow[TaskView | None]:
        """Claim the most urgent task of the queue; None when there is none."""
        raw = yield from act(self, "POST", f"{_queue(queue)}:next", _lease(lease), again=False)
        return None if raw is None else TaskView.of(raw)

    @call
    def claim(self: Sender, id: str, *, lease: Seconds | None = None) -> Flow[TaskView]:
        """Claim this very task; whoever holds it already keeps it. Raises NotFound, WrongState."""
        return TaskView.of((yield from act(self, "POST", _do(id, "claim"), _lease(lease), again=True)))

    @call
    def extend(self: Sender, id: str, lease: Seconds) -> Flow[TaskView]:
        """Keep the task for *lease* from now. Raises LeaseLost."""
        return TaskView.of((yield from act(self, "POST", _do(id, "extend"), _lease(lease), again=True)))

    @call
    def draft(self: Sender, id: str, data: Json) -> Flow[TaskView]:
        """Keep an answer that is not finished. Raises LeaseLost, Invalid."""
        return TaskView.of((yield from act(self, "POST", _do(id, "draft"), {"data": data}, again=True)))

    @call
    def complete(self: Sender, id: str, output: Json) -> Flow[TaskView]:
        """Answer the task. Raises LeaseLost, Invalid (the form asks for something else)."""
        return TaskView.of(
            (yield from act(self, "POST", _do(id, "complete"), {"output": output}, again=False))
        )

    @call
    def fail(self: Sender, id: str, message: str) -> Flow[TaskView]:
        """Say that the task cannot be done. Raises LeaseLost."""
        return TaskView.of((yield from act(self, "POST", _do(id, "fail"), {"message": message}, again=False)))

    @call
    def release(self: Sender, id: str) -> Flow[TaskView]:
        """Give the task back as it was. Raises LeaseLost."""
        return TaskView.of((yield from act(self, "POST", _do(id, "release"), again=True)))


def _queue(name: str) -> str:
    return f"/v1/queues/{segment(name)}"


def _do(id: str, move: str) -> str:
    return f"/v1/tasks/{segment(id)}:{move}"


def _lease(lease: Seconds | None) -> dict[str, Json]:
    return {} if lease is None else {"lease": seconds(lease)}
