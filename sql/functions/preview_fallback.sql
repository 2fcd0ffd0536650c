-- What would a halt do?  For operators; over MQTT it is a part of preview_rollout.

CREATE OR REPLACE FUNCTION ota.preview_fallback(fleet text, version text, plan text DEFAULT 'standard')
RETURNS TABLE (fallback text, problem text)
LANGUAGE plpgsql STABLE SET search_path = ota, pg_temp AS $$
-- Where a halt would bring devices back to: the version that the plan's option "fallback" names, and why that is no way back (null: it
-- is one).  No row: the plan names none.  ota.start_rollout refuses a plan with a problem.
-- Errors: 22023 an argument is not acceptable; P0002 no such plan or release.
#variable_conflict use_column
DECLARE
    r  ota.release;
BEGIN
    PERFORM ota.check_name('fleet', preview_fallback.fleet);
    PERFORM ota.check_version('version', preview_fallback.version);
    SELECT l.* INTO r FROM ota.release l WHERE l.version = preview_fallback.version
     ORDER BY l.state = 'rejected', l.release_id DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = format('there is no release %s', preview_fallback.version),
            HINT = 'The releases are in the table ota.release.';
    ELSIF NOT EXISTS (SELECT FROM ota.plan p WHERE p.plan = preview_fallback.plan) THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = format('there is no plan "%s"', coalesce(left(preview_fallback.plan, 80), '(null)')),
            HINT = 'The plans are in the table ota.plan.';
    END IF;
    RETURN QUERY
    SELECT p.options ->> 'fallback', ota.fallback_problem(preview_fallback.fleet, r, p.options ->> 'fallback')
      FROM ota.plan p WHERE p.plan = preview_fallback.plan AND p.options ? 'fallback';
END
$$;
COMMENT ON FUNCTION ota.preview_fallback(text, text, text) IS 'Where a halt would bring devices back to, and why it could not';
