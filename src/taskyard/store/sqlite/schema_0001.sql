-- Times are whole microseconds since 1970 in UTC; JSON is text that SQL never looks into.

CREATE TABLE organisations (
    number     INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL UNIQUE,
    title      TEXT    NOT NULL,
    settings   TEXT    NOT NULL DEFAULT '{}',
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE users (
    number       INTEGER PRIMARY KEY,
    organisation INTEGER NOT NULL REFERENCES organisations,
    login        TEXT    NOT NULL UNIQUE,
    name         TEXT    NOT NULL,
    role         TEXT    NOT NULL,
    password     TEXT,
    settings     TEXT    NOT NULL DEFAULT '{}',
    disabled     INTEGER NOT NULL DEFAULT 0,
    created_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX users_by_organisation ON users (organisation, number);

CREATE TABLE keys (
    number       INTEGER PRIMARY KEY,
    id           TEXT    NOT NULL UNIQUE,
    organisation INTEGER NOT NULL REFERENCES organisations,
    owner        INTEGER REFERENCES users ON DELETE CASCADE,
    name         TEXT    NOT NULL,
    digest       TEXT    NOT NULL UNIQUE,
    permissions  TEXT    NOT NULL,
    settings     TEXT    NOT NULL DEFAULT '{}',
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER
) STRICT;
CREATE INDEX keys_by_organisation ON keys (organisation, number);

CREATE TABLE queues (
    number       INTEGER PRIMARY KEY,
    organisation INTEGER NOT NULL REFERENCES organisations,
    name         TEXT    NOT NULL,
    title        TEXT,
    kind         TEXT    NOT NULL,
    paused       INTEGER NOT NULL DEFAULT 0,
    concurrency  INTEGER,
    rate_count   INTEGER,
    rate_period  INTEGER,
    rate_log     TEXT    NOT NULL DEFAULT '[]',
    lease        INTEGER NOT NULL,
    max_failures INTEGER NOT NULL,
    retention    INTEGER NOT NULL,
    form         TEXT,
    settings     TEXT,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    UNIQUE (organisation, name)
) STRICT;

CREATE TABLE tasks (
    number              INTEGER PRIMARY KEY,
    id                  TEXT    NOT NULL UNIQUE,
    organisation        INTEGER NOT NULL,
    type                TEXT    NOT NULL,
    queue               TEXT    NOT NULL,
    state               TEXT    NOT NULL,
    reason              TEXT,
    priority            INTEGER NOT NULL,
    target              TEXT,
    input               TEXT,
    labels              TEXT,
    key                 TEXT,
    concurrency_key     TEXT,
    concurrency_limit   INTEGER NOT NULL DEFAULT 1,
    weight              INTEGER NOT NULL DEFAULT 1,
    run_at              INTEGER NOT NULL,
    wake_at             INTEGER,
    start_by            INTEGER,
    created_at          INTEGER NOT NULL,
    started_at          INTEGER,
    attempted_at        INTEGER,
    finished_at         INTEGER,
    updated_at          INTEGER NOT NULL,
    claims              INTEGER NOT NULL DEFAULT 0,
    failures            INTEGER NOT NULL DEFAULT 0,
    losses              INTEGER NOT NULL DEFAULT 0,
    max_failures        INTEGER NOT NULL,
    timeout             INTEGER,
    holder              TEXT,
    lease_until         INTEGER,
    progress            TEXT,
    message             TEXT,
    output              TEXT,
    error               TEXT,
    parent              TEXT,
    schedule            TEXT,
    rule                TEXT,
    retry_of            TEXT,
    report              TEXT,
    actor               TEXT    NOT NULL,
    origin              TEXT    NOT NULL,
    trace               TEXT,
    cancel_requested_at INTEGER,
    settled_by          TEXT,
    CHECK (state IN ('scheduled', 'ready', 'suspended', 'running', 'succeeded', 'failed', 'canceled')),
    CHECK ((state = 'running') = (holder IS NOT NULL)),
    CHECK ((state IN ('succeeded', 'failed', 'canceled')) = (finished_at IS NOT NULL))
) STRICT;

-- What lists read, newest first.
CREATE INDEX tasks_newest   ON tasks (organisation, number);
CREATE INDEX tasks_by_type  ON tasks (organisation, type, number);
CREATE INDEX tasks_by_state ON tasks (organisation, state, number);
CREATE INDEX tasks_by_queue ON tasks (organisation, queue, number);
CREATE INDEX tasks_finished ON tasks (organisation, queue, finished_at, number) WHERE finished_at IS NOT NULL;
-- Of what people have answered; what workers settle does not stand here.
CREATE INDEX tasks_answered ON tasks (organisation, queue, settled_by, finished_at, number)
    WHERE settled_by >= 'user:' AND settled_by < 'user;';
CREATE INDEX tasks_by_parent   ON tasks (parent, number)   WHERE parent IS NOT NULL;
CREATE INDEX tasks_by_schedule ON tasks (schedule, number) WHERE schedule IS NOT NULL;

-- What the moves read: only what can be claimed now is in the ready index, so blocked and finished tasks cost a claim nothing.
-- Each look fits one partial index and no other: of two that fit, a planner with old numbers may read the wrong one as a whole.
-- (The organisation is an expression in it, since nothing else makes a planner that has no statistics yet leave the lists' indexes alone:
-- to it every index finds one row, and one row is sorted for nothing.)
CREATE INDEX tasks_ready    ON tasks ((organisation + 0), queue, type, priority DESC, run_at, number) WHERE state = 'ready';
CREATE INDEX tasks_running  ON tasks (organisation, queue, number) WHERE state = 'running';
CREATE INDEX tasks_held     ON tasks (holder) WHERE holder IS NOT NULL;
CREATE INDEX tasks_leased   ON tasks (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX tasks_waiting  ON tasks (organisation, queue, state) WHERE finished_at IS NULL AND state IN ('scheduled', 'suspended');
CREATE INDEX tasks_due      ON tasks (run_at) WHERE state = 'scheduled';
CREATE INDEX tasks_waking   ON tasks (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX tasks_expiring ON tasks (start_by)
    WHERE start_by IS NOT NULL AND started_at IS NULL AND state IN ('scheduled', 'ready', 'suspended');

-- The guards: one open task per key; the slots of a concurrency key are its ready and running tasks.
CREATE UNIQUE INDEX tasks_key ON tasks (organisation, key)
    WHERE key IS NOT NULL AND state IN ('scheduled', 'ready', 'suspended', 'running');
CREATE INDEX tasks_slots ON tasks (organisation, concurrency_key)
    WHERE concurrency_key IS NOT NULL AND state IN ('ready', 'running');
CREATE INDEX tasks_limited ON tasks (organisation, concurrency_key, priority DESC, number)
    WHERE state = 'suspended' AND reason = 'limit';

CREATE TABLE concurrency_keys (
    organisation INTEGER NOT NULL,
    key          TEXT    NOT NULL,
    PRIMARY KEY (organisation, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE labels (
    organisation INTEGER NOT NULL,
    name         TEXT    NOT NULL,
    value        TEXT    NOT NULL,
    task         INTEGER NOT NULL REFERENCES tasks ON DELETE CASCADE,
    PRIMARY KEY (organisation, name, value, task)
) STRICT, WITHOUT ROWID;
CREATE INDEX labels_of_task ON labels (task);

CREATE TABLE blockers (
    task    INTEGER NOT NULL REFERENCES tasks ON DELETE CASCADE,
    kind    TEXT    NOT NULL,
    subject TEXT    NOT NULL,
    PRIMARY KEY (task, kind, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX blockers_by_subject ON blockers (kind, subject);

CREATE TABLE signals (
    organisation INTEGER NOT NULL,
    name         TEXT    NOT NULL,
    payload      TEXT,
    sent_at      INTEGER NOT NULL,
    PRIMARY KEY (organisation, name)
) STRICT;
CREATE INDEX signals_oldest ON signals (sent_at);

CREATE TABLE results (
    number       INTEGER PRIMARY KEY,
    id           TEXT    NOT NULL UNIQUE,
    organisation INTEGER NOT NULL,
    task         INTEGER NOT NULL REFERENCES tasks ON DELETE CASCADE,
    attempt      INTEGER NOT NULL,
    name         TEXT    NOT NULL,
    value        TEXT,
    created_at   INTEGER NOT NULL,
    consumed_at  INTEGER
) STRICT;
CREATE INDEX results_of_task ON results (task, number);
CREATE INDEX results_newest ON results (organisation, number);

CREATE TABLE steps (
    task       INTEGER NOT NULL REFERENCES tasks ON DELETE CASCADE,
    name       TEXT    NOT NULL,
    attempt    INTEGER NOT NULL,
    output     TEXT,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (task, name)
) STRICT;

CREATE TABLE logs (
    task       INTEGER NOT NULL REFERENCES tasks ON DELETE CASCADE,
    attempt    INTEGER NOT NULL,
    text       TEXT    NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (task, attempt)
) STRICT;

-- What only people need: an answer that is not finished, and what they say to one another about a task.
CREATE TABLE drafts (
    task       INTEGER PRIMARY KEY REFERENCES tasks ON DELETE CASCADE,
    attempt    INTEGER NOT NULL,
    author     TEXT    NOT NULL,
    data       TEXT,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE comments (
    number       INTEGER PRIMARY KEY,
    id           TEXT    NOT NULL UNIQUE,
    organisation INTEGER NOT NULL,
    task         INTEGER NOT NULL REFERENCES tasks ON DELETE CASCADE,
    author       TEXT    NOT NULL,
    text         TEXT    NOT NULL,
    created_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX comments_of_task ON comments (task, number);

CREATE TABLE events (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    tx           INTEGER NOT NULL DEFAULT 0,
    organisation INTEGER NOT NULL,
    at           INTEGER NOT NULL,
    kind         TEXT    NOT NULL,
    subject      TEXT    NOT NULL,
    queue        TEXT,
    type         TEXT,
    data         TEXT
) STRICT;
CREATE INDEX events_of_subject ON events (subject, seq);

-- How far the oldest events have been removed: a reader who stopped before it has missed some.
CREATE TABLE feed_horizon (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    tx   INTEGER NOT NULL,
    seq  INTEGER NOT NULL
) STRICT;

CREATE TABLE workers (
    id           TEXT    PRIMARY KEY,
    organisation INTEGER NOT NULL,
    name         TEXT    NOT NULL,
    lanes        TEXT    NOT NULL,
    slots        INTEGER NOT NULL,
    version      TEXT    NOT NULL,
    state        TEXT    NOT NULL,
    started_at   INTEGER NOT NULL,
    seen_at      INTEGER NOT NULL,
    lease_until  INTEGER NOT NULL,
    claimed_at   INTEGER
) STRICT;
CREATE INDEX workers_live ON workers (lease_until) WHERE state IN ('active', 'draining');

CREATE TABLE schedules (
    number            INTEGER PRIMARY KEY,
    id                TEXT    NOT NULL UNIQUE,
    organisation      INTEGER NOT NULL,
    name              TEXT    NOT NULL,
    kind              TEXT    NOT NULL,
    spec              TEXT    NOT NULL,
    timezone          TEXT    NOT NULL,
    template          TEXT    NOT NULL,
    catch_up          TEXT    NOT NULL,
    overlap           TEXT    NOT NULL,
    paused            INTEGER NOT NULL DEFAULT 0,
    starts_at         INTEGER,
    ends_at           INTEGER,
    runs_left         INTEGER,
    failure_threshold INTEGER,
    settings          TEXT,
    next_at           INTEGER,
    last_at           INTEGER,
    actor             TEXT    NOT NULL,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    UNIQUE (organisation, name)
) STRICT;
CREATE INDEX schedules_due ON schedules (next_at) WHERE next_at IS NOT NULL AND paused = 0;

-- The guard of "each instant at most once".
CREATE TABLE firings (
    schedule   TEXT    NOT NULL REFERENCES schedules (id) ON DELETE CASCADE,
    fire_at    INTEGER NOT NULL,
    task       TEXT,
    outcome    TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (schedule, fire_at)
) STRICT;
CREATE INDEX firings_oldest ON firings (created_at);

CREATE TABLE replies (
    organisation INTEGER NOT NULL,
    key          TEXT    NOT NULL,
    fingerprint  TEXT    NOT NULL,
    status       INTEGER NOT NULL,
    body         TEXT    NOT NULL,
    headers      TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (organisation, key)
) STRICT;
CREATE INDEX replies_oldest ON replies (created_at);

-- Infrastructure: who provides it, its sites with their racks and trays, and the rules by which it is operated.
CREATE TABLE providers (
    organisation INTEGER PRIMARY KEY REFERENCES organisations,
    id           TEXT    NOT NULL UNIQUE,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL
) STRICT;

CREATE TABLE sites (
    number       INTEGER PRIMARY KEY,
    id           TEXT    NOT NULL UNIQUE,
    organisation INTEGER NOT NULL REFERENCES organisations,
    name         TEXT    NOT NULL,
    operable     INTEGER NOT NULL,
    driver       TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX sites_by_organisation ON sites (organisation, number);

CREATE TABLE racks (
    site         INTEGER NOT NULL REFERENCES sites ON DELETE CASCADE,
    id           TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    manufacturer TEXT    NOT NULL,
    model        TEXT    NOT NULL,
    details      TEXT,
    PRIMARY KEY (site, id)
) STRICT;

CREATE TABLE trays (
    site         INTEGER NOT NULL REFERENCES sites ON DELETE CASCADE,
    id           TEXT    NOT NULL,
    rack         TEXT    NOT NULL,
    kind         TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    component    TEXT    NOT NULL,
    manufacturer TEXT    NOT NULL,
    model        TEXT    NOT NULL,
    slot         INTEGER,
    details      TEXT,
    observed     TEXT,
    PRIMARY KEY (site, id)
) STRICT;
CREATE INDEX trays_of_rack ON trays (site, rack);

CREATE TABLE rules (
    number       INTEGER PRIMARY KEY,
    id           TEXT    NOT NULL UNIQUE,
    organisation INTEGER NOT NULL,
    site         INTEGER NOT NULL REFERENCES sites ON DELETE CASCADE,
    name         TEXT    NOT NULL,
    description  TEXT    NOT NULL,
    operation    TEXT    NOT NULL,
    code         TEXT    NOT NULL,
    plan         TEXT    NOT NULL,
    is_default   INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX rules_of_site ON rules (site, number);
CREATE UNIQUE INDEX rules_default ON rules (site, operation, code) WHERE is_default = 1;

CREATE TABLE rack_rules (
    site       INTEGER NOT NULL,
    rack       TEXT    NOT NULL,
    operation  TEXT    NOT NULL,
    code       TEXT    NOT NULL,
    rule       TEXT    NOT NULL REFERENCES rules (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (site, rack, operation, code)
) STRICT;
CREATE INDEX rack_rules_by_rule ON rack_rules (rule);

-- Which tasks concern a component: dozens per task, so they are not labels.
CREATE TABLE involved (
    organisation INTEGER NOT NULL,
    component    TEXT    NOT NULL,
    task         INTEGER NOT NULL REFERENCES tasks ON DELETE CASCADE,
    PRIMARY KEY (organisation, component, task)
) STRICT, WITHOUT ROWID;
CREATE INDEX involved_of_task ON involved (task);

-- One operation over many racks, phase by phase, and what has become of each rack.
CREATE TABLE rollouts (
    number       INTEGER PRIMARY KEY,
    id           TEXT    NOT NULL UNIQUE,
    organisation INTEGER NOT NULL,
    site         INTEGER NOT NULL REFERENCES sites ON DELETE CASCADE,
    name         TEXT    NOT NULL,
    description  TEXT    NOT NULL,
    operation    TEXT    NOT NULL,
    code         TEXT    NOT NULL,
    wanted       TEXT    NOT NULL,
    policy       TEXT    NOT NULL,
    status       TEXT    NOT NULL,
    why          TEXT,
    message      TEXT    NOT NULL,
    phases       INTEGER NOT NULL,
    phase        INTEGER NOT NULL,
    accepted     INTEGER NOT NULL,
    actor        TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    started_at   INTEGER,
    finished_at  INTEGER
) STRICT;
CREATE INDEX rollouts_of_site ON rollouts (site, number);
CREATE INDEX rollouts_open    ON rollouts (number) WHERE status IN ('pending', 'running', 'paused');

CREATE TABLE rollout_targets (
    number     INTEGER PRIMARY KEY,
    id         TEXT    NOT NULL UNIQUE,
    rollout    INTEGER NOT NULL REFERENCES rollouts ON DELETE CASCADE,
    rack       TEXT    NOT NULL,
    sequence   INTEGER NOT NULL,
    phase      INTEGER NOT NULL,
    task       TEXT,
    outcome    TEXT    NOT NULL,
    message    TEXT    NOT NULL,
    tries      INTEGER NOT NULL,
    blocked_at INTEGER,
    retry_at   INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX rollout_targets_in_order ON rollout_targets (rollout, sequence);

-- Sources: whose data is fetched from where, in sessions, by polls; and the destinations of results and news.
CREATE TABLE end_users (
    number       INTEGER PRIMARY KEY,
    organisation INTEGER NOT NULL REFERENCES organisations,
    key          INTEGER,
    identifier   TEXT    NOT NULL,
    state        TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    UNIQUE (organisation, identifier)
) STRICT;
CREATE INDEX end_users_newest ON end_users (organisation, number);

CREATE TABLE sources (
    number       INTEGER PRIMARY KEY,
    organisation INTEGER NOT NULL REFERENCES organisations,
    end_user     INTEGER NOT NULL REFERENCES end_users,
    type         TEXT    NOT NULL,
    identifier   TEXT    NOT NULL,
    parent       INTEGER REFERENCES sources,
    state        TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    UNIQUE (end_user, type, identifier)
) STRICT;
CREATE INDEX sources_newest ON sources (organisation, number);
CREATE INDEX sources_of_parent ON sources (parent, number) WHERE parent IS NOT NULL;

CREATE TABLE sessions (
    number       INTEGER PRIMARY KEY,
    id           TEXT    NOT NULL UNIQUE,
    organisation INTEGER NOT NULL REFERENCES organisations,
    key          INTEGER,
    end_user     INTEGER NOT NULL REFERENCES end_users,
    source       INTEGER NOT NULL REFERENCES sources,
    task         TEXT    NOT NULL,
    credentials  TEXT,
    opened_at    INTEGER,
    expired_at   INTEGER,
    expired_by   TEXT,
    created_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_newest ON sessions (organisation, number);
CREATE INDEX sessions_of_source ON sessions (source, number);

CREATE TABLE polls (
    number       INTEGER PRIMARY KEY,
    id           TEXT    NOT NULL UNIQUE,
    organisation INTEGER NOT NULL REFERENCES organisations,
    key          INTEGER,
    end_user     INTEGER NOT NULL REFERENCES end_users,
    source       INTEGER NOT NULL REFERENCES sources,
    session      TEXT    NOT NULL REFERENCES sessions (id),
    payload      TEXT    NOT NULL,
    storage      INTEGER NOT NULL,
    created_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX polls_newest ON polls (organisation, number);
CREATE INDEX polls_of_session ON polls (session, number);

CREATE TABLE destinations (
    number       INTEGER PRIMARY KEY,
    organisation INTEGER NOT NULL REFERENCES organisations,
    kind         TEXT    NOT NULL,
    url          TEXT    NOT NULL,
    secret       TEXT,
    credentials  TEXT,
    settings     TEXT    NOT NULL,
    state        TEXT    NOT NULL,
    created_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX destinations_newest ON destinations (organisation, kind, number);

-- Hooks, and what is on its way to them. A delivery refers to its hook without a constraint: an event must not fail because a hook
-- was deleted in the same moment.
CREATE TABLE hooks (
    number        INTEGER PRIMARY KEY,
    id            TEXT    NOT NULL UNIQUE,
    organisation  INTEGER NOT NULL REFERENCES organisations,
    url           TEXT    NOT NULL,
    events        TEXT    NOT NULL,
    queue         TEXT,
    type          TEXT,
    wire          TEXT    NOT NULL,
    settings      TEXT,
    enabled       INTEGER NOT NULL,
    reason        TEXT,
    secret        TEXT    NOT NULL,
    former_secret TEXT,
    former_until  INTEGER,
    actor         TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
) STRICT;
CREATE INDEX hooks_by_organisation ON hooks (organisation, number);
CREATE INDEX hooks_enabled ON hooks (organisation, queue) WHERE enabled = 1;

CREATE TABLE deliveries (
    number       INTEGER PRIMARY KEY,
    id           TEXT    NOT NULL UNIQUE,
    organisation INTEGER NOT NULL,
    hook         INTEGER NOT NULL,
    kind         TEXT    NOT NULL,
    subject      TEXT    NOT NULL,
    queue        TEXT,
    type         TEXT,
    data         TEXT,
    at           INTEGER NOT NULL,
    state        TEXT    NOT NULL,
    claims       INTEGER NOT NULL DEFAULT 0,
    attempts     INTEGER NOT NULL DEFAULT 0,
    next_at      INTEGER,
    sent_at      INTEGER,
    status       INTEGER,
    error        TEXT,
    took         INTEGER,
    finished_at  INTEGER,
    created_at   INTEGER NOT NULL,
    CHECK (state IN ('pending', 'delivered', 'given_up')),
    CHECK ((state = 'pending') = (next_at IS NOT NULL))
) STRICT;
CREATE INDEX deliveries_of_hook  ON deliveries (hook, number);
CREATE INDEX deliveries_in_state ON deliveries (hook, state, number);
CREATE INDEX deliveries_due      ON deliveries (hook, next_at) WHERE next_at IS NOT NULL;
CREATE INDEX deliveries_waiting  ON deliveries (subject) WHERE next_at IS NOT NULL;
