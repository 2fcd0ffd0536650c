-- Operators: let a stage go on before its time, or after a hold.

CREATE OR REPLACE FUNCTION ota.advance_rollout(id bigint, reason text DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Ask the controller to close the open or held stage now: the rest of its wait is skipped, its outcomes are judged all the same.
-- id: the rollout; reason: why (null: "by operator").  Where the plan wants approval, whoever started the rollout cannot advance it.
-- Errors: P0002 no such rollout; 55000 it is not running or no stage is open; 42501 approval is another's to give.
DECLARE
    r     ota.rollout;
    s     ota.rollout_stage;
    why   text := ota.check_reason(reason, false);
BEGIN
    SELECT * INTO r FROM ota.rollout WHERE rollout_id = id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = format('there is no rollout %s', coalesce(id::text, '(null)')),
            HINT = 'The rollouts are in the view ota.rollout_progress.';
    ELSIF r.state <> 'running' THEN
        RAISE EXCEPTION USING ERRCODE = '55000', MESSAGE = format('rollout %s is %s: advance is not possible', id, r.state),
            HINT = CASE WHEN r.state IN ('paused', 'halted') THEN 'Resume it first.' ELSE 'A running rollout can be advanced.' END;
    END IF;
    SELECT * INTO s FROM ota.rollout_stage WHERE rollout_id = id AND stage = r.current_stage;
    IF NOT FOUND OR s.state NOT IN ('open', 'held') THEN
        RAISE EXCEPTION USING ERRCODE = '55000', MESSAGE = CASE WHEN s.stage IS NULL
                THEN format('rollout %s has not opened its first stage yet', id)
                ELSE format('stage %s (%s) of rollout %s is %s', s.stage, s.label, id, s.state) END,
            HINT = 'An open or held stage can be advanced.';
    ELSIF coalesce((r.options ->> 'approval')::boolean, false) AND r.created_by = ota.actor() THEN
        RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = format('rollout %s was started by "%s", who cannot approve it', id, ota.actor()),
            HINT = 'Its plan wants approval: each further stage waits for somebody else to call ota.advance_rollout.';
    END IF;
    UPDATE ota.rollout SET advance_requested = true WHERE rollout_id = id;
    PERFORM ota.audit('advance_requested', NULL, id, jsonb_build_object('stage', s.stage, 'label', s.label, 'reason', why));
END
$$;
COMMENT ON FUNCTION ota.advance_rollout(bigint, text) IS 'Close the open stage now, or let a held one go on';
