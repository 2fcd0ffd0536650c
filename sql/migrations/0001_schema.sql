-- The tables of mosquitto-ota, schema ota.
--
-- Applied by the plugin at start, under a lock, or by hand:  psql -v ON_ERROR_STOP=1 -1 -f 0001_schema.sql
-- A migration is never edited after its release.  Functions and views are not here: they are replaced at every upgrade.

CREATE SCHEMA IF NOT EXISTS ota;
COMMENT ON SCHEMA ota IS 'Firmware updates for device fleets, served by the Mosquitto broker (mosquitto-ota)';

CREATE TABLE ota.schema_migration (
    version     integer     PRIMARY KEY CHECK (version > 0),
    name        text        NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now(),
    applied_by  text        NOT NULL DEFAULT current_user
);
COMMENT ON TABLE ota.schema_migration IS 'Which numbered migrations this database has. A plugin that knows fewer refuses to use it';

CREATE TABLE ota.setting (
    name   text PRIMARY KEY,
    value  text NOT NULL
);
COMMENT ON TABLE ota.setting IS 'Internal facts: revision of the functions and views installed';

-- A name that can stand as one level of an MQTT topic.  A domain is checked when a name is written, not at every update of
-- the row's other columns, as a table constraint would be.
CREATE DOMAIN ota.topic_name AS text
    CHECK (octet_length(VALUE) BETWEEN 1 AND 128 AND VALUE !~ '[/+#[:cntrl:]]' AND VALUE !~ '^\$');
COMMENT ON DOMAIN ota.topic_name IS '1..128 bytes without /, +, #, control characters, not beginning with $';

-- Who is served -------------------------------------------------------------------------------------------------------

CREATE TABLE ota.fleet (
    fleet           ota.topic_name PRIMARY KEY,
    timezone        text        NOT NULL DEFAULT 'UTC'
                    CHECK (timestamptz '2000-01-01 00:00:00+00' AT TIME ZONE timezone IS NOT NULL),
    pinned_version  text,
    max_per_gateway integer     NOT NULL DEFAULT 1 CHECK (max_per_gateway > 0),
    created_at      timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE  ota.fleet IS 'A named set of devices that get the same firmware';
COMMENT ON COLUMN ota.fleet.timezone IS 'Time zone of the fleet''s update windows, a name PostgreSQL knows';
COMMENT ON COLUMN ota.fleet.max_per_gateway IS 'How many devices behind one gateway are updated at once';
COMMENT ON COLUMN ota.fleet.pinned_version IS 'Held at this version: rollouts of others leave the fleet alone';
INSERT INTO ota.fleet (fleet) VALUES ('default');

CREATE TABLE ota.fleet_window (
    fleet     ota.topic_name NOT NULL REFERENCES ota.fleet ON UPDATE CASCADE ON DELETE CASCADE,
    days      integer[]   NOT NULL CHECK (cardinality(days) BETWEEN 1 AND 7 AND days <@ ARRAY[1, 2, 3, 4, 5, 6, 7]),
    opens     time        NOT NULL CHECK (opens < time '24:00'),
    closes    time        NOT NULL CHECK (closes <> opens),
    added_at  timestamptz NOT NULL DEFAULT now(),
    added_by  text        NOT NULL DEFAULT session_user,
    PRIMARY KEY (fleet, days, opens, closes)
);
COMMENT ON TABLE  ota.fleet_window IS 'When a fleet may be told of updates, every week; a fleet without a row: always';
COMMENT ON COLUMN ota.fleet_window.days IS 'Days on which it opens, 1 Monday to 7 Sunday, in the fleet''s time zone';
COMMENT ON COLUMN ota.fleet_window.closes IS 'On the day it opened, or on the next one when that is not after the opening';

CREATE TABLE ota.broker (
    broker      text        PRIMARY KEY,
    started_at  timestamptz NOT NULL,
    alive_at    timestamptz NOT NULL,
    last_seq    bigint      NOT NULL DEFAULT 0 CHECK (last_seq >= 0),
    plugin      text        NOT NULL,
    mosquitto   text
);
COMMENT ON TABLE  ota.broker IS 'Every broker that ever used this database';
COMMENT ON COLUMN ota.broker.alive_at IS 'Last time that it was connected with all its events written';
COMMENT ON COLUMN ota.broker.last_seq IS 'Outbox sequence number up to which its events are in this database: what makes a replay change nothing';

CREATE TABLE ota.device (
    device_id       ota.topic_name PRIMARY KEY,
    fleet           ota.topic_name NOT NULL DEFAULT 'default' REFERENCES ota.fleet ON UPDATE CASCADE,
    hardware        text        CHECK (octet_length(hardware) <= 128),
    gateway         text        CHECK (octet_length(gateway) BETWEEN 1 AND 128),
    version         text        CHECK (octet_length(version) <= 64),
    boot_id         text        CHECK (octet_length(boot_id) <= 128),
    sequence        bigint      NOT NULL DEFAULT 0 CHECK (sequence >= 0),
    pinned_version  text,
    connected       boolean     NOT NULL DEFAULT false,
    listening       boolean     NOT NULL DEFAULT false,
    broker          text,
    session         bigint      NOT NULL DEFAULT 0,
    cut_off         text        CHECK (cut_off IN ('connected', 'listening')),
    notify_topic    text,
    first_seen      timestamptz,
    last_seen       timestamptz,
    fleet_from      text        NOT NULL DEFAULT 'operator' CHECK (fleet_from IN ('operator', 'topic', 'default')),
    attributes      jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(attributes) = 'object')
) WITH (fillfactor = 70);
COMMENT ON TABLE  ota.device IS 'Every device: what it runs, where it is connected';
COMMENT ON COLUMN ota.device.version IS 'The firmware it last reported to run';
COMMENT ON COLUMN ota.device.sequence IS 'Highest manifest sequence it is known to have run; it is never given a lower one (RFC 9124, rollback)';
COMMENT ON COLUMN ota.device.listening IS 'Connected and subscribed: a notice would reach it now';
COMMENT ON COLUMN ota.device.session IS 'Number of its present or last MQTT session on its broker';
COMMENT ON COLUMN ota.device.cut_off IS 'Its broker was given up while the device was connected (or listening): what it is again when that broker comes back with its sessions';
COMMENT ON COLUMN ota.device.notify_topic IS 'Notify topic it last subscribed to by exact name';
COMMENT ON COLUMN ota.device.fleet_from IS 'How the fleet was chosen: by an operator, by the notify topic it subscribed to, or by default (then a later subscription still decides)';
COMMENT ON COLUMN ota.device.gateway IS 'The client that speaks for it, null: itself';
COMMENT ON COLUMN ota.device.boot_id IS 'The bootId last reported through its gateway: a new one is a reboot seen';
CREATE INDEX device_gateway ON ota.device (gateway) WHERE gateway IS NOT NULL;
CREATE INDEX device_fleet_version ON ota.device (fleet, version);
CREATE INDEX device_broker_connected ON ota.device (broker) WHERE connected;
CREATE INDEX device_cut_off ON ota.device (broker) WHERE cut_off IS NOT NULL;

-- What is rolled out --------------------------------------------------------------------------------------------------

CREATE TABLE ota.release (
    release_id     bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version        text        NOT NULL CHECK (octet_length(version) BETWEEN 1 AND 64),
    sequence       bigint      NOT NULL CHECK (sequence > 0),
    url            text        NOT NULL CHECK (octet_length(url) BETWEEN 1 AND 2048),
    sha256         text        NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    size           bigint      NOT NULL CHECK (size > 0),
    release_notes  text        CHECK (octet_length(release_notes) <= 16384),
    envelope       jsonb,
    signature      bytea       CHECK (octet_length(signature) BETWEEN 1 AND 8192),
    hardware       text[],
    fleets         text[],
    min_version    text,
    max_version    text,
    not_before     timestamptz,
    expires        timestamptz,
    state          text        NOT NULL DEFAULT 'submitted'
                   CHECK (state IN ('submitted', 'verified', 'rejected', 'revoked')),
    reason         text,
    signed_by      text,
    submitted_at   timestamptz NOT NULL DEFAULT now(),
    submitted_by   text        NOT NULL DEFAULT session_user,
    verified_at    timestamptz,
    verified_by    text,
    CHECK (envelope IS NOT NULL OR signature IS NOT NULL)
);
COMMENT ON TABLE  ota.release IS 'Firmware versions with their signatures. The broker verifies them with the keys on its own disk';
COMMENT ON COLUMN ota.release.state IS 'submitted: not looked at yet; verified; rejected: see reason; revoked: recalled everywhere';
COMMENT ON COLUMN ota.release.reason IS 'Why it was rejected or revoked, in the words of the broker or of the operator';
COMMENT ON COLUMN ota.release.signed_by IS 'The trusted keys that signed it';
-- A rejected release may be submitted again under its version.
CREATE UNIQUE INDEX release_version ON ota.release (version) WHERE state <> 'rejected';
CREATE UNIQUE INDEX release_sequence ON ota.release (sequence) WHERE state <> 'rejected';
CREATE INDEX release_submitted ON ota.release (release_id) WHERE state = 'submitted';

CREATE TABLE ota.plan (
    plan               text        PRIMARY KEY CHECK (plan ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
    success_threshold  numeric     NOT NULL CHECK (success_threshold > 0 AND success_threshold <= 1),
    health_timeout     interval    NOT NULL CHECK (health_timeout > interval '0'),
    download_timeout   interval    NOT NULL CHECK (download_timeout > interval '0'),
    max_in_flight      integer     CHECK (max_in_flight > 0),
    per_minute         integer     CHECK (per_minute > 0),
    retries            integer     NOT NULL CHECK (retries BETWEEN 0 AND 10),
    options            jsonb       NOT NULL CHECK (jsonb_typeof(options) = 'object'),
    defined_at         timestamptz NOT NULL DEFAULT now(),
    defined_by         text        NOT NULL DEFAULT session_user
);
COMMENT ON TABLE ota.plan IS 'Reusable lists of stages. A rollout takes a copy when it starts: changing a plan changes no running rollout';

CREATE TABLE ota.plan_stage (
    plan         text     NOT NULL REFERENCES ota.plan ON DELETE CASCADE,
    stage        integer  NOT NULL CHECK (stage > 0),
    label        text     NOT NULL CHECK (octet_length(label) BETWEEN 1 AND 64),
    percent      numeric  NOT NULL CHECK (percent > 0 AND percent <= 100),
    wait         interval NOT NULL DEFAULT interval '0' CHECK (wait >= interval '0'),
    min_devices  integer  NOT NULL DEFAULT 1 CHECK (min_devices > 0),
    hold         boolean  NOT NULL DEFAULT false,
    PRIMARY KEY (plan, stage),
    UNIQUE (plan, label)
);
COMMENT ON COLUMN ota.plan_stage.wait IS 'Time between the stage''s opening and its verdict';
COMMENT ON COLUMN ota.plan_stage.min_devices IS 'Cohort size below which the percentage does not go (1 % of 50 devices says little)';
COMMENT ON COLUMN ota.plan_stage.hold IS 'After a pass wait for ota.advance_rollout';

CREATE TABLE ota.rollout (
    rollout_id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fleet              ota.topic_name NOT NULL REFERENCES ota.fleet ON UPDATE CASCADE,
    release_id         bigint      NOT NULL REFERENCES ota.release,
    plan               text        NOT NULL,
    state              text        NOT NULL DEFAULT 'scheduled',
    reason             text,
    start_at           timestamptz NOT NULL DEFAULT now(),
    started_at         timestamptz,
    finished_at        timestamptz,
    paused_at          timestamptz,
    created_at         timestamptz NOT NULL DEFAULT now(),
    created_by         text        NOT NULL DEFAULT session_user,
    current_stage      integer     NOT NULL DEFAULT 0,
    advance_requested  boolean     NOT NULL DEFAULT false,
    next_action        text,
    next_at            timestamptz,
    success_threshold  numeric     NOT NULL,
    health_timeout     interval    NOT NULL,
    download_timeout   interval    NOT NULL,
    max_in_flight      integer,
    per_minute         integer,
    retries            integer     NOT NULL,
    options            jsonb       NOT NULL,
    any_time           boolean     NOT NULL DEFAULT false,
    device_id          text
);
COMMENT ON TABLE  ota.rollout IS 'One release going to one fleet by one plan; the plan''s numbers are copied here at the start';
COMMENT ON COLUMN ota.rollout.reason IS 'Why it is in its present state';
COMMENT ON COLUMN ota.rollout.current_stage IS 'The stage opened last; 0: none yet';
COMMENT ON COLUMN ota.rollout.next_action IS 'What the controller does next, in words';
COMMENT ON COLUMN ota.rollout.any_time IS 'The fleet''s update windows do not hold it: an emergency, or a device''s pin';
COMMENT ON COLUMN ota.rollout.device_id IS 'The one device that it is for, because it is pinned to the release; null: the fleet''s';
CREATE UNIQUE INDEX rollout_active_fleet ON ota.rollout (fleet) WHERE state IN ('running', 'paused') AND device_id IS NULL;
CREATE UNIQUE INDEX rollout_active_device ON ota.rollout (device_id) WHERE state IN ('running', 'paused') AND device_id IS NOT NULL;
CREATE INDEX rollout_state ON ota.rollout (state);

CREATE TABLE ota.rollout_transition (
    from_state  text NOT NULL,
    event       text NOT NULL,
    to_state    text NOT NULL,
    PRIMARY KEY (from_state, event)
);
COMMENT ON TABLE ota.rollout_transition IS 'The legal steps of ota.rollout.state; a trigger refuses every other one';
INSERT INTO ota.rollout_transition (from_state, event, to_state) VALUES
    ('scheduled', 'start',     'running'),
    ('scheduled', 'pause',     'paused'),
    ('running',   'pause',     'paused'),
    ('paused',    'resume',    'running'),
    ('halted',    'resume',    'running'),
    ('scheduled', 'halt',      'halted'),
    ('running',   'halt',      'halted'),
    ('paused',    'halt',      'halted'),
    ('completed', 'halt',      'halted'),
    ('running',   'complete',  'completed'),
    ('scheduled', 'cancel',    'cancelled'),
    ('running',   'cancel',    'cancelled'),
    ('paused',    'cancel',    'cancelled'),
    ('halted',    'cancel',    'cancelled'),
    ('scheduled', 'supersede', 'superseded'),
    ('running',   'supersede', 'superseded'),
    ('paused',    'supersede', 'superseded'),
    ('halted',    'supersede', 'superseded'),
    ('completed', 'supersede', 'superseded');
ALTER TABLE ota.rollout ADD CONSTRAINT rollout_state_known CHECK
    (state IN ('scheduled', 'running', 'paused', 'halted', 'completed', 'cancelled', 'superseded'));

CREATE TABLE ota.rollout_stage (
    rollout_id      bigint      NOT NULL REFERENCES ota.rollout ON DELETE CASCADE,
    stage           integer     NOT NULL CHECK (stage > 0),
    label           text        NOT NULL,
    percent         numeric     NOT NULL,
    wait            interval    NOT NULL,
    min_devices     integer     NOT NULL,
    hold            boolean     NOT NULL,
    state           text        NOT NULL DEFAULT 'waiting'
                    CHECK (state IN ('waiting', 'open', 'held', 'passed', 'halted')),
    opened_at       timestamptz,
    wait_until      timestamptz,
    stopped_at      timestamptz,
    closed_at       timestamptz,
    eligible        bigint,
    cohort          bigint,
    added           bigint      NOT NULL DEFAULT 0,
    verdict         text,
    notified        bigint      NOT NULL DEFAULT 0,
    in_flight       bigint      NOT NULL DEFAULT 0,
    succeeded       bigint      NOT NULL DEFAULT 0,
    failed          bigint      NOT NULL DEFAULT 0,
    rejected        bigint      NOT NULL DEFAULT 0,
    attempts_failed bigint      NOT NULL DEFAULT 0,
    forgiven_ok     bigint      NOT NULL DEFAULT 0,
    forgiven_failed bigint      NOT NULL DEFAULT 0,
    last_rank       bigint,
    pacing_window   integer     NOT NULL DEFAULT 0,
    pacing_ok       bigint      NOT NULL DEFAULT 0,
    pacing_bad      bigint      NOT NULL DEFAULT 0,
    PRIMARY KEY (rollout_id, stage)
) WITH (fillfactor = 50);
COMMENT ON TABLE  ota.rollout_stage IS 'The stages of a rollout with their counters, which a trigger on ota.device_update keeps';
COMMENT ON COLUMN ota.rollout_stage.eligible IS 'Devices that could get the release when the stage opened: what the percentage is of';
COMMENT ON COLUMN ota.rollout_stage.stopped_at IS 'Since when its wait stands still because the update window is closed; null: it runs';
COMMENT ON COLUMN ota.rollout_stage.cohort IS 'Devices of this stage and of those before it';
COMMENT ON COLUMN ota.rollout_stage.notified IS 'Devices told in this stage (latecomers of earlier stages too)';
COMMENT ON COLUMN ota.rollout_stage.forgiven_failed IS 'Failures before an operator resumed a halted stage: they count no more';
COMMENT ON COLUMN ota.rollout_stage.last_rank IS 'Highest ota.cohort_rank of the cohort: a device behind it is told nothing while the stage is not the whole fleet';
COMMENT ON COLUMN ota.rollout_stage.verdict IS 'The verdict with its numbers and the rule that fired';

-- Who gets it ---------------------------------------------------------------------------------------------------------

-- No foreign keys here: a stage of a million devices would pay for two look-ups a row, and only the functions of this schema write it.
CREATE TABLE ota.device_update (
    rollout_id      bigint      NOT NULL,
    device_id       text        NOT NULL,
    stage           integer     NOT NULL,
    served_stage    integer,
    rank            bigint      NOT NULL,
    attempt         integer     NOT NULL DEFAULT 1 CHECK (attempt > 0),
    retries_used    integer     NOT NULL DEFAULT 0,
    attempts_failed integer     NOT NULL DEFAULT 0,
    state           text        NOT NULL DEFAULT 'pending'
                    CHECK (state IN ('pending', 'notified', 'downloading', 'verifying', 'applying', 'rebooting', 'succeeded',
                                     'failed', 'rolled_back', 'timed_out', 'rejected', 'cancelled')),
    error           text,
    ready           boolean     NOT NULL DEFAULT false,
    granted_at      timestamptz,
    retell_at       timestamptz,
    recall          boolean     NOT NULL DEFAULT false,
    told_session    bigint      NOT NULL DEFAULT 0,
    boots           integer     NOT NULL DEFAULT 0,
    boots_since     timestamptz,
    not_before      timestamptz,
    notified_at     timestamptz,
    deadline        timestamptz,
    finished_at     timestamptz,
    from_version    text,
    broker          text,
    PRIMARY KEY (rollout_id, device_id)
) WITH (fillfactor = 70);
COMMENT ON TABLE  ota.device_update IS 'One device''s part in one rollout';
COMMENT ON COLUMN ota.device_update.stage IS 'The stage whose cohort it joined';
COMMENT ON COLUMN ota.device_update.served_stage IS 'The stage in which it was told: the same, or a later one for a device that had been away';
COMMENT ON COLUMN ota.device_update.rank IS 'ota.cohort_rank(rollout, device): the order in which devices join';
COMMENT ON COLUMN ota.device_update.attempts_failed IS 'Attempts that failed, those with another try included: what slows the pace';
COMMENT ON COLUMN ota.device_update.ready IS 'Pending and its device is listening: it could be told now';
COMMENT ON COLUMN ota.device_update.granted_at IS 'The controller gave it a slot; its broker tells it next';
COMMENT ON COLUMN ota.device_update.retell_at IS 'It came back without having started: told again, same attempt, at this time';
COMMENT ON COLUMN ota.device_update.recall IS 'Its broker has to send a recall';
COMMENT ON COLUMN ota.device_update.told_session IS 'MQTT session in which it was told or last reported progress; success needs a later one';
COMMENT ON COLUMN ota.device_update.not_before IS 'Deferred by the device until then';
COMMENT ON COLUMN ota.device_update.deadline IS 'Silence beyond this is a failure';
COMMENT ON COLUMN ota.device_update.broker IS 'The broker that told it';
CREATE INDEX device_update_ready ON ota.device_update (rollout_id, rank)
    WHERE state = 'pending' AND ready AND granted_at IS NULL;
CREATE INDEX device_update_granted ON ota.device_update (broker)
    WHERE state = 'pending' AND granted_at IS NOT NULL;
CREATE INDEX device_update_retell ON ota.device_update (retell_at) WHERE retell_at IS NOT NULL;
CREATE INDEX device_update_recall ON ota.device_update (broker) WHERE recall;
CREATE INDEX device_update_deadline ON ota.device_update (deadline)
    WHERE state IN ('notified', 'downloading', 'verifying', 'applying', 'rebooting');
CREATE INDEX device_update_open ON ota.device_update (device_id)
    WHERE state IN ('pending', 'notified', 'downloading', 'verifying', 'applying', 'rebooting');

-- What happened -------------------------------------------------------------------------------------------------------

CREATE TABLE ota.event (
    event_id    bigint      GENERATED ALWAYS AS IDENTITY,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    broker      text,
    device_id   text,
    rollout_id  bigint,
    kind        text        NOT NULL,
    detail      jsonb       NOT NULL DEFAULT '{}',
    PRIMARY KEY (event_id)
);
COMMENT ON TABLE ota.event IS 'Append-only audit log: everything that devices, brokers and operators did';
CREATE INDEX event_device ON ota.event (device_id, at) WHERE device_id IS NOT NULL;
CREATE INDEX event_rollout ON ota.event (rollout_id, at) WHERE rollout_id IS NOT NULL;
CREATE INDEX event_denied ON ota.event (at) WHERE kind = 'denied';

INSERT INTO ota.schema_migration (version, name) VALUES (1, 'schema');
