-- Operators: submit a release and start its rollout in one, as a back end does that publishes updates itself.

CREATE OR REPLACE FUNCTION ota.push_release(fleet text, version text DEFAULT NULL, url text DEFAULT NULL, sha256 text DEFAULT NULL,
    size bigint DEFAULT NULL, signature bytea DEFAULT NULL, manifest jsonb DEFAULT NULL, release_notes text DEFAULT NULL,
    topic text DEFAULT NULL, client text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- What plugin_opt_intercept_push makes of an update that a back end publishes to a whole fleet: ota.add_release(), and a rollout by
-- the plan "standard" that waits until a broker has verified the release.  The same again while that rollout is there changes
-- nothing, and is written down once a minute at most.
-- manifest: a DSSE envelope; version, url, sha256 and size have to agree with it and may be left out then.  signature: over the file, for
-- brokers whose signature_policy is artifact, or with a manifest both.  topic, client: where it was published, and by
-- whom, for the record.
-- Returns the rollout's number.  Errors: those of ota.add_release() and ota.start_rollout(); 22023 what is said beside the
-- manifest differs from it; 55000 the rollout of this release to this fleet was halted, cancelled or superseded.
#variable_conflict use_column
DECLARE
    r     ota.release;
    o     ota.rollout;
    id    bigint;
    name  text;
    said  text;
    held  text;
BEGIN
    PERFORM ota.check_name('fleet', push_release.fleet);
    IF push_release.signature IS NULL AND push_release.manifest IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'the update is not signed',
            HINT = 'Accepted is one with "manifest", a DSSE envelope, or with "signature", what openssl dgst -sha256 -sign writes, in base64.';
    ELSIF octet_length(push_release.topic) > 1024 OR octet_length(push_release.client) > 1024 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'topic or client has more than 1024 bytes',
            HINT = 'They are for the record only; leave them out.';
    END IF;
    PERFORM 1 FROM ota.fleet f WHERE f.fleet = push_release.fleet FOR NO KEY UPDATE;
    IF push_release.manifest IS NOT NULL AND push_release.signature IS NOT NULL THEN
        id := ota.add_release(push_release.manifest, push_release.signature);
    ELSIF push_release.manifest IS NOT NULL THEN
        id := ota.add_release(push_release.manifest);
    ELSE
        id := ota.add_release(push_release.version, push_release.url, push_release.sha256, push_release.size, push_release.signature,
            NULL, push_release.release_notes);
    END IF;
    SELECT l.* INTO r FROM ota.release l WHERE l.release_id = id FOR SHARE;
    FOR name, said, held IN
        VALUES ('version', push_release.version, r.version), ('url', push_release.url, r.url),
               ('sha256', lower(push_release.sha256), r.sha256), ('size', push_release.size::text, r.size::text)
    LOOP
        IF said <> held THEN
            RAISE EXCEPTION USING ERRCODE = '22023',
                MESSAGE = format('member "%s" is "%s", in the signed manifest it is "%s"', name, left(said, 200), held),
                HINT = 'Accepted is what the manifest says; beside a manifest these members may be left out.';
        END IF;
    END LOOP;

    SELECT x.* INTO o FROM ota.rollout x
     WHERE x.fleet = push_release.fleet AND x.release_id = r.release_id AND x.device_id IS NULL
     ORDER BY x.rollout_id DESC LIMIT 1;
    IF o.state IN ('scheduled', 'running', 'paused', 'completed') THEN
        IF NOT EXISTS (SELECT FROM ota.event e WHERE e.rollout_id = o.rollout_id AND e.kind = 'pushed_again'
                                                AND e.at > now() - interval '1 minute') THEN
            PERFORM ota.audit('pushed_again', NULL, o.rollout_id, jsonb_build_object('client', push_release.client,
                'topic', push_release.topic, 'version', r.version, 'fleet', push_release.fleet,
                'reason', format('its rollout is %s already: nothing is changed', o.state)));
        END IF;
        RETURN o.rollout_id;
    ELSIF o.rollout_id IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '55000',
            MESSAGE = format('rollout %s of %s to fleet "%s" is %s: %s', o.rollout_id, r.version, o.fleet, o.state, o.reason),
            HINT = 'Publishing it again does not begin it anew. Use ota.resume_rollout or ota.start_rollout.';
    END IF;
    -- The lock is held already; a dry run takes releases that are still to be verified.
    r := ota.rollout_prepare(push_release.fleet, r.version, 'standard', r.state = 'submitted');
    id := ota.rollout_create(push_release.fleet, r, 'standard', NULL,
        CASE WHEN push_release.topic IS NULL THEN 'pushed' ELSE 'published to ' || push_release.topic END, false);
    PERFORM ota.audit('pushed', NULL, id, jsonb_build_object('client', push_release.client, 'topic', push_release.topic,
        'version', r.version, 'fleet', push_release.fleet, 'release_id', r.release_id));
    RETURN id;
END
$$;
COMMENT ON FUNCTION ota.push_release(text, text, text, text, bigint, bytea, jsonb, text, text, text) IS 'Submit a release and start its rollout once it is verified; returns the rollout''s number';
