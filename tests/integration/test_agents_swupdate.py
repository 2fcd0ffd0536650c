"""The Python agent with SWUpdate: a signed .swu, installed by the real program into the slots of bootloader.py.

What cannot be tested here: a board's boot loader environment, and handlers for anything but files.
"""

import hashlib
import os
import shutil
import subprocess

import pytest

from harness import agents, rauc_board
from harness.agent_fixtures import switched_on

pytestmark = [pytest.mark.usefixtures("plugin"),
              pytest.mark.skipif(not (shutil.which("swupdate") and shutil.which("cpio")), reason="needs swupdate and cpio")]


def make_swu(maker, state, version, behaviour="good", signer=None):
    """A .swu as its maker would build it: cpio, sw-description first, and its CMS signature."""
    folder, (certificate, key) = maker[0] / f"swu-{version}", signer or maker[1]
    folder.mkdir()
    image = agents.make_image(version, behaviour, 100_000)
    (folder / "rootfs.img").write_bytes(image)
    images = "".join(f'{slot}: {{ images: ( {{ filename = "rootfs.img"; device = "{state}/slot-{slot}.img"; type = "raw"; '
                     f'sha256 = "{hashlib.sha256(image).hexdigest()}"; }} ); }};\n' for slot in "ab")
    (folder / "sw-description").write_text(f'software = {{ version = "{version}"; hardware-compatibility: [ "1.0" ];\n'
                                           f"stable: {{ {images} }}; }}\n")
    subprocess.run(["openssl", "cms", "-sign", "-in", "sw-description", "-out", "sw-description.sig", "-signer", certificate,
                    "-inkey", key, "-outform", "DER", "-nosmimecap", "-binary"], cwd=folder, check=True, capture_output=True)
    made = subprocess.run(["cpio", "-o", "-H", "crc"], input=b"sw-description\nsw-description.sig\nrootfs.img\n", cwd=folder,
                          check=True, capture_output=True)
    return made.stdout, image


@pytest.fixture
def board(liar, signer, maker, tmp_path):
    # While "unlucky" exists it ends as SWUpdate before 2024.12 does now and then: installed, and exit status 1.
    program = tmp_path / "swupdate.sh"
    program.write_text(f'#!/bin/sh\nswupdate "$@" && [ ! -e {tmp_path}/unlucky ]\n')
    program.chmod(0o755)
    command = f"{program} -k {maker[1][0]} -H p-100:1.0 -e stable,{{slot}} -i {{bundle}}"
    board = agents.AgentDevice(agents.commands("python", None), tmp_path, liar.broker, f"swu-{os.getpid()}-{tmp_path.name[-4:]}",
                               [signer], installer="swupdate", swupdate_command=command, health_seconds=3)
    with switched_on(board, liar):
        yield board


@pytest.fixture
def offer(liar, web, maker):
    def make(board, version, behaviour="good", signer=None, sequence=1):
        bundle, image = make_swu(maker, board.state, version, behaviour, signer)
        web.serve(f"{version}.swu", bundle)
        liar.tell(board, liar.notice(version, bundle, web.url(f"{version}.swu"), sequence))
        return bundle, image

    return make


def test_a_swu_is_installed_from_slot_to_slot(liar, board, offer, tmp_path):
    for sequence, (version, slot) in enumerate((("3.0.0", "b"), ("3.1.0", "a")), 1):
        if sequence == 2:
            (tmp_path / "unlucky").touch()
        bundle, image = offer(board, version, sequence=sequence)
        report = liar.wait_report(board, "SUCCESS", version=version)
        assert report["slot"] == slot and report["checks"]["imageGood"]
        boot = board.boot()
        assert boot["active"] == slot and boot[slot]["sha256"] == hashlib.sha256(bundle).hexdigest()
        assert board.slot_hash(slot) == hashlib.sha256(image).hexdigest() == boot[slot]["image_sha256"]


@pytest.mark.skipif(not os.environ.get("OTA_LONG"), reason="OTA_LONG is not set")
def test_a_sick_image_is_left_again(liar, board, offer):
    offer(board, "3.2.0", "sick")
    assert liar.wait_report(board, "ROLLED_BACK", version="1.0.0")["error"] == "HEALTH_CHECK_FAILED"
    assert board.boot()["active"] == "a" and board.boot()["trial"] == ""


def test_a_swu_that_swupdate_refuses_is_never_booted(liar, board, offer, maker):
    """The manifest is ours, sw-description is signed by somebody else: SWUpdate has the last word."""
    offer(board, "3.3.0", signer=rauc_board.certificate(maker[0], "stranger"))
    assert liar.wait_report(board, "FAILED", version="1.0.0")["error"] == "INSTALL_FAILED"
    assert board.boot()["trial"] == "" and board.boot()["b"] is None
    assert not (board.state / "download.part").exists()
