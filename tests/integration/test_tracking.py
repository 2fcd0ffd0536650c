"""Presence, versions, enrolment, and reports that are not reports."""

import json
import time

import pytest

from harness import stays, wait_for

pytestmark = pytest.mark.usefixtures("plugin")


@pytest.mark.brokers
@pytest.mark.memory
def test_a_device_appears_with_its_version_and_goes(site):
    device = site.device("dev-1", fleet="pumps", hardware="p-100")
    row = site.wait_device("dev-1", version="1.0.0", connected=True, listening=True, hardware="p-100", fleet="pumps")
    assert row["broker"] == "broker-1" and row["first_seen"] and row["last_seen"]
    device.disconnect()
    site.wait_device("dev-1", connected=False)
    assert site.db.row("SELECT devices::int AS devices, connected::int AS connected FROM ota.fleet_versions"
                       " WHERE fleet = 'pumps' AND version = '1.0.0'") == {"devices": 1, "connected": 0}


def test_last_seen_of_who_says_nothing_new_is_kept_to_five_seconds(site):
    place = "SELECT ctid::text AS place, extract(epoch FROM last_seen)::float AS seen FROM ota.device WHERE device_id = 'dev-1'"
    told = "SELECT count(*) FROM ota.event WHERE device_id = 'dev-1' AND kind = 'status'"
    device = site.device("dev-1")
    site.wait_device("dev-1", version="1.0.0", connected=True, listening=True)
    first, reports = site.db.row(place), site.db.value(told)
    begun = time.monotonic()
    for _ in range(3):
        device.report()
        reports += 1
        wait_for(lambda: site.db.value(told) == reports, 10)
    last = site.db.value("SELECT extract(epoch FROM max(at))::float FROM ota.event WHERE device_id = 'dev-1' AND kind = 'status'")
    if last < first["seen"] + 5:  # else the machine is very busy
        assert site.db.row(place) == first, "the row is not written for each of them"
    time.sleep(max(0, 5.2 - (time.monotonic() - begun)))
    device.report()
    wait_for(lambda: site.db.row(place)["seen"] >= first["seen"] + 5, 10)
    # The end is what it is, however short after.
    last = site.db.row(place)
    device.disconnect()
    gone = site.wait_device("dev-1", connected=False)
    at = site.db.value("SELECT max(at) FROM ota.event WHERE device_id = 'dev-1' AND kind = 'disconnected'")
    assert gone["last_seen"] == at and at.timestamp() > last["seen"]


def test_a_broken_connection_is_a_disconnect(site):
    device = site.device("dev-1")
    site.wait_device("dev-1", connected=True)
    device.vanish()
    site.wait_device("dev-1", connected=False)


@pytest.mark.brokers
def test_takeover_leaves_the_device_connected(site):
    site.device("dev-1")
    site.wait_device("dev-1", connected=True, version="1.0.0")
    # The same id again while the first connection stands: the broker drops the first one.
    second = site.device("dev-1", start=False, version="1.0.1")
    second.start()
    site.wait_device("dev-1", version="1.0.1")
    wait_for(lambda: second.connected.is_set(), 5)
    site.wait_device("dev-1", connected=True, listening=True)


def test_subscription_enrols_into_the_topics_fleet(site):
    device = site.device("dev-1", start=False, fleet="valves")
    device.connect()
    device.subscribe(device.topic)
    site.wait_device("dev-1", fleet="valves", version=None, listening=True)
    assert site.db.value("SELECT count(*) FROM ota.fleet WHERE fleet = 'valves'") == 1


def test_report_first_then_the_topics_fleet(site):
    """A device that reported first sits in default until its subscription says better."""
    device = site.device("dev-1", start=False, fleet="valves")
    device.connect()
    device.report()
    site.wait_device("dev-1", fleet="default", version="1.0.0")
    device.subscribe(device.topic)
    site.wait_device("dev-1", fleet="valves")


def test_own_topic_enrols_into_default(site):
    site.device("dev-1")
    site.wait_device("dev-1", fleet="default", listening=True)


def test_an_operators_fleet_is_not_changed_by_a_subscription(site):
    site.device("dev-1", fleet="valves")
    site.wait_device("dev-1", fleet="valves")
    site.db.execute("INSERT INTO ota.fleet (fleet) VALUES ('lab') ON CONFLICT DO NOTHING")
    site.db.execute("SELECT ota.assign_device('dev-1', 'lab')")
    site.device("dev-1", fleet="valves", version="1.0.1")
    site.wait_device("dev-1", version="1.0.1", fleet="lab")


def test_enroll_known_takes_only_devices_in_the_table(bare_site):
    bare_site.add_broker(enroll="known")
    bare_site.db.execute("INSERT INTO ota.device (device_id, fleet) VALUES ('known-1', 'default')")
    known = bare_site.device("known-1")
    stranger = bare_site.device("stranger")
    stranger.report("IDLE")
    bare_site.wait_device("known-1", version="1.0.0", connected=True)
    known.report("IDLE")
    stays(lambda: bare_site.device_row("stranger") is None, 1, "an unknown device was enrolled")


@pytest.mark.parametrize("status", ["idle", "Idle", "iDlE", None])
def test_a_plain_report_in_any_letter_case(site, status):
    device = site.device("dev-1", start=False)
    device.connect()
    device.report(status, version="2.3.4")
    site.wait_device("dev-1", version="2.3.4")


def test_unknown_members_are_kept_in_the_audit_log(site):
    device = site.device("dev-1")
    device.report("IDLE", battery=81, nested={"deep": [1, 2, {"x": None}]})
    wait_for(lambda: [event for event in site.events("status", "dev-1") if '"battery": 81' in json.dumps(event["detail"])],
             10, lambda: site.events(device="dev-1"))


MALFORMED = {
    "no JSON": b"hello",
    "empty": b"",
    "cut": b'{"version":"1.0.0"',
    "a list": b'["1.0.0"]',
    "no version": b'{"status":"IDLE"}',
    "version is a number": b'{"version":1,"status":"IDLE"}',
    "unknown status": b'{"version":"1.0.0","status":"DANCING"}',
    "a zero byte": b'{"version":"1.0.0\x00","status":"IDLE"}',
    "broken UTF-8": b'{"version":"1.0.\xff","status":"IDLE"}',
    "too deep": b'{"version":"1.0.0","x":' + b"[" * 2000 + b"]" * 2000 + b"}",
    "trailing garbage": b'{"version":"1.0.0"} {}',
    "progress beyond 100": b'{"version":"1.0.0","status":"DOWNLOADING","progress":101}',
    "oversized": b'{"version":"1.0.0","x":"' + b"a" * 200000 + b'"}',
}


@pytest.mark.memory
@pytest.mark.parametrize("case", MALFORMED, ids=lambda case: case.replace(" ", "-"))
def test_malformed_report_is_audited_and_changes_nothing(site, case):
    device = site.device("dev-1")
    site.wait_device("dev-1", version="1.0.0", listening=True)
    before = site.device_row("dev-1")
    device.publish(device.status_topic, MALFORMED[case])
    events = site.wait_event("malformed", "dev-1")
    assert len(events) == 1 and events[0]["detail"], events
    assert site.device_row("dev-1")["version"] == before["version"]
    assert device.messages == [], "a malformed report is not answered"
    device.report("IDLE", version="1.0.2")  # and the device goes on
    site.wait_device("dev-1", version="1.0.2")


def test_malformed_reports_are_counted_under_sys(site):
    watcher = site.client("watcher")
    watcher.subscribe("$SYS/broker/ota/#")
    device = site.device("dev-1")
    for _ in range(3):
        device.publish(device.status_topic, b"nonsense")
    wait_for(lambda: [message for message in watcher.messages if "malformed" in message[0] and message[1] == b"3"], 10,
             lambda: watcher.messages)


def test_a_client_speaks_for_itself_only(site):
    site.device("dev-1")
    site.wait_device("dev-1", version="1.0.0")
    liar = site.device("dev-2")
    liar.publish("devices/dev-1/ota/status", {"version": "6.6.6", "status": "IDLE"})
    denied = wait_for(lambda: site.db.rows("SELECT * FROM ota.denied"), 10, "a row in ota.denied")
    assert denied[0]["client"] == "dev-2" and denied[0]["topic"] == "devices/dev-1/ota/status" and denied[0]["reason"]
    assert site.device_row("dev-1")["version"] == "1.0.0"


def test_a_gateway_speaks_for_its_own_devices(site):
    site.db.execute("INSERT INTO ota.device (device_id, fleet, gateway) VALUES ('beacon-1', 'default', 'hub-1'),"
                    " ('beacon-2', 'default', 'hub-2')")
    hub = site.client("hub-1")
    wait_for(lambda: hub.publish("devices/beacon-1/ota/status", {"version": "0.9.0"}) and
             (site.device_row("beacon-1") or {}).get("version") == "0.9.0", 10, lambda: site.device_row("beacon-1"), every=0.3)
    hub.publish("devices/beacon-2/ota/status", {"version": "0.9.0"})
    wait_for(lambda: site.db.rows("SELECT * FROM ota.denied WHERE client = 'hub-1'"), 10, "hub-1 is denied beacon-2")
    assert site.device_row("beacon-2")["version"] is None


def test_username_as_identity(bare_site):
    bare_site.add_broker(device_identity="username")
    device = bare_site.device("dev-7", start=False, username="dev-7")
    device.connect()
    device.report()
    device.subscribe(device.topic)
    bare_site.wait_device("dev-7", version="1.0.0", listening=True)
    liar = bare_site.client("dev-7b", username="dev-8")
    liar.publish("devices/dev-7b/ota/status", {"version": "6.6.6"})
    wait_for(lambda: bare_site.db.rows("SELECT * FROM ota.denied"), 10, "the report is denied")
    assert bare_site.device_row("dev-7b") is None


def test_other_traffic_leaves_no_trace(site):
    client = site.client("ordinary")
    client.subscribe("chat/#")
    for number in range(20):
        client.publish(f"chat/{number}", b"x")
    client.publish("devices/ordinary/other", b"x")
    wait_for(lambda: len(client.messages) == 20, 5)
    site.device("dev-1")
    site.wait_device("dev-1", version="1.0.0")
    assert site.device_row("ordinary") is None


def test_reports_of_one_device_keep_their_order(site):
    device = site.device("dev-1")
    for number in range(200):
        device.publish(device.status_topic, json.dumps({"version": f"1.0.{number}"}), wait=False)
    site.wait_device("dev-1", version="1.0.199")
    reported = [event["detail"] for event in site.events("status", "dev-1")]
    numbers = [int(text.split('1.0.')[1].split('"')[0]) for text in map(json.dumps, reported) if "1.0." in text]
    assert numbers[-200:] == list(range(200))


def test_device_history_reads_like_a_story(site):
    device = site.device("dev-1")
    device.report("IDLE", version="1.0.1")
    device.version = "1.0.1"
    device.disconnect()
    site.wait_device("dev-1", version="1.0.1", connected=False)
    rows = site.db.rows("SELECT device_id, at, kind, version, rollout_id, detail FROM ota.device_history"
                        " WHERE device_id = 'dev-1' ORDER BY at")
    assert {"1.0.0", "1.0.1"} <= {row["version"] for row in rows}
    assert [row["at"] for row in rows] == sorted(row["at"] for row in rows)
