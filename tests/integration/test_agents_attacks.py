"""Agents of examples/: whatever a broken-into broker or file server sends, only signed firmware is ever marked bootable.

One device for the whole table: it has to stay alive and unharmed from one attack to the next.
"""

import base64
import datetime
import json

import pytest

from harness import Signer, envelope, wait_for
from harness.agent_fixtures import BUILD, name_of, never_bootable
from harness import agents

pytestmark = pytest.mark.usefixtures("plugin")
STRANGER = Signer("p256")
SEQUENCE = 10  # of what runs on the device


@pytest.fixture(scope="module")
def victim(agent_kind, liar, signer, tmp_path_factory):
    device = agents.AgentDevice(agents.commands(agent_kind, BUILD), tmp_path_factory.mktemp("victim"), liar.broker,
                                f"victim-{agent_kind}", [signer], hardware="p-100", slot_size=1_000_000)
    device.provision("1.0.0", SEQUENCE).power_on()
    liar.wait_report(device, "IDLE", version="1.0.0")
    yield device
    device.power_cut()
    device.sound()


def flipped(data):
    return data[:-1] + bytes([data[-1] ^ 1])


def in_a_day(days):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


def payload_exchanged(notice):
    """The signature of one manifest under another."""
    manifest = json.loads(base64.b64decode(notice["manifest"]["payload"]))
    manifest["sequence"] += 1
    document = {**notice["manifest"], "payload": base64.b64encode(json.dumps(manifest).encode()).decode()}
    return {**notice, "manifest": document}


def type_exchanged(liar, notice):
    payload = base64.b64decode(notice["manifest"]["payload"])
    return {**notice, "manifest": envelope(payload, liar.signer, payload_type="application/vnd.in-toto+json")}


# Name: (code, how the file is served, arguments of the notice, what happens to the notice)
ATTACKS = {
    "corrupted": ("HASH_MISMATCH", {"served": flipped}, {}, None),
    "swapped": ("HASH_MISMATCH", {"served": lambda data: agents.make_image("1.9.9", size=len(data))}, {}, None),
    "truncated": ("SIZE_MISMATCH", {"served": lambda data: data[:-1000]}, {}, None),
    "truncated, length unsaid": ("SIZE_MISMATCH", {"served": lambda data: data[:-1000], "length": False}, {}, None),
    "oversized": ("SIZE_MISMATCH", {"served": lambda data: data + b"x"}, {}, None),
    "oversized, length unsaid": ("SIZE_MISMATCH", {"served": lambda data: data * 3, "length": False}, {}, None),
    "larger than a slot": ("NO_SPACE", {"size": 1_000_001}, {}, None),
    "unsigned": ("BAD_SIGNATURE", {}, {"unsigned": True}, None),
    "signed by a stranger": ("BAD_SIGNATURE", {}, {"signers": [STRANGER]}, None),
    "payload exchanged": ("BAD_SIGNATURE", {}, {}, lambda liar, notice: payload_exchanged(notice)),
    "payload type exchanged": ("BAD_SIGNATURE", {}, {}, type_exchanged),
    "an envelope that is none": ("BAD_SIGNATURE", {}, {}, lambda liar, notice: {**notice, "manifest": [1, {"payload": 2}]}),
    "signatures of a wrong type": ("BAD_SIGNATURE", {}, {}, lambda liar, notice: {
        **notice, "manifest": {**notice["manifest"], "signatures": [{"sig": 7}, "x", None, {"sig": "!!"}]}}),
    "manifest of another file": ("MANIFEST_MISMATCH", {}, {"manifest": {"sha256": "00" * 32}}, None),
    "manifest of another version": ("MANIFEST_MISMATCH", {}, {"manifest": {"version": "2.0.1"}}, None),
    "manifest of another place": ("MANIFEST_MISMATCH", {}, {"manifest": {"url": "http://127.0.0.1:1/x"}}, None),
    "a path that only looks like the signed one": ("MANIFEST_MISMATCH", {}, {}, lambda liar, notice: {
        **notice, "url": "http://127.0.0.1:1/x?" + notice["url"]}),
    "a path that ends before the signed one": ("MANIFEST_MISMATCH", {}, {}, lambda liar, notice: {
        **notice, "url": notice["url"].replace(".bin", "")}),
    "a name that ends like the signed one": ("MANIFEST_MISMATCH", {}, {}, lambda liar, notice: {
        **notice, "url": "http://127.0.0.1:1/a" + notice["url"].rsplit("/", 1)[1]}),
    "a manifest without a place": ("MANIFEST_MISMATCH", {}, {"manifest": {"url": "http://127.0.0.1"}}, None),
    "manifest of another size": ("MANIFEST_MISMATCH", {}, {"manifest": {"size": 1}}, None),
    "manifest without a sequence": ("MANIFEST_MISMATCH", {}, {"manifest": {"sequence": None}}, None),
    "manifest of a later schema": ("MANIFEST_MISMATCH", {}, {"manifest": {"schema": 2}}, None),
    "replayed": ("SEQUENCE_ROLLBACK", {}, {"sequence": SEQUENCE - 1}, None),
    "other hardware": ("WRONG_HARDWARE", {}, {"manifest": {"hardware": ["p-200", "p-10"]}}, None),
    "hardware as a text": ("MANIFEST_MISMATCH", {}, {"manifest": {"hardware": "p-100"}}, None),
    "expired": ("EXPIRED", {}, {"manifest": {"expires": in_a_day(-1)}}, None),
    "not yet": ("NOT_YET_VALID", {}, {"manifest": {"notBefore": in_a_day(1)}}, None),
    "not an http address": ("BAD_NOTICE", {}, {}, lambda liar, notice: {**notice, "url": "file:///etc/passwd"}),
    "no hash": ("BAD_NOTICE", {}, {}, lambda liar, notice: {**notice, "sha256": "00"}),
    "a negative size": ("BAD_NOTICE", {}, {}, lambda liar, notice: {**notice, "size": -1}),
    "a huge size": ("BAD_NOTICE", {}, {}, lambda liar, notice: {**notice, "size": 1e300}),
    "a path as version": ("BAD_NOTICE", {}, {}, lambda liar, notice: {**notice, "version": "../../etc"}),
    "a number as version": ("BAD_NOTICE", {}, {}, lambda liar, notice: {**notice, "version": 2}),
}


@pytest.mark.memory
@pytest.mark.parametrize("attack", ATTACKS)
def test_never_bootable(victim, liar, image, web, attack):
    code, served, arguments, change = ATTACKS[attack]
    data, url = image("2.0.0", **{"size": 50_000, **served})
    arguments = {"sequence": SEQUENCE + 1, **arguments}
    if arguments.pop("unsigned", False):
        arguments["manifest"] = {}
        change = lambda liar, notice: {name: value for name, value in notice.items() if name != "manifest"}  # noqa: E731
    notice = liar.notice("2.0.0", data, url, **arguments)
    said = len(liar.reports(victim))
    before = victim.boot()["active"], victim.boot()["sequence"]
    liar.tell(victim, change(liar, notice) if change else notice)
    report = liar.wait_report(victim, "FAILED", after=said, version="1.0.0", attempt=1)
    assert report["error"] == code, (report, victim.log()[-500:])
    never_bootable(victim, data, web.paths["/" + name_of(url)].data)
    assert victim.boot()["trial"] == "" and before == (victim.boot()["active"], victim.boot()["sequence"])
    assert not (victim.state / "download.part").exists()


# JSON of another encoding, which Python's json would recognize: told and written down as text it is none.
UTF_16 = json.dumps({"version": "2.0.0", "url": "http://127.0.0.1:1/x", "sha256": "00" * 32, "size": 1}).encode("utf-16")
SENSELESS = {"empty": b"", "not UTF-8": b"\xff\xfe", "UTF-16": UTF_16, "a list": b"[]", "null": b"null", "cut": b"{", "deep": b"[" * 5000,
             "long": b'{"version":"1.0.1"' + b" " * 70000 + b"}"}


@pytest.mark.parametrize("payload", SENSELESS.values(), ids=SENSELESS)
def test_what_is_not_a_notice_does_no_harm(victim, liar, payload):
    said = len(liar.reports(victim))
    liar.client.publish(f"devices/{victim.device_id}/ota/available", payload)
    if payload:  # an empty message is not even worth an answer, but it may get one
        liar.wait_report(victim, "FAILED", after=said, error="BAD_NOTICE")
    assert victim.boot()["trial"] == "" and victim.version() == "1.0.0"


def test_a_kept_notice_is_not_taken_up(boards, liar, signer, image, web):
    data, url = image("2.0.0")
    device = boards(liar.broker, [signer], start=False)
    topic = f"devices/{device.device_id}/ota/available"
    liar.client.publish(topic, liar.notice("2.0.0", data, url), retain=True)
    device.power_on()
    liar.wait_report(device, "IDLE")
    never_bootable(device, data, seconds=0.5)
    assert not web.asked(name_of(url))
    liar.client.publish(topic, b"", retain=True)


@pytest.mark.parametrize("kind, policy", [("rsa2048", "artifact"), ("p256", "both")])
def test_the_files_own_signature(boards, liar, image, tmp_path, kind, policy):
    signer = Signer(kind)
    device = boards(liar.broker, [signer], signature=policy)
    liar.wait_report(device, "IDLE")
    data, url = image("2.0.0")
    path = tmp_path / "fw.bin"
    path.write_bytes(data)
    signature = base64.b64encode(signer.sign_file_with_openssl(path)).decode()
    path.write_bytes(flipped(data))
    wrong = base64.b64encode(signer.sign_file_with_openssl(path)).decode()
    for bad in (None, wrong):
        said = len(liar.reports(device))
        liar.tell(device, liar.notice("2.0.0", data, url, signers=[signer], signature=bad))
        liar.wait_report(device, "FAILED", after=said, error="BAD_SIGNATURE")
        never_bootable(device, data)
    good = liar.notice("2.0.0", data, url, signers=[signer], signature=signature)
    if policy == "artifact":
        del good["manifest"]
    liar.tell(device, good)
    liar.wait_report(device, "SUCCESS", version="2.0.0")
    assert device.version() == "2.0.0"


@pytest.mark.parametrize("kind", ["rsa3072", "p384", "ed25519", "pss"])
def test_manifests_of_every_kind_of_key(boards, liar, image, kind):
    signer = Signer("rsa2048", pss=True) if kind == "pss" else Signer(kind)
    device = boards(liar.broker, [STRANGER, signer])
    liar.wait_report(device, "IDLE")
    data, url = image("2.0.0")
    liar.tell(device, liar.notice("2.0.0", data, url, signers=[signer]))
    liar.wait_report(device, "SUCCESS", version="2.0.0")


@pytest.mark.parametrize("told", [True, False])
def test_an_image_that_rots_in_its_slot_is_not_booted(boards, liar, signer, image, told):
    """`told`: did the broker acknowledge SUCCESS before the power failed?"""
    device = boards(liar.broker, [signer], sequence=3)
    liar.wait_report(device, "IDLE")
    data, url = image("2.0.0")
    liar.tell(device, liar.notice("2.0.0", data, url, sequence=4))
    liar.wait_report(device, "SUCCESS", version="2.0.0")
    assert device.boot()["sequence"] == 4
    journal = device.state / "update.json"
    wait_for(lambda: json.loads(journal.read_text())["acknowledged"], 10, device.log)
    device.power_cut()
    (device.state / "slot-b.img").write_bytes(flipped(data))
    journal.write_text(json.dumps({**json.loads(journal.read_text()), "acknowledged": told}))
    said = len(liar.reports(device))
    device.power_on()
    liar.wait_report(device, "IDLE" if told else "ROLLED_BACK", after=said, version="1.0.0")
    # What ran here once still counts: the older manifest stays refused.
    liar.tell(device, liar.notice("2.0.0", data, url, sequence=3))
    liar.wait_report(device, "FAILED", after=said, error="SEQUENCE_ROLLBACK")
    wait_for(lambda: device.version() == "1.0.0", 5)
