"""Events and explanations, as the API shows them."""

from typing import Any

from taskyard.core.event import Event
from taskyard.core.task import State
from taskyard.dialects.native.render.words import Moment, Shown, maybe, moment
from taskyard.service.explain import Explanation


class EventShown(Shown, frozen=True, kw_only=True):
    """`id` is the cursor: ask for what comes `after` it."""

    id: str
    at: Moment
    kind: str
    subject: str
    queue: str | None
    type: str | None
    data: Any


class EventPage(Shown, frozen=True, kw_only=True):
    events: list[EventShown]
    next: str


class SentShown(Shown, frozen=True, kw_only=True):
    """False when something was sent under this name before: the first stays."""

    sent: bool


class ActionShown(Shown, frozen=True, kw_only=True):
    """What ends a cause sooner: a command, and the request it stands for where there is one."""

    cli: str
    method: str | None
    path: str | None
    body: Any


class CauseShown(Shown, frozen=True, kw_only=True):
    code: str
    detail: str
    subject: str | None
    tasks: list[str]
    until: Moment | None
    action: ActionShown | None


class ExplanationShown(Shown, frozen=True, kw_only=True):
    id: str
    state: State
    summary: str
    reasons: list[CauseShown]


def event_shown(event: Event) -> EventShown:
    return EventShown(
        id=str(event.cursor),
        at=moment(event.at),
        kind=event.kind,
        subject=event.subject,
        queue=event.queue,
        type=event.type,
        data=event.data,
    )


def explanation_shown(explanation: Explanation) -> ExplanationShown:
    return ExplanationShown(
        id=explanation.id,
        state=explanation.state,
        summary=explanation.summary,
        reasons=[
            CauseShown(
                code=cause.code,
                detail=cause.detail,
                subject=cause.subject,
                tasks=list(cause.tasks),
                until=maybe(cause.until),
                action=None
                if cause.action is None
                else ActionShown(
                    cli=cause.action.cli,
                    method=cause.action.method,
                    path=cause.action.path,
                    body=cause.action.body,
                ),
            )
            for cause in explanation.reasons
        ],
    )
