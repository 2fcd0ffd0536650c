"""The program mosquitto_ota, end to end."""

import json
import os
import pty
import re
import resource
import signal
import subprocess

import pytest

from conftest import BUILD, ROOT
from harness import Signer, wait_for
from harness.control import password_file
from harness.process import free_port

pytestmark = pytest.mark.usefixtures("plugin")
PROGRAM = BUILD / "plugin" / "ctl" / "mosquitto_ota"


class Desk:
    """An operator's shell: a folder, a file of options, the program."""

    def __init__(self, site, folder, user="alice"):
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "mosquitto_ota").write_text(
            f"# how to reach the broker\n-h 127.0.0.1\n-p {site.broker.port}\n-u {user}\n-P unused\n" if site else "")
        self.environment = {**os.environ, "XDG_CONFIG_HOME": str(self.folder), "NO_COLOR": "1"}

    def call(self, *words, timeout=30, **options):
        return subprocess.run([PROGRAM, *map(str, words)], cwd=self.folder, env=self.environment, text=True, timeout=timeout,
                              stdin=subprocess.DEVNULL, capture_output=True, **options)

    def run(self, *words):
        done = self.call(*words)
        assert done.returncode == 0 and not done.stderr, (words, done)
        return done.stdout

    def json(self, *words):
        return json.loads(self.run(*words, "--json"))

    def fails(self, *words, status=1):
        done = self.call(*words)
        assert done.returncode == status, (words, done)
        assert done.stderr.startswith("mosquitto_ota: ") and done.stderr.count("\n") == 1, done
        return done.stderr


@pytest.fixture
def offline(tmp_path):
    return Desk(None, tmp_path / "desk")


@pytest.fixture
def office(bare_site):
    users = password_file(bare_site.folder / "users", "alice", "bob", "mallory")
    bare_site.add_broker(extra=[f"password_file {users}"], control_users="alice bob")
    return bare_site


@pytest.fixture
def desk(office, tmp_path):
    return Desk(office, tmp_path / "desk")


def examples():
    """The blocks of docs/cli.md that are marked to be run."""
    text = (ROOT / "docs" / "cli.md").read_text()
    return re.findall(r"<!-- run -->\n```sh\n(.*?)```", text, re.S)


def test_the_page_from_key_to_last_device(office, desk, fleet):
    image = fleet.image("1.5.0")
    firmware = fleet.server.files / "1.5.0.bin"
    (desk.folder / "firmware.bin").write_bytes(firmware.read_bytes())
    (desk.folder / "keys.d").symlink_to(office.keys.folder)
    environment = {**desk.environment, "URL": image["url"], "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"}

    def shell(script):
        return subprocess.run(["bash", "-euc", script], cwd=desk.folder, env=environment, stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, timeout=60)

    sign, roll, look = examples()
    done = shell(sign)
    assert done.returncode == 0, done
    assert "1.5.0.json is signed with key" in done.stdout and "release.pem (Ed25519)" in done.stdout
    office.broker.reload()
    fleet.start(office.broker, 8, version="1.0.0")
    wait_for(lambda: office.db.value("SELECT count(*) FROM ota.device WHERE listening AND version = '1.0.0'") == 8, 15)
    done = shell(roll)
    assert done.returncode == 0, done
    lines = done.stdout.splitlines()
    assert lines[0].startswith("release 1.5.0 is verified, signed by release.pem (Ed25519)")
    assert "plan quick is defined" in lines and "rollout 1 of 1.5.0 to fleet default is started" in lines
    assert lines[-1].startswith("rollout 1 completed stage=full succeeded=8 failed=0 busy=0")
    done = shell(look)
    assert done.returncode == 0, done
    assert done.stdout.splitlines()[0].split() == ["DEVICE", "FLEET", "HARDWARE", "VERSION", "CONNECTED", "LAST", "SEEN",
                                                  "UPDATE", "ERROR"]
    assert done.stdout.count(" 1.5.0 ") >= 8
    assert office.rollout(1)["created_by"] == "alice"


def test_a_halted_rollout_exits_with_1(office, desk, fleet):
    image = fleet.image("1.6.0", behaviour="bad")
    office.release("1.6.0", **image)
    desk.run("plan", "define", "quick", "--stage", "some:50:30 seconds", "--stage", "full:100", "--options",
             '{"pacing":"none"}', "--health-timeout=4 seconds")
    fleet.start(office.broker, 8, version="1.0.0")
    wait_for(lambda: office.db.value("SELECT count(*) FROM ota.device WHERE listening AND version = '1.0.0'") == 8, 15)
    started = desk.json("rollout", "start", "default", "1.6.0", "--plan", "quick")
    done = desk.call("rollout", "watch", started["id"], "--interval", "0.2", "--json", timeout=40)
    assert done.returncode == 1, done
    looks = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(looks) > 1 and looks[-1]["state"] == "halted" and looks[-1]["stages"][0]["failed"] > 0
    # On a terminal: bars, within 80 columns.
    master, slave = pty.openpty()
    process = subprocess.Popen([PROGRAM, "rollout", "watch", str(started["id"])], env=desk.environment, stdout=slave,
                               stdin=subprocess.DEVNULL)
    assert process.wait(10) == 1
    text = os.read(master, 65536).decode()
    os.close(slave)
    os.close(master)
    assert "rollout 1: 1.6.0 to fleet default, halted" in text and re.search(r"some +halted +\[x+", text), text
    assert all(len(line) <= 80 for line in text.splitlines()), text


def test_what_an_operator_orders(office, desk, tmp_path):
    bob = Desk(office, tmp_path / "bob", "bob")
    office.release("1.5.0")
    office.devices(2)
    wait_for(lambda: office.db.value("SELECT count(*) FROM ota.device WHERE listening AND version = '1.0.0'") == 2, 10)
    desk.run("plan", "define", "eyes", "--stages", '[{"label":"a","percent":50,"wait":"1 hour"},{"label":"b","percent":100}]',
             "--options", '{"approval":true}', "--success-threshold", "0.9", "--retries", "1", "--max-in-flight", "5")
    plan = desk.json("plan", "show", "eyes")
    assert plan["success_threshold"] == 0.9 and plan["retries"] == 1 and plan["options"] == {"approval": True}
    assert "eyes" in desk.run("plan", "list")
    assert desk.json("rollout", "preview", "default", "1.5.0", "--plan", "eyes")["included"] == 2
    rollout = desk.json("rollout", "start", "default", "1.5.0", "--plan=eyes", "--reason", "-- a reason")["id"]
    office.wait_rollout(rollout, "running")
    assert desk.run("rollout", "pause", rollout, "a look") == f"rollout {rollout} is paused\n"
    assert desk.run("rollout", "resume", rollout) == f"rollout {rollout} is running\n"
    wait_for(lambda: office.stages(rollout)[0]["state"] == "open", 10)
    assert 'started by "alice"' in desk.fails("rollout", "advance", rollout, "me")
    assert bob.run("rollout", "advance", rollout, "seen") == f"rollout {rollout} goes on\n"
    assert "halted" in desk.run("rollout", "halt", rollout, "smoke")
    assert desk.json("rollout", "show", rollout)["reason"] == "smoke"
    assert "smoke" in desk.run("rollout", "show", rollout)
    assert desk.json("rollout", "list", "--state", "halted")["rollouts"][0]["id"] == rollout
    assert "the version is missing" in desk.fails("rollout", "fallback", rollout, "smoke")
    office.release("1.0.1")
    back = rollout + 1
    assert desk.run("rollout", "fallback", rollout, "smoke", "--to", "1.0.1") == f"rollout {back} brings them back\n"
    assert desk.json("rollout", "show", rollout)["fallback"] == back and desk.json("rollout", "show", back)["fallback_of"] == rollout
    assert f"rollout {back} returns devices that run 1.5.0 to 1.0.1" in desk.run("rollout", "show", rollout)
    assert "cancelled" in desk.run("rollout", "cancel", back, "--reason", "no")
    assert "cancelled" in desk.run("rollout", "cancel", rollout, "--reason", "enough")
    assert "is cancelled" in desk.fails("device", "retry", rollout, "dev-001", "again")
    assert desk.run("fleet", "quarantine", "default", "--after", "5", "--reason", "bad radio") \
        == "devices of fleet default go into quarantine after 5 failures in a row\n"
    assert desk.run("device", "quarantined") == "none\n"
    assert "is not in quarantine" in desk.fails("device", "unquarantine", "dev-001", "x")
    assert desk.run("device", "assign", "dev-001", "lab") == "device dev-001 is in fleet lab\n"
    assert desk.json("device", "show", "dev-001")["fleet"] == "lab"
    assert [one["device_id"] for one in desk.json("device", "list", "--connected", "true", "--fleet", "lab")["devices"]] == ["dev-001"]
    assert desk.run("device", "list", "--hardware", "rev-z") == "none\n"
    assert desk.fails("device", "list", "--fleet", "nowhere") == "mosquitto_ota: there is no fleet nowhere; accepted is one that list_fleets names\n"
    assert {one["fleet"] for one in desk.json("fleet", "list")["fleets"]} == {"default", "lab"}
    assert desk.run("device", "pin", "dev-002", "1.5.0", "test") == "device dev-002 is pinned to 1.5.0\n"
    assert desk.run("device", "unpin", "dev-002") == "device dev-002 is not pinned\n"
    assert desk.run("device", "gateway", "beacon-1", "hub-1") == 'device beacon-1 has the gateway "hub-1"\n'
    assert desk.run("fleet", "pin", "lab", "1.5.0", "certified") == "fleet lab is pinned to 1.5.0\n"
    assert desk.run("fleet", "unpin", "lab") == "fleet lab is not pinned\n"
    assert desk.run("fleet", "window", "lab", "--timezone", "Europe/Berlin", "--days", "mon,tue", "--opens", "01:00", "--closes",
                    "02:00").startswith("fleet lab may be told from 01:00 to 02:00 (Europe/Berlin)")
    assert desk.json("fleet", "show", "lab")["windows"][0]["days"] == [1, 2]
    assert desk.run("fleet", "window", "lab", "--clear") == "fleet lab may be told at any time\n"
    assert desk.run("fleet", "limit", "lab", "--per-gateway", "2", "--per-site", "5", "--reason", "docks") == "fleet lab has its limits\n"
    assert desk.json("fleet", "show", "lab")["max_per_site"] == 5
    assert desk.run("device", "set", "dev-001", '{"site":"munich"}') == 'device dev-001 has the attributes {"site":"munich"}\n'
    dates = ("--from", "2026-01-01T00:00Z", "--until", "2099-01-01T00:00Z", "--reason", "peak")
    assert desk.run("fleet", "blackout", "lab", *dates) == \
        "blackout 1: fleet lab is not told from 2026-01-01T00:00Z to 2099-01-01T00:00Z\n"
    assert desk.run("fleet", "blackout", "--all", *dates).startswith("blackout 2: no fleet is told from")
    assert [one["fleet"] for one in desk.json("fleet", "blackout", "lab")["blackouts"]] == ["lab", None]
    assert re.search(r"ID +FLEET +FROM +UNTIL.*\n1 +lab +2026-01-01T00:00:00Z +2099", desk.run("fleet", "blackout"))
    assert desk.run("fleet", "blackout", "--remove", "2", "--reason", "off") == "blackout 2 is removed\n"
    assert "no blackout 2" in desk.fails("fleet", "blackout", "--remove", "2", "--reason", "off")
    assert desk.run("device", "stuck", "--site", "nowhere") == "none\n"
    assert re.search(r"^2099-01-01T00:00:00Z +blackout ends: peak +lab", desk.run("agenda", "--fleet", "lab"), re.M)
    assert desk.run("denied") == "none\n"
    assert desk.json("release", "compare", "1.5.0")["comparison"][0]["dimension"] == "all"
    assert re.search(r"^OF +VALUE +RELEASE +TOLD +OK", desk.run("release", "compare", "1.5.0"))
    assert desk.run("release", "revoke", "1.5.0", "it burns") == "release 1.5.0 is revoked\n"
    assert desk.json("release", "show", "1.5.0")["state"] == "revoked"
    assert desk.json("release", "list", "--state", "revoked")["releases"][0]["version"] == "1.5.0"
    kinds = [event["kind"] for event in desk.json("audit", "--by", "bob")["events"]]
    assert kinds == ["advance_requested"]
    assert "device_assigned" in desk.run("audit", "--device", "dev-001")
    assert desk.json("status")["connected"] == 2


def test_refusals(office, desk, tmp_path):
    mallory = Desk(office, tmp_path / "mallory", "mallory")
    assert "not in plugin_opt_control_users" in mallory.fails("status")
    assert "no rollout 99" in desk.fails("rollout", "pause", "99")
    assert "no release 9.9.9" in desk.fails("release", "show", "9.9.9")
    assert "no rollout 99" in desk.fails("rollout", "watch", "99")
    assert "no broker listens there" in desk.fails("-p", free_port(), "status")
    assert "refuses the connection" in desk.fails("-P", "wrong", "status")
    stranger = Signer("p256")
    (desk.folder / "stranger.key").write_bytes(stranger.private_pem())
    assert 'check cafile "stranger.key"' in desk.fails("--cafile", "stranger.key", "status")
    (desk.folder / "fw").write_bytes(b"firmware")
    desk.run("release", "sign", "--key", "stranger.key", "--version", "2.0.0", "--sequence", "20", "--url", "https://h/f", "--file",
             "fw", "--out", "stranger.json")
    assert "release 2.0.0 is rejected: arbitrary software" in desk.fails("release", "add", "stranger.json")
    (desk.folder / "broken.json").write_text('{"payloadType":"x"}')
    assert "broken.json" in desk.fails("release", "add", "broken.json")


def test_an_envelope_and_a_signature_over_the_file(bare_site, tmp_path):
    bare_site.add_broker(signature_policy="both", control_users="alice")
    desk = Desk(bare_site, tmp_path / "desk")
    key = bare_site.signer
    (desk.folder / "release.key").write_bytes(key.private_pem())
    firmware = desk.folder / "fw"
    firmware.write_bytes(b"firmware")
    (desk.folder / "fw.sig").write_bytes(key.sign_file_with_openssl(firmware))
    (desk.folder / "other.sig").write_bytes(b"0" * 64)
    for sequence, version in enumerate(("1.5.0", "1.5.1"), 1):
        desk.run("release", "sign", "--key", "release.key", "--version", version, "--sequence", sequence, "--url", "https://h/f",
                 "--file", "fw", "--out", f"{version}.json")
    assert "cannot read" in desk.fails("release", "add", "1.5.0.json", "--signature", "nowhere")
    assert "release 1.5.1 is rejected: arbitrary software" in desk.fails("release", "add", "1.5.1.json", "--signature", "other.sig")
    assert "release 1.5.0 is verified" in desk.run("release", "add", "1.5.0.json", "--signature", "fw.sig")
    shown = desk.json("release", "show", "1.5.0")
    assert shown["has_envelope"] and shown["has_signature"]


def test_no_answer_is_a_failure(bare_site, tmp_path):
    """A broker without the plugin."""
    bare_site.add_broker(with_plugin=False, ready=False)
    desk = Desk(bare_site, tmp_path / "desk")
    assert "no answer from the broker within 1 s" in desk.fails("--timeout", "1", "status")


@pytest.mark.parametrize("kind", ["rsa2048", "rsa3072", "p256", "p384", "ed25519"])
def test_signing(offline, kind):
    signer, second, stranger = Signer(kind), Signer("p256"), Signer("p256")
    for name, one in (("a", signer), ("b", second)):
        (offline.folder / f"{name}.key").write_bytes(one.private_pem())
        (offline.folder / "keys.d").mkdir(exist_ok=True)
        (offline.folder / "keys.d" / f"{name}.pem").write_bytes(one.public_pem())
    (offline.folder / "others.d").mkdir()
    (offline.folder / "others.d" / "s.pem").write_bytes(stranger.public_pem())
    (offline.folder / "fw").write_bytes(b"firmware" * 1000)
    common = ("--version", "1.5.0", "--sequence", "15", "--url", "https://cdn.example.com/f", "--file", "fw", "--hardware", "a, b ",
              "--notes", "tested \"well\" é", "--expires", "2031-01-01T00:00:00Z")
    text = offline.run("release", "sign", "--key", "a.key", *common)
    (offline.folder / "e.json").write_text(text)
    assert json.loads(text)["signatures"][0]["keyid"] == signer.keyid()
    shown = offline.json("release", "verify", "e.json", "--trusted-keys", "keys.d", "--file", "fw")
    assert shown["hardware"] == ["a", "b"] and shown["size"] == 8000 and len(shown["signed_by"]) == 1
    assert "2 are needed" in offline.fails("release", "verify", "e.json", "--trusted-keys", "keys.d", "--threshold", "2")
    offline.run("release", "sign", "--append", "e.json", "--key", "b.key", "-o", "e2.json")
    assert len(offline.json("release", "verify", "e2.json", "--trusted-keys", "keys.d", "--threshold", "2")["signed_by"]) == 2
    assert "already" in offline.fails("release", "sign", "--append", "e2.json", "--key", "b.key")
    assert "no trusted key" in offline.fails("release", "verify", "e.json", "--trusted-keys", "others.d")
    (offline.folder / "other").write_bytes(b"something else")
    assert "the manifest says 8000" in offline.fails("release", "verify", "e.json", "--trusted-keys", "keys.d", "--file", "other")


def test_bad_command_lines(offline):
    (offline.folder / "fw").write_bytes(b"x")
    (offline.folder / "weak.key").write_bytes(subprocess.run(["openssl", "genrsa", "1024"], check=True, capture_output=True).stdout)
    (offline.folder / "good.key").write_bytes(Signer("p256").private_pem())
    for words, status, text in (
            ((), 2, "there is no command"),
            (("fleet", "blackout", "--from", "2026-01-01T00:00Z"), 2, "needs a fleet, or --all"),
            (("fleet", "blackout", "lab", "--all", "--from", "2026-01-01T00:00Z"), 2, "needs a fleet, or --all"),
            (("fleet", "blackout", "lab", "--remove", "1"), 2, "takes the blackout's number"),
            (("fleet", "blackout", "lab", "--reason", "x"), 2, "goes with --from"),
            (("frobnicate",), 2, 'unknown command "frobnicate"; accepted are release, plan, rollout, device, fleet, agenda, denied, audit, status'),
            (("rollout",), 2, "rollout needs one of: preview, start"),
            (("rollout", "begin"), 2, 'unknown command "rollout begin"; accepted are preview'),
            (("--colour", "status"), 2, "unknown option --colour"),
            (("status", "--colour"), 2, "unknown option --colour for status; accepted are the connection options"),
            (("rollout", "start", "--colour"), 2, "unknown option --colour for rollout start; accepted are --fleet"),
            (("rollout", "start", "default"), 2, "needs <version>"),
            (("rollout", "pause", "seven"), 2, '--id is "seven"; accepted is an integer'),
            (("rollout", "pause", "7", "a", "b"), 2, '"b" is one argument too many'),
            (("rollout", "pause", "7", "--id", "8"), 2, "--id is given twice"),
            (("device", "list", "--connected", "maybe"), 2, "accepted is true or false"),
            (("plan", "define", "p"), 2, "needs --stage"),
            (("plan", "define", "p", "--stage", "canary"), 2, "accepted is LABEL:PERCENT"),
            (("plan", "define", "p", "--stage", "a:nan", "--stage", "b:100"), 2, '--stage is "a:nan"; accepted is LABEL:PERCENT'),
            (("plan", "define", "p", "--stage", "a:0x10", "--stage", "b:100"), 2, '--stage is "a:0x10"; accepted is LABEL:PERCENT'),
            (("plan", "define", "p", "--stages", "["), 2, "accepted is JSON"),
            (("device", "set", "d", '{"site":"a"},"b":{}'), 2, "accepted is JSON"),
            (("-p", "70000", "status"), 2, "accepted is 1 to 65535"),
            (("-o", "nowhere", "status"), 2, "cannot read the options in nowhere: No such file"),
            (("--key", "x", "status"), 1, "need --cafile or --capath"),
            (("--cafile", "nowhere", "status"), 1, '--cafile is "nowhere": No such file or directory; accepted is a file in PEM'),
            (("--capath", "fw", "status"), 1, '--capath is "fw": '),
            (("-h", "127.0.0.1", "-A", "192.0.2.1", "status"), 1, "from 192.0.2.1: Cannot assign requested address"),
            (("release", "sign", "--key", "good.key"), 2, "needs --version"),
            (("release", "sign", "--key", "nowhere", "--version", "1.0.0", "--sequence", "1", "--url", "https://h/f", "--file", "fw"), 1,
             "cannot read the key nowhere: No such file"),
            (("release", "sign", "--key", "weak.key", "--version", "1.0.0", "--sequence", "1", "--url", "https://h/f", "--file", "fw"), 1,
             "1024"),
            (("release", "sign", "--key", "good.key", "--version", "1.0", "--sequence", "1", "--url", "https://h/f", "--file", "fw"), 1,
             '"1.0"'),
            (("release", "sign", "--key", "good.key", "--version", "1.0.0", "--sequence", "0", "--url", "https://h/f", "--file", "fw"), 1,
             "sequence"),
            (("release", "sign", "--key", "good.key", "--version", "1.0.0", "--sequence", "1", "--url", "https://h/f", "--file", "."), 1,
             "cannot read .: Is a directory"),
            (("release", "sign", "--key", "good.key", "--append", "e.json", "--expires", "2031-01-01T00:00:00Z"), 2,
             "release sign --append takes no --expires: the envelope's manifest says it; accepted are --key and --out"),
            (("release", "add", "."), 1, "cannot read .: Is a directory"),
            (("release", "verify", "nowhere", "--trusted-keys", "."), 1, "no usable key"),
            (("release", "verify", "nowhere", "--trusted-keys", ".", "--threshold", "17"), 2, "accepted are 1 to 16"),
            (("release", "add", "1.0.0.json", "--notes", "fixes"), 2, "takes no --notes: the signed manifest says it; accepted is --signature"),
            (("release", "add", "--version", "1.0.0"), 2, "needs <envelope>, or --version, --url, --file and --signature")):
        error = offline.fails(*words, status=status)
        assert text in error, (words, error)
    assert "release sign" in offline.run("--help") and "mosquitto_ota" in offline.run("--version")
    assert "example:" in offline.run("rollout", "start", "--help")


def test_a_full_disk_leaves_the_envelope_as_it_was(offline):
    """The second person's signature does not fit: the first one's is still there."""
    for name in ("a", "b"):
        (offline.folder / f"{name}.key").write_bytes(Signer("ed25519").private_pem())
    (offline.folder / "fw").write_bytes(b"firmware")
    offline.run("release", "sign", "--key", "a.key", "--version", "1.5.0", "--sequence", "15", "--url", "https://cdn.example.com/f",
                "--file", "fw", "-o", "e.json")
    envelope = (offline.folder / "e.json").read_text()
    files = sorted(os.listdir(offline.folder))

    def small_files_only():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(envelope), len(envelope)))

    more = ("release", "sign", "--append", "e.json", "--key", "b.key", "-o", "e.json")
    done = offline.call(*more, preexec_fn=small_files_only)
    assert done.returncode == 1 and done.stderr == "mosquitto_ota: cannot write e.json: File too large\n", done
    assert (offline.folder / "e.json").read_text() == envelope and sorted(os.listdir(offline.folder)) == files
    (offline.folder / "e.json").chmod(0o640)
    offline.run(*more)
    assert len(json.loads((offline.folder / "e.json").read_text())["signatures"]) == 2
    assert (offline.folder / "e.json").stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(offline.folder)) == files


def test_an_envelope_behind_a_link_is_not_for_all_to_write(offline):
    """The link's file does not exist yet; it gets the mode that every new file gets."""
    (offline.folder / "a.key").write_bytes(Signer("ed25519").private_pem())
    (offline.folder / "fw").write_bytes(b"firmware")
    (offline.folder / "e.json").symlink_to("real.json")
    offline.run("release", "sign", "--key", "a.key", "--version", "1.5.0", "--sequence", "15", "--url", "https://cdn.example.com/f",
                "--file", "fw", "-o", "e.json")
    assert (offline.folder / "e.json").is_symlink() and json.loads((offline.folder / "real.json").read_text())["signatures"]
    assert (offline.folder / "real.json").stat().st_mode & 0o022 == 0


def test_help_and_man_page_name_every_command(offline):
    lines = [line for line in offline.run("--help").splitlines() if re.match(r"  [a-z ]{8}[a-z]", line)]
    listed = [line[:22].split() for line in lines]
    assert len(listed) >= 40
    assert all(line[22] == " " and line[23] != " " for line in lines), "what it does begins in one column"
    page = (ROOT / "plugin" / "ctl" / "mosquitto_ota.1").read_text()
    for words in listed:
        assert offline.run(*words, "--help").startswith("usage: "), words
        if len(words) == 2:
            assert f"  {words[0]:8}{words[1]:12} " in offline.run(words[0], "--help"), words
        assert f".It Cm {' '.join(words)}" in page, words
