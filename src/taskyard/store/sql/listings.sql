-- What the lists of several nouns have in common: each names its table "listed", and is read newest first.

-- condition: listed_number
listed.number = :number
-- condition: listed_before
listed.number < :before
-- condition: listed_after
listed.number > :after
-- condition: listed_id
listed.id = :id
-- condition: listed_key
listed.key = :key
-- condition: listed_user
listed.end_user = :user
-- condition: listed_source
listed.source = :source
-- condition: listed_session
listed.session = :session
-- condition: listed_identifier
listed.identifier = :identifier
-- condition: listed_type
listed.type = :type
-- condition: listed_state
listed.state = :state
-- condition: listed_kind
listed.kind = :kind
