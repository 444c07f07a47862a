-- name: insert_events
-- given: organisation bigint, at bigint, kind text, subject text, queue text, type text, data text
INSERT INTO events (tx, organisation, at, kind, subject, queue, type, data)
SELECT {tx}, given.organisation, given.at, given.kind, given.subject, given.queue, given.type, given.data FROM {given} WHERE true;

-- name: read_feed
-- Below the oldest transaction still open, so that one that commits late is never jumped over.
SELECT tx, seq, organisation, at, kind, subject, queue, type, data FROM events
WHERE  (tx, seq) > (:tx, :seq) AND {settled} {where}
ORDER BY tx, seq LIMIT :limit;

-- name: feed_of_subject
SELECT tx, seq, organisation, at, kind, subject, queue, type, data FROM events
WHERE  subject = :subject AND organisation = :organisation AND (tx, seq) > (:tx, :seq) ORDER BY tx, seq LIMIT :limit;

-- name: feed_end
-- Where the feed ends now: what comes later has a greater cursor.
SELECT tx, seq FROM events WHERE {settled} ORDER BY tx DESC, seq DESC LIMIT 1;

-- name: feed_begin
SELECT tx, seq FROM events ORDER BY tx, seq LIMIT 1;

-- name: delete_events
DELETE FROM events WHERE seq {any:seqs};

-- name: old_events
SELECT seq FROM events WHERE at < :before ORDER BY seq LIMIT :limit;

-- condition: event_of_organisation
organisation = :organisation
-- condition: event_of_kinds
kind {any:kinds}
-- condition: event_of_queue
queue = :queue
-- condition: event_of_type
type = :type
