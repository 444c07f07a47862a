"""Queues and what people say about their tasks, as the API shows them."""

from typing import Any

from msgspec import UNSET, UnsetType

from taskyard.core.queue import Kind, Queue
from taskyard.core.task import State
from taskyard.dialects.native.render.tasks import TaskShown
from taskyard.dialects.native.render.words import Moment, Seconds, Shown, moment
from taskyard.service.queues import QueueView
from taskyard.store.inbox import Comment, Draft


class RateShown(Shown, frozen=True, kw_only=True):
    count: int
    period: Seconds


class QueueShown(Shown, frozen=True, kw_only=True):
    """`counts` are of open tasks by state, each counted up to 10,000."""

    name: str
    number: int
    title: str | None
    kind: Kind
    paused: bool
    concurrency: int | None
    rate: RateShown | None
    lease: Seconds
    max_failures: int
    retention: Seconds
    form: Any
    settings: Any
    created_at: Moment
    updated_at: Moment
    counts: dict[State, int] | UnsetType = UNSET


class QueuePage(Shown, frozen=True, kw_only=True):
    queues: list[QueueShown]
    next_page_token: str | None = None


class DraftShown(Shown, frozen=True, kw_only=True):
    data: Any
    updated_at: Moment


class HeldShown(Shown, frozen=True, kw_only=True):
    """A task a person holds, with the answer begun, if one was."""

    task: TaskShown
    draft: DraftShown | None = None


class CommentShown(Shown, frozen=True, kw_only=True):
    id: str
    author: str
    text: str
    created_at: Moment


class CommentPage(Shown, frozen=True, kw_only=True):
    comments: list[CommentShown]
    next_page_token: str | None = None


def queue_shown(queue: Queue) -> QueueShown:
    settings = queue.settings
    rate = settings.rate
    return QueueShown(
        name=queue.name,
        number=queue.number,
        title=settings.title,
        kind=settings.kind,
        paused=settings.paused,
        concurrency=settings.concurrency,
        rate=None if rate is None else RateShown(count=rate.count, period=rate.period.total_seconds()),
        lease=settings.lease.total_seconds(),
        max_failures=settings.max_failures,
        retention=settings.retention.total_seconds(),
        form=settings.form,
        settings=settings.settings,
        created_at=moment(queue.created_at),
        updated_at=moment(queue.updated_at),
    )


def view_shown(view: QueueView) -> QueueShown:
    shown = queue_shown(view.queue)
    members = {name: getattr(shown, name) for name in shown.__struct_fields__ if name != "counts"}
    return QueueShown(**members, counts=dict(view.counts))


def draft_shown(draft: Draft) -> DraftShown:
    return DraftShown(data=draft.data, updated_at=moment(draft.updated_at))


def comment_shown(comment: Comment) -> CommentShown:
    return CommentShown(
        id=comment.id, author=comment.author, text=comment.text, created_at=moment(comment.created_at)
    )
