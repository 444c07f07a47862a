"""What clients of Pulp v1 do, and what they are answered; the numbers are sections of the wire's description."""

import asyncio
import re
from datetime import timedelta

import pytest

from taskyard.core.errors import LeaseLost
from taskyard.core.hold import Hold, Report
from taskyard.core.outcome import Done, Failed
from taskyard.core.schedule import NewSchedule, Timing
from taskyard.core.task import NewTask, State

FIELDS = {
    "id", "job_id", "class_name", "method_name", "args", "state", "start_time", "finish_time", "scheduled_time", "scheduler",
    "result", "exception", "traceback", "progress", "snapshot_id",
}  # fmt: skip
SECOND = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def ask(wire, method, path, **named):
    return asyncio.run(wire.ask(method, path, **named))


def get(wire, path, **named):
    return asyncio.run(wire.get(path, **named))


def recurring(wire, name="cull_history", spec="P1D", **named):
    new = NewSchedule(name=name, timing=Timing.INTERVAL, spec=spec, template=NewTask(type=name), **named)
    return wire.yard.write(wire.yard.services.schedules.create, wire.yard.actor, new)


def fire(wire):
    wire.yard.write(wire.yard.services.schedules.fire_due, 10)


class TestTask:
    def test_a_waiting_task_shows_every_field_of_the_page(self, wire):
        task = wire.make("pulp.repo.Sync.sync", "repo", "5")

        shown = get(wire, f"/tasks/{task.id}/")

        assert shown.keys() == FIELDS
        assert shown["id"] == task.id
        assert (shown["class_name"], shown["method_name"]) == ("Sync", "sync")
        assert shown["args"] == ["repo", "5"]
        assert (shown["state"], shown["scheduler"]) == ("waiting", "immediate")
        assert SECOND.fullmatch(shown["scheduled_time"])
        assert shown["start_time"] is shown["finish_time"] is shown["snapshot_id"] is None

    def test_a_running_task_has_a_start_and_a_snapshot(self, wire):
        task = wire.run(wire.make("wait", "3"))

        shown = get(wire, f"/tasks/{task.id}/")

        assert shown["state"] == "running"
        assert SECOND.fullmatch(shown["start_time"])
        assert shown["snapshot_id"]

    def test_state_end_and_result_are_seen_together(self, wire):
        task = wire.run(wire.make("echo", "hello"))
        wire.yard.settle(task, Done("hello"))

        shown = get(wire, f"/tasks/{task.id}/")

        assert (shown["state"], shown["result"], shown["snapshot_id"]) == ("finished", "hello", None)
        assert SECOND.fullmatch(shown["finish_time"])
        assert shown["scheduled_time"] is None

    def test_a_failed_task_shows_exception_and_traceback_as_text(self, wire):
        task = wire.run(wire.make("fail", "boom"))
        wire.yard.settle(task, Failed("boom", final=True, traceback="Traceback …\nRuntimeError: boom"))

        shown = get(wire, f"/tasks/{task.id}/")

        assert (shown["state"], shown["exception"], shown["result"]) == ("error", "boom", None)
        assert isinstance(shown["traceback"], str)

    def test_what_was_raised_is_its_text_alone_as_clients_know_it(self, wire):
        task = wire.run(wire.make("fail"))
        traceback = "Traceback (most recent call last):\n  …\nValueError: no: not so\n"
        wire.yard.settle(task, Failed("ValueError: no: not so", final=True, traceback=traceback))

        assert get(wire, f"/tasks/{task.id}/")["exception"] == "no: not so"

    @pytest.mark.parametrize(
        ("told", "shown"),
        [
            ({"done": 2, "total": 5}, {"step": "half way", "items_total": 5, "items_left": 3, "details": {}}),
            (
                {"done": 2, "total": None},
                {"step": "half way", "items_total": None, "items_left": None, "details": {}},
            ),
            ({"done": {"step": "x"}, "total": None}, {"step": "x"}),
            ({"status": "running", "num_of_urls": 3}, {"status": "running", "num_of_urls": 3}),
            ([1, 2], None),
        ],
    )
    def test_progress_is_told_in_the_words_that_clients_read(self, wire, told, shown):
        task = wire.run(wire.make("sync"))
        wire.yard.write(wire.yard.services.work.report, [Report(Hold.of(task), told, "half way")])

        assert get(wire, f"/tasks/{task.id}/")["progress"] == shown

    def test_a_time_out_has_a_word_of_its_own(self, wire):
        task = wire.run(wire.make("wait", "9", max_failures=1))
        wire.yard.settle(task, Failed("took too long", code="timed_out"))

        assert get(wire, f"/tasks/{task.id}/")["state"] == "timed_out"

    def test_a_task_for_later_says_at(self, wire, clock):
        task = wire.make("echo", run_at=clock.now + timedelta(days=1))

        shown = get(wire, f"/tasks/{task.id}/")

        assert (shown["state"], shown["scheduler"]) == ("waiting", "at")
        assert shown["scheduled_time"] == "2026-03-02T12:00:00Z"

    def test_an_unknown_id_is_not_found_in_a_bare_string(self, wire):
        id = "7e419e4f-3719-11e1-9ea0-f0def14122c8"

        answer = ask(wire, "GET", f"/tasks/{id}/")

        assert (answer.status_code, answer.json()) == (404, f"Task not found: {id}")

    @pytest.mark.parametrize("root", ["", "/", "/v1", "//v1/"])
    def test_doubled_slashes_and_the_version_lead_to_the_same_place(self, wire, root):
        task = wire.make()

        assert [each["id"] for each in get(wire, f"{root}/tasks/")] == [task.id]

    @pytest.mark.parametrize(
        "path", ["/tasks", "/tasks/7E419E4F-3719-11E1-9EA0-F0DEF14122C8/", "/tasks/x/", "/nothing/"]
    )
    def test_what_is_no_path_is_json_all_the_same(self, wire, path):
        answer = ask(wire, "GET", path)

        assert (answer.status_code, answer.json()) == (404, "not found")
        assert answer.headers["content-type"] == "application/json"

    def test_a_wrong_method_names_the_right_ones(self, wire):
        answer = ask(wire, "PUT", "/tasks/")

        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET"
        assert isinstance(answer.json(), str)

    def test_head_answers_where_get_does(self, wire):
        assert ask(wire, "HEAD", "/tasks/").status_code == 200


class TestList:
    def ids(self, wire, query=""):
        return [each["id"] for each in get(wire, f"/tasks/{query}")]

    def test_words_are_united_and_narrowed_by_ids(self, wire):
        waiting, done, other = wire.make("a"), wire.make("b"), wire.make("c")
        wire.yard.settle(wire.run(done), Done())

        assert self.ids(wire) == [waiting.id, done.id, other.id]
        assert self.ids(wire, "?state=waiting") == [waiting.id, other.id]
        assert self.ids(wire, "?state=COMPLETE") == [done.id]
        assert self.ids(wire, "?state=incomplete&state=complete") == [waiting.id, done.id, other.id]
        assert self.ids(wire, f"?state=waiting&id={done.id}&id={other.id}") == [other.id]
        assert self.ids(wire, "?id=unknown") == []
        assert self.ids(wire, "?page=7&state=running") == []

    def test_a_poll_for_ids_finds_what_a_list_of_all_does(self, wire, clock):
        schedule = recurring(wire, "cull", "PT5M")
        old, done, waiting = wire.make("a"), wire.make("b"), wire.make("c")
        wire.yard.settle(wire.run(old), Done())
        runs = []
        for _ in range(3):
            clock.forward(minutes=25)
            fire(wire)
            runs += wire.yard.worker("cull").claim()
            wire.yard.settle(runs[-1], Done())
        wire.yard.settle(wire.run(done), Done())
        ids = [schedule.id, old.id, done.id, waiting.id]

        for query in ("", "state=archived", "state=current&state=archived", "state=complete&state=archived"):
            all_there_is = self.ids(wire, f"?{query}")
            for some in (ids, ids[:1], ids[1:], [runs[0].id]):
                asked = "&".join(f"id={id}" for id in some)
                assert self.ids(wire, f"?{query}&{asked}") == [id for id in all_there_is if id in some]

    @pytest.mark.parametrize("word", ["finished", "error", "sleeping", ""])
    def test_a_word_that_is_none_is_refused_by_name(self, wire, word):
        answer = ask(wire, "GET", f"/tasks/?state={word}")

        assert (answer.status_code, answer.json()) == (400, f"Unknown state: {word}")

    def test_what_ended_over_an_hour_ago_is_history_only(self, wire, clock):
        task = wire.run(wire.make())
        wire.yard.settle(task, Done())
        clock.forward(minutes=61)

        assert self.ids(wire) == []
        [record] = get(wire, "/tasks/?state=archived")
        assert record["id"] == task.id
        assert record["scheduler"] is None
        assert {"_id", "_ns", "kwargs", "consecutive_failures", "task_type", "task_string"} <= record.keys()
        assert get(wire, f"/tasks/{task.id}/")["state"] == "finished"

    def test_current_and_archived_shows_each_once(self, wire):
        task = wire.run(wire.make())
        wire.yard.settle(task, Done())

        assert self.ids(wire, f"?state=archived&state=current&id={task.id}") == [task.id]

    def test_another_organisations_tasks_are_not_there(self, wire):
        task = wire.yard.submit("noop", actor=wire.yard.other_organisation())

        assert self.ids(wire) == []
        assert ask(wire, "GET", f"/tasks/{task.id}/").status_code == 404


class TestRecurring:
    def test_a_recurring_task_keeps_one_id_and_its_runs_are_its_history(self, wire, clock):
        schedule = recurring(wire, starts_at=clock.now + timedelta(hours=1))
        shown = get(wire, f"/tasks/{schedule.id}/")
        assert (shown["state"], shown["scheduler"], shown["method_name"]) == (
            "waiting",
            "interval",
            "cull_history",
        )
        assert shown["scheduled_time"] == "2026-03-01T13:00:00Z"

        for _ in range(2):
            clock.now = wire.yard.read(wire.yard.services.schedules.get, wire.yard.actor, schedule.id).next_at
            fire(wire)
            [claimed] = wire.yard.worker("cull_history").claim()
            running = get(wire, f"/tasks/{schedule.id}/")
            assert (running["id"], running["state"]) == (schedule.id, "running")
            wire.yard.settle(claimed, Done())
            waiting = get(wire, f"/tasks/{schedule.id}/")
            assert waiting["state"] == "waiting"
            assert waiting["start_time"] is waiting["finish_time"] is waiting["result"] is None

        history = get(wire, f"/tasks/?state=archived&id={schedule.id}")
        assert [each["id"] for each in history] == [schedule.id, schedule.id]
        assert [each["id"] for each in get(wire, "/tasks/")] == [schedule.id]

    def test_canceling_one_that_waits_skips_its_next_run(self, wire, clock):
        schedule = recurring(wire, starts_at=clock.now + timedelta(hours=1))

        answer = ask(wire, "POST", f"/tasks/{schedule.id}/cancel/")

        assert answer.status_code == 202
        assert answer.json()["scheduled_time"] == "2026-03-02T13:00:00Z"

    def test_removing_one_ends_its_recurrence_and_lets_the_run_go_on(self, wire):
        schedule = recurring(wire)
        fire(wire)
        [claimed] = wire.yard.worker("cull_history").claim()

        removed = ask(wire, "DELETE", f"/tasks/{schedule.id}/")
        wire.yard.settle(claimed, Done())

        assert (removed.status_code, removed.json()["state"]) == (202, "running")
        shown = get(wire, f"/tasks/{schedule.id}/")
        assert (shown["state"], shown["scheduled_time"]) == ("finished", None)

    def test_one_that_is_removed_while_it_waits_leaves_history_only(self, wire, clock):
        schedule = recurring(wire, "cull", "PT5M")
        for _ in range(2):
            fire(wire)
            [claimed] = wire.yard.worker("cull").claim()
            wire.yard.settle(claimed, Done())
            clock.forward(minutes=5)

        assert ask(wire, "DELETE", f"/tasks/{schedule.id}/").json()["state"] == "waiting"

        assert get(wire, "/tasks/") == []
        assert [each["id"] for each in get(wire, "/tasks/?state=archived")] == [schedule.id] * 2
        shown = get(wire, f"/tasks/{schedule.id}/")
        assert (shown["state"], shown["scheduler"], shown["snapshot_id"]) == ("finished", None, None)
        assert ask(wire, "POST", f"/tasks/{schedule.id}/cancel/").status_code == 404


class TestCancelAndRemove:
    def test_a_waiting_task_is_canceled_at_once(self, wire):
        task = wire.make()

        answer = ask(wire, "POST", f"/tasks/{task.id}/cancel/", content=b"")

        assert (answer.status_code, answer.json()["state"]) == (202, "canceled")
        assert answer.json()["finish_time"]

    def test_a_running_task_is_asked_to_stop(self, wire):
        task = wire.run(wire.make())

        answer = ask(wire, "POST", f"/tasks/{task.id}/cancel/")

        assert (answer.status_code, answer.json()["state"]) == (202, "running")
        assert wire.yard.get(task).cancel_requested_at is not None

    def test_what_has_ended_stays_as_it_ended(self, wire):
        task = wire.run(wire.make())
        wire.yard.settle(task, Done(7))

        answer = ask(wire, "POST", f"/tasks/{task.id}/cancel/")

        assert (answer.status_code, answer.json()["state"], answer.json()["result"]) == (202, "finished", 7)

    @pytest.mark.parametrize(("method", "path"), [("POST", "cancel/"), ("DELETE", "")])
    def test_history_can_be_neither_canceled_nor_removed(self, wire, clock, method, path):
        task = wire.run(wire.make())
        wire.yard.settle(task, Done())
        clock.forward(hours=2)

        answer = ask(wire, method, f"/tasks/{task.id}/{path}")

        assert (answer.status_code, answer.json()) == (404, f"Task not found: {task.id}")

    def test_a_waiting_task_that_is_removed_is_gone_without_a_trace(self, wire):
        task = wire.make()

        answer = ask(wire, "DELETE", f"/tasks/{task.id}/")

        assert (answer.status_code, answer.json()["state"]) == (202, "waiting")
        assert ask(wire, "GET", f"/tasks/{task.id}/").status_code == 404
        assert get(wire, "/tasks/?state=archived") == []

    def test_an_ended_task_that_is_removed_is_history(self, wire):
        task = wire.run(wire.make())
        wire.yard.settle(task, Done())

        assert ask(wire, "DELETE", f"/tasks/{task.id}/").status_code == 202
        assert get(wire, "/tasks/") == []
        assert [each["id"] for each in get(wire, "/tasks/?state=archived")] == [task.id]


class TestSnapshots:
    def test_a_running_task_has_one_whose_strings_are_inert(self, wire):
        task = wire.run(wire.make("wait", "3"))

        shown = get(wire, f"/tasks/{task.id}/snapshot/")

        assert shown["id"] == task.id
        assert (shown["method_name"], shown["cancel_attempts"], shown["progress"]) == ("wait", 0, None)
        strings = (
            "callable",
            "args",
            "kwargs",
            "timeout",
            "schedule_threshold",
            "_progress_callback",
            "start_time",
        )
        for name in (*strings, "finish_time", "result", "exception", "traceback"):
            # Protocol 0, and no opcode that names code: GLOBAL is c, REDUCE is R, INST is i.
            assert isinstance(shown[name], str)
            assert not re.search(r"(^|\n)[ci]\w", shown[name])
        assert [each["id"] for each in get(wire, "/tasks/snapshots/")] == [task.id]

    def test_a_waiting_task_has_none(self, wire):
        task = wire.make()

        answer = ask(wire, "GET", f"/tasks/{task.id}/snapshot/")

        assert (answer.status_code, answer.json()) == (404, f"Snapshot for task not found: {task.id}")

    def test_without_its_snapshot_a_task_is_not_started_again(self, wire, clock):
        task = wire.run(wire.make())

        assert ask(wire, "DELETE", f"/tasks/{task.id}/snapshot/").status_code == 200
        assert ask(wire, "DELETE", f"/tasks/{task.id}/snapshot/").status_code == 404
        clock.forward(minutes=5)
        wire.yard.reap()

        assert get(wire, f"/tasks/{task.id}/")["state"] == "error"

    def test_with_its_snapshot_a_task_whose_worker_died_comes_back_under_its_id(self, wire, clock):
        task = wire.run(wire.make())
        clock.forward(minutes=5)
        wire.yard.reap()

        assert get(wire, f"/tasks/{task.id}/")["state"] == "waiting"
        with pytest.raises(LeaseLost):
            wire.yard.settle(task, Done("late"))
        wire.yard.settle(wire.run(task), Done("again"))
        assert get(wire, f"/tasks/{task.id}/")["result"] == "again"


class TestJobs:
    JOB = "0b7f8f6e-2d7b-4c3e-9d50-1c6a0f5a7d11"

    def test_a_job_is_the_tasks_that_share_its_id_history_included(self, wire, clock):
        first, second = (wire.make(each, labels={"job": self.JOB}) for each in ("a", "b"))
        wire.yard.settle(wire.run(first), Done())
        clock.forward(hours=2)

        shown = get(wire, f"/jobs/{self.JOB}/")

        assert shown["id"] == self.JOB
        assert [(each["id"], each["job_id"]) for each in shown["tasks"]] == [
            (first.id, self.JOB),
            (second.id, self.JOB),
        ]
        assert [len(job["tasks"]) for job in get(wire, "/jobs/")] == [1]

    def test_canceling_a_job_tells_what_was_canceled_and_what_had_ended(self, wire):
        first, second = (wire.make(each, labels={"job": self.JOB}) for each in ("a", "b"))
        wire.yard.settle(wire.run(first), Done())

        answer = ask(wire, "POST", f"/jobs/{self.JOB}/cancel/")

        assert answer.status_code == 202
        assert [each["id"] for each in answer.json()["cancelled"]] == [second.id]
        assert [each["id"] for each in answer.json()["completed"]] == [first.id]

    def test_an_unknown_job_is_not_found(self, wire):
        answer = ask(wire, "GET", f"/jobs/{self.JOB}/")

        assert (answer.status_code, answer.json()) == (404, f"job {self.JOB}, not-found")


class TestHistories:
    def test_synchronisations_that_are_over_are_listed_by_repository(self, wire, clock):
        made = [wire.make("repositories.RepoSync._sync", repo) for repo in ("fedora", "epel", "centos")]
        for task in [*made[:2], wire.make("echo", "fedora")]:
            wire.yard.settle(wire.run(task), Done())
            clock.forward(minutes=1)

        def args(query="", path="/histories/repository/syncs/"):
            return [each["args"] for each in get(wire, f"{path}{query}")]

        assert (
            args()
            == args(path="/histories/")
            == args(path="/histories/repository/")
            == [["epel"], ["fedora"]]
        )
        assert args("?repoid=fedora") == [["fedora"]]
        assert args("?repoid=fedora&repoid=epel&_union=repoid") == [["epel"], ["fedora"]]
        assert args("?repoid=fedora&repoid=epel") == args("?repoid=centos") == []


class TestWhoMay:
    @pytest.mark.parametrize(
        ("header", "words"),
        [
            ({}, "Authentication Required"),
            ({"Authorization": "Bearer x"}, "Authentication Required"),
            ({"Authorization": "Digest x"}, "Authentication Required"),
            ({"Authorization": "Basic !!!"}, "Invalid username or password"),
            ({"Authorization": "Basic YWRtaW46d3Jvbmc="}, "Invalid username or password"),
            ({"Authorization": "Basic bm9ib2R5Ong="}, "Invalid username or password"),
        ],
    )
    def test_strangers_are_turned_away_in_a_bare_string(self, wire, header, words):
        answer = ask(wire.as_(None), "GET", "/tasks/", headers=header)

        assert (answer.status_code, answer.json()) == (401, words)

    def test_what_apache_appended_to_the_header_does_no_harm(self, wire):
        token = "Basic YWRtaW46Y29ycmVjdCBob3JzZSBiYXR0ZXJ5, Basic"

        assert ask(wire, "GET", "/tasks/", headers={"Authorization": token}).status_code == 200

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("DELETE", "/tasks/{id}/"),
            ("GET", "/tasks/snapshots/"),
            ("GET", "/tasks/{id}/snapshot/"),
            ("POST", "/tasks/{id}/cancel/"),
        ],
    )
    def test_who_may_only_read_is_refused_with_401(self, wire, method, path):
        wire.user("reader", "viewer")
        task = wire.make()

        answer = ask(wire.as_("reader"), method, path.format(id=task.id))

        assert (answer.status_code, answer.json()) == (401, "Permission Denied")
        assert ask(wire.as_("reader"), "GET", f"/tasks/{task.id}/").status_code == 200

    def test_who_submitted_a_task_may_cancel_it(self, wire):
        member = wire.user("member", "member")
        task = wire.make(actor=member)

        answer = ask(wire.as_("member"), "POST", f"/tasks/{task.id}/cancel/")

        assert (answer.status_code, wire.yard.get(task).state) == (202, State.CANCELED)

    def test_an_unexpected_failure_is_a_string_that_the_client_can_split(self, wire, monkeypatch):
        monkeypatch.setattr("taskyard.dialects.pulp.render.task", lambda _: 1 / 0)

        answer = ask(wire, "GET", f"/tasks/{wire.make().id}/")

        assert answer.status_code == 500
        assert re.fullmatch(r"Traceback: withheld\nInternal error [\w-]+", answer.json())
