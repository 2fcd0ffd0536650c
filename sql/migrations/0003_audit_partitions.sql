-- The audit log by months (UTC), and what chains its rows: docs/design/audit.md.
--
-- Rows and their numbers are kept: the old table becomes one partition, which ends with the present month, and is not rewritten.
-- It is read a few times, with nobody writing meanwhile (brokers keep their reports in the outbox).  A site with tens of millions
-- of rows takes most of that time out beforehand, see "Upgrading a large log" there.

CREATE TABLE ota.event_chain (
    chain       integer     GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text        NOT NULL UNIQUE,
    broker      text        UNIQUE,
    position    bigint      NOT NULL DEFAULT 0 CHECK (position >= 0),
    hash        bytea       NOT NULL CHECK (octet_length(hash) = 32),
    created_at  timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
COMMENT ON TABLE  ota.event_chain IS 'The chains of the audit log with their heads: one for each broker, some for everybody else';
COMMENT ON COLUMN ota.event_chain.broker IS 'Whose events it holds; null: those of operators, the controller and the database itself';
COMMENT ON COLUMN ota.event_chain.position IS 'Position of its last row; 0: none yet';
COMMENT ON COLUMN ota.event_chain.hash IS 'Hash of its last row; of its name when there is none yet';

CREATE TABLE ota.event_dropped (
    anchor          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    part            text        NOT NULL,
    until           timestamptz,
    chain           integer     REFERENCES ota.event_chain,
    first_position  bigint,
    last_position   bigint,
    last_hash       bytea,
    rows            bigint      NOT NULL CHECK (rows > 0),
    noted_at        timestamptz NOT NULL DEFAULT now(),
    dropped_at      timestamptz,
    dropped_chain   integer,
    dropped_position bigint,
    CHECK ((chain IS NULL) = (first_position IS NULL) AND (chain IS NULL) = (last_position IS NULL) AND (chain IS NULL) = (last_hash IS NULL)),
    CHECK (first_position > 0 AND last_position - first_position = rows - 1),
    CHECK ((dropped_at IS NULL) = (dropped_chain IS NULL) AND (dropped_at IS NULL) = (dropped_position IS NULL))
);
COMMENT ON TABLE  ota.event_dropped IS 'Anchors: what retention has taken out of the audit log, as runs of positions of a chain, each with its last hash';
COMMENT ON COLUMN ota.event_dropped.part IS 'The table that held it';
COMMENT ON COLUMN ota.event_dropped.chain IS 'Null: rows from before the chains';
COMMENT ON COLUMN ota.event_dropped.dropped_at IS 'Null: noted, and not dropped yet';
COMMENT ON COLUMN ota.event_dropped.dropped_position IS 'The audit row that says so, and vouches for this one: its position in the chain dropped_chain';
CREATE UNIQUE INDEX event_dropped_run ON ota.event_dropped (chain, last_position) WHERE chain IS NOT NULL;

-- Nobody's view may go on reading the old table without a word.  The schema's own views are made anew after the migrations.
DROP VIEW IF EXISTS ota.denied, ota.device_history;
DO $$
DECLARE
    theirs  text := (SELECT string_agg(DISTINCT r.ev_class::regclass::text, ', ')
                       FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
                      WHERE d.classid = 'pg_rewrite'::regclass AND d.refobjid = 'ota.event'::regclass);
BEGIN
    IF theirs IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '2BP01', MESSAGE = format('ota.event becomes a partitioned table, and %s would go on reading the old one', theirs),
            HINT = 'Drop it, upgrade, and create it again.';
    END IF;
END
$$;

LOCK TABLE ota.event IN ACCESS EXCLUSIVE MODE;
ALTER TABLE ota.event RENAME TO event_before;
ALTER INDEX ota.event_device RENAME TO event_before_device;
ALTER INDEX ota.event_rollout RENAME TO event_before_rollout;
ALTER INDEX ota.event_denied RENAME TO event_before_denied;
ALTER SEQUENCE ota.event_event_id_seq RENAME TO event_before_event_id_seq;
ALTER TABLE ota.event_before DROP CONSTRAINT event_pkey;

CREATE TABLE ota.event (
    event_id    bigint      GENERATED ALWAYS AS IDENTITY,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    broker      text,
    device_id   text,
    rollout_id  bigint,
    kind        text        NOT NULL,
    detail      jsonb       NOT NULL DEFAULT '{}',
    chain       integer,
    position    bigint,
    hash        bytea,
    PRIMARY KEY (event_id, at)
) PARTITION BY RANGE (at);
COMMENT ON TABLE  ota.event IS 'Append-only audit log: everything that devices, brokers and operators did; a partition a month (UTC)';
COMMENT ON COLUMN ota.event.chain IS 'The chain of ota.event_chain that it belongs to; null: from before the chains';
COMMENT ON COLUMN ota.event.position IS 'Its place in the chain, from 1 on without a gap';
COMMENT ON COLUMN ota.event.hash IS 'SHA-256 of the hash before it and of what the row says, see ota.event_message()';
CREATE INDEX event_device ON ota.event (device_id, at) WHERE device_id IS NOT NULL;
CREATE INDEX event_rollout ON ota.event (rollout_id, at) WHERE rollout_id IS NOT NULL;
CREATE INDEX event_denied ON ota.event (at) WHERE kind = 'denied';
CREATE INDEX event_position ON ota.event (chain, position) WHERE position IS NOT NULL;

-- Whatever has no month of its own, because a clock was wrong or a month was dropped: no event is ever refused for its time.
CREATE TABLE ota.event_other PARTITION OF ota.event DEFAULT;
COMMENT ON TABLE ota.event_other IS 'Events of a time that no month is kept for';

DO $$
DECLARE
    -- Without a time zone, so that a month is added to it as UTC does.
    months  timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
    ends    timestamp;
    last    bigint;
    used    boolean;
    found   bigint := 0;
    ahead_n bigint := 0;
BEGIN
    SELECT s.last_value, s.is_called INTO last, used FROM ota.event_before_event_id_seq s;
    PERFORM setval('ota.event_event_id_seq', last, used);
    ALTER TABLE ota.event_before ALTER COLUMN event_id DROP IDENTITY;
    IF NOT EXISTS (SELECT FROM ota.event_before) THEN
        DROP TABLE ota.event_before;
    ELSE
        ALTER TABLE ota.event_before ADD COLUMN chain integer, ADD COLUMN position bigint, ADD COLUMN hash bytea;
        -- Made beforehand by sites with many rows.
        IF to_regclass('ota.event_before_pkey') IS NOT NULL THEN
            ALTER TABLE ota.event_before ADD PRIMARY KEY USING INDEX event_before_pkey;
        END IF;
        months := months + interval '1 month';
        DROP TRIGGER IF EXISTS event_guard ON ota.event_before;
        WITH ahead AS (DELETE FROM ota.event_before b WHERE b.at >= months AT TIME ZONE 'UTC' RETURNING b.*)
        INSERT INTO ota.event_other OVERRIDING SYSTEM VALUE
        SELECT a.event_id, a.at, a.broker, a.device_id, a.rollout_id, a.kind, a.detail FROM ahead a;
        GET DIAGNOSTICS ahead_n = ROW_COUNT;
        -- Counted while the log is still: these rows are no part of a chain, but none of them may be added or missing.
        SELECT count(*) INTO found FROM ota.event_before;
        EXECUTE format('ALTER TABLE ota.event ATTACH PARTITION ota.event_before FOR VALUES FROM (MINVALUE) TO (%L)',
            to_char(months, 'YYYY-MM-DD "00:00:00+00"'));
        COMMENT ON TABLE ota.event_before IS 'Events from before the log was divided into months';
    END IF;
    INSERT INTO ota.setting VALUES ('audit_before_rows', found::text), ('audit_before_ahead', ahead_n::text),
        ('audit_before_last', CASE WHEN used THEN last ELSE 0 END::text);
    -- The months from here on are ota.controller_audit_upkeep()'s business; these are there from the first event on.
    FOR i IN 0..3 LOOP
        ends := months + interval '1 month';
        -- Rows that were ahead of their time stay where they are until upkeep finds them.
        IF NOT EXISTS (SELECT FROM ota.event_other o WHERE o.at >= months AT TIME ZONE 'UTC' AND o.at < ends AT TIME ZONE 'UTC') THEN
            EXECUTE format('CREATE TABLE ota.%I PARTITION OF ota.event FOR VALUES FROM (%L) TO (%L)', to_char(months, '"event_"YYYY_MM'),
                to_char(months, 'YYYY-MM-DD "00:00:00+00"'), to_char(ends, 'YYYY-MM-DD "00:00:00+00"'));
        END IF;
        months := ends;
    END LOOP;
END
$$;

INSERT INTO ota.schema_migration (version, name) VALUES (3, 'audit_partitions');
