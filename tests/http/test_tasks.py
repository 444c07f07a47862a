"""Tasks over HTTP: submitted once, listed whole, watched without asking twice."""

import asyncio
from datetime import timedelta
from typing import ClassVar

import pytest

from taskyard.core.outcome import Done


def test_a_task_is_made_and_found_where_the_answer_says(wire):
    made = wire.ask("POST", "/tasks", {"type": "resize", "input": {"path": "a.png"}, "labels": {"user": "7"}})
    found = wire.ask("GET", made.headers["location"].removeprefix("/v1"))

    assert made.status_code == 201
    assert found.json() == made.json()
    assert found.json()["allowed_actions"] == ["cancel", "claim"]
    assert found.json()["created_at"] == "2026-03-01T12:00:00.000000Z"


class TestOnce:
    HEADERS: ClassVar = {"Idempotency-Key": "order-7"}

    def test_the_same_request_under_the_same_key_is_answered_as_it_was(self, wire):
        first = wire.ask("POST", "/tasks", {"type": "a"}, headers=self.HEADERS)
        again = wire.ask("POST", "/tasks", {"type": "a"}, headers=self.HEADERS)

        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["idempotency-replayed"] == "true"
        assert len(wire.ask("GET", "/tasks").json()["tasks"]) == 1

    def test_another_request_under_the_same_key_is_refused(self, wire):
        wire.ask("POST", "/tasks", {"type": "a"}, headers=self.HEADERS)
        answer = wire.ask("POST", "/tasks", {"type": "b"}, headers=self.HEADERS)

        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_mismatch")

    def test_a_refusal_is_not_kept(self, wire, yard):
        refused = wire.ask("POST", "/tasks", {"type": "a", "parent": "nobody"}, headers=self.HEADERS)
        accepted = wire.ask("POST", "/tasks", {"type": "a"}, headers=self.HEADERS)

        assert (refused.status_code, accepted.status_code) == (422, 201)

    def test_keys_of_two_organisations_are_two_keys(self, wire, yard):
        other = wire.as_(wire.key(organisation=yard.other_organisation().organisation))
        first = wire.ask("POST", "/tasks", {"type": "a"}, headers=self.HEADERS)
        second = other.ask("POST", "/tasks", {"type": "a"}, headers=self.HEADERS)

        assert first.json()["id"] != second.json()["id"]


class TestKey:
    @pytest.mark.parametrize(("on_conflict", "status"), [("reject", 409), ("return", 200), ("replace", 201)])
    def test_what_a_submit_does_when_the_key_is_taken(self, wire, on_conflict, status):
        first = wire.ask("POST", "/tasks", {"type": "a", "key": "k"}).json()
        second = wire.ask("POST", "/tasks", {"type": "a", "key": "k", "on_conflict": on_conflict})

        assert second.status_code == status
        if on_conflict == "reject":
            assert second.json()["existing"] == first["id"]
        else:
            assert (second.json()["id"] == first["id"]) == (on_conflict == "return")


def test_validating_changes_nothing(wire):
    answer = wire.ask("POST", "/tasks", {"type": "a", "validate_only": True})

    assert answer.status_code == 200
    assert wire.ask("GET", "/tasks").json()["tasks"] == []


def test_of_a_batch_each_is_answered_for_itself(wire):
    bodies = [{"type": "a"}, {"type": "b c"}, {"type": "d", "parent": "nobody"}, {"type": "e"}]

    results = wire.ask("POST", "/tasks:batch", {"tasks": bodies}).json()["results"]

    assert ["task" in each for each in results] == [True, False, False, True]
    assert results[1]["problem"]["errors"][0]["pointer"] == "/tasks/1/type"
    assert results[2]["problem"]["errors"][0]["pointer"] == "/tasks/2/parent"
    assert wire.ask("POST", "/tasks:batch", {"tasks": [{"type": "a"}] * 1001}).status_code == 422


def test_a_list_read_page_by_page_shows_each_task_once_while_others_come(wire, yard):
    wanted = [yard.submit(labels={"site": "x"}).id for _ in range(7)]
    seen, path = [], "/tasks?label.site=x&page_size=3"
    while path:
        page = wire.ask("GET", path)
        seen += [each["id"] for each in page.json()["tasks"]]
        yard.submit(labels={"site": "x"})
        token = page.json()["next_page_token"]
        assert (token is not None) == ("link" in page.headers)
        path = f"/tasks?label.site=x&page_size=3&page_token={token}" if token else None

    assert seen == wanted[::-1]


def test_a_page_token_belongs_to_its_filter(wire, yard):
    for _ in range(3):
        yard.submit(labels={"site": "x"})
    token = wire.ask("GET", "/tasks?label.site=x&page_size=1").json()["next_page_token"]

    answer = wire.ask("GET", f"/tasks?label.site=y&page_size=1&page_token={token}")

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_page_token")


def test_lists_are_lean_unless_they_are_asked(wire):
    wire.ask("POST", "/tasks", {"type": "a", "input": {"big": 1}})

    [lean] = wire.ask("GET", "/tasks").json()["tasks"]
    [full] = wire.ask("GET", "/tasks?expand=input,steps").json()["tasks"]

    assert "input" not in lean
    assert (full["input"], full["steps"]) == ({"big": 1}, [])


def test_labels_are_changed_only_if_the_task_is_as_it_was(wire):
    made = wire.ask("POST", "/tasks", {"type": "a"})
    path = made.headers["location"].removeprefix("/v1")

    changed = wire.ask("PATCH", path, {"labels": {"a": "1"}}, headers={"If-Match": made.headers["etag"]})
    refused = wire.ask("PATCH", path, {"labels": {"a": "2"}}, headers={"If-Match": made.headers["etag"]})

    assert (changed.status_code, refused.status_code) == (200, 412)
    assert wire.ask("GET", "/tasks?label.a=1").json()["tasks"][0]["labels"] == {"a": "1"}
    unchanged = wire.ask("GET", path, headers={"If-None-Match": changed.headers["etag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")


def test_a_submit_that_prefers_to_wait_is_answered_with_the_end(wire, yard):
    async def story(client, _backend):
        waiting = asyncio.create_task(
            wire.send(client, "POST", "/tasks", {"type": "resize"}, headers={"Prefer": "wait=30"})
        )
        worker = yard.worker()
        while not (claimed := await asyncio.to_thread(worker.claim)):
            await asyncio.sleep(0)
        await asyncio.to_thread(yard.settle, claimed[0], Done("small"))
        return await waiting

    answer = wire.together(story)

    assert (answer.status_code, answer.json()["output"]) == (200, "small")
    assert answer.headers["preference-applied"] == "wait=30"


def test_a_look_that_waits_is_answered_when_the_task_changes(wire, yard):
    task = yard.submit()

    async def story(client, _backend):
        first = await wire.send(client, "GET", f"/tasks/{task.id}")
        waiting = asyncio.create_task(
            wire.send(
                client, "GET", f"/tasks/{task.id}?wait=30", headers={"If-None-Match": first.headers["etag"]}
            )
        )
        await asyncio.to_thread(yard.worker().claim)
        return await waiting

    assert wire.together(story).json()["state"] == "running"


def test_why_a_task_does_not_run_is_told_with_what_clears_it(wire, yard):
    task = yard.submit()
    wire.ask("POST", "/queues/default:pause")

    told = wire.ask("GET", f"/tasks/{task.id}:explain").json()

    assert "queue_paused" in [each["code"] for each in told["reasons"]]
    [action] = [each["action"] for each in told["reasons"] if each["code"] == "queue_paused"]
    assert (action["method"], action["path"]) == ("POST", "/v1/queues/default:resume")
    assert wire.ask(action["method"], action["path"].removeprefix("/v1")).status_code == 200


class TestPeople:
    FORM: ClassVar = {"type": "object", "required": ["ok"], "properties": {"ok": {"type": "boolean"}}}

    def test_a_question_is_claimed_drafted_answered(self, wire, yard):
        wire.ask("POST", "/queues", {"name": "review", "kind": "human", "form": self.FORM})
        task = yard.submit("question", queue="review")

        claimed = wire.ask("POST", "/queues/review:next", {"lease": 600}).json()
        assert claimed["id"] == task.id
        assert wire.ask("POST", f"/tasks/{task.id}:draft", {"data": {"ok": None}}).status_code == 200
        assert wire.ask("GET", f"/tasks/{task.id}/draft").json()["data"] == {"ok": None}
        refused = wire.ask("POST", f"/tasks/{task.id}:complete", {"output": {"ok": "yes"}})
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/output/ok")
        done = wire.ask("POST", f"/tasks/{task.id}:complete", {"output": {"ok": True}}).json()
        assert (done["state"], done["output"]) == ("succeeded", {"ok": True})
        assert wire.ask("POST", "/queues/review:next", {}).status_code == 204


class TestWorkers:
    LANES: ClassVar = [{"queue": "default", "type": "resize"}]

    def test_a_whole_life_over_http(self, wire, yard, clock):
        task = yard.submit(input={"path": "a"})
        worker = wire.ask("POST", "/leases:register", {"name": "far", "lanes": self.LANES}).json()["worker"]
        asked = {"worker": worker, "lanes": self.LANES, "max": 10}
        [claimed] = wire.ask("POST", "/leases:acquire", asked).json()["tasks"]
        hold = {
            "id": claimed["id"],
            "number": claimed["number"],
            "claims": claimed["claims"],
            "worker": worker,
        }

        assert (claimed["id"], claimed["input"]) == (task.id, {"path": "a"})
        reported = wire.ask("POST", "/leases:report", {"reports": [{**hold, "progress": {"done": 1}}]})
        assert reported.json() == {"results": [{}]}
        step = {"hold": hold, "name": "load", "output": 3}
        assert wire.ask("POST", "/leases:step", step).json()["output"] == 3
        assert wire.ask("POST", "/leases:publish", {"hold": hold, "name": "thumb", "value": 1}).json()["id"]
        children = {"hold": hold, "step": "each", "tasks": [{"type": "child"}]}
        assert len(wire.ask("POST", "/leases:spawn", children).json()["tasks"]) == 1
        assert wire.ask("POST", "/leases:log", {"hold": hold, "text": "hello"}).status_code == 200
        wire.ask("POST", f"/tasks/{task.id}:cancel")
        told = wire.ask("POST", "/leases:extend", {"worker": worker}).json()
        assert told["stop"] == [{"id": task.id, "number": task.number, "claims": 1}]
        ending = {"settlements": [{**hold, "outcome": {"kind": "stopped"}}]}
        [settled] = wire.ask("POST", "/leases:settle", ending).json()["results"]
        assert settled["task"]["state"] == "canceled"
        [late] = wire.ask("POST", "/leases:settle", ending).json()["results"]
        assert (late["problem"]["status"], late["problem"]["code"]) == (409, "lease_lost")

    def test_who_lost_the_lease_is_refused_everywhere(self, wire, clock):
        worker = wire.ask(
            "POST", "/leases:register", {"name": "far", "lanes": self.LANES, "lease": 30}
        ).json()["worker"]
        clock.forward(seconds=31)

        for path, body in (
            ("/leases:acquire", {"worker": worker, "lanes": self.LANES}),
            ("/leases:extend", {"worker": worker}),
        ):
            answer = wire.ask("POST", path, body)
            assert (answer.status_code, answer.json()["code"]) == (409, "lease_lost")

    def test_a_claim_that_waits_is_answered_when_work_comes(self, wire, yard):
        worker = wire.ask("POST", "/leases:register", {"name": "far", "lanes": self.LANES}).json()["worker"]

        async def story(client, _backend):
            asked = {"worker": worker, "lanes": self.LANES, "wait": 30}
            waiting = asyncio.create_task(wire.send(client, "POST", "/leases:acquire", asked))
            await asyncio.to_thread(yard.submit)
            return await waiting

        assert len(wire.together(story).json()["tasks"]) == 1


class TestFeed:
    def test_pages_follow_one_another_without_a_gap(self, wire, yard):
        for _ in range(5):
            yard.submit()
        seen, after = [], "0-0"
        while True:
            page = wire.ask("GET", f"/events?after={after}&page_size=2").json()
            if not page["events"]:
                break
            seen += [each["id"] for each in page["events"]]
            after = page["next"]

        everything = wire.ask("GET", "/events?after=0-0&page_size=1000").json()["events"]
        assert seen == [each["id"] for each in everything]

    def test_an_event_is_sent_once(self, wire):
        assert wire.ask("POST", "/events:send", {"name": "paid", "payload": 1}).json() == {"sent": True}
        assert wire.ask("POST", "/events:send", {"name": "paid", "payload": 2}).json() == {"sent": False}

    def test_a_cursor_that_is_none_is_refused(self, wire):
        assert wire.ask("GET", "/events?after=yesterday").json()["code"] == "bad_cursor"


def test_keys_are_shown_once_and_end_at_once(wire):
    made = wire.ask("POST", "/keys", {"name": "ci", "permissions": ["tasks:read"]}).json()
    assert made["secret"].startswith("ty_")
    assert "secret" not in wire.ask("GET", "/keys").text.replace("secrets", "")

    assert wire.as_(made["secret"]).ask("GET", "/tasks").status_code == 200
    assert wire.ask("DELETE", f"/keys/{made['id']}").status_code == 204
    assert wire.as_(made["secret"]).ask("GET", "/tasks").status_code == 401


def test_schedules_have_a_whole_life(wire, clock):
    body = {
        "name": "nightly",
        "timing": "cron",
        "spec": "30 2 * * *",
        "task": {"type": "report", "timeout": 60},
    }
    made = wire.ask("POST", "/schedules", body)
    assert (made.status_code, made.json()["next_at"]) == (201, "2026-03-02T02:30:00.000000Z")
    assert made.json()["task"] == {"type": "report", "queue": "default", "timeout": 60.0}
    assert wire.ask("POST", "/schedules", body).status_code == 409
    assert (
        wire.ask("PATCH", "/schedules/nightly", {"spec": "0 3 * * *"})
        .json()["next_at"]
        .endswith("T03:00:00.000000Z")
    )
    assert wire.ask("POST", "/schedules/nightly:pause").json()["paused"] is True
    assert wire.ask("POST", "/schedules/nightly:trigger").json()["type"] == "report"
    assert wire.ask("GET", "/schedules/nightly/firings").json()["firings"] == []
    assert wire.ask("DELETE", "/schedules/nightly").status_code == 204
    clock.now += timedelta(days=3)
    bad = wire.ask("POST", "/schedules", {**body, "spec": "61 * * * *"})
    assert (bad.status_code, bad.json()["errors"][0]["pointer"]) == (422, "/spec")
