"""Releases: what the broker verifies, and what no rollout may use."""

import base64
import datetime
import hashlib
import json

import pytest

from harness import KINDS, Signer, envelope, stays, wait_for

pytestmark = pytest.mark.usefixtures("plugin")

ADD_BY_COLUMNS = "SELECT ota.add_release(%s, %s, %s, %s, %s::bytea)"


@pytest.mark.memory
@pytest.mark.parametrize("kind", [*KINDS, "rsa3072-pss"])
def test_manifest_signed_with_every_kind_of_key(bare_site, kind):
    signer = Signer(kind.removesuffix("-pss"), pss=kind.endswith("-pss"))
    bare_site.keys.trust(signer)
    bare_site.add_broker()
    release = bare_site.release("1.5.0", signers=[signer], releaseNotes="better")
    row = bare_site.release_row(release)
    assert row["version"] == "1.5.0" and row["size"] == 1048576 and row["url"].endswith("1.5.0.bin")
    assert row["sha256"] == hashlib.sha256(b"1.5.0").hexdigest()
    assert signer.keyid()[:8] in (row["signed_by"] or ""), row


def test_url_safe_base64_and_no_keyid(site):
    manifest = site.manifest("1.5.0", releaseNotes="ÿ?>>>~~~ÿþ")
    release = site.submit(envelope(manifest, site.signer, url_safe=True, keyids=False))
    site.wait_release(release)


def rejected(site, document, *words):
    release = site.submit(document)
    row = site.wait_release(release, "rejected")
    assert row["reason"] and all(word in row["reason"] for word in words), row["reason"]
    return row


def test_wrong_key_is_rejected(site):
    rejected(site, envelope(site.manifest("1.5.0"), Signer("p256")))


def test_keyid_is_only_a_hint(site):
    document = envelope(site.manifest("1.5.0"), Signer("p256"))
    document["signatures"][0]["keyid"] = site.signer.keyid()
    rejected(site, document)
    document = envelope(site.manifest("1.5.1"), site.signer)
    document["signatures"][0]["keyid"] = "somebody"
    site.wait_release(site.submit(document))


def test_tampered_payload_is_rejected(site):
    document = envelope(site.manifest("1.5.0"), site.signer)
    body = json.loads(base64.b64decode(document["payload"]))
    body["url"] = "https://evil.example.com/1.5.0.bin"
    document["payload"] = base64.b64encode(json.dumps(body).encode()).decode()
    rejected(site, document)


def test_wrong_payload_type_is_rejected(site):
    """The signature is good, but over something that is not a manifest."""
    document = envelope(site.manifest("1.5.0"), site.signer, payload_type="application/vnd.in-toto+json")
    try:
        release = site.submit(document)
    except Exception as error:  # the database may say so at once
        assert "payloadType" in str(error) or "payload type" in str(error)
        return
    site.wait_release(release, "rejected")


def test_columns_cannot_be_changed_behind_the_signature(site):
    """Whoever owns the database cannot make a device receive what the keys did not sign."""
    release = site.release("1.5.0")
    site.quick_plan()
    device = site.device("dev-1")
    site.device("dev-2")
    site.wait_device("dev-1", listening=True)
    site.wait_device("dev-2", listening=True)
    try:
        site.db.execute("UPDATE ota.release SET url = 'https://evil.example.com/x.bin', sha256 = repeat('0', 64)"
                        " WHERE release_id = %s", release)
    except Exception:
        return  # refused: just as good
    site.broker.restart()  # nothing may live in memory only
    site.device("dev-1", start=True)
    site.start_rollout("default", "1.5.0", "quick")
    stays(lambda: not any(b"evil.example.com" in payload for one in site._clients for _, payload, _ in one.messages), 2.5)
    assert device is not None


def test_threshold_counts_distinct_keys(bare_site):
    second = Signer("ed25519")
    bare_site.keys.trust(second)
    bare_site.add_broker(signature_threshold=2)
    once = envelope(bare_site.manifest("1.5.0"), bare_site.signer)
    rejected(bare_site, once)
    twice_the_same = envelope(bare_site.manifest("1.5.1"), bare_site.signer, bare_site.signer)
    rejected(bare_site, twice_the_same)
    bare_site.release("1.5.2", signers=[bare_site.signer, second])


# Ed25519 signs no digest: there is no `openssl dgst -sha256 -sign` with it.
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "ed25519"])
def test_artifact_signature_by_openssl(bare_site, kind, tmp_path):
    bare_site.keys.trust(signer := Signer(kind))
    bare_site.add_broker(signature_policy="artifact")
    firmware = tmp_path / "fw.bin"
    firmware.write_bytes(b"firmware " * 1000)
    signature = signer.sign_file_with_openssl(firmware)
    data = firmware.read_bytes()
    release = bare_site.db.value(ADD_BY_COLUMNS, "1.5.0", "https://cdn.example.com/1.5.0.bin",
                                 hashlib.sha256(data).hexdigest(), len(data), signature)
    assert bare_site.wait_release(release)["sequence"] >= 1
    other = bare_site.db.value(ADD_BY_COLUMNS, "1.5.1", "https://cdn.example.com/1.5.1.bin",
                               hashlib.sha256(data + b"x").hexdigest(), len(data) + 1, signature)
    assert bare_site.wait_release(other, "rejected")["reason"]


def test_policy_both(bare_site, tmp_path):
    """An envelope alone is not enough, nor is a signature over another file; both together are, and the notice carries both."""
    site = bare_site
    site.add_broker(signature_policy="both")
    firmware = tmp_path / "fw.bin"
    firmware.write_bytes(b"firmware " * 1000)
    signature = site.signer.sign_file_with_openssl(firmware)
    data = firmware.read_bytes()
    members = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}

    def add(document, *more):
        return site.db.value(f"SELECT ota.add_release(%s::jsonb{', %s::bytea' * len(more)})", json.dumps(document), *more)

    alone = add(envelope(site.manifest("1.4.0", **members), site.signer))
    assert "no artifact signature" in site.wait_release(alone, "rejected")["reason"]
    forged = add(envelope(site.manifest("1.4.1", sha256="ab" * 32, size=5), site.signer), signature)
    assert "arbitrary software" in site.wait_release(forged, "rejected")["reason"]
    document = envelope(site.manifest("1.5.0", **members), site.signer)
    release = add(document, signature)
    site.wait_release(release)
    assert add(document, signature) == release
    site.db.refused("SELECT ota.add_release(%s::jsonb, NULL::bytea)", json.dumps(document))
    site.db.refused("SELECT ota.add_release(%s::jsonb, %s::bytea)", json.dumps(document), b"")
    device = site.device("dev-1")
    site.wait_device("dev-1", listening=True, version="1.0.0")
    site.quick_plan()
    site.start_rollout("default", "1.5.0", "quick", "emergency: the test's")
    notice = device.wait_notice()
    assert base64.b64decode(notice["signature"]) == signature and notice["manifest"]["payload"] == document["payload"]


def test_policy_manifest_refuses_an_artifact_signature(site, tmp_path):
    firmware = tmp_path / "fw.bin"
    firmware.write_bytes(b"firmware")
    signature = site.signer.sign_file_with_openssl(firmware)
    release = site.db.value(ADD_BY_COLUMNS, "1.5.0", "https://cdn.example.com/1.5.0.bin",
                            hashlib.sha256(b"firmware").hexdigest(), 8, signature)
    assert site.wait_release(release, "rejected")["reason"]


BAD_ARGUMENTS = {
    "version": ("one.two", "https://x/y", "ab" * 32, 5, b"s"),
    "empty url": ("1.5.0", "", "ab" * 32, 5, b"s"),
    "sha256 too short": ("1.5.0", "https://x/y", "abcd", 5, b"s"),
    "sha256 no hex": ("1.5.0", "https://x/y", "zz" * 32, 5, b"s"),
    "size zero": ("1.5.0", "https://x/y", "ab" * 32, 0, b"s"),
    "size negative": ("1.5.0", "https://x/y", "ab" * 32, -1, b"s"),
    "no signature": ("1.5.0", "https://x/y", "ab" * 32, 5, None),
}


@pytest.mark.parametrize("case", BAD_ARGUMENTS, ids=lambda case: case.replace(" ", "-"))
def test_bad_arguments_are_refused_and_change_nothing(site, case):
    site.db.refused(ADD_BY_COLUMNS, *BAD_ARGUMENTS[case])
    assert site.db.value("SELECT count(*) FROM ota.release") == 0


BAD_ENVELOPES = {
    "a list": [],
    "empty": {},
    "no signatures": {"payloadType": "application/vnd.mosquitto-ota.manifest+json", "payload": "e30=", "signatures": []},
    "payload no base64": {"payloadType": "application/vnd.mosquitto-ota.manifest+json", "payload": "%%%",
                          "signatures": [{"sig": "AAAA"}]},
}


@pytest.mark.parametrize("case", BAD_ENVELOPES, ids=lambda case: case.replace(" ", "-"))
def test_bad_envelopes_never_become_a_release(site, case):
    try:
        release = site.submit(BAD_ENVELOPES[case])
    except Exception:
        assert site.db.value("SELECT count(*) FROM ota.release") == 0
        return
    site.wait_release(release, "rejected")


@pytest.mark.parametrize("change", [{"schema": 2}, {"version": "1.5"}, {"sha256": "beef"}, {"size": -1}, {"sequence": -3},
                                    {"url": None}], ids=lambda change: next(iter(change)))
def test_signed_but_senseless_manifest(site, change):
    """Signed by a trusted key, and yet no release."""
    manifest = {**site.manifest("1.5.0"), **change}
    manifest = {name: value for name, value in manifest.items() if value is not None}
    try:
        release = site.submit(envelope(manifest, site.signer))
    except Exception:
        assert site.db.value("SELECT count(*) FROM ota.release") == 0
        return
    site.wait_release(release, "rejected")


def test_rejected_release_cannot_be_started(site):
    rejected(site, envelope(site.manifest("1.5.0"), Signer("p256")))
    site.quick_plan()
    site.db.refused("SELECT ota.start_rollout('default', '1.5.0', 'quick', reason => 'test')")
    assert site.db.value("SELECT count(*) FROM ota.rollout") == 0


def test_unverified_release_cannot_be_started(site):
    """Nobody has looked at it yet: the broker is down."""
    site.broker.stop()
    site.quick_plan()
    release = site.submit(envelope(site.manifest("1.5.0"), site.signer))
    assert site.release_row(release)["state"] == "submitted"
    site.db.refused("SELECT ota.start_rollout('default', '1.5.0', 'quick', reason => 'test')")
    site.broker.start()
    site.wait_release(release)


def test_rejected_version_may_be_submitted_again(site):
    rejected(site, envelope(site.manifest("1.5.0"), Signer("p256")))
    site.release("1.5.0")


def test_same_version_twice_is_refused(site):
    site.release("1.5.0")
    site.db.refused("SELECT ota.add_release(%s::jsonb)", json.dumps(envelope(site.manifest("1.5.0"), site.signer)))


def test_sequence_only_grows(site):
    site.release("1.5.0", sequence=50)
    document = json.dumps(envelope(site.manifest("1.6.0", sequence=50), site.signer))
    site.db.refused("SELECT ota.add_release(%s::jsonb)", document)


def test_removed_key_revokes_its_releases(bare_site):
    """A key file that leaves the directory: nothing signed only by it is handed out any more."""
    other = Signer("p256")
    path = bare_site.keys.trust(other)
    bare_site.add_broker()
    bare_site.quick_plan(wait="3 seconds", first=50)
    bare_site.release("1.5.0", signers=[other])
    devices = bare_site.devices(2)
    for device in devices:
        bare_site.wait_device(device.client_id, listening=True)
    path.unlink()
    bare_site.broker.reload()
    bare_site.broker.wait_log("trusted keys were read")
    try:
        bare_site.start_rollout("default", "1.5.0", "quick")
    except Exception:
        pass  # refused is right too
    stays(lambda: not any(device.notices() for device in devices), 3, "firmware of a removed key was handed out")


@pytest.mark.parametrize("bounds", [
    {"expires": "2020-01-01T00:00:00Z"},
    {"notBefore": (datetime.datetime.utcnow() + datetime.timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%SZ")},
    {"hardware": ["other-model"]},
    {"fleets": ["other-fleet"]},
    {"minVersion": "1.0.1"},
    {"maxVersion": "0.9.9"},
], ids=lambda bounds: next(iter(bounds)))
def test_what_the_manifest_excludes_is_not_told(site, bounds):
    site.quick_plan()
    site.release("1.5.0", **bounds)
    devices = [site.device(f"dev-{number}", hardware="this-model") for number in (1, 2)]
    for device in devices:
        site.wait_device(device.client_id, listening=True, version="1.0.0")
    try:
        site.start_rollout("default", "1.5.0", "quick")
    except Exception as error:
        assert next(iter(bounds)).lower()[:5] in str(error).lower().replace("_", "").replace(" ", "") or str(error)
    stays(lambda: not any(device.notices() for device in devices), 2)


def test_what_the_manifest_includes_is_told(site):
    site.quick_plan()
    site.release("1.5.0", hardware=["this-model", "that-model"], fleets=["default"], minVersion="1.0.0", maxVersion="1.4.9",
                 notBefore="2020-01-01T00:00:00Z", expires="2999-01-01T00:00:00Z")
    devices = [site.device(f"dev-{number}", hardware="this-model") for number in (1, 2)]
    for device in devices:
        site.wait_device(device.client_id, listening=True, version="1.0.0", hardware="this-model")
    rollout = site.start_rollout("default", "1.5.0", "quick")
    wait_for(lambda: any(device.notices() for device in devices), 10, lambda: site.describe(rollout))
