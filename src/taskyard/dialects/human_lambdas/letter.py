"""What is sent when a question has been answered: the task itself, with times in milliseconds (contract, 3.8)."""

from collections.abc import Sequence

import msgspec

from taskyard.core.errors import NotFound
from taskyard.core.hook import TEST, Delivery, Hook
from taskyard.core.queue import Queue
from taskyard.core.task import Task
from taskyard.dialects.human_lambdas import render
from taskyard.service.hooks import Letter, signed
from taskyard.service.questionnaires import newest_answered, person
from taskyard.store.records import Records


def letter(records: Records, hook: Hook, delivery: Delivery, secrets: Sequence[str]) -> Letter:
    """Raises NotFound: the task, or its queue, is gone."""
    queue, task = _of(records, hook, delivery)
    who = person(records, task.organisation, task.settled_by)
    shown = render.task(task, queue, who, at=render.milliseconds)
    return signed(hook.url, delivery, msgspec.json.encode(shown), secrets, records.now)


def _of(records: Records, hook: Hook, delivery: Delivery) -> tuple[Queue, Task]:
    """Return what the delivery tells of; a test tells of what was answered last."""
    name = hook.queue if delivery.kind == TEST else delivery.queue
    queue = None if name is None else records.queues.get(hook.organisation, name)
    if queue is None:
        raise NotFound("queue", name)
    if delivery.kind == TEST:
        task = newest_answered(records, queue)
        if task is None:
            raise NotFound("answered task in the queue", name)
        return queue, task
    task = records.tasks.get(hook.organisation, delivery.subject)
    if task is None:
        raise NotFound("task", delivery.subject)
    return queue, task
