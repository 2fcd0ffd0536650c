"""What holds for every command of mosquitto_ota, those to come included: its table tells this test what there is."""

import concurrent.futures
import json
import os
import re
import shlex
import subprocess

import pytest

from conftest import BUILD, ROOT
from harness import wait_for
from harness.control import password_file
from harness.process import free_port
from harness.signing import envelope

pytestmark = pytest.mark.usefixtures("plugin")
PROGRAM = BUILD / "plugin" / "ctl" / "mosquitto_ota"
COMPLETION = ROOT / "plugin" / "ctl" / "mosquitto_ota.bash"
OFFLINE = (["release", "sign"], ["release", "verify"])


@pytest.fixture(scope="module")
def verbs(plugin):
    table = json.loads(subprocess.run([BUILD / "tests" / "ota_reference"], capture_output=True, check=True).stdout)["verbs"]
    for verb in table:
        verb["words"] = [word for word in (verb["group"], verb["name"]) if word]
    assert len(table) >= 35
    return table


def call(*words, folder=None, timeout=40):
    environment = {**os.environ, "XDG_CONFIG_HOME": str(folder or "/nonexistent"), "HOME": "/nonexistent", "NO_COLOR": "1"}
    return subprocess.run([PROGRAM, *map(str, words)], env=environment, capture_output=True, text=True, timeout=timeout,
                          stdin=subprocess.DEVNULL, cwd=folder, check=False)


def many(function, jobs):
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        return list(pool.map(function, jobs))


def failed(done, status):
    """A failure is one line on standard error and nothing else."""
    return done.returncode == status and not done.stdout and done.stderr.startswith("mosquitto_ota: ") and done.stderr.count("\n") == 1


def example(verb):
    return shlex.split(verb["example"])


def test_every_example_is_a_command_line(verbs):
    """It gets as far as looking for the broker, or for its files."""
    port = free_port()
    for verb, done in zip(verbs, many(lambda verb: call("-p", port, *example(verb)), verbs)):
        assert failed(done, 1), (verb["example"], done)
        assert re.search("no broker listens there|cannot read|cannot be read", done.stderr), (verb["example"], done)


def test_no_answer_is_a_failure_of_every_command(verbs, bare_site):
    """A broker without the plugin."""
    broker = bare_site.add_broker(with_plugin=False, ready=False)
    (bare_site.folder / "1.5.0.json").write_text(json.dumps(envelope(bare_site.manifest("1.5.0"), bare_site.signer)))
    online = [verb for verb in verbs if verb["words"] not in OFFLINE]
    for verb, done in zip(online, many(lambda verb: call("-p", broker.port, "--timeout", "2", *example(verb), folder=bare_site.folder), online)):
        assert failed(done, 1) and "no answer from the broker within 2 s" in done.stderr, (verb["words"], done)


def test_three_kinds_of_bad_input(verbs):
    port = free_port()

    def bad(verb):
        words = verb["words"]
        yield failed(call("-p", port, *words, "--frobnicate"), 2)
        yield failed(call("-p", port, *words, *["x"] * 20), 2) or failed(call("-p", port, *words, *["1"] * 20), 2)
        yield failed(call("-p", "harbour", *words), 2)
        if any(one["required"] for one in verb["arguments"]):
            yield failed(call("-p", port, *words), 2)

    for verb, outcomes in zip(verbs, many(lambda verb: list(bad(verb)), verbs)):
        assert all(outcomes), (verb["words"], outcomes)


# What stands for an argument; what is not here is left out when it may be.
VALUES = {"--fleet": "lab", "--version": "1.5.0", "--device": "dev-001", "--reason": "why", "--id": "ROLLOUT", "--rollout": "ROLLOUT",
          "--plan": "standard", "--gateway": "hub-1", "--attributes": '{"site":"x"}'}
MORE = {"plan define": ["--stage", "a:50:1 hour", "--stage", "b:100"],
        "fleet window": ["--timezone", "UTC", "--days", "mon", "--opens", "01:00", "--closes", "02:00"],
        "release add": ["1.6.0.json"], "release revoke": ["1.6.0", "why"], "plan show": ["standard"]}
# These succeed with those arguments, in the order of the table; of the others only the form of what they print is checked.
SUCCEED = {"release add", "release revoke", "release list", "release show", "plan list", "plan show", "plan define", "rollout preview", "rollout start", "rollout list",
           "rollout show", "rollout pause", "rollout resume", "rollout halt", "rollout cancel", "device list", "device show", "device assign",
           "device gateway", "fleet list", "fleet show", "fleet unpin", "fleet window", "audit", "status"}


def arguments(verb, rollout):
    name = " ".join(verb["words"])
    if name in MORE:
        needed = [VALUES.get(one["name"], "x") for one in verb["arguments"]
                  if one["required"] and one["positional"] and name not in ("release add", "release revoke", "plan show")]
        return needed + MORE[name]
    words = []
    for one in verb["arguments"]:
        if one["positional"]:
            words.append(VALUES.get(one["name"], "x") if one["required"] or one["name"] in VALUES else None)
        elif one["required"]:
            words += [one["name"], VALUES.get(one["name"], "x")]
    return [str(rollout) if word == "ROLLOUT" else word for word in words if word is not None]


def test_json_of_every_command(verbs, bare_site):
    """Status 0 and JSON on standard output, or a failure and nothing there; never something between."""
    folder = bare_site.folder
    users = password_file(folder / "users", "alice")
    bare_site.add_broker(extra=[f"password_file {users}"], control_users="alice")
    (folder / "mosquitto_ota").write_text(f"-h 127.0.0.1\n-p {bare_site.broker.port}\n-u alice\n-P unused\n--timeout 10\n")
    bare_site.release("1.5.0")
    (folder / "1.6.0.json").write_text(json.dumps(envelope(bare_site.manifest("1.6.0"), bare_site.signer)))
    bare_site.device("dev-001", fleet="lab")
    wait_for(lambda: bare_site.db.value("SELECT count(*) FROM ota.device WHERE listening AND version = '1.0.0'") == 1, 10)
    rollout, good = 1, set()
    for verb in verbs:
        name = " ".join(verb["words"])
        if verb["words"] in OFFLINE or name == "rollout watch":
            continue
        done = call(*verb["words"], *arguments(verb, rollout), "--json", folder=folder)
        if done.returncode == 0:
            assert not done.stderr and isinstance(json.loads(done.stdout), dict), (name, done)
            good.add(name)
        else:
            assert failed(done, 1) or (name not in SUCCEED and failed(done, 2)), (name, done)
        assert (name not in SUCCEED) or done.returncode == 0, (name, arguments(verb, rollout), done)
    # What is over by now is watched to its end at once.
    done = call("rollout", "watch", rollout, "--json", folder=folder)
    assert done.returncode == 1 and json.loads(done.stdout)["state"] == "cancelled", done
    assert len(good) >= len(SUCCEED)


# --- completion

def complete(*words):
    """What bash offers for the last word."""
    script = (f"source {COMPLETION}; COMP_WORDS=({' '.join(shlex.quote(word) for word in (str(PROGRAM), *words))}); "
              "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _mosquitto_ota; printf '%s\\n' \"${COMPREPLY[@]}\"")
    done = subprocess.run(["bash", "--norc", "-uc", script], capture_output=True, text=True, check=True, cwd=ROOT,
                          env={**os.environ, "XDG_CONFIG_HOME": "/nonexistent"})
    assert not done.stderr, done
    return [line for line in done.stdout.splitlines() if line]


def test_completion_knows_every_command_and_option(verbs):
    groups = {verb["words"][0] for verb in verbs}
    assert set(complete("")) == groups
    assert complete("roll") == ["rollout"] and complete("-h", "broker", "--json", "roll") == ["rollout"]
    for group in groups:
        names = {verb["name"] for verb in verbs if verb["group"] == group}
        if names:
            assert set(complete(group, "")) == names, group
            assert set(complete("-u", "rollout", group, "")) == names, group
    connection = {"--host", "--port", "--username", "--pw", "--cafile", "--insecure", "--json", "--timeout", "--options"}
    assert connection | {"--version", "--help"} <= set(complete("--"))

    def options(verb):
        return set(complete(*verb["words"], "--"))

    for verb, offered in zip(verbs, many(options, verbs)):
        assert {one["name"] for one in verb["arguments"]} | connection <= offered, (verb["words"], offered)
    assert "README.md" in complete("release", "add", "READ") and "README.md" in complete("release", "sign", "--file", "READ")
    assert complete("release", "verify", "x.json", "--trusted-keys", "pack") == ["package"]
    assert complete("device", "list", "--connected", "") == ["true", "false"]
    assert "halted" in complete("rollout", "list", "--state", "") and complete("device", "list", "--state", "dow") == ["downloading"]
    assert complete("frobnicate", "") == [] and complete("status", "--js") == ["--json"]


