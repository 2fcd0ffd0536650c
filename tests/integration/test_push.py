"""A back end that still publishes updates to a whole fleet, with and without plugin_opt_intercept_push stage."""

import json

import pytest

from harness import stays, wait_for
from harness.raw import NOT_AUTHORISED, RawClient
from harness.signing import Signer, envelope

pytestmark = pytest.mark.usefixtures("plugin")

TOPIC = "fleet/pumps/ota/available"
NO_SUBSCRIBER = 0x10  # MQTT 5: taken, and nobody subscribes


@pytest.fixture
def staged(bare_site, broker_version):
    bare_site.add_broker(version=broker_version, intercept_push="stage", control_users="backend",
                         extra=["persistence true", f"persistence_location {bare_site.folder}/"])
    return bare_site


def update(site, version, signers=None, **changed):
    """What the old back end publishes; `manifest` is what it has got since."""
    manifest = site.manifest(version)
    body = {name: manifest[name] for name in ("version", "url", "sha256", "size")}
    return {**body, "releaseNotes": "new pump curve", "manifest": envelope(manifest, *(signers or [site.signer])), **changed}


def rollouts(site):
    return site.db.rows("SELECT r.*, l.version, l.state AS release_state FROM ota.rollout r JOIN ota.release l USING (release_id)"
                        " ORDER BY rollout_id")


def denied(site, words):
    return wait_for(lambda: site.db.rows("SELECT * FROM ota.denied WHERE reason LIKE %s", f"%{words}%"), 15,
                    lambda: f"{words}: {site.db.rows('SELECT * FROM ota.denied')}\n{site.broker.log()[-2000:]}")


@pytest.mark.brokers
@pytest.mark.parametrize("version", [4, 5])
def test_an_old_push_becomes_a_staged_rollout(staged, version):
    site = staged
    devices = site.devices(4, prefix="pump", fleet="pumps")
    for device in devices:
        device.subscribe("#")
        site.wait_device(device.client_id, listening=True, fleet="pumps")
    spy = RawClient(site.broker, "spy", version)
    spy.subscribe("#")
    spy.subscribe(TOPIC)
    away = RawClient(site.broker, "away", version, clean=False)
    away.subscribe(TOPIC)
    away.drop()
    backend = RawClient(site.broker, "old-server", version, username="backend")
    body = update(site, "1.5.0")
    for qos, retain in ((1, True), (2, True), (0, True), (1, False)):  # the same again changes nothing
        assert backend.publish(TOPIC, json.dumps(body), qos=qos, retain=retain) in (0, NO_SUBSCRIBER)
    assert backend.ping() and backend.messages == []  # no answers either

    row = wait_for(lambda: rollouts(site) and rollouts(site)[0]["state"] == "running" and rollouts(site)[0], 15,
                   lambda: f"{rollouts(site)}\n{site.broker.log()[-3000:]}")
    assert (row["version"], row["plan"], row["created_by"], row["release_state"]) == ("1.5.0", "standard", "backend", "verified")
    told = wait_for(lambda: [device for device in devices if device.notices()], 15, lambda: site.describe(row["rollout_id"]))
    assert len(told) == 1  # 1 % of four is one
    assert told[0].notices()[0]["rollout"] == row["rollout_id"] and told[0].notices()[0]["stage"] == "canary"
    pushed = site.wait_event("pushed", rollout=row["rollout_id"])[0]["detail"]
    assert (pushed["by"], pushed["client"], pushed["topic"]) == ("backend", "old-server", TOPIC), pushed
    again = site.wait_event("pushed_again", rollout=row["rollout_id"])
    assert len(again) == 1 and len(rollouts(site)) == 1

    # The message itself reached nobody, and nobody who comes later.
    assert spy.ping() and not [topic for topic, payload in spy.messages if b"1.5.0" in payload and b"pump curve" in payload], spy.messages
    for device in devices:
        assert all("stage" in notice for notice in device.notices())
    late = RawClient(site.broker, "late", version)
    late.subscribe("#")
    late.subscribe("$" * len(TOPIC))
    back = RawClient(site.broker, "away", version, clean=False)
    for client in (late, back):
        assert client.ping() and not [one for one in client.messages if not one[0].startswith("$SYS")], client.messages
    assert site.db.rows("SELECT * FROM ota.denied WHERE client = 'old-server'") == []


@pytest.mark.brokers
def test_what_is_not_right_with_a_push_is_said(staged):
    site = staged
    site.devices(2, prefix="pump", fleet="pumps")
    backend = RawClient(site.broker, "old-server", 5, username="backend")
    good = update(site, "1.5.0")
    unsigned = {name: value for name, value in good.items() if name != "manifest"}
    # What cannot be read is refused at once, and the back end sees it if it speaks MQTT 5.
    for payload, words in (("{", "cannot be read"), ("", "cannot be read"), (json.dumps(unsigned), "not signed"),
                           (json.dumps({**good, "size": "big"}), '"size"'),
                           ('{"version":"1.5.0","version":"6.6.6"}', "version"),
                           (json.dumps({"action": "cancel", "rollout": 1, "version": "1.5.0"}), "not signed")):
        assert backend.publish(TOPIC, payload) == NOT_AUTHORISED
        assert denied(site, words)[0]["client"] == "old-server"
    # What the database or the keys refuse is found in the record.
    for topic, body, words in (
            ("fleet/nowhere/ota/available", good, 'there is no fleet "nowhere"'),
            (TOPIC, {**good, "url": "http://evil.example.com/f"}, 'member "url" is "http://evil.example.com/f"'),
            (TOPIC, update(site, "2.0.0", [Signer("p256")]), "2.0.0 was published and is not released"),
            (TOPIC, {**update(site, "3.0.0"), "manifest": None, "signature": "AAAA"}, "3.0.0 was published and is not released")):
        assert backend.publish(topic, json.dumps(body)) in (0, NO_SUBSCRIBER)
        row = denied(site, words)[0]
        assert (row["client"], row["topic"], row["broker"]) == ("old-server", topic, "broker-1"), row
    assert [(row["version"], row["state"]) for row in rollouts(site)] == [("2.0.0", "halted"), ("3.0.0", "halted")]
    assert 'is refused: there is no fleet "nowhere"' in site.broker.log()


@pytest.mark.brokers
def test_who_else_pushes_is_refused(staged):
    site = staged
    device = site.device("pump-1", fleet="pumps")
    body = json.dumps(update(site, "1.5.0"))
    for client, username, topic in (("mallory", None, TOPIC), ("old-server", "mallory", TOPIC), ("pump-9", "Backend", TOPIC),
                                    ("boss", "backend", "devices/pump-1/ota/available"), ("boss", "backend", "fleet/a+b/ota/available")):
        attacker = RawClient(site.broker, client, 5, username=username)
        if "+" not in topic:
            assert attacker.publish(topic, body) == NOT_AUTHORISED
            denied(site, "only the broker itself publishes on notify topics")
        attacker.close()
    will = RawClient(site.broker, "dying", 4, username="backend", will=(TOPIC, body, 1, True))
    if will.result == 0:
        will.drop()
    stays(lambda: not rollouts(site) and not device.messages, 2, lambda: (rollouts(site), device.messages))
    late = RawClient(site.broker, "late", 4)
    late.subscribe(TOPIC)
    assert late.ping() and not late.messages


def test_a_push_outlives_a_kill(staged):
    """The broker dies as soon as the row is there, before or after it has verified it; the next one starts the rollout."""
    site = staged
    site.device("pump-1", fleet="pumps")
    site.wait_device("pump-1", fleet="pumps")
    backend = RawClient(site.broker, "old-server", 4, username="backend")
    assert backend.publish(TOPIC, json.dumps(update(site, "1.5.0"))) == 0
    row = wait_for(lambda: rollouts(site), 15, site.broker.log, every=0.001)[0]
    site.broker.kill()
    assert row["state"] in ("scheduled", "running")
    site.broker.start()
    site.wait_rollout(row["rollout_id"], "running")


def test_a_push_without_the_database_is_not_taken(own_site):
    site = own_site
    broker = site.add_broker(intercept_push="stage", control_users="backend")
    site.device("pump-1", fleet="pumps")
    site.wait_device("pump-1", fleet="pumps")
    body = json.dumps(update(site, "1.5.0"))
    site.cluster.stop()
    site.db.close()

    def refused():
        new = RawClient(broker, "new-server", 5, username="backend")
        return new.publish(TOPIC, body) == NOT_AUTHORISED

    wait_for(refused, 15, broker.log)
    old = RawClient(broker, "old-server", 4, username="backend")
    assert old.publish(TOPIC, body) is None  # no PUBACK, so that it is published again
    site.cluster.start()
    wait_for(lambda: RawClient(broker, "old-server", 4, username="backend").publish(TOPIC, body) == 0, 15, broker.log)
    wait_for(lambda: rollouts(site), 15, broker.log)
    denied(site, "PostgreSQL is away")


def test_pushes_are_denied_by_default(bare_site, broker_version):
    bare_site.add_broker(version=broker_version, control_users="backend")
    backend = RawClient(bare_site.broker, "old-server", 5, username="backend")
    assert backend.publish(TOPIC, json.dumps(update(bare_site, "1.5.0"))) == NOT_AUTHORISED
    denied(bare_site, "only the broker itself publishes on notify topics")
    assert rollouts(bare_site) == []
