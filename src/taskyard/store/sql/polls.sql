-- fragment: poll
listed.number, listed.id, listed.organisation, listed.key, listed.end_user, listed.source, listed.session, listed.payload,
listed.storage, listed.created_at

-- name: insert_poll
INSERT INTO polls (id, organisation, key, end_user, source, session, payload, storage, created_at)
VALUES (:id, :organisation, :key, :end_user, :source, :session, :payload, :storage, :now);

-- name: list_polls
SELECT {poll} FROM polls AS listed WHERE listed.organisation = :organisation {where} ORDER BY listed.number DESC LIMIT :limit;

-- name: count_polls
SELECT count(*) FROM (SELECT 1 FROM polls AS listed WHERE listed.organisation = :organisation {where} LIMIT :most) AS found;

-- name: fetches_of_polls
SELECT label.value, tasks.id, tasks.state, tasks.started_at, tasks.finished_at, tasks.error
FROM   labels AS label JOIN tasks ON tasks.number = label.task
WHERE  label.organisation = :organisation AND label.name = 'poll' AND label.value {any:polls}
ORDER BY tasks.number;

-- A poll is what its tasks are.
-- condition: poll_completed
NOT EXISTS (
    SELECT 1 FROM labels AS label JOIN tasks ON tasks.number = label.task
    WHERE  label.organisation = :organisation AND label.name = 'poll' AND label.value = listed.id AND tasks.finished_at IS NULL
)
-- condition: poll_pending
EXISTS (
    SELECT 1 FROM labels AS label JOIN tasks ON tasks.number = label.task
    WHERE  label.organisation = :organisation AND label.name = 'poll' AND label.value = listed.id AND tasks.finished_at IS NULL
) AND NOT EXISTS (
    SELECT 1 FROM labels AS label JOIN tasks ON tasks.number = label.task
    WHERE  label.organisation = :organisation AND label.name = 'poll' AND label.value = listed.id AND tasks.started_at IS NOT NULL
)
-- condition: poll_processing
EXISTS (
    SELECT 1 FROM labels AS label JOIN tasks ON tasks.number = label.task
    WHERE  label.organisation = :organisation AND label.name = 'poll' AND label.value = listed.id AND tasks.finished_at IS NULL
) AND EXISTS (
    SELECT 1 FROM labels AS label JOIN tasks ON tasks.number = label.task
    WHERE  label.organisation = :organisation AND label.name = 'poll' AND label.value = listed.id AND tasks.started_at IS NOT NULL
)
