-- fragment: worker
workers.id, workers.organisation, workers.name, workers.lanes, workers.slots, workers.version, workers.started_at, workers.seen_at,
workers.lease_until, workers.state, workers.claimed_at

-- name: insert_worker
INSERT INTO workers (id, organisation, name, lanes, slots, version, state, started_at, seen_at, lease_until)
VALUES (:id, :organisation, :name, :lanes, :slots, :version, 'active', :now, :now, :lease_until);

-- name: beat
-- One row, however many tasks it holds. A lease that has run out is not renewed: its tasks may be another's by now.
UPDATE workers SET seen_at = :now, lease_until = :lease_until, claimed_at = COALESCE(:claimed_at, claimed_at), state = :state
WHERE  id = :id AND organisation = :organisation AND lease_until >= :now AND state IN ('active', 'draining')
RETURNING id;

-- name: live_worker
-- usually: the same
-- Locked for the reaper only: it must not take away what is being claimed or settled right now.
SELECT 1 FROM workers
WHERE  id = :id AND organisation = :organisation AND state IN ('active', 'draining') AND lease_until >= {at::now} {for_share};

-- name: lock_worker
-- For who ends it: waits for what it is claiming or settling right now, and lets no more begin.
SELECT id FROM workers
WHERE  id = :id AND organisation = :organisation AND lease_until >= :now AND state IN ('active', 'draining') {for_update};

-- name: dead_workers
SELECT {worker} FROM workers WHERE state IN ('active', 'draining') AND lease_until < :now
ORDER BY lease_until LIMIT :limit {skip_locked};

-- name: next_lease_end
-- When the first of the workers will be dead, unless it beats before; NULL when there is none.
SELECT min(lease_until) FROM workers WHERE state IN ('active', 'draining');

-- name: end_worker
UPDATE workers SET state = :state, seen_at = :now, lease_until = :now WHERE id = :id AND state IN ('active', 'draining');

-- name: get_worker
SELECT {worker} FROM workers WHERE organisation = :organisation AND id = :id;

-- name: live_workers
SELECT {worker} FROM workers WHERE organisation = :organisation AND state IN ('active', 'draining') AND lease_until >= :now
ORDER BY started_at;

-- name: list_workers
SELECT {worker} FROM workers WHERE organisation = :organisation ORDER BY started_at DESC LIMIT :limit;

-- name: delete_workers
-- The evidence stays until nothing of it is needed for a rescue.
DELETE FROM workers WHERE state NOT IN ('active', 'draining') AND seen_at < :before
AND NOT EXISTS (SELECT 1 FROM tasks WHERE (tasks.state || '') = 'running' AND tasks.holder = 'worker:' || workers.id);
