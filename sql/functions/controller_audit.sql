-- The months of the audit log: made ahead, and dropped when their time is over.  docs/design/audit.md says why each step is as it is.
--
-- The controller calls controller_audit_upkeep() every ten minutes, and again at once while it says that there is more to do.  No step
-- waits for a lock for more than half a second: what could not be had is tried again the next time.

CREATE OR REPLACE FUNCTION ota.controller_audit_upkeep(i_now timestamptz DEFAULT now())
RETURNS TABLE (more boolean, said text)
LANGUAGE plpgsql SET search_path = ota, pg_temp SET lock_timeout = '500ms' SET timezone = 'UTC' AS $$
-- more: call again soon.  said: what was done or could not be done, in words for the broker's log; null: nothing to say.
-- i_now is for tests.
DECLARE
    this_month  timestamp := date_trunc('month', i_now AT TIME ZONE 'UTC');
    month       timestamp;
    keep        interval := (SELECT s.value::interval FROM ota.setting s WHERE s.name = 'audit_retention');
    part        record;
    noted       boolean;
BEGIN
    more := false;
    -- One at a time: a controller that was taken over from may still be at it.
    IF NOT pg_try_advisory_xact_lock(hashtext('ota.audit_upkeep')) THEN
        RETURN;
    END IF;

    FOR i IN 0..3 LOOP
        month := this_month + i * interval '1 month';
        CONTINUE WHEN ota.event_month_exists(month);
        BEGIN
            said := concat_ws('; ', said, ota.event_month_add(month));
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            said := concat_ws('; ', said, format('month %s of the audit log is not made yet: its table is in use', to_char(month, 'YYYY-MM')));
        END;
    END LOOP;

    IF keep IS NOT NULL THEN
        FOR part IN SELECT * FROM ota.event_parts() p WHERE p.until <= i_now - keep ORDER BY p.until LIMIT 1 LOOP
            noted := ota.event_anchor(part.name, NULL);
            more := true;
            CONTINUE WHEN NOT noted;
            BEGIN
                said := concat_ws('; ', said, ota.event_month_drop(part.name, part.until, keep));
            EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
                more := false;
                said := concat_ws('; ', said, format('%s is not dropped yet: it is in use', part.name));
            END;
        END LOOP;
        IF NOT more THEN
            BEGIN
                said := nullif(concat_ws('; ', said, ota.event_other_drop(keep)), '');
            EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
                said := concat_ws('; ', said, 'old events without a month are not dropped yet: their table is in use');
            END;
        END IF;
    END IF;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION ota.controller_audit_upkeep(timestamptz) IS 'Plugin: makes months of the audit log ahead, drops those past the retention';
