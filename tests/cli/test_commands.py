"""Each command does what it says, and says it as people and as pipes need it."""

import json
import os
import pty
import re
import subprocess
import sys
import uuid
from contextlib import suppress

import pytest

from taskyard.cli import failing
from tests.served import PATIENCE_SECONDS, Served, environment, stop

ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


@pytest.fixture
def mark() -> str:
    """A name nobody else uses."""
    return f"t-{uuid.uuid4().hex}"


def submitted(served: Served, *args: str) -> str:
    ran = served.run("submit", *args)
    assert ran.code == 0, ran.err
    return ran.out.strip()


# -- tasks --------------------------------------------------------------------------------------------------------------------


def test_submit_prints_the_id_alone(served):
    ran = served.run("submit", "greet", "-i", "name=Ana")

    assert ID.fullmatch(ran.out.strip())
    assert (ran.code, ran.err) == (0, "")


def test_submit_says_all_a_task_can_be_told(served, mark):
    parent = submitted(served, "absent")
    ran = served.run(
        "submit", "absent", "--input", "-", "-i", "n=2", "-q", mark, "--target", "disk", "-p", "7", "-l", "a=b",
        "--task-key", mark, "--timeout", "1m30s", "--max-failures", "2", "--concurrency-key", mark, "--concurrency-limit", "3",
        "--weight", "2", "--parent", parent, "--after", parent, "--start-by", "in 1d", "--json",
        stdin='{"n": 1, "m": 1}',
    )  # fmt: skip

    task = ran.json()
    assert task["input"] == {"n": 2, "m": 1}
    assert task["labels"] == {"a": "b"}
    assert (task["queue"], task["target"], task["priority"], task["key"]) == (mark, "disk", 7, mark)
    assert (task["timeout"], task["max_failures"], task["weight"]) == (90.0, 2, 2)
    assert (task["concurrency_key"], task["concurrency_limit"]) == (mark, 3)
    assert (task["parent"], task["state"], task["reason"]) == (parent, "suspended", "blocked")


def test_submit_waits_for_the_output(served):
    ran = served.run("submit", "greet", "-i", "name=Bo", "--wait")

    assert (ran.code, ran.json()) == (0, "hello Bo")


def test_submit_that_waits_ends_with_one_when_the_task_fails(served):
    ran = served.run("submit", "fail", "-i", "message=out of paper", "--wait")

    assert ran.code == failing.TASK_FAILED
    assert ran.out == ""
    assert ran.err.endswith("failed: broken: out of paper\n")


def test_submit_waits_no_longer_than_told(served):
    ran = served.run("submit", "absent", "--wait-for", "100ms")

    assert ran.code == failing.TASK_FAILED
    assert re.fullmatch(r"error: task \S+ is still ready\n", ran.err)


def test_a_dry_run_submits_nothing(served, mark):
    ran = served.run("submit", "absent", "-l", f"mark={mark}", "--dry-run")

    assert (ran.code, ran.err) == (0, "the server would accept it\n")
    assert served.run("list", "-l", f"mark={mark}", "--json").json() == []


def test_what_the_server_refuses_ends_with_three_and_names_the_member(served):
    ran = served.run("submit", "greet", "-p", "1000000000")

    assert ran.code == failing.REFUSED
    assert re.fullmatch(r"error: /priority: .*\n", ran.err)


def test_list_shows_a_table_to_people_and_json_to_pipes(served, mark):
    ids = [submitted(served, "absent", "-l", f"mark={mark}") for _ in range(3)]

    table = served.run("list", "-l", f"mark={mark}").out
    assert ID.findall(table) == ids[::-1]
    assert table.startswith("ID")
    assert [task["id"] for task in served.run("list", "-l", f"mark={mark}", "--json").json()] == ids[::-1]
    assert served.run("list", "-l", f"mark={mark}", "--ids", "-n", "2").out.split() == ids[:0:-1]
    assert (
        served.run("list", "-l", f"mark={mark}", "--state", "failed", "--since", "1h").err
        == "no tasks match\n"
    )


def test_show_tells_all_there_is(served):
    id = submitted(served, "show")
    served.run("event", "send", f"go:{id}", "-i", "ok=true")
    served.run("watch", id)

    shown = served.run("show", id, "--logs").out

    for words in (
        r"^id +" + id,
        r"^state +succeeded",
        r"^output +3",
        r"preview +\d +\{\"size\": 3\}",
        r"measure +1 +3",
    ):
        assert re.search(words, shown, re.MULTILINE), words
    document = served.run("show", id, "--json").json()
    assert (document["state"], document["results"][0]["name"], document["steps"][0]["name"]) == (
        "succeeded",
        "preview",
        "measure",
    )


def test_show_of_a_task_nobody_knows_ends_with_three(served):
    ran = served.run("show", "nobody")

    assert ran.code == failing.REFUSED
    assert ran.err == "error: there is no task nobody\n"


def test_a_key_that_is_not_good_is_said_with_where_keys_come_from(served):
    ran = served.run("list", "--key", "nonsense")

    assert ran.code == failing.REFUSED
    assert "TASKYARD_KEY" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_watch_follows_to_the_end_and_says_how_it_ended(served):
    good, bad = submitted(served, "greet"), submitted(served, "fail")

    ran = served.run("watch", good, bad)

    assert ran.code == failing.TASK_FAILED
    assert [line.split()[:2] for line in ran.out.splitlines()] == [[good, "succeeded"], [bad, "failed"]]
    assert served.run("watch", good).code == 0


def test_watch_gives_pipes_a_line_for_every_change(served):
    watching = served.start("watch", submitted(served, "spin"), "--json")
    assert watching.stdout is not None
    for line in watching.stdout:
        task = json.loads(line)
        if task["message"] == "spinning" and task["cancel_requested_at"] is None:
            served.run("cancel", task["id"])

    assert task["state"] == "canceled"
    assert watching.wait(PATIENCE_SECONDS) == failing.TASK_FAILED
    stop(watching)


def test_watch_without_an_id_follows_everything(served):
    watching = served.start("watch", "--json", "--past", "--kind", "task.succeeded")
    assert watching.stdout is not None
    id = submitted(served, "greet")
    for line in watching.stdout:
        event = json.loads(line)
        assert event["kind"] == "task.succeeded"
        if event["subject"] == id:
            break
    watching.kill()
    stop(watching)


def test_explain_says_why_and_what_to_do(served):
    ran = served.run("explain", submitted(served, "absent"))

    assert ran.code == 0
    assert "worker" in ran.out
    assert served.run("explain", submitted(served, "absent"), "--json").json()["reasons"]


def test_cancel_and_retry_take_many_and_go_on_after_a_refusal(served):
    ids = [submitted(served, "absent") for _ in range(2)]

    ran = served.run("cancel", ids[0], "nobody", ids[1])
    assert ran.code == failing.REFUSED
    assert ran.out == f"{ids[0]} canceled\n{ids[1]} canceled\n"
    assert ran.err == "error: there is no task nobody\n"

    again = served.run("retry", *ids, "--json").lines()
    assert [task["retry_of"] for task in again] == ids


def test_run_now_starts_what_is_scheduled(served):
    id = submitted(served, "greet", "--run-at", "in 1d")
    assert served.run("run-now", id).code == 0
    assert served.run("watch", id).code == 0


# -- queues and schedules -----------------------------------------------------------------------------------------------------


def test_queues_are_made_set_paused_shown_and_deleted(served, mark):
    assert "5/1m" in served.run("queue", "create", mark, "--concurrency", "2", "--rate", "5/1m").out
    assert served.run("queue", "set", mark, "--no-limits", "--json").json()["rate"] is None
    assert "paused" in served.run("queue", "pause", mark).out
    id = submitted(served, "greet", "-q", mark)
    assert re.search(rf"^{mark} +machine +paused .* 1 ", served.run("queue", "list").out, re.MULTILINE)
    assert "paused" in served.run("explain", id).out
    assert "open" in served.run("queue", "resume", mark).out
    assert served.run("queue", "show", mark, "--json").json()["name"] == mark
    served.run("cancel", id)
    assert served.run("queue", "delete", mark, "--yes").code in (0, failing.REFUSED)


def test_schedules_are_made_triggered_shown_and_deleted(served, mark):
    made = served.run(
        "schedule",
        "create",
        mark,
        "greet",
        "--cron",
        "0 3 * * *",
        "--timezone",
        "Europe/Zurich",
        "-i",
        "name=night",
    )
    assert re.search(r"^next +20", made.out, re.MULTILINE)
    id = served.run("schedule", "trigger", mark).out.strip()
    assert served.run("watch", id).code == 0
    assert served.run("show", id, "--json").json()["output"] == "hello night"
    assert served.run("schedule", "pause", mark, "--json").json()["paused"]
    assert mark in served.run("schedule", "list").out
    assert served.run("schedule", "resume", mark).code == 0
    assert served.run("schedule", "show", mark, "--json").json()["firings"] is not None
    assert served.run("schedule", "delete", mark, "--yes").code == 0
    assert served.run("schedule", "show", mark).code == failing.REFUSED


def test_a_timing_that_cannot_be_is_refused_in_one_line(served, mark):
    ran = served.run("schedule", "create", mark, "greet", "--cron", "99 3 * * *")

    assert ran.code == failing.REFUSED
    assert len(ran.err.splitlines()) == 1


# -- people and keys ----------------------------------------------------------------------------------------------------------


def test_people_work_their_inbox(served, mark):
    served.run("queue", "create", mark, "--kind", "human")
    first, second = submitted(served, "approve", "-q", mark), submitted(served, "approve", "-q", mark)

    assert first in served.run("inbox", "list", mark).out
    assert served.run("inbox", "next", mark, "--json").json()["id"] == first
    assert served.run("inbox", "draft", first, "-i", "ok=null").code == 0
    assert served.run("inbox", "show", first).code == 0
    assert served.run("inbox", "complete", first, "-i", "ok=true", "--json").json()["output"] == {"ok": True}
    assert served.run("inbox", "claim", second, "--lease", "1h").code == 0
    assert served.run("inbox", "release", second, "--json").json()["state"] == "ready"
    served.run("inbox", "next", mark)
    assert served.run("inbox", "fail", second, "cannot read it", "--json").json()["state"] == "failed"
    assert served.run("inbox", "next", mark).err == f"nothing to do in {mark}\n"


def test_keys_are_made_listed_and_revoked(served, mark):
    secret = served.run("key", "create", mark, "--may", "tasks:read", "--expires", "in 1d").out.strip()
    assert served.run("list", TASKYARD_KEY=secret).code == 0
    assert served.run("submit", "greet", TASKYARD_KEY=secret).code == failing.REFUSED
    [key] = [key for key in served.run("key", "list", "--json").json() if key["name"] == mark]
    assert served.run("key", "revoke", key["id"]).code == 0
    assert served.run("list", TASKYARD_KEY=secret).code == failing.REFUSED
    assert "revoked" in served.run("key", "list").out


def test_users_are_made_and_set(served, mark):
    made = served.run("user", "create", mark, "--role", "member", TASKYARD_PASSWORD="correct horse battery")
    assert made.code == 0
    number = re.search(r"^user +(\d+)", made.out, re.MULTILINE)
    assert number
    assert "viewer" in served.run("user", "set", number[1], "--role", "viewer").out
    assert mark in served.run("user", "list").out


# -- the rest -----------------------------------------------------------------------------------------------------------------


def test_an_event_is_sent_once(served, mark):
    assert served.run("event", "send", mark).err == "sent\n"
    assert served.run("event", "send", mark, "--json").json() == {"sent": False}


def test_workers_are_listed_with_what_they_run(served):
    assert "default/greet" in served.run("workers").out


def test_the_doctor_says_what_waits_for_nobody_and_what_to_do(served, mark):
    submitted(served, "absent", "-q", mark)

    ran = served.run("doctor")

    assert ran.code == failing.UNAVAILABLE
    assert re.search(r"^ok +server", ran.out, re.MULTILINE)
    assert f"tasks of type absent wait in {mark}, and no worker runs them" in ran.out
    assert f"queue='{mark}'" in ran.out


def test_the_doctor_looks_at_the_database_too(served):
    checks = served.run("doctor", "--database", f"sqlite:///{served.folder}/taskyard.db", "--json").json()

    names = {check["name"]: check for check in checks}
    assert names["server"]["fine"]
    assert names["disk"]["fine"]


def test_a_terminal_sees_a_bar_that_moves(served):
    id = submitted(served, "show")
    ours, theirs = pty.openpty()
    watching = subprocess.Popen(
        [sys.executable, "-m", "taskyard", "watch", id],
        env=environment({"TASKYARD_URL": served.url, "TASKYARD_KEY": served.key, "TERM": "xterm-256color"}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    seen = ""
    with suppress(OSError):  # Linux says so when the other side has gone
        while piece := os.read(ours, 65536).decode(errors="replace"):
            seen += piece
            if "1/3" in seen:
                served.client().send_event(f"go:{id}")
    os.close(ours)

    assert watching.wait(PATIENCE_SECONDS) == 0
    assert "suspended" in seen
    assert "━" in seen
    assert id in seen.splitlines()[-1]


def test_version_says_which(served):
    assert served.run("version").out.startswith("taskyard ")
