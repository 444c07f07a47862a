-- fragment: user
users.number, users.organisation, users.login, users.name, users.role, users.password, users.settings, users.disabled, users.created_at
-- fragment: key
keys.number, keys.id, keys.organisation, keys.owner, keys.name, keys.permissions, keys.settings, keys.created_at, keys.expires_at, keys.revoked_at

-- name: insert_organisation
INSERT INTO organisations (name, title, settings, created_at) VALUES (:name, :title, :settings, :now)
ON CONFLICT (name) DO NOTHING RETURNING number;

-- name: get_organisation
SELECT number, name, title, settings, created_at FROM organisations WHERE number = :number;

-- name: get_organisation_by_name
SELECT number, name, title, settings, created_at FROM organisations WHERE name = :name;

-- name: list_organisations
SELECT number, name, title, settings, created_at FROM organisations ORDER BY number;

-- name: update_organisation
UPDATE organisations SET title = :title, settings = :settings WHERE number = :number;

-- name: insert_user
INSERT INTO users (organisation, login, name, role, password, settings, created_at)
VALUES (:organisation, :login, :name, :role, :password, :settings, :now)
ON CONFLICT (login) DO NOTHING RETURNING number;

-- name: get_user
SELECT {user} FROM users WHERE organisation = :organisation AND number = :number;

-- name: get_user_by_login
SELECT {user} FROM users WHERE login = :login;

-- name: list_users
SELECT {user} FROM users WHERE organisation = :organisation ORDER BY number;

-- name: update_user
UPDATE users SET name = :name, role = :role, password = :password, settings = :settings, disabled = :disabled
WHERE  organisation = :organisation AND number = :number;

-- name: insert_key
INSERT INTO keys (id, organisation, owner, name, digest, permissions, settings, created_at, expires_at)
VALUES (:id, :organisation, :owner, :name, :digest, :permissions, :settings, :now, :expires_at) RETURNING number;

-- name: get_key_by_digest
SELECT {key} FROM keys WHERE digest = :digest;

-- name: get_key_with_digest
-- Of any organisation: this is how we learn which one asks.
SELECT {key}, keys.digest FROM keys WHERE id = :id;

-- name: get_key
SELECT {key} FROM keys WHERE organisation = :organisation AND id = :id;

-- name: list_keys
SELECT {key} FROM keys WHERE organisation = :organisation ORDER BY number;

-- name: update_key
UPDATE keys SET digest = COALESCE(:digest, digest), settings = :settings, revoked_at = :revoked_at
WHERE  organisation = :organisation AND id = :id;

-- name: get_reply
SELECT fingerprint, status, body, headers FROM replies WHERE organisation = :organisation AND key = :key;

-- name: insert_reply
INSERT INTO replies (organisation, key, fingerprint, status, body, headers, created_at)
VALUES (:organisation, :key, :fingerprint, :status, :body, :headers, :now)
ON CONFLICT (organisation, key) DO NOTHING RETURNING key;

-- name: delete_replies
DELETE FROM replies WHERE (organisation, key) IN (
    SELECT organisation, key FROM replies WHERE created_at < :before ORDER BY created_at LIMIT :limit
);
