-- fragment: queue
queues.number, queues.organisation, queues.name, queues.title, queues.kind, queues.paused, queues.concurrency, queues.rate_count,
queues.rate_period, queues.lease, queues.max_failures, queues.retention, queues.form, queues.settings, queues.created_at, queues.updated_at

-- name: insert_queue
INSERT INTO queues (organisation, name, title, kind, paused, concurrency, rate_count, rate_period, lease, max_failures, retention,
                    form, settings, created_at, updated_at)
VALUES (:organisation, :name, :title, :kind, :paused, :concurrency, :rate_count, :rate_period, :lease, :max_failures, :retention,
        :form, :settings, :now, :now)
ON CONFLICT (organisation, name) DO NOTHING RETURNING number;

-- name: update_queue
UPDATE queues
SET    title = :title, kind = :kind, paused = :paused, concurrency = :concurrency, rate_count = :rate_count,
       rate_period = :rate_period, lease = :lease, max_failures = :max_failures, retention = :retention, form = :form,
       settings = :settings, updated_at = :now
WHERE  organisation = :organisation AND name = :name;

-- name: get_queue
-- usually: the same
SELECT {queue} FROM queues WHERE organisation = :organisation AND name = :name;

-- name: lock_queue
SELECT {queue}, queues.rate_log FROM queues WHERE organisation = :organisation AND name = :name {for_update};

-- name: get_queue_by_number
SELECT {queue} FROM queues WHERE organisation = :organisation AND number = :number;

-- name: list_queues
SELECT {queue} FROM queues WHERE organisation = :organisation ORDER BY number;

-- name: queues_by_name
-- usually: the same
SELECT {queue} FROM queues WHERE organisation = :organisation AND name {any:names};

-- name: every_queue
SELECT {queue} FROM queues ORDER BY number;

-- name: rate_log
SELECT rate_log FROM queues WHERE organisation = :organisation AND name = :name;

-- name: set_rate_log
UPDATE queues SET rate_log = :rate_log WHERE organisation = :organisation AND name = :name;

-- name: delete_queue
DELETE FROM queues WHERE organisation = :organisation AND name = :name;
