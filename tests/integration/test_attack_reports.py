"""Attacks by what devices say: payloads made to break parsers or the database, and lies about updates."""

import json
import re

import pytest

from harness import stays, wait_for

pytestmark = pytest.mark.usefixtures("plugin")

# What is sent on the attacker's own status topic; every one either counts as malformed or is kept as an ordinary report.
PAYLOADS = {
    "zero byte": b'{"version":"1.0.0\x00"}',
    "zero escaped": b'{"version":"1.0.0","x":"\\u0000"}',
    "zero escaped in a name": b'{"version":"1.0.0","a\\u0000b":1}',
    "lone surrogate": b'{"version":"1.0.0","x":"\\ud800"}',
    "surrogates swapped": b'{"version":"1.0.0","x":"\\udc00\\ud800"}',
    "overlong utf-8": b'{"version":"1.0.0","x":"\xc0\x80"}',
    "surrogate in utf-8": b'{"version":"1.0.0","x":"\xed\xa0\x80"}',
    "beyond unicode": b'{"version":"1.0.0","x":"\xf4\x90\x80\x80"}',
    "not utf-8": b'{"version":"1.0.0","x":"\xff\xfe"}',
    "byte order mark": b'\xef\xbb\xbf{"version":"1.0.0"}',
    "1e999": b'{"version":"1.0.0","x":1e999}',
    "1e400000": b'{"version":"1.0.0","x":1e400000}',
    "1e-400000": b'{"version":"1.0.0","x":1e-400000}',
    "minus zero": b'{"version":"1.0.0","x":-0}',
    "a long number": b'{"version":"1.0.0","x":' + b"9" * 5000 + b"}",
    "nan": b'{"version":"1.0.0","x":NaN}',
    "deep list": b'{"version":"1.0.0","x":' + b"[" * 50000 + b"]" * 50000 + b"}",
    "deep object": b'{"version":"1.0.0","x":' + b'{"a":' * 20000 + b"1" + b"}" * 20000 + b"}",
    "open list": b"[" * 60000,
    "twice the version": b'{"version":"1.0.0","version":"6.6.6"}',
    "twice the version, the other way round": b'{"version":"6.6.6","version":"1.0.0"}',
    "twice, one escaped": b'{"version":"1.0.0","\\u0076ersion":"6.6.6"}',
    "many members": b'{"version":"1.0.0"' + b"".join(b',"m%d":1' % n for n in range(20000)) + b"}",
    "large": b'{"version":"1.0.0","x":"' + b"a" * 1000000 + b'"}',
    "negative attempt": b'{"version":"1.0.0","attempt":-1}',
    "attempt beyond": b'{"version":"1.0.0","attempt":99999999999999999999}',
    "retryAfter beyond": b'{"version":"1.0.0","status":"DEFERRED","retryAfter":1e18}',
    "version as sql": b'{"version":"1\'; DROP TABLE ota.event; --"}',
    "error as sql": b'{"version":"1.0.0","status":"FAILED","error":"\'; DROP TABLE ota.event; --"}',
    "array literal": b'{"version":"1.0.0","hardware":"{\\"a\\",NULL,\\\\}"}',
    "format directives": b'{"version":"1.0.0","hardware":"%n%s%s%s","error":"%1$*1$x"}',
    "line ends": b'{"version":"1.0.0","hardware":"a\\nota: all is well\\r\\u001b[2J"}',
    "long hardware": b'{"version":"1.0.0","hardware":"' + b"h" * 4000 + b'"}',
    "long version": b'{"version":"1.0.0-' + b"a" * 4000 + b'"}',
    "another device": b'{"version":"1.0.0","device":"dev-1","device_id":"dev-1","client":"dev-1","rollout":1,"status":"FAILED"}',
    "columns of the table": b'{"version":"1.0.0","fleet":"pumps","gateway":"evil","sequence":9,"pinned_version":"6.6.6"}',
}


@pytest.mark.parametrize("case", PAYLOADS, ids=lambda case: re.sub("[^a-z0-9-]+", "-", case))
def test_payload_made_to_break(arena, case):
    """It harms nobody else, and the attacker's next, honest report is stored: nothing got stuck on the way."""
    attacker = arena.attacker()
    topic = f"devices/{attacker.client_id}/ota/status"
    attacker.publish(topic, PAYLOADS[case])
    if not attacker.ping():
        attacker = arena.attacker(attacker.client_id)
    marker = f"0.0.{int(attacker.client_id[5:])}"
    attacker.publish(topic, json.dumps({"version": marker, "status": "IDLE"}))
    arena.wait_device(attacker.client_id, version=marker)
    if "twice" in case:
        assert arena.events("malformed", attacker.client_id), "one of the two was believed"
    row = arena.device_row(attacker.client_id)
    assert row["fleet"] == "default" and row["gateway"] is None and row["sequence"] == 0 and row["pinned_version"] is None
    assert arena.db.value("SELECT count(*) FROM ota.device WHERE version = '6.6.6'") == 0
    arena.unharmed()


def test_log_lines_cannot_be_forged(arena):
    """Line ends and escapes of a payload or a name reach no terminal by way of the broker's log."""
    assert "\x1b" not in arena.broker.log()
    assert not [line for line in arena.broker.log().splitlines() if line.strip().startswith("ota: all is well")]


@pytest.fixture
def told(site):
    """One told device, one that was not; the rollout."""
    site.plan("lies", ("some", 50, "1 hour"), ("full", 100, "1 hour"), options={"pacing": "none"})
    site.release("1.5.0")
    both = [site.device(name, fleet="pumps") for name in ("dev-1", "dev-2")]
    for device in both:
        site.wait_device(device.client_id, listening=True, version="1.0.0", fleet="pumps")
    rollout = site.start_rollout("pumps", "1.5.0", "lies")
    wait_for(lambda: any(device.notices() for device in both), 10, lambda: site.describe(rollout))
    both.sort(key=lambda device: not device.notices())
    site.wait_update(rollout, both[0].client_id, "notified")
    return site, rollout, *both


def succeeded(site, rollout):
    return sum(stage["succeeded"] for stage in site.stages(rollout))


def test_success_without_a_reboot(told):
    site, rollout, device, _ = told
    for status in ("DOWNLOADING", "VERIFYING", "APPLYING", "REBOOTING", "SUCCESS"):
        device.report(status, version="1.5.0" if status == "SUCCESS" else "1.0.0", attempt=1)
    site.wait_event("status", device.client_id)
    stays(lambda: succeeded(site, rollout) == 0 and site.update_row(rollout, device.client_id)["state"] != "succeeded", 1)


def test_success_of_a_device_that_was_never_told(told):
    """It may say of itself what it likes; the stage's count is of those that were told."""
    site, rollout, _, outsider = told
    outsider.reboot("1.5.0")
    outsider.report("SUCCESS", attempt=1)
    site.wait_device(outsider.client_id, version="1.5.0")
    stays(lambda: succeeded(site, rollout) == 0, 0.7)
    assert site.update_row(rollout, outsider.client_id) is None


def test_success_with_a_version_nobody_ever_signed(told):
    site, rollout, device, _ = told
    device.reboot("9.9.9")
    device.report("SUCCESS", attempt=1)
    site.wait_device(device.client_id, version="9.9.9")
    stays(lambda: succeeded(site, rollout) == 0, 0.7)
    assert site.device_row(device.client_id)["sequence"] == 0
    assert site.db.value("SELECT count(*) FROM ota.release WHERE version = '9.9.9'") == 0


@pytest.mark.parametrize("order", ["halt", "cancel"])
def test_failures_after_the_end_change_nothing(told, order):
    site, rollout, device, _ = told
    site.order(order, rollout)
    state = site.rollout(rollout)["state"]
    device.wait_recall()
    before = site.update_row(rollout, device.client_id)
    for status in ("DOWNLOADING", "SUCCESS", "FAILED", "ROLLED_BACK", "DEFERRED"):
        device.report(status, attempt=1)
    device.report("IDLE", version="1.0.1")
    site.wait_device(device.client_id, version="1.0.1")
    assert site.rollout(rollout)["state"] == state and site.update_row(rollout, device.client_id) == before
    assert len(device.notices()) == 1


def test_replayed_reports_of_an_earlier_attempt(told):
    """Recorded reports of a first attempt, played again while the second one runs."""
    site, rollout, device, _ = told
    device.report("DEFERRED", attempt=1, retryAfter=1)
    device.wait_notice(2, timeout=15)
    attempt = site.wait_update(rollout, device.client_id, "notified")["attempt"]
    if attempt == 1:
        pytest.skip("a deferred device keeps its attempt")
    for status in ("FAILED", "ROLLED_BACK", "REJECTED", "SUCCESS", "DEFERRED"):
        device.report(status, attempt=1)
    device.report("IDLE", note="last")
    wait_for(lambda: [event for event in site.events("status", device.client_id) if "last" in str(event["detail"])], 10)
    assert site.update_row(rollout, device.client_id)["state"] == "notified"


def test_attempts_of_the_future(told):
    site, rollout, device, _ = told
    for attempt in (2, 99, 2147483647):
        device.report("SUCCESS", attempt=attempt, version="1.5.0")
        device.report("FAILED", attempt=attempt)
    site.wait_device(device.client_id, connected=True)
    stays(lambda: succeeded(site, rollout) == 0, 0.7)


def test_reports_of_one_device_do_not_move_another(told):
    """In the middle of the other's update, with its numbers."""
    site, rollout, device, other = told
    before = site.update_row(rollout, device.client_id), site.device_row(device.client_id)
    for status in ("SUCCESS", "FAILED", "REJECTED", "ROLLED_BACK"):
        other.publish(device.status_topic, {"version": "1.5.0", "status": status, "attempt": 1, "rollout": rollout})
        other.publish(other.status_topic, {"version": "1.0.0", "status": status, "attempt": 1, "rollout": rollout,
                                           "device": device.client_id})
    other.report("IDLE", version="1.0.2")
    site.wait_device(other.client_id, version="1.0.2")
    assert (site.update_row(rollout, device.client_id), site.device_row(device.client_id)) == before
    assert len(site.db.rows("SELECT * FROM ota.denied WHERE client = %s", other.client_id)) == 4


def test_flood_of_malformed_reports_is_bounded(told):
    site, rollout, device, _ = told
    for _ in range(500):
        device.publish(device.status_topic, b"{", qos=0)
    device.report("IDLE", version="1.0.1")
    site.wait_device(device.client_id, version="1.0.1")
    assert len(site.events("malformed")) < 60
