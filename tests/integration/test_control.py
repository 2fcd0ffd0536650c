"""Commands over $CONTROL/ota/v1."""

import base64
import json
import threading

import pytest

from harness import wait_for
from harness.control import RESPONSE, TOPIC, Operator, password_file
from harness.signing import envelope

pytestmark = pytest.mark.usefixtures("plugin")


@pytest.fixture
def office(bare_site):
    """A broker where alice and bob are operators, and mallory has a password only."""
    users = password_file(bare_site.folder / "users", "alice", "bob", "mallory")
    bare_site.add_broker(extra=[f"password_file {users}"], control_users="alice bob")
    return bare_site


@pytest.fixture
def alice(office):
    return Operator(office, "alice")


@pytest.mark.memory
def test_who_may(office, alice):
    spy = office.client("spy", username="mallory")
    spy.subscribe(RESPONSE)
    spy.subscribe("#")
    assert alice.ask("status")["schema"] >= 2
    for user, name in (("mallory", "mallory"), (None, "nobody")):
        other = Operator(office, user, client_id=name)
        response, = other.send({"command": "status", "correlationData": "x"})
        assert "not allowed" in response["error"] and "data" not in response
        event = office.wait_event("denied", device=name)[0]
        assert event["detail"]["topic"] == TOPIC and event["detail"]["reason"] == "not a control user"
        assert other.client.connected.is_set(), "a refused user stays connected"
    assert [topic for topic in spy.topics() if topic.startswith("$CONTROL")] == [], "nobody reads along"


def test_nobody_without_the_option(bare_site):
    bare_site.add_broker()
    response, = Operator(bare_site, "alice").send({"command": "status"})
    assert "control_users names nobody" in response["error"]


def test_what_is_no_command(alice):
    for payload, words in (
            ("", "cannot be read"),
            ("{", "cannot be read"),
            ("[1]", "cannot be read"),
            ('{"commands":{}}', '"commands" is an object'),
            ('{"commands":[]}', "0 elements"),
            ('{"commands":[{"correlationData":"a"}]}', '"command" is missing'),
            (json.dumps({"commands": [{"command": "status"}] * 33}), "33 elements"),
            ('{"commands":[{"command":"status","command":"status"}]}', "cannot be read"),
            (" " * 400000, "accepted are up to")):
        response, = alice.send_raw(payload)
        assert words in response["error"], (payload[:80], response)
    responses = alice.send({"command": "nonsense", "correlationData": "1"}, {"command": "status", "correlationData": "2"},
                           {"command": "show_plan"})
    assert 'no command "nonsense"' in responses[0]["error"] and responses[0]["correlationData"] == "1"
    assert responses[1]["data"]["devices"] == 0 and responses[1]["correlationData"] == "2"
    assert 'needs the member "plan"' in responses[2]["error"] and "correlationData" not in responses[2]


STAGES = [{"label": "some", "percent": 50, "wait": "1 second"}, {"label": "full", "percent": 100}]

# Command, members that are no good, words of the error.  {id} is the rollout's number.
BAD = [
    ("add_release", {"envelope": "text"}, "accepted is an object or a list"),
    ("add_release", {"envelope": {"payloadType": "x"}}, "payloadType is"),
    ("add_release", {"version": "1.6.0", "url": "http://h/f", "sha256": "00", "size": 1, "signature": "!"}, "accepted is base64"),
    ("add_release", {"version": "1.6.0", "url": "http://h/f", "sha256": "00", "size": 1, "signature": "AAAA"}, "not a SHA-256"),
    ("revoke_release", {"version": "9.9.9", "reason": "gone"}, "no release 9.9.9"),
    ("start_fallback", {"id": 99, "reason": "smoke"}, "there is no rollout 99"),
    ("start_fallback", {"id": 99}, 'needs the member "reason"'),
    ("unquarantine_device", {"device_id": "dev-001", "reason": "x"}, "is not in quarantine"),
    ("set_quarantine", {"fleet": "default", "failures": 0, "reason": "x"}, "failures is 0"),
    ("start_fallback", {"id": "{id}", "reason": "smoke", "version": "old"}, 'version "old" is not a Semantic Version'),
    ("revoke_release", {"version": "1.5.0"}, 'needs the member "reason"'),
    ("revoke_release", {"version": 15, "reason": "x"}, "accepted is a text"),
    ("define_plan", {"plan": "p", "stages": []}, "0 stages"),
    ("define_plan", {"plan": "p", "stages": STAGES, "success_threshold": 1.5}, "success_threshold is 1.5"),
    ("define_plan", {"plan": "p", "stages": STAGES, "health_timeout": "soon"}, 'member "health_timeout" is "soon"; accepted is a span of time such as 2 hours'),
    ("define_plan", {"plan": "p", "stages": STAGES, "colour": "red"}, 'no member "colour"'),
    ("preview_rollout", {"fleet": "nowhere", "version": "1.5.0"}, "nowhere"),
    ("preview_rollout", {"fleet": "default", "version": "9.9.9"}, "9.9.9"),
    ("preview_rollout", {"fleet": "default", "version": "1.5.0", "limit": 1001}, "1 to 1000"),
    ("start_rollout", {"fleet": "nowhere", "version": "1.5.0"}, "nowhere"),
    ("start_rollout", {"fleet": "default", "version": "1.5.0", "plan": "none"}, "none"),
    ("start_rollout", {"fleet": "default", "version": "1.5.0", "start_at": "yesterday evening"}, '"yesterday evening"; accepted is a time such as 2026-12-20 00:00+01'),
    ("pause_rollout", {"id": 999}, "no rollout 999. The rollouts are in the view"),
    ("pause_rollout", {"id": "1"}, "accepted is an integer"),
    ("pause_rollout", {}, 'needs the member "id"'),
    ("resume_rollout", {"id": 999}, "no rollout 999"),
    ("resume_rollout", {"id": 1.5}, "accepted is an integer"),
    ("resume_rollout", {"id": "{id}"}, "resume is not possible"),
    ("halt_rollout", {"id": 999, "reason": "x"}, "no rollout 999"),
    ("halt_rollout", {"id": "{id}"}, 'needs the member "reason"'),
    ("halt_rollout", {"id": "{id}", "reason": "  "}, "reason"),
    ("cancel_rollout", {"id": 999, "reason": "x"}, "no rollout 999"),
    ("cancel_rollout", {"id": "{id}"}, 'needs the member "reason"'),
    ("cancel_rollout", {"id": None, "reason": "x"}, 'needs the member "id"'),
    ("advance_rollout", {"id": 999}, "no rollout 999"),
    ("advance_rollout", {"id": []}, "accepted is an integer"),
    ("advance_rollout", {"rollout": 1}, 'no member "rollout"'),
    ("retry_device", {"rollout_id": 999, "device_id": "dev-001", "reason": "x"}, "no rollout 999"),
    ("retry_device", {"rollout_id": "{id}", "device_id": "ghost", "reason": "x"}, '"ghost" is not in rollout'),
    ("retry_device", {"rollout_id": "{id}", "device_id": "dev-001"}, 'needs the member "reason"'),
    ("assign_device", {"device_id": "a/b", "fleet": "default"}, '"a/b" cannot name a device'),
    ("assign_device", {"device_id": "dev-001", "fleet": ""}, "fleet is missing"),
    ("assign_device", {"device_id": "dev-001"}, 'needs the member "fleet"'),
    ("assign_gateway", {"device_id": "dev-001", "gateway": "a/b"}, '"a/b" cannot name a gateway'),
    ("assign_gateway", {"gateway": "hub"}, 'needs the member "device_id"'),
    ("assign_gateway", {"device_id": "dev-001", "gateway": 7}, "accepted is a text"),
    ("pin_device", {"device_id": "ghost", "version": "1.5.0", "reason": "x"}, "ghost"),
    ("pin_device", {"device_id": "dev-001", "version": "9.9.9", "reason": "x"}, "9.9.9"),
    ("pin_device", {"device_id": "dev-001", "version": "1.5.0"}, 'needs the member "reason"'),
    ("unpin_device", {"device_id": "ghost"}, "ghost"),
    ("unpin_device", {"device_id": "dev-001"}, "not pinned"),
    ("unpin_device", {"device_id": 1}, "accepted is a text"),
    ("pin_fleet", {"fleet": "nowhere", "version": "1.5.0", "reason": "x"}, "nowhere"),
    ("pin_fleet", {"fleet": "default", "version": "9.9.9", "reason": "x"}, "9.9.9"),
    ("pin_fleet", {"fleet": "default", "version": "1.5.0"}, 'needs the member "reason"'),
    ("unpin_fleet", {"fleet": "nowhere"}, "nowhere"),
    ("unpin_fleet", {"fleet": "default"}, "not pinned"),
    ("unpin_fleet", {}, 'needs the member "fleet"'),
    ("set_window", {"fleet": "default", "timezone": "Mars", "days": ["mon"], "opens": "01:00", "closes": "02:00"}, '"Mars"'),
    ("set_window", {"fleet": "default", "timezone": "UTC", "days": ["someday"], "opens": "01:00", "closes": "02:00"}, "someday"),
    ("set_window", {"fleet": "default", "timezone": "UTC", "days": "mon", "opens": "01:00", "closes": "02:00"}, "a list of texts"),
    ("set_window", {"fleet": "default", "timezone": "UTC", "days": ["mon"], "opens": "25:00", "closes": "02:00"}, "25:00"),
    ("clear_windows", {"fleet": "nowhere"}, "nowhere"),
    ("clear_windows", {"fleet": ["default"]}, "accepted is a text"),
    ("clear_windows", {}, 'needs the member "fleet"'),
    ("add_blackout", {"fleet": "nowhere", "from_at": "2026-12-20T00:00Z", "until_at": "2099-01-01T00:00Z", "reason": "x"}, "nowhere"),
    ("add_blackout", {"from_at": "soon", "until_at": "2099-01-01T00:00Z", "reason": "x"}, '"soon"'),
    ("add_blackout", {"from_at": "2020-01-01T00:00Z", "until_at": "2020-01-02T00:00Z", "reason": "x"}, "which is over"),
    ("add_blackout", {"from_at": "2020-01-01T00:00Z", "until_at": "2020-01-02T00:00Z"}, 'needs the member "reason"'),
    ("remove_blackout", {"blackout_id": 999, "reason": "x"}, "no blackout 999"),
    ("remove_blackout", {"blackout_id": "1", "reason": "x"}, "accepted is an integer"),
    ("remove_blackout", {"blackout_id": 1}, 'needs the member "reason"'),
    ("limit_fleet", {"fleet": "nowhere", "max_per_site": 1, "reason": "x"}, "nowhere"),
    ("limit_fleet", {"fleet": "default", "max_per_gateway": 0, "reason": "x"}, "max_per_gateway is 0"),
    ("limit_fleet", {"fleet": "default", "max_per_site": 1}, 'needs the member "reason"'),
    ("set_fleet_url", {"fleet": "nowhere", "template": "https://h{path}", "reason": "x"}, "nowhere"),
    ("set_fleet_url", {"fleet": "default", "template": "https://h", "reason": "x"}, 'template "https://h" is not acceptable'),
    ("set_fleet_url", {"fleet": "default", "template": "https://h{path}", "credential": "ghost", "reason": "x"}, '"ghost" on broker'),
    ("set_fleet_url", {"fleet": "default", "template": "https://h{path}"}, 'needs the member "reason"'),
    ("clear_fleet_url", {"fleet": "nowhere", "reason": "x"}, "nowhere"),
    ("clear_fleet_url", {"fleet": "default"}, 'needs the member "reason"'),
    ("set_attributes", {"device_id": "ghost", "attributes": {}}, "ghost"),
    ("set_attributes", {"device_id": "dev-001", "attributes": {"site": 7}}, "the site is 7"),
    ("set_attributes", {"device_id": "dev-001", "attributes": "x"}, "an object or a list"),
    ("compare_releases", {"version": "9.9.9"}, "9.9.9"),
    ("compare_releases", {}, 'needs the member "version"'),
    ("compare_releases", {"version": "1.5.0", "fleet": "nowhere"}, "nowhere"),
    ("list_stuck", {"rollout_id": "1"}, "accepted is an integer"),
    ("list_denied", {"limit": 0}, "1 to 1000"),
    ("agenda", {"day": "monday"}, 'no member "day"'),
    ("list_releases", {"limit": 0}, "1 to 1000"),
    ("list_releases", {"state": "verifed"}, "accepted is submitted, verified, rejected or revoked"),
    ("list_rollouts", {"state": "or"}, "accepted is scheduled, running, paused, halted, completed, cancelled or superseded"),
    ("list_rollouts", {"state": 1}, "accepted is scheduled, running"),
    ("list_devices", {"connected": "yes"}, "true or false"),
    ("list_devices", {"state": "verified"}, "accepted is pending, notified"),
    ("show_release", {"version": "9.9.9"}, "no release 9.9.9; accepted is one that list_releases names"),
    ("show_plan", {"plan": "none"}, "no plan none"),
    ("show_rollout", {"id": 999}, "no rollout 999"),
    ("show_device", {"device_id": "ghost"}, "no device ghost"),
    ("show_fleet", {"fleet": "nowhere"}, "no fleet nowhere"),
    ("audit", {"before": "now"}, "accepted is an integer"),
    ("status", {"verbose": True}, 'no member "verbose"; accepted are: none'),
]


def test_every_verb(office, alice):
    document = envelope(office.manifest("1.5.0"), office.signer)
    release = alice.ask("add_release", envelope=document)["release_id"]
    office.wait_release(release)
    assert alice.ask("add_release", envelope=document) == {"release_id": release}
    artifact = alice.ask("add_release", version="1.4.0", url="http://cdn.example.com/f", sha256="ab" * 32, size=7, sequence=500,
                         signature=base64.b64encode(b"not one").decode(), release_notes="é \"x\"")["release_id"]
    office.wait_release(artifact, "rejected")
    assert [one["version"] for one in alice.ask("list_releases")["releases"]] == ["1.4.0", "1.5.0"]
    assert [one["version"] for one in alice.ask("list_releases", state="verified")["releases"]] == ["1.5.0"]
    shown = alice.ask("show_release", version="1.5.0")
    assert shown["state"] == "verified" and shown["submitted_by"] == "alice" and shown["has_envelope"]

    assert alice.ask("define_plan", plan="quick", stages=STAGES, success_threshold=0.9, health_timeout="2 minutes",
                     options={"pacing": "none"}) == {}
    plan = alice.ask("show_plan", plan="quick")
    assert plan["success_threshold"] == 0.9 and plan["defined_by"] == "alice" and len(plan["stages"]) == 2
    assert [one["plan"] for one in alice.ask("list_plans")["plans"]] == ["quick", "standard"]

    devices = office.devices(4)
    wait_for(lambda: office.db.value("SELECT count(*) FROM ota.device WHERE listening AND version = '1.0.0'") == 4, 10)
    preview = alice.ask("preview_rollout", fleet="default", version="1.5.0", plan="quick", limit=3)
    assert [stage["devices"] for stage in preview["stages"]] == [2, 2] and len(preview["devices"]) == 3
    assert preview["included"] == 4 and preview["left_out"] == 0
    rollout = alice.ask("start_rollout", fleet="default", version="1.5.0", plan="quick", reason="over MQTT")["id"]
    assert office.rollout(rollout)["created_by"] == "alice"
    office.wait_rollout(rollout, "running")
    for some in (BAD[n:n + 32] for n in range(0, len(BAD), 32)):
        responses = alice.send(*({"command": command, "correlationData": command, **{
            name: rollout if value == "{id}" else value for name, value in members.items()}} for command, members, _ in some))
        assert len(responses) == len(some)
        for (command, members, words), response in zip(some, responses):
            assert words in response.get("error", ""), (command, members, response)
            assert response["command"] == response["correlationData"] == command

    assert alice.ask("pause_rollout", id=rollout, reason="a look") == {"state": "paused"}
    assert alice.ask("resume_rollout", id=rollout) == {"state": "running"}
    told = wait_for(lambda: [one for one in devices if one.notices()], 10)[0]
    told.fail(told.notices()[0])
    office.wait_update(rollout, told.client_id, ("failed", "cancelled"))
    if office.rollout(rollout)["state"] == "running":
        # The controller may be quicker.
        answer, = alice.send({"command": "halt_rollout", "id": rollout, "reason": "smoke"})
        assert answer.get("data") == {"state": "halted"} or "is halted" in answer["error"], answer
    office.wait_rollout(rollout, "halted")
    assert alice.ask("resume_rollout", id=rollout, reason="no fire") == {"state": "running"}
    assert alice.ask("retry_device", rollout_id=rollout, device_id=told.client_id, reason="new battery") == {}
    shown = alice.ask("show_rollout", id=rollout)
    assert shown["id"] == rollout and [stage["label"] for stage in shown["stages"]] == ["some", "full"]
    assert alice.ask("advance_rollout", id=rollout, reason="go") == {}

    assert alice.ask("list_rollouts", fleet="default", state="running")["rollouts"][0]["id"] == rollout
    assert len(alice.ask("list_devices", rollout_id=rollout)["devices"]) >= 2
    assert [one["device_id"] for one in alice.ask("list_devices", after="dev-001", limit=2)["devices"]] == ["dev-002", "dev-003"]
    assert alice.ask("list_devices", connected=False, fleet="default", version="1.0.0", hardware="x")["devices"] == []
    history = alice.ask("show_device", device_id=told.client_id)["history"]
    assert "device_retry" in [event["kind"] for event in history]
    assert alice.ask("cancel_rollout", id=rollout, reason="enough") == {"state": "cancelled"}
    assert alice.ask("assign_device", device_id="dev-009", fleet="lab") == {}
    assert {one["fleet"]: one["devices"] for one in alice.ask("list_fleets")["fleets"]} == {"default": 4, "lab": 1}
    assert alice.ask("show_fleet", fleet="default")["rollouts"][0]["state"] == "cancelled"
    assert alice.ask("revoke_release", version="1.5.0", reason="it burns") == {}
    status = alice.ask("status")
    assert status["releases"] == {"revoked": 1, "rejected": 1} and status["devices"] == 5 and status["brokers"]

    # Who did it: alice, by the hands of the broker.
    steps = alice.ask("audit", by="alice")["events"]
    kinds = [event["kind"] for event in steps]
    assert {"release_added", "plan_defined", "rollout", "advance_requested", "device_retry", "device_assigned", "fleet_added",
            "release_revoked"} <= set(kinds)
    assert all(event["detail"]["via"] for event in steps)
    assert alice.ask("audit", kind="device_assigned", limit=1)["events"][0]["device_id"] == "dev-009"
    assert len(alice.ask("audit", before=steps[2]["event_id"], by="alice")["events"]) == 2


def test_pins_windows_and_gateways(office, alice):
    office.release("1.5.0")
    office.device("dev-001")
    office.wait_device("dev-001", listening=True, version="1.0.0")
    assert alice.ask("set_window", fleet="default", timezone="Europe/Berlin", days=["mon", "tue"], opens="01:00", closes="02:30") == {}
    window, = alice.ask("show_fleet", fleet="default")["windows"]
    assert window["days"] == [1, 2] and window["opens"] == "01:00:00" and window["closes"] == "02:30:00"
    assert alice.ask("clear_windows", fleet="default") == {"windows": 1}
    assert alice.ask("limit_fleet", fleet="default", max_per_gateway=2, max_per_site=5, reason="docks") == {}
    shown = alice.ask("show_fleet", fleet="default")
    assert (shown["max_per_gateway"], shown["max_per_site"]) == (2, 5)
    assert alice.ask("set_fleet_url", fleet="default", template="https://fw.example.com/a{path}", reason="own server") == {}
    assert alice.ask("show_fleet", fleet="default")["url_template"] == "https://fw.example.com/a{path}"
    assert alice.ask("clear_fleet_url", fleet="default", reason="back") == {}
    assert alice.ask("show_fleet", fleet="default")["url_template"] is None
    assert alice.ask("set_attributes", device_id="dev-001", attributes={"site": "munich"}) == {"attributes": {"site": "munich"}}
    until = office.db.value("SELECT date_trunc('minute', now() + interval '1 hour')")
    blackout = alice.ask("add_blackout", from_at="2026-01-01T00:00:00Z", until_at=until.isoformat(), reason="peak")["blackout_id"]
    listed, = alice.ask("list_blackouts", fleet="default")["blackouts"]
    assert (listed["blackout_id"], listed["fleet"], listed["state"], listed["added_by"]) == (blackout, None, "open", "alice")
    assert alice.ask("show_fleet", fleet="default")["blackouts"][0]["reason"] == "peak"
    shown = alice.ask("preview_rollout", fleet="default", version="1.5.0")
    assert shown["told_now"] is False and shown["blackout"]["reason"] == "peak" and shown["told_from"] == shown["blackout"]["until_at"]
    assert [one["what"] for one in alice.ask("agenda", fleet="default")["agenda"]] == ["blackout ends: peak"]
    assert alice.ask("remove_blackout", blackout_id=blackout, reason="called off") == {}
    shown = alice.ask("preview_rollout", fleet="default", version="1.5.0")
    assert shown["told_now"] is True and shown["blackout"] is None and shown["told_from"] is None
    rollout = alice.ask("pin_device", device_id="dev-001", version="1.5.0", reason="lab")["rollout_id"]
    assert office.rollout(rollout)["created_by"] == "alice"
    assert alice.ask("show_device", device_id="dev-001")["pinned_version"] == "1.5.0"
    assert alice.ask("unpin_device", device_id="dev-001") == {}
    assert "rollout_id" in alice.ask("pin_fleet", fleet="default", version="1.5.0", reason="certified")
    assert alice.ask("list_fleets")["fleets"][0]["pinned_version"] == "1.5.0"
    assert alice.ask("unpin_fleet", fleet="default") == {}
    assert alice.ask("assign_gateway", device_id="beacon-1", gateway="hub-1") == {}
    assert alice.ask("show_device", device_id="beacon-1")["gateway"] == "hub-1"
    assert alice.ask("assign_gateway", device_id="beacon-1") == {}
    assert alice.ask("show_device", device_id="beacon-1")["gateway"] is None


def test_approval_is_a_second_persons(office, alice):
    bob = Operator(office, "bob")
    office.release("1.5.0")
    office.plan("eyes", ("some", 50, "0"), ("full", 100, "0"), options={"pacing": "none", "approval": True, "reboot": False})
    first, second = office.devices(2)
    wait_for(lambda: office.db.value("SELECT count(*) FROM ota.device WHERE listening") == 2, 10)
    rollout = alice.ask("start_rollout", fleet="default", version="1.5.0", plan="eyes")["id"]
    wait_for(lambda: first.notices() or second.notices(), 15, lambda: office.describe(rollout))
    error = alice.refused("advance_rollout", id=rollout)
    assert 'started by "alice"' in error and "somebody else" in error
    assert bob.ask("advance_rollout", id=rollout, reason="checked") == {}
    event = office.wait_event("advance_requested", rollout=rollout)[0]
    assert event["detail"]["by"] == "bob"


def test_two_operators_at_once(office, alice):
    bob = Operator(office, "bob")
    wrong = []

    def ask(operator, fleet):
        for number in range(8):
            operator.ask("assign_device", device_id=f"{fleet}-{number}", fleet=fleet)
            found = operator.ask("list_devices", fleet=fleet, limit=1000)["devices"]
            if len(found) != number + 1:
                wrong.append((fleet, number, found))

    threads = [threading.Thread(target=ask, args=pair) for pair in ((alice, "a"), (bob, "b"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not wrong
    assert len(alice.answers()) == len(bob.answers()) == 16, "each got his own answers, all of them"


def test_large_answers_are_refused(office, alice):
    office.db.execute("INSERT INTO ota.device (device_id, hardware) SELECT 'd' || lpad(n::text, 120, 'x'), repeat('h', 128)"
                      " FROM generate_series(1, 1000) n")
    assert len(alice.ask("list_devices")["devices"]) == 100
    assert "ask for fewer" in alice.refused("list_devices", limit=1000)


def test_slow_commands_end(office, alice):
    """A lock that somebody holds does not hold up the devices' reports for long."""
    # On a row that no pass looks at: one that waits, too, would have the command told that PostgreSQL is away.
    office.db.execute("INSERT INTO ota.device (device_id) VALUES ('dev-1')")
    office.db.execute("BEGIN")
    office.db.execute("SELECT FROM ota.device WHERE device_id = 'dev-1' FOR UPDATE")
    error = alice.refused("assign_device", device_id="dev-1", fleet="lab")
    office.db.execute("ROLLBACK")
    assert "lock timeout" in error
    assert alice.ask("assign_device", device_id="dev-1", fleet="lab") == {}


def test_without_the_database(own_postgres, tmp_path, make_broker):
    from harness import Site

    own_postgres.start()
    site = Site(tmp_path, own_postgres.create_database(), make_broker)
    try:
        users = password_file(tmp_path / "users", "alice")
        site.add_broker(extra=[f"password_file {users}"], control_users="alice")
        alice = Operator(site, "alice")
        assert alice.ask("status")["devices"] == 0
        site.db.close()
        own_postgres.stop()
        site.broker.wait_log("PostgreSQL is away")
        response, = alice.send({"command": "status", "correlationData": "7"})
        assert response["correlationData"] == "7" and "PostgreSQL is away" in response["error"]
        own_postgres.start()
        site.broker.wait_log("PostgreSQL is back", 20)
        assert alice.ask("status")["devices"] == 0
    finally:
        site.close()


def test_a_broker_without_rights_to_tables(office):
    """The broker's login is a member of ota_plugin only: everything works, in the operators' names."""
    login = f"plugin_{office.db.name}"
    office.db.execute(f"CREATE ROLE {login} LOGIN IN ROLE ota_plugin")
    try:
        office.broker.options["database"] = office.db.conninfo.replace("user=postgres", f"user={login}")
        office.broker.restart()
        alice = Operator(office, "alice")
        office.release("1.5.0")
        assert alice.ask("define_plan", plan="quick", stages=STAGES) == {}
        office.device("dev-001")
        office.wait_device("dev-001", listening=True)
        assert alice.ask("preview_rollout", fleet="default", version="1.5.0", plan="quick")["included"] == 1
        rollout = alice.ask("start_rollout", fleet="default", version="1.5.0", plan="quick")["id"]
        assert alice.ask("show_rollout", id=rollout)["created_by"] == "alice"
        for command, members in (("show_device", {"device_id": "dev-001"}), ("show_fleet", {"fleet": "default"}), ("list_devices", {}),
                                 ("list_fleets", {}), ("list_plans", {}), ("list_releases", {}), ("show_release", {"version": "1.5.0"}),
                                 ("status", {})):
            alice.ask(command, **members)
        by = {event["detail"]["by"] for event in alice.ask("audit", rollout_id=rollout)["events"] if event["detail"].get("event") == "create"}
        assert by == {"alice"}
        assert alice.ask("halt_rollout", id=rollout, reason="enough") == {"state": "halted"}
    finally:
        for broker in office.brokers:
            broker.stop()
        office.db.execute(f"DROP ROLE {login}")
