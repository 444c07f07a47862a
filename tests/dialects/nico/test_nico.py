"""The rest of the wire: who may ask, what is refused and how, lists and filters, and what becomes of operations."""

import base64
import json
import time
import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm

from taskyard.core.errors import Broken, Invalid, LimitReached, TaskyardError, Unavailable
from taskyard.core.operation import Operation
from taskyard.core.outcome import Done, Failed
from taskyard.core.task import Reason, State
from taskyard.dialects.nico import dialect, render, speaking
from taskyard.dialects.nico.parse import POWER_CODES, RULE_OPERATIONS
from taskyard.dialects.nico.refuse import refuse
from taskyard.dialects.nico.render import ACTS, OPERATIONS, STATES
from taskyard.dialects.nico.settings import read_settings
from taskyard.http.dialect import application
from taskyard.service.operations import Wanted
from tests.dialects.nico.wire import DOMAIN, ORG, Wire

SECRET = "a secret that is at least 32 bytes long"


def shown(answer):
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body.keys() == {"source", "message", "data"}
    return answer.status_code, body["message"]


# -- who asks --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("", "Request is missing authorization header"),
        ("Basic YTpi", "Invalid Authorization header format"),
        ("Bearer", "Invalid Authorization header format"),
        ("Bearer a b", "Invalid Authorization header format"),
        ("Bearer nonsense", "Error parsing the token claims"),
        ("Bearer a.b.c", "Error parsing the token claims"),
        (
            "Bearer e30." + base64.urlsafe_b64encode(b"[" * 60_000).decode() + ".c",
            "Error parsing the token claims",
        ),
    ],
)
def test_what_is_no_token_is_turned_away(wire, header, message):
    answer = wire.ask("GET", "/user/current", token=None, headers={"Authorization": header})
    assert shown(answer) == (401, message)


def test_a_token_that_nobody_we_trust_has_signed_is_turned_away(wire, mint):
    forged = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    role = f"{ORG}:PROVIDER_ADMIN"
    invalid = (401, "Invalid authorization token in request")

    assert shown(wire.ask("GET", "/user/current", token=mint(role, key=forged))) == invalid
    assert shown(wire.ask("GET", "/user/current", token=mint(role, kid="k2"))) == invalid
    assert shown(wire.ask("GET", "/user/current", token=mint(role, sub=None))) == invalid
    assert shown(wire.ask("GET", "/user/current", token=mint(role, exp=None))) == invalid
    assert shown(wire.ask("GET", "/user/current", token=mint(role, key=None, algorithm="none"))) == invalid


def test_a_public_key_is_no_shared_secret(wire, mint, jwks):
    """The classic confusion: a token signed by HS256 with the public key as its secret."""
    public = base64.urlsafe_b64decode(json.loads(jwks.read_text())["keys"][0]["n"] + "==")
    token = mint(f"{ORG}:PROVIDER_ADMIN", key=public, algorithm="HS256")
    assert shown(wire.ask("GET", "/user/current", token=token))[0] == 401


def test_a_token_must_say_something_of_the_organisation(wire, mint):
    def ask(*roles, org=ORG, **claims):
        return wire.ask("GET", "/user/current", token=mint(*roles, **claims), org=org)

    assert shown(ask()) == (403, "User does not have any roles assigned")
    assert shown(ask(realm_access="x")) == (403, "User does not have any roles assigned")
    assert shown(ask("other:PROVIDER_ADMIN")) == (403, "Requested organization not found in token claims")
    assert ask("Acme-INC:TENANT_ADMIN", org="ACME-inc").status_code == 200


@pytest.mark.parametrize(
    ("role", "status"),
    [
        ("PROVIDER_ADMIN", 200),
        ("NICO_PROVIDER_ADMIN", 200),
        ("A_B_PROVIDER_ADMIN", 403),
        ("PROVIDER_VIEWER", 403),
        ("XPROVIDER_ADMIN", 403),
    ],
)
def test_only_provider_admins_operate_and_look(wire, mint, role, status):
    token = mint(f"{ORG}:{role}")
    assert wire.ask("GET", "/rack", query={"siteId": wire.site}, token=token).status_code == status


def test_shared_secrets_and_pem_keys_are_trusted_too(yard, mint, signing_key):
    pem = signing_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    settings = {
        "issuers": [
            {"issuer": "one", "shared_secret": SECRET, "audience": "yard"},
            {"issuer": "two", "public_key": pem},
        ],
        "organisations": {"ACME-inc": "default"},
    }
    wire = Wire(yard, settings, mint)
    role = f"{ORG}:PROVIDER_ADMIN"

    def ask(**claims):
        return wire.ask("GET", "/user/current", token=mint(role, **claims)).status_code

    assert ask(iss="one", key=SECRET, algorithm="HS256", aud="yard") == 200
    assert ask(iss="one", key=SECRET, algorithm="HS256", aud="other") == 401
    assert ask(iss="one", key=SECRET, algorithm="HS256") == 401
    assert ask(iss="two") == 200
    assert ask(iss="two", key=SECRET, algorithm="HS256") == 401
    assert ask(iss="three") == 401
    # This organisation is one of ours under another name: its people are people of that one.
    assert {user.organisation for user in yard.read(lambda r: r.accounts.users(yard.organisation))} == {
        yard.organisation
    }


def test_issuers_that_write_roles_otherwise_are_understood_by_their_mappings(yard, mint):
    mappings = [
        {"organisation": "Acme-inc", "roles_attribute": "app.roles"},
        {"organisation_attribute": "tenant.name", "roles": ["TENANT_ADMIN"]},
    ]
    table = {
        "shared_secret": SECRET,
        "scopes": ["racks"],
        "audiences": ["a", "b"],
        "claim_mappings": mappings,
    }
    wire = Wire(yard, table, mint)
    claims = {"key": SECRET, "algorithm": "HS256", "scope": "openid racks", "aud": "b", "realm_access": None}

    def ask(path="/user/current", org=ORG, query=None, **more):
        answer = wire.ask("GET", path, token=mint(**{**claims, **more}), org=org, query=query)
        return answer.status_code

    racks = {"path": "/rack", "query": {"siteId": wire.site}}
    operator = {"app": {"roles": ["PROVIDER_ADMIN", "SOMETHING"]}}
    assert ask(**racks, **operator) == 200
    assert ask(**racks, **operator, scope="openid", scp=["racks"]) == 200
    assert ask(**racks, app={"roles": ["TENANT_ADMIN"]}) == 403
    assert ask(app={"roles": ["SOMETHING", {"not": "text"}, None]}) == 403
    assert ask() == ask(app="text") == ask(app={"roles": "PROVIDER_ADMIN"}) == 403
    assert ask(org="other", **operator) == 401
    assert ask(org="other", tenant={"name": "Other"}) == 200
    assert ask(scope="openid", **operator) == ask(scope=5, scp="racks", **operator) == 403
    assert ask(aud="c", **operator) == 401


@pytest.mark.parametrize(
    "table",
    [
        {"shared_secret": SECRET, "claim_mappings": [{"organisation": "a"}]},
        {"shared_secret": SECRET, "claim_mappings": [{"roles": ["TENANT_ADMIN"]}]},
        {"shared_secret": SECRET, "claim_mappings": [{"organisation": "a", "roles": ["ROOT"]}]},
        {"shared_secret": SECRET, "audiences": [5]},
        {"shared_secret": "short"},
        {"shared_secret": SECRET, "jwks_url": "https://x"},
        {"issuers": [{"shared_secret": SECRET}, {"issuer": "two", "shared_secret": SECRET}]},
        {"issuers": [{"issuer": "one"}]},
    ],
)
def test_settings_that_would_trust_too_much_are_refused(table):
    with pytest.raises(Invalid):
        read_settings(table)


def test_keys_that_were_changed_are_read_again(wire, mint, jwks):
    fresh = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert wire.ask("GET", "/user/current").status_code == 200
    key = {**json.loads(RSAAlgorithm.to_jwk(fresh.public_key())), "kid": "k2"}
    jwks.write_text(json.dumps({"keys": [key]}))

    assert wire.ask("GET", "/user/current").status_code == 401
    token = mint(f"{ORG}:PROVIDER_ADMIN", key=fresh, kid="k2")
    assert wire.ask("GET", "/user/current", token=token).status_code == 200


def test_a_person_keeps_an_id_and_is_brought_up_to_date(wire, mint):
    role = f"{ORG}:PROVIDER_ADMIN"
    first = wire.ask("GET", "/user/current", token=mint(role)).json()
    second = wire.ask(
        "GET", "/user/current", token=mint(role, email="new@example.com", family_name=None)
    ).json()
    other = wire.ask("GET", "/user/current", token=mint(role, sub="somebody else")).json()

    assert (second["id"], second["email"], second["lastName"]) == (first["id"], "new@example.com", None)
    assert other["id"] != first["id"]


def test_a_new_organisation_becomes_a_provider_by_asking_which_it_is(wire, mint):
    token = mint("newcomers:PROVIDER_ADMIN")

    def ask(method, path, **named):
        return wire.ask(method, path, token=token, org="newcomers", **named)

    assert ask("GET", "/task/rule", query={"siteId": wire.site}).status_code == 400
    first = ask("GET", "/infrastructure-provider/current")
    assert (first.status_code, first.json()["org"]) == (200, "newcomers")
    assert ask("GET", "/infrastructure-provider/current").json() == first.json()
    assert ask("GET", "/task/rule", query={"siteId": wire.site}).status_code == 403
    assert shown(ask("POST", "/infrastructure-provider"))[0] == 400
    tenant = mint("newcomers:TENANT_ADMIN", sub="t")
    assert (
        wire.ask("GET", "/infrastructure-provider/current", token=tenant, org="newcomers").status_code == 403
    )
    assert ask("GET", "/service-account/current").json()["enabled"] is False


# -- refusals --------------------------------------------------------------------------------------------------------------


def test_a_path_that_is_none_is_not_found_whoever_asks(wire):
    assert shown(wire.send("GET", "/v2/org/x/nico/nowhere")) == (404, "The requested path could not be found")
    assert shown(wire.send("GET", "/elsewhere")) == (404, "The requested path could not be found")


def test_a_method_that_a_path_does_not_have_is_refused(wire):
    answer = wire.ask("DELETE", "/rack")
    assert (*shown(answer), answer.headers["allow"]) == (405, "Method Not Allowed", "GET")


@pytest.mark.parametrize(
    "raw",
    [b"{", b'{"siteId": ' + b"[" * 100_000, b"[]", b'{"siteId": 5}', b'{"siteId": "\xff"}', b"5", b"null"],
)
def test_a_body_that_cannot_be_read_is_refused(wire, raw):
    answer = wire.ask("POST", f"/task/{uuid.uuid4()}/cancel", raw=raw)
    assert shown(answer) == (400, "Failed to parse request data")


def test_a_body_that_is_too_long_is_refused(wire):
    wire.backend.max_body_bytes = 1000
    answer = wire.ask("POST", "/task/rule", raw=b" " * 1001)
    assert shown(answer)[0] == 413


def test_a_fault_of_ours_has_the_wires_own_body(wire, monkeypatch):
    monkeypatch.setattr(type(wire.backend.services.federation), "me", lambda *_: 1 / 0)
    status, message = shown(wire.ask("GET", "/user/current"))
    assert status == 500
    assert "ZeroDivisionError" not in message


def test_every_refusal_there_is_has_a_status_and_the_wires_body():
    def kinds(kind):
        yield kind
        for below in kind.__subclasses__():
            yield from kinds(below)

    for kind in kinds(TaskyardError):
        refusal = kind.__new__(kind)
        Exception.__init__(refusal, "why")
        refusal.noun, refusal.status, refusal.data, refusal.faults = "task", 418, None, ()
        answer = refuse("nico", None, refusal)
        assert 400 <= answer.status_code < 600
        assert json.loads(answer.body).keys() == {"source", "message", "data"}
    assert refuse("nico", None, Broken("x")).status_code == 503
    assert refuse("nico", None, Unavailable("x")).status_code == 503
    assert refuse("nico", None, LimitReached("x", timedelta(1))).status_code == 429


@pytest.mark.parametrize(
    ("path", "query", "message"),
    [
        ("/task/{id}", {"colour": "red"}, "Unknown query parameter specified in request: colour"),
        ("/rack/{id}/task", {"orderBy": "NAME_ASC"}, "Unknown query parameter specified in request: orderBy"),
        ("/rack/{id}/task", {"activeOnly": "maybe"}, "Failed to parse request data"),
        ("/rack/{id}/task", {"pageNumber": "x"}, "Failed to parse request pagination data"),
        ("/rack/{id}/task", {"pageNumber": "0"}, "Failed to validate pagination request data"),
        ("/rack/{id}/task", {"pageSize": "101"}, "Failed to validate pagination request data"),
        ("/rack", {"orderBy": "SIZE_ASC"}, "Failed to validate pagination request data"),
        ("/rack/{id}/task", {"pageNumber": "+-1"}, "Failed to parse request pagination data"),
        ("/rack/{id}/task", {"pageSize": "9" * 5000}, "Failed to parse request pagination data"),
        ("/rack", {"name": "a\0b"}, "Failed to parse request data"),
        ("/tray", {"slotId": "x"}, "Failed to parse request data"),
        ("/tray", {"slotId": "9" * 5000}, "Failed to parse request data"),
        ("/tray", {"slotId": "9" * 18, "rackName": "x"}, "Failed to validate request data"),
        ("/rack/nope", {}, "Invalid Rack ID specified in URL"),
        ("/tray/nope", {}, "Invalid Tray ID in URL"),
    ],
)
def test_queries_that_cannot_be_are_refused(wire, path, query, message):
    assert shown(wire.get(path.format(id=uuid.uuid4()), **query)) == (400, message)


def test_what_a_pages_numbers_may_be_is_told(wire):
    data = wire.get(f"/rack/{wire.rack}/task", pageNumber="21474837", pageSize="0").json()["data"]
    assert data.keys() == {"pageNumber", "pageSize"}


def test_what_comes_first_is_refused_first(wire, mint):
    tenant = mint(f"{ORG}:TENANT_ADMIN", sub="t")
    # The wire looks at a task's query before it looks at roles, and at roles before it looks at what lists all.
    assert shown(wire.ask("GET", f"/task/{uuid.uuid4()}", token=tenant))[0] == 400
    assert shown(wire.ask("GET", "/task", token=tenant))[0] == 403
    assert shown(wire.ask("PATCH", f"/rack/{wire.rack}/power", token=tenant, body={}))[0] == 403
    assert shown(wire.ask("PATCH", "/rack/power", token=tenant, body={}))[0] == 400


def test_another_api_name_stands_in_paths_and_errors(wire):
    wire.app = application(speaking("forge"), wire.backend)
    answer = wire.send("GET", f"/v2/org/{ORG}/forge/user/current")
    assert (answer.status_code, answer.json()["source"]) == (401, "forge")


# -- words -----------------------------------------------------------------------------------------------------------------


def test_every_state_and_every_word_of_ours_has_one_of_the_wire(wire):
    assert dialect.states.keys() == set(State) == render.MESSAGES.keys()
    assert STATES[State.SUSPENDED] == "Waiting"
    assert OPERATIONS.keys() == set(Operation)
    assert len(set(ACTS.values())) == len(ACTS)
    assert set(RULE_OPERATIONS) == {"PowerControl", "FirmwareControl"}
    assert len(POWER_CODES) == 5


def test_a_task_is_shown_in_whatever_state_it_is(wire):
    id = wire.power()
    task = wire.yard.get(id, actor=wire.actor)
    for state in State:
        body = render.task(replace(task, state=state, message=None), with_report=True)
        assert body["status"] in ("Pending", "Waiting", "Running", "Succeeded", "Failed", "Terminated")
        assert body["message"]
    expired = render.task(replace(task, state=State.FAILED, reason=Reason.EXPIRED), with_report=False)
    assert (expired["status"], expired["message"]) == ("Terminated", "Expired: queue timeout reached")


@pytest.mark.parametrize(
    "report", [None, "x", [], {}, {"version": 2, "stages": []}, {"version": 1}, {"version": 1, "stages": [5]}]
)
def test_a_report_of_another_make_is_left_out(wire, report):
    assert render.report_of(report) is None


# -- operations ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "description"),
    [
        ("on", "API power on Rack"),
        ("off", "API power off Rack"),
        ("cycle", "API power cycle Rack"),
        ("forceoff", "API force power off Rack"),
        ("forcecycle", "API force power cycle Rack"),
    ],
)
def test_power_is_switched_and_the_rack_shows_it(wire, state, description):
    id = wire.power(state)
    assert wire.get(f"/task/{id}").json()["status"] == "Pending"

    wire.work()

    task = wire.get(f"/task/{id}").json()
    assert (task["status"], task["description"], task["ruleId"]) == ("Succeeded", description, None)
    rack = wire.get(f"/rack/{wire.rack}", includeComponents="true").json()
    assert {each["powerState"] for each in rack["components"]} == {"off" if "off" in state else "on"}


def test_a_rack_is_brought_up_and_its_report_has_every_stage(wire):
    answer = wire.ask("POST", f"/rack/{wire.rack}/bringup", body={"siteId": wire.site})
    [id] = answer.json()["taskIds"]
    wire.work()

    task = wire.get(f"/task/{id}").json()
    assert (task["status"], task["description"]) == ("Succeeded", f"API bring up Rack {wire.rack}")
    assert [stage["number"] for stage in task["report"]["stages"]] == [1, 2, 3, 4, 5, 6]


def test_all_racks_of_a_site_are_brought_up(wire):
    answer = wire.ask("POST", "/rack/bringup", body={"siteId": wire.site})
    assert len(answer.json()["taskIds"]) == 2
    descriptions = {task["description"] for task in wire.get("/task").json()}
    assert descriptions == {"API batch bring up Racks"}


def test_firmware_is_updated_and_secrets_are_shown_to_nobody(wire):
    body = {
        "siteId": wire.site,
        "version": "24.11.0",
        "authenticationData": {"perComponent": {"compute": "hush"}},
    }
    [id] = wire.ask("PATCH", f"/tray/{wire.tray}/firmware", body=body).json()["taskIds"]
    wire.work()

    assert wire.get(f"/task/{id}").json()["status"] == "Succeeded"
    assert wire.get(f"/tray/{wire.tray}").json()["firmwareVersion"] == "24.11.0"
    assert "hush" not in str(wire.yard.get(id, actor=wire.actor))


def test_secrets_are_refused_where_there_is_nothing_to_seal_them_with(yard, jwks, mint):
    wire = Wire(yard, {"jwks_file": str(jwks)}, mint)
    body = {"siteId": wire.site, "version": "1", "authenticationData": {"shared": "hush"}}
    assert shown(wire.ask("PATCH", f"/rack/{wire.rack}/firmware", body=body))[0] == 412


@pytest.mark.parametrize(
    "wrong",
    [
        {"authenticationData": {}},
        {"authenticationData": {"perComponent": {"toaster": "x"}}},
        {"targets": [""], "version": "1"},
        {"version": 5},
    ],
)
def test_firmware_requests_that_cannot_be_are_refused(wire, wrong):
    answer = wire.ask("PATCH", f"/tray/{wire.tray}/firmware", body={"siteId": wire.site, **wrong})
    assert shown(answer)[0] == 400


def test_a_rule_that_is_pinned_is_gone_by_and_an_empty_one_is_none(wire):
    rule = wire.rule({"componentType": "NVSwitch", "stage": 3, "mainOperation": {"name": "PowerControl"}})
    id = wire.power(ruleId=rule["id"])
    other = wire.power(rack="Rack-02", ruleId="")
    wire.work()

    task = wire.get(f"/task/{id}").json()
    assert (task["ruleId"], [stage["number"] for stage in task["report"]["stages"]]) == (rule["id"], [3])
    assert wire.get(f"/task/{other}").json()["ruleId"] is None


def test_a_rule_that_is_not_there_cannot_be_pinned(wire):
    body = {"siteId": wire.site, "state": "on", "ruleId": str(uuid.uuid4())}
    assert shown(wire.ask("PATCH", f"/rack/{wire.rack}/power", body=body)) == (404, "Rule not found")
    assert wire.get("/task").json() == []


def test_what_fails_says_why_in_one_line_and_in_its_report(wire):
    wire.hardware.broken[wire.trays["switch-1"]] = "no answer\nat all"
    id = wire.power()
    wire.work()

    task = wire.get(f"/task/{id}").json()
    assert (task["status"], task["message"]) == (
        "Failed",
        "component type NVSwitch failed: switch-1: no answer",
    )
    assert task["report"]["error"] == task["message"]
    assert [stage["status"] for stage in task["report"]["stages"]] == ["completed", "failed", "pending"]
    assert shown(wire.ask("POST", f"/task/{id}/cancel", body={"siteId": wire.site})) == (
        409,
        f"task {id} cannot be cancelled (status: Failed)",
    )


def test_a_tray_does_not_hinder_another_tray_but_does_its_rack(wire):
    wire.power(tray="compute-1")
    wire.power(tray="compute-2")
    body = {"siteId": wire.site, "state": "on"}
    assert wire.ask("PATCH", f"/rack/{wire.rack}/power", body=body).status_code == 409
    # Of all racks, those that are free are switched.
    assert len(wire.ask("PATCH", "/rack/power", body=body).json()["taskIds"]) == 1
    assert wire.ask("PATCH", "/rack/power", body=body).status_code == 409


def test_a_task_that_is_canceled_frees_its_rack_at_once(wire):
    id = wire.running()
    ended = wire.ask("POST", f"/task/{id}/cancel", body={"siteId": wire.site}).json()
    assert (ended["status"], "finished" in ended) == ("Terminated", True)
    wire.power()


def test_what_waits_for_its_rack_is_waiting_and_can_be_canceled(wire):
    wire.power()
    services, site = wire.yard.services, wire.sites[0]
    wanted = Wanted(operation=Operation.POWER, code="power_off", waits=timedelta(hours=1))
    trays = [wire.yard.read(services.sites.tray, site, wire.tray)]
    [waiting] = wire.yard.write(services.operations.on_trays, wire.actor, site, wanted, trays)

    task = wire.get(f"/task/{waiting.id}").json()
    assert (task["status"], task["message"]) == ("Waiting", "Queued: waiting for rack to become available")
    ended = wire.ask("POST", f"/task/{waiting.id}/cancel", body={"siteId": wire.site})
    assert ended.json()["status"] == "Terminated"


def test_racks_and_trays_that_are_not_there_are_not_found(wire):
    body = {"siteId": wire.site, "state": "on"}
    nobody = uuid.uuid4()
    assert shown(wire.ask("PATCH", f"/rack/{nobody}/power", body=body)) == (404, "Rack not found")
    assert shown(wire.ask("PATCH", f"/tray/{nobody}/power", body=body)) == (404, "Tray not found")
    named = {**body, "filter": {"names": ["Rack-01", "Rack-99"]}}
    assert shown(wire.ask("PATCH", "/rack/power", body=named)) == (404, "Rack not found")
    listed = {**body, "filter": {"ids": [wire.tray, str(nobody)]}}
    assert shown(wire.ask("PATCH", "/tray/power", body=listed)) == (404, "Tray not found")
    assert shown(wire.get(f"/rack/{nobody}")) == (404, "Rack not found")
    assert wire.get(f"/rack/{nobody}/task").json() == []


@pytest.mark.parametrize(
    "filter",
    [
        {"rackId": "x"},
        {"rackName": "Rack-01", "ids": [str(uuid.uuid4())]},
        {"componentIds": ["fm-1"]},
        {"type": "Toaster"},
        {"slotId": 1},
        {"rackName": "a\0b"},
        {"rackName": "Rack-01", "slotId": 10**30},
        {"rackName": "Rack-01", "slotId": -1},
        {"ids": ["x"]},
    ],
)
def test_tray_filters_that_cannot_be_are_refused(wire, filter):
    body = {"siteId": wire.site, "state": "on", "filter": filter}
    assert shown(wire.ask("PATCH", "/tray/power", body=body)) == (400, "Failed to validate request data")


def test_trays_are_chosen_by_what_a_filter_says(wire):
    def switched(**filter):
        body = {"siteId": wire.site, "state": "on", **({"filter": filter} if filter else {})}
        tasks = wire.ask("PATCH", "/tray/power", body=body).json()["taskIds"]
        names = {id: name for name, id in wire.trays.items()}
        found = set()
        for id in tasks:
            for ids in wire.yard.get(id, actor=wire.actor).input["components"].values():
                found |= {names[each] for each in ids}
            wire.ask("POST", f"/task/{id}/cancel", body={"siteId": wire.site})
        return found

    assert switched() == set(wire.trays)
    assert switched(rackName="Rack-02") == {"compute-9"}
    assert switched(type="NVSwitch") == {"switch-1"}
    assert switched(type="Compute", componentIds=["fm-2"]) == {"compute-2"}
    assert switched(ids=[wire.trays["shelf-1"].upper()]) == {"shelf-1"}
    assert switched(rackId=wire.rack, slotId=2) == {"compute-2"}


# -- lists -----------------------------------------------------------------------------------------------------------------


def about(answer):
    return json.loads(answer.headers["x-pagination"])


def test_a_racks_tasks_are_paged_newest_first_each_once_while_others_are_made(wire):
    made = []
    for _ in range(5):
        made.append(wire.power(tray="compute-1"))
        wire.ask("POST", f"/task/{made[-1]}/cancel", body={"siteId": wire.site})
        wire.yard.clock.forward(seconds=1)

    first = wire.get(f"/rack/{wire.rack}/task", pageSize="2")
    last = wire.get(f"/rack/{wire.rack}/task", pageSize="2", pageNumber="3")
    beyond = wire.get(f"/rack/{wire.rack}/task", pageSize="2", pageNumber="9")

    assert [task["id"] for task in first.json()] == made[:2:-1]
    assert [task["id"] for task in last.json()] == made[:1]
    assert about(first) == {"pageNumber": 1, "pageSize": 2, "total": 5, "orderBy": None}
    assert (beyond.json(), about(beyond)["total"]) == ([], 5)
    assert first.headers["access-control-expose-headers"] == "X-Pagination"


def test_lists_leave_out_what_has_ended_and_reports_unless_asked(wire):
    ended, active = wire.finished(), wire.power(tray="compute-2")

    def ids(path, **query):
        return [task["id"] for task in wire.get(path, **query).json()]

    assert ids(f"/rack/{wire.rack}/task") == ids("/task") == [active, ended]
    assert ids(f"/rack/{wire.rack}/task", activeOnly="true") == [active]
    assert ids(f"/tray/{wire.tray}/task") == [ended]
    assert ids(f"/tray/{wire.tray}/task", activeOnly="1") == []
    assert ids(f"/rack/{wire.racks['Rack-02']}/task") == []
    [with_report] = wire.get(f"/tray/{wire.tray}/task", includeReport="true").json()
    [without] = wire.get(f"/tray/{wire.tray}/task").json()
    assert ("report" in with_report, "report" in without) == (True, False)


def test_racks_are_listed_filtered_and_ordered(wire):
    def names(**query):
        return [rack["name"] for rack in wire.get("/rack", **query).json()]

    assert names() == names(orderBy="NAME_ASC") == ["Rack-01", "Rack-02"]
    assert names(orderBy="NAME_DESC") == ["Rack-02", "Rack-01"]
    assert names(orderBy="MANUFACTURER_ASC") == ["Rack-02", "Rack-01"]
    assert names(name="Rack-02") == names(manufacturer="Acer") == ["Rack-02"]
    assert about(wire.get("/rack", orderBy="MODEL_ASC"))["orderBy"] == "MODEL_ASC"
    [rack, _] = wire.get("/rack").json()
    assert "components" not in rack
    assert rack["nvLinkDomainIds"] == [DOMAIN]
    assert rack["location"] == {"region": "north", "datacenter": "DC", "room": "A", "position": "1"}


def test_trays_are_listed_with_where_they_are(wire):
    tray = wire.get(f"/tray/{wire.tray}").json()
    assert tray == {
        "id": wire.tray,
        "componentId": "fm-1",
        "rackId": wire.rack,
        "type": "Compute",
        "name": "compute-1",
        "serialNumber": "",
        "manufacturer": "",
        "model": "",
        "description": "",
        "bmcs": [{"type": "host", "macAddress": "AA:BB", "ipAddress": "10.0.0.1"}],
        "powerState": "off",
        "operationStatus": "Unknown",
        "leakStatus": "Unknown",
        "position": {"slotId": 1, "trayIdx": 0, "hostId": 1},
        "nvLinkDomainId": DOMAIN,
    }
    assert [each["name"] for each in wire.get("/tray", rackName="Rack-02").json()] == ["compute-9"]
    assert wire.get("/tray", rackName="Rack-02").json()[0]["nvLinkDomainId"] is None
    by_kind = wire.get("/tray", orderBy="TYPE_DESC").json()
    assert by_kind[0]["type"] == "PowerShelf"
    both = wire.get("/tray", type="Compute", componentId=["fm-1", "fm-2"])
    assert about(both)["total"] == 2


def test_a_task_of_another_site_or_organisation_is_not_found(wire, mint):
    id = wire.power()
    stranger = mint("stranger:PROVIDER_ADMIN", sub="s")
    query = {"siteId": wire.foreign}
    answer = wire.ask("GET", f"/task/{id}", token=stranger, org="stranger", query=query)
    assert shown(answer) == (404, "Task not found")


# -- rules -----------------------------------------------------------------------------------------------------------------


def test_a_rule_is_read_back_with_its_lengths_of_time_in_one_form(wire):
    step = {
        "componentType": "compute",
        "stage": 2,
        "maxParallel": 4,
        "timeout": "15m",
        "retry": {"maxAttempts": 3, "initialInterval": "5s", "backoffCoefficient": 2, "maxInterval": "1m"},
        "preOperation": [{"name": "Sleep", "parameters": {"duration": "30s"}}],
        "mainOperation": {"name": "PowerControl", "parameters": {"operation": "restart"}},
        "postOperation": [
            {
                "name": "VerifyPowerStatus",
                "timeout": "5m",
                "pollInterval": "10s",
                "parameters": {"expected_status": "on"},
            }
        ],
    }
    made = wire.rule(step, description="d")

    expected = {
        **step,
        "componentType": "Compute",
        "timeout": "15m0s",
        "delayAfter": "0s",
        "retry": {**step["retry"], "maxInterval": "1m0s"},
        "postOperation": [{**step["postOperation"][0], "timeout": "5m0s"}],
    }
    assert made["ruleDefinition"] == {"version": "v1", "steps": [expected]}
    assert wire.get(f"/task/rule/{made['id']}").json() == made


def test_rules_are_listed_newest_first_by_operation(wire):
    power = wire.rule()
    firmware = wire.rule(
        {"componentType": "Compute", "stage": 1, "mainOperation": {"name": "FirmwareControl"}},
        operationType="FirmwareControl",
        operationCode="upgrade",
    )

    answer = wire.get("/task/rule")
    assert [rule["id"] for rule in answer.json()] == [firmware["id"], power["id"]]
    assert about(answer)["total"] == 2
    assert [rule["id"] for rule in wire.get("/task/rule", operationType="PowerControl").json()] == [
        power["id"]
    ]
    assert [rule["id"] for rule in wire.get("/task/rule", pageSize="1", pageNumber="2").json()] == [
        power["id"]
    ]


def test_a_rule_is_changed_and_deleted(wire):
    rule = wire.rule(description="before")
    definition = {
        "steps": [{"componentType": "CDU", "stage": 1, "mainOperation": {"name": "InjectExpectation"}}]
    }
    body = {"siteId": wire.site, "description": "", "ruleDefinition": definition}

    assert wire.ask("PATCH", f"/task/rule/{rule['id']}", body=body).status_code == 204
    changed = wire.get(f"/task/rule/{rule['id']}").json()
    assert (changed["name"], "description" in changed) == (rule["name"], False)
    assert changed["ruleDefinition"]["steps"][0]["componentType"] == "CDU"

    query = {"siteId": wire.site}
    assert wire.ask("DELETE", f"/task/rule/{rule['id']}", query=query).status_code == 204
    assert shown(wire.ask("DELETE", f"/task/rule/{rule['id']}", query=query)) == (404, "Rule not found")
    assert shown(wire.get(f"/task/rule/{rule['id']}")) == (404, "Rule not found")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"siteId": None}, "siteId is required"),
        ({"name": ""}, "name is required"),
        ({"operationType": ""}, "operationType is required"),
        ({"operationType": "BringUp"}, "operationType must be one of [PowerControl, FirmwareControl]"),
        ({"operationCode": None}, "operationCode is required"),
        ({"operationCode": "upgrade"}, None),
        ({"ruleDefinition": None}, "ruleDefinition is required"),
        ({"ruleDefinition": {"version": "v2"}}, "ruleDefinition version must be v1"),
        ({"ruleDefinition": {"steps": [{"componentType": "Compute", "stage": 1}]}}, None),
        ({"name": "x" * 129}, None),
    ],
)
def test_rules_that_cannot_be_are_refused_and_not_kept(wire, change, message):
    definition = {
        "steps": [{"componentType": "Compute", "stage": 1, "mainOperation": {"name": "PowerControl"}}]
    }
    body = {
        "siteId": wire.site,
        "name": "n",
        "operationType": "PowerControl",
        "operationCode": "power_on",
        "ruleDefinition": definition,
        **change,
    }
    status, said = shown(wire.ask("POST", "/task/rule", body=body))
    assert status == 400
    assert message is None or said == message
    assert wire.get("/task/rule").json() == []


# -- other faces -----------------------------------------------------------------------------------------------------------


def test_a_task_that_another_face_made_for_a_rack_is_seen_here(wire):
    labels = {"site": wire.site, "rack": wire.rack}
    task = wire.yard.submit("inspect", actor=wire.actor, labels=labels, input=[1], queue="elsewhere")
    [shown_task] = wire.get(f"/rack/{wire.rack}/task").json()
    assert (shown_task["id"], shown_task["status"], shown_task["description"]) == (task.id, "Pending", "")
    wire.power()  # it is no operation, so it is in nobody's way


def test_what_ends_by_itself_elsewhere_is_shown_so_here(wire):
    labels = {"site": wire.site, "rack": wire.rack}
    yard, kept = wire.yard, wire.yard.actor
    made = [yard.submit("inspect", actor=wire.actor, labels=labels, max_failures=1) for _ in range(2)]
    yard.actor = wire.actor
    done, failed = yard.worker("inspect").claim(2)
    yard.settle(done, Done())
    yard.settle(failed, Failed("no\nluck"))
    yard.actor = kept

    statuses = {task["id"]: (task["status"], task["message"]) for task in wire.get("/task").json()}
    assert statuses == {made[0].id: ("Succeeded", "Succeeded"), made[1].id: ("Failed", "no")}


def test_tokens_that_ended_a_moment_ago_are_still_good_for_clocks_that_differ(wire, mint):
    token = mint(f"{ORG}:PROVIDER_ADMIN", exp=int(time.time()) - 1)
    assert wire.ask("GET", "/user/current", token=token).status_code == 200


# -- which rule is gone by -------------------------------------------------------------------------------------------------


def resolved(wire, **query):
    """Return the rule that a task goes by which names none."""
    id = wire.power("on", **query)
    wire.work()
    return wire.get(f"/task/{id}").json()["ruleId"]


def test_a_site_goes_by_its_default_rule_and_a_rack_by_its_own(wire):
    default, own = wire.rule(), wire.rule()
    site = {"siteId": wire.site}
    path = f"/rack/{wire.rack}/task/rule"
    assert resolved(wire) is None

    made = wire.ask("POST", f"/task/rule/{default['id']}/default", body=site)
    assert (made.status_code, made.json()["isDefault"]) == (200, True)
    assert resolved(wire) == default["id"]

    assert wire.ask("PUT", path, body={**site, "ruleId": own["id"]}).status_code == 204
    assert [rule["id"] for rule in wire.get(path).json()] == [own["id"]]
    assert resolved(wire) == own["id"]
    assert resolved(wire, rack="Rack-02") == default["id"]

    assert wire.ask("DELETE", f"{path}/{own['id']}", query=site).status_code == 204
    assert wire.get(path).json() == []
    assert resolved(wire) == default["id"]
    assert shown(wire.ask("DELETE", f"{path}/{own['id']}", query=site)) == (404, "Rule not found")


def test_rules_racks_and_sites_that_are_none_are_refused(wire, mint):
    rule, nobody, site = wire.rule()["id"], str(uuid.uuid4()), {"siteId": wire.site}
    path = f"/rack/{wire.rack}/task/rule"

    def put(path, **body):
        return shown(wire.ask("PUT", path, body=body))

    assert put(path, **site) == (400, "ruleId is required")
    assert put(path, ruleId=rule) == (400, "siteId is required")
    assert put(path, **site, ruleId="x") == (400, "ruleId must be a valid UUID")
    assert put(path, **site, ruleId=nobody) == (404, "Rule not found")
    assert put(f"/rack/{nobody}/task/rule", **site, ruleId=rule) == (404, "Rack not found")
    assert shown(wire.ask("POST", f"/task/rule/{nobody}/default", body=site)) == (404, "Rule not found")
    assert shown(wire.ask("POST", f"/task/rule/{rule}/default", body={})) == (400, "siteId is required")
    assert shown(wire.ask("DELETE", f"{path}/x", query=site))[0] == 400
    tenant = mint(f"{ORG}:TENANT_ADMIN", sub="t")
    assert shown(wire.ask("PUT", path, body={**site, "ruleId": rule}, token=tenant))[0] == 403
