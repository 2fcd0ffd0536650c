"""A broker that starts while PostgreSQL is away: what it keeps in its state directory, and what it does with that."""

import pathlib
import re
import shutil
import time

import pytest

from harness import Signer, stays, wait_for
from harness.durability import all_listening, AWAY, BACK, backends, freeze, serves, stored, thaw, told

pytestmark = pytest.mark.usefixtures("plugin")

WARM = "started without the database"
# A device that came back gets 15 s to show that it has started.
AGAIN = 15


def back(device, status="IDLE", **members):
    """As after a loss of power of its own: connect, report, listen."""
    device.connect()
    device.report(status, **members)
    device.subscribe(device.topic)


def stop_postgres(site):
    site.cluster.stop()
    site.db.close()


def state_file(site, name="broker-1"):
    return pathlib.Path(site.folder) / f"state-{name}" / "warm.state"


def keeps(site, device, name="broker-1"):
    """The claim is in the file: it is written before the device is told, but the devices' own reports come and go."""
    return device.client_id.encode() in state_file(site, name).read_bytes()


def test_restart_without_the_database(own_site):
    """kill -9 in the middle of a stage: its devices are answered, nobody else; all rules hold, nothing is lost or doubled."""
    site = own_site
    broker = site.add_broker()
    site.db.execute("SELECT ota.assign_gateway('beacon-1', 'hub-1')")
    site.quick_plan(wait="1 second")
    site.release("1.5.0")
    devices = site.devices(6)
    all_listening(site, 6)
    hub = site.client("hub-1")
    thief = site.client("hub-2")
    wait_for(lambda: hub.publish("devices/beacon-1/ota/status", {"version": "1.0.0", "n": 0}) and site.device_row("beacon-1")
             and site.device_row("beacon-1")["version"] == "1.0.0", 10, every=0.3)
    rollout = site.start_rollout("default", "1.5.0", "quick")
    wait_for(lambda: len(told(devices)) == 3, 10, lambda: site.describe(rollout))
    first = told(devices)
    silent, busy, done = first
    others = [device for device in devices if device not in first]
    time.sleep(0.5)  # the pass that has told them is over
    for device in devices:
        device.vanish()
    stop_postgres(site)
    # Both say so while the database is away already, and before the broker is killed.
    done.connect()
    done.report("DOWNLOADING", n=1)
    done.vanish()
    broker.kill()
    broker.start()
    broker.wait_log(WARM)
    serves(broker)
    begin = time.monotonic()
    back(silent, n=2)
    back(busy, "DOWNLOADING", n=3)
    back(done, n=4)
    for number, device in enumerate(others):
        back(device, n=10 + number)
    notice = silent.wait_notice(2, AGAIN + 10)
    assert time.monotonic() - begin > AGAIN - 1, "a device gets time to show that it has started"
    assert {one["attempt"] for one in silent.notices()} == {1} and notice["rollout"] == rollout
    # The rules hold as ever.
    hub.reconnect()
    hub.publish("devices/beacon-1/ota/status", {"version": "1.0.0", "n": 20})
    thief.reconnect()
    thief.publish("devices/beacon-1/ota/status", {"version": "6.6.6", "n": 21}, wait=False)
    forged = site.client("forger")
    forged.publish(silent.topic, {"schema": 1, "rollout": rollout, "version": "6.6.6"}, wait=False)
    silent.report("DOWNLOADING", n=5)
    stays(lambda: len(silent.notices()) == 2 and [len(one.notices()) for one in (busy, done)] == [1, 1]
          and not told(others), 2, "nobody else is told, nothing advances")
    assert "6.6.6" not in str([one.messages for one in devices])
    assert site.cluster.process is None or site.cluster.process.poll() is not None

    site.cluster.start()
    broker.wait_log("PostgreSQL is back", 20)
    wait_for(lambda: site.update_row(rollout, silent.client_id)["state"] == "downloading", 15, lambda: site.describe(rollout))
    wait_for(lambda: 20 in stored(site), 10)
    assert {n: times for n, times in stored(site).items() if n > 0} == dict.fromkeys([1, 2, 3, 4, 5, 20, 10, 11, 12], 1)
    again = [event for event in site.events("notified", silent.client_id) if event["detail"].get("database") == "away"]
    assert len(again) == 1 and again[0]["detail"]["attempt"] == 1 and again[0]["rollout_id"] == rollout
    assert site.device_row("beacon-1")["version"] == "1.0.0"
    for device in first:
        device.install(device.notices()[0])
        device.report("SUCCESS")
    wait_for(lambda: len(told(others)) == 3, 15, lambda: site.describe(rollout))
    for device in others:
        device.update(device.notices()[0])
    site.wait_rollout(rollout, "completed")
    assert [len(device.notices()) for device in [*others, busy, done, silent]] == [1, 1, 1, 1, 1, 2]


def test_what_is_kept_is_not_trusted(own_site):
    """Each broker has told one device and ends in an orderly way; then something is wrong with what all but one of them kept."""
    site = own_site
    removed = site.folder / "removed-keys.d"
    shutil.copytree(site.keys.folder, removed)
    cases = {"good": {}, "expired": {"offline_serve_seconds": 5}, "never": {"offline_serve_seconds": 0},
             "damaged": {}, "foreign": {}, "garbage": {}, "other": {}, "revoked": {"trusted_keys": removed}}
    brokers = {name: site.add_broker(name, **options) for name, options in cases.items()}
    site.quick_plan()
    site.release("1.5.0")
    devices = {name: site.device(f"dev-{name}", broker) for name, broker in brokers.items()}
    all_listening(site, len(devices))
    rollout = site.start_rollout("default", "1.5.0", "quick", "emergency: all at once")
    wait_for(lambda: all(device.notices() for device in devices.values()), 15, lambda: site.describe(rollout))
    for name, device in devices.items():
        wait_for(lambda one=device, of=name: keeps(site, one, of), 5, f"{name} keeps what it has told")
        device.vanish()
    for broker in brokers.values():
        broker.stop()
    stop_postgres(site)
    damage(site, brokers, removed)
    for broker in brokers.values():
        broker.start()
    for name, pattern in (("good", WARM), ("damaged", "set aside as 'warm.state.damaged-.*: it is damaged at byte"),
                          ("garbage", "set aside as .*: it is not a file of the warm start"),
                          ("foreign", "set aside as .*: it is another broker's"),
                          ("other", "set aside as .*: it is of another database"),
                          ("revoked", "release 1.5.0 is refused: ")):
        brokers[name].wait_log(pattern, 15)
        serves(brokers[name])
    for device in devices.values():
        back(device)
    devices["good"].wait_notice(2, AGAIN + 10)
    stays(lambda: all(len(device.notices()) == 1 for name, device in devices.items() if name != "good"), 2)
    for name in ("damaged", "garbage", "foreign", "other"):
        assert not re.search(WARM, brokers[name].log()), name
    site.cluster.start()
    # What is back in order is told now, once more; the removed key has revoked the release for everybody meanwhile.
    brokers["good"].wait_log("PostgreSQL is back", 20)
    wait_for(lambda: site.db.value("SELECT state FROM ota.release WHERE version = '1.5.0'") == "revoked", 20)
    assert site.rollout(rollout)["state"] == "halted"


def damage(site, brokers, removed):
    path = state_file(site, "damaged")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    state_file(site, "garbage").write_bytes(b"\x00" * 5000)
    shutil.copy(state_file(site, "good"), state_file(site, "foreign"))
    brokers["other"].options["database"] = site.db.conninfo.replace(f"dbname={site.db.name}", "dbname=another")
    for key in removed.iterdir():
        key.unlink()
    other = type(site.signer)("ed25519")
    type(site.keys)(removed).trust(other)


def test_key_removed_during_an_outage(own_site):
    """SIGHUP: what only that key has signed is not told again, and revoked and recalled when the database is back; the rest goes on."""
    site = own_site
    stolen = Signer("ed25519")
    key = site.keys.trust(stolen)
    broker = site.add_broker()
    site.quick_plan(wait="1 hour")
    site.release("1.5.0", signers=[stolen])
    site.release("1.6.0", signers=[site.signer, stolen])
    lost = site.device("dev-lost")
    kept = site.device("dev-kept", fleet="kept")
    all_listening(site, 2)
    rollouts = {device: site.start_rollout(fleet, version, "quick")
                for device, fleet, version in ((lost, "default", "1.5.0"), (kept, "kept", "1.6.0"))}
    for device, rollout in rollouts.items():
        wait_for(device.notices, 10, lambda of=rollout: site.describe(of))
        wait_for(lambda one=device: keeps(site, one), 5, "the claim is kept")
        device.vanish()
    stop_postgres(site)
    broker.wait_log(AWAY)
    key.unlink()
    broker.reload()
    broker.wait_log("release 1.5.0 is refused")
    assert not broker.log_lines("release 1.6.0 is refused"), "another key has signed it too"
    for device in rollouts:
        back(device)
    kept.wait_notice(2, AGAIN + 10)  # it came back after the other one
    stays(lambda: len(lost.notices()) == 1, 2, "firmware of a removed key was told again")
    site.cluster.start()
    broker.wait_log(BACK, 20)
    reason = site.wait_rollout(rollouts[lost], "halted")["reason"]
    assert reason.startswith("release 1.5.0 no longer verifies: "), reason
    assert site.db.value("SELECT state FROM ota.release WHERE version = '1.5.0'") == "revoked"
    assert lost.wait_recall()["rollout"] == rollouts[lost]
    assert site.update_row(rollouts[lost], "dev-lost")["error"] == "RECALLED"
    assert not kept.recalls() and site.rollout(rollouts[kept])["state"] == "running"


@pytest.mark.parametrize("when", ["away", "a moment before"])
def test_key_removed_while_postgresql_stands_still(own_site, when):
    """SIGHUP while a statement gets no answer, which may last for minutes, or between two of them: nothing waits for that."""
    site = own_site
    stolen = Signer("ed25519")
    key = site.keys.trust(stolen)
    broker = site.add_broker()
    site.quick_plan(wait="1 hour")
    site.release("1.5.0", signers=[stolen])
    lost = site.device("dev-lost")
    all_listening(site, 1)
    rollout = site.start_rollout("default", "1.5.0", "quick")
    wait_for(lost.notices, 10, lambda: site.describe(rollout))
    wait_for(lambda: keeps(site, lost), 5, "the claim is kept")
    lost.vanish()
    wait_for(lambda: not site.device_row("dev-lost")["connected"], 10)
    standing = backends(site)
    freeze(site, standing)
    try:
        if when == "away":
            broker.wait_log(AWAY, 15)
        key.unlink()
        broker.reload()
        broker.wait_log("trusted keys were read", 15)
        broker.wait_log("release 1.5.0 is refused", 15)
        back(lost)
        stays(lambda: len(lost.notices()) == 1, AGAIN + 5, "firmware of a removed key was told again")
    finally:
        thaw(standing)
    assert site.wait_rollout(rollout, "halted")["reason"].startswith("release 1.5.0 no longer verifies: ")
    assert site.db.value("SELECT state FROM ota.release WHERE version = '1.5.0'") == "revoked"
