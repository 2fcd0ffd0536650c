-- Operators: take a release out of the world.

CREATE OR REPLACE FUNCTION ota.revoke_release(version text, reason text)
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Revoke a release: it is never handed out again, and every rollout of it that could still tell a device is halted, completed
-- ones included.  Rollouts that use it as a stepping stone go on without it.  version: of the release; reason: why, required.
-- Errors: 22023 an argument is not acceptable; P0002 no such release; 55000 it is rejected or revoked already.
#variable_conflict use_column
DECLARE
    r    ota.release;
    why  text := ota.check_reason(revoke_release.reason, true);
    ids  bigint[];
    id   bigint;
BEGIN
    PERFORM ota.check_version('version', revoke_release.version);
    SELECT l.* INTO r FROM ota.release l WHERE l.version = revoke_release.version
     ORDER BY l.state = 'rejected', l.release_id DESC LIMIT 1 FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = format('there is no release %s', revoke_release.version),
            HINT = 'The releases are in the table ota.release.';
    ELSIF r.state IN ('rejected', 'revoked') THEN
        RAISE EXCEPTION USING ERRCODE = '55000', MESSAGE = format('release %s is already %s: %s', r.version, r.state, r.reason),
            HINT = 'Submitted and verified releases can be revoked.';
    END IF;
    UPDATE ota.release SET state = 'revoked', reason = why WHERE release_id = r.release_id;
    PERFORM ota.audit('release_revoked', NULL, NULL,
        jsonb_build_object('release_id', r.release_id, 'version', r.version, 'reason', why));
    -- First the locks, then a fresh look: a rollout that is being resumed at this moment is not missed.
    PERFORM 1 FROM ota.rollout o WHERE o.release_id = r.release_id ORDER BY o.rollout_id FOR UPDATE;
    ids := ARRAY(SELECT o.rollout_id FROM ota.rollout o
                  WHERE o.release_id = r.release_id AND o.state IN ('scheduled', 'running', 'paused', 'completed')
                  ORDER BY o.rollout_id);
    PERFORM ota.rollout_lock_rows(ids, false, r.release_id);
    FOREACH id IN ARRAY ids LOOP
        PERFORM ota.rollout_step(id, 'halt', 'release revoked: ' || why, NULL);
    END LOOP;
    -- As a stepping stone it is taken back, too; whoever has not begun waits for another one.
    PERFORM pg_advisory_xact_lock_shared(hashtext('ota.listening'));
    UPDATE ota.device_update u
       SET state = 'pending', attempt = u.attempt + 1, recall = true, notified_at = NULL, granted_at = NULL, retell_at = NULL,
           deadline = NULL, ready = d.listening
      FROM ota.device d
     WHERE u.step_release_id = r.release_id AND u.state = 'notified' AND d.device_id = u.device_id;
    UPDATE ota.device_update u SET recall = true WHERE u.step_release_id = r.release_id AND u.state IN ('downloading', 'verifying');
END
$$;
COMMENT ON FUNCTION ota.revoke_release(text, text) IS 'Revoke a release and halt every rollout of it';
