"""Attacks over MQTT: forged notices, forged reports, wills, subscriptions.

One rollout stands under all of these attacks; after each of them the told device has its one genuine notice, the bystander
has none, and the record of both is what it was.  docs/threats.md says which check stops what.
"""

import json

import pytest

from harness import wait_for
from harness.raw import NOT_AUTHORISED, RawClient

pytestmark = pytest.mark.usefixtures("plugin")

# How a forger publishes; the second column is the topic, {told} and {bystander} the devices.
FORGERIES = {
    "qos 0": ("devices/{told}/ota/available", {"qos": 0}),
    "qos 1": ("devices/{told}/ota/available", {"qos": 1}),
    "qos 2": ("devices/{told}/ota/available", {"qos": 2}),
    "retained": ("devices/{told}/ota/available", {"retain": True}),
    "retained qos 0": ("devices/{told}/ota/available", {"qos": 0, "retain": True}),
    "fleet qos 0": ("fleet/pumps/ota/available", {"qos": 0}),
    "fleet qos 1": ("fleet/pumps/ota/available", {"qos": 1}),
    "fleet qos 2": ("fleet/pumps/ota/available", {"qos": 2}),
    "fleet retained": ("fleet/pumps/ota/available", {"retain": True}),
    "bystander": ("devices/{bystander}/ota/available", {"qos": 1}),
    "bystander retained": ("devices/{bystander}/ota/available", {"retain": True}),
    "no device": ("devices//ota/available", {"qos": 1}),
    "dollar": ("devices/$SYS/ota/available", {"qos": 1}),
    "blank": ("devices/ /ota/available", {"qos": 1}),
    "nobody": ("devices/nobody/ota/available", {"retain": True}),
    "other fleet": ("fleet/other/ota/available", {"retain": True}),
}


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("case", FORGERIES, ids=lambda case: case.replace(" ", "-"))
def test_forged_notice(arena, case, version):
    topic, how = FORGERIES[case]
    topic = topic.format(told=arena.told.client_id, bystander=arena.bystander.client_id)
    forger = arena.attacker(version=version)
    answer = forger.publish(topic, arena.forged(), **how)
    if version == 5 and how.get("qos", 1) > 0:
        assert answer == NOT_AUTHORISED
    arena.refused(forger, topic, "broker")
    arena.unharmed()
    late = arena.attacker()  # nothing was kept for those who come later
    late.subscribe(topic)
    late.subscribe("#")
    late.ping()
    assert not [one for one, _ in late.messages if one.endswith("/ota/available")], late.messages


def test_topic_alias_is_resolved_first(arena):
    forger = arena.attacker(version=5)
    topic = arena.told.own_topic
    assert forger.publish(topic, arena.forged(), alias=1) == NOT_AUTHORISED
    assert forger.publish("", arena.forged(), alias=1) in (NOT_AUTHORISED, None)
    assert arena.attacker(version=5).publish("", arena.forged(), alias=1) is None
    arena.refused(forger, topic)
    arena.unharmed()


def test_alias_that_meant_another_topic(arena):
    forger = arena.attacker(version=5)
    assert forger.publish("chat/x", "hello", alias=1) in (0, 0x10)
    assert forger.publish(arena.told.own_topic, arena.forged(), alias=1) == NOT_AUTHORISED
    forger.publish("", arena.forged(), alias=1)
    arena.unharmed()


@pytest.mark.parametrize("topic", ["devices/+/ota/available", "devices/#", "fleet/+/ota/available", "devices/dev-\x00/ota/available",
                                   b"devices/dev-\xff/ota/available", "devices/dev-\x01/ota/available"],
                         ids=["plus", "hash", "fleet-plus", "zero", "no-utf8", "control"])
def test_forged_notice_on_an_impossible_topic(arena, topic):
    arena.attacker().publish(topic, arena.forged())
    arena.unharmed()


def test_copy_of_the_genuine_notice(arena):
    """Even word for word it comes from the broker or not at all."""
    forger = arena.attacker()
    forger.publish(arena.told.own_topic, arena.genuine[0])
    arena.refused(forger, arena.told.own_topic)
    arena.unharmed()


def test_forged_recall(arena):
    forger = arena.attacker()
    recall = json.dumps({"action": "cancel", "rollout": arena.rollout_id, "version": "1.5.0"})
    forger.publish(arena.told.own_topic, recall)
    forger.publish(arena.told.topic, recall)
    arena.refused(forger, arena.told.own_topic)
    arena.unharmed()


@pytest.mark.parametrize("topic", ["devices/dev-1/ota/available", "fleet/pumps/ota/available"])
def test_device_forges_for_itself(arena, topic):
    """Not even a device may publish on its own notify topic: others may listen there."""
    arena.told.publish(topic, arena.forged(), qos=1)
    arena.refused(arena.told, topic)
    arena.unharmed()


WILLS = {
    "own": "devices/{told}/ota/available",
    "fleet": "fleet/pumps/ota/available",
    "status": "devices/{told}/ota/status",
}


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("retain", [False, True], ids=["live", "retained"])
@pytest.mark.parametrize("case", WILLS)
def test_forged_will(arena, case, retain, version):
    topic = WILLS[case].format(told=arena.told.client_id)
    payload = arena.forged(status="SUCCESS", version="1.5.0")
    forger = arena.attacker(version=version, will=(topic, payload, 1, retain))
    forger.drop()
    if forger.result == 0:  # 2.1 refuses such a will when it is offered
        arena.gone(forger.client_id)
    arena.refused(forger, topic)
    arena.unharmed()
    late = arena.attacker()
    late.subscribe(topic)
    late.ping()
    assert late.messages == []


# Who reports, on which topic.
LIES = {
    "for another": (None, "devices/dev-1/ota/status"),
    "for the other": (None, "devices/dev-2/ota/status"),
    "no device": (None, "devices//ota/status"),
    "id with a slash": ("dev-1/x", "devices/dev-1/x/ota/status"),
    "id with a hash": ("dev#1", "devices/dev#1/ota/status"),
    "id with a plus": ("dev+1", "devices/dev+1/ota/status"),
    "id beginning with a dollar": ("$dev-1", "devices/$dev-1/ota/status"),
    "id of 300 bytes": ("d" * 300, "devices/" + "d" * 300 + "/ota/status"),
    "id with a soft hyphen": ("dev-1\u00ad", "devices/dev-1/ota/status"),
    "id in capitals": ("DEV-1", "devices/dev-1/ota/status"),
    "empty id": ("", "devices/dev-1/ota/status"),
    "empty id, empty topic": ("", "devices//ota/status"),
}


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("case", LIES, ids=lambda case: case.replace(" ", "-"))
def test_report_for_somebody_else(arena, case, version):
    client_id, topic = LIES[case]
    liar = arena.attacker(None, version=version)
    if client_id is not None:
        liar = arena.attacker(version=version, connect=False)
        liar.client_id = client_id
        liar._connect(None, None, None, True)
    answer = liar.publish(topic, json.dumps({"version": "6.6.6", "status": "SUCCESS"}))
    if "#" in topic or "+" in topic or liar.result != 0:
        assert answer is None  # no topic to publish on, or no id to connect with: the broker itself ends it
    elif "/x/" not in topic:  # a level more is no topic of ours
        assert version == 4 or answer == NOT_AUTHORISED
        # The broker gives a client without an id one of its own.
        wait_for(lambda: arena.db.rows("SELECT * FROM ota.denied WHERE topic = %s AND (client = %s OR %s = '' AND client !~ '^evil-')",
                                       topic, liar.client_id, liar.client_id), 5, lambda: arena.db.rows("SELECT * FROM ota.denied")[-3:])
    arena.unharmed()
    assert arena.db.value("SELECT count(*) FROM ota.device WHERE version = '6.6.6'") == 0


@pytest.mark.parametrize("client_id", ["dev\x01", "dev\x7f", b"dev\xff", b"dev\x00"], ids=["control", "delete", "no-utf8", "zero"])
def test_client_id_that_is_no_text(arena, client_id):
    liar = arena.attacker(connect=False)
    liar.client_id = client_id
    liar._connect(None, None, None, True)
    if liar.result == 0:  # MQTT leaves control characters to the broker
        raw = client_id if isinstance(client_id, bytes) else client_id.encode()
        liar.publish(b"devices/" + raw + b"/ota/status", json.dumps({"version": "6.6.6"}))
    arena.unharmed()
    assert arena.db.value("SELECT count(*) FROM ota.device WHERE version = '6.6.6'") == 0


FILTERS = ["#", "+/+/ota/available", "devices/+/ota/available", "devices/{told}/ota/available", "fleet/pumps/ota/available",
           "$share/spies/fleet/pumps/ota/available", "$share/spies/devices/{told}/ota/available", "$share/spies/#"]


def test_nobody_overhears_a_notice(arena):
    """Told again, the device alone hears it; whoever subscribed to whatever does not."""
    spies = [arena.attacker(version=version) for version in (4, 5) for _ in FILTERS]
    for spy, topic_filter in zip(spies, FILTERS * 2):
        spy.subscribe(topic_filter.format(told=arena.told.client_id))
    arena.told.reboot()  # it has not begun, so that it is told again
    arena.told.subscribe("#")
    arena.told.subscribe(arena.told.own_topic)
    try:
        arena.told.wait_notice(len(arena.genuine) + 1, timeout=15)
    finally:
        arena.genuine = [payload for topic, payload, _ in arena.told.messages if topic.endswith("/ota/available")]
        arena.before = arena.record()
    assert all(json.loads(payload)["url"] == arena.notice["url"] for payload in arena.genuine)
    for spy in spies:
        assert spy.ping()
        assert not [topic for topic, _ in spy.messages if topic.endswith("/ota/available")], (spy.client_id, spy.messages)
    arena.unharmed()


@pytest.mark.parametrize("topic", ["$SYS/broker/ota/rollout/1", "$SYS/broker/ota/denied"])
def test_forged_figures_for_dashboards(arena, topic):
    forger = arena.attacker()
    forger.publish(topic, b'{"forged":true}', retain=True)
    watcher = arena.attacker()
    watcher.subscribe("$SYS/broker/ota/#")
    wait_for(lambda: watcher.ping() and watcher.messages, 5, "the broker's own figures")
    assert not [one for one in watcher.messages if b"forged" in one[1]], watcher.messages
    arena.unharmed()


def test_flood_of_refusals_is_bounded_and_hides_nobody(arena):
    """A thousand refusals fill neither the table nor the log, and another attacker is seen through them all the same."""
    before = arena.db.value("SELECT count(*) FROM ota.denied")
    flooder = arena.attacker("flooder")
    for _ in range(1000):
        flooder.publish(arena.told.own_topic, arena.forged(), qos=0)
    quiet = arena.attacker("quiet")
    quiet.publish(arena.told.own_topic, arena.forged())
    arena.refused(quiet, arena.told.own_topic)
    assert arena.db.value("SELECT count(*) FROM ota.denied") - before < 100
    flooder.close()
    arena.unharmed()


@pytest.mark.brokers
@pytest.mark.parametrize("version", [4, 5])
def test_another_devices_topic_by_name(bare_site, broker_version, version):
    """Refused by name, also as a shared subscription; its own, its gateway's and an operator's is none of that."""
    site = bare_site
    site.add_broker(version=broker_version, control_users="boss")
    site.db.execute("SELECT ota.assign_gateway('beacon-1', 'hub')")
    no = 0x80 if version == 4 else NOT_AUTHORISED
    spy = RawClient(site.broker, "spy", version, username="mallory")
    # Who is a gateway is known a moment after the start; until then nobody is refused.
    wait_for(lambda: spy.subscribe("devices/dev-1/ota/available") == no, 10, site.broker.log)
    for topic_filter in ("devices/dev-1/ota/available", "devices/beacon-1/ota/available", "$share/g/devices/dev-1/ota/available",
                         "$share/g/devices/nobody/ota/available"):
        assert spy.subscribe(topic_filter) == no, topic_filter
    rows = wait_for(lambda: len(rows := site.db.rows("SELECT DISTINCT topic, client, reason FROM ota.denied")) == 4 and rows, 10)
    assert {row["client"] for row in rows} == {"spy"} and all("by name to its own" in row["reason"] for row in rows)
    for topic_filter in ("devices/spy/ota/available", "devices/+/ota/available", "devices/dev-1/#", "#", "fleet/pumps/ota/available",
                         "$share/g/devices/+/ota/available", "$share/g/devices/spy/ota/available", "devices/dev-1/ota/status",
                         "devices/dev-1/ota/available/x", "$share/g/chat/dev-1"):
        assert spy.subscribe(topic_filter) == 1, topic_filter
    boss = RawClient(site.broker, "desk", version, username="boss")
    hub = RawClient(site.broker, "hub", version)
    # A gateway that was named after the start is known within a second.
    wait_for(lambda: hub.subscribe("devices/beacon-1/ota/available") == 1, 10, site.broker.log)
    for client in (boss, hub):
        for topic_filter in ("devices/dev-1/ota/available", "devices/beacon-1/ota/available", "$share/g/devices/dev-1/ota/available"):
            assert client.subscribe(topic_filter) == 1, (client.client_id, topic_filter)
    # Listening is not being told: the notice goes to the device alone.
    device = site.device("dev-1")
    site.wait_device("dev-1", listening=True, version="1.0.0")
    site.quick_plan()
    site.release("1.5.0")
    site.start_rollout("default", "1.5.0", "quick", "emergency: everybody at once")
    device.wait_notice()
    for client in (spy, boss, hub):
        assert client.ping() and not [topic for topic, _ in client.messages if topic.endswith("/available")], client.messages
