-- Installs or upgrades the schema ota by hand, as the plugin does at its start.  All or nothing; may be repeated.
--
--     psql -X -v ON_ERROR_STOP=1 -d DATABASE -f sql/install.sql
--
-- A new file in migrations/, functions/, views/ or roles/ gets its line here, in the order of the names; a test compares.

\set ON_ERROR_STOP on
BEGIN;
SET LOCAL client_min_messages = warning;
-- As the files are written, whatever the database's or the role's settings are.
SET LOCAL standard_conforming_strings = on;
SET LOCAL quote_all_identifiers = off;
SELECT pg_advisory_xact_lock(hashtext('ota.migrate')) AS locked \gset
-- Functions refer to each other whatever the order of the files.
SET LOCAL check_function_bodies = off;
SELECT to_regclass('ota.schema_migration') IS NULL AS ota_fresh \gset
\if :ota_fresh
\ir migrations/0001_schema.sql
\endif
SELECT NOT EXISTS (SELECT FROM ota.schema_migration WHERE version = 2) AS ota_missing \gset
\if :ota_missing
\ir migrations/0002_standard_plan.sql
\endif
SELECT NOT EXISTS (SELECT FROM ota.schema_migration WHERE version = 3) AS ota_missing \gset
\if :ota_missing
\ir migrations/0003_audit_partitions.sql
\endif
SELECT NOT EXISTS (SELECT FROM ota.schema_migration WHERE version = 4) AS ota_missing \gset
\if :ota_missing
\ir migrations/0004_fallback_steps_quarantine.sql
\endif
SELECT NOT EXISTS (SELECT FROM ota.schema_migration WHERE version = 5) AS ota_missing \gset
\if :ota_missing
\ir migrations/0005_sites_and_blackouts.sql
\endif
SELECT NOT EXISTS (SELECT FROM ota.schema_migration WHERE version = 6) AS ota_missing \gset
\if :ota_missing
\ir migrations/0006_fleet_urls.sql
\endif
SELECT NOT EXISTS (SELECT FROM ota.schema_migration WHERE version = 7) AS ota_missing \gset
\if :ota_missing
\ir migrations/0007_ids_as_bytes.sql
\endif
SELECT NOT EXISTS (SELECT FROM ota.schema_migration WHERE version = 8) AS ota_missing \gset
\if :ota_missing
\ir migrations/0008_hand_out.sql
\endif

\ir functions/000_drop_internal.sql
\ir functions/add_blackout.sql
\ir functions/add_release.sql
\ir functions/advance_rollout.sql
\ir functions/assign_device.sql
\ir functions/assign_gateway.sql
\ir functions/broker_audit.sql
\ir functions/broker_fold.sql
\ir functions/broker_hand_out.sql
\ir functions/broker_join.sql
\ir functions/broker_presence.sql
\ir functions/broker_releases.sql
\ir functions/broker_updating.sql
\ir functions/broker_urls.sql
\ir functions/cancel_rollout.sql
\ir functions/clear_fleet_url.sql
\ir functions/clear_windows.sql
\ir functions/compare_releases.sql
\ir functions/controller_act.sql
\ir functions/controller_audit.sql
\ir functions/controller_open.sql
\ir functions/controller_read.sql
\ir functions/controller_sites.sql
\ir functions/define_plan.sql
\ir functions/device_update_count.sql
\ir functions/halt_rollout.sql
\ir functions/internal_actor.sql
\ir functions/internal_audit.sql
\ir functions/internal_base64.sql
\ir functions/internal_check.sql
\ir functions/internal_cohort_rank.sql
\ir functions/internal_event_append.sql
\ir functions/internal_event_check.sql
\ir functions/internal_event_month.sql
\ir functions/internal_fallback.sql
\ir functions/internal_fleet_url.sql
\ir functions/internal_gateway.sql
\ir functions/internal_hand_back.sql
\ir functions/internal_quarantine.sql
\ir functions/internal_release_submit.sql
\ir functions/internal_rollout_create.sql
\ir functions/internal_rollout_prepare.sql
\ir functions/internal_rollout_step.sql
\ir functions/internal_semver.sql
\ir functions/internal_site.sql
\ir functions/internal_stage_asks.sql
\ir functions/internal_step_path.sql
\ir functions/internal_targets.sql
\ir functions/internal_triggers.sql
\ir functions/internal_window.sql
\ir functions/limit_fleet.sql
\ir functions/pause_rollout.sql
\ir functions/pin_device.sql
\ir functions/pin_fleet.sql
\ir functions/preview_fallback.sql
\ir functions/preview_rollout.sql
\ir functions/push_release.sql
\ir functions/remove_blackout.sql
\ir functions/resume_rollout.sql
\ir functions/retry_device.sql
\ir functions/revoke_release.sql
\ir functions/set_attributes.sql
\ir functions/set_fleet_url.sql
\ir functions/set_quarantine.sql
\ir functions/set_retention.sql
\ir functions/set_window.sql
\ir functions/start_fallback.sql
\ir functions/start_rollout.sql
\ir functions/unpin_device.sql
\ir functions/unpin_fleet.sql
\ir functions/unquarantine_device.sql
\ir functions/verify_audit.sql

\ir views/agenda.sql
\ir views/denied.sql
\ir views/denied_today.sql
\ir views/device_history.sql
\ir views/fleet_versions.sql
\ir views/quarantine.sql
\ir views/rollout_progress.sql
\ir views/stuck_devices.sql
\ir views/table_comments.sql

\ir roles/roles.sql

COMMIT;
