"""Attacks by what brokers keep and pass on: retained and queued messages, kept sessions, bridges, stolen names."""

import json
import subprocess

import pytest

from harness import Signer, stays, wait_for
from harness.arena import EVIL
from harness.raw import RawClient

pytestmark = pytest.mark.usefixtures("plugin")

OWN = "devices/dev-1/ota/available"
FLEET = "fleet/pumps/ota/available"


def evil(rollout=1, attempt=1):
    """Numbers as the first rollout of a fresh database will have them, other firmware."""
    return json.dumps({"version": "1.5.0", "url": EVIL, "sha256": "00" * 32, "size": 1, "rollout": rollout, "attempt": attempt,
                       "stage": "some", "deadline": "2099-01-01T00:00:00Z"})


def notices(client):
    return [json.loads(message[1]) for message in client.messages if message[0].endswith("/ota/available")]


def offered(client):
    """Of those, the ones that offer firmware: no recalls."""
    return [notice for notice in notices(client) if "action" not in notice]


def tell(site, count=2, fleet="pumps", **settings):
    """Starts the first rollout of this database; returns its number and the told devices' names."""
    site.plan("attack", ("some", 50, "1 hour"), ("full", 100, "1 hour"),
              options={"pacing": "none", **settings.pop("options", {})}, **settings)
    site.release("1.5.0")
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening AND version = '1.0.0' AND fleet = %s",
                                   fleet) == count, 10, lambda: site.db.rows("SELECT * FROM ota.device"))
    rollout = site.start_rollout(fleet, "1.5.0", "attack")
    told = wait_for(lambda: site.db.column("SELECT device_id FROM ota.device_update WHERE rollout_id = %s AND state = 'notified'",
                                           rollout), 10, lambda: site.describe(rollout))
    return rollout, told


@pytest.fixture
def persistent(bare_site, broker_version):
    """A broker that runs without the plugin first and keeps what it was given."""
    (bare_site.folder / "store").mkdir()
    extra = ["persistence true", f"persistence_location {bare_site.folder}/store/"]
    bare_site.add_broker(with_plugin=False, ready=False, extra=extra, version=broker_version)

    def switch():
        bare_site.broker.stop()
        bare_site.broker.with_plugin = True
        bare_site.broker.start()
        bare_site.wait_ready()

    bare_site.switch = switch
    return bare_site


@pytest.mark.brokers
@pytest.mark.parametrize("topic", [OWN, FLEET])
def test_retained_forgery_with_the_numbers_of_the_outstanding_notice(persistent, topic):
    """It waits on the broker from before the plugin, until its numbers are those of a genuine notice."""
    site = persistent
    assert RawClient(site.broker, "forger").publish(topic, evil(), retain=True) == 0
    site.switch()
    devices = [site.device(name, fleet="pumps") for name in ("dev-1", "dev-2")]
    rollout, told = tell(site)
    assert rollout == 1
    for device in devices:
        device.subscribe(topic)  # retained messages are sent again with every subscription
        device.reboot()
        device.subscribe(topic)
    device = next(one for one in devices if one.client_id in told)
    device.wait_notice()
    stays(lambda: not [one for one in devices if EVIL in str(one.messages)], 1, lambda: devices[0].messages)
    assert site.db.rows("SELECT * FROM ota.denied WHERE client IN ('dev-1', 'dev-2') AND topic = %s", topic)


@pytest.mark.brokers
def test_queued_forgery_with_the_numbers_of_the_outstanding_notice(persistent):
    site = persistent
    sleeper = RawClient(site.broker, "dev-1", clean=False)
    sleeper.subscribe(OWN)
    sleeper.drop()
    assert RawClient(site.broker, "forger").publish(OWN, evil()) == 0
    site.switch()
    woken = RawClient(site.broker, "dev-1", clean=False)
    assert woken.ping()
    assert notices(woken) == []
    woken.publish("devices/dev-1/ota/status", json.dumps({"version": "1.0.0"}))
    site.wait_device("dev-1", version="1.0.0", listening=True)


def tell_one(site, fleet):
    """A rollout to a fleet of one device; returns its number when the notice has left."""
    site.release("1.5.0")
    rollout = site.start_rollout(fleet, "1.5.0", "standard", reason="emergency: a fleet of one device")
    site.wait_update(rollout, "dev-1", "notified")
    site.broker.wait_log("Sending PUBLISH to .*ota/available")
    return rollout


STOPS = {
    "nothing": None,
    "halt": lambda site, rollout: site.order("halt", rollout),
    "cancel": lambda site, rollout: site.order("cancel", rollout),
    "pause": lambda site, rollout: site.order("pause", rollout),
    "revoke": lambda site, rollout: site.db.execute("SELECT ota.revoke_release('1.5.0', 'attack')"),
    "key removed": lambda site, rollout: remove_key(site),
    "only key removed": lambda site, rollout: remove_key(site, other=False),
    "tampered": lambda site, rollout: site.db.execute("UPDATE ota.release SET url = %s", EVIL),
}


def remove_key(site, other=True):
    if other:
        site.keys.trust(Signer("p256"))
    next(path for path in site.keys.folder.iterdir() if site.signer.keyid()[:16] in path.name).unlink()
    site.broker.reload()


@pytest.mark.brokers
@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.replace(" ", "-"))
def test_stale_copy_in_a_kept_session(site, stop):
    """The copy is in the session, un-acknowledged; whether it still may be read is asked when the device returns."""
    sleeper = RawClient(site.broker, "dev-1", clean=False)  # reads no message until it waits for something
    sleeper.publish("devices/dev-1/ota/status", json.dumps({"version": "1.0.0"}))
    sleeper.subscribe(FLEET)
    site.wait_device("dev-1", listening=True, fleet="pumps", version="1.0.0")
    rollout = tell_one(site, "pumps")
    sleeper.drop()
    site.wait_device("dev-1", connected=False)
    if STOPS[stop]:
        STOPS[stop](site, rollout)
        wait_for(lambda: site.rollout(rollout)["state"] != "running", 10, lambda: site.describe(rollout))
        # The gate follows the record: the figures under $SYS come the same way.
        site.broker.ping_seconds()
        watcher = site.client("watcher")
        watcher.subscribe(f"$SYS/broker/ota/rollout/{rollout}")
        wait_for(lambda: any(b'"running"' not in payload for _, payload, _ in watcher.messages), 10, lambda: watcher.messages)
    woken = RawClient(site.broker, "dev-1", clean=False)
    assert woken.ping() and woken.ping()
    if stop == "nothing":  # the copy is what comes first, else this test says nothing
        assert offered(woken) and offered(woken)[0]["rollout"] == rollout
    else:
        assert offered(woken) == []
        wait_for(lambda: site.db.rows("SELECT * FROM ota.denied WHERE client = 'dev-1' AND topic = %s", FLEET), 10,
                 "the copy's end is in ota.denied")
    woken.close()


@pytest.mark.brokers
def test_name_of_a_kept_session_without_its_credentials(bare_site, broker_version):
    """With device_identity username a stranger may choose the client id; the session it takes over tells it nothing."""
    site = bare_site
    site.add_broker(version=broker_version, device_identity="username")
    owner = RawClient(site.broker, "c1", clean=False, username="dev-1", password="x")
    owner.publish("devices/dev-1/ota/status", json.dumps({"version": "1.0.0"}))
    owner.subscribe(OWN)
    site.wait_device("dev-1", listening=True, version="1.0.0")
    tell_one(site, "default")
    owner.drop()
    thief = RawClient(site.broker, "c1", clean=False, username="thief", password="x")
    assert thief.ping() and thief.ping()
    assert notices(thief) == []
    thief.publish("devices/dev-1/ota/status", json.dumps({"version": "1.5.0", "status": "SUCCESS"}))
    stays(lambda: site.device_row("dev-1")["version"] == "1.0.0", 0.5)


@pytest.mark.brokers
@pytest.mark.parametrize("version", [4, 5])
def test_wrong_password_changes_no_presence(bare_site, broker_version, version):
    passwords = bare_site.folder / "passwords"
    subprocess.run(["mosquitto_passwd", "-c", "-b", str(passwords), "dev-1", "unused"], check=True)
    passwords.chmod(0o600)
    site = bare_site
    site.add_broker(version=broker_version, extra=["allow_anonymous false", f"password_file {passwords}"])
    device = site.device("dev-1", username="dev-1")
    before = site.wait_device("dev-1", listening=True, version="1.0.0")
    for password in ("wrong", "", None):
        thief = RawClient(site.broker, "dev-1", version=version, username="dev-1", password=password)
        assert thief.result != 0
        thief.publish(device.status_topic, json.dumps({"version": "6.6.6"}))
        thief.drop()
    stays(lambda: site.device_row("dev-1") == {**before, "last_seen": site.device_row("dev-1")["last_seen"]}, 1)
    device.report("IDLE", version="1.0.1")
    site.wait_device("dev-1", version="1.0.1", connected=True, session=before["session"])


@pytest.fixture
def bridged(bare_site, broker_version, tmp_path, make_broker):
    """Our broker, and a foreign one without the plugin that bridges everything in and out."""
    site = bare_site
    site.add_broker(version=broker_version)
    foreign = make_broker(tmp_path / "foreign", {}, broker_version, with_plugin=False, extra=[
        "connection bridge", f"address 127.0.0.1:{site.broker.port}", "remote_clientid the-bridge", "try_private true",
        "notifications false", "topic fleet/# both 1", "topic devices/# both 1", "topic mark/# both 1", "restart_timeout 1"])
    site.brokers.append(foreign)
    foreign.start()
    yield site, foreign


@pytest.mark.brokers
def test_bridge_that_pushes_and_listens(bridged):
    site, foreign = bridged
    devices = [site.device(name, fleet="pumps") for name in ("dev-1", "dev-2")]
    for device in devices:
        device.subscribe("mark/#")
        device.subscribe(device.own_topic)
    listener = RawClient(foreign, "listener")
    listener.subscribe("#")
    rollout, told = tell(site)
    forger = RawClient(foreign, "forger")
    numbers = iter(range(100))

    def passes():
        forger.publish(f"mark/{next(numbers)}", "x")
        return any(topic.startswith("mark/") for topic in devices[0].topics())

    wait_for(passes, 10, lambda: f"the bridge passes messages; {foreign.log()[-2000:]}", every=0.3)
    for topic in (FLEET, OWN):
        for retain in (False, True):
            forger.publish(topic, evil(rollout), retain=retain)
    forger.publish("devices/dev-1/ota/status", json.dumps({"version": "6.6.6"}))
    wait_for(lambda: site.db.rows("SELECT * FROM ota.denied WHERE client = 'the-bridge' AND topic = %s", OWN), 10,
             lambda: site.db.rows("SELECT * FROM ota.denied"))
    stays(lambda: EVIL not in str([device.messages for device in devices]), 0.7)
    assert site.device_row("dev-1")["version"] == "1.0.0"
    listener.ping()
    heard = [message for message in listener.messages if message[0].endswith("/ota/available") and EVIL.encode() not in message[1]]
    assert heard == [], "a notice left by the bridge"
    assert sum(len(device.notices()) for device in devices) == len(told)


@pytest.mark.brokers
def test_own_bridge_that_fetches_forgeries(bare_site, broker_version, tmp_path, make_broker):
    """The broker itself fetches everything from elsewhere; its own bridges are not asked by the ACL check."""
    site = bare_site
    foreign = make_broker(tmp_path / "foreign", {}, broker_version, with_plugin=False)
    site.brokers.append(foreign)
    foreign.start()
    forger = RawClient(foreign, "forger")
    forger.publish(FLEET, evil(), retain=True)
    site.brokers.remove(foreign)
    broker = site.add_broker(version=broker_version, extra=[
        "connection own", f"address 127.0.0.1:{foreign.port}", "local_clientid own-bridge", "notifications false",
        "topic # in 1", "restart_timeout 1"])
    site.brokers.append(foreign)
    devices = [site.device(name, fleet="pumps") for name in ("dev-1", "dev-2")]
    for device in devices:
        device.subscribe(device.own_topic)
    rollout, told = tell(site)
    for topic in (FLEET, OWN):
        forger.publish(topic, evil(rollout), qos=0)
        forger.publish(topic, evil(rollout), qos=1)
        forger.publish(topic, evil(rollout), qos=2)
    forger.publish("devices/dev-1/ota/status", json.dumps({"version": "6.6.6"}))
    wait_for(lambda: site.db.rows("SELECT * FROM ota.denied WHERE client = 'own-bridge'"), 10,
             lambda: f"{site.db.rows('SELECT * FROM ota.denied')}\n{broker.log()[-2000:]}")
    stays(lambda: EVIL not in str([device.messages for device in devices]), 0.7)
    assert site.device_row("dev-1")["version"] == "1.0.0"
    late = site.device("dev-3", fleet="pumps")
    stays(lambda: late.messages == [], 0.5, lambda: late.messages)


@pytest.mark.brokers
@pytest.mark.parametrize("identity", ["clientid", "username"])
def test_what_binds_names_to_credentials_is_said_once_at_start(bare_site, broker_version, identity):
    broker = bare_site.add_broker(version=broker_version, device_identity=identity)
    said = broker.log_lines("Warning: ota: |ota: device ids are client ids")
    assert len(broker.log_lines("use_username_as_clientid")) == (identity == "clientid"), said


@pytest.mark.brokers
def test_client_ids_bound_to_user_names(bare_site, broker_version):
    """use_username_as_clientid: whatever id a client asks for, it is the device of its credentials."""
    site = bare_site
    site.add_broker(version=broker_version, extra=["use_username_as_clientid true"])
    thief = RawClient(site.broker, "dev-1", username="thief", password="x")
    thief.publish("devices/dev-1/ota/status", json.dumps({"version": "6.6.6"}))
    thief.publish("devices/thief/ota/status", json.dumps({"version": "1.0.0"}))
    site.wait_device("thief", version="1.0.0")
    assert site.device_row("dev-1") is None
    wait_for(lambda: site.db.rows("SELECT * FROM ota.denied WHERE client = 'thief' AND topic = 'devices/dev-1/ota/status'"), 5,
             "the refusal")
