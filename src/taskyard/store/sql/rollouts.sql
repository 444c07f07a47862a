-- fragment: rollout
rollouts.number, rollouts.id, rollouts.organisation, sites.id, rollouts.name, rollouts.description, rollouts.operation, rollouts.code,
rollouts.wanted, rollouts.policy, rollouts.status, rollouts.why, rollouts.message, rollouts.phases, rollouts.phase, rollouts.accepted,
rollouts.actor, rollouts.created_at, rollouts.updated_at, rollouts.started_at, rollouts.finished_at
-- fragment: target
number, id, rack, sequence, phase, task, outcome, message, tries, blocked_at, retry_at, created_at, updated_at

-- name: insert_rollout
INSERT INTO rollouts (id, organisation, site, name, description, operation, code, wanted, policy, status, message, phases, phase, accepted,
                      actor, created_at, updated_at)
VALUES (:id, :organisation, :site, :name, :description, :operation, :code, :wanted, :policy, 'pending', '', :phases, 0, 0, :actor, :now, :now)
RETURNING number;

-- name: insert_targets
-- given: id text, rollout bigint, rack text, sequence bigint, phase bigint, now bigint
INSERT INTO rollout_targets (id, rollout, rack, sequence, phase, outcome, message, tries, created_at, updated_at)
SELECT given.id, given.rollout, given.rack, given.sequence, given.phase, 'pending', '', 0, given.now, given.now FROM {given} WHERE true;

-- name: get_rollout
SELECT {rollout} FROM rollouts JOIN sites ON sites.number = rollouts.site WHERE rollouts.site = :site AND rollouts.id = :id;

-- name: lock_rollout
-- One carries it on at a time: two could begin twice as much as may be begun.
SELECT number FROM rollouts WHERE number = :number {for_update};

-- name: get_rollout_by_number
SELECT {rollout} FROM rollouts JOIN sites ON sites.number = rollouts.site WHERE rollouts.number = :number;

-- name: list_rollouts
SELECT {rollout} FROM rollouts JOIN sites ON sites.number = rollouts.site
WHERE  rollouts.site = :site {where} ORDER BY rollouts.number DESC LIMIT :limit OFFSET :offset;

-- name: count_rollouts
SELECT count(*) FROM rollouts WHERE rollouts.site = :site {where};

-- condition: rollouts_in
rollouts.status = :status
-- condition: rollouts_of
rollouts.operation = :operation

-- name: open_rollouts
-- One that is paused, perhaps for weeks, is looked at only as long as something it has begun goes on.
SELECT number FROM rollouts
WHERE  status IN ('pending', 'running', 'paused')
AND    (status <> 'paused'
        OR EXISTS (SELECT 1 FROM rollout_targets WHERE rollout_targets.rollout = rollouts.number AND rollout_targets.outcome = 'submitted'))
ORDER  BY number;

-- name: update_rollout
UPDATE rollouts
SET    status = :status, why = :why, message = :message, phase = :phase, accepted = :accepted, updated_at = :now,
       started_at = :started_at, finished_at = :finished_at
WHERE  number = :number;

-- name: list_targets
SELECT {target} FROM rollout_targets WHERE rollout = :rollout {where} ORDER BY sequence LIMIT :limit OFFSET :offset;

-- name: count_targets
SELECT count(*) FROM rollout_targets WHERE rollout = :rollout {where};

-- condition: targets_from_phase
rollout_targets.phase >= :least
-- condition: targets_to_phase
rollout_targets.phase <= :most
-- condition: targets_that_are
rollout_targets.outcome = :outcome

-- name: count_outcomes
SELECT phase, outcome, count(*) FROM rollout_targets WHERE rollout = :rollout GROUP BY phase, outcome;

-- name: update_target
UPDATE rollout_targets
SET    task = :task, outcome = :outcome, message = :message, tries = :tries, blocked_at = :blocked_at, retry_at = :retry_at, updated_at = :now
WHERE  number = :number;

-- name: racks_of_rollouts
SELECT DISTINCT rollout_targets.rack FROM rollout_targets JOIN rollouts ON rollouts.number = rollout_targets.rollout
WHERE  rollouts.site = :site AND rollouts.id {any:ids};
