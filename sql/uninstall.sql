-- Removes the schema ota with everything in it: devices, releases, rollouts and the whole audit log.
--
--     psql -X -v ON_ERROR_STOP=1 -d DATABASE -f sql/uninstall.sql
--
-- The roles ota_plugin, ota_operator and ota_viewer stay: they belong to the whole server.
-- Stop the brokers' plugin first: it installs the schema again at its next start.

\set ON_ERROR_STOP on
BEGIN;
SET LOCAL client_min_messages = warning;
DROP SCHEMA IF EXISTS ota CASCADE;
COMMIT;
