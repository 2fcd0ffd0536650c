"""Who controls the rollouts, and the states of a rollout in which it may die."""

from .process import wait_for

# When the controller is killed: a condition on rollout %(id)s.
ROWS = "SELECT EXISTS (SELECT FROM ota.device_update WHERE rollout_id = %(id)s AND "
STATES = {
    "scheduled": "SELECT state = 'scheduled' FROM ota.rollout WHERE rollout_id = %(id)s",
    "running": "SELECT state = 'running' FROM ota.rollout WHERE rollout_id = %(id)s",
    "stage open": "SELECT state = 'open' FROM ota.rollout_stage WHERE rollout_id = %(id)s AND stage = 1",
    "granted or claimed": ROWS + "(granted_at IS NOT NULL OR state <> 'pending'))",
    "told": ROWS + "state = 'notified')",
    "in flight": ROWS + "state IN ('downloading', 'verifying', 'applying', 'rebooting', 'succeeded'))",
    "verdict due": "SELECT succeeded = cohort AND cohort > 0 FROM ota.rollout_stage WHERE rollout_id = %(id)s AND stage = 1",
    "second stage": "SELECT current_stage = 2 FROM ota.rollout WHERE rollout_id = %(id)s",
}
ORDERED = ("paused", "halted", "held")  # states that an operator's order leads to


def leader(site):
    """The session that holds the controller's lock: pid, and the name of its broker."""
    row = site.db.row("SELECT a.pid, a.application_name AS name FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
                      " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
                      " AND l.objid::bigint = hashtext('ota.controller')::bigint & 4294967295"
                      " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())")
    return row and {"pid": row["pid"], "broker": row["name"].split()[-1]}


def leading_broker(site):
    found = wait_for(lambda: leader(site), 15, "somebody controls")
    return found, next(one for one in site.brokers if one.options["broker_name"] == found["broker"])


def taken_over(site, before):
    """Waits until another session controls."""
    wait_for(lambda: (leader(site) or before)["pid"] != before["pid"], 15, "another broker controls")


def approve(site, rollout):
    """In the name of somebody who has not started it."""
    site.db.execute("DO $$ BEGIN CREATE ROLE approver SUPERUSER LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$")
    site.db.execute("SET SESSION AUTHORIZATION approver")
    try:
        site.order("advance", rollout)
    finally:
        site.db.execute("RESET SESSION AUTHORIZATION")
