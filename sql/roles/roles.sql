-- Who may do what: three roles without login, for people and programs to be members of.
--
--   ota_viewer    reads everything, and calls the functions that only read
--   ota_operator  reads everything, and calls the functions for operators; writes no table itself
--   ota_plugin    reads everything, and calls those and the functions for brokers; writes no table itself
--
-- PUBLIC has nothing.  The functions run with the rights of the owner of the schema, and fix their
-- search_path, so that nobody slips them a table of his own.  ota.audit() names who logged in, not the owner.
--
-- Applied last at every installation and upgrade, and may be repeated.  Roles belong to the whole PostgreSQL server: they are made
-- when they are missing and the installing user may make them, and are left alone by uninstall.sql.

DO $$
DECLARE
    for_brokers    constant text := '^(broker|controller)_|^rollout_(step|supersede_others)$';
    for_operators  constant text := '^(add_release|push_release|revoke_release|define_plan|preview_rollout|retry_device|set_window|clear_windows'
                                 || '|(add|remove)_blackout|limit_fleet|(set|clear)_fleet_url|set_attributes'
                                 || '|(preview|start)_fallback|unquarantine_device|set_quarantine'
                                 || '|(start|pause|resume|halt|cancel|advance)_rollout|assign_(device|gateway)|(un)?pin_(device|fleet))$';
    for_viewers    constant text := '^(preview_(rollout|fallback)|verify_audit|(window|blackout)_state|compare_releases)$';
    name     text;
    f        record;
    missing  text[] := '{}';
BEGIN
    FOREACH name IN ARRAY ARRAY['ota_plugin', 'ota_operator', 'ota_viewer'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', name);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN NULL;  -- another database of this server was quicker
                WHEN insufficient_privilege THEN missing := missing || name;
            END;
        END IF;
    END LOOP;
    IF missing <> '{}' THEN
        RAISE WARNING 'roles % are missing, and % may not create them: the owner alone can use schema ota until somebody who may creates them and installs again',
            array_to_string(missing, ', '), current_user;
    END IF;

    REVOKE ALL ON SCHEMA ota FROM PUBLIC;
    REVOKE ALL ON ALL TABLES IN SCHEMA ota FROM PUBLIC;
    REVOKE ALL ON ALL SEQUENCES IN SCHEMA ota FROM PUBLIC;
    REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ota FROM PUBLIC;

    FOREACH name IN ARRAY ARRAY['ota_plugin', 'ota_operator', 'ota_viewer'] LOOP
        CONTINUE WHEN name = ANY (missing);
        -- From the beginning, so that nothing stays that an earlier version gave.
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA ota FROM %I', name);
        EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ota FROM %I', name);
        EXECUTE format('GRANT USAGE ON SCHEMA ota TO %I', name);
        EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA ota TO %I', name);
    END LOOP;

    FOR f IN SELECT p.oid::regprocedure AS signature, p.proname ~ for_operators OR p.proname ~ for_viewers AS operators,
                    p.proname ~ for_viewers AS viewers,
                    coalesce('search_path=ota, pg_temp' = ANY (p.proconfig), false) AS fixed
               FROM pg_proc p
              WHERE p.pronamespace = 'ota'::regnamespace AND p.prokind = 'f' AND p.prorettype <> 'trigger'::regtype
                AND (p.proname ~ for_brokers OR p.proname ~ for_operators OR p.proname ~ for_viewers)
    LOOP
        IF NOT f.fixed THEN
            RAISE EXCEPTION 'function % does not fix its search_path and cannot run with the rights of its owner', f.signature;
        END IF;
        EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER', f.signature);
        IF NOT 'ota_plugin' = ANY (missing) THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO ota_plugin', f.signature);
        END IF;
        IF f.operators AND NOT 'ota_operator' = ANY (missing) THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO ota_operator', f.signature);
        END IF;
        IF f.viewers AND NOT 'ota_viewer' = ANY (missing) THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO ota_viewer', f.signature);
        END IF;
    END LOOP;
END
$$;
