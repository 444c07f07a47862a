"""
The guards of the engine, and for each the mutant without it.

A mutant is an exact change of text, so it tells what the guard is. The tests named with it must fail under it, while the fair
weather of ``test_fair_weather.py`` still holds: it is a guard that is gone, not the engine.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Edit:
    """In ``file``, below ``src/taskyard``, ``old`` occurs once and becomes ``new``."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Guard:
    """What ``name`` says holds because of the text that ``edits`` take away; ``tests``, below ``tests``, fail without it."""

    area: str
    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]

    @property
    def on_postgres(self) -> bool:
        """Moves meet at the same moment only there; what SQLite shows as well it shows faster."""
        return any(
            test.startswith(("store/test_two_processes", "store/test_feed_order", "store/test_postgres"))
            for test in self.tests
        )


def guard(area: str, name: str, file: str, old: str, new: str, *tests: str) -> Guard:
    return Guard(area, name, (Edit(file, old, new),), tests)


WORK_SQL: Final = "store/sql/work.sql"
TASKS_SQL: Final = "store/sql/tasks.sql"
WORKERS_SQL: Final = "store/sql/workers.sql"
EVENTS_SQL: Final = "store/sql/events.sql"
SETTLING: Final = "service/settling.py"
REPORTS: Final = "service/reports.py"
HOLDS: Final = "service/holds.py"
CLAIMS: Final = "service/claims.py"
TASKS: Final = "service/tasks.py"
FLOW: Final = "service/flow.py"
SETTLE_TESTS: Final = "service/test_settle.py::"
TENANCY: Final = "service/test_tenancy.py::"
TWO: Final = "store/test_two_processes.py::"

THE_FENCE: Final = (
    guard(
        "fence",
        "an ending names the number of its claim",
        WORK_SQL,
        "tasks.number = given.number AND tasks.claims = given.claims AND tasks.holder = given.holder AND tasks.state",
        "tasks.number = given.number AND tasks.holder = given.holder AND tasks.state",
        SETTLE_TESTS + "test_a_stale_attempt_is_refused_while_a_newer_one_runs",
    ),
    guard(
        "fence",
        "an ending names its holder",
        WORK_SQL,
        "tasks.claims = given.claims AND tasks.holder = given.holder AND tasks.state = 'running'",
        "tasks.claims = given.claims AND tasks.state = 'running'",
        SETTLE_TESTS + "test_only_the_holder_settles",
    ),
    guard(
        "fence",
        "an ending leaves only what runs",
        WORK_SQL,
        "AND tasks.holder = given.holder AND tasks.state = 'running'",
        "AND tasks.holder = given.holder",
        "architecture/test_sql_obeys_the_state_machine.py",
    ),
    guard(
        "fence",
        "a claim has a number of its own",
        WORK_SQL,
        "SET    state = 'running', reason = NULL, claims = claims + 1, holder = :holder, lease_until = :lease_until,\n"
        "       started_at = COALESCE(started_at, {at::now}), attempted_at = {at::now}, updated_at = {at::now}\n"
        "WHERE  number {any_picked}",
        "SET    state = 'running', reason = NULL, claims = 1, holder = :holder, lease_until = :lease_until,\n"
        "       started_at = COALESCE(started_at, {at::now}), attempted_at = {at::now}, updated_at = {at::now}\n"
        "WHERE  number {any_picked}",
        SETTLE_TESTS + "test_a_stale_attempt_is_refused_while_a_newer_one_runs",
    ),
    guard(
        "fence",
        "of several endings of one task the right one is taken",
        SETTLING,
        "if (hold.organisation, hold.holder) in dead or not stands or hold.number in endings:",
        "if (hold.organisation, hold.holder) in dead or hold.number in endings:",
        SETTLE_TESTS + "test_of_two_attempts_of_one_worker_in_one_batch_the_right_one_is_accepted",
    ),
    guard(
        "fence",
        "an attempt that is settled twice in one batch is settled once",
        SETTLING,
        "in dead or not stands or hold.number in endings:",
        "in dead or not stands:",
        SETTLE_TESTS + "test_of_two_settlements_of_one_attempt_in_one_batch_exactly_one_is_accepted",
    ),
    guard(
        "fence",
        "steps, results and logs are written by this very attempt",
        WORK_SQL,
        "WHERE  number = :number AND claims = :claims AND holder = :holder AND state = 'running' AND +organisation = :organisation\n"
        "{for_update};",
        "WHERE  number = :number AND holder = :holder AND state = 'running' AND +organisation = :organisation\n"
        "{for_update};",
        SETTLE_TESTS + "test_a_worker_writes_nothing_in_the_name_of_its_own_earlier_attempt",
    ),
    guard(
        "fence",
        "the report of a plan is written by this very attempt",
        TASKS_SQL,
        "WHERE  number = :number AND claims = :claims AND holder = :holder AND state = 'running' AND +organisation",
        "WHERE  number = :number AND state = 'running' AND +organisation",
        SETTLE_TESTS + "test_the_report_of_a_plan_is_written_by_its_holder_only",
    ),
    guard(
        "fence",
        "progress is written by this very attempt",
        TASKS_SQL,
        "tasks.number = given.number AND tasks.claims = given.claims AND tasks.holder = given.holder",
        "tasks.number = given.number AND tasks.holder = given.holder",
        SETTLE_TESTS + "test_a_worker_writes_nothing_in_the_name_of_its_own_earlier_attempt",
        SETTLE_TESTS + "test_reports_of_a_stale_attempt_are_refused_in_the_same_batch_too",
    ),
    guard(
        "fence",
        "a person answers only what they hold",
        "service/inbox.py",
        "if task.holder != actor.identity or claims not in (None, task.claims):",
        "if claims not in (None, task.claims):",
        "service/test_inbox.py::test_only_the_holder_of_this_very_attempt_drafts_extends_and_settles",
    ),
    guard(
        "fence",
        "a person answers only the attempt they saw",
        "service/inbox.py",
        "if task.holder != actor.identity or claims not in (None, task.claims):",
        "if task.holder != actor.identity:",
        "service/test_inbox.py::test_only_the_holder_of_this_very_attempt_drafts_extends_and_settles",
    ),
)

LEASES: Final = (
    guard(
        "lease",
        "a worker whose lease ran out settles nothing, reaped or not",
        SETTLING,
        "if (hold.organisation, hold.holder) in dead or not stands",
        "if not stands",
        SETTLE_TESTS + "test_a_worker_whose_lease_has_run_out_is_refused_even_before_the_reaper_came_by",
    ),
    guard(
        "lease",
        "a worker lives only as long as its lease",
        WORKERS_SQL,
        "AND state IN ('active', 'draining') AND lease_until >= {at::now} {for_share}",
        "AND state IN ('active', 'draining') {for_share}",
        SETTLE_TESTS + "test_a_worker_whose_lease_has_run_out_is_refused_even_before_the_reaper_came_by",
    ),
    guard(
        "lease",
        "a dead worker is given nothing",
        CLAIMS,
        "if not lives(records, actor.organisation, worker):",
        "if False:",
        "service/test_claim.py::test_a_dead_worker_is_given_nothing",
    ),
    guard(
        "lease",
        "a lease that ran out is not renewed",
        WORKERS_SQL,
        "WHERE  id = :id AND organisation = :organisation AND lease_until >= :now AND state IN ('active', 'draining')\nRETURNING id;",
        "WHERE  id = :id AND organisation = :organisation AND state IN ('active', 'draining')\nRETURNING id;",
        "service/test_claim.py::test_a_lease_that_has_run_out_is_not_renewed",
    ),
    guard(
        "lease",
        "who was reaped does not live again",
        WORKERS_SQL,
        "AND lease_until >= :now AND state IN ('active', 'draining')\nRETURNING id;",
        "AND lease_until >= :now\nRETURNING id;",
        "service/test_claim.py::test_a_worker_that_has_ended_stays_so_whatever_the_clock_says",
    ),
    guard(
        "lease",
        "nothing is taken from who lives, however long it runs",
        WORKERS_SQL,
        "WHERE state IN ('active', 'draining') AND lease_until < :now\n",
        "WHERE state IN ('active', 'draining')\n",
        SETTLE_TESTS + "test_the_time_a_task_takes_is_never_held_against_it",
    ),
    guard(
        "lease",
        "a dead worker cannot leave, so that its tasks are found",
        WORKERS_SQL,
        "AND lease_until >= :now AND state IN ('active', 'draining') {for_update};",
        "AND state IN ('active', 'draining') {for_update};",
        "service/test_claim.py::test_a_worker_that_is_dead_cannot_leave_so_that_the_reaper_finds_what_it_held",
    ),
    guard(
        "lease",
        "a dead worker's row stays as long as it is said to hold something",
        WORKERS_SQL,
        "\nAND NOT EXISTS (SELECT 1 FROM tasks WHERE (tasks.state || '') = 'running' AND tasks.holder = 'worker:' || workers.id);",
        ";",
        "loops/test_loops_server.py::test_a_worker_that_is_said_to_hold_something_is_not_forgotten",
    ),
    guard(
        "lease",
        "a person's lease that ran out is not extended",
        WORK_SQL,
        "AND state = 'running' AND lease_until >= :now\n",
        "AND state = 'running'\n",
        "service/test_claim.py::test_a_person_keeps_a_lease_by_extending_it_until_it_has_run_out",
    ),
    guard(
        "lease",
        "what a person holds in time is not taken away",
        WORK_SQL,
        "AND lease_until IS NOT NULL AND lease_until < :now\n",
        "AND lease_until IS NOT NULL\n",
        "service/test_claim.py::test_what_a_person_holds_in_time_is_not_taken_away",
    ),
    guard(
        "lease",
        "a person who is late is refused before the reaper came by",
        HOLDS,
        "        and not is_overdue(attempt, now)\n",
        "",
        "service/test_inbox.py::test_what_is_said_after_the_lease_ran_out_is_refused",
    ),
    guard(
        "lease",
        "a worker that cannot renew stops before its lease ends",
        "loops/heartbeat.py",
        "if left <= 0:",
        "if False:",
        "loops/test_worker_lease.py::test_a_heart_that_cannot_renew_for_a_whole_lease_says_that_it_is_lost",
    ),
    guard(
        "lease",
        "what was claimed when the answer was lost is run",
        "loops/store_desk.py",
        "self._in_doubt = True",
        "self._in_doubt = False",
        "loops/test_worker_lease.py::test_what_was_done_though_the_answer_was_lost_is_neither_done_twice_nor_left_lying",
    ),
    guard(
        "lease",
        "what a server claimed before it lost its database is asked for again",
        "client/desk.py",
        "            raise  # it may have been done: the server's database can lose an answer too\n",
        "            self._unanswered = None\n            raise\n",
        "client/test_lost_answers.py::test_what_a_server_claimed_before_its_database_was_cut_off_is_told_when_it_is_asked_again",
    ),
    guard(
        "lease",
        "a worker that is known already when it asks again is known",
        "loops/shift.py",
        "                if asked is None:\n                    raise\n",
        "                raise\n",
        "loops/test_worker_lease.py::test_what_was_done_though_the_answer_was_lost_is_neither_done_twice_nor_left_lying",
    ),
    guard(
        "lease",
        "the third worker that dies of a task is the last",
        SETTLING,
        "elif losses >= MAX_LOSSES:",
        "elif False:",
        SETTLE_TESTS + "test_a_task_that_has_cost_three_workers_is_poisoned",
    ),
    guard(
        "lease",
        "a task that kills its own process three times is poison",
        SETTLING,
        "if failed.code == Reason.KILLED and task.losses + 1 >= MAX_LOSSES:",
        "if False:",
        "loops/test_worker_children.py::test_a_process_that_dies_is_a_failure_that_names_the_signal_and_three_are_poison",
    ),
    guard(
        "lease",
        "a loss spends a try",
        SETTLING,
        "elif failures >= task.max_failures:",
        "elif False:",
        SETTLE_TESTS + "test_a_loss_that_spends_the_last_try_fails_the_task_as_lost",
    ),
)

MOVES: Final = (
    guard(
        "moves",
        "a task that is claimed was ready",
        WORK_SQL,
        "WHERE  number {any_picked} AND (state || '') = 'ready'",
        "WHERE  number {any_picked}",
        "architecture/test_sql_obeys_the_state_machine.py",
    ),
    guard(
        "moves",
        "only what nobody holds is canceled or expires at once",
        WORK_SQL,
        "WHERE  tasks.number = given.number AND tasks.state IN ('scheduled', 'ready', 'suspended')\n",
        "WHERE  tasks.number = given.number\n",
        "architecture/test_sql_obeys_the_state_machine.py",
    ),
    guard(
        "moves",
        "only what waits becomes ready",
        WORK_SQL,
        "WHERE  tasks.number = given.number AND tasks.state IN ('scheduled', 'suspended')\n",
        "WHERE  tasks.number = given.number\n",
        "architecture/test_sql_obeys_the_state_machine.py",
    ),
    guard(
        "moves",
        "a running task is not replaced",
        TASKS,
        "if new.on_conflict is OnConflict.REPLACE and existing.state is not State.RUNNING:",
        "if new.on_conflict is OnConflict.REPLACE:",
        "service/test_submit.py::test_a_running_task_is_never_replaced",
    ),
    guard(
        "moves",
        "a task starts no earlier than it is due",
        WORK_SQL,
        "FROM tasks WHERE state = 'scheduled' AND run_at <= :now ORDER BY run_at LIMIT :limit {skip_locked};",
        "FROM tasks WHERE state = 'scheduled' ORDER BY run_at LIMIT :limit {skip_locked};",
        "service/test_submit.py::test_a_delayed_task_is_held_in_the_store_until_its_time",
    ),
    guard(
        "moves",
        "a task starts no later than it may",
        WORK_SQL,
        "AND    priority >= :at_least AND (start_by IS NULL OR start_by > {at::now} OR started_at IS NOT NULL)\n    ORDER",
        "AND    priority >= :at_least\n    ORDER",
        "service/test_claim.py::test_what_has_expired_is_given_to_no_worker",
    ),
    guard(
        "moves",
        "the more urgent goes first",
        WORK_SQL,
        "    ORDER BY priority DESC, run_at, number\n    LIMIT  :limit {skip_locked}\n)",
        "    ORDER BY run_at, number\n    LIMIT  :limit {skip_locked}\n)",
        "service/test_claim.py::test_more_urgent_goes_first_and_then_who_has_waited_longer",
    ),
    guard(
        "moves",
        "nothing starts in a paused queue",
        CLAIMS,
        "open_queues = [name for name in types if name not in queues or not queues[name].settings.paused]",
        "open_queues = list(types)",
        "service/test_claim.py::test_a_paused_queue_gives_nothing_and_a_resumed_one_does",
    ),
    guard(
        "moves",
        "who may be tried again is bounded",
        SETTLING,
        "if failed.final or task.failures + 1 >= task.max_failures:",
        "if failed.final:",
        "service/test_retry.py::test_a_failed_attempt_is_tried_again_after_a_growing_wait_until_no_try_is_left",
    ),
    guard(
        "cancel",
        "what was asked to stop is canceled however it comes back",
        SETTLING,
        "if task.cancel_requested_at is not None:\n            message",
        "if False:\n            message",
        "service/test_cancel.py::test_what_was_asked_to_stop_is_canceled_however_it_comes_back_unless_it_is_done",
    ),
    guard(
        "cancel",
        "what was asked to stop and lost its worker is not tried again",
        SETTLING,
        "if task.cancel_requested_at is not None:\n                ending",
        "if False:\n                ending",
        "service/test_cancel.py::test_what_was_asked_to_stop_and_lost_its_worker_is_canceled",
    ),
    guard(
        "cancel",
        "a worker hears with its beat what it is to stop",
        WORK_SQL,
        "AND (state || '') = 'running' AND cancel_requested_at IS NOT NULL;",
        "AND (state || '') = 'running' AND cancel_requested_at IS NULL;",
        "service/test_cancel.py::test_what_runs_is_asked_to_stop_and_its_worker_learns_with_the_next_beat",
    ),
    guard(
        "cancel",
        "all that is open below is canceled too",
        TASKS,
        "            tasks = children\n",
        "            tasks = []\n",
        "service/test_cancel.py::test_a_tree_of_any_depth_is_canceled",
    ),
    guard(
        "waits",
        "who waits is written down in the same move",
        SETTLING,
        "        if waits:\n            records.work.block(",
        "        if False:\n            records.work.block(",
        "service/test_waits.py::test_a_task_that_waits_goes_on_when_all_it_waits_for_has_ended_and_spends_no_try",
    ),
    guard(
        "waits",
        "who waits for two does not go on after one",
        FLOW,
        "for number in waiting if number not in blocked])",
        "for number in waiting])",
        "service/test_waits.py::test_a_task_that_waits_goes_on_when_all_it_waits_for_has_ended_and_spends_no_try",
    ),
    guard(
        "waits",
        "what has ended already is not waited for",
        WORK_SQL,
        "AND id {any:ids} AND (state || '') IN ('scheduled', 'ready', 'suspended', 'running')\nORDER BY number {for_update};",
        "AND id {any:ids}\nORDER BY number {for_update};",
        "service/test_waits.py::test_what_has_ended_before_is_not_waited_for",
    ),
    guard(
        "waits",
        "every end lets go on who waits for it",
        TASKS,
        'events.append_task(state.value, task, records.now, {"reason": reason} if reason else None)\n        after_ends(records, ended)',
        'events.append_task(state.value, task, records.now, {"reason": reason} if reason else None)',
        "service/test_waits.py::test_ends_that_no_attempt_made_are_ends_too",
    ),
    guard(
        "waits",
        "the first event that is sent stays",
        WORK_SQL,
        "ON CONFLICT (organisation, name) DO NOTHING RETURNING name;\n\n-- name: delete_signals",
        "ON CONFLICT (organisation, name) DO UPDATE SET payload = EXCLUDED.payload RETURNING name;\n\n-- name: delete_signals",
        "service/test_waits.py::test_the_first_that_is_sent_stays",
    ),
    guard(
        "waits",
        "the first to finish a step counts",
        WORK_SQL,
        "ON CONFLICT (task, name) DO NOTHING RETURNING name;",
        "ON CONFLICT (task, name) DO UPDATE SET output = EXCLUDED.output RETURNING name;",
        "service/test_steps.py::test_the_first_to_finish_a_step_counts",
    ),
    guard(
        "waits",
        "children are submitted once however often a task is tried",
        REPORTS,
        "        if done is not None:\n            return [str(id) for id in done.output]\n",
        "",
        "service/test_steps.py::test_children_are_submitted_once_however_often_the_task_is_tried",
    ),
)

ONCE: Final = (
    guard(
        "once",
        "an open task of a key is found before another is made",
        TASKS,
        "        if existing is None:\n            return None\n        if new.on_conflict is OnConflict.RETURN:",
        "        if True:\n            return None\n        if new.on_conflict is OnConflict.RETURN:",
        "service/test_submit.py::test_a_task_replaces_the_open_one_of_its_key",
    ),
    Guard(
        "once",
        "of two that take a key at once the database lets one",
        (
            Edit("store/postgres/schema_0001.sql", "CREATE UNIQUE INDEX tasks_key", "CREATE INDEX tasks_key"),
            Edit(
                TASKS_SQL,
                "ON CONFLICT (organisation, key) WHERE key IS NOT NULL AND state IN ('scheduled', 'ready', 'suspended', 'running') DO NOTHING\n",
                "",
            ),
        ),
        (TWO + "test_a_key_is_taken_by_one_and_the_other_is_told_whose_it_is",),
    ),
    guard(
        "once",
        "what stands twice in a batch is asked for in turn",
        TASKS,
        "next_turn.update(dict.fromkeys(names, turn + 1))",
        "pass",
        "service/test_submit.py::test_who_repeats_a_key_is_answered_the_same_in_one_batch_as_later",
    ),
    guard(
        "once",
        "an instant of a schedule is taken once",
        "service/firing.py",
        'if not self._take(instant, "submitted"):',
        'if not self._take(instant, "submitted") and False:',
        "service/test_schedules.py::test_a_clock_that_is_set_back_fires_nothing_twice",
    ),
    guard(
        "once",
        "a request that is repeated is answered, not done again",
        "http/once.py",
        "return None if reply is None else Replayed(reply)",
        "return None",
        "http/test_tasks.py::TestOnce::test_the_same_request_under_the_same_key_is_answered_as_it_was",
    ),
    guard(
        "once",
        "an idempotency key is for one request",
        "service/accounts.py",
        "if reply is not None and reply.fingerprint != fingerprint:",
        "if False:",
        "service/test_accounts.py::test_an_idempotency_key_is_for_one_request",
    ),
    guard(
        "once",
        "of two that answer one request the second is undone",
        "service/accounts.py",
        "if not records.accounts.keep_reply(actor.organisation, _reply_key(actor, key), reply, records.now):",
        "if records.accounts.keep_reply(actor.organisation, _reply_key(actor, key), reply, records.now) is None:",
        "service/test_accounts.py::test_of_two_who_answer_the_same_request_one_is_undone",
    ),
)

LIMITS: Final = (
    guard(
        "limits",
        "no more run at once than a queue lets",
        CLAIMS,
        "if weight > free:",
        "if False:",
        "service/test_limits.py::test_no_more_run_at_once_than_the_queue_lets",
    ),
    guard(
        "limits",
        "people are bound by the limit of a queue like workers",
        CLAIMS,
        "if counted is None or not self._within_limits(records, *counted, [(task.number, task.weight)]):",
        "if counted is None:",
        "service/test_claim.py::test_a_person_who_takes_a_very_task_is_bound_by_the_limits_of_its_queue",
    ),
    guard(
        "limits",
        "no more of a concurrency key are ready or running than it lets",
        FLOW,
        "if places[place] >= limit:",
        "if False:",
        "service/test_limits.py::test_one_at_a_time_of_a_key_is_ready_or_running_and_the_next_gets_its_slot",
    ),
    guard(
        "limits",
        "a slot that is taken in a batch counts for the rest of it",
        FLOW,
        "    places[place] += 1\n",
        "",
        "service/test_limits.py::test_the_limit_holds_within_one_batch",
    ),
    guard(
        "limits",
        "a slot that is left is given on",
        FLOW,
        "    after_slots(records, ended)\n    waiting",
        "    waiting",
        "service/test_limits.py::test_a_slot_is_given_on_however_its_task_leaves_it",
    ),
    guard(
        "limits",
        "two that count the slots of a key take turns",
        FLOW,
        "    records.work.lock_concurrency_key(organisation, key)\n",
        "",
        TWO + "test_slots_of_a_key_are_never_exceeded",
    ),
    guard(
        "limits",
        "two that count what runs in a queue take turns",
        "store/sql/queues.sql",
        "WHERE organisation = :organisation AND name = :name {for_update};",
        "WHERE organisation = :organisation AND name = :name;",
        TWO + "test_the_concurrency_of_a_queue_is_never_exceeded",
    ),
    guard(
        "limits",
        "no more start in a period than a queue lets",
        CLAIMS,
        "numbers = numbers[: starts_left(log, queue.settings.rate, records.now)]",
        "pass",
        "service/test_rate.py::test_a_queue_starts_no_more_than_its_rate",
    ),
    guard(
        "limits",
        "a start leaves the window only when all of its bucket has",
        "service/rate.py",
        "end = (to_micros(now) // width + 1) * width",
        "end = (to_micros(now) // width) * width",
        "service/test_rate.py::test_a_start_counts_to_the_very_end_of_its_window",
    ),
    guard(
        "limits",
        "an input has a largest size",
        "service/payloads.py",
        "if size > most_bytes:",
        "if False:",
        "service/test_submit.py::test_an_input_over_the_limit_is_refused_by_its_bytes_and_one_at_the_limit_is_not",
    ),
)

THE_FEED: Final = (
    guard(
        "feed",
        "an ending is told",
        SETTLING,
        "                records.events.append_task(task.state.value, task, records.time, data)\n",
        "",
        SETTLE_TESTS + "test_a_task_that_is_done_has_succeeded_with_its_output",
    ),
    guard(
        "feed",
        "a part of a commit that is undone tells nothing",
        "store/writer.py",
        "            records.events.forget(mark)\n",
        "",
        "store/test_group_commit.py::test_who_fails_in_a_shared_commit_fails_alone_and_leaves_nothing",
    ),
    guard(
        "feed",
        "a reader does not jump over who commits late",
        "store/postgres/texts.py",
        '"tx < pg_snapshot_xmin(pg_current_snapshot())::text::bigint"',
        '"tx > -1"',
        "store/test_feed_order.py::test_one_that_began_first_and_commits_last_is_not_jumped_over",
    ),
    guard(
        "feed",
        "the feed is in the order of transactions",
        "store/postgres/texts.py",
        '"feed_after": "(tx, seq) > (:tx, :seq)"',
        '"feed_after": "seq > :seq AND :tx >= 0"',
        "store/test_feed_order.py::test_one_whose_event_has_the_lower_number_and_commits_last_is_not_jumped_over",
    ),
    guard(
        "feed",
        "a reader who came too late is told so",
        "service/feed.py",
        "if after < records.events.horizon():",
        "if False:",
        "service/test_feed.py::test_a_cursor_before_what_was_removed_has_expired",
    ),
    guard(
        "feed",
        "a cursor of another yard is told so",
        "service/feed.py",
        "if after > end:",
        "if False:",
        "service/test_feed.py::test_a_cursor_of_another_yard_is_told_from_ours",
    ),
    guard(
        "feed",
        "what is removed of the feed is noted",
        "store/events.py",
        '        self._connection.run("raise_horizon", tx=last.tx, seq=last.seq)\n',
        "",
        "service/test_feed.py::test_a_cursor_before_what_was_removed_has_expired",
    ),
    guard(
        "retention",
        "events are kept as long as is said",
        EVENTS_SQL,
        "ORDER BY seq LIMIT :limit) AS oldest WHERE at < :before;",
        "ORDER BY seq LIMIT :limit) AS oldest WHERE :before > 0;",
        "service/test_feed.py::test_only_what_is_old_enough_is_removed",
    ),
    guard(
        "retention",
        "ended tasks are kept as long as their queue says",
        TASKS_SQL,
        "AND finished_at IS NOT NULL AND finished_at < :before\nAND    NOT EXISTS",
        "AND finished_at IS NOT NULL\nAND    NOT EXISTS",
        "loops/test_loops_server.py::test_ended_tasks_are_kept_as_long_as_their_queue_says",
    ),
    guard(
        "retention",
        "a task that somebody is still to be told of is kept",
        TASKS_SQL,
        "\nAND    NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.subject = tasks.id AND deliveries.next_at IS NOT NULL)",
        "",
        "service/test_hooks.py::test_a_task_that_somebody_is_still_to_be_told_of_is_kept",
    ),
    guard(
        "retention",
        "no open task is ever removed",
        TASKS_SQL,
        "DELETE FROM tasks WHERE number {any:numbers} AND COALESCE(finished_at, 0) > 0;",
        "DELETE FROM tasks WHERE number {any:numbers};",
        "architecture/test_sql_obeys_the_state_machine.py",
    ),
)

WHO_ASKS: Final = (
    guard(
        "tenancy",
        "a task of another organisation is not found",
        TASKS_SQL,
        "SELECT {task} FROM tasks WHERE organisation = :organisation AND id = :id;",
        "SELECT {task} FROM tasks WHERE id = :id;",
        TENANCY + "test_a_task_of_another_organisation_is_not_found",
    ),
    guard(
        "tenancy",
        "a list shows one's own",
        TASKS_SQL,
        "WHERE organisation = :organisation {where} ORDER BY number DESC LIMIT",
        "WHERE true {where} ORDER BY number DESC LIMIT",
        TENANCY + "test_lists_and_counts_show_ones_own",
    ),
    guard(
        "tenancy",
        "a move is made on one's own tasks",
        TASKS_SQL,
        "WHERE (organisation + 0) = :organisation AND id {any:ids} ORDER BY number {for_update};",
        "WHERE id {any:ids} ORDER BY number {for_update};",
        TENANCY + "test_no_move_is_made_on_a_task_of_another_organisation",
    ),
    guard(
        "tenancy",
        "a worker is given tasks of its own organisation",
        WORK_SQL,
        "    WHERE  state = 'ready' AND (organisation + 0) = :organisation AND queue = :queue AND type = :type\n    AND",
        "    WHERE  state = 'ready' AND queue = :queue AND type = :type\n    AND",
        TENANCY + "test_a_workers_lanes_are_those_of_its_own_organisation",
    ),
    guard(
        "tenancy",
        "an ending names its organisation",
        WORK_SQL,
        "AND    tasks.organisation = given.organisation\nRETURNING {moved};",
        "RETURNING {moved};",
        TENANCY + "test_who_knows_everything_of_an_attempt_but_is_of_another_organisation_changes_nothing",
        "architecture/test_sql_obeys_the_state_machine.py",
    ),
    guard(
        "tenancy",
        "a task waits for tasks of its own organisation",
        WORK_SQL,
        "WHERE  (organisation + 0) = :organisation AND id {any:ids} AND (state",
        "WHERE  id {any:ids} AND (state",
        TENANCY + "test_a_task_waits_for_no_task_of_another_organisation",
    ),
    guard(
        "tenancy",
        "the feed tells one's own events",
        EVENTS_SQL,
        "-- condition: event_of_organisation\norganisation = :organisation",
        "-- condition: event_of_organisation\ntrue",
        "service/test_feed.py::test_another_organisations_events_are_not_seen",
    ),
    guard(
        "tenancy",
        "a key is one organisation's own",
        TASKS_SQL,
        "WHERE  organisation = :organisation AND key = :key AND state IN",
        "WHERE  key = :key AND state IN",
        "service/test_submit.py::test_a_key_is_each_organisations_own",
    ),
    guard(
        "access",
        "a move needs its permission",
        "core/actor.py",
        "        if permission not in self.permissions:\n            raise",
        "        if False:\n            raise",
        "service/test_submit.py::test_who_may_not_submit_is_refused",
    ),
    guard(
        "access",
        "who cancels needs the permission for it",
        TASKS,
        "        actor.require(Permission.CONTROL)\n        found",
        "        found",
        "service/test_cancel.py::test_who_may_not_control_does_not_cancel",
    ),
    guard(
        "access",
        "the id of a key is not enough",
        "service/accounts.py",
        "if found is not None and is_same(found[1], digest_of(secret)):",
        "if found is not None:",
        "service/test_accounts.py::test_the_id_of_a_key_is_not_enough",
    ),
    guard(
        "access",
        "secrets are compared in constant time",
        "service/credentials.py",
        "return hmac.compare_digest(digest, other)",
        "return digest == other",
        "service/test_accounts.py::test_digests_are_compared_in_constant_time",
    ),
    guard(
        "access",
        "a revoked key is dead",
        "service/accounts.py",
        "if key.revoked_at is not None or (key.expires_at",
        "if (key.expires_at",
        "service/test_accounts.py::test_a_revoked_key_is_dead_at_once_and_stays_so",
    ),
    guard(
        "access",
        "a key ends at its time",
        "service/accounts.py",
        "if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= records.now):",
        "if key.revoked_at is not None:",
        "service/test_accounts.py::test_a_key_ends_at_its_time",
    ),
    guard(
        "access",
        "a person's key does no more than the person may",
        "service/accounts.py",
        "return replace(actor, permissions=key.permissions & actor.permissions)",
        "return replace(actor, permissions=key.permissions)",
        "service/test_accounts.py::test_a_key_of_a_person_acts_for_them_and_never_beyond_their_role",
    ),
)

THE_DISK: Final = (
    guard(
        "disk",
        "a commit is on the disk when it is answered",
        "store/sqlite/engine.py",
        '            for pragma in (\n                "synchronous = FULL",',
        '            for pragma in (\n                "synchronous = NORMAL",',
        "chaos/test_power.py::test_after_a_power_cut_the_yard_is_as_it_was_acknowledged_last_and_works_on",
    ),
    guard(
        "disk",
        "a checkpoint is on the disk before the log begins anew",
        "store/sqlite/engine.py",
        '                raw.set_busy_timeout(1_000)\n                raw.execute("PRAGMA synchronous = FULL")',
        '                raw.set_busy_timeout(1_000)\n                raw.execute("PRAGMA synchronous = OFF")',
        "chaos/test_power.py::test_after_a_power_cut_the_yard_is_as_it_was_acknowledged_last_and_works_on",
    ),
    guard(
        "disk",
        "after an fsync has failed nothing is acknowledged",
        "store/writer.py",
        "            self._broken = error\n",
        "            pass\n",
        "chaos/test_disk.py::test_after_an_fsync_has_failed_nothing_is_acknowledged_until_somebody_has_looked",
    ),
    guard(
        "disk",
        "one that fails in a shared commit is undone alone",
        "store/writer.py",
        "with records.connection.savepoint():",
        "if True:",
        "store/test_group_commit.py::test_who_fails_in_a_shared_commit_fails_alone_and_leaves_nothing",
    ),
)

GUESSES = "store/test_postgres_guesses.py::"

WHAT_IS_GUESSED: Final = (
    guard(
        "guesses",
        "what is taken for granted is asked before the commit",
        "store/postgres/connection.py",
        "            self._waiting.append(check)\n",
        "",
        GUESSES + "test_a_queue_that_another_process_paused_gives_nothing",
    ),
    guard(
        "guesses",
        "nobody is supposed to wait for what ends, and that is asked too",
        "store/postgres/guesses.py",
        '(f"{_CHECK}(NOT EXISTS ({text.sql}))::int", values)',
        '("SELECT 1", None)',
        GUESSES + "test_who_waits_for_a_task_goes_on_though_nobody_is_supposed_to_wait",
    ),
    guard(
        "guesses",
        "nobody is refused for what is not so any more",
        "store/writer.py",
        "            records.connection.prove()  # who is refused is not refused for what is not so\n",
        "",
        GUESSES + "test_who_is_refused_is_not_refused_for_what_is_not_so_any_more",
    ),
    guard(
        "guesses",
        "what was wrong is not guessed again at once",
        "store/postgres/connection.py",
        "            self._guesses.was_wrong()\n",
        "",
        GUESSES + "test_a_batch_that_stands_on_a_wrong_guess_is_done_as_a_whole",
    ),
)

GUARDS: Final = (
    *WHAT_IS_GUESSED,
    *THE_FENCE,
    *LEASES,
    *MOVES,
    *ONCE,
    *LIMITS,
    *THE_FEED,
    *WHO_ASKS,
    *THE_DISK,
)
