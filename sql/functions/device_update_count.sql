-- The counters of ota.rollout_stage, kept by a statement trigger: whoever writes ota.device_update, they are right.

CREATE OR REPLACE FUNCTION ota.device_update_count()
RETURNS trigger
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Rows count in the stage that served them; a row that has never been granted a slot counts nowhere.
-- One stage after the other, in the order of their numbers, and not in one statement, whose order is whatever join was thought to be the
-- cheapest: two brokers whose batches move the same counters would wait for each other.
DECLARE
    c  record;
BEGIN
    FOR c IN
        SELECT x.rollout_id, x.served_stage,
               sum(x.w * (x.notified_at IS NOT NULL)::integer) AS notified,
               sum(x.w * (x.state IN ('notified', 'downloading', 'verifying', 'applying', 'rebooting')
                          OR x.state = 'pending' AND x.granted_at IS NOT NULL)::integer) AS in_flight,
               sum(x.w * (x.state = 'succeeded')::integer) AS succeeded,
               sum(x.w * (x.state IN ('failed', 'rolled_back', 'timed_out'))::integer) AS failed,
               sum(x.w * (x.state = 'rejected')::integer) AS rejected,
               sum(x.w * x.attempts_failed) AS attempts_failed
          FROM (SELECT 1 AS w, rollout_id, served_stage, state, notified_at, granted_at, attempts_failed FROM new_rows
                UNION ALL
                SELECT -1, rollout_id, served_stage, state, notified_at, granted_at, attempts_failed FROM old_rows) x
         WHERE x.served_stage IS NOT NULL
         GROUP BY x.rollout_id, x.served_stage
         ORDER BY x.rollout_id, x.served_stage
    LOOP
        CONTINUE WHEN (c.notified, c.in_flight, c.succeeded, c.failed, c.rejected, c.attempts_failed) = (0, 0, 0, 0, 0, 0);
        UPDATE ota.rollout_stage s
           SET notified = s.notified + c.notified, in_flight = s.in_flight + c.in_flight,
               succeeded = s.succeeded + c.succeeded, failed = s.failed + c.failed, rejected = s.rejected + c.rejected,
               attempts_failed = s.attempts_failed + c.attempts_failed
         WHERE s.rollout_id = c.rollout_id AND s.stage = c.served_stage;
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION ota.device_update_count() IS 'Trigger: keeps the counters of ota.rollout_stage';

CREATE OR REPLACE TRIGGER device_update_count
    AFTER UPDATE ON ota.device_update
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION ota.device_update_count();
