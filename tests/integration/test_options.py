"""mosquitto.conf: what is refused at start, and with which words."""

import pytest

from harness import Signer, wait_for

# What is changed in good options (None: left out), and the words that the one line must hold.
REFUSED = {
    "unknown option": ({"colour": "blue"}, ["colour"]),
    "unknown signature policy": ({"signature_policy": "none"}, ["signature_policy", "none", "manifest", "artifact", "both"]),
    "threshold is no number": ({"signature_threshold": "two"}, ["signature_threshold", "two"]),
    "threshold zero": ({"signature_threshold": "0"}, ["signature_threshold", "0"]),
    "threshold with a tail": ({"signature_threshold": "1x"}, ["signature_threshold", "1x"]),
    "threshold beyond any integer": ({"signature_threshold": "99999999999999999999"}, ["signature_threshold"]),
    "unknown identity": ({"device_identity": "address"}, ["device_identity", "address", "clientid", "username"]),
    "unknown enrolment": ({"enroll": "yes"}, ["enroll", "yes", "auto", "known"]),
    "status topic without device": ({"status_topic": "devices/ota/status"}, ["status_topic", "devices/ota/status", "{device}"]),
    "status topic with wildcard": ({"status_topic": "devices/+/{device}"}, ["status_topic"]),
    "notify topic with unknown field": ({"notify_topics": "fleet/{group}/ota"}, ["notify_topics", "{group}"]),
    "unknown answer for other topics": ({"acl_other_topics": "deny"}, ["acl_other_topics", "deny", "defer", "allow"]),
    "no answer for other topics": ({"acl_other_topics": None}, ["acl_other_topics", "defer", "allow"]),
    "staged pushes of nobody": ({"intercept_push": "stage"}, ["intercept_push", "control_users", "deny"]),
    "no database": ({"database": None}, ["database"]),
    "no keys option": ({"trusted_keys": None}, ["trusted_keys"]),
    "missing key directory": ({"trusted_keys": "/nonexistent/keys.d"}, ["trusted_keys", "/nonexistent/keys.d"]),
}


@pytest.mark.memory
@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.replace(" ", "-"))
def test_bad_option_is_one_clear_line(bare_site, case):
    changed, words = REFUSED[case]
    broker = bare_site.add_broker(start=False, **changed)
    line = broker.refuses(*words)
    assert not line.rstrip().endswith(".")
    about = [one for one in broker.log().splitlines() if words[0] in one]
    assert len(about) == 1, about


@pytest.mark.parametrize("value", ("host=h password=first 53cr3t", "postgresql://ota:53cr3t@[h/ota"), ids=("words", "uri"))
def test_a_database_that_cannot_be_read_shows_no_password(bare_site, value):
    broker = bare_site.add_broker(start=False, database=value)
    broker.refuses("plugin_opt_database", "libpq")
    assert "53cr3t" not in broker.log()


def test_a_threshold_above_the_number_of_keys_is_told(bare_site):
    broker = bare_site.add_broker(signature_threshold="2")
    broker.wait_log("signature_threshold is 2, usable keys in .*: 1; no release")


def test_directory_without_a_usable_key(bare_site):
    for path in bare_site.keys.folder.iterdir():
        path.unlink()
    broker = bare_site.add_broker(start=False)
    broker.refuses("trusted_keys", str(bare_site.keys.folder))


def test_directory_with_only_broken_and_short_keys(bare_site):
    for path in bare_site.keys.folder.iterdir():
        path.unlink()
    (bare_site.keys.folder / "broken.pem").write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    (bare_site.keys.folder / "notes.txt").write_bytes(Signer("p256").public_pem())
    broker = bare_site.add_broker(start=False)
    broker.refuses("trusted_keys", str(bare_site.keys.folder))


def test_a_broken_key_beside_a_good_one_is_only_reported(bare_site):
    (bare_site.keys.folder / "broken.pem").write_text("no key at all\n")
    broker = bare_site.add_broker()
    broker.wait_log("broken.pem")


def test_a_private_key_in_the_directory_is_no_trusted_key(bare_site):
    for path in bare_site.keys.folder.iterdir():
        path.unlink()
    (bare_site.keys.folder / "private.pem").write_bytes(Signer("p256").private_pem())
    broker = bare_site.add_broker(start=False)
    broker.refuses("trusted_keys")


def test_pub_files_are_read_too(bare_site):
    for path in bare_site.keys.folder.iterdir():
        path.unlink()
    bare_site.keys.trust(bare_site.signer, "release.pub")
    bare_site.add_broker()
    bare_site.release("1.1.0")


@pytest.mark.brokers
def test_the_answer_for_other_topics_is_needed_on_2_0_only(bare_site, broker_version):
    broker = bare_site.add_broker(start=False, version=broker_version, acl_other_topics=None)
    if broker_version.startswith("2.0"):
        broker.refuses("acl_other_topics", "defer", "allow")
    else:
        broker.start()
        bare_site.wait_ready()


def test_defer_leaves_other_topics_to_the_acl_file(bare_site, tmp_path):
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite open/#\n")
    acl.chmod(0o600)
    broker = bare_site.add_broker(acl_other_topics="defer", extra=[f"acl_file {acl}"])
    client = bare_site.client("watcher", broker)
    client.subscribe("open/#")
    client.subscribe("closed/#")
    client.publish("closed/x", b"no")
    client.publish("open/x", b"yes")
    wait_for(lambda: client.topics() == ["open/x"], 5, lambda: client.messages)


def test_defer_still_lets_devices_report(bare_site, tmp_path):
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite open/#\n")
    acl.chmod(0o600)
    broker = bare_site.add_broker(acl_other_topics="defer", extra=[f"acl_file {acl}"])
    bare_site.device("dev-1", broker)
    bare_site.wait_device("dev-1", version="1.0.0", listening=True)
