"""
Exchanges of this wire, as a client and the server it knows have them: what is sent, what comes back.

Answers are matched in part: a member that is not named may be anything. ``ABSENT`` must not be there; functions judge.
"""

import json
import time
import uuid

import pytest

from tests.dialects.matching import (
    ABSENT,
    each,
    filled,
    is_object_or_null,
    is_text,
    is_time,
    is_uuid,
    is_uuid_or_null,
    is_whole,
    match,
    one_of,
)


def refusal(message=is_text, data=is_object_or_null):
    return {"source": "nico", "message": message, "data": data}


#: The steps of the rule that the exchanges about rules are about.
STEP = {"componentType": "Compute", "stage": 1, "mainOperation": {"name": "PowerControl"}}
RULE = {
    "siteId": "{site}",
    "name": "Custom power on",
    "description": "d",
    "operationType": "PowerControl",
    "operationCode": "power_on",
    "ruleDefinition": {"version": "v1", "steps": [STEP]},
}
RUN = {
    "siteId": "{site}",
    "name": "Rollout",
    "options": {"maxConcurrentTargets": 1, "phasePolicy": {"equal": {"phaseCount": 1}, "autoAdvance": False}},
    "operation": {"firmware": {"version": "25.03.1"}},
}
A_RUN = {
    "name": is_text,
    "operationType": "FirmwareControl",
    "totalPhases": is_whole,
    "created": is_time,
    "updated": is_time,
}
NO_ROLE = "User does not have Provider Admin role with org"
BAD_POWER = "Failed to validate power control request data"
BAD_FIRMWARE = "Failed to validate firmware update request data"
FIRST_PAGE = {"pageNumber": 1, "pageSize": 20, "total": is_whole, "orderBy": None}
IDS = {"taskIds": each(is_uuid, 1)}
ONE_ID = {"taskIds": [is_uuid]}
DONE = {"status": "completed", "startedAt": is_time, "finishedAt": is_time, "error": ABSENT}
SITE = {"siteId": "{site}"}
AT_ONCE = {"siteId": "{site}", "overrideReadinessCheck": True}

# number, what must be there before, method, path, {query, body, token …}, status, answer, pages
EXCHANGES = [
    (1, "", "GET", "/user/current", {}, 200, {
        "id": is_uuid, "email": "ana@example.com", "firstName": "Ana", "lastName": "Ruiz", "created": is_time, "updated": is_time,
    }),
    (2, "", "GET", "/user/current", {"token": None}, 401, refusal("Request is missing authorization header", None)),
    (3, "", "GET", "/user/current", {"token": "{expired}"}, 401, refusal("Authorization token in request has expired", None)),
    (5, "finished", "GET", "/rack/task/{task}", {"query": SITE}, 200, {
        "id": "{task}", "status": "Succeeded", "description": "API power on Tray", "message": "Succeeded", "ruleId": is_uuid,
        "started": is_time, "finished": is_time, "created": is_time, "updated": is_time,
        "report": {"version": 1, "error": ABSENT, "stages": [{"number": 1, **DONE, "steps": [{
            "componentType": "Compute", "totalComponents": 1, "completedComponents": ABSENT, "failedComponents": ABSENT, **DONE,
        }]}]},
    }),
    (6, "running", "GET", "/task/{task}", {"query": SITE}, 200, {
        "id": "{task}", "status": "Running", "description": "API power on Tray", "message": "Running", "ruleId": is_uuid_or_null,
        "started": is_time, "finished": ABSENT, "created": is_time, "updated": is_time,
    }),
    (8, "", "GET", "/task/{random}", {"query": SITE}, 404, refusal("Task not found", None)),
    (10, "", "GET", "/task/{random}", {}, 400, refusal("siteId query parameter is required", None)),
    (12, "", "GET", "/task/{random}", {"query": {"siteId": "abc"}}, 400,
     refusal("Failed to validate Site specified in request: invalid ID", None)),
    (14, "", "GET", "/task/{random}", {"query": {"siteId": "{no_flow}"}}, 412,
     refusal("Site does not have NICo Flow enabled", None)),
    (15, "", "GET", "/task/{random}", {"query": {"siteId": "{foreign}"}}, 403,
     refusal("Site specified in request doesn't belong to current org's Provider", None)),
    (16, "", "GET", "/task/{random}", {"query": SITE, "token": "{tenant}"}, 403, refusal(NO_ROLE, None)),
    (18, "running", "POST", "/rack/task/{task}/cancel", {"body": SITE}, 202, {"id": "{task}", "status": "Terminated"}),
    (19, "canceled", "POST", "/task/{task}/cancel", {"body": SITE}, 202,
     {"id": "{task}", "status": "Terminated", "message": "Cancelled by user"}),
    (20, "finished", "POST", "/task/{task}/cancel", {"body": SITE}, 409, refusal()),
    (21, "", "POST", "/task/{random}/cancel", {"body": {}}, 400, refusal("Failed to validate cancel task request data")),
    (22, "", "POST", "/task/{random}/cancel", {"body": {"siteId": "{random}"}}, 400,
     refusal("Site specified in request does not exist", None)),
    (23, "", "POST", "/task/not-a-uuid/cancel", {"body": SITE}, 400, refusal("Invalid Task ID specified in URL", None)),
    (24, "", "POST", "/task/{random}/cancel", {"body": SITE, "token": "{tenant}"}, 403, refusal(NO_ROLE, None)),
    (25, "", "POST", "/task/{random}/cancel", {"body": SITE}, 404, refusal("Task not found")),
    (27, "running", "GET", "/rack/{rack}/task", {"query": {**SITE, "activeOnly": "true"}}, 200,
     each({"status": one_of("Pending", "Waiting", "Running")}, 1), FIRST_PAGE),
    (28, "finished", "GET", "/rack/{rack}/task", {"query": {**SITE, "pageNumber": "1", "pageSize": "1"}}, 200, [{
        "id": is_uuid, "status": is_text, "description": is_text, "message": is_text, "ruleId": is_uuid_or_null,
        "created": is_time, "updated": is_time, "report": ABSENT,
    }], {**FIRST_PAGE, "pageSize": 1}),
    (32, "finished", "GET", "/tray/{tray}/task", {"query": {**SITE, "includeReport": "true"}}, 200,
     each({"id": is_uuid, "status": is_text, "report": {"version": 1}}, 1), FIRST_PAGE),
    (33, "", "GET", "/tray/not-a-uuid/task", {"query": SITE}, 400, refusal("Invalid Tray ID specified in URL", None)),
    (34, "", "PATCH", "/rack/{rack}/power", {"body": {**AT_ONCE, "state": "on"}}, 200, IDS),
    (35, "", "PATCH", "/rack/{rack}/power", {"body": {**AT_ONCE, "state": "off"}}, 200, IDS),
    (37, "", "PATCH", "/rack/{rack}/power", {"body": {**AT_ONCE, "state": "forceoff"}}, 200, IDS),
    (38, "", "PATCH", "/rack/{rack}/power", {"body": {**AT_ONCE, "state": "forcecycle"}}, 200, IDS),
    (39, "", "PATCH", "/rack/{rack}/power", {"body": {**SITE, "state": "explode"}}, 400, refusal(BAD_POWER, {"state": is_text})),
    (40, "", "PATCH", "/rack/{rack}/power", {"body": {"state": "on"}}, 400, refusal(BAD_POWER, {"siteId": is_text})),
    (41, "", "PATCH", "/rack/{rack}/power", {"body": {**SITE, "state": "on", "ruleId": "nope"}}, 400,
     refusal(BAD_POWER, {"ruleId": is_text})),
    (43, "running", "PATCH", "/rack/{rack}/power", {"body": {**AT_ONCE, "state": "on"}}, 409, refusal()),
    (44, "", "PATCH", "/rack/power", {"body": {**AT_ONCE, "state": "on", "filter": {"names": ["Rack-01"]}}}, 200, ONE_ID),
    (47, "", "PATCH", "/rack/{rack}/firmware",
     {"body": {**AT_ONCE, "version": "24.11.0", "authenticationData": {"shared": "token"}}}, 200, IDS),
    (48, "", "PATCH", "/rack/{rack}/firmware", {"body": AT_ONCE}, 200, IDS),
    (49, "", "PATCH", "/rack/{rack}/firmware",
     {"body": {**SITE, "version": "1", "authenticationData": {"shared": "a", "perComponent": {"compute": "b"}}}}, 400,
     refusal(BAD_FIRMWARE)),
    (50, "", "POST", "/rack/{rack}/bringup", {"body": {**AT_ONCE, "description": "First light of this rack"}}, 200, ONE_ID),
    (52, "", "PATCH", "/tray/{tray}/power", {"body": {**AT_ONCE, "state": "on"}}, 200, ONE_ID),
    (55, "running", "PATCH", "/tray/{tray}/power", {"body": {**AT_ONCE, "state": "on"}}, 409, refusal()),
    (56, "", "PATCH", "/tray/power", {"body": {**AT_ONCE, "state": "on", "filter": {"rackId": "{rack}"}}}, 200, ONE_ID),
    (57, "", "PATCH", "/tray/power", {"body": {**SITE, "state": "on", "filter": {"rackId": "{rack}", "rackName": "x"}}}, 400,
     refusal("Failed to validate request data")),
    (58, "", "PATCH", "/tray/power", {"body": {**AT_ONCE, "state": "on", "filter": {"rackId": "{rack}", "slotId": 9999}}}, 200,
     {"taskIds": []}),
    (60, "", "PATCH", "/tray/{tray}/firmware", {"body": {**SITE, "targets": ["bmc"]}}, 400, refusal(BAD_FIRMWARE)),
    (63, "", "POST", "/task/rule", {"body": {**RULE, "operationType": "Nope"}}, 400, refusal(data=None)),
    (64, "", "POST", "/task/rule", {"body": {**RULE, "ruleDefinition": {"version": "v1", "steps": [STEP, STEP]}}}, 400, refusal()),
    (65, "", "POST", "/task/rule", {"body": {**RULE, "siteId": "{no_flow}"}}, 412,
     refusal("Site does not have NICo Flow enabled", None)),
    (66, "", "POST", "/task/rule", {"body": RULE, "token": "{tenant}"}, 403, refusal(NO_ROLE, None)),
    (67, "rule", "GET", "/task/rule/{rule}", {"query": SITE}, 200, {
        "id": "{rule}", "name": is_text, "operationType": "PowerControl", "operationCode": is_text,
        "ruleDefinition": {"version": "v1"}, "isDefault": False, "created": is_time, "updated": is_time,
    }),
    (70, "", "GET", "/task/rule", {"query": {**SITE, "operationType": "Nope"}}, 400, refusal()),
    (71, "rule", "PATCH", "/task/rule/{rule}", {"body": {**SITE, "name": "renamed"}}, 204, None),
    (72, "rule", "PATCH", "/task/rule/{rule}", {"body": SITE}, 400,
     refusal("at least one of name, description, ruleDefinition must be provided", None)),
    (73, "", "PATCH", "/task/rule/{random}", {"body": {**SITE, "name": "x"}}, 404, refusal("Rule not found")),
    (74, "rule", "DELETE", "/task/rule/{rule}", {"query": SITE}, 204, None),
    (75, "", "DELETE", "/task/rule/not-a-uuid", {"query": SITE}, 400, refusal("Invalid Rule ID specified in URL")),
    (76, "", "POST", "/task/run", {"body": RUN}, 201, {**A_RUN, "id": is_uuid, "status": "Pending", "statusReason": "None"}),
    (77, "", "POST", "/task/run", {"body": {**RUN, "operation": {}}}, 400, refusal()),
    (79, "run", "POST", "/task/run/{run}/pause", {"body": SITE}, 202,
     {**A_RUN, "id": "{run}", "status": "Paused", "statusReason": "OperatorPaused"}),
    (80, "run", "POST", "/task/run/{run}/cancel", {"body": {**SITE, "reason": "changed plan"}}, 202,
     {**A_RUN, "id": "{run}", "status": "Cancelled", "statusReason": is_text}),
    (82, "", "GET", "/rack", {"query": SITE}, 200, each({"id": is_uuid, "name": is_text, "nvLinkDomainIds": each(is_uuid)}, 1), FIRST_PAGE),
    (83, "", "GET", "/tray", {"query": {**SITE, "rackId": "{rack}"}}, 200,
     each({"id": is_uuid, "type": one_of("Compute", "NVSwitch", "PowerShelf"), "rackId": "{rack}"}, 1), FIRST_PAGE),
    (84, "", "GET", "/task/{random}", {"query": SITE, "token": "{newcomer}", "org": "newcomers"}, 400,
     refusal("Failed to retrieve Infrastructure Provider for org", None)),
]  # fmt: skip


def names_for(wire, before):
    names = {
        "site": wire.site,
        "no_flow": wire.no_flow,
        "foreign": wire.foreign,
        "rack": wire.rack,
        "tray": wire.tray,
        "random": str(uuid.uuid4()),
        "tenant": wire.mint("acme-inc:FORGE_TENANT_ADMIN", sub="tenant"),
        "expired": wire.mint("acme-inc:FORGE_PROVIDER_ADMIN", exp=int(time.time()) - 60),
        "newcomer": wire.mint("newcomers:PROVIDER_ADMIN", sub="newcomer"),
    }
    if before == "finished":
        names["task"] = wire.finished()
    elif before == "running":
        names["task"] = wire.running()
    elif before == "canceled":
        names["task"] = wire.running()
        wire.ask("POST", f"/task/{names['task']}/cancel", body={"siteId": wire.site})
    elif before == "rule":
        names["rule"] = wire.rule()["id"]
    elif before == "run":
        names["run"] = wire.ask("POST", "/task/run", body=filled(RUN, names)).json()["id"]
    return names


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: f"{exchange[0]:03}")
def test_the_wire_answers_as_its_clients_know_it(wire, exchange):
    _, before, method, path, request, status, answer, *pages = exchange
    names = names_for(wire, before)

    response = wire.ask(method, filled(path, names), **filled(request, names))

    assert response.status_code == status, response.text
    if status == 204:
        assert response.content == b""
        return
    assert response.headers["content-type"] == "application/json"
    pattern = filled(answer, names) if not callable(answer) else answer
    if exchange[0] == 83:
        assert {tray["rackId"] for tray in response.json()} == {wire.rack}
    else:
        match(pattern, response.json())
    for about in pages:
        match(about, json.loads(response.headers["x-pagination"]))
