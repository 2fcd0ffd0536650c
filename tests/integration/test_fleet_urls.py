"""Where a fleet downloads: templates, pre-signed URLs, and what happens when none can be made."""

import datetime
import hashlib
import json
import urllib.error
import urllib.parse
import urllib.request

import pytest

from harness import s3, wait_for
from harness.agent_fixtures import BUILD
from harness.agents import make_image

KEYS = """# test
[fw]
aws_access_key_id = {id}
aws_secret_access_key = {secret}
region = {region}
"""


def write_keys(path, text=KEYS, mode=0o600, **values):
    path.write_text(text.format(**{"id": s3.KEY_ID, "secret": s3.SECRET, "region": s3.REGION, **values}))
    path.chmod(mode)
    return path


@pytest.fixture
def keys(tmp_path):
    return write_keys(tmp_path / "credentials")


def set_url(site, template, credential=None, fleet="default"):
    site.db.execute("SELECT ota.set_fleet_url(%s, %s, %s, 'test')", fleet, template, credential)


def one_stage(site):
    return site.quick_plan(wait="1 second", first=99, options={"reboot": False})


def has_credentials(site, *names):
    wait_for(lambda: site.db.value("SELECT url_credentials FROM ota.broker") == list(names), 10,
             lambda: f"{names}: {site.broker.log()[-2000:]}")


@pytest.mark.brokers
def test_notices_have_the_fleets_url_signed_when_they_are_told(bare_site, broker_version, keys):
    site = bare_site
    site.add_broker(version=broker_version, url_credentials=keys)
    has_credentials(site, "fw")
    one_stage(site)
    site.release("1.5.0", url="https://cdn.example.com/firmware/a%20b+1.5.0.bin")
    device = site.device("dev-1")
    site.wait_device("dev-1", listening=True)
    set_url(site, "https://bucket.example.com:8443/x{path}", "fw")
    rollout = site.start_rollout("default", "1.5.0", "quick")
    notice = device.wait_notice()
    at, seconds = s3.signed_at(notice["url"])
    deadline = datetime.datetime.fromisoformat(notice["deadline"].replace("Z", "+00:00"))
    assert notice["url"] == s3.presign("https://bucket.example.com:8443/x/firmware/a%20b+1.5.0.bin", s3.KEY_ID, s3.SECRET, s3.REGION, seconds, at=at)
    assert abs((at + datetime.timedelta(seconds=seconds) - deadline).total_seconds()) <= 2
    # The secret is nowhere but in its file.
    assert s3.SECRET.encode() != b"" and "aws4_request" in notice["url"] and "secret" not in site.broker.log()
    # A later attempt has a URL of its own.
    device.report("DEFERRED", retryAfter=1, attempt=1)
    again = device.wait_notice(2, timeout=20)
    assert again["attempt"] == 2 and s3.signed_at(again["url"])[0] > at
    device.report("SUCCESS", version="1.5.0", attempt=2)
    site.wait_update(rollout, "dev-1", "succeeded")
    # Without a credential it is not signed; cleared, it is the manifest's.
    site.release("1.6.0", url="https://cdn.example.com/firmware/1.6.0.bin")
    set_url(site, "http://depot.local{path}")
    device.version = "1.5.0"
    site.start_rollout("default", "1.6.0", "quick")
    assert device.wait_notice(3)["url"] == "http://depot.local/firmware/1.6.0.bin"
    device.report("SUCCESS", version="1.6.0", attempt=1)
    site.db.execute("SELECT ota.clear_fleet_url('default', 'test')")
    site.release("1.7.0", url="https://cdn.example.com/firmware/1.7.0.bin")
    site.start_rollout("default", "1.7.0", "quick")
    assert device.wait_notice(4)["url"] == "https://cdn.example.com/firmware/1.7.0.bin"


def test_no_url_no_notice(bare_site, keys):
    """A credential that goes away, and a release whose URL has no place in a fleet's: nobody is told, and it is said why."""
    site = bare_site
    site.add_broker(url_credentials=keys)
    has_credentials(site, "fw")
    one_stage(site)
    site.release("1.5.0")
    device = site.device("dev-1")
    site.wait_device("dev-1", listening=True)
    set_url(site, "https://bucket.example.com{path}", "fw")
    write_keys(keys, KEYS.replace("[fw]", "[other]"))
    site.broker.reload()
    has_credentials(site, "other")
    rollout = site.start_rollout("default", "1.5.0", "quick")
    wait_for(lambda: (site.update_row(rollout, "dev-1") or {}).get("error") == "URL_NOT_MADE", 15, lambda: site.describe(rollout))
    assert 'this broker has no credential "fw"' in site.db.value("SELECT reason FROM ota.stuck_devices WHERE device_id = 'dev-1'")
    site.broker.wait_log(r'release 1\.5\.0 is not told to fleet default, no URL can be made: this broker has no credential "fw"')
    assert not device.notices()
    # Repaired: it is told, by itself, within half a minute.
    write_keys(keys)
    site.broker.reload()
    has_credentials(site, "fw")
    site.db.execute("UPDATE ota.device_update SET not_before = now()")
    notice = device.wait_notice(timeout=20)
    assert "X-Amz-Signature=" in notice["url"] and notice["attempt"] == 1
    device.report("SUCCESS", version="1.5.0", attempt=1)
    site.wait_update(rollout, "dev-1", "succeeded")
    site.release("1.6.0", url="https://cdn.example.com/get?file=1.6.0")
    words = site.db.refused("SELECT ota.start_rollout('default', '1.6.0', 'quick')")
    assert "no URL of release 1.6.0 can be made" in words and "only a path can be kept" in words
    # Behind the back of the functions, in one transaction: the broker looks for itself.
    rollout = site.db.value("""UPDATE ota.fleet SET url_template = NULL, url_credential = NULL WHERE fleet = 'default';
        SELECT ota.start_rollout('default', '1.6.0', 'quick');
        UPDATE ota.fleet SET url_template = 'https://bucket.example.com{path}' WHERE fleet = 'default';
        SELECT max(rollout_id) FROM ota.rollout""")
    wait_for(lambda: (site.update_row(rollout, "dev-1") or {}).get("error") == "URL_NOT_MADE", 15, lambda: site.describe(rollout))
    assert "only a path can be kept" in site.db.value("SELECT reason FROM ota.stuck_devices WHERE rollout_id = %s", rollout)
    assert len(device.notices()) == 1


def test_a_bad_file_of_credentials(bare_site, tmp_path):
    site = bare_site
    for words, mode, text in (("0644", 0o644, KEYS), ("[fw] has no region", 0o600, KEYS.replace("\nregion", "\n#region")), ("line 3", 0o600, KEYS.replace("_id", ""))):
        path = write_keys(tmp_path / "credentials", text, mode)
        broker = site.add_broker(start=False, url_credentials=path)
        line = broker.refuses("plugin_opt_url_credentials", str(path), words)
        assert s3.SECRET not in line.replace(str(path), "")
        site.brokers.remove(broker)
    broker = site.add_broker(url_credentials=write_keys(path))
    has_credentials(site, "fw")
    # A mistake at SIGHUP changes nothing.
    path.chmod(0o604)
    broker.reload()
    broker.wait_log("was not read again, the earlier credentials stay: .*mode 0604")
    has_credentials(site, "fw")


def test_a_restart_without_the_database_keeps_the_fleets_url(own_site, keys):
    """What was told before is told again from the fleet's place, signed anew."""
    site = own_site
    broker = site.add_broker(url_credentials=keys)
    has_credentials(site, "fw")
    one_stage(site)
    site.release("1.5.0")
    device = site.device("dev-1")
    site.wait_device("dev-1", listening=True)
    set_url(site, "https://bucket.example.com{path}", "fw")
    site.start_rollout("default", "1.5.0", "quick")
    first = device.wait_notice()
    device.vanish()
    wait_for(lambda: not site.device_row("dev-1")["connected"], 10)
    site.cluster.stop()
    site.db.close()
    broker.kill()
    broker.start()
    broker.wait_log("started without the database")
    device.connect()
    device.report("IDLE")
    device.subscribe(device.topic)
    again = device.wait_notice(2, 30)
    assert (again["rollout"], again["attempt"]) == (first["rollout"], first["attempt"])
    assert again["url"].startswith("https://bucket.example.com/firmware/1.5.0.bin?X-Amz-") and s3.signed_at(again["url"])[0] > s3.signed_at(first["url"])[0]
    site.cluster.start()


@pytest.mark.usefixtures("plugin")
def test_agents_take_the_fleets_place(bare_site, boards, web, agent_kind):
    """Another host, a prefix, a query: the path at the end and the hash are what is signed."""
    site = bare_site
    site.add_broker()
    one_stage(site)
    data = make_image("2.0.0")
    name = f"fw/{agent_kind}-2.0.0.bin"
    web.serve(f"depot/hamburg/{name}", data)
    site.release("2.0.0", url=f"https://cdn.example.com/{name}", sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    device = boards(site.broker, [site.signer], fleet="default")
    site.wait_device(device.device_id, timeout=40, listening=True, version="1.0.0")
    set_url(site, web.url("depot/hamburg{path}"))
    rollout = site.start_rollout("default", "2.0.0", "quick")
    site.wait_update(rollout, device.device_id, "succeeded", 60)
    assert device.version() == "2.0.0" and len(web.asked(f"depot/hamburg/{name}")) == 1, device.log()


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    package = s3.find(BUILD)
    if isinstance(package, str):
        pytest.skip(f"no server that verifies pre-signed URLs: {package}")
    server = s3.Bucket(package, tmp_path_factory.mktemp("s3"))
    yield server
    server.close()


@pytest.mark.usefixtures("plugin")
def test_a_private_bucket(bare_site, boards, bucket, keys, agent_kind):
    """A server that verifies Signature Version 4 gives the firmware to who was told, for as long as that holds."""
    site = bare_site
    site.add_broker(url_credentials=keys)
    has_credentials(site, "fw")
    one_stage(site)
    path = f"/fw/{agent_kind} 2.0.0+b.bin"
    data = make_image("2.0.0", size=300_000)
    bucket.put(urllib.parse.quote(path), data)
    site.release("2.0.0", url="https://cdn.example.com" + urllib.parse.quote(path), sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    device = boards(site.broker, [site.signer], fleet="default")
    site.wait_device(device.device_id, timeout=40, listening=True, version="1.0.0")
    set_url(site, bucket.origin + "/firmware{path}", "fw")
    rollout = site.start_rollout("default", "2.0.0", "quick")
    site.wait_update(rollout, device.device_id, "succeeded", 60)
    assert device.version() == "2.0.0"

    def ask(url, **headers):
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, b""

    url = json.loads(json.loads((device.state / "update.json").read_text())["notice"])["url"]
    assert ask(url) == (200, data) and ask(url, Range="bytes=299990-") == (206, data[-10:])
    # Nobody gets anything without a signature, nor with one that is not good for exactly this.
    assert ask(url.split("?")[0])[0] == 403 and ask(bucket.origin + "/firmware")[0] == 403 and ask(bucket.origin + "/")[0] == 403
    other = f"/fw/{agent_kind}-other.bin"
    bucket.put(other, b"x")
    assert ask(url.replace(urllib.parse.urlsplit(url).path, "/firmware" + other))[0] == 403, "good for this file only"
    signature = url[-8:]
    assert ask(url[:-8] + ("0" if signature[0] != "0" else "1") + signature[1:])[0] == 403
    at, seconds = s3.signed_at(url)
    assert ask(url.replace(f"X-Amz-Expires={seconds}", f"X-Amz-Expires={seconds + 1}"))[0] == 403, "nobody makes it last longer"
    old = s3.presign(url.split("?")[0], s3.KEY_ID, s3.SECRET, s3.REGION, 1, at=at - datetime.timedelta(minutes=5))
    assert ask(old)[0] == 403, "it ends"
