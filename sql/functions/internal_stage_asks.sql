-- Did a stage ask for this device?  Asked before anybody is told.  (Files are applied in the order of their names; this one
-- needs internal_cohort_rank.)

CREATE OR REPLACE FUNCTION ota.stage_asks(r ota.rollout, i_fleet text, i_device_id text, i_stage integer, i_rank bigint)
RETURNS TABLE (asked boolean)
LANGUAGE sql STABLE
BEGIN ATOMIC
    -- Is this row of ota.device_update, of a device that is in i_fleet now, one that a stage of its rollout has taken in?  The device is of
    -- the rollout's fleet, its rank is its own, and within the cohort unless the present stage is the whole fleet, or a stage drew it
    -- ahead of its rank.  No row, or null: no stage is open.
    -- Whoever wrote the row: ota.broker_claim() and ota.broker_hand_out() tell nobody else.  Without SET clauses, as
    -- ota.eligible_devices(): part of the caller's query.
    SELECT i_fleet = r.fleet AND i_stage <= r.current_stage AND i_rank = ota.cohort_rank(s.rollout_id, i_device_id)
           AND (s.percent = 100 OR i_rank <= s.last_rank
             OR EXISTS (SELECT FROM ota.rollout_ahead a
                         WHERE a.rollout_id = s.rollout_id AND a.device_id = i_device_id AND a.stage = i_stage))
      FROM ota.rollout_stage s
     WHERE s.rollout_id = r.rollout_id AND s.stage = r.current_stage;
END;
COMMENT ON FUNCTION ota.stage_asks(ota.rollout, text, text, integer, bigint) IS 'Internal: has a stage of the rollout taken this device in?';
