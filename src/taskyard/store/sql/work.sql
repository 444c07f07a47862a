-- fragment: moved
tasks.number, tasks.id, tasks.organisation, tasks.queue, tasks.type, tasks.state, tasks.reason, tasks.claims, tasks.holder,
tasks.concurrency_key, tasks.wake_at

-- name: claim_ready
-- One lane, in its order. MATERIALIZED, because PostgreSQL may otherwise claim more than the limit. Here and below the state stands
-- in an expression where rows are named by their numbers, holder or time: no other partial index seems to fit then, of which either database might
-- read the whole instead.
WITH picked AS MATERIALIZED (
    SELECT number FROM tasks
    WHERE  state = 'ready' AND (organisation + 0) = :organisation AND queue = :queue AND type = :type
    AND    priority >= :at_least AND (start_by IS NULL OR start_by > {at::now} OR started_at IS NOT NULL)
    ORDER BY priority DESC, run_at, number
    LIMIT  :limit {skip_locked}
)
UPDATE tasks
SET    state = 'running', reason = NULL, claims = claims + 1, holder = :holder, lease_until = :lease_until,
       started_at = COALESCE(started_at, {at::now}), attempted_at = {at::now}, updated_at = {at::now}
WHERE  number {any_picked} AND (state || '') = 'ready'
RETURNING {task};

-- name: pick_ready
-- The same lane, looked at only: what a limited queue might start next. What is heavier than all that may run at once never
-- can, and is not in the way of the rest.
SELECT number, weight FROM tasks
WHERE  state = 'ready' AND (organisation + 0) = :organisation AND queue = :queue AND type = :type
AND    priority >= :at_least AND weight <= :heaviest AND (start_by IS NULL OR start_by > :now OR started_at IS NOT NULL)
ORDER BY priority DESC, run_at, number
LIMIT  :limit {skip_locked};

-- name: claim_numbers
UPDATE tasks
SET    state = 'running', reason = NULL, claims = claims + 1, holder = :holder, lease_until = :lease_until,
       started_at = COALESCE(started_at, {at::now}), attempted_at = {at::now}, updated_at = {at::now}
WHERE  number {any:numbers} AND (state || '') = 'ready'
RETURNING {task};

-- name: ready_lanes
-- Which types have ready tasks in a queue: hops from type to type through the ready index, whatever the backlog;
-- the priority is in the order for no other index to give it.
WITH RECURSIVE lane (type) AS (
    SELECT (SELECT type FROM tasks WHERE state = 'ready' AND (organisation + 0) = :organisation AND queue = :queue ORDER BY type, priority DESC LIMIT 1)
    UNION ALL
    SELECT (SELECT tasks.type FROM tasks
            WHERE  tasks.state = 'ready' AND (tasks.organisation + 0) = :organisation AND tasks.queue = :queue AND tasks.type > lane.type
            ORDER BY tasks.type, tasks.priority DESC LIMIT 1)
    FROM   lane WHERE lane.type IS NOT NULL
)
SELECT type FROM lane WHERE type IS NOT NULL;

-- name: any_ready
-- What an idle worker asks now and then, in case it missed the news.
SELECT 1 FROM tasks WHERE state = 'ready' AND (organisation + 0) = :organisation AND queue {any:queues} LIMIT 1;

-- name: lane_heads
-- The first of a lane, so that a claim over several can take the most urgent first.
SELECT priority, run_at, number FROM tasks
WHERE  state = 'ready' AND (organisation + 0) = :organisation AND queue = :queue AND type = :type
AND    (start_by IS NULL OR start_by > :now OR started_at IS NOT NULL)
ORDER BY priority DESC, run_at, number LIMIT 1;

-- name: ahead_in_lane
-- How many ready tasks of a lane go before one, counted up to :most: the more urgent, then the longer ready.
SELECT (SELECT count(*) FROM (
            SELECT 1 FROM tasks
            WHERE  state = 'ready' AND (organisation + 0) = :organisation AND queue = :queue AND type = :type AND priority > :priority
            LIMIT  :most) AS more_urgent),
       (SELECT count(*) FROM (
            SELECT 1 FROM tasks
            WHERE  state = 'ready' AND (organisation + 0) = :organisation AND queue = :queue AND type = :type AND priority = :priority
            AND    (run_at, number) < (:run_at, :number)
            LIMIT  :most) AS longer_ready);

-- name: running_ids
SELECT id FROM tasks WHERE state = 'running' AND organisation = :organisation AND queue = :queue ORDER BY number LIMIT :limit;

-- name: held_ids
-- The plus keeps the planner from an index of the organisation, which would read every running task.
SELECT id FROM tasks WHERE (state || '') = 'running' AND holder = :holder AND +organisation = :organisation ORDER BY +number LIMIT :limit;

-- name: running_weight
SELECT COALESCE(sum(weight), 0) FROM tasks WHERE state = 'running' AND organisation = :organisation AND queue = :queue;

-- name: lock_attempts
-- What an ending needs to know, read before it is decided; the write below is fenced all the same.
SELECT {task} FROM tasks WHERE number {any:numbers} AND (state || '') = 'running' ORDER BY number {for_update};

-- name: settle_attempts
-- given: organisation bigint, number bigint, claims bigint, holder text, state text, reason text, run_at bigint, wake_at bigint
-- given: failed bigint, lost bigint, output text, error text, message text, now bigint
-- The fence: only the holder of this very attempt may end it.
UPDATE tasks
SET    state = given.state, reason = given.reason, run_at = COALESCE(given.run_at, tasks.run_at), wake_at = given.wake_at,
       finished_at = CASE WHEN given.state IN ('succeeded', 'failed', 'canceled') THEN {at:given.now} END,
       failures = tasks.failures + given.failed, losses = tasks.losses + given.lost,
       output = given.output, error = given.error, message = COALESCE(given.message, tasks.message),
       settled_by = CASE WHEN given.state IN ('succeeded', 'failed', 'canceled') THEN tasks.holder END,
       holder = NULL, lease_until = NULL, updated_at = {at:given.now}
FROM   {locked_given}
WHERE  tasks.number = given.number AND tasks.claims = given.claims AND tasks.holder = given.holder AND tasks.state = 'running'
AND    tasks.organisation = given.organisation
RETURNING {moved};

-- name: extend_lease
-- A person's lease; a worker's is its own row.
UPDATE tasks SET lease_until = :lease_until, updated_at = :now
WHERE  number = :number AND claims = :claims AND holder = :holder AND state = 'running' AND lease_until >= :now
AND    organisation = :organisation
RETURNING {task};

-- name: end_open
-- given: number bigint, state text, reason text, error text, now bigint
-- Cancel and expire: only what no holder has.
UPDATE tasks
SET    state = given.state, reason = given.reason, error = given.error, wake_at = NULL, finished_at = given.now, updated_at = given.now,
       cancel_requested_at = CASE given.state WHEN 'canceled' THEN COALESCE(tasks.cancel_requested_at, given.now) END
FROM   {locked_given}
WHERE  tasks.number = given.number AND tasks.state IN ('scheduled', 'ready', 'suspended')
RETURNING {moved};

-- name: ask_to_stop
UPDATE tasks SET cancel_requested_at = :now, updated_at = :now
WHERE  number {any:numbers} AND (state || '') = 'running' AND cancel_requested_at IS NULL
RETURNING {moved};

-- name: spend_tries
-- Leaves a running task the try that it is on, and no other.
UPDATE tasks SET max_failures = failures + 1, updated_at = :now WHERE number = :number AND state = 'running';

-- name: organisations_with_ready
-- Asked organisation by organisation, each answered by the first entry of the ready index.
SELECT number FROM organisations
WHERE  EXISTS (SELECT 1 FROM tasks WHERE (tasks.organisation + 0) = organisations.number AND tasks.queue = :queue AND tasks.state = 'ready')
ORDER BY number;

-- name: stops_of_holder
SELECT id, number, claims FROM tasks WHERE holder = :holder AND (state || '') = 'running' AND cancel_requested_at IS NOT NULL;

-- name: held_tasks
SELECT {task} FROM tasks WHERE holder = :holder AND (state || '') = 'running' ORDER BY +number {for_update};

-- name: overdue_leases
-- People who kept a task too long without a touch.
SELECT {task} FROM tasks WHERE (state || '') = 'running' AND lease_until IS NOT NULL AND lease_until < :now
ORDER BY lease_until LIMIT :limit {skip_locked};

-- name: due_tasks
SELECT {task} FROM tasks WHERE state = 'scheduled' AND run_at <= :now ORDER BY run_at LIMIT :limit {skip_locked};

-- name: waking_tasks
SELECT {task} FROM tasks WHERE (state || '') = 'suspended' AND wake_at IS NOT NULL AND wake_at <= :now
ORDER BY wake_at LIMIT :limit {skip_locked};

-- name: expired_tasks
SELECT {task} FROM tasks
WHERE  start_by IS NOT NULL AND started_at IS NULL AND state IN ('scheduled', 'ready', 'suspended') AND start_by <= :now
ORDER BY start_by LIMIT :limit {skip_locked};

-- name: next_due_at
-- When the scheduler loop has something to do next; NULL when nothing waits for a time.
SELECT min(at) FROM (
    SELECT min(run_at) AS at FROM tasks WHERE state = 'scheduled'
    UNION ALL SELECT min(wake_at) FROM tasks WHERE (state || '') = 'suspended' AND wake_at IS NOT NULL
    UNION ALL SELECT min(start_by) FROM tasks
              WHERE start_by IS NOT NULL AND started_at IS NULL AND state IN ('scheduled', 'ready', 'suspended')
    UNION ALL SELECT min(next_at) FROM schedules WHERE next_at IS NOT NULL AND paused = 0
) AS due;

-- name: put_open
-- given: number bigint, state text, reason text, run_at bigint, now bigint
-- What was scheduled or suspended becomes ready, or suspended for another reason.
UPDATE tasks SET state = given.state, reason = given.reason, run_at = given.run_at, wake_at = NULL, updated_at = given.now
FROM   {locked_given}
WHERE  tasks.number = given.number AND tasks.state IN ('scheduled', 'suspended')
RETURNING {moved};

-- name: lock_concurrency_key
-- Two that count the same key's slots at once would both find one free: the row makes them queue.
INSERT INTO concurrency_keys (organisation, key) VALUES (:organisation, :key)
ON CONFLICT (organisation, key) DO UPDATE SET key = EXCLUDED.key;

-- name: delete_idle_keys
-- The row is a lock and nothing else, so it may go whenever nothing counts on it.
DELETE FROM concurrency_keys WHERE (organisation, key) IN (
    SELECT idle.organisation, idle.key FROM concurrency_keys AS idle
    WHERE  NOT EXISTS (SELECT 1 FROM tasks WHERE tasks.organisation = idle.organisation AND tasks.concurrency_key = idle.key
                       AND tasks.concurrency_key IS NOT NULL AND tasks.state IN ('ready', 'running'))
    LIMIT  :limit
);

-- name: taken_slots
SELECT count(*) FROM tasks
WHERE  organisation = :organisation AND concurrency_key = :key AND concurrency_key IS NOT NULL AND state IN ('ready', 'running');

-- name: limited_tasks
SELECT {task} FROM tasks
WHERE  organisation = :organisation AND concurrency_key = :key AND state = 'suspended' AND reason = 'limit'
ORDER BY priority DESC, number LIMIT :limit {for_update};

-- name: slot_holders
SELECT id FROM tasks
WHERE  organisation = :organisation AND concurrency_key = :key AND concurrency_key IS NOT NULL AND state IN ('ready', 'running')
ORDER BY +number LIMIT :limit;

-- name: insert_blockers
-- given: task bigint, kind text, subject text
INSERT INTO blockers (task, kind, subject) SELECT given.task, given.kind, given.subject FROM {given} WHERE true ON CONFLICT DO NOTHING;

-- name: blocked_by
-- usually: nothing
SELECT DISTINCT task FROM blockers WHERE kind = :kind AND subject {any:subjects} ORDER BY task;

-- name: delete_blockers_of_subjects
DELETE FROM blockers WHERE kind = :kind AND subject {any:subjects};

-- name: delete_blockers_of_tasks
DELETE FROM blockers WHERE task {any:numbers};

-- name: still_blocked
SELECT DISTINCT task FROM blockers WHERE task {any:numbers};

-- name: blockers_of_task
SELECT kind, subject FROM blockers WHERE task = :task ORDER BY kind, subject LIMIT :limit;

-- name: open_ids
-- Which of some tasks have not ended; locked, so that one that is just ending is waited for and seen as ended.
SELECT id FROM tasks
WHERE  (organisation + 0) = :organisation AND id {any:ids} AND (state || '') IN ('scheduled', 'ready', 'suspended', 'running')
ORDER BY number {for_update};

-- name: get_signal
SELECT payload, sent_at FROM signals WHERE organisation = :organisation AND name = :name;

-- name: insert_signal
-- The first to be sent stays: who waits later is answered the same.
INSERT INTO signals (organisation, name, payload, sent_at) VALUES (:organisation, :name, :payload, :now)
ON CONFLICT (organisation, name) DO NOTHING RETURNING name;

-- name: delete_signals
DELETE FROM signals WHERE (organisation, name) IN (
    SELECT organisation, name FROM signals WHERE sent_at < :before ORDER BY sent_at LIMIT :limit
);

-- name: insert_results
-- given: id text, organisation bigint, task bigint, attempt bigint, name text, value text, created_at bigint
INSERT INTO results (id, organisation, task, attempt, name, value, created_at)
SELECT given.id, given.organisation, given.task, given.attempt, given.name, given.value, given.created_at FROM {given} WHERE true
RETURNING id, number;

-- name: results_of_task
SELECT number, id, task, attempt, name, value, created_at, consumed_at FROM results WHERE task = :task ORDER BY number;

-- name: get_result
SELECT results.number, results.id, results.task, results.attempt, results.name, results.value, results.created_at, results.consumed_at
FROM   results WHERE organisation = :organisation AND id = :id;

-- name: consume_result
UPDATE results SET consumed_at = :now WHERE organisation = :organisation AND id = :id AND consumed_at IS NULL;

-- name: insert_step
-- Two writes of one step agree on the first.
INSERT INTO steps (task, name, attempt, output, created_at) VALUES (:task, :name, :attempt, :output, :now)
ON CONFLICT (task, name) DO NOTHING RETURNING name;

-- name: steps_of_task
SELECT name, attempt, output, created_at FROM steps WHERE task = :task ORDER BY created_at, name;

-- name: get_step
SELECT name, attempt, output, created_at FROM steps WHERE task = :task AND name = :name;

-- name: set_log
INSERT INTO logs (task, attempt, text, updated_at) VALUES (:task, :attempt, :text, :now)
ON CONFLICT (task, attempt) DO UPDATE SET text = EXCLUDED.text, updated_at = EXCLUDED.updated_at;

-- name: logs_of_task
SELECT attempt, text, updated_at FROM logs WHERE task = :task ORDER BY attempt;

-- name: holds_attempt
-- The fence for what a holder writes beside the task: steps, results, logs.
SELECT id FROM tasks
WHERE  number = :number AND claims = :claims AND holder = :holder AND state = 'running' AND +organisation = :organisation
{for_update};
