"""Rules: made, read, changed, deleted; and which of them the site and its racks go by, for which the wire has no paths of its own."""

from starlette.responses import Response

from taskyard.core.errors import NotFound
from taskyard.core.rule import Rule
from taskyard.dialects.nico import parse, render
from taskyard.dialects.nico.bodies import CreateRuleBody, DefaultRuleBody, RackRuleBody, UpdateRuleBody
from taskyard.dialects.nico.gate import admit, site_of
from taskyard.dialects.nico.refuse import Said
from taskyard.http.dialect import Call
from taskyard.service.rules import NewRule
from taskyard.store.records import Records


async def create(call: Call) -> Response:
    wanted = parse.rule_wanted(await parse.body(call, CreateRuleBody))
    await admit(call)
    new = NewRule(
        name=wanted.name,
        description=wanted.description,
        operation=wanted.operation,
        code=wanted.code,
        plan=wanted.plan,
    )

    def write(records: Records) -> Rule:
        site = site_of(records, call, wanted.site)
        return call.backend.services.rules.create(records, call.actor, site, new)

    return render.answer(render.rule(await call.backend.write(write)), 201)


async def search(call: Call) -> Response:
    parse.known_query(call, "siteId", "operationType", "pageNumber", "pageSize")
    site_text = parse.query_site(call)
    kind = call.query.get("operationType")
    operation = parse.rule_operation(kind) if kind else None
    await admit(call)

    def look(records: Records) -> tuple[parse.Page, list[Rule], int]:
        site = site_of(records, call, site_text)
        page = parse.page(call)
        rules = call.backend.services.rules
        return page, *rules.search(records, call.actor, site, operation, limit=page.size, offset=page.offset)

    page, found, total = await call.backend.read(look)
    return render.page([render.rule(rule) for rule in found], number=page.number, size=page.size, total=total)


async def get(call: Call) -> Response:
    parse.known_query(call, "siteId")
    site_text = parse.query_site(call)
    await admit(call)
    id = parse.path_id(call, "Rule")

    def look(records: Records) -> Rule:
        return call.backend.services.rules.get(records, call.actor, site_of(records, call, site_text), id)

    return render.answer(render.rule(await call.backend.read(look)))


async def change(call: Call) -> Response:
    id = parse.path_id(call, "Rule")
    asked = await parse.body(call, UpdateRuleBody)
    parse.check_rule_change(asked)
    plan = None if asked.rule_definition is None else parse.plan(asked.rule_definition)
    await admit(call)

    def write(records: Records) -> None:
        call.backend.services.rules.change(
            records,
            call.actor,
            site_of(records, call, asked.site_id or ""),
            id,
            name=asked.name,
            description=asked.description,
            plan=plan,
        )

    await call.backend.write(write)
    return Response(status_code=204)


async def delete(call: Call) -> Response:
    id = parse.path_id(call, "Rule")
    parse.known_query(call, "siteId")
    site_text = parse.query_site(call)
    await admit(call)

    def write(records: Records) -> None:
        call.backend.services.rules.delete(records, call.actor, site_of(records, call, site_text), id)

    await call.backend.write(write)
    return Response(status_code=204)


# -- which rule is gone by -------------------------------------------------------------------------------------------------


async def make_default(call: Call) -> Response:
    """The site goes by the rule wherever a rack was given no other."""
    await admit(call)
    id = parse.path_id(call, "Rule")
    asked = await parse.body(call, DefaultRuleBody)
    site_text = _said(asked.site_id, "siteId")

    def write(records: Records) -> Rule:
        site = site_of(records, call, site_text)
        return call.backend.services.rules.make_default(records, call.actor, site, id)

    return render.answer(render.rule(await call.backend.write(write)))


async def of_rack(call: Call) -> Response:
    id = parse.path_id(call, "Rack")
    parse.known_query(call, "siteId")
    site_text = parse.query_site(call)
    await admit(call)

    def look(records: Records) -> list[Rule]:
        site = site_of(records, call, site_text)
        rack = call.backend.services.sites.rack(records, site, id)
        return call.backend.services.rules.of_rack(records, call.actor, site, rack.id)

    return render.answer([render.rule(rule) for rule in await call.backend.read(look)])


async def give(call: Call) -> Response:
    """The rack goes by the rule, for its operation and code, instead of the one it had."""
    await admit(call)
    id = parse.path_id(call, "Rack")
    asked = await parse.body(call, RackRuleBody)
    site_text, rule_text = _said(asked.site_id, "siteId"), _said(asked.rule_id, "ruleId")
    rule = parse.uuid_of(rule_text)
    if rule is None:
        raise Said(400, "ruleId must be a valid UUID")

    def write(records: Records) -> None:
        site = site_of(records, call, site_text)
        rack = call.backend.services.sites.rack(records, site, id)
        call.backend.services.rules.give(records, call.actor, site, rack.id, rule)

    await call.backend.write(write)
    return Response(status_code=204)


async def take(call: Call) -> Response:
    """The rack goes by the default again."""
    id = parse.path_id(call, "Rack")
    rule_id = parse.uuid_of(call.path["rule"])
    if rule_id is None:
        raise Said(400, "Invalid Rule ID specified in URL")
    parse.known_query(call, "siteId")
    site_text = parse.query_site(call)
    await admit(call)

    def write(records: Records) -> None:
        site = site_of(records, call, site_text)
        rules = call.backend.services.rules
        for rule in rules.of_rack(records, call.actor, site, id):
            if rule.id == rule_id:
                rules.take(records, call.actor, site, id, rule.operation, rule.code)
                return
        raise NotFound("rule", rule_id)

    await call.backend.write(write)
    return Response(status_code=204)


def _said(text: str | None, name: str) -> str:
    if not text:
        raise Said(400, f"{name} is required")
    return text
