"""Who may see and say what: notices reach one device, and nobody but the broker writes them."""

import json

import pytest

from harness import stays, wait_for

pytestmark = pytest.mark.usefixtures("plugin")

FORGED = {"version": "6.6.6", "url": "https://evil.example.com/x.bin", "sha256": "00" * 32, "size": 1}


def running_rollout(site, count=4, fleet="pumps"):
    """A rollout that has told half of the devices and then waits."""
    site.quick_plan(wait="30 seconds")
    site.release("1.5.0")
    devices = site.devices(count, fleet=fleet)
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening AND version = '1.0.0' AND fleet = %s",
                                   fleet) == count, 10)
    rollout = site.start_rollout(fleet, "1.5.0", "quick")
    wait_for(lambda: sum(bool(device.notices()) for device in devices) == count // 2, 10, lambda: site.describe(rollout))
    return devices, rollout


@pytest.mark.brokers
@pytest.mark.memory
def test_nobody_else_sees_a_notice(site):
    """Not by '#', not by a wildcard, not by a shared subscription."""
    filters = ("#", "fleet/+/ota/available", "+/pumps/#", "$share/spies/fleet/#", "$share/spies/fleet/pumps/ota/available")
    watchers = [site.client(f"watcher-{number}") for number in range(len(filters))]
    for watcher, topic_filter in zip(watchers, filters):
        watcher.subscribe(topic_filter)
    devices, rollout = running_rollout(site)
    watchers[0].publish("other/topic", b"seen")
    wait_for(lambda: "other/topic" in watchers[0].topics(), 5, "the '#' subscriber still sees what it may see")
    for watcher in watchers:
        assert not [topic for topic in watcher.topics() if topic.endswith("/ota/available")], watcher.messages
    assert sum(len(device.messages) for device in devices) == 2


def test_stranger_on_the_exact_topic_sees_nothing(bare_site):
    """With enroll known a subscription makes nobody a device."""
    bare_site.add_broker(enroll="known")
    bare_site.db.execute("INSERT INTO ota.fleet (fleet) VALUES ('pumps')")
    bare_site.db.execute("INSERT INTO ota.device (device_id, fleet) SELECT 'dev-00' || n, 'pumps' FROM generate_series(1, 4) n")
    stranger = bare_site.client("stranger")
    stranger.subscribe("fleet/pumps/ota/available")
    running_rollout(bare_site)
    stays(lambda: not stranger.messages, 1, lambda: stranger.messages)
    assert bare_site.device_row("stranger") is None


def test_device_outside_the_stage_never_gets_one(site):
    devices, rollout = running_rollout(site)
    told = set(site.db.column("SELECT device_id FROM ota.device_update WHERE rollout_id = %s", rollout))
    stays(lambda: all(bool(device.notices()) == (device.client_id in told) for device in devices), 2)
    outside = next(device for device in devices if device.client_id not in told)
    outside.reboot()  # subscribing again is no way in
    outside.report("IDLE")
    stays(lambda: not outside.notices(), 1)


def test_the_other_devices_topic_is_no_way_to_its_notice(site):
    spy = site.device("spy", start=False)
    spy.connect()
    spy.report()
    # Until the broker has heard who is a gateway, subscriptions pass; that one was heard nothing on, either.
    wait_for(lambda: spy.subscribe("devices/pump-001/ota/available") == 128, 10, site.broker.log)
    assert spy.subscribe("devices/+/ota/available") == 1
    site.quick_plan(wait="30 seconds")
    site.release("1.5.0")
    site.db.execute("SELECT ota.define_plan('half', %s::jsonb, options => %s::jsonb)",
                    '[{"label":"a","percent":50,"wait":"30 s"},{"label":"b","percent":100,"wait":"1 s"}]', '{"pacing":"none"}')
    site.db.execute("INSERT INTO ota.fleet (fleet) VALUES ('pumps') ON CONFLICT DO NOTHING")
    site.db.execute("INSERT INTO ota.device (device_id, fleet) VALUES ('pump-001', 'pumps'), ('pump-002', 'pumps')")
    devices = [site.device("pump-001"), site.device("pump-002")]
    for device in devices:
        site.wait_device(device.client_id, listening=True, version="1.0.0")
    site.start_rollout("pumps", "1.5.0", "half")
    wait_for(lambda: any(device.notices() for device in devices), 10)
    stays(lambda: not [topic for topic in spy.topics() if topic.endswith("/ota/available")], 1)


@pytest.mark.brokers
@pytest.mark.parametrize("topic", ["fleet/pumps/ota/available", "devices/dev-001/ota/available"])
def test_publishing_a_notice_is_refused(site, topic):
    device = site.device("dev-001", start=False, fleet="pumps")
    device.connect()
    device.subscribe("fleet/pumps/ota/available")
    device.subscribe("devices/dev-001/ota/available")
    forger = site.client("forger")
    forger.publish(topic, FORGED)
    forger.publish(topic, FORGED, qos=0)
    forger.publish(topic, FORGED, retain=True)
    forger.publish(topic, FORGED, qos=2, wait=False)
    denied = wait_for(lambda: site.db.rows("SELECT * FROM ota.denied WHERE topic = %s", topic), 10, "a row in ota.denied")
    assert denied[0]["client"] == "forger" and denied[0]["reason"] and denied[0]["broker"] == "broker-1"
    stays(lambda: not device.messages, 1, lambda: device.messages)
    late = site.client("late")
    late.subscribe(topic)
    stays(lambda: not late.messages, 0.5, lambda: late.messages)


@pytest.mark.brokers
@pytest.mark.parametrize("retain", [False, True])
def test_a_will_is_no_way_to_forge_a_notice(site, retain):
    device = site.device("dev-001", start=False, fleet="pumps")
    device.connect()
    device.subscribe(device.topic)
    forger = site.client("forger", will=("fleet/pumps/ota/available", json.dumps(FORGED), 1, retain), connect=True)
    forger.vanish()
    stays(lambda: not device.messages, 1.5, lambda: device.messages)
    late = site.client("late")
    late.subscribe("fleet/pumps/ota/available")
    stays(lambda: not late.messages, 0.5, lambda: late.messages)


def test_a_will_is_no_way_to_forge_a_report(site):
    site.device("dev-001")
    site.wait_device("dev-001", version="1.0.0")
    forger = site.client("forger", will=("devices/dev-001/ota/status", json.dumps({"version": "6.6.6"}), 1, False))
    forger.vanish()
    stays(lambda: site.device_row("dev-001")["version"] == "1.0.0", 1.5)


def test_retained_notice_from_before_the_plugin_reaches_nobody(bare_site):
    """A broker that ran without the plugin may hold a forged, retained notice."""
    extra = ["persistence true", f"persistence_location {bare_site.folder}/store/", "autosave_interval 1"]
    (bare_site.folder / "store").mkdir()
    broker = bare_site.add_broker(with_plugin=False, ready=False, extra=extra)
    forger = bare_site.client("forger", broker)
    forger.publish("fleet/pumps/ota/available", FORGED, retain=True)
    forger.disconnect()
    broker.stop()
    broker.with_plugin = True
    broker.start()
    bare_site.wait_ready()
    device = bare_site.device("dev-001", fleet="pumps")
    bare_site.wait_device("dev-001", listening=True)
    stays(lambda: not device.messages, 1, lambda: device.messages)


def test_reports_are_not_forwarded_to_strangers(site):
    """Status topics stay readable for dashboards only if the operator's ACL says so: other traffic is 'allow' here."""
    device = site.device("dev-001")
    watcher = site.client("watcher")
    watcher.subscribe("chat/#")
    device.report("IDLE")
    stays(lambda: not watcher.messages, 0.5)


def test_control_is_for_nobody_by_default(site):
    client = site.client("somebody", username="somebody")
    client.subscribe("$CONTROL/ota/v1/response")
    client.publish("$CONTROL/ota/v1", {"commands": [{"command": "listFleets"}]})
    stays(lambda: not [message for message in client.messages if b"fleets" in message[1] and b"error" not in message[1]], 1)
