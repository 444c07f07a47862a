-- fragment: end_user
listed.number, listed.organisation, listed.key, listed.identifier, listed.state, listed.created_at
-- fragment: source
listed.number, listed.organisation, listed.end_user, listed.type, listed.identifier, listed.parent, listed.state, listed.created_at

-- name: insert_end_user
INSERT INTO end_users (organisation, key, identifier, state, created_at) VALUES (:organisation, :key, :identifier, 'active', :now)
ON CONFLICT (organisation, identifier) DO NOTHING RETURNING number;

-- name: update_end_user
UPDATE end_users SET identifier = :identifier, state = :state WHERE organisation = :organisation AND number = :number;

-- name: list_end_users
SELECT {end_user} FROM end_users AS listed WHERE listed.organisation = :organisation {where} ORDER BY listed.number DESC LIMIT :limit;

-- name: count_end_users
SELECT count(*) FROM (SELECT 1 FROM end_users AS listed WHERE listed.organisation = :organisation {where} LIMIT :most) AS found;

-- name: insert_source
INSERT INTO sources (organisation, end_user, type, identifier, parent, state, created_at)
VALUES (:organisation, :end_user, :type, :identifier, :parent, 'unvalidated', :now)
ON CONFLICT (end_user, type, identifier) DO NOTHING RETURNING number;

-- name: set_source_state
UPDATE sources SET state = :state WHERE organisation = :organisation AND number = :number;

-- name: list_sources
SELECT {source} FROM sources AS listed WHERE listed.organisation = :organisation {where} ORDER BY listed.number DESC LIMIT :limit;

-- name: count_sources
SELECT count(*) FROM (SELECT 1 FROM sources AS listed WHERE listed.organisation = :organisation {where} LIMIT :most) AS found;

-- name: sources_by_number
SELECT {source} FROM sources AS listed WHERE listed.organisation = :organisation AND listed.number {any:numbers};

-- name: source_children
SELECT {source} FROM sources AS listed WHERE listed.organisation = :organisation AND listed.parent {any:parents} ORDER BY listed.number DESC;
