"""Attacks on what is signed, on the keys and on the database: whoever writes rows cannot make firmware move that the keys on
the broker's disk did not sign, nor to a device that no open stage asks for."""

import base64
import datetime
import hashlib
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from harness import Signer, envelope, pae, stays, wait_for
from harness.arena import EVIL

pytestmark = pytest.mark.usefixtures("plugin")

STRANGER = Signer("p256")


@pytest.fixture(scope="module")
def bench(arena):
    """The shared rollout; every envelope gets a version and a sequence of its own."""
    return arena


def encoded(data):
    return base64.b64encode(data).decode()


def with_payload(document, manifest):
    return {**document, "payload": encoded(json.dumps(manifest).encode())}


def resigned(document, message, signer):
    return {**document, "signatures": [{"keyid": signer.keyid(), "sig": encoded(signer.sign(message))}]}


def payload_of(document):
    return base64.b64decode(document["payload"])


# Each makes of a good envelope (and its manifest) a bad one.
ENVELOPES = {
    "unknown key": lambda site, good, manifest: envelope(manifest, STRANGER),
    "unknown key with a known keyid": lambda site, good, manifest:
        {**envelope(manifest, STRANGER), "signatures": [{**envelope(manifest, STRANGER)["signatures"][0],
                                                         "keyid": site.signer.keyid()}]},
    "payload of another envelope": lambda site, good, manifest: with_payload(good, {**manifest, "url": EVIL}),
    "payload type changed": lambda site, good, manifest: {**good, "payloadType": "application/vnd.in-toto+json"},
    "signed as another payload type": lambda site, good, manifest:
        {**envelope(manifest, site.signer, payload_type="application/x"), "payloadType": good["payloadType"]},
    "signature over the bare payload": lambda site, good, manifest: resigned(good, payload_of(good), site.signer),
    "signature over the base64": lambda site, good, manifest: resigned(good, good["payload"].encode(), site.signer),
    "signature over other lengths": lambda site, good, manifest:
        resigned(good, pae(good["payloadType"], payload_of(good)).replace(b"DSSEv1 ", b"DSSEv1 0"), site.signer),
    "signature of another release": lambda site, good, manifest:
        {**good, "signatures": envelope({**manifest, "version": "0.0.1"}, site.signer)["signatures"]},
    "signature cut": lambda site, good, manifest:
        {**good, "signatures": [{"sig": encoded(base64.b64decode(good["signatures"][0]["sig"])[:-1])}]},
    "signature with a tail": lambda site, good, manifest:
        {**good, "signatures": [{"sig": encoded(base64.b64decode(good["signatures"][0]["sig"]) + b"\x00")}]},
    "signature of zeros": lambda site, good, manifest: {**good, "signatures": [{"sig": encoded(bytes(64))}]},
    "signature r and s zero": lambda site, good, manifest:
        {**good, "signatures": [{"sig": encoded(bytes.fromhex("3006020100020100"))}]},
    "empty signature": lambda site, good, manifest: {**good, "signatures": [{"sig": ""}]},
    "manifest with a member twice": lambda site, good, manifest:
        envelope(json.dumps(manifest).replace('"url"', f'"url": "{EVIL}", "url"').encode(), site.signer),
    "manifest with a zero byte": lambda site, good, manifest:
        envelope(json.dumps(manifest).encode() + b"\x00", site.signer),
    "manifest that is no object": lambda site, good, manifest: envelope(b"[]", site.signer),
}


@pytest.mark.parametrize("case", ENVELOPES, ids=lambda case: case.replace(" ", "-"))
def test_bad_envelope(bench, case):
    number = bench.sequence() + 100
    manifest = bench.manifest(f"3.0.{number}", sequence=number)
    document = ENVELOPES[case](bench, envelope(manifest, bench.signer), manifest)
    try:
        release = bench.submit(document)
    except Exception as error:  # the database itself may see it
        assert getattr(error, "pgcode", None) == "22023", error
    else:
        row = bench.wait_release(release, "rejected")
        assert row["reason"], row
    bench.db.refused("SELECT ota.start_rollout('pumps', %s, 'arena', reason => 'attack')", manifest["version"])
    bench.unharmed()


def test_one_key_counts_once(bare_site):
    """A threshold of two: the same key twice, in two encodings, with two keyids, in two files."""
    site = bare_site
    (site.keys.folder / "again.pem").write_bytes(site.signer.public_pem())
    (site.keys.folder / "other-name.pub").write_bytes(b"\n" + site.signer.public_pem())
    second = Signer("rsa2048")
    site.keys.trust(second)
    site.add_broker(signature_threshold=2)
    document = envelope(site.manifest("1.5.0"), site.signer, site.signer)
    document["signatures"][1]["keyid"] = second.keyid()
    document["signatures"].append({**document["signatures"][0], "keyid": ""})
    assert "1" in site.wait_release(site.submit(document), "rejected")["reason"]
    site.release("1.5.1", signers=[site.signer, second])


def devices_of(site, count=2, **options):
    devices = [site.device(f"dev-{number}", fleet="pumps", **options) for number in range(1, count + 1)]
    for device in devices:
        site.wait_device(device.client_id, listening=True, version=device.version, fleet="pumps")
    return devices


def quiet(devices, seconds=1.2):
    stays(lambda: not any(device.notices() for device in devices), seconds, lambda: [device.messages for device in devices])


COLUMNS = {
    "url": f"url = '{EVIL}'",
    "sha256": "sha256 = repeat('0', 64)",
    "size": "size = 1",
    "sequence": "sequence = sequence + 1",
    "version": "version = '1.5.1'",
    "envelope": None,  # that of another release, signed by the same key
}


@pytest.mark.parametrize("column", COLUMNS)
def test_tampered_release(site, column):
    """Changed after it was verified: it is looked at again, revoked, and the reason names the column."""
    release = site.release("1.5.0")
    other = envelope(site.manifest("1.4.0", url=EVIL), site.signer)
    site.quick_plan()
    devices = devices_of(site)
    version = "1.5.0"
    if column == "envelope":
        site.db.execute("UPDATE ota.release SET envelope = %s WHERE release_id = %s", json.dumps(other), release)
    else:
        site.db.execute(f"UPDATE ota.release SET {COLUMNS[column]} WHERE release_id = %s", release)
        version = "1.5.1" if column == "version" else version
    rollout = site.start_rollout("pumps", version, "quick")
    row = wait_for(lambda: [row for row in [site.release_row(release)] if row["state"] == "revoked"], 10,
                   lambda: site.release_row(release))[0]
    assert ("version" if column == "envelope" else column) in row["reason"], row["reason"]
    assert "no longer verifies" in site.wait_rollout(rollout, "halted")["reason"]
    site.broker.wait_log(f"release {version} is refused")
    quiet(devices)


def test_tampered_release_of_a_running_rollout(site):
    """Changed while its rollout runs: nobody else is told, and who was is recalled."""
    release = site.release("1.5.0")
    site.quick_plan(wait="1 hour", first=50)
    devices = devices_of(site)
    rollout = site.start_rollout("pumps", "1.5.0", "quick")
    told = wait_for(lambda: [device for device in devices if device.notices()], 10, lambda: site.describe(rollout))
    site.db.execute("UPDATE ota.release SET url = %s WHERE release_id = %s", EVIL, release)
    site.wait_rollout(rollout, "halted")
    assert "url" in site.release_row(release)["reason"]
    wait_for(lambda: told[0].recalls(), 10, lambda: told[0].messages)
    stays(lambda: EVIL not in str([device.messages for device in devices]) and len([1 for device in devices if device.notices()]) == 1, 1)


def test_tampered_terms(site):
    """The columns say any hardware and no expiry, the signed manifest does not: the broker asks the manifest."""
    site.release("1.5.0", hardware=["model-b"], expires="2999-01-01T00:00:00Z")
    site.quick_plan()
    devices = devices_of(site, hardware="model-a")
    site.db.execute("UPDATE ota.release SET hardware = NULL, fleets = NULL, expires = NULL, min_version = NULL")
    rollout = site.start_rollout("pumps", "1.5.0", "quick")
    wait_for(lambda: site.db.rows("SELECT * FROM ota.device_update WHERE rollout_id = %s AND error = 'wrong_hardware'",
                                  rollout), 10, lambda: site.describe(rollout))
    quiet(devices)


def past():
    return (datetime.datetime.utcnow() - datetime.timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


TERMS = {
    "expired": lambda: {"expires": past()},
    "not yet": lambda: {"notBefore": "2999-01-01T00:00:00Z"},
    "wrong hardware": lambda: {"hardware": ["model-b"]},
    "wrong fleet": lambda: {"fleets": ["valves"]},
    "below minVersion": lambda: {"minVersion": "1.0.1"},
    "above maxVersion": lambda: {"maxVersion": "0.9.0"},
}


@pytest.mark.parametrize("case", TERMS, ids=lambda case: case.replace(" ", "-"))
def test_terms_hold_though_the_columns_say_otherwise(site, case):
    """The same for every term: what SQL was made to believe, the gate does not."""
    site.release("1.5.0", **TERMS[case]())
    site.quick_plan()
    devices = devices_of(site, hardware="model-a")
    site.db.execute("UPDATE ota.release SET hardware = NULL, fleets = NULL, expires = NULL, not_before = NULL,"
                    " min_version = NULL, max_version = NULL")
    rollout = site.start_rollout("pumps", "1.5.0", "quick")
    events = wait_for(lambda: [event for event in site.events(rollout=rollout) if event["kind"] == "undelivered"], 10,
                      lambda: site.describe(rollout))
    assert events[0]["detail"], events[0]
    quiet(devices)


def test_rollback_by_sequence(site):
    """A device that runs sequence 20 is not given sequence 10, though both are signed and nobody remembers having told it."""
    site.release("1.9.0", sequence=10)
    site.release("2.0.0", sequence=20)
    site.quick_plan()
    devices = devices_of(site, version="2.0.0")
    assert site.wait_device("dev-1", sequence=20)
    try:
        site.start_rollout("pumps", "1.9.0", "quick")
    except Exception as error:
        assert getattr(error, "pgcode", "").startswith(("22", "55", "P0")), error
    quiet(devices)


def test_verified_by_hand(site):
    """An unsigned release whose row was made to say 'verified'."""
    site.quick_plan()
    devices = devices_of(site)
    manifest = site.manifest("1.5.0", url=EVIL, sequence=5)
    site.db.execute("INSERT INTO ota.release (version, sequence, url, sha256, size, envelope, state, verified_at, verified_by,"
                    " signed_by) VALUES ('1.5.0', 5, %s, %s, %s, %s, 'verified', now(), 'broker-1', 'release.pem')",
                    EVIL, manifest["sha256"], manifest["size"], json.dumps(envelope(manifest, STRANGER)))
    rollout = site.start_rollout("pumps", "1.5.0", "quick")
    site.wait_rollout(rollout, "halted")
    assert site.db.value("SELECT state FROM ota.release WHERE version = '1.5.0'") == "revoked"
    quiet(devices)


def test_another_document_of_a_trusted_key(site):
    """A build system signs more than manifests: the same bytes, signed as something else, are none.  The row is put in by hand: SQL would
    not have taken it."""
    manifest = site.manifest("1.5.0")
    document = envelope(manifest, site.signer, payload_type="application/vnd.in-toto+json")
    release = site.db.value("INSERT INTO ota.release (version, sequence, url, sha256, size, envelope) VALUES (%s, %s, %s, %s, %s, %s)"
                            " RETURNING release_id", manifest["version"], manifest["sequence"], manifest["url"], manifest["sha256"],
                            manifest["size"], json.dumps(document))
    assert "payloadType" in site.wait_release(release, "rejected")["reason"]


def test_rejected_turned_verified(site):
    site.quick_plan()
    devices = devices_of(site)
    release = site.submit(envelope(site.manifest("1.5.0"), STRANGER))
    site.wait_release(release, "rejected")
    site.db.execute("UPDATE ota.release SET state = 'verified' WHERE release_id = %s", release)
    rollout = site.start_rollout("pumps", "1.5.0", "quick")
    site.wait_rollout(rollout, "halted")
    quiet(devices)


def test_release_of_a_running_rollout_exchanged(site):
    """The rollout's row is made to point to a release that nobody signed."""
    site.quick_plan(wait="1 hour")
    devices = devices_of(site)
    site.release("1.5.0")
    rollout = site.start_rollout("pumps", "1.5.0", "quick")
    wait_for(lambda: any(device.notices() for device in devices), 10)
    site.db.execute("INSERT INTO ota.release (version, sequence, url, sha256, size, envelope, state) VALUES"
                    " ('6.6.6', 66, %s, repeat('0', 64), 1, %s, 'verified')", EVIL, json.dumps(envelope({"x": 1}, STRANGER)))
    site.db.execute("UPDATE ota.rollout SET release_id = (SELECT release_id FROM ota.release WHERE version = '6.6.6')"
                    " WHERE rollout_id = %s", rollout)
    site.db.execute("SELECT ota.advance_rollout(%s, 'attack')", rollout)
    site.wait_rollout(rollout, "halted")
    stays(lambda: EVIL not in str([device.messages for device in devices]), 1)


def by_hand(site, rollout, device, **columns):
    """Inserts a row as nobody's function would, then changes its columns."""
    site.db.execute("INSERT INTO ota.device_update (rollout_id, device_id, stage, rank, ready) VALUES (%s, %s, 1, %s, true)",
                    rollout, device, columns.pop("rank", 0))
    if columns:
        site.db.execute("UPDATE ota.device_update SET served_stage = 1, " + ", ".join(f"{one} = %s" for one in columns) +
                        " WHERE rollout_id = %s AND device_id = %s", *columns.values(), rollout, device)
    site.db.execute("NOTIFY ota")


NOW = datetime.datetime.utcnow().replace(tzinfo=datetime.timezone.utc)
BY_HAND = {
    "pending": {},
    "granted": {"granted_at": NOW, "broker": "broker-1"},
    "granted first of all": {"granted_at": NOW, "broker": "broker-1", "rank": -2**63},
    "granted by its rank": {"granted_at": NOW, "broker": "broker-1", "rank": None},
    "to be told again": {"granted_at": NOW, "broker": "broker-1", "state": "notified", "notified_at": NOW, "retell_at": NOW},
}


@pytest.mark.parametrize("case", BY_HAND, ids=lambda case: case.replace(" ", "-"))
def test_device_update_by_hand(site, case):
    """A row for a device outside the open stage: the broker sees that the stage never asked for it, and says so."""
    site.quick_plan(wait="1 hour", first=25)
    devices = devices_of(site, 4)
    site.release("1.5.0")
    rollout = site.start_rollout("pumps", "1.5.0", "quick")
    told = wait_for(lambda: [device for device in devices if device.notices()], 10)
    outside = next(device for device in devices if device not in told)
    columns = dict(BY_HAND[case])
    if "rank" in columns and columns["rank"] is None:
        columns["rank"] = site.db.value("SELECT ota.cohort_rank(%s, %s)", rollout, outside.client_id)
    by_hand(site, rollout, outside.client_id, **columns)
    site.wait_update(rollout, outside.client_id, "cancelled", timeout=8)
    assert site.update_row(rollout, outside.client_id)["error"] == "NOT_IN_STAGE"
    denied = site.db.rows("SELECT * FROM ota.denied WHERE device_id = %s", outside.client_id)
    assert denied and "stage" in denied[0]["reason"] and denied[0]["client"] == outside.client_id, denied
    quiet([device for device in devices if device not in told], 0.7)


def test_device_update_that_begins_told(site):
    site.quick_plan(wait="1 hour")
    devices = devices_of(site)
    site.release("1.5.0")
    rollout = site.start_rollout("pumps", "1.5.0", "quick")
    told = wait_for(lambda: [device for device in devices if device.notices()], 10)
    outside = next(device for device in devices if device not in told)
    for columns in ("granted_at) VALUES (%s, %s, 1, 0, 'pending', now()", "retell_at) VALUES (%s, %s, 1, 0, 'notified', now()",
                    "error) VALUES (%s, %s, 1, 0, 'succeeded', NULL"):
        site.db.refused(f"INSERT INTO ota.device_update (rollout_id, device_id, stage, rank, state, {columns})",
                        rollout, outside.client_id)


def test_device_of_another_fleet_by_hand(site):
    site.quick_plan(wait="1 hour")
    devices_of(site)
    other = site.device("valve-1", fleet="valves")
    site.wait_device("valve-1", listening=True)
    site.release("1.5.0")
    rollout = site.start_rollout("pumps", "1.5.0", "quick")
    by_hand(site, rollout, "valve-1", granted_at=NOW, broker="broker-1")
    site.wait_update(rollout, "valve-1", "cancelled")
    quiet([other])


def test_state_of_a_rollout_by_hand(site):
    """Neither a rollout that begins running nor a cancelled one that runs again."""
    release = site.release("1.5.0")
    site.quick_plan()
    devices = devices_of(site)
    columns = "fleet, release_id, plan, success_threshold, health_timeout, download_timeout, retries, options"
    site.db.refused(f"INSERT INTO ota.rollout (state, {columns}) VALUES ('running', 'pumps', %s, 'quick', 0.9, '1 min', '1 min',"
                    " 0, '{}')", release)
    rollout = site.start_rollout("pumps", "1.5.0", "quick")
    site.order("cancel", rollout)
    before = [len(device.notices()) for device in devices]
    site.db.refused("UPDATE ota.rollout SET state = 'running' WHERE rollout_id = %s", rollout)
    stays(lambda: [len(device.notices()) for device in devices] == before, 0.5)


def test_weak_and_private_keys_are_named_in_the_log(bare_site):
    weak = Signer("rsa1024", key=rsa.generate_private_key(65537, 1024))
    low = Signer("rsa2048-3", key=rsa.generate_private_key(3, 2048))
    private = Signer("p256")
    for name, data in (("weak.pem", weak.public_pem()), ("private.pem", private.private_pem()), ("empty.pem", b""),
                       ("low.pem", low.public_pem())):
        (bare_site.keys.folder / name).write_bytes(data)
    broker = bare_site.add_broker()
    assert "2048" in broker.wait_log("key weak.pem is not used")[0]
    assert "private" in broker.wait_log("key private.pem is not used: .*private")[0]
    broker.wait_log("key empty.pem is not used")
    for signer in (weak, private):
        bare_site.release(f"1.5.{signer.kind[0] == 'r':d}", signers=[signer], wait="rejected")


def test_forged_pkcs1_padding_of_a_low_exponent(bare_site):
    """Bleichenbacher 2006: with exponent 3 a cube root passes for a signature where nobody looks behind the digest."""
    key = rsa.generate_private_key(3, 2048)
    site = bare_site
    site.keys.trust(Signer("rsa2048", key=key))
    site.add_broker()
    document = envelope(site.manifest("1.5.0"), STRANGER)
    digest = hashlib.sha256(pae(document["payloadType"], payload_of(document))).digest()
    head = b"\x00\x01" + b"\xff" * 8 + b"\x00" + bytes.fromhex("3031300d060960864801650304020105000420") + digest
    target = int.from_bytes(head + b"\xff" * (256 - len(head)), "big")
    low, high = 0, 1 << 1024
    while high - low > 1:  # the largest cube not above
        middle = (low + high) // 2
        low, high = (middle, high) if middle ** 3 <= target else (low, middle)
    assert (low ** 3).to_bytes(256, "big").startswith(head), "the forgery is a good one"
    document["signatures"] = [{"sig": encoded(low.to_bytes(256, "big"))}]
    site.wait_release(site.submit(document), "rejected")
    site.release("1.5.1", signers=[Signer("rsa2048", key=key)])  # the key itself is in use


def test_key_directory_that_others_may_write(bare_site):
    bare_site.keys.folder.chmod(0o777)
    bare_site.add_broker().wait_log("keys.d.*(writ|others)")


def test_the_only_key_removed_and_reload(bare_site):
    """The key that leaked was the only one: nothing is trusted, and what it signed is revoked."""
    site = bare_site
    site.add_broker()
    site.quick_plan(wait="1 hour")
    devices = devices_of(site)
    release = site.release("1.5.0")
    rollout = site.start_rollout("pumps", "1.5.0", "quick")
    told = wait_for(lambda: [device for device in devices if device.notices()], 10)
    for path in site.keys.folder.iterdir():
        path.unlink()
    site.broker.reload()
    site.wait_rollout(rollout, "halted")
    assert site.release_row(release)["state"] == "revoked"
    told[0].wait_recall()
    site.submit(envelope(site.manifest("1.6.0"), site.signer))
    site.wait_release(site.db.value("SELECT max(release_id) FROM ota.release"), "rejected")
