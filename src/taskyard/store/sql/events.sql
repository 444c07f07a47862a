-- name: insert_events
-- given: organisation bigint, at bigint, kind text, subject text, queue text, type text, data text
INSERT INTO events (tx, organisation, at, kind, subject, queue, type, data)
SELECT {tx}, given.organisation, {at:given.at}, given.kind, given.subject, given.queue, given.type, given.data FROM {given} WHERE true;

-- name: read_feed
-- Below the oldest transaction still open, so that one that commits late is never jumped over.
SELECT tx, seq, organisation, at, kind, subject, queue, type, data FROM events
WHERE  {feed_after} AND {settled} {where}
ORDER BY {feed_order} LIMIT :limit;

-- name: feed_of_subject
SELECT tx, seq, organisation, at, kind, subject, queue, type, data FROM events
WHERE  subject = :subject AND organisation = :organisation AND (tx, seq) > (:tx, :seq) ORDER BY tx, seq LIMIT :limit;

-- name: feed_end
-- Where the feed ends now: what comes later has a greater cursor.
SELECT tx, seq FROM events WHERE {settled} ORDER BY {feed_newest} LIMIT 1;

-- name: feed_begin
SELECT tx, seq FROM events ORDER BY {feed_order} LIMIT 1;

-- name: delete_events
DELETE FROM events WHERE seq {any:seqs};

-- name: old_events
-- Looks at the oldest few only: they are written in the order of their times, and the log may hold millions.
SELECT tx, seq FROM (SELECT tx, seq, at FROM events ORDER BY seq LIMIT :limit) AS oldest WHERE at < :before;

-- name: raise_horizon
INSERT INTO feed_horizon (one, tx, seq) VALUES (1, :tx, :seq)
ON CONFLICT (one) DO UPDATE SET tx = EXCLUDED.tx, seq = EXCLUDED.seq
WHERE (EXCLUDED.tx, EXCLUDED.seq) > (feed_horizon.tx, feed_horizon.seq);

-- name: feed_horizon
SELECT tx, seq FROM feed_horizon;

-- condition: event_of_organisation
organisation = :organisation
-- condition: event_of_kinds
kind {any:kinds}
-- condition: event_of_queue
queue = :queue
-- condition: event_of_type
type = :type
