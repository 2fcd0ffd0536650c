"""Agents of examples/: downloads that break, and updates that are taken back, repeated or postponed.

The broker has no plugin here, so that a test can say exactly what it wants, when it wants.
"""

import contextlib
import hashlib
import resource
import subprocess

import pytest

from harness import stays, wait_for
from harness.agent_fixtures import name_of, never_bootable

pytestmark = pytest.mark.usefixtures("plugin")
SIZE = 400_000


@pytest.fixture
def device(boards, liar, signer):
    device = boards(liar.broker, [signer])
    liar.wait_report(device, "IDLE", version="1.0.0")
    return device


def updated(liar, device, version="2.0.0"):
    report = liar.wait_report(device, "SUCCESS", version=version)
    assert device.version() == version
    return report


def test_a_good_update(liar, device, image, web):
    data, url = image("2.0.0", size=SIZE)
    notice = liar.notice("2.0.0", data, url)
    liar.tell(device, notice)
    report = updated(liar, device)
    assert report["checks"] == {"mqttConnected": True, "imageGood": True} and report["previousVersion"] == "1.0.0"
    assert report["attempt"] == 1 and report["ts"].endswith("Z") and report["slot"] == "b"
    reports = liar.reports(device)
    order = ["IDLE", "DOWNLOADING", "VERIFYING", "APPLYING", "REBOOTING", "SUCCESS"]
    assert list(dict.fromkeys(report["status"] for report in reports)) == order
    # Until the reboot it is the old firmware that runs, and says so.
    assert {report["version"] for report in reports[:-1]} == {"1.0.0"}
    assert reports[-1]["bootId"] != reports[0]["bootId"]
    assert device.slot_hash("b") == hashlib.sha256(data).hexdigest()
    assert [request.status for request in web.asked(name_of(url))] == [200]
    # And back into the other slot.
    data, url = image("3.0.0")
    liar.tell(device, liar.notice("3.0.0", data, url, sequence=2))
    assert updated(liar, device, "3.0.0")["slot"] == "a"


def test_a_broken_download_goes_on_where_it_stopped(liar, device, image, web):
    data, url = image("2.0.0", size=SIZE, cuts=[100_000, 0, 150_000])
    liar.tell(device, liar.notice("2.0.0", data, url))
    updated(liar, device)
    requests = web.asked(name_of(url))
    assert [request.range for request in requests] == ["", "bytes=100000-", "bytes=100000-", "bytes=250000-"]
    assert {request.if_range for request in requests[1:]} == {'"1"'}
    assert sum(request.sent for request in requests) == SIZE  # nothing was fetched twice


def test_what_came_before_a_stall_is_kept(boards, liar, signer, image, web):
    """A line that stands still every few kilobytes is slow, not dead."""
    device = boards(liar.broker, [signer], stall_seconds=1)
    liar.wait_report(device, "IDLE")
    data, url = image("2.0.0", size=SIZE, rate=SIZE, stall_after=24_000)
    liar.tell(device, liar.notice("2.0.0", data, url))
    wait_for(lambda: len(web.asked(name_of(url))) == 2, 20, device.log)
    served = web.paths["/" + name_of(url)]
    served.stall_after = None
    served.go_on.set()
    updated(liar, device)
    assert web.asked(name_of(url))[1].range == "bytes=24000-"


def test_a_server_without_ranges_starts_over(liar, device, image, web):
    data, url = image("2.0.0", size=SIZE, cuts=[100_000, 300_000], ranges=False)
    liar.tell(device, liar.notice("2.0.0", data, url))
    updated(liar, device)
    assert [request.status for request in web.asked(name_of(url))] == [200, 200, 200]


def test_a_changed_etag_starts_over(liar, device, image, web):
    data, url = image("2.0.0", size=SIZE, rate=400_000)
    served = web.paths["/" + name_of(url)]
    good, served.data, served.cuts = served.data, b"x" * SIZE, [200_000]  # the wrong file first
    liar.tell(device, liar.notice("2.0.0", data, url))
    wait_for(lambda: web.asked(name_of(url)), 10)
    served.data, served.etag = good, '"2"'
    updated(liar, device)
    assert [request.status for request in web.asked(name_of(url))] == [200, 200]


@pytest.mark.parametrize("etag, modified, asked", [
    ('W/"1"', "", ""), ("", "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:00 GMT"), ('W/"1"', "Wed, 21 Oct 2015 07:28:00 GMT", "")],
    ids=["a weak tag", "a date", "both"])
def test_what_is_good_enough_to_go_on(liar, device, image, web, etag, modified, asked):
    """A weak tag promises nothing about the bytes; a date will do, that of a Wednesday as well."""
    data, url = image("2.0.0", size=SIZE, cuts=[100_000], etag=etag, modified=modified)
    liar.tell(device, liar.notice("2.0.0", data, url))
    updated(liar, device)
    requests = web.asked(name_of(url))
    assert [(request.range, request.if_range, request.sent) for request in requests] == [("", "", 100_000), ("bytes=100000-", asked, SIZE - 100_000)]


def test_a_file_exchanged_without_an_etag_is_fetched_once_more(liar, device, image, web):
    """No validator: only the hash shows that the two halves do not belong together."""
    data, url = image("2.0.0", size=SIZE, rate=400_000, etag="")
    served = web.paths["/" + name_of(url)]
    good, served.data, served.cuts = served.data, b"x" * SIZE, [200_000]
    liar.tell(device, liar.notice("2.0.0", data, url))
    wait_for(lambda: web.asked(name_of(url)), 10)
    served.data, served.rate = good, 0
    updated(liar, device)
    assert [request.status for request in web.asked(name_of(url))] == [200, 206, 200]


@pytest.mark.parametrize("content_range", ["", "bytes {end}-{begin}", "bytes 7-{end}/{total}", "bytes 0-{end}/{total}", "pages 1-2/3"],
                         ids=["none", "backwards", "another part", "claims to be the whole", "no bytes"])
def test_a_part_that_says_wrong_where_it_belongs(liar, device, image, web, content_range):
    """206 without, or with a wrong, Content-Range: its bytes are not put behind those that are there."""
    data, url = image("2.0.0", size=SIZE, cuts=[100_000], content_range=content_range)
    liar.tell(device, liar.notice("2.0.0", data, url))
    updated(liar, device)
    requests = web.asked(name_of(url))
    assert requests[1].status == 206 and (requests[-1].range, requests[-1].sent) == ("", SIZE), requests


def test_a_server_that_never_gets_further_is_given_up(boards, liar, signer, image, web):
    """It breaks off where it broke off before, and what it sends then belongs nowhere."""
    device = boards(liar.broker, [signer], download_tries=3)
    liar.wait_report(device, "IDLE")
    data, url = image("2.0.0", size=SIZE, cuts=[100_000, 0] * 10, content_range="")
    liar.tell(device, liar.notice("2.0.0", data, url))
    liar.wait_report(device, "FAILED", error="DOWNLOAD_FAILED")
    assert len(web.asked(name_of(url))) == 3
    never_bootable(device, data)


def test_an_address_that_expires_on_the_way(liar, device, image, web):
    """A pre-signed URL is good for a while: the next attempt has a new one, and goes on where the download stopped."""
    data, url = image("2.0.0", size=SIZE, cuts=[100_000], status=[200, 403])
    notice = liar.notice("2.0.0", data, url + "?signature=1", manifest={"url": url})
    liar.tell(device, notice)
    report = liar.wait_report(device, "DEFERRED", error="URL_EXPIRED", version="1.0.0")
    assert report["retryAfter"] == 1
    liar.tell(device, {**notice, "attempt": 2, "url": url + "?signature=2"})
    assert updated(liar, device)["attempt"] == 2
    asked = [(request.query, request.status, request.range) for request in web.asked(name_of(url))]
    assert asked == [("signature=1", 200, ""), ("signature=1", 403, "bytes=100000-"), ("signature=2", 206, "bytes=100000-")]
    # One that was never good is no reason to ask for another.
    data, url = image("3.0.0", status=[403])
    liar.tell(device, liar.notice("3.0.0", data, url, sequence=2))
    liar.wait_report(device, "FAILED", error="DOWNLOAD_FAILED")


def test_a_server_in_trouble_is_asked_again_and_given_up_in_the_end(boards, liar, signer, image, web):
    device = boards(liar.broker, [signer], download_tries=3)
    liar.wait_report(device, "IDLE")
    data, url = image("2.0.0", status=[503, 500])
    liar.tell(device, liar.notice("2.0.0", data, url))
    updated(liar, device)
    data, url = image("3.0.0", status=[503] * 10)
    liar.tell(device, liar.notice("3.0.0", data, url, sequence=2))
    liar.wait_report(device, "FAILED", error="DOWNLOAD_FAILED")
    assert len(web.asked(name_of(url))) == 3
    liar.tell(device, liar.notice("3.0.0", data, url + ".gone", sequence=2))
    wait_for(lambda: len(web.asked(name_of(url) + ".gone")) == 1, 10)
    wait_for(lambda: liar.statuses(device).count("FAILED") == 2, 10)
    never_bootable(device, data)


def test_a_download_goes_on_after_a_power_cut(liar, device, image, web):
    data, url = image("2.0.0", size=SIZE, stall_after=200_000)
    notice = liar.notice("2.0.0", data, url)
    liar.tell(device, notice)
    wait_for(lambda: (device.state / "download.part").exists() and (device.state / "download.part").stat().st_size > 100_000, 10,
             device.log)
    device.power_cut()
    web.paths["/" + name_of(url)].stall_after = None
    web.paths["/" + name_of(url)].go_on.set()
    device.power_on()
    updated(liar, device)
    last = web.asked(name_of(url))[-1]
    assert last.status == 206 and last.sent < SIZE - 100_000, last


def test_a_recall_stops_the_download(liar, device, image, web):
    """At once, however slowly the bytes come."""
    data, url = image("2.0.0", size=SIZE, rate=1000)
    notice = liar.notice("2.0.0", data, url)
    liar.tell(device, notice)
    liar.wait_report(device, "DOWNLOADING")
    said = len(liar.reports(device))
    liar.recall(device, {**notice, "rollout": 999})  # somebody else's
    liar.recall(device, notice)
    liar.wait_report(device, "IDLE", after=said, version="1.0.0")
    never_bootable(device, data, seconds=0.5)
    assert not (device.state / "download.part").exists()
    # The operator has changed his mind again: the same notice is welcome.
    web.paths["/" + name_of(url)].rate = 0
    liar.tell(device, notice)
    updated(liar, device)


def test_the_same_notice_twice_does_nothing_twice(liar, device, image, web):
    data, url = image("2.0.0", size=SIZE, rate=400_000)
    notice = liar.notice("2.0.0", data, url)
    liar.tell(device, notice)
    liar.wait_report(device, "DOWNLOADING")
    liar.tell(device, notice)
    updated(liar, device)
    assert len(web.asked(name_of(url))) == 1
    before = liar.statuses(device).count("SUCCESS")
    liar.tell(device, notice)  # the broker has not heard: say it again, and no more than that
    wait_for(lambda: liar.statuses(device).count("SUCCESS") > before, 10)
    stays(lambda: len(web.asked(name_of(url))) == 1 and device.boot()["trial"] == "", 0.5)


def test_another_notice_replaces_a_download(liar, device, image):
    data, url = image("2.0.0", size=SIZE, rate=100_000)
    liar.tell(device, liar.notice("2.0.0", data, url))
    liar.wait_report(device, "DOWNLOADING")
    better, url = image("2.0.1")
    liar.tell(device, liar.notice("2.0.1", better, url, sequence=2))
    updated(liar, device, "2.0.1")


@pytest.mark.parametrize("reason", ["BUSY", "LOW_BATTERY"])
def test_not_now(boards, liar, signer, image, web, tmp_path, reason):
    busy, battery = tmp_path / "busy", tmp_path / "battery"
    battery.write_text("12\n" if reason == "LOW_BATTERY" else "80\n")
    if reason == "BUSY":
        busy.touch()
    device = boards(liar.broker, [signer], busy_file=busy, battery_file=battery, battery_min=30, defer_seconds=77)
    liar.wait_report(device, "IDLE")
    data, url = image("2.0.0")
    notice = liar.notice("2.0.0", data, url)
    liar.tell(device, notice)
    report = liar.wait_report(device, "DEFERRED", error=reason)
    assert report["retryAfter"] == 77 and report["version"] == "1.0.0"
    assert not web.asked(name_of(url))
    busy.unlink(missing_ok=True)
    battery.write_text("31\n")
    liar.tell(device, {**notice, "attempt": 2})
    assert updated(liar, device)["attempt"] == 2


@contextlib.contextmanager
def small_disk(folder, size):
    """A file system of its own; None where that is not allowed."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], stderr=subprocess.DEVNULL)
    try:
        yield folder if done.returncode == 0 else None
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "-l", folder], check=True)


def test_a_disk_without_room_is_seen_before_the_download(boards, liar, signer, image, web, tmp_path):
    with small_disk(tmp_path / "disk", 512 * 1024) as disk:
        if disk is None:
            pytest.skip("mounting a small disk is not allowed here")
        device = boards(liar.broker, [signer], state_directory=disk / "state")
        liar.wait_report(device, "IDLE")
        data, url = image("2.0.0", size=SIZE)
        liar.tell(device, liar.notice("2.0.0", data, url))
        liar.wait_report(device, "FAILED", error="NO_SPACE", version="1.0.0")
        assert not web.asked(name_of(url))
        # Not a byte is left, so that not even the notice can be written down.
        with contextlib.suppress(OSError), open(disk / "filler", "wb", buffering=0) as filler:
            while True:
                filler.write(b"x" * 4096)
        data, url = image("2.0.1", size=100_000)
        said = len(liar.reports(device))
        liar.tell(device, liar.notice("2.0.1", data, url))
        liar.wait_report(device, "FAILED", error="NO_SPACE", after=said)
        (disk / "filler").unlink()
        data, url = image("2.0.2", size=100_000)
        liar.tell(device, liar.notice("2.0.2", data, url))
        updated(liar, device, "2.0.2")
        device.power_cut()


def test_a_disk_that_fills_up_on_the_way(boards, liar, signer, image):
    """A limit of the file's size is met where a full disk would be: in the middle of writing."""
    device = boards(liar.broker, [signer], start=False)
    device.preexec = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    device.power_on()
    liar.wait_report(device, "IDLE")
    data, url = image("2.0.0", size=SIZE)
    liar.tell(device, liar.notice("2.0.0", data, url))
    liar.wait_report(device, "FAILED", error="NO_SPACE", version="1.0.0")
    never_bootable(device, data)
    assert not (device.state / "download.part").exists()
    data, url = image("2.0.1", size=100_000)
    liar.tell(device, liar.notice("2.0.1", data, url))
    updated(liar, device, "2.0.1")
