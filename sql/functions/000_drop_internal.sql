-- The functions that only the plugin calls are dropped before they are made anew: their columns may change from one plugin
-- version to the next, which CREATE OR REPLACE refuses.  Applied first; nothing else depends on them.
DO $$
DECLARE
    f  regprocedure;
BEGIN
    FOR f IN SELECT p.oid::regprocedure FROM pg_proc p
              WHERE p.pronamespace = 'ota'::regnamespace AND p.proname ~ '^(broker|controller)_'
    LOOP
        EXECUTE format('DROP FUNCTION %s', f);
    END LOOP;
END
$$;
