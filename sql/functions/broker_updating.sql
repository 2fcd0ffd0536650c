-- Whether a device's update is going on, and of which release: for a broker that it asks for blocks of its image.

CREATE OR REPLACE FUNCTION ota.broker_updating(i_devices text[], i_sessions bigint[])
RETURNS TABLE (device_id text, session bigint, rollout_id bigint, attempt integer, release_id bigint, deadline_ms bigint, via text)
LANGUAGE sql STABLE SET search_path = ota, pg_temp AS $$
    -- A row for each question, in which rollout_id is null when none is.  The sessions are handed back as they came.  A device has at
    -- most a few open updates; the newest one that was told counts.
    SELECT q.device_id, q.session, u.rollout_id, u.attempt, u.release_id, u.deadline_ms, u.gateway
      FROM unnest(i_devices, i_sessions) AS q(device_id, session)
      LEFT JOIN LATERAL (
        SELECT o.rollout_id, o.attempt, coalesce(o.step_release_id, r.release_id) AS release_id,
               (extract(epoch FROM o.deadline) * 1000)::bigint AS deadline_ms, d.gateway
          FROM ota.device_update o
          JOIN ota.rollout r ON r.rollout_id = o.rollout_id AND r.state IN ('running', 'paused', 'completed')
          JOIN ota.device d ON d.device_id = o.device_id
         WHERE o.device_id = q.device_id AND o.state IN ('notified', 'downloading', 'verifying', 'applying', 'rebooting')
           AND NOT o.recall
         ORDER BY o.rollout_id DESC LIMIT 1) u ON true;
$$;
COMMENT ON FUNCTION ota.broker_updating(text[], bigint[]) IS 'Plugin: the updates of these devices that are going on';
