-- Where a fleet downloads, when that is not where the manifest says, and which credentials the brokers can sign with.

ALTER TABLE ota.fleet
    ADD COLUMN url_template   text,
    ADD COLUMN url_credential text,
    ADD CHECK (url_credential IS NULL OR url_template IS NOT NULL);
COMMENT ON COLUMN ota.fleet.url_template IS 'Where its devices download: {path} is the path of the manifest''s URL; null: where the manifest says';
COMMENT ON COLUMN ota.fleet.url_credential IS 'The brokers'' credential with which such a URL is pre-signed; null: it is not signed';

ALTER TABLE ota.broker ADD COLUMN url_credentials text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN ota.broker.url_credentials IS 'Names of the credentials in the file of its option url_credentials';

INSERT INTO ota.schema_migration (version, name) VALUES (6, 'fleet_urls');
