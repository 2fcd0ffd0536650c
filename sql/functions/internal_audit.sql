-- Who did what, and why.

CREATE OR REPLACE FUNCTION ota.audit(kind text, device_id text, rollout_id bigint, detail jsonb)
RETURNS void
LANGUAGE sql SET search_path = ota, pg_temp AS $$
    -- One row of the audit log.  kind: what happened, one or two words; device_id, rollout_id: what it was about, null when
    -- nothing; detail: a JSON object (null: empty), to which "by" is added, see ota.actor(), when absent.  "via" is the login
    -- that acted for somebody else: a broker, for who sent it the command.
    SELECT ota.event_append(NULL, NULL, ARRAY[audit.device_id], ARRAY[audit.rollout_id], ARRAY[audit.kind],
            ARRAY[(jsonb_build_object('by', ota.actor())
            || CASE WHEN ota.actor() <> session_user THEN jsonb_build_object('via', session_user) ELSE '{}' END
            || coalesce(audit.detail, '{}'))::text]);
$$;
COMMENT ON FUNCTION ota.audit(text, text, bigint, jsonb) IS 'Write one row of the audit log; adds who when the detail does not say';
