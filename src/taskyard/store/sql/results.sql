-- fragment: result
listed.number, listed.id, listed.task, listed.attempt, listed.name, listed.value, listed.created_at, listed.consumed_at

-- name: list_results
SELECT {result}, tasks.id, tasks.labels, tasks.target FROM results AS listed JOIN tasks ON tasks.number = listed.task
WHERE  listed.organisation = :organisation {where} ORDER BY listed.number DESC LIMIT :limit;

-- name: count_results
SELECT count(*) FROM (
    SELECT 1 FROM results AS listed WHERE listed.organisation = :organisation {where} LIMIT :most
) AS found;

-- name: first_results_of_tasks
-- The newest of each task, and how many it has.
SELECT {result}, tasks.id, tasks.labels, tasks.target, listed.total
FROM (
    SELECT results.number, results.id, results.task, results.attempt, results.name, results.value, results.created_at, results.consumed_at,
           row_number() OVER (PARTITION BY results.task ORDER BY results.number DESC) AS place,
           count(*) OVER (PARTITION BY results.task) AS total
    FROM   results WHERE results.task {any:tasks}
) AS listed JOIN tasks ON tasks.number = listed.task
WHERE  listed.place <= :most ORDER BY listed.number DESC;

-- name: first_results_of_polls
SELECT {result}, tasks.id, tasks.labels, tasks.target, listed.total, listed.poll
FROM (
    SELECT results.number, results.id, results.task, results.attempt, results.name, results.value, results.created_at, results.consumed_at,
           label.value AS poll,
           row_number() OVER (PARTITION BY label.value ORDER BY results.number DESC) AS place,
           count(*) OVER (PARTITION BY label.value) AS total
    FROM   labels AS label JOIN results ON results.task = label.task
    WHERE  label.organisation = :organisation AND label.name = 'poll' AND label.value {any:polls}
) AS listed JOIN tasks ON tasks.number = listed.task
WHERE  listed.place <= :most ORDER BY listed.number DESC;

-- condition: results_of_task_id
listed.task IN (SELECT named.number FROM tasks AS named WHERE named.id = :task AND (named.organisation + 0) = :organisation)
-- condition: results_of_poll_id
listed.task IN (
    SELECT label.task FROM labels AS label
    WHERE  label.organisation = :organisation AND label.name = 'poll' AND label.value = :poll
)
-- condition: results_available
listed.consumed_at IS NULL
-- condition: results_consumed
listed.consumed_at IS NOT NULL
