-- Blackouts, caps for each site, and who was drawn into a stage ahead of the order of ranks.

CREATE TABLE ota.blackout (
    blackout_id  bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fleet        ota.topic_name REFERENCES ota.fleet ON UPDATE CASCADE ON DELETE CASCADE,
    from_at      timestamptz NOT NULL CHECK (isfinite(from_at)),
    until_at     timestamptz NOT NULL CHECK (isfinite(until_at)),
    reason       text        NOT NULL,
    added_at     timestamptz NOT NULL DEFAULT now(),
    added_by     text        NOT NULL DEFAULT session_user,
    CHECK (until_at > from_at)
);
COMMENT ON TABLE  ota.blackout IS 'Spans of time in which nobody is told of updates, windows or not';
COMMENT ON COLUMN ota.blackout.fleet IS 'The fleet that it holds back; null: every fleet';
COMMENT ON COLUMN ota.blackout.from_at IS 'Its first moment';
COMMENT ON COLUMN ota.blackout.until_at IS 'The first moment after it';
CREATE UNIQUE INDEX blackout_once ON ota.blackout (coalesce(fleet::text, ''), from_at, until_at);

ALTER TABLE ota.fleet ADD COLUMN max_per_site integer CHECK (max_per_site > 0);
COMMENT ON COLUMN ota.fleet.max_per_site IS 'How many devices of one site (attributes ->> ''site'') are updated at once; null: no cap';

ALTER TABLE ota.device_update ADD COLUMN site text;
COMMENT ON COLUMN ota.device_update.site IS 'The device''s site; empty: it has none, and the rollout had a cap for each site when it joined';
-- The next one of a site, and how many of a site are being updated: both without a look at all who wait.
CREATE INDEX device_update_site_ready ON ota.device_update (rollout_id, site, rank)
    WHERE state = 'pending' AND ready AND granted_at IS NULL AND site IS NOT NULL;
CREATE INDEX device_update_site_load ON ota.device_update (site)
    WHERE site IS NOT NULL AND (state IN ('notified', 'downloading', 'verifying', 'applying', 'rebooting')
                             OR state = 'pending' AND granted_at IS NOT NULL);
UPDATE ota.device_update u SET site = d.attributes ->> 'site'
  FROM ota.device d
 WHERE d.device_id = u.device_id AND d.attributes ->> 'site' <> ''
   AND u.state IN ('pending', 'notified', 'downloading', 'verifying', 'applying', 'rebooting');

CREATE TABLE ota.rollout_ahead (
    rollout_id  bigint  NOT NULL,
    device_id   text    NOT NULL,
    stage       integer NOT NULL,
    attribute   text    NOT NULL CHECK (attribute IN ('hardware', 'site')),
    value       text    NOT NULL,
    PRIMARY KEY (rollout_id, device_id),
    UNIQUE (rollout_id, attribute, value)
);
COMMENT ON TABLE  ota.rollout_ahead IS 'Devices that joined a rollout ahead of the order of ranks, because no other of their hardware or site was in it';
COMMENT ON COLUMN ota.rollout_ahead.stage IS 'The stage that took it in';

INSERT INTO ota.schema_migration (version, name) VALUES (5, 'sites_and_blackouts');
