-- Operators: say what is known of a device: where it stands, whose it is.

CREATE OR REPLACE FUNCTION ota.set_attributes(device_id text, attributes jsonb)
RETURNS jsonb
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Set attributes of a device; those not named stay, null removes one.  The attribute "site" is the place where the device stands:
-- plans and fleets can cap how many devices of one site are updated at once, and canaries have a device of each.
-- device_id: must exist; attributes: an object, names of 1 to 64 bytes, at most 8 KiB with those that stay; "site": a text of 1 to
-- 128 bytes.  Returns the attributes as they are now.
-- Errors: 22023 an argument is not acceptable; P0002 no such device.
#variable_conflict use_column
DECLARE
    before  jsonb;
    after   jsonb;
    name    text;
    site    text := set_attributes.attributes ->> 'site';
BEGIN
    PERFORM ota.check_name('device', set_attributes.device_id);
    IF set_attributes.attributes IS NULL OR jsonb_typeof(set_attributes.attributes) <> 'object' THEN
        RAISE EXCEPTION USING ERRCODE = '22023',
            MESSAGE = format('the attributes are %s', coalesce('a JSON ' || jsonb_typeof(set_attributes.attributes), 'null')),
            HINT = 'Accepted is an object such as {"site": "munich"}; null removes one: {"site": null}.';
    ELSIF jsonb_typeof(set_attributes.attributes -> 'site') NOT IN ('string', 'null')
        OR octet_length(site) NOT BETWEEN 1 AND 128 OR site ~ '[[:cntrl:]]' THEN
        RAISE EXCEPTION USING ERRCODE = '22023',
            MESSAGE = format('the site is %s', left((set_attributes.attributes -> 'site')::text, 140)),
            HINT = 'Accepted is a text of 1 to 128 bytes without control characters; null removes it.';
    END IF;
    SELECT k INTO name FROM jsonb_object_keys(set_attributes.attributes) AS k WHERE octet_length(k) NOT BETWEEN 1 AND 64 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('"%s" cannot name an attribute', left(name, 80)),
            HINT = 'A name has 1 to 64 bytes.';
    END IF;
    -- The updates before the device: the order in which brokers lock them.
    PERFORM 1 FROM ota.device_update u
      WHERE u.device_id = set_attributes.device_id
        AND u.state IN ('pending', 'notified', 'downloading', 'verifying', 'applying', 'rebooting')
      ORDER BY u.rollout_id FOR UPDATE;
    SELECT d.attributes INTO before FROM ota.device d WHERE d.device_id = set_attributes.device_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = format('there is no device "%s"', set_attributes.device_id),
            HINT = 'The devices are in the table ota.device; ota.assign_device makes one.';
    END IF;
    after := (before || set_attributes.attributes)
             - ARRAY(SELECT e.key FROM jsonb_each(set_attributes.attributes) e WHERE e.value = 'null');
    IF octet_length(after::text) > 8192 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('the attributes have %s bytes', octet_length(after::text)),
            HINT = 'A device''s attributes have at most 8192 bytes, as JSON.';
    END IF;
    UPDATE ota.device d SET attributes = after WHERE d.device_id = set_attributes.device_id AND d.attributes <> after;
    IF FOUND THEN
        PERFORM ota.audit('attributes_set', set_attributes.device_id, NULL,
            jsonb_build_object('from', before, 'to', after, 'reason', 'by operator'));
        PERFORM pg_notify('ota', '');
    END IF;
    RETURN after;
END
$$;
COMMENT ON FUNCTION ota.set_attributes(text, jsonb) IS 'Set attributes of a device, such as its site';
