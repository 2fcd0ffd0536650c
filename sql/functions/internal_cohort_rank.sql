-- In which order the devices of a fleet get a release.

CREATE OR REPLACE FUNCTION ota.cohort_rank(rollout_id bigint, device_id text)
RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
-- The first 8 bytes of SHA-256('<rollout_id>:<device_id>') as a signed number: the same on every machine and every
-- version of PostgreSQL (hashtext() is not), different for each rollout, so that no device is always the first victim.
-- The cast to bytea wants its backslashes doubled; the database's encoding is UTF-8.
RETURN ('x' || encode(substr(sha256(replace(rollout_id::text || ':' || device_id, '\', '\\')::bytea), 1, 8), 'hex'))::bit(64)::bigint;
COMMENT ON FUNCTION ota.cohort_rank(bigint, text) IS 'The order in which devices join a rollout: a hash of both, the same everywhere';
