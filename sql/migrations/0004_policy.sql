-- What operators say beyond the plan: the way back after a halt; and the way over stepping stones.

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

INSERT INTO ota.schema_migration (version, name) VALUES (4, 'policy');
