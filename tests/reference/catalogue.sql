-- The schema ota as the database knows it, as one JSON value: scripts/make_reference.sh makes the reference page of SQL from it.
SELECT jsonb_pretty(jsonb_build_object(
    'relations', (
        SELECT jsonb_agg(jsonb_build_object(
                   'name', c.relname, 'kind', CASE c.relkind WHEN 'v' THEN 'view' ELSE 'table' END,
                   'comment', obj_description(c.oid, 'pg_class'),
                   'columns', (
                       SELECT jsonb_agg(jsonb_build_object(
                                  'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'required', a.attnotnull,
                                  'comment', col_description(c.oid, a.attnum)) ORDER BY a.attnum)
                         FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
               ) ORDER BY c.relname COLLATE "C")
          FROM pg_class c WHERE c.relnamespace = 'ota'::regnamespace AND c.relkind IN ('r', 'v', 'p') AND NOT c.relispartition),
    'functions', (
        SELECT jsonb_agg(jsonb_build_object(
                   'name', p.proname, 'arguments', pg_get_function_arguments(p.oid), 'result', pg_get_function_result(p.oid),
                   'comment', obj_description(p.oid, 'pg_proc'), 'trigger', p.prorettype = 'trigger'::regtype,
                   'operator', coalesce(has_function_privilege('ota_operator', p.oid, 'EXECUTE'), false),
                   'plugin', coalesce(has_function_privilege('ota_plugin', p.oid, 'EXECUTE'), false)
               ) ORDER BY p.proname COLLATE "C", pg_get_function_arguments(p.oid) COLLATE "C")
          FROM pg_proc p WHERE p.pronamespace = 'ota'::regnamespace)));
