"""Stages that wait for somebody: held ones for any operator, approval for another person than who started the rollout.  Over logins of
the database and over $CONTROL."""

import psycopg2
import pytest

from harness import Database, stays, wait_for
from harness.control import Operator, password_file

pytestmark = pytest.mark.usefixtures("plugin")


class ByLogin:
    """An operator with psql: a role of his own, member of ota_operator."""

    def __init__(self, site, name, role="ota_operator"):
        self.name = f"{name}_{site.db.name}"
        site.db.execute(f"CREATE ROLE {self.name} LOGIN IN ROLE {role}")
        self._site = site
        self._db = Database(site.db.server, site.db.name)
        self._db.conninfo = site.db.conninfo.replace("user=postgres", f"user={self.name}")

    def start(self, version, plan):
        return self._db.value("SELECT ota.start_rollout('default', %s, %s, reason => 'by hand')", version, plan)

    def advance(self, rollout, reason):
        self._db.execute("SELECT ota.advance_rollout(%s, %s)", rollout, reason)

    def refused(self, rollout):
        try:
            self.advance(rollout, "please")
        except psycopg2.Error as error:
            return error.pgcode, f"{error.diag.message_primary}. {error.diag.message_hint or ''}"
        raise AssertionError(f"{self.name} may advance rollout {rollout}")

    def leave(self):
        self._db.close()
        self._site.db.execute(f"DROP ROLE {self.name}")


class ByControl:
    """An operator with mosquitto_ota: a user of the broker."""

    def __init__(self, site, name):
        self.name = name
        self._operator = Operator(site, name)

    def start(self, version, plan):
        return self._operator.ask("start_rollout", fleet="default", version=version, plan=plan, reason="by hand")["id"]

    def advance(self, rollout, reason):
        assert self._operator.ask("advance_rollout", id=rollout, reason=reason) == {}

    def refused(self, rollout):
        response, = self._operator.send({"command": "advance_rollout", "id": rollout})
        assert "data" not in response, response
        return response.get("code"), response["error"]

    def leave(self):
        pass


@pytest.fixture(params=[ByLogin, ByControl], ids=["login", "control"])
def people(request, bare_site):
    """anna and bert, who may, at a broker with six devices and a release."""
    users = password_file(bare_site.folder / "users", "anna", "bert", "mallory")
    bare_site.add_broker(extra=[f"password_file {users}"], control_users="anna bert")
    bare_site.release("1.5.0")
    both = [request.param(bare_site, name) for name in ("anna", "bert")]
    yield bare_site, *both
    bare_site.close()
    bare_site.brokers.clear()
    for one in both:
        one.leave()


def fleet(site, count=6):
    devices = site.devices(count)
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening AND version = '1.0.0'") == count, 10)
    return devices


def told(devices):
    return [device for device in devices if device.notices()]


def through_a_stage(site, devices, rollout, count, label):
    """So many devices are told in all; they update, and the stage is held."""
    wait_for(lambda: len(told(devices)) == count, 15, lambda: site.describe(rollout))
    for device in told(devices):
        if device.version != "1.5.0":
            device.update(device.notices()[0])
    wait_for(lambda: site.progress(rollout)[0]["stage_state"] == "held", 15, lambda: site.describe(rollout))
    row = site.progress(rollout)[0]
    wait_for(lambda: site.progress(rollout)[0]["next_action"] == "wait for ota.advance_rollout", 5, lambda: site.describe(rollout))
    assert row["label"] == label
    stays(lambda: len(told(devices)) == count, 1.5, "nobody else is told while it is held")


def test_approval_is_another_persons_for_each_stage(people):
    site, anna, bert = people
    devices = fleet(site)
    site.plan("eyes", ("a", 34, "0 s"), ("b", 67, "0 s"), ("c", 100, "0 s"), options={"pacing": "none", "approval": True})
    rollout = anna.start("1.5.0", "eyes")
    for count, label in ((3, "a"), (5, "b")):
        through_a_stage(site, devices, rollout, count, label)
        code, said = anna.refused(rollout)
        assert code == "42501" and f'rollout {rollout} was started by "{anna.name}", who cannot approve it' in said
        assert "somebody else" in said and "ota.advance_rollout" in said
        assert not site.rollout(rollout)["advance_requested"] and site.progress(rollout)[0]["stage_state"] == "held"
        bert.advance(rollout, f"stage {label} is fine")
    wait_for(lambda: len(told(devices)) == 6, 15, lambda: site.describe(rollout))
    site.update_all(devices, "1.5.0")
    site.wait_rollout(rollout, "completed")
    asked = [(event["detail"]["by"], event["detail"]["reason"]) for event in site.events("advance_requested", rollout=rollout)]
    assert asked == [(bert.name, "stage a is fine"), (bert.name, "stage b is fine")], asked


def test_a_held_stage_goes_on_by_anybody(people):
    site, anna, _ = people
    devices = fleet(site, 4)
    site.db.execute("SELECT ota.define_plan('held', '[{\"label\": \"half\", \"percent\": 50, \"wait\": \"0 s\", \"hold\": true},"
                    " {\"label\": \"all\", \"percent\": 100}]', options => '{\"pacing\": \"none\"}')")
    rollout = anna.start("1.5.0", "held")
    through_a_stage(site, devices, rollout, 2, "half")
    # Whoever may not order anything may not do this either.
    if isinstance(anna, ByLogin):
        viewer = ByLogin(site, "vera", "ota_viewer")
        assert "permission denied" in viewer.refused(rollout)[1]
        viewer.leave()
    else:
        assert "not allowed" in ByControl(site, "mallory").refused(rollout)[1]
    stays(lambda: len(told(devices)) == 2, 1)
    anna.advance(rollout, "looked at it")
    site.update_all(devices, "1.5.0")
    site.wait_rollout(rollout, "completed")
    code, said = anna.refused(rollout)
    assert code == "55000" and f"rollout {rollout} is completed" in said
