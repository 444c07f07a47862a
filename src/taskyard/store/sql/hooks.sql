-- fragment: hook
hooks.number, hooks.id, hooks.organisation, hooks.url, hooks.events, hooks.queue, hooks.type, hooks.wire, hooks.settings, hooks.enabled,
hooks.reason, hooks.secret, hooks.former_secret, hooks.former_until, hooks.actor, hooks.created_at, hooks.updated_at

-- fragment: delivery
deliveries.number, deliveries.id, deliveries.organisation, deliveries.hook, deliveries.kind, deliveries.subject, deliveries.queue,
deliveries.type, deliveries.data, deliveries.at, deliveries.state, deliveries.claims, deliveries.attempts, deliveries.next_at,
deliveries.sent_at, deliveries.status, deliveries.error, deliveries.took, deliveries.finished_at, deliveries.created_at

-- name: insert_hook
INSERT INTO hooks (id, organisation, url, events, queue, type, wire, settings, enabled, reason, secret, former_secret, former_until, actor,
                   created_at, updated_at)
VALUES (:id, :organisation, :url, :events, :queue, :type, :wire, :settings, :enabled, :reason, :secret, :former_secret, :former_until,
        :actor, :now, :now)
RETURNING number;

-- name: update_hook
UPDATE hooks
SET    url = :url, events = :events, queue = :queue, type = :type, wire = :wire, settings = :settings, enabled = :enabled, reason = :reason,
       secret = :secret, former_secret = :former_secret, former_until = :former_until, updated_at = :now
WHERE  id = :id AND organisation = :organisation;

-- name: get_hook
SELECT {hook} FROM hooks WHERE organisation = :organisation AND id = :id;

-- name: lock_hook
SELECT {hook} FROM hooks WHERE organisation = :organisation AND id = :id {for_update};

-- name: list_hooks
SELECT {hook} FROM hooks WHERE organisation = :organisation {where} ORDER BY number LIMIT :limit;

-- condition: hook_of_queue
hooks.queue = :queue
-- condition: hook_of_wire
hooks.wire = :wire
-- condition: hook_numbered
hooks.number = :number

-- name: hooks_by_number
SELECT {hook} FROM hooks WHERE number {any:numbers};

-- name: delete_hook
DELETE FROM hooks WHERE organisation = :organisation AND id = :id;

-- name: hooks_for
-- usually: the same
-- Who may want to be told of what happened in these queues: looked up once before each commit.
SELECT number, organisation, events, queue, type FROM hooks
WHERE  enabled = 1 AND organisation {any:organisations} AND (queue IS NULL OR queue {any:queues});

-- name: insert_deliveries
-- given: id text, organisation bigint, hook bigint, kind text, subject text, queue text, type text, data text, at bigint, now bigint
INSERT INTO deliveries (id, organisation, hook, kind, subject, queue, type, data, at, state, next_at, created_at)
SELECT given.id, given.organisation, given.hook, given.kind, given.subject, given.queue, given.type, given.data, given.at, 'pending',
       given.now, given.now
FROM   {given} WHERE true;

-- name: due_hooks
-- When each hook has something to send: one look into an index per hook, however much it has.
SELECT number, first FROM (
    SELECT hooks.number, (SELECT MIN(deliveries.next_at) FROM deliveries
                          WHERE deliveries.hook = hooks.number AND deliveries.next_at IS NOT NULL) AS first
    FROM   hooks WHERE hooks.enabled = 1
) AS looked
WHERE  first IS NOT NULL ORDER BY first, number;

-- name: claim_deliveries
-- Until lease_until they are this sender's; then they are due again, and who comes late finds another number of claims.
WITH picked AS MATERIALIZED (
    SELECT number FROM deliveries WHERE hook = :hook AND next_at <= :now ORDER BY next_at, number LIMIT :limit {skip_locked}
)
UPDATE deliveries SET claims = claims + 1, attempts = attempts + 1, next_at = :lease_until, sent_at = :now
WHERE  number {any_picked} AND state = 'pending'
RETURNING {delivery};

-- name: settle_delivery
-- The fence: only who claimed it last says what came of it.
UPDATE deliveries
SET    state = :state, next_at = :next_at, status = :status, error = :error, took = :took, finished_at = :finished_at
WHERE  number = :number AND claims = :claims AND state = 'pending';

-- name: give_back_delivery
UPDATE deliveries SET attempts = attempts - 1, next_at = :now WHERE number = :number AND claims = :claims AND state = 'pending';

-- name: resend_delivery
UPDATE deliveries SET state = 'pending', attempts = 0, next_at = :now, finished_at = NULL WHERE number = :number AND hook = :hook;

-- name: get_delivery
SELECT {delivery} FROM deliveries WHERE hook = :hook AND id = :id;

-- name: list_deliveries
SELECT {delivery} FROM deliveries WHERE hook = :hook {where} ORDER BY number DESC LIMIT :limit;

-- condition: delivery_in_state
deliveries.state = :state
-- condition: delivery_before
deliveries.number < :before

-- name: delete_deliveries
-- Looks at the oldest few only: they are numbered in the order of their times.
DELETE FROM deliveries WHERE number IN (
    SELECT number FROM (SELECT number, created_at FROM deliveries ORDER BY number LIMIT :limit) AS oldest WHERE created_at < :before
);
