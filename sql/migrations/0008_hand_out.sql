-- A stage that nothing limits is opened with its devices' rows already `notified`; its broker hands them out page by page.

CREATE TABLE ota.hand_out (
    rollout_id     bigint      PRIMARY KEY REFERENCES ota.rollout ON DELETE CASCADE,
    broker         text        NOT NULL,
    opened_at      timestamptz NOT NULL,
    until          timestamptz NOT NULL,
    last_deadline  timestamptz NOT NULL,
    done_deadline  timestamptz NOT NULL,
    done_device    text        NOT NULL DEFAULT ''
);
COMMENT ON TABLE  ota.hand_out IS 'Stages that are being handed out: rows of devices that are notified already and have not been told yet';
COMMENT ON COLUMN ota.hand_out.rollout_id IS 'The rollout';
COMMENT ON COLUMN ota.hand_out.broker IS 'The broker that tells its devices; it opened the stage';
COMMENT ON COLUMN ota.hand_out.opened_at IS 'The notified_at of these rows';
COMMENT ON COLUMN ota.hand_out.until IS 'Who has not been told by then is pending again';
COMMENT ON COLUMN ota.hand_out.last_deadline IS 'The highest deadline of these rows, which are handed out in the order of deadline and device';
COMMENT ON COLUMN ota.hand_out.done_deadline IS 'Deadline of the last one that was handed out; before the first: the lowest';
COMMENT ON COLUMN ota.hand_out.done_device IS 'The last one that was handed out';

INSERT INTO ota.schema_migration (version, name) VALUES (8, 'hand_out');
