-- name: set_draft
-- One for each task; who writes has checked that the task is theirs.
INSERT INTO drafts (task, attempt, author, data, updated_at) VALUES (:task, :attempt, :author, :data, :now)
ON CONFLICT (task) DO UPDATE
SET    attempt = EXCLUDED.attempt, author = EXCLUDED.author, data = EXCLUDED.data, updated_at = EXCLUDED.updated_at;

-- name: get_draft
SELECT attempt, author, data, updated_at FROM drafts WHERE task = :task;

-- name: delete_draft
DELETE FROM drafts WHERE task = :task;

-- name: insert_comment
INSERT INTO comments (id, organisation, task, author, text, created_at)
VALUES (:id, :organisation, :task, :author, :text, :now) RETURNING number;

-- name: get_comment
SELECT number, id, task, author, text, created_at FROM comments
WHERE  organisation = :organisation AND task = :task AND id = :id;

-- name: comments_of_task
SELECT number, id, task, author, text, created_at FROM comments WHERE task = :task ORDER BY number LIMIT :limit;

-- name: delete_comment
DELETE FROM comments WHERE organisation = :organisation AND id = :id;

-- name: tasks_held_by
-- What one holder has now, the longest held first; a look that locks nothing. The plus keeps the planner from an index
-- of the organisation, which would read every running task.
SELECT {task} FROM tasks
WHERE  holder = :holder AND (state || '') = 'running' AND +organisation = :organisation
ORDER BY attempted_at, number LIMIT :limit;

-- name: tasks_held_in
SELECT {task} FROM tasks
WHERE  holder = :holder AND (state || '') = 'running' AND +organisation = :organisation AND queue = :queue
ORDER BY attempted_at, number LIMIT :limit;
