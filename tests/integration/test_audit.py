"""The audit log: an older installation's, its months, and what shows that somebody has been at it."""

import datetime
import hashlib
import json
import pathlib
import time

import pytest

from harness import Database, wait_for

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
SQL = pathlib.Path(__file__).resolve().parents[2] / "sql"


def older_schema(db, *migrations):
    for name in migrations or ("0001_schema.sql", "0002_standard_plan.sql"):
        db.execute((SQL / "migrations" / name).read_text())


@pytest.mark.parametrize("prepared", [False, True], ids=["as it is", "index made beforehand"])
def test_an_older_log_keeps_its_rows_and_numbers(bare_site, prepared):
    db = bare_site.db
    older_schema(db)
    db.execute("INSERT INTO ota.event (at, broker, device_id, rollout_id, kind, detail)"
               " SELECT now() - n * interval '1 hour', 'broker-1', 'old-' || n %% 10, n %% 3, CASE WHEN n %% 50 = 0 THEN 'denied' ELSE 'status' END,"
               " jsonb_build_object('n', n) FROM generate_series(1, 5000) n WHERE %s = 1", 1)
    db.execute("INSERT INTO ota.event (at, kind) VALUES (now() + interval '2 years', 'ahead of its time'), ('1999-01-01', 'behind')")
    before = db.rows("SELECT * FROM ota.event ORDER BY event_id")
    if prepared:
        db.execute("CREATE UNIQUE INDEX CONCURRENTLY event_before_pkey ON ota.event (event_id, at)")
    bare_site.add_broker()
    wait_for(lambda: db.value("SELECT count(*) FROM ota.event WHERE kind = 'broker_started'") == 1, 10, "the broker has started")
    columns = ", ".join(before[0])
    assert db.rows(f"SELECT {columns} FROM ota.event WHERE position IS NULL ORDER BY event_id") == before
    first = db.row("SELECT min(event_id) AS least, count(*) AS n FROM ota.event WHERE position IS NOT NULL")
    assert first["least"] == before[-1]["event_id"] + 1 and first["n"] >= 1
    assert db.value("SELECT tableoid::regclass::text FROM ota.event WHERE kind = 'ahead of its time'") == "ota.event_other"
    device = bare_site.device("old-1")
    device.report("IDLE")
    bare_site.wait_device("old-1", listening=True)
    story = db.rows("SELECT at, event_id FROM ota.device_history WHERE device_id = 'old-1' ORDER BY at")
    assert len(story) > 500 and story == sorted(story, key=lambda row: (row["at"], row["event_id"]))
    assert db.value("SELECT count(*) FROM ota.denied WHERE at > now() - interval '1 year'") == 100
    # Of the old rows the number is known; retention takes them like a month.
    assert problems(db) == []
    if prepared:
        tamper(db, f"DELETE FROM ota.event WHERE event_id = {before[100]['event_id']}")
        assert problems(db) == [("removed", None, None, None)]
    else:
        db.execute("SELECT ota.set_retention('1 day', 'integration test')")
        wait_for(lambda: not db.value("SELECT more FROM ota.controller_audit_upkeep(date_trunc('month', now(), 'UTC') + interval '35 days')"), 20,
                 "nothing is left to do", every=0.05)
        assert db.value("SELECT to_regclass('ota.event_before')") is None
        assert problems(db) == []


def test_a_spoilt_note_is_said_and_made_anew(site):
    """Whatever lies where the heads are noted: the broker works, and notes again."""
    device = site.device("dev-1")
    site.wait_device("dev-1", listening=True)
    note = site.folder / "state-broker-1" / "audit-heads"
    wait_for(note.exists, 10, "the heads are noted")
    for spoilt, line in (("no JSON at all", "audit-heads' is not readable"),
                         ('{"heads":[{"chain":"broker-1","position":"x","hash":"' + 64 * "0" + '"}]}', "heads of the audit log: "),
                         ('{"heads":[{"chain":"another","position":1,"hash":"' + 64 * "0" + '"}]}', "chain another at position 1: removed")):
        device.disconnect()  # or the two of this name would drive each other out
        site.broker.stop()
        note.write_text(spoilt)
        site.broker.start()
        site.broker.wait_log(line)
        device = site.device("dev-1")
        site.wait_device("dev-1", listening=True)
    site.broker.restart()
    wait_for(lambda: "broker-1" in note.read_text(), 10, "and again")


def test_who_writes_waits_for_nobody(site):
    """Everybody but the brokers takes a chain that is free: a transaction that stays open holds up no other."""
    chains = "SELECT count(*) FROM ota.event_chain WHERE broker IS NULL"
    with Database(site.db.server, site.db.name) as slow:
        slow.execute("BEGIN")
        slow.execute("SELECT ota.audit('slow', NULL, NULL, NULL)")
        site.db.execute("SET lock_timeout = '5s'")
        before = site.db.value(chains)
        for _ in range(3):
            site.db.execute("SELECT ota.audit('quick', NULL, NULL, NULL)")
        # One for the transaction that is open, at most one for the controller, if it is writing at that very moment.
        assert site.db.value(chains) <= before + 2
        slow.execute("COMMIT")
    assert [event["kind"] for event in site.events() if event["kind"] in ("slow", "quick")] == ["slow", "quick", "quick", "quick"]
    assert problems(site.db) == []


def test_a_view_of_somebody_elses_stops_the_upgrade(bare_site):
    db = bare_site.db
    older_schema(db)
    db.execute("CREATE VIEW public.mine AS SELECT count(*) FROM ota.event")
    broker = bare_site.add_broker(ready=False)
    broker.wait_log("mine would go on reading the old one")
    assert db.value("SELECT max(version) FROM ota.schema_migration") == 2
    db.execute("DROP VIEW public.mine")
    bare_site.wait_ready()
    assert db.value("SELECT count(*) FROM pg_inherits WHERE inhparent = 'ota.event'::regclass") >= 3


# -- what somebody does to the rows, with the broker at work

def recomputed(db):
    """The chains as anybody computes them who has only read docs/design/audit.md: (chain, position) whose hash is another."""
    wrong = []
    for chain in db.rows("SELECT chain, name, position, hash FROM ota.event_chain"):
        hashed = hashlib.sha256(b"ota1 chain " + chain["name"].encode()).digest()
        rows = db.rows("SELECT event_id, at, broker, device_id, rollout_id, kind, detail::text AS detail, position, hash FROM ota.event"
                       " WHERE chain = %s ORDER BY position", chain["chain"])
        assert [row["position"] for row in rows] == list(range(1, chain["position"] + 1))
        for row in rows:
            texts = [None if row[name] is None else row[name].encode() for name in ("broker", "device_id", "kind")]
            micros = (row["at"] - EPOCH) // datetime.timedelta(microseconds=1)
            numbers = [row["position"], row["event_id"], micros, row["rollout_id"], *(None if text is None else len(text) for text in texts)]
            head = " ".join(["ota1", *("-" if number is None else str(number) for number in numbers)])
            said = head.encode() + b"\n" + b"".join(text or b"" for text in texts) + row["detail"].encode()
            hashed = hashlib.sha256(hashed + said).digest()
            if hashed != bytes(row["hash"]):
                wrong.append((chain["name"], row["position"]))
            hashed = bytes(row["hash"])
        assert bytes(chain["hash"]) == hashed
    return wrong


def problems(db):
    return [(row["problem"].split(":")[0], row["chain"], row["position"], row["event_id"]) for row in db.rows("SELECT * FROM ota.verify_audit()")]


def tamper(db, *statements):
    """As somebody does who owns the database: no trigger is in his way."""
    db.execute("; ".join(["BEGIN", "SET LOCAL session_replication_role = replica", *statements, "COMMIT"]))


@pytest.fixture
def story(site):
    """A rollout to two devices, one of which has a name that is no ASCII, and a refusal."""
    site.quick_plan(wait="0 seconds")
    devices = [site.device("dev-1"), site.device("gerät-2")]
    for device in devices:
        site.wait_device(device.client_id, listening=True, version="1.0.0")
    site.release("1.5.0")
    rollout = site.start_rollout("default", "1.5.0", "quick", reason="naïve — “quoted”\n\ttext")
    site.update_all(devices, "1.5.0")
    site.wait_rollout(rollout, "completed")
    site.client("evil").publish("devices/dev-1/ota/status", '{"version":"9.9.9"}', wait=False)
    wait_for(lambda: site.db.rows("SELECT * FROM ota.denied"), 10, "a refusal is recorded")
    return site


def test_the_chain_is_what_the_documentation_says(story):
    db = story.db
    assert problems(db) == [] and recomputed(db) == []
    assert db.value("SELECT count(*) FROM ota.event WHERE position IS NULL") == 0, "whatever is written is chained"
    assert db.value("SELECT count(DISTINCT kind) FROM ota.event WHERE broker = 'broker-1'") >= 5
    assert db.value("SELECT count(DISTINCT kind) FROM ota.event WHERE broker IS NULL") >= 4
    row = db.row("SELECT event_id, position FROM ota.event WHERE kind = 'notified' ORDER BY event_id LIMIT 1")
    tamper(db, f"UPDATE ota.event SET device_id = 'dev-9' WHERE event_id = {row['event_id']}")
    assert problems(db) == [("altered", "broker-1", row["position"], row["event_id"])]
    assert recomputed(db) == [("broker-1", row["position"])]


def test_each_way_of_tampering_is_named(story):
    db = story.db
    row = db.row("SELECT event_id, position FROM ota.event WHERE kind = 'denied' ORDER BY event_id LIMIT 1")
    order = db.row("SELECT e.event_id, e.position, c.name FROM ota.event e JOIN ota.event_chain c USING (chain)"
                   " WHERE e.kind = 'rollout' AND e.detail ->> 'event' = 'create'")
    tamper(db, f"UPDATE ota.event SET detail = detail || '{{\"client\": \"nobody\"}}' WHERE event_id = {row['event_id']}")
    tamper(db, f"DELETE FROM ota.event WHERE event_id = {order['event_id']}")
    tamper(db, "INSERT INTO ota.event (kind, device_id) VALUES ('status', 'dev-1')")
    inserted = db.value("SELECT max(event_id) FROM ota.event")
    assert sorted(problems(db), key=str) == sorted([
        ("altered", "broker-1", row["position"], row["event_id"]), ("removed", order["name"], order["position"], None),
        ("inserted", None, None, inserted)], key=str)
    # The broker goes on all the same, and so does the chain.
    story.device("dev-3")
    story.wait_device("dev-3", listening=True)
    assert len(problems(db)) == 3


def test_a_rewritten_chain_shows_against_the_broker_s_own_note(story):
    """Everything computed anew, as an owner can: the database is content, the broker and whoever kept its log are not."""
    db = story.db
    story.broker.restart()  # heads are noted at the start, and once a minute
    story.broker.wait_log("audit log as of now: SELECT \\* FROM ota.verify_audit\\('broker-1', [0-9]+, '[0-9a-f]{64}'\\)")
    listener = story.client("watcher")
    listener.subscribe("$SYS/broker/ota/audit")
    wait_for(lambda: listener.messages, 10, "the heads are published")
    heads = {head["chain"]: head for head in json.loads(listener.messages[-1][1])["heads"]}
    head = heads["broker-1"]
    noted = (head["position"], head["hash"])
    assert db.rows("SELECT * FROM ota.verify_audit('broker-1', %s, %s)", *noted) == []
    story.broker.stop()
    tamper(db, """WITH RECURSIVE w AS (
            SELECT e.event_id, e.position, sha256(ota.event_chain_begin('broker-1') || ota.event_message(e.position, e.event_id, e.at,
                   e.broker, e.device_id, e.rollout_id, e.kind, '{}')) AS hash FROM ota.event e WHERE e.broker = 'broker-1' AND e.position = 1
            UNION ALL
            SELECT e.event_id, e.position, sha256(w.hash || ota.event_message(e.position, e.event_id, e.at, e.broker, e.device_id,
                   e.rollout_id, e.kind, e.detail::text)) FROM w JOIN ota.event e ON e.broker = 'broker-1' AND e.position = w.position + 1)
        UPDATE ota.event e SET hash = w.hash, detail = CASE w.position WHEN 1 THEN '{}' ELSE e.detail END FROM w WHERE w.event_id = e.event_id""",
           "UPDATE ota.event_chain c SET hash = e.hash FROM ota.event e WHERE c.name = 'broker-1' AND e.chain = c.chain AND e.position = c.position")
    assert problems(db) == []
    assert [row["problem"].split(":")[0] for row in db.rows("SELECT * FROM ota.verify_audit('broker-1', %s, %s)", *noted)] == ["rewritten"]
    story.broker.start()
    story.broker.wait_log("the audit log is not what it was")


def test_months_come_and_go_under_a_broker_at_work(story):
    db = story.db
    late = "SELECT ota.event_append('broker-0', ARRAY[%s::bigint, 0, 4102444800000], ARRAY['dev-1', 'dev-1', 'dev-1'], ARRAY[NULL::bigint, NULL, NULL]," \
           " ARRAY['status', 'status', 'status'], ARRAY['{}', '{}', '{}'])"
    db.execute(late, int(time.time() * 1000))
    db.execute("SELECT ota.set_retention('1 day', 'integration test')")
    for month in (1, 2):
        wait_for(lambda: not db.value("SELECT more FROM ota.controller_audit_upkeep(date_trunc('month', now(), 'UTC') + %s * interval '35 days')", month), 20,
                 "nothing is left to do", every=0.05)
    assert db.value("SELECT to_regclass('ota.event_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM'))") is None, "this month is gone"
    assert problems(db) == []
    assert db.value("SELECT count(*) FROM ota.event WHERE kind = 'status' AND at > '2000-01-01' AND at < '2090-01-01'") == 0
    # The broker is still of this month, for which there is no table any more.
    story.device("dev-4").report("IDLE")
    story.wait_event("status", device="dev-4")
    assert db.value("SELECT tableoid::regclass::text FROM ota.event WHERE kind = 'status' AND device_id = 'dev-4' LIMIT 1") == "ota.event_other"
    story.broker.restart()
    wait_for(lambda: db.value("SELECT to_regclass('ota.event_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM'))"), 15, "the month is made again")
    assert db.value("SELECT tableoid::regclass::text FROM ota.event WHERE kind = 'status' AND device_id = 'dev-4' LIMIT 1") != "ota.event_other"
    story.device("dev-5").report("IDLE")
    story.wait_event("status", device="dev-5")
    assert problems(db) == []


# -- many rows at once are hashed by the broker

SAID = [  # with what the broker leaves to the database
    ('{"version":"1.0.0","status":"IDLE","b":[1,2.50,-0,{"zz":null,"y":true}],"a":{"ü":"„x“"}}', False),
    ('{"version":"1.0.0","text":"a\\/b \\"quoted\\" \\n\\t \\\\ end","x":0.10}', False),
    ('  { "version" : "1.0.0" , "list" : [ ] , "object" : { } , "-" : -0.0 }  ', False),
    ('{"version":"1.0.0","big":123456789012345678901234567890,"deep":[[[{"k":[]}]]]}', False),
    ('{"version":"1.0.0","x":1e3}', True),
    ('{"version":"1.0.0","text":"caf\\u00e9"}', True),
]


@pytest.mark.parametrize("mixed", [False, True], ids=["what the broker is certain of", "with what the database has to say"])
def test_a_burst_is_chained_as_single_reports_are(site, mixed):
    db = site.db
    db.execute(f"ALTER DATABASE {db.name} SET track_functions = 'all'")
    site.broker.restart()
    device = site.device("dev-1")
    site.wait_device("dev-1", listening=True, version="1.0.0")
    texts = [text for text, asked in SAID if mixed or not asked] * 20
    with Database(db.server, db.name) as other:
        other.execute("BEGIN")
        other.execute("SELECT FROM ota.broker FOR UPDATE")  # what comes meanwhile is one batch, or two
        for text in texts:
            device.publish("devices/dev-1/ota/status", text)
        other.execute("COMMIT")
    wait_for(lambda: db.value("SELECT count(*) FROM ota.event WHERE kind = 'status' AND device_id = 'dev-1'") >= len(texts) + 1, 20, "all are stored")
    found = [row["detail"] for row in db.rows("SELECT detail FROM ota.event WHERE kind = 'status' ORDER BY event_id")]
    assert found[-len(texts):] == [json.loads(text) for text in texts], "in their order"
    assert problems(db) == [] and recomputed(db) == []
    calls = "SELECT coalesce(sum(calls), 0) FROM pg_stat_user_functions WHERE funcname = 'event_store'"
    if not mixed:
        wait_for(lambda: db.value(calls) > 0, 20, "the broker has hashed them")
    assert "has hashed" not in (db.server.folder / "log").read_text(), "and foretold every text"
