-- fragment: site
sites.number, sites.id, sites.organisation, sites.name, sites.operable, sites.driver, sites.created_at, sites.updated_at
-- fragment: rack
racks.id, racks.name, racks.manufacturer, racks.model, racks.details
-- fragment: tray
trays.id, trays.rack, trays.kind, trays.name, trays.component, trays.manufacturer, trays.model, trays.slot, trays.details, trays.observed

-- name: insert_provider
INSERT INTO providers (organisation, id, created_at, updated_at) VALUES (:organisation, :id, :now, :now)
ON CONFLICT (organisation) DO NOTHING;

-- name: get_provider
SELECT id, organisation, created_at, updated_at FROM providers WHERE organisation = :organisation;

-- name: put_site
-- The inventory is read at every start; what it says replaces what was known, and an id never moves to another organisation.
INSERT INTO sites (id, organisation, name, operable, driver, created_at, updated_at)
VALUES (:id, :organisation, :name, :operable, :driver, :now, :now)
ON CONFLICT (id) DO UPDATE
SET    name = EXCLUDED.name, operable = EXCLUDED.operable, driver = EXCLUDED.driver, updated_at = EXCLUDED.updated_at
WHERE  sites.organisation = EXCLUDED.organisation
RETURNING number;

-- name: get_site
-- Whoever's it is: some wires tell a stranger's site from none.
SELECT {site} FROM sites WHERE id = :id;

-- name: list_sites
SELECT {site} FROM sites WHERE organisation = :organisation ORDER BY number;

-- name: put_racks
-- given: id text, site bigint, name text, manufacturer text, model text, details text
INSERT INTO racks (id, site, name, manufacturer, model, details)
SELECT given.id, given.site, given.name, given.manufacturer, given.model, given.details FROM {given} WHERE true
ON CONFLICT (site, id) DO UPDATE
SET    name = EXCLUDED.name, manufacturer = EXCLUDED.manufacturer, model = EXCLUDED.model, details = EXCLUDED.details;

-- name: put_trays
-- given: id text, site bigint, rack text, kind text, name text, component text, manufacturer text, model text, slot bigint
-- given: details text, observed text
-- What was observed outlives a new inventory: hardware does not forget its power state because a file was read.
INSERT INTO trays (id, site, rack, kind, name, component, manufacturer, model, slot, details, observed)
SELECT given.id, given.site, given.rack, given.kind, given.name, given.component, given.manufacturer, given.model, given.slot,
       given.details, given.observed
FROM   {given} WHERE true
ON CONFLICT (site, id) DO UPDATE
SET    rack = EXCLUDED.rack, kind = EXCLUDED.kind, name = EXCLUDED.name, component = EXCLUDED.component,
       manufacturer = EXCLUDED.manufacturer, model = EXCLUDED.model, slot = EXCLUDED.slot, details = EXCLUDED.details;

-- name: delete_racks
DELETE FROM racks WHERE site = :site AND id {any:ids};

-- name: delete_trays
DELETE FROM trays WHERE site = :site AND id {any:ids};

-- name: rack_ids
SELECT id FROM racks WHERE site = :site;

-- name: tray_ids
SELECT id FROM trays WHERE site = :site;

-- name: list_racks
SELECT {rack} FROM racks WHERE site = :site {where} ORDER BY racks.name, racks.id;

-- name: list_trays
SELECT {tray} FROM trays WHERE site = :site {where} ORDER BY trays.rack, trays.slot, trays.name, trays.id;

-- condition: racks_by_ids
racks.id {any:rack_ids}
-- condition: racks_by_names
racks.name {any:rack_names}
-- condition: racks_by_manufacturer
racks.manufacturer = :manufacturer
-- condition: trays_by_ids
trays.id {any:tray_ids}
-- condition: trays_by_racks
trays.rack {any:rack_ids}
-- condition: trays_by_kind
trays.kind = :kind
-- condition: trays_by_component
trays.component {any:components}
-- condition: trays_by_slot
trays.slot = :slot

-- name: observe_tray
UPDATE trays SET observed = :observed WHERE site = :site AND id = :id;

-- name: involve
-- given: organisation bigint, component text, task bigint
INSERT INTO involved (organisation, component, task)
SELECT given.organisation, given.component, given.task FROM {given} WHERE true ON CONFLICT DO NOTHING;

-- name: list_involved
SELECT {task} FROM involved JOIN tasks ON tasks.number = involved.task
WHERE  involved.organisation = :organisation AND involved.component = :component {where}
ORDER BY involved.task DESC LIMIT :limit OFFSET :offset;

-- name: count_involved
SELECT count(*) FROM (
    SELECT 1 FROM involved JOIN tasks ON tasks.number = involved.task
    WHERE  involved.organisation = :organisation AND involved.component = :component {where} LIMIT :most
) AS found;

-- condition: involved_open
tasks.state IN ('scheduled', 'ready', 'suspended', 'running')
-- condition: involved_at_site
EXISTS (SELECT 1 FROM labels WHERE labels.organisation = :organisation AND labels.name = 'site' AND labels.value = :site AND labels.task = tasks.number)
