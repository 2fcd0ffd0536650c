-- In whose name something is done.

CREATE OR REPLACE FUNCTION ota.actor()
RETURNS text
LANGUAGE sql STABLE SET search_path = ota, pg_temp AS $$
    -- Who acts: the name this session logged in with; for commands that a broker carries out, the MQTT user who sent them, whom it
    -- names in the setting ota.actor of its transaction.  The setting counts only for roles that may call what brokers call: those
    -- are brokers or may do anything anyhow (roles.sql).  An operator with rights of his own cannot pass himself off as somebody else, nor
    -- approve in another's name what he has started.
    SELECT coalesce(CASE WHEN has_function_privilege(session_user, to_regprocedure('ota.broker_alive(text, bigint)'), 'EXECUTE')
                         THEN nullif(current_setting('ota.actor', true), '') END, session_user::text);
$$;
COMMENT ON FUNCTION ota.actor() IS 'Internal: in whose name this transaction acts';

-- The tables are older than the function.
ALTER TABLE ota.release ALTER COLUMN submitted_by SET DEFAULT ota.actor();
ALTER TABLE ota.plan ALTER COLUMN defined_by SET DEFAULT ota.actor();
ALTER TABLE ota.rollout ALTER COLUMN created_by SET DEFAULT ota.actor();
