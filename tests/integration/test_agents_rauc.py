"""The Python agent with RAUC: bundles made, verified and installed by the real program.

What cannot be tested here is a board: the boot loader is a script, partitions are files, and there is no dm-verity.
"""

import hashlib
import os

import pytest

from harness import rauc_board, wait_for
from harness.agent_fixtures import name_of, switched_on

pytestmark = [pytest.mark.usefixtures("plugin"),
              pytest.mark.skipif(not rauc_board.usable(), reason="needs rauc, squashfs-tools, dbus-daemon and loop devices")]
LONG = pytest.mark.skipif(not os.environ.get("OTA_LONG"), reason="OTA_LONG is not set")


@pytest.fixture
def board(liar, signer, maker, tmp_path):
    board = rauc_board.RaucBoard(tmp_path, liar.broker, f"rauc-{os.getpid()}-{tmp_path.name[-4:]}", [signer], maker[1], health_seconds=3)
    with switched_on(board, liar):
        yield board


@pytest.fixture
def offer(liar, web, maker):
    """Puts a bundle on the web server and tells the device; returns (bundle, image, notice)."""
    def make(board, version, behaviour="good", signer=None):
        bundle, image = rauc_board.make_bundle(maker[0], signer or maker[1], version, behaviour)
        web.serve(f"{version}.raucb", bundle)
        notice = liar.notice(version, bundle, web.url(f"{version}.raucb"))
        liar.tell(board, notice)
        return bundle, image, notice

    return make


def test_a_bundle_is_installed_and_marked_good(liar, board, offer):
    bundle, image, _ = offer(board, "2.0.0")
    report = liar.wait_report(board, "SUCCESS", version="2.0.0")
    assert report["slot"] == "b" and report["checks"] == {"mqttConnected": True, "imageGood": True}
    assert board.partition("B")[:len(image)] == image and board.primary() == "B"
    assert "set-state B good" in (board.place / "backend.log").read_text()
    boot = board.boot()
    assert boot["active"] == "b" and boot["b"]["sha256"] == hashlib.sha256(bundle).hexdigest()
    assert not (board.state / "download.part").exists()


def test_a_sick_system_is_marked_bad_and_left(liar, board, offer):
    offer(board, "2.1.0", "sick")
    report = liar.wait_report(board, "ROLLED_BACK", version="1.0.0")
    assert report["error"] == "HEALTH_CHECK_FAILED" and board.primary() == "A"
    assert (board.place / "left.B").read_text() == "0\n"  # marked bad
    assert board.boot()["active"] == "a" and board.boot()["trial"] == ""


@LONG
def test_what_the_boot_loader_gives_up_is_reported(liar, board, offer):
    offer(board, "2.2.0", "crash")
    report = liar.wait_report(board, "ROLLED_BACK", version="1.0.0")
    assert report["error"] == "BOOT_LOOP" and board.log().count("boot: slot B") == 2 and board.primary() == "A"


def test_a_bundle_that_rauc_refuses_is_never_booted(liar, board, offer, maker):
    """The manifest is ours, the bundle is signed by somebody else: RAUC has the last word."""
    stranger = rauc_board.certificate(maker[0], "stranger")
    _, image, _ = offer(board, "2.3.0", signer=stranger)
    report = liar.wait_report(board, "FAILED", version="1.0.0")
    assert report["error"] == "INSTALL_FAILED", report
    assert board.primary() == "A" and board.partition("B")[:len(image)] != image
    assert board.boot()["trial"] == "" and not (board.state / "download.part").exists()


@LONG
def test_a_power_cut_during_the_installation(liar, board, offer, web):
    """Afterwards either the old system goes on with the update, or the new one is on trial; in the end it is the new one."""
    bundle, image, notice = offer(board, "2.4.0")
    board.wait_log("APPLYING")
    board.power_cut()
    board.power_on()
    liar.wait_report(board, "SUCCESS", version="2.4.0")
    wait_for(lambda: board.boot()["active"] == "b", 5)
    assert board.partition("B")[:len(image)] == image and board.primary() == "B"
    assert web.asked(name_of(notice["url"]))[0].status == 200
