"""Runs: one operation over many racks, phase by phase."""

from collections.abc import Callable
from typing import TypeVar

from starlette.responses import Response

from taskyard.core.errors import Invalid
from taskyard.core.rollout import Outcome, Rollout, Target
from taskyard.core.site import Site
from taskyard.dialects.nico import parse, parse_runs, render, render_runs
from taskyard.dialects.nico.bodies import AdvanceRunBody, CancelRunBody, CreateRunBody, RunSiteBody
from taskyard.dialects.nico.gate import admit, site_of
from taskyard.dialects.nico.refuse import Said
from taskyard.http.dialect import Call
from taskyard.service.rollouts import NotNow, Rollouts, Stats
from taskyard.store.records import Records

SiteBody = TypeVar("SiteBody", bound=RunSiteBody)


async def create(call: Call) -> Response:
    asked = await parse.body(call, CreateRunBody)
    new = parse_runs.new_run(asked)
    await admit(call)

    def write(records: Records) -> Rollout:
        site = site_of(records, call, asked.site_id or "")
        return _rollouts(call).create(records, call.actor, site, new)

    try:
        made = await call.backend.write(write)
    except Invalid as refusal:
        if refusal.code == "unknown_rule":
            raise Said(404, "Rule not found") from None
        raise
    return render.answer(render_runs.run(made), 201)


async def search(call: Call) -> Response:
    parse.known_query(call, "siteId", "status", "operationType", "pageNumber", "pageSize")
    site_text = parse.query_site(call)
    status = parse_runs.run_status(call)
    kind = call.query.get("operationType")
    operation = parse.rule_operation(kind) if kind else None
    await admit(call)

    def look(records: Records) -> tuple[parse.Page, list[Rollout], int]:
        site = site_of(records, call, site_text)
        page = parse.page(call)
        found, total = _rollouts(call).search(
            records,
            call.actor,
            site,
            status=status,
            operation=operation,
            limit=page.size,
            offset=page.offset,
        )
        return page, found, total

    page, found, total = await call.backend.read(look)
    return render.page(
        [render_runs.run(each) for each in found], number=page.number, size=page.size, total=total
    )


async def get(call: Call) -> Response:
    parse.known_query(call, "siteId", "includeStats")
    site_text = parse.query_site(call)
    with_stats = parse.truth(call, "includeStats")
    await admit(call)
    id = parse.path_id(call, "Run")

    def look(records: Records) -> tuple[Rollout, tuple[Stats, Stats] | None]:
        found = _rollouts(call).get(records, call.actor, site_of(records, call, site_text), id)
        return found, _rollouts(call).stats(records, found) if with_stats else None

    return render.answer(render_runs.run(*await call.backend.read(look)))


async def targets(call: Call) -> Response:
    parse.known_query(call, "siteId", "status", "phaseScope", "pageNumber", "pageSize")
    site_text = parse.query_site(call)
    status = parse_runs.target_status(call)
    ended, current = parse_runs.phase_scope(call)
    await admit(call)
    id = parse.path_id(call, "Run")

    def look(records: Records) -> tuple[parse.Page, list[Target], int]:
        site = site_of(records, call, site_text)
        page = parse.page(call)
        run = _rollouts(call).get(records, call.actor, site, id)
        if isinstance(status, str) and not isinstance(status, Outcome):
            return page, [], 0
        found, total = _rollouts(call).targets(
            records,
            run,
            ended=ended,
            current=current,
            outcome=status,
            limit=page.size,
            offset=page.offset,
        )
        return page, found, total

    page, found, total = await call.backend.read(look)
    shown = [render_runs.target(each, id) for each in found]
    return render.page(shown, number=page.number, size=page.size, total=total)


async def pause(call: Call) -> Response:
    def move(records: Records, site: Site, id: str, asked: RunSiteBody) -> Rollout:
        return _rollouts(call).pause(records, call.actor, site, id)

    return await _moved(call, RunSiteBody, move)


async def resume(call: Call) -> Response:
    def move(records: Records, site: Site, id: str, asked: RunSiteBody) -> Rollout:
        return _rollouts(call).resume(records, call.actor, site, id)

    return await _moved(call, RunSiteBody, move)


async def advance(call: Call) -> Response:
    def move(records: Records, site: Site, id: str, asked: AdvanceRunBody) -> Rollout:
        expected = asked.expected_phase_index
        return _rollouts(call).advance(records, call.actor, site, id, expected=expected)

    return await _moved(call, AdvanceRunBody, move)


async def cancel(call: Call) -> Response:
    def move(records: Records, site: Site, id: str, asked: CancelRunBody) -> Rollout:
        return _rollouts(call).cancel(records, call.actor, site, id, reason=asked.reason or "")

    return await _moved(call, CancelRunBody, move)


async def _moved(
    call: Call, type: type[SiteBody], move: Callable[[Records, Site, str, SiteBody], Rollout]
) -> Response:
    await admit(call)
    id = parse.path_id(call, "Run")
    asked = await parse.body(call, type)
    if not asked.site_id:
        raise Said(400, "siteId is required")
    site_text = asked.site_id
    try:
        moved = await call.backend.write(
            lambda records: move(records, site_of(records, call, site_text), id, asked)
        )
    except NotNow as refusal:
        raise Said(412, str(refusal)) from None
    return render.answer(render_runs.run(moved), 202)


def _rollouts(call: Call) -> Rollouts:
    return call.backend.services.rollouts
