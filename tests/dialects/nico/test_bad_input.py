"""What nobody should send: answered in the wire's own body, with all three members, and never with a page."""

import json
import uuid

import pytest

from tests.dialects.nico.wire import ORG

ID = str(uuid.uuid4())
#: Every path with the methods it answers.
PATHS = {
    "/user/current": ("GET",),
    "/service-account/current": ("GET",),
    "/infrastructure-provider/current": ("GET",),
    "/task": ("GET",),
    "/task/rule": ("GET", "POST"),
    f"/task/rule/{ID}": ("DELETE", "GET", "PATCH"),
    f"/task/rule/{ID}/default": ("POST",),
    "/task/run": ("GET", "POST"),
    f"/task/run/{ID}": ("GET",),
    f"/task/run/{ID}/target": ("GET",),
    f"/task/run/{ID}/pause": ("POST",),
    f"/task/run/{ID}/resume": ("POST",),
    f"/task/run/{ID}/advance": ("POST",),
    f"/task/run/{ID}/cancel": ("POST",),
    f"/task/{ID}": ("GET",),
    f"/task/{ID}/cancel": ("POST",),
    f"/rack/task/{ID}": ("GET",),
    f"/rack/task/{ID}/cancel": ("POST",),
    "/rack": ("GET",),
    "/rack/validation": ("GET",),
    "/rack/power": ("PATCH",),
    "/rack/firmware": ("PATCH",),
    "/rack/bringup": ("POST",),
    f"/rack/{ID}": ("GET",),
    f"/rack/{ID}/validation": ("GET",),
    f"/rack/{ID}/task": ("GET",),
    f"/rack/{ID}/task/rule": ("GET", "PUT"),
    f"/rack/{ID}/task/rule/{ID}": ("DELETE",),
    f"/rack/{ID}/power": ("PATCH",),
    f"/rack/{ID}/firmware": ("PATCH",),
    f"/rack/{ID}/bringup": ("POST",),
    "/tray": ("GET",),
    "/tray/validation": ("GET",),
    "/tray/power": ("PATCH",),
    "/tray/firmware": ("PATCH",),
    f"/tray/{ID}": ("GET",),
    f"/tray/{ID}/validation": ("GET",),
    f"/tray/{ID}/task": ("GET",),
    f"/tray/{ID}/power": ("PATCH",),
    f"/tray/{ID}/firmware": ("PATCH",),
}
BODIES = [
    (path, method) for path, methods in PATHS.items() for method in methods if method not in ("GET", "DELETE")
]
QUERIES = [
    (path, method)
    for path, methods in PATHS.items()
    for method in methods
    if method in ("GET", "DELETE") and not path.endswith("current")
]


def refused(answer, *statuses):
    assert answer.status_code in statuses, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body.keys() == {"source", "message", "data"}
    assert (body["source"], bool(body["message"])) == ("nico", True)
    return body


@pytest.mark.parametrize("path", PATHS)
def test_strangers_and_wrong_methods_are_refused_everywhere(wire, path):
    for method in PATHS[path]:
        refused(wire.ask(method, path, token=None), 401)
        refused(wire.ask(method, path, token="a.b.c"), 401)
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - set(PATHS[path]):
        answer = wire.ask(method, path)
        refused(answer, 405)
        assert answer.headers["allow"] == ", ".join(PATHS[path])


@pytest.mark.parametrize(("path", "method"), BODIES)
def test_bodies_that_cannot_be_read_are_refused_everywhere(wire, path, method):
    for raw in (
        b"{",
        b"[]",
        b"5",
        b'"x"',
        b"null",
        b'{"siteId": 5}',
        b'{"siteId": ["x"]}',
        b"\xff",
        b"[" * 9_000,
    ):
        body = refused(wire.ask(method, path, raw=raw), 400)
        assert body["message"] == "Failed to parse request data"


@pytest.mark.parametrize(("path", "method"), BODIES)
def test_bodies_that_are_too_large_are_refused_everywhere(wire, path, method):
    wire.backend.max_body_bytes = 1_000
    refused(wire.ask(method, path, raw=b'{"siteId": "' + b"x" * 1_000 + b'"}'), 413)


@pytest.mark.parametrize(("path", "method"), BODIES)
@pytest.mark.parametrize("site", ["x", "\0", str(uuid.uuid4()), "{foreign}"])
def test_sites_that_are_none_or_anothers_are_refused_everywhere(wire, path, method, site):
    site = wire.foreign if site == "{foreign}" else site
    refused(wire.ask(method, path, body={"siteId": site}), 400, 403)


@pytest.mark.parametrize(("path", "method"), QUERIES)
def test_queries_for_sites_that_are_none_or_anothers_are_refused_everywhere(wire, path, method):
    for site in ("", "x", "\0", str(uuid.uuid4())):
        refused(wire.ask(method, path, query={"siteId": site}), 400)
    refused(wire.ask(method, path, query={"siteId": wire.foreign}), 403)
    refused(wire.ask(method, path, query={"siteId": wire.no_flow}), 412)


@pytest.mark.parametrize(
    "path", ["/task", "/task/rule", "/task/run", f"/task/run/{ID}/target", "/rack", "/tray"]
)
def test_pages_that_cannot_be_are_refused_everywhere(wire, path):
    for query in ({"pageSize": "101"}, {"pageNumber": "0"}, {"pageNumber": "1e3"}, {"pageSize": "-1"}):
        refused(wire.get(path, **query), 400)


def test_a_type_that_is_wrong_anywhere_below_is_refused(wire):
    step = {"componentType": "Compute", "stage": 1, "mainOperation": {"name": "PowerControl"}}
    for wrong in (
        {"ruleDefinition": []},
        {"ruleDefinition": {"steps": {}}},
        {"ruleDefinition": {"steps": [{**step, "stage": "1"}]}},
        {"ruleDefinition": {"steps": [{**step, "mainOperation": "PowerControl"}]}},
        {"ruleDefinition": {"steps": [{**step, "retry": {"maxAttempts": 1.5}}]}},
        {"name": 5},
    ):
        body = {
            "siteId": wire.site,
            "name": "x",
            "operationType": "PowerControl",
            "operationCode": "power_on",
            **wrong,
        }
        refused(wire.ask("POST", "/task/rule", body=body), 400)
    assert wire.get("/task/rule").json() == []


@pytest.mark.parametrize(
    "member",
    [
        {"state": 1},
        {"state": ["on"]},
        {"state": "ON"},
        {"state": "on", "overrideReadinessCheck": "yes"},
        {"state": "on", "ruleId": 5},
        {"state": "on", "siteId": None},
    ],
)
def test_members_of_a_wrong_type_begin_nothing(wire, member):
    body = {"siteId": wire.site, **member}
    refused(wire.ask("PATCH", f"/rack/{wire.rack}/power", body=body), 400)
    assert json.loads(wire.get("/task").headers["x-pagination"])["total"] == 0


@pytest.mark.parametrize("org", ["%00", "..", "a" * 5_000, "é", "other-org"])
def test_organisations_that_are_none_of_the_tokens_are_refused(wire, org):
    refused(wire.ask("GET", "/user/current", org=org), 401, 403, 404)


@pytest.mark.parametrize(
    "path", ["", "/", "/nothing", "/task/", f"/task/{ID}/nothing", "/rack//power", "/task/run/x/y/z"]
)
def test_paths_that_are_none_are_not_found(wire, path):
    assert refused(wire.ask("GET", path), 404)["message"] == "The requested path could not be found"


def test_names_that_no_organisation_of_ours_can_have_are_refused(wire, mint):
    token = mint("a b:PROVIDER_ADMIN")
    refused(wire.ask("GET", "/user/current", org="a%20b", token=token), 400, 401, 403)
    assert wire.ask("GET", "/user/current", org=ORG).status_code == 200
