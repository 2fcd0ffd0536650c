-- Triggers that hold whoever writes the tables.

CREATE OR REPLACE FUNCTION ota.rollout_guard()
RETURNS trigger
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- A rollout begins scheduled, and its state changes only along ota.rollout_transition.
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'scheduled' THEN
            RAISE EXCEPTION USING ERRCODE = '55000', MESSAGE = format('a new rollout cannot be %s', NEW.state),
                HINT = 'A rollout begins scheduled; use ota.start_rollout.';
        END IF;
    ELSIF NOT EXISTS (SELECT 1 FROM ota.rollout_transition t WHERE t.from_state = OLD.state AND t.to_state = NEW.state) THEN
        RAISE EXCEPTION USING ERRCODE = '55000',
            MESSAGE = format('rollout %s cannot go from %s to %s', OLD.rollout_id, OLD.state, NEW.state),
            HINT = coalesce('Possible from here: ' || (SELECT string_agg(DISTINCT t.to_state, ', ')
                                                         FROM ota.rollout_transition t WHERE t.from_state = OLD.state) || '.',
                            format('A %s rollout is final; start a new one.', OLD.state));
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION ota.rollout_guard() IS 'Trigger: refuses impossible changes of a rollout''s state';

CREATE OR REPLACE TRIGGER rollout_guard_insert BEFORE INSERT ON ota.rollout
    FOR EACH ROW EXECUTE FUNCTION ota.rollout_guard();
CREATE OR REPLACE TRIGGER rollout_guard_update BEFORE UPDATE ON ota.rollout
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION ota.rollout_guard();

CREATE OR REPLACE FUNCTION ota.device_update_guard()
RETURNS trigger
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- A device's part in a rollout begins pending and without a slot; what it is told and how it ends, comes later.  A stage that opens
-- may give slots, or say that its devices are told next (see ota.hand_out), which it counts itself: an INSERT does not reach
-- ota.device_update_count().  That says what opens is no secret: whoever may write these rows could give a slot by an UPDATE too, and
-- ota.broker_claim() and ota.broker_hand_out() look whether a stage asks for the device.
BEGIN
    RAISE EXCEPTION USING ERRCODE = '55000',
        MESSAGE = format('device "%s" cannot begin its part in rollout %s %s', left(NEW.device_id, 140), NEW.rollout_id,
            CASE WHEN NEW.state = 'pending' THEN 'with a slot' ELSE NEW.state END),
        HINT = 'Stages take devices in when they open; use ota.retry_device for one that has failed.';
END
$$;
COMMENT ON FUNCTION ota.device_update_guard() IS 'Trigger: refuses device updates that do not begin at the beginning';

CREATE OR REPLACE TRIGGER device_update_guard BEFORE INSERT ON ota.device_update
    FOR EACH ROW WHEN (NEW.state NOT IN ('pending', 'notified') OR NEW.retell_at IS NOT NULL OR NEW.recall
        OR (NEW.state = 'notified' OR NEW.granted_at IS NOT NULL OR NEW.served_stage IS NOT NULL)
           AND current_setting('ota.opens', true) IS DISTINCT FROM NEW.rollout_id::text)
    EXECUTE FUNCTION ota.device_update_guard();

CREATE OR REPLACE FUNCTION ota.rollout_ahead_guard()
RETURNS trigger
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Devices join ahead of their rank while a stage opens, and never after: not as easily as by a row of ota.device_update.
BEGIN
    IF TG_OP = 'UPDATE' OR NOT EXISTS (SELECT FROM ota.rollout r WHERE r.rollout_id = NEW.rollout_id AND r.state = 'running'
                                          AND r.device_id IS NULL AND r.current_stage = NEW.stage - 1) THEN
        RAISE EXCEPTION USING ERRCODE = '55000',
            MESSAGE = format('device "%s" cannot join rollout %s ahead of its rank now', left(NEW.device_id, 140), NEW.rollout_id),
            HINT = 'Only the opening of a stage draws devices.';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION ota.rollout_ahead_guard() IS 'Trigger: nobody joins ahead of the ranks but while a stage opens';

CREATE OR REPLACE TRIGGER rollout_ahead_guard BEFORE INSERT OR UPDATE ON ota.rollout_ahead
    FOR EACH ROW EXECUTE FUNCTION ota.rollout_ahead_guard();

CREATE OR REPLACE FUNCTION ota.event_guard()
RETURNS trigger
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- The audit log only grows.  Whoever owns the table can still thin it out after ALTER TABLE ... DISABLE TRIGGER, on purpose.
BEGIN
    RAISE EXCEPTION USING ERRCODE = '55000', MESSAGE = format('the audit log only grows: no %s of ota.event', lower(TG_OP)),
        HINT = 'To remove old events, its owner disables the trigger event_guard for that transaction.';
END
$$;
COMMENT ON FUNCTION ota.event_guard() IS 'Trigger: refuses to change or remove events';

CREATE OR REPLACE TRIGGER event_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON ota.event
    FOR EACH STATEMENT EXECUTE FUNCTION ota.event_guard();
-- A statement's trigger is not inherited: each partition has its own.  Those of later months come with them.
DO $$
DECLARE
    part  regclass;
BEGIN
    FOR part IN SELECT i.inhrelid::regclass FROM pg_inherits i WHERE i.inhparent = 'ota.event'::regclass LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER event_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON %s'
            ' FOR EACH STATEMENT EXECUTE FUNCTION ota.event_guard()', part);
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION ota.wake_brokers()
RETURNS trigger
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Brokers listen on the channel "ota" and look at the tables when anything comes; a poll backs it up.
BEGIN
    PERFORM pg_notify('ota', '');
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION ota.wake_brokers() IS 'Trigger: tells the brokers that there is something to look at';

CREATE OR REPLACE TRIGGER release_wakes_brokers AFTER INSERT OR UPDATE OF state ON ota.release
    FOR EACH STATEMENT EXECUTE FUNCTION ota.wake_brokers();
CREATE OR REPLACE TRIGGER rollout_wakes_brokers AFTER INSERT OR UPDATE OF state, advance_requested ON ota.rollout
    FOR EACH STATEMENT EXECUTE FUNCTION ota.wake_brokers();
