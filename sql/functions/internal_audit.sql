-- Who did what, and why.

CREATE OR REPLACE FUNCTION ota.audit(kind text, device_id text, rollout_id bigint, detail jsonb)
RETURNS void
LANGUAGE sql SET search_path = ota, pg_temp AS $$
    -- One row of the audit log.  kind: what happened, one or two words; device_id, rollout_id: what it was about, null when
    -- nothing; detail: a JSON object (null: empty), to which "by" is added, the name this session logged in with, when absent.
    INSERT INTO ota.event (device_id, rollout_id, kind, detail)
    VALUES (audit.device_id, audit.rollout_id, audit.kind,
            jsonb_build_object('by', session_user) || coalesce(audit.detail, '{}'));
$$;
COMMENT ON FUNCTION ota.audit(text, text, bigint, jsonb) IS 'Write one row of the audit log; adds who when the detail does not say';
