-- fragment: rule
rules.number, rules.id, rules.organisation, sites.id, rules.name, rules.description, rules.operation, rules.code, rules.plan, rules.is_default,
rules.created_at, rules.updated_at

-- name: insert_rule
INSERT INTO rules (id, organisation, site, name, description, operation, code, plan, is_default, created_at, updated_at)
VALUES (:id, :organisation, :site, :name, :description, :operation, :code, :plan, 0, :now, :now)
RETURNING number;

-- name: get_rule
SELECT {rule} FROM rules JOIN sites ON sites.number = rules.site WHERE rules.site = :site AND rules.id = :id;

-- name: list_rules
SELECT {rule} FROM rules JOIN sites ON sites.number = rules.site
WHERE  rules.site = :site {where} ORDER BY rules.number DESC LIMIT :limit OFFSET :offset;

-- name: count_rules
SELECT count(*) FROM rules WHERE rules.site = :site {where};

-- condition: rules_of_operation
rules.operation = :operation

-- name: update_rule
UPDATE rules SET name = :name, description = :description, plan = :plan, updated_at = :now WHERE site = :site AND id = :id;

-- name: delete_rule
DELETE FROM rules WHERE site = :site AND id = :id;

-- name: clear_default_rule
UPDATE rules SET is_default = 0, updated_at = :now
WHERE  site = :site AND operation = :operation AND code = :code AND is_default = 1;

-- name: make_default_rule
UPDATE rules SET is_default = 1, updated_at = :now WHERE site = :site AND id = :id;

-- name: put_rack_rule
INSERT INTO rack_rules (site, rack, operation, code, rule, created_at) VALUES (:site, :rack, :operation, :code, :rule, :now)
ON CONFLICT (site, rack, operation, code) DO UPDATE SET rule = EXCLUDED.rule, created_at = EXCLUDED.created_at;

-- name: delete_rack_rule
DELETE FROM rack_rules WHERE site = :site AND rack = :rack AND operation = :operation AND code = :code;

-- name: rules_of_rack
SELECT {rule} FROM rack_rules JOIN rules ON rules.id = rack_rules.rule JOIN sites ON sites.number = rules.site
WHERE  rack_rules.site = :site AND rack_rules.rack = :rack ORDER BY rules.operation, rules.code;

-- name: resolve_rule
-- The rack's own rule before the site's default.
SELECT {rule} FROM rules JOIN sites ON sites.number = rules.site
LEFT JOIN rack_rules ON rack_rules.rule = rules.id AND rack_rules.site = rules.site AND rack_rules.rack = :rack
WHERE  rules.site = :site AND rules.operation = :operation AND rules.code = :code
AND    (rack_rules.rule IS NOT NULL OR rules.is_default = 1)
ORDER BY CASE WHEN rack_rules.rule IS NOT NULL THEN 0 ELSE 1 END LIMIT 1;
