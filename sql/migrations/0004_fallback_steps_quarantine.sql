-- What operators say beyond the plan: the way back after a halt; the way over stepping stones; and
-- devices that fail again and again.

ALTER TABLE ota.rollout
    ADD COLUMN fallback_of  bigint REFERENCES ota.rollout,
    ADD COLUMN only_from    text,
    ADD COLUMN fallback_due boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN ota.rollout.fallback_of IS 'The halted rollout whose devices this one takes back; null: none';
COMMENT ON COLUMN ota.rollout.only_from IS 'Only devices that run this version take part; null: all of the fleet';
COMMENT ON COLUMN ota.rollout.fallback_due IS 'It is halted, and its fallback begins as soon as a device runs its release';
CREATE INDEX rollout_fallback_of ON ota.rollout (fallback_of) WHERE fallback_of IS NOT NULL;

ALTER TABLE ota.device_update ADD COLUMN step_release_id bigint;
COMMENT ON COLUMN ota.device_update.step_release_id IS 'The stepping stone that it was told of; null: the rollout''s own release';
CREATE INDEX device_update_step ON ota.device_update (step_release_id) WHERE step_release_id IS NOT NULL;

ALTER TABLE ota.fleet ADD COLUMN quarantine_after integer DEFAULT 3 CHECK (quarantine_after BETWEEN 1 AND 1000);
COMMENT ON COLUMN ota.fleet.quarantine_after IS 'Failed updates in a row after which a device goes into quarantine; null: never';
ALTER TABLE ota.device
    ADD COLUMN failures       integer NOT NULL DEFAULT 0,
    ADD COLUMN quarantined_at timestamptz;
COMMENT ON COLUMN ota.device.failures IS 'Updates that failed since the last success, over all rollouts';
COMMENT ON COLUMN ota.device.quarantined_at IS 'Since when no rollout takes it in, because it failed too often in a row; null: it may take part';
CREATE INDEX device_quarantined ON ota.device (fleet) WHERE quarantined_at IS NOT NULL;

INSERT INTO ota.schema_migration (version, name) VALUES (4, 'fallback_steps_quarantine');
