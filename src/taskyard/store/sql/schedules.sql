-- fragment: schedule
schedules.number, schedules.id, schedules.organisation, schedules.name, schedules.kind, schedules.spec, schedules.timezone,
schedules.template, schedules.catch_up, schedules.overlap, schedules.paused, schedules.starts_at, schedules.ends_at,
schedules.runs_left, schedules.failure_threshold, schedules.settings, schedules.next_at, schedules.last_at, schedules.actor,
schedules.created_at, schedules.updated_at

-- name: insert_schedule
INSERT INTO schedules (id, organisation, name, kind, spec, timezone, template, catch_up, overlap, paused, starts_at, ends_at,
                       runs_left, failure_threshold, settings, next_at, actor, created_at, updated_at)
VALUES (:id, :organisation, :name, :kind, :spec, :timezone, :template, :catch_up, :overlap, :paused, :starts_at, :ends_at,
        :runs_left, :failure_threshold, :settings, :next_at, :actor, :now, :now)
ON CONFLICT (organisation, name) DO NOTHING RETURNING number;

-- name: update_schedule
UPDATE schedules
SET    kind = :kind, spec = :spec, timezone = :timezone, template = :template, catch_up = :catch_up, overlap = :overlap,
       paused = :paused, starts_at = :starts_at, ends_at = :ends_at, runs_left = :runs_left, failure_threshold = :failure_threshold,
       settings = :settings, next_at = :next_at, last_at = :last_at, updated_at = :now
WHERE  id = :id AND organisation = :organisation;

-- name: get_schedule
SELECT {schedule} FROM schedules WHERE organisation = :organisation AND id = :id;

-- name: lock_schedule
SELECT {schedule} FROM schedules WHERE organisation = :organisation AND id = :id {for_update};

-- name: get_schedule_by_name
SELECT {schedule} FROM schedules WHERE organisation = :organisation AND name = :name;

-- name: list_schedules
SELECT {schedule} FROM schedules WHERE organisation = :organisation ORDER BY number;

-- name: delete_schedule
DELETE FROM schedules WHERE organisation = :organisation AND id = :id;

-- name: due_schedules
SELECT {schedule} FROM schedules WHERE next_at IS NOT NULL AND paused = 0 AND next_at <= :now
ORDER BY next_at LIMIT :limit {skip_locked};

-- name: insert_firing
-- The guard of "at most once": the second of two who fire the same instant finds it taken.
INSERT INTO firings (schedule, fire_at, task, outcome, created_at) VALUES (:schedule, :fire_at, :task, :outcome, :now)
ON CONFLICT (schedule, fire_at) DO NOTHING RETURNING fire_at;

-- name: update_firing
UPDATE firings SET task = :task, outcome = :outcome WHERE schedule = :schedule AND fire_at = :fire_at;

-- name: newest_of_schedule
-- Whatever submitted it: an instant, or a person who triggered it.
SELECT {task} FROM tasks WHERE schedule = :schedule ORDER BY number DESC LIMIT 1;

-- name: last_runs
-- How the last runs went, newest first; NULL for a task that is gone. What a schedule did to itself stands between them.
SELECT firings.outcome, tasks.state FROM firings LEFT JOIN tasks ON tasks.id = firings.task
WHERE  firings.schedule = :schedule AND firings.outcome IN ('submitted', 'paused')
ORDER BY firings.fire_at DESC LIMIT :limit;

-- name: list_firings
SELECT fire_at, task, outcome, created_at FROM firings WHERE schedule = :schedule ORDER BY fire_at DESC LIMIT :limit;

-- name: delete_firings
DELETE FROM firings WHERE (schedule, fire_at) IN (
    SELECT schedule, fire_at FROM firings WHERE created_at < :before ORDER BY created_at LIMIT :limit
);
