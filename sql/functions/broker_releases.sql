-- Releases on their way through the broker's verification.

CREATE OR REPLACE FUNCTION ota.broker_releases()
RETURNS TABLE (release_id bigint, state text, row_version text, version text, sequence bigint, url text, sha256 text,
    size bigint, release_notes text, envelope text, signature text)
LANGUAGE sql STABLE SET search_path = ota, pg_temp AS $$
    -- Those to be verified: submitted ones, and those that a rollout may hand out.  Every broker verifies with its own keys and again
    -- whenever the row has changed (row_version), whatever the state says.
    SELECT l.release_id, l.state, l.xmin::text, l.version, l.sequence, l.url, l.sha256, l.size, l.release_notes,
           l.envelope::text, encode(l.signature, 'hex')
      FROM ota.release l
     WHERE l.state = 'submitted'
        OR l.state = 'verified' AND EXISTS (SELECT 1 FROM ota.rollout r WHERE r.release_id = l.release_id
               AND r.state IN ('scheduled', 'running', 'paused', 'completed'))
        -- What may be a stepping stone to one with a minVersion.
        OR l.state = 'verified' AND EXISTS (SELECT 1 FROM ota.rollout r JOIN ota.release t ON t.release_id = r.release_id
             WHERE r.state IN ('scheduled', 'running', 'paused', 'completed') AND t.min_version IS NOT NULL AND l.sequence < t.sequence
               AND (coalesce(cardinality(l.fleets), 0) = 0 OR r.fleet::text = ANY (l.fleets)))
     ORDER BY l.release_id;
$$;
COMMENT ON FUNCTION ota.broker_releases() IS 'Plugin: the releases that it has to verify';

CREATE OR REPLACE FUNCTION ota.broker_release_verdict(i_broker text, i_release_id bigint, i_verified boolean, i_reason text,
    i_signed_by text, i_hardware text[], i_fleets text[], i_min_version text, i_max_version text,
    i_not_before_ms bigint, i_expires_ms bigint)
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Store the verdict on a release.  A submitted one becomes verified or rejected.  One that had been verified before and no
-- longer verifies (key removed, row tampered with) becomes revoked, and its rollouts are halted.
DECLARE
    r    ota.release;
    ids  bigint[];
    id   bigint;
BEGIN
    SELECT * INTO r FROM ota.release WHERE release_id = i_release_id FOR UPDATE;
    IF NOT FOUND OR r.state NOT IN ('submitted', 'verified') THEN
        RETURN;
    END IF;
    IF i_verified THEN
        IF r.state = 'submitted' THEN
            UPDATE ota.release
               SET state = 'verified', reason = NULL, signed_by = i_signed_by, verified_at = now(), verified_by = i_broker,
                   hardware = i_hardware, fleets = i_fleets, min_version = i_min_version, max_version = i_max_version,
                   not_before = to_timestamp(i_not_before_ms / 1000.0), expires = to_timestamp(i_expires_ms / 1000.0)
             WHERE release_id = i_release_id;
            PERFORM ota.audit('release_verified', NULL, NULL, jsonb_build_object('version', r.version,
                'broker', i_broker, 'signed_by', i_signed_by));
            -- Devices that already report this version get to know its sequence.
            UPDATE ota.device SET sequence = r.sequence WHERE version = r.version AND sequence < r.sequence;
        END IF;
        RETURN;
    END IF;
    UPDATE ota.release
       SET state = CASE r.state WHEN 'submitted' THEN 'rejected' ELSE 'revoked' END, reason = i_reason,
           verified_by = i_broker
     WHERE release_id = i_release_id;
    PERFORM ota.audit(CASE r.state WHEN 'submitted' THEN 'release_rejected' ELSE 'release_revoked' END, NULL, NULL,
        jsonb_build_object('version', r.version, 'broker', i_broker, 'reason', i_reason));
    -- Who published it in the old way is told where the brokers' refusals are looked for.
    PERFORM ota.event_append(i_broker, NULL, array_agg(NULL::text), array_agg(o.rollout_id), array_agg('denied'::text),
            array_agg(jsonb_build_object('client', e.detail -> 'client', 'topic', e.detail -> 'topic',
                'reason', format('%s was published and is not released: %s', r.version, i_reason), 'by', e.detail -> 'by')::text))
       FROM ota.rollout o JOIN ota.event e ON e.rollout_id = o.rollout_id AND e.kind = 'pushed'
      WHERE o.release_id = i_release_id AND o.state = 'scheduled' AND r.state = 'submitted';
    PERFORM 1 FROM ota.rollout o WHERE o.release_id = i_release_id ORDER BY o.rollout_id FOR UPDATE;
    ids := ARRAY(SELECT o.rollout_id FROM ota.rollout o
                  WHERE o.release_id = i_release_id AND o.state IN ('scheduled', 'running', 'paused', 'completed')
                  ORDER BY o.rollout_id);
    IF cardinality(ids) > 1 THEN
        PERFORM ota.rollout_lock_rows(ids, false);
    END IF;
    FOREACH id IN ARRAY ids LOOP
        PERFORM ota.rollout_step(id, 'halt', format('release %s %s: %s', r.version,
            CASE r.state WHEN 'submitted' THEN 'was rejected' ELSE 'no longer verifies' END, i_reason), i_broker);
    END LOOP;
END
$$;
COMMENT ON FUNCTION ota.broker_release_verdict IS 'Plugin: what verification said of a release';
