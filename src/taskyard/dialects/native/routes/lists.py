"""Lists of tasks, and of what hangs on one."""

from typing import Any, Final

from starlette.responses import Response

from taskyard.core.task import Task
from taskyard.dialects.native.parse.tasks import (
    MAX_EXPANDED_PAGE_SIZE,
    PAGE_SIZE,
    ChildrenQuery,
    TaskQuery,
    task_query,
)
from taskyard.dialects.native.render.events import EventPage, ExplanationShown, event_shown, explanation_shown
from taskyard.dialects.native.render.tasks import (
    LogPage,
    ResultPage,
    StepPage,
    TaskPage,
    log_shown,
    result_shown,
    step_shown,
    task_shown,
)
from taskyard.dialects.native.render.words import reply
from taskyard.dialects.native.routes.tasks import expanded
from taskyard.http.bodies import read_query
from taskyard.http.call import Call
from taskyard.http.operation import Operation
from taskyard.http.paging import page_token, position_of
from taskyard.store.records import Records
from taskyard.store.tasks import TaskFilter


async def list_tasks(call: Call) -> Response:
    """
    List tasks, newest first.

    Everything given must hold; labels are asked for as `label.<name>=<value>`. A list is read to its end by asking with
    `next_page_token` until there is none; tasks that are submitted meanwhile do not disturb it.
    """
    query, filter = task_query(call.request.query_params)
    return await _page(call, query, filter)


async def list_children(call: Call) -> Response:
    """List the children of a task, newest first."""
    query = read_query(call.request.query_params, ChildrenQuery)
    await call.backend.read(call.backend.services.tasks.get, call.actor, call.path["id"])
    states = tuple(dict.fromkeys(query.state))
    return await _page(call, query, TaskFilter(parent=call.path["id"], states=states))


async def _page(call: Call, query: TaskQuery | ChildrenQuery, filter: TaskFilter) -> Response:
    backend, actor = call.backend, call.actor
    expand = frozenset(query.expand)
    most = min(
        query.page_size or PAGE_SIZE, MAX_EXPANDED_PAGE_SIZE if expand else query.page_size or PAGE_SIZE
    )
    asked = [
        call.request.url.path,
        *sorted((n, v) for n, v in call.request.query_params.multi_items() if n not in _TURNING),
    ]
    before = None if query.page_token is None else position_of(query.page_token, asked)
    organisation = await backend.keys.organisation(actor)

    def look(records: Records) -> tuple[list[Any], int | None]:
        # One more than is shown tells whether there is a next page.
        found = backend.services.tasks.search(records, actor, filter, limit=most + 1, before=before)
        shown = [_shown(records, task, organisation, expand) for task in found[:most]]
        return shown, found[most - 1].number if len(found) > most else None

    shown, last = await backend.read(look)
    token = None if last is None else page_token(last, asked)
    headers = {} if token is None else {"Link": f'<{_next_url(call, token)}>; rel="next"'}
    return reply(TaskPage(tasks=shown, next_page_token=token), 200, headers)


#: What may differ from page to page.
_TURNING: Final = frozenset({"page_token", "page_size"})


def _shown(records: Records, task: Task, organisation: str, expand: frozenset[str]) -> Any:
    return task_shown(task, organisation, lean=True, expand=expand, **expanded(records, task, expand))


def _next_url(call: Call, token: str) -> str:
    return str(call.request.url.include_query_params(page_token=token).replace(scheme="", netloc=""))


async def list_results(call: Call) -> Response:
    """List what a task has published, oldest first."""
    found = await call.backend.read(call.backend.services.tasks.results, call.actor, call.path["id"])
    return reply(ResultPage(results=[result_shown(each) for each in found]))


async def list_steps(call: Call) -> Response:
    """List the steps of a task that are done."""
    found = await call.backend.read(call.backend.services.tasks.steps, call.actor, call.path["id"])
    return reply(StepPage(steps=[step_shown(each) for each in found]))


async def list_logs(call: Call) -> Response:
    """List what each attempt of a task has printed; of long logs the newest part is kept."""
    found = await call.backend.read(call.backend.services.tasks.logs, call.actor, call.path["id"])
    return reply(LogPage(logs=[log_shown(each) for each in found]))


async def list_task_events(call: Call) -> Response:
    """List what happened to a task, oldest first."""
    found = await call.backend.read(
        call.backend.services.feed.of_task, call.actor, call.path["id"], limit=1_000
    )
    last = str(found[-1].cursor) if found else "0-0"
    return reply(EventPage(events=[event_shown(each) for each in found], next=last))


async def explain_task(call: Call) -> Response:
    """Say why a task is not running: everything it waits for, each with the action that clears it."""
    found = await call.backend.read(call.backend.services.explain.explain, call.actor, call.path["id"])
    return reply(explanation_shown(found))


OPERATIONS: Final = (
    Operation("GET", "/tasks", list_tasks, "tasks", {200: TaskPage}, query=TaskQuery),
    Operation("GET", "/tasks/{id}:explain", explain_task, "tasks", {200: ExplanationShown}),
    Operation("GET", "/tasks/{id}/children", list_children, "tasks", {200: TaskPage}, query=ChildrenQuery),
    Operation("GET", "/tasks/{id}/results", list_results, "tasks", {200: ResultPage}),
    Operation("GET", "/tasks/{id}/steps", list_steps, "tasks", {200: StepPage}),
    Operation("GET", "/tasks/{id}/logs", list_logs, "tasks", {200: LogPage}),
    Operation("GET", "/tasks/{id}/events", list_task_events, "tasks", {200: EventPage}),
)
