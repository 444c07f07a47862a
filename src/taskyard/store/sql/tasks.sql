-- fragment: task
tasks.number, tasks.id, tasks.organisation, tasks.type, tasks.queue, tasks.state, tasks.reason, tasks.priority,
tasks.target, tasks.input, tasks.labels, tasks.key, tasks.concurrency_key, tasks.concurrency_limit, tasks.weight,
tasks.run_at, tasks.wake_at, tasks.start_by, tasks.created_at, tasks.started_at, tasks.attempted_at, tasks.finished_at, tasks.updated_at,
tasks.claims, tasks.failures, tasks.losses, tasks.max_failures, tasks.timeout, tasks.holder, tasks.lease_until,
tasks.progress, tasks.message, tasks.output, tasks.error, tasks.parent, tasks.schedule, tasks.rule, tasks.retry_of,
tasks.report, tasks.actor, tasks.origin, tasks.trace, tasks.cancel_requested_at, tasks.settled_by

-- name: insert_tasks
-- given: id text, organisation bigint, type text, queue text, state text, reason text, priority bigint, target text, input text
-- given: labels text, key text, concurrency_key text, concurrency_limit bigint, weight bigint, run_at bigint, wake_at bigint, start_by bigint
-- given: created_at bigint, max_failures bigint, timeout bigint, parent text, schedule text, rule text, retry_of text
-- given: report text, actor text, origin text, trace text
-- A second open task of the same key is left out; the caller sees which ids came back.
INSERT INTO tasks (id, organisation, type, queue, state, reason, priority, target, input, labels, key, concurrency_key,
                   concurrency_limit, weight, run_at, wake_at, start_by, created_at, updated_at, max_failures, timeout, parent,
                   schedule, rule, retry_of, report, actor, origin, trace)
SELECT given.id, given.organisation, given.type, given.queue, given.state, given.reason, given.priority,
       given.target, given.input, given.labels, given.key, given.concurrency_key, given.concurrency_limit,
       given.weight, {at:given.run_at}, given.wake_at, given.start_by, {at:given.created_at}, {at:given.created_at},
       given.max_failures, given.timeout, given.parent, given.schedule, given.rule, given.retry_of,
       given.report, given.actor, given.origin, given.trace
FROM   {given}
WHERE  true
ON CONFLICT (organisation, key) WHERE key IS NOT NULL AND state IN ('scheduled', 'ready', 'suspended', 'running') DO NOTHING
RETURNING id, number;

-- name: insert_labels
-- given: organisation bigint, name text, value text, task bigint
INSERT INTO labels (organisation, name, value, task)
SELECT given.organisation, given.name, given.value, given.task FROM {given} WHERE true
ON CONFLICT DO NOTHING;

-- name: relabel_task
UPDATE tasks SET labels = :labels, updated_at = :now WHERE number = :number;

-- name: delete_label
DELETE FROM labels WHERE organisation = :organisation AND name = :name AND task = :task;

-- name: get_task
SELECT {task} FROM tasks WHERE organisation = :organisation AND id = :id;

-- name: get_task_by_number
SELECT {task} FROM tasks WHERE organisation = :organisation AND number = :number;

-- name: get_task_by_key
-- The open task of a key.
SELECT {task} FROM tasks
WHERE  organisation = :organisation AND key = :key AND state IN ('scheduled', 'ready', 'suspended', 'running');

-- name: tasks_by_id
-- The organisation as an expression, here and where tasks are locked: SQLite would read all of its tasks for the sake of their order.
SELECT {task} FROM tasks WHERE (organisation + 0) = :organisation AND id {any:ids} ORDER BY number;

-- name: lock_tasks
-- Rows are locked in the order of their numbers, always, so that no two moves wait for one another in a circle.
SELECT {task} FROM tasks WHERE (organisation + 0) = :organisation AND id {any:ids} ORDER BY number {for_update};

-- name: lock_open_children
SELECT {task} FROM tasks
WHERE  +organisation = :organisation AND parent {any:parents} AND (state || '') IN ('scheduled', 'ready', 'suspended', 'running')
ORDER BY +number {for_update};

-- name: lock_tasks_by_number
SELECT {task} FROM tasks WHERE number {any:numbers} ORDER BY number {for_update};

-- name: number_at
-- Ids begin with the time they were made, so the index of ids finds where a time begins.
SELECT number FROM tasks WHERE id >= :id ORDER BY id LIMIT 1;

-- name: list_tasks
SELECT {task} FROM tasks WHERE organisation = :organisation {where} ORDER BY number DESC LIMIT :limit OFFSET :offset;

-- name: list_tasks_oldest
SELECT {task} FROM tasks WHERE organisation = :organisation {where} ORDER BY number LIMIT :limit OFFSET :offset;

-- name: list_labelled
SELECT {task} FROM labels AS label JOIN tasks ON tasks.number = label.task
WHERE  label.organisation = :organisation AND label.name = :label_name AND label.value = :label_value {where}
ORDER BY label.task DESC LIMIT :limit OFFSET :offset;

-- name: list_labelled_oldest
SELECT {task} FROM labels AS label JOIN tasks ON tasks.number = label.task
WHERE  label.organisation = :organisation AND label.name = :label_name AND label.value = :label_value {where}
ORDER BY label.task LIMIT :limit OFFSET :offset;

-- name: list_finished
SELECT {task} FROM tasks
WHERE  organisation = :organisation AND queue = :queue AND finished_at IS NOT NULL {where}
ORDER BY finished_at DESC, number DESC LIMIT :limit OFFSET :offset;

-- name: count_tasks
-- Counts stop at :most: an exact count of millions is a scan.
SELECT count(*) FROM (SELECT 1 FROM tasks WHERE organisation = :organisation {where} LIMIT :most) AS found;

-- name: count_labelled
SELECT count(*) FROM (
    SELECT 1 FROM labels AS label JOIN tasks ON tasks.number = label.task
    WHERE  label.organisation = :organisation AND label.name = :label_name AND label.value = :label_value {where} LIMIT :most
) AS found;

-- condition: by_state
tasks.state = :state
-- condition: by_type
tasks.type = :type
-- condition: by_queue
tasks.queue = :queue
-- condition: by_parent
tasks.parent = :parent
-- condition: by_schedule
tasks.schedule = :schedule
-- condition: by_key
-- Of open tasks: theirs alone is unique, and indexed.
tasks.key = :key AND tasks.state IN ('scheduled', 'ready', 'suspended', 'running')
-- condition: by_holder
tasks.holder = :holder
-- condition: answered_by
-- The bounds are those of the index of what people have answered.
tasks.settled_by = :answered_by AND tasks.settled_by >= 'user:' AND tasks.settled_by < 'user;'
-- condition: by_ids
tasks.number IN (SELECT named.number FROM tasks AS named WHERE named.id {any:ids})
-- condition: before_number
tasks.number < :before
-- condition: after_number
tasks.number > :after
-- condition: from_number
tasks.number >= :from_number
-- condition: created_gte
tasks.created_at >= :created_gte
-- condition: created_gt
tasks.created_at > :created_gt
-- condition: created_lte
tasks.created_at <= :created_lte
-- condition: created_lt
tasks.created_at < :created_lt
-- condition: started_gte
tasks.started_at >= :started_gte
-- condition: started_gt
tasks.started_at > :started_gt
-- condition: started_lte
tasks.started_at <= :started_lte
-- condition: started_lt
tasks.started_at < :started_lt
-- condition: finished_gte
tasks.finished_at >= :finished_gte
-- condition: finished_gt
tasks.finished_at > :finished_gt
-- condition: finished_lte
tasks.finished_at <= :finished_lte
-- condition: finished_lt
tasks.finished_at < :finished_lt
-- condition: finished_before
(tasks.finished_at, tasks.number) < (:before_finished, :before_number)
-- condition: with_label_2
EXISTS (SELECT 1 FROM labels AS other WHERE other.organisation = :organisation AND other.name = :label_name_2 AND other.value = :label_value_2 AND other.task = tasks.number)
-- condition: with_label_3
EXISTS (SELECT 1 FROM labels AS other WHERE other.organisation = :organisation AND other.name = :label_name_3 AND other.value = :label_value_3 AND other.task = tasks.number)
-- condition: with_label_4
EXISTS (SELECT 1 FROM labels AS other WHERE other.organisation = :organisation AND other.name = :label_name_4 AND other.value = :label_value_4 AND other.task = tasks.number)
-- condition: with_label_5
EXISTS (SELECT 1 FROM labels AS other WHERE other.organisation = :organisation AND other.name = :label_name_5 AND other.value = :label_value_5 AND other.task = tasks.number)
-- condition: with_label_6
EXISTS (SELECT 1 FROM labels AS other WHERE other.organisation = :organisation AND other.name = :label_name_6 AND other.value = :label_value_6 AND other.task = tasks.number)

-- name: finished_numbers
-- What the janitor may remove: tasks of one queue that ended before a time, and of which nobody is still to be told.
SELECT number FROM tasks
WHERE  organisation = :organisation AND queue = :queue AND finished_at IS NOT NULL AND finished_at < :before
AND    NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.subject = tasks.id AND deliveries.next_at IS NOT NULL)
ORDER BY finished_at LIMIT :limit;

-- name: next_finished_place
-- Where there are ended tasks, one queue after the other: each is one seek, however many tasks lie between.
SELECT organisation, queue FROM tasks
WHERE  finished_at IS NOT NULL AND (organisation, queue) > (:organisation, :queue)
ORDER BY organisation, queue LIMIT 1;

-- name: delete_tasks
-- As an expression, so that no partial index seems to fit: the rows are found by their numbers.
DELETE FROM tasks WHERE number {any:numbers} AND COALESCE(finished_at, 0) > 0;

-- name: count_states
-- A look at one queue, each state counted up to :most. The state is said twice where that lets SQLite take the index.
SELECT state, count(*) FROM (
    SELECT state FROM (SELECT state FROM tasks WHERE organisation = :organisation AND state = 'scheduled' AND state IN ('scheduled', 'suspended') AND finished_at IS NULL AND queue = :queue LIMIT :most) AS a
    UNION ALL
    SELECT state FROM (SELECT state FROM tasks WHERE (organisation + 0) = :organisation AND state = 'ready' AND queue = :queue LIMIT :most) AS b
    UNION ALL
    SELECT state FROM (SELECT state FROM tasks WHERE organisation = :organisation AND state = 'suspended' AND state IN ('scheduled', 'suspended') AND finished_at IS NULL AND queue = :queue LIMIT :most) AS c
    UNION ALL
    SELECT state FROM (SELECT state FROM tasks WHERE organisation = :organisation AND state = 'running' AND queue = :queue LIMIT :most) AS d
) AS each_state
GROUP BY state;

-- name: set_report
-- Written by the holder as a plan is carried out; fenced like every write of a holder.
UPDATE tasks SET report = :report, rule = COALESCE(:rule, rule), message = COALESCE(:message, message), updated_at = :now
WHERE  number = :number AND claims = :claims AND holder = :holder AND state = 'running' AND +organisation = :organisation;

-- name: set_progress
-- given: organisation bigint, number bigint, claims bigint, holder text, progress text, message text, now bigint
UPDATE tasks
SET    progress = COALESCE(given.progress, tasks.progress), message = COALESCE(given.message, tasks.message), updated_at = given.now
FROM   {locked_given}
WHERE  tasks.number = given.number AND tasks.claims = given.claims AND tasks.holder = given.holder AND tasks.state = 'running'
AND    tasks.organisation = given.organisation
RETURNING tasks.id, tasks.number, tasks.claims, tasks.holder, tasks.organisation;
