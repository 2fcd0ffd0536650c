CREATE OR REPLACE FUNCTION ota.set_retention(keep interval, reason text)
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- How long the audit log is kept; null: for ever, as it is until somebody calls this.  Whole months are dropped, each when its last
-- moment is older than that.  For the owner of the schema alone: whom the log is about does not shorten it.
DECLARE
    kept  text := ota.check_reason(reason, true);
    old   text := (SELECT s.value FROM ota.setting s WHERE s.name = 'audit_retention');
BEGIN
    IF keep < interval '1 day' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('the audit log cannot be kept for %s', keep),
            HINT = 'Accepted are 1 day and more, such as 2 years; null keeps it for ever.';
    END IF;
    IF keep IS NULL THEN
        DELETE FROM ota.setting s WHERE s.name = 'audit_retention';
    ELSE
        INSERT INTO ota.setting VALUES ('audit_retention', keep::text)
            ON CONFLICT (name) DO UPDATE SET value = excluded.value;
    END IF;
    PERFORM ota.audit('retention_set', NULL, NULL, jsonb_build_object('from', old, 'to', keep::text, 'reason', kept));
END
$$;
COMMENT ON FUNCTION ota.set_retention(interval, text) IS 'How long the audit log is kept: set_retention(''2 years'', ''why''); null: for ever. For the owner only';
