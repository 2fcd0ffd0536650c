-- ota.version_valid and ota.version_key give the answers of plugin/rules/version.c: the same lists of cases.
\ir lib/helpers.sql
SELECT no_plan();

\set valid_cases `cat :root/tests/unit/cases/version_valid.cases`
CREATE TEMP TABLE valid_case AS
SELECT m[1] = 'valid' AS valid, coalesce(m[2], '') AS version
  FROM string_to_table(:'valid_cases', E'\n') AS line, regexp_match(line, '^(valid|invalid)\s*(\S*)') AS m
 WHERE line ~ '^(valid|invalid)';
SELECT cmp_ok(count(*), '>', 50::bigint, 'there are cases of validity') FROM valid_case;
SELECT is(ota.version_valid(version), valid, format('"%s" is %s', version, CASE WHEN valid THEN 'valid' ELSE 'invalid' END)) FROM valid_case;
SELECT is(ota.version_key(version) IS NOT NULL, valid, format('"%s" has %s key', version, CASE WHEN valid THEN 'a' ELSE 'no' END)) FROM valid_case;
SELECT is(ota.version_valid(NULL), false, 'null is no version');
SELECT is(ota.version_valid(E'1.0.0\n'), false, 'a line end is not part of a version');
SELECT is(ota.version_valid(E'x\n1.0.0'), false, 'only the whole text counts');

\set order_cases `cat :root/tests/unit/cases/version_order.cases`
CREATE TEMP TABLE order_case AS
SELECT m[1] AS a, m[2] AS op, m[3] AS b
  FROM string_to_table(:'order_cases', E'\n') AS line, regexp_match(line, '^(\S+)\s+([<=])\s+(\S+)') AS m
 WHERE m IS NOT NULL AND line !~ '^#';
SELECT cmp_ok(count(*), '>', 30::bigint, 'there are cases of precedence') FROM order_case;
SELECT ok(CASE op WHEN '<' THEN ota.version_key(a) < ota.version_key(b) AND NOT ota.version_key(b) < ota.version_key(a)
                  ELSE ota.version_key(a) = ota.version_key(b) END, format('%s %s %s', a, op, b)) FROM order_case;
-- Danish sorts "aa" after "z": the keys do not care.
SELECT is_empty($$
    SELECT a, op, b FROM order_case
     WHERE op = '<' AND NOT ota.version_key(a COLLATE "da-x-icu") < ota.version_key(b COLLATE "da-x-icu")$$, 'in any collation');
SELECT is(string_agg(v, ' ' ORDER BY ota.version_key(v) DESC), '2.0.0 2.0.0-rc.1 1.10.0 1.9.0 1.0.0 1.0.0-beta.11 1.0.0-beta.2', 'sorting')
  FROM unnest(ARRAY['1.9.0', '1.0.0-beta.2', '2.0.0', '1.10.0', '1.0.0-beta.11', '1.0.0', '2.0.0-rc.1']) AS v;
SELECT is(ota.version_key('1.5.0'), '303131303135303130' || '7e', 'the key''s form, so that a change is noticed');
SELECT is(ota.version_key(NULL), NULL, 'no key of null');

SELECT * FROM finish();
