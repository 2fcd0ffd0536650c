-- Where the database's collation is one of a language, devices are looked up by bytes all the same: to compare names of machines as a
-- dictionary does was a quarter of what a report cost.  docs/design/sql.md has the figures, and why the columns keep their collation.
--
-- No table is rewritten.  The indexes are built while nobody writes (brokers keep their reports in the outbox); the largest, that of the
-- audit log, can be built beforehand: docs/design/audit.md, "Upgrading a large log".
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_database d
                WHERE d.datname = current_database()
                  AND (d.datlocprovider = 'b' OR d.datlocprovider = 'c' AND d.datcollate IN ('C', 'POSIX'))) THEN
        RETURN; -- compares bytes anyway
    END IF;
    -- All at once, and in the order in which everybody locks.
    LOCK TABLE ota.device_update, ota.device, ota.event IN ACCESS EXCLUSIVE MODE;
    -- Beside the primary key, which orders lists and is what other tables refer to.  Not unique, because ON CONFLICT looks at the
    -- primary key alone.
    CREATE INDEX device_id_bytes ON ota.device (device_id text_pattern_ops);
    DROP INDEX ota.device_update_open;
    CREATE INDEX device_update_open ON ota.device_update (device_id text_pattern_ops)
        WHERE state IN ('pending', 'notified', 'downloading', 'verifying', 'applying', 'rebooting');
    DROP INDEX ota.event_device;
    CREATE INDEX event_device ON ota.event (device_id text_pattern_ops, at) WHERE device_id IS NOT NULL;
END
$$;

INSERT INTO ota.schema_migration (version, name) VALUES (7, 'ids_as_bytes');
