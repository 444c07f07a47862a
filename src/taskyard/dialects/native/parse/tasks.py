"""What is said about tasks: a new one, and which to list."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from starlette.datastructures import QueryParams

from taskyard.core.limits import MAX_BATCH, MAX_CONCURRENCY, MAX_FAILURES, MAX_PRIORITY
from taskyard.core.task import DEFAULT_QUEUE, NewTask, OnConflict, State
from taskyard.dialects.native.parse.words import Body, Labels, Moment, Name, Seconds, Text
from taskyard.http.bodies import Query, bad_query, instant, length, read_query
from taskyard.store.tasks import MAX_FILTER_LABELS, Between, TaskFilter

#: What a list leaves out unless it is asked for.
EXPANDABLE: Final = ("input", "output", "report", "results", "steps", "logs")
Expandable = Literal["input", "output", "report", "results", "steps", "logs"]

PAGE_SIZE: Final = 100
MAX_PAGE_SIZE: Final = 1_000
#: With inputs and outputs of up to a mebibyte each, a page is not to be larger than a machine's memory.
MAX_EXPANDED_PAGE_SIZE: Final = 100
#: Proxies cut off at 60 s, so an answer comes before.
MAX_WAIT_SECONDS: Final = 55.0

LABEL: Final = "label."

PageSize = Annotated[
    int, msgspec.Meta(ge=1, le=MAX_PAGE_SIZE, description="How many at most; 100 when nothing is said.")
]
PageToken = Annotated[
    str, msgspec.Meta(description="`next_page_token` of the page before, with the same filter.")
]
Wait = Annotated[
    float,
    msgspec.Meta(
        ge=0, le=3600, description="Seconds to wait for something to happen; at most 55 are waited."
    ),
]
Expand = Annotated[list[Expandable], msgspec.Meta(description="What to show that is left out otherwise.")]


class NewTaskBody(Body, frozen=True, kw_only=True):
    """A task to submit."""

    type: Name
    queue: Name = DEFAULT_QUEUE
    input: Any = None
    target: Text | None = None
    priority: Annotated[
        int,
        msgspec.Meta(
            extra_json_schema={"minimum": -MAX_PRIORITY, "maximum": MAX_PRIORITY},
            description="Higher is sooner.",
        ),
    ] = 0
    labels: Labels = msgspec.field(default_factory=dict)
    key: Annotated[
        Text | None,
        msgspec.Meta(description="Unique among the organisation's open tasks; see `on_conflict`."),
    ] = None
    on_conflict: OnConflict = OnConflict.REJECT
    run_at: Annotated[Moment | None, msgspec.Meta(description="Not before this time.")] = None
    start_by: Annotated[
        Moment | None, msgspec.Meta(description="Fails as `expired` when it has not started by then.")
    ] = None
    timeout: Annotated[Seconds | None, msgspec.Meta(description="Bounds one attempt, in seconds.")] = None
    max_failures: (
        Annotated[int, msgspec.Meta(extra_json_schema={"minimum": 1, "maximum": MAX_FAILURES})] | None
    ) = None
    concurrency_key: Text | None = None
    concurrency_limit: Annotated[
        int, msgspec.Meta(extra_json_schema={"minimum": 1, "maximum": MAX_CONCURRENCY})
    ] = 1
    weight: Annotated[int, msgspec.Meta(extra_json_schema={"minimum": 0, "maximum": MAX_CONCURRENCY})] = 1
    parent: Text | None = None
    blocked_by: Annotated[list[str], msgspec.Meta(description="Ids of tasks that must end first.")] = (
        msgspec.field(default_factory=list)
    )

    def new_task(self, pointer: str = "", trace: str | None = None) -> NewTask:
        """Return it as the core's. Raises Invalid."""
        return NewTask(
            type=self.type,
            queue=self.queue,
            input=self.input,
            target=self.target,
            priority=self.priority,
            labels=self.labels,
            key=self.key,
            on_conflict=self.on_conflict,
            run_at=None if self.run_at is None else instant(self.run_at, f"{pointer}/run_at"),
            start_by=None if self.start_by is None else instant(self.start_by, f"{pointer}/start_by"),
            timeout=None if self.timeout is None else length(self.timeout, f"{pointer}/timeout"),
            max_failures=self.max_failures,
            concurrency_key=self.concurrency_key,
            concurrency_limit=self.concurrency_limit,
            weight=self.weight,
            parent=self.parent,
            blocked_by=tuple(self.blocked_by),
            trace=trace,
        )


class SubmitBody(NewTaskBody, frozen=True, kw_only=True):
    """A task to submit, or only to check."""

    validate_only: Annotated[bool, msgspec.Meta(description="Check everything, submit nothing.")] = False


class BatchBody(Body, frozen=True, kw_only=True):
    tasks: Annotated[list[NewTaskBody], msgspec.Meta(max_length=MAX_BATCH)]


class RelabelBody(Body, frozen=True, kw_only=True):
    labels: Labels


class TaskLook(Query, frozen=True, kw_only=True):
    wait: Wait = 0.0
    expand: Expand = msgspec.field(default_factory=list)


class TaskQuery(Query, frozen=True, kw_only=True):
    state: Annotated[list[State], msgspec.Meta(description="Any of these states.")] = msgspec.field(
        default_factory=list
    )
    type: str | None = None
    queue: str | None = None
    parent: str | None = None
    schedule: str | None = None
    key: Annotated[str | None, msgspec.Meta(description="The open task that has this key.")] = None
    created_gte: Moment | None = msgspec.field(default=None, name="created_at[gte]")
    created_gt: Moment | None = msgspec.field(default=None, name="created_at[gt]")
    created_lte: Moment | None = msgspec.field(default=None, name="created_at[lte]")
    created_lt: Moment | None = msgspec.field(default=None, name="created_at[lt]")
    started_gte: Moment | None = msgspec.field(default=None, name="started_at[gte]")
    started_gt: Moment | None = msgspec.field(default=None, name="started_at[gt]")
    started_lte: Moment | None = msgspec.field(default=None, name="started_at[lte]")
    started_lt: Moment | None = msgspec.field(default=None, name="started_at[lt]")
    finished_gte: Moment | None = msgspec.field(default=None, name="finished_at[gte]")
    finished_gt: Moment | None = msgspec.field(default=None, name="finished_at[gt]")
    finished_lte: Moment | None = msgspec.field(default=None, name="finished_at[lte]")
    finished_lt: Moment | None = msgspec.field(default=None, name="finished_at[lt]")
    page_size: PageSize | None = None
    page_token: PageToken | None = None
    expand: Expand = msgspec.field(default_factory=list)

    def between(self, noun: str) -> Between:
        def bound(name: str) -> datetime | None:
            at = getattr(self, f"{noun}_{name}")
            return None if at is None else instant(at, f"?{noun}_at[{name}]")

        return Between(gte=bound("gte"), gt=bound("gt"), lte=bound("lte"), lt=bound("lt"))


class ChildrenQuery(Query, frozen=True, kw_only=True):
    state: Annotated[list[State], msgspec.Meta(description="Any of these states.")] = msgspec.field(
        default_factory=list
    )
    page_size: PageSize | None = None
    page_token: PageToken | None = None
    expand: Expand = msgspec.field(default_factory=list)


def task_query(params: QueryParams) -> tuple[TaskQuery, TaskFilter]:
    """
    Return which tasks to list.

    Raises:
        Malformed: a parameter cannot be read, or the list would have to read every task to find what matches.
    """
    query = read_query(params, TaskQuery, but=LABEL)
    labels: dict[str, str] = {}
    for name, value in params.multi_items():
        if not name.startswith(LABEL):
            continue
        if name[len(LABEL) :] in labels:
            raise bad_query(name, f"{name} is given twice; a task has one value for each label", "repeated")
        labels[name[len(LABEL) :]] = value
    if len(labels) > MAX_FILTER_LABELS:
        raise bad_query(LABEL, f"at most {MAX_FILTER_LABELS} labels can be asked for at once", "too_many")
    filter = TaskFilter(
        states=tuple(dict.fromkeys(query.state)),
        type=query.type,
        queue=query.queue,
        parent=query.parent,
        schedule=query.schedule,
        key=query.key,
        labels=labels,
        created=query.between("created"),
        started=query.between("started"),
        finished=query.between("finished"),
    )
    _check_indexed(filter)
    return query, filter


def _check_indexed(filter: TaskFilter) -> None:
    has_index = (
        filter.states
        or filter.type
        or filter.queue
        or filter.parent
        or filter.schedule
        or filter.key
        or filter.labels
    )
    if has_index or any(filter.created.bounds()):
        return
    for noun in ("started", "finished"):
        if any(getattr(filter, noun).bounds()):
            raise bad_query(
                f"{noun}_at",
                f"{noun}_at alone would read every task; add state, type, queue, parent, schedule, a label or created_at[gte]",
                "no_index",
            )
