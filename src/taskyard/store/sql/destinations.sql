-- fragment: destination
listed.number, listed.organisation, listed.kind, listed.url, listed.secret, listed.credentials, listed.settings, listed.state, listed.created_at

-- name: insert_destination
INSERT INTO destinations (organisation, kind, url, secret, credentials, settings, state, created_at)
VALUES (:organisation, :kind, :url, :secret, :credentials, :settings, :state, :now) RETURNING number;

-- name: update_destination
UPDATE destinations SET url = :url, credentials = :credentials, settings = :settings, state = :state
WHERE  organisation = :organisation AND number = :number;

-- name: judge_destination
-- What a test found; a destination that was changed or let go meanwhile is not what was tested.
UPDATE destinations SET state = :state
WHERE  organisation = :organisation AND number = :number AND url = :url AND state <> 'deactivated';

-- name: list_destinations
SELECT {destination} FROM destinations AS listed
WHERE  listed.organisation = :organisation {where} ORDER BY listed.number DESC LIMIT :limit;

-- name: count_destinations
SELECT count(*) FROM (SELECT 1 FROM destinations AS listed WHERE listed.organisation = :organisation {where} LIMIT :most) AS found;
