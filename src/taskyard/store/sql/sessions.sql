-- fragment: session
listed.number, listed.id, listed.organisation, listed.key, listed.end_user, listed.source, listed.task, listed.credentials,
listed.opened_at, listed.expired_at, listed.expired_by, listed.created_at, opening.state, opening.error

-- name: insert_session
INSERT INTO sessions (id, organisation, key, end_user, source, task, credentials, created_at)
VALUES (:id, :organisation, :key, :end_user, :source, :task, :credentials, :now);

-- name: open_session
-- Once: a worker that comes back to it finds it open.
UPDATE sessions SET opened_at = :now, credentials = :credentials
WHERE  organisation = :organisation AND id = :id AND opened_at IS NULL AND expired_at IS NULL;

-- name: expire_session
UPDATE sessions SET expired_at = :now, expired_by = :by, credentials = NULL
WHERE  organisation = :organisation AND id = :id AND expired_at IS NULL;

-- name: forget_credentials
UPDATE sessions SET credentials = NULL WHERE organisation = :organisation AND id = :id AND opened_at IS NULL;

-- name: list_sessions
SELECT {session} FROM sessions AS listed LEFT JOIN tasks AS opening ON opening.id = listed.task
WHERE  listed.organisation = :organisation {where} ORDER BY listed.number DESC LIMIT :limit;

-- name: count_sessions
SELECT count(*) FROM (
    SELECT 1 FROM sessions AS listed LEFT JOIN tasks AS opening ON opening.id = listed.task
    WHERE  listed.organisation = :organisation {where} LIMIT :most
) AS found;

-- What a session is follows from the task that opens it, so that nothing that may end a task is forgotten.
-- condition: session_pending
listed.expired_at IS NULL AND opening.number IS NOT NULL AND opening.finished_at IS NULL
-- condition: session_active
listed.expired_at IS NULL AND listed.opened_at IS NOT NULL AND COALESCE(opening.state, 'succeeded') = 'succeeded'
-- condition: session_failed
listed.expired_at IS NULL AND (
    COALESCE(opening.state, '') IN ('failed', 'canceled')
    OR (listed.opened_at IS NULL AND COALESCE(opening.state, 'succeeded') = 'succeeded')
)
-- condition: session_expired
listed.expired_at IS NOT NULL
