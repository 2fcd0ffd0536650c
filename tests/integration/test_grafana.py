"""The dashboard in examples/grafana: each of its queries, as Grafana would send it, by a login that only reads."""

import json
import pathlib
import re

import pytest

from harness import wait_for

pytestmark = pytest.mark.usefixtures("plugin")

DASHBOARD = pathlib.Path(__file__).resolve().parents[2] / "examples" / "grafana" / "mosquitto-ota.json"


def queries(dashboard):
    """(title, format, SQL) of every panel, annotation and variable."""
    for panel in dashboard["panels"]:
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            yield panel["title"], target["format"], target["rawSql"]
    for annotation in dashboard["annotations"]["list"]:
        yield "annotation " + annotation["name"], "annotation", annotation["target"]["rawSql"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield "variable " + variable["name"], "variable", variable["query"]


def as_grafana_sends(sql, begin, end, values):
    """What Grafana's PostgreSQL data source makes of macros and variables (pkg/tsdb/grafana-postgresql-datasource/macros.go)."""
    sql = re.sub(r"\$__timeGroupAlias\(([^,]+), *\$__interval\)", r'floor(extract(epoch from \1)/300)*300 AS "time"', sql)
    sql = re.sub(r"\$__timeFilter\(([^)]+)\)", rf"\1 BETWEEN '{begin}' AND '{end}'", sql)
    for name, value in values.items():
        sql = re.sub(rf"\${name}\b", value, sql)
    assert "$" not in sql, sql
    return sql


@pytest.fixture
def viewer(site):
    """A login that may read and nothing else; what it sees."""
    name = f"grafana_{site.db.name}"
    site.db.execute(f"CREATE ROLE {name} LOGIN IN ROLE ota_viewer")
    yield site.db.conninfo.replace("user=postgres", f"user={name}")
    site.close()
    site.brokers.clear()
    site.db.execute(f"DROP ROLE {name}")


def test_every_query_of_the_dashboard(site, viewer):
    dashboard = json.loads(DASHBOARD.read_text())
    devices = site.devices(4, fleet="pumps")
    for device in devices:
        site.wait_device(device.client_id, listening=True, fleet="pumps")
    site.db.execute("SELECT ota.set_attributes('dev-001', '{\"site\": \"north\"}'), ota.add_blackout('pumps', '2098-01-01Z', '2098-01-02Z', 'fair')")
    site.release("1.5.0")
    rollout = site.start_rollout("pumps", "1.5.0", site.quick_plan(first=99, success_threshold=0.5, options={"early_halt": False}))
    wait_for(lambda: sum(bool(device.notices()) for device in devices) >= 3, 15, lambda: site.describe(rollout))
    told = [device for device in devices if device.notices()]
    told[0].report("FAILED", error="HASH_MISMATCH")
    site.wait_update(rollout, told[0].client_id, "failed")
    told[1].update(told[1].wait_notice())
    site.wait_update(rollout, told[1].client_id, "succeeded")
    site.client("mallory").publish("fleet/pumps/ota/available", {"version": "6.6.6"})
    wait_for(lambda: site.db.rows("SELECT * FROM ota.denied"), 10)

    begin, end = (value.strftime("%Y-%m-%dT%H:%M:%SZ") for value in site.db.row(
        "SELECT now() - interval '1 hour' AS begin, now() + interval '1 hour' AS until").values())
    owner = site.db.conninfo
    site.db.close()
    site.db.conninfo = viewer
    assert "permission denied" in site.db.refused("DELETE FROM ota.device")
    seen = 0
    for title, kind, sql in queries(dashboard):
        # One fleet, and several with a quotation mark in a name, as a variable with several values is sent.
        for fleets in ("'pumps'", "'default','it''s','pumps'"):
            rows = site.db.rows(as_grafana_sends(sql, begin, end, {"fleet": fleets, "release": "1.5.0"}))
            assert rows, f"{title}: no rows\n{sql}"
            names = list(rows[0])
            if kind == "time_series":
                assert names[:2] == ["time", "metric"] and len(names) == 3, (title, names)
                assert all(isinstance(row[names[2]], (int, float)) and float(row["time"]) % 300 == 0 for row in rows), title
            elif kind == "annotation":
                assert {"time", "text"} <= set(names), names
            elif kind == "variable":
                assert len(names) == 1, names
            assert len(names) == len(set(names)), (title, names)
        seen += 1
    assert seen == sum(len(panel["targets"]) for panel in dashboard["panels"]) + 3 >= 20
    # Nothing of other fleets where the dashboard shows one of them.
    for title, kind, sql in queries(dashboard):
        if "$fleet" in sql and kind == "table":
            rows = site.db.rows(as_grafana_sends(sql, begin, end, {"fleet": "'default'", "release": "1.5.0"}))
            assert not [row for row in rows if row.get("fleet") == "pumps"], title
    site.db.close()
    site.db.conninfo = owner


def test_the_dashboard_is_whole():
    dashboard = json.loads(DASHBOARD.read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    cells = [(x, y) for panel in dashboard["panels"] for pos in [panel["gridPos"]]
             for x in range(pos["x"], pos["x"] + pos["w"]) for y in range(pos["y"], pos["y"] + pos["h"])]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) < 24, "panels overlap"
    sources = {json.dumps(panel["datasource"]) for panel in dashboard["panels"]}
    assert sources == {json.dumps({"type": "grafana-postgresql-datasource", "uid": "${datasource}"})}
