"""Tasks, and the results they publish."""

from typing import Any, Final

from starlette.responses import Response

from taskyard.core.actor import Actor
from taskyard.core.task import Task
from taskyard.dialects.ricloud import parse, render
from taskyard.dialects.ricloud.refuse import Bad
from taskyard.http.dialect import Call
from taskyard.service.services import Services
from taskyard.store.listing import MOST_COUNTED
from taskyard.store.records import Records
from taskyard.store.results import NONE, Published

TASK_FILTERS: Final = ("key", "user", "source", "session", "poll", "source_type", "type", "state")
#: There is no state ``expired`` in the store yet: nothing is deleted from storages.
RESULT_STATES: Final = ("available", "consumed", "expired")


async def list_tasks(call: Call) -> Response:
    query = parse.query_of(call, TASK_FILTERS, dates=True)
    wanted = parse.task_filter(query)

    def look(records: Records) -> dict[str, Any]:
        organisation = call.actor.organisation
        window = parse.window_of(query, lambda id: _number_of(records.tasks.get(organisation, id)))
        found = call.backend.services.tasks.search(
            records, call.actor, wanted, limit=window.limit, before=window.before, after=window.after
        )
        shown = found[: window.limit - 1]
        total = records.tasks.count(organisation, wanted, most=MOST_COUNTED)
        results = records.results.first_of_tasks([task.number for task in shown], render.NESTED)
        return render.page(
            [render.task(task, results.get(task.number, NONE)) for task in shown],
            total=total,
            url="/tasks",
            has_more=len(found) > len(shown),
        )

    return render.answer(await call.backend.read(look))


async def get_task(call: Call) -> Response:
    id = parse.id_in_path(call, "task")
    return render.answer(await call.backend.read(shown_task, call.backend.services, call.actor, id))


def shown_task(records: Records, services: Services, actor: Actor, id: str) -> dict[str, Any]:
    task = services.tasks.get(records, actor, id)
    first = records.results.first_of_tasks([task.number], render.NESTED)
    return render.task(task, first.get(task.number, NONE))


def _number_of(task: Task | None) -> int | None:
    return None if task is None else task.number


# -- results -----------------------------------------------------------------------------------------------------------------


async def results_of_task(call: Call) -> Response:
    id = parse.id_in_path(call, "task")
    query = parse.query_of(call, ("state",))

    def look(records: Records) -> dict[str, Any]:
        call.backend.services.tasks.get(records, call.actor, id)
        return _results(records, call, query, task=id, url=f"/tasks/{id}/results")

    return render.answer(await call.backend.read(look))


async def results_of_poll(call: Call) -> Response:
    id = parse.id_in_path(call, "poll")
    query = parse.query_of(call, ("state",))

    def look(records: Records) -> dict[str, Any]:
        call.backend.services.polls.get(records, call.actor, id)
        return _results(records, call, query, poll=id, url=f"/polls/{id}/results")

    return render.answer(await call.backend.read(look))


async def list_results(call: Call) -> Response:
    query = parse.query_of(call, ("task", "poll", "state"))
    # What was fetched is out of the way, unless it is asked for.
    query.setdefault("state", "available")

    def look(records: Records) -> dict[str, Any]:
        return _results(records, call, query, task=query.get("task"), poll=query.get("poll"), url="/results")

    return render.answer(await call.backend.read(look))


def _results(
    records: Records,
    call: Call,
    query: dict[str, str],
    *,
    task: str | None = None,
    poll: str | None = None,
    url: str,
) -> dict[str, Any]:
    organisation = call.actor.organisation
    state = parse.word_in(query, "state", RESULT_STATES)
    window = parse.window_of(query, lambda id: _number_of_result(records.results.get(organisation, id)))
    found, total = call.backend.services.results.search(
        records, call.actor, task=task, poll=poll, state=state, window=window
    )
    shown = found[: window.limit - 1]
    return render.page(
        [render.result(each, organisation) for each in shown],
        total=total,
        url=url,
        has_more=len(found) > len(shown),
    )


def _number_of_result(published: Published | None) -> int | None:
    return None if published is None else published.result.number


async def get_result(call: Call) -> Response:
    id = parse.id_in_path(call, "result")
    found = await call.backend.read(call.backend.services.results.get, call.actor, id)
    return render.answer(render.result(found, call.actor.organisation))


async def ack_result(call: Call) -> Response:
    id = parse.id_in_path(call, "result")
    found = await call.backend.write(call.backend.services.results.consume, call.actor, id)
    return render.answer(render.result(found, call.actor.organisation))


async def ack_results(call: Call) -> Response:
    """Acknowledge several at once: all of them or, when one is not there, none."""
    ids = _ids(await parse.anything_of(call))

    def consume(records: Records) -> list[Published]:
        return [call.backend.services.results.consume(records, call.actor, id) for id in ids]

    consumed = await call.backend.write(consume)
    shown = [render.result(each, call.actor.organisation) for each in consumed]
    return render.answer(render.page(shown, total=len(shown), url="/results/ack", has_more=False))


def _ids(body: Any) -> list[str]:
    if isinstance(body, dict):
        body = body.get("results", body.get("ids"))
    if not isinstance(body, list) or len(body) > parse.MAX_LIMIT:
        raise Bad("results", f"this is a list of at most {parse.MAX_LIMIT:,} ids of results")
    return [parse.needed_text({"results": id}, "results") for id in dict.fromkeys(map(_hashable, body))]


def _hashable(id: Any) -> Any:
    return id if isinstance(id, str) else repr(id)
