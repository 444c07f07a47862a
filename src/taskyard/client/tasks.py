"""The calls about tasks: submit, read, wait, act."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from taskyard.client.errors import problem_error
from taskyard.client.flow import Flow, Item, Query, Request, call, stream_of
from taskyard.client.sending import Sender, act, answered, decoded, read
from taskyard.client.views import LogView, ResultView, StepView, TaskView
from taskyard.client.words import Seconds, filters, given, new_task_json, seconds, segment
from taskyard.core.errors import StillOpen, TaskFailed, TaskyardError
from taskyard.core.limits import MAX_BATCH
from taskyard.core.task import DEFAULT_QUEUE, Json, NewTask, OnConflict

#: How long the server is asked to hold an answer back: below what proxies cut off at (60 s, nginx).
HOLD: Final = timedelta(seconds=30)

Expand = Sequence[str]


class TaskCalls:
    """A task is named by its id."""

    @call
    def submit(
        self: Sender,
        type: str,
        input: Json = None,
        *,
        queue: str = DEFAULT_QUEUE,
        target: str | None = None,
        priority: int | None = None,
        labels: Mapping[str, str] | None = None,
        key: str | None = None,
        on_conflict: OnConflict | str | None = None,
        run_at: datetime | None = None,
        start_by: datetime | None = None,
        timeout: Seconds | None = None,
        max_failures: int | None = None,
        concurrency_key: str | None = None,
        concurrency_limit: int | None = None,
        weight: int | None = None,
        parent: str | None = None,
        blocked_by: Sequence[str] | None = None,
        validate_only: bool = False,
        idempotency_key: str | None = None,
    ) -> Flow[TaskView]:
        """
        Submit a task; see :class:`taskyard.core.task.NewTask` for what each argument means.

        It is sent again when the connection breaks, under one idempotency key: there is one task, whatever happens.

        Raises:
            Invalid, TooLarge, Conflict (the key is taken), Forbidden, Unavailable.
        """
        body = given(
            type=type,
            queue=queue,
            input=input,
            target=target,
            priority=priority,
            labels=labels,
            key=key,
            on_conflict=on_conflict,
            run_at=run_at,
            start_by=start_by,
            timeout=None if timeout is None else seconds(timeout),
            max_failures=max_failures,
            concurrency_key=concurrency_key,
            concurrency_limit=concurrency_limit,
            weight=weight,
            parent=parent,
            blocked_by=None if blocked_by is None else list(blocked_by),
            validate_only=validate_only or None,
        )
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key is not None else {}
        return TaskView.of((yield from act(self, "POST", "/v1/tasks", body, headers=headers, again=False)))

    @call
    def submit_many(
        self: Sender, tasks: Iterable[NewTask | Mapping[str, Any]]
    ) -> Flow[list[TaskView | TaskyardError]]:
        """
        Submit any number of tasks, a thousand to a request. The answer for each, in order, is its task or the refusal
        that concerns it alone.
        """
        bodies = [new_task_json(task) for task in tasks]
        answers: list[TaskView | TaskyardError] = []
        for start in range(0, len(bodies), MAX_BATCH):
            body = {"tasks": bodies[start : start + MAX_BATCH]}
            batch = yield from act(self, "POST", "/v1/tasks:batch", body, again=False)
            answers += [
                TaskView.of(each["task"]) if "task" in each else problem_error(each["problem"])
                for each in batch["results"]
            ]
        return answers

    @call
    def get(self: Sender, id: str, *, expand: Expand = ()) -> Flow[TaskView]:
        """Return the task. Raises NotFound."""
        query = {"expand": ",".join(expand)} if expand else {}
        return TaskView.of((yield from read(self, _task(id), query)))

    @stream_of(TaskView)
    def search(
        self: Sender,
        *,
        state: str | Sequence[str] | None = None,
        type: str | None = None,
        queue: str | None = None,
        parent: str | None = None,
        schedule: str | None = None,
        key: str | None = None,
        labels: Mapping[str, str] | None = None,
        created_since: datetime | None = None,
        created_before: datetime | None = None,
        finished_since: datetime | None = None,
        finished_before: datetime | None = None,
        page_size: int | None = None,
        expand: Expand = (),
    ) -> Flow[None]:
        """Give the tasks that match everything given, newest first; pages are fetched as they are needed."""
        ranges = {
            "created_at[gte]": created_since,
            "created_at[lt]": created_before,
            "finished_at[gte]": finished_since,
            "finished_at[lt]": finished_before,
        }
        query = filters(
            labels,
            ranges,
            state=state,
            type=type,
            queue=queue,
            parent=parent,
            schedule=schedule,
            key=key,
            page_size=page_size,
            expand=expand or None,
        )
        yield from pages(self, "/v1/tasks", "tasks", TaskView, query)

    @stream_of(TaskView)
    def children(self: Sender, id: str) -> Flow[None]:
        """Give the tasks whose parent this is."""
        yield from pages(self, f"{_task(id)}/children", "tasks", TaskView, {})

    @stream_of(ResultView)
    def results(self: Sender, id: str) -> Flow[None]:
        """Give what the task has published."""
        yield from pages(self, f"{_task(id)}/results", "results", ResultView, {})

    @stream_of(StepView)
    def steps(self: Sender, id: str) -> Flow[None]:
        """Give the steps that are done."""
        yield from pages(self, f"{_task(id)}/steps", "steps", StepView, {})

    @stream_of(LogView)
    def logs(self: Sender, id: str) -> Flow[None]:
        """Give the log captured in each attempt."""
        yield from pages(self, f"{_task(id)}/logs", "logs", LogView, {})

    @stream_of(TaskView)
    def watch(self: Sender, id: str, *, timeout: Seconds | None = None) -> Flow[None]:
        """
        Give the task as it is, and again whenever it has changed, until it has ended.

        Raises:
            NotFound.
            StillOpen: it has not ended within *timeout*.
        """
        yield from _watched(self, id, timeout)

    @call
    def wait(self: Sender, id: str, *, timeout: Seconds | None = None) -> Flow[TaskView]:
        """
        Return the task once it has ended, however it ended.

        Raises:
            NotFound.
            StillOpen: it has not ended within *timeout*; the error's ``task`` is how it was then.
        """
        return (yield from _ended(self, id, timeout))

    @call
    def result(self: Sender, id: str, *, timeout: Seconds | None = None) -> Flow[Json]:
        """
        Return the task's output once it has succeeded.

        Raises:
            TaskFailed: it failed or was canceled.
            StillOpen, NotFound: as :meth:`wait`.
        """
        task = yield from _ended(self, id, timeout)
        if not task.succeeded:
            raise TaskFailed(task.id, task.state, task.error.message if task.error else None, task)
        return task.output

    @call
    def explain(self: Sender, id: str) -> Flow[dict[str, Any]]:
        """Return why the task is not running, and what clears each reason."""
        explained: dict[str, Any] = yield from read(self, f"{_task(id)}:explain")
        return explained

    @call
    def relabel(self: Sender, id: str, labels: Mapping[str, str]) -> Flow[TaskView]:
        """Give the task exactly these labels."""
        return TaskView.of((yield from act(self, "PATCH", _task(id), {"labels": dict(labels)}, again=True)))

    @call
    def cancel(self: Sender, id: str) -> Flow[TaskView]:
        """Cancel the task and its open children; a running one is asked to stop. Raises NotFound, WrongState."""
        return TaskView.of((yield from act(self, "POST", f"{_task(id)}:cancel", again=True)))

    @call
    def retry(self: Sender, id: str) -> Flow[TaskView]:
        """Submit an ended task again; return the new one. Raises NotFound, WrongState."""
        return TaskView.of((yield from act(self, "POST", f"{_task(id)}:retry", again=False)))

    @call
    def run_now(self: Sender, id: str) -> Flow[TaskView]:
        """Make a scheduled task ready at once. Raises NotFound, WrongState."""
        return TaskView.of((yield from act(self, "POST", f"{_task(id)}:run_now", again=True)))


def pages(face: Sender, path: str, member: str, view: Any, query: Query) -> Flow[None]:
    """Give what the list at *path* holds, page after page."""
    token: str | None = None
    while True:
        page = yield from read(face, path, {**query, **({"page_token": token} if token else {})})
        for raw in page[member]:
            yield Item(view.of(raw))
        token = page.get("next_page_token")
        if not token:
            return


def _task(id: str) -> str:
    return f"/v1/tasks/{segment(id)}"


def _changes(
    face: Sender, id: str, tag: str | None, deadline: float | None
) -> Flow[tuple[str | None, TaskView | None]]:
    """
    Return the task, with its tag, when it is no longer as *tag* says; None for the task when nothing happened for a while.

    Raises:
        StillOpen: it is past *deadline*, of the face's ``elapsed``.
    """
    hold = 0.0
    if tag is not None:
        hold = (
            HOLD.total_seconds() if deadline is None else min(HOLD.total_seconds(), deadline - face.elapsed())
        )
        if hold <= 0:
            task = TaskView.of((yield from read(face, _task(id))))
            if task.is_open:
                raise StillOpen(task.id, task.state, task)
            return None, task
    query = {"wait": f"{hold:.3f}"} if hold else {}
    headers = {"If-None-Match": tag} if tag is not None else {}
    request = Request("GET", _task(id), query=query, headers=headers, again=True, holds_seconds=hold)
    answer = yield from answered(face, request)
    return answer.headers.get("etag", tag or ""), None if answer.status == 304 else TaskView.of(
        decoded(answer)
    )


def _deadline(face: Sender, timeout: Seconds | None) -> float | None:
    return None if timeout is None else face.elapsed() + seconds(timeout)


def _watched(face: Sender, id: str, timeout: Seconds | None) -> Flow[None]:
    tag, deadline, over = None, _deadline(face, timeout), False
    while not over:
        tag, task = yield from _changes(face, id, tag, deadline)
        if task is not None:
            yield Item(task)
            over = not task.is_open


def _ended(face: Sender, id: str, timeout: Seconds | None) -> Flow[TaskView]:
    tag, deadline = None, _deadline(face, timeout)
    while True:
        tag, task = yield from _changes(face, id, tag, deadline)
        if task is not None and not task.is_open:
            return task
