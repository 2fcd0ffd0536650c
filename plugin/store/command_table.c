#include "ota/store/command_table.h"

#include <string.h>

#include "ota/wire/json.h"

#define TEXT(member)                        \
	{                                       \
		member, "text", COMMAND_TEXT, false \
	}
#define TEXT_REQ(member)                   \
	{                                      \
		member, "text", COMMAND_TEXT, true \
	}
#define ID_REQ(member)                          \
	{                                           \
		member, "bigint", COMMAND_INTEGER, true \
	}
#define INTEGER(member)                           \
	{                                             \
		member, "integer", COMMAND_INTEGER, false \
	}
#define BIGINT(member)                           \
	{                                            \
		member, "bigint", COMMAND_INTEGER, false \
	}
#define INTERVAL(member)                        \
	{                                           \
		member, "interval", COMMAND_TEXT, false \
	}
#define LIMIT                                    \
	{                                            \
		"limit", "integer", COMMAND_LIMIT, false \
	}

#define STATE(kind)                  \
	{                                \
		"state", "text", kind, false \
	}

/* Small rows only: the answer to a list has a bound. */
#define RELEASE_COLUMNS                                                                              \
	"l.release_id, l.version, l.sequence, l.state, l.reason, l.size, l.sha256, l.url, l.signed_by, " \
	"l.submitted_at, l.submitted_by"

/* Of a list for one fleet, the first member: a mistyped name is told, instead of nothing found. */
#define FLEET_EXISTS \
	"HAVING $1::text IS NULL OR EXISTS (SELECT FROM ota.fleet f WHERE f.fleet = $1)"

#define EVENT_COLUMNS "e.event_id, e.at, e.broker, e.kind, e.device_id, e.rollout_id, e.detail"
#define EVENT_IS \
	"($1::text IS NULL OR e.kind = $1) AND ($4::text IS NULL OR e.detail ->> 'by' = $4) "

static const struct command table[] = {
	{ "add_release", "add_release", "release_id", NULL, NULL,
		{ { "envelope", "jsonb", COMMAND_JSON, true },
			{ "signature", "bytea", COMMAND_BASE64, false } } },
	{ "add_release", "add_release", "release_id", NULL, NULL,
		{ TEXT_REQ("version"), TEXT_REQ("url"), TEXT_REQ("sha256"), ID_REQ("size"),
			{ "signature", "bytea", COMMAND_BASE64, true }, BIGINT("sequence"),
			TEXT("release_notes") } },
	{ "push_release", "push_release", "id", NULL, NULL,
		{ TEXT_REQ("fleet"), TEXT("version"), TEXT("url"), TEXT("sha256"), BIGINT("size"),
			{ "signature", "bytea", COMMAND_BASE64, false },
			{ "manifest", "jsonb", COMMAND_JSON, false }, TEXT("release_notes"), TEXT("topic"),
			TEXT("client") } },
	{ "revoke_release", "revoke_release", NULL, NULL, NULL,
		{ TEXT_REQ("version"), TEXT_REQ("reason") } },
	{ "define_plan", "define_plan", NULL, NULL, NULL,
		{ TEXT_REQ("plan"), { "stages", "jsonb", COMMAND_JSON, true },
			{ "success_threshold", "numeric", COMMAND_NUMBER, false }, INTERVAL("health_timeout"),
			INTERVAL("download_timeout"), INTEGER("max_in_flight"), INTEGER("per_minute"),
			INTEGER("retries"), { "options", "jsonb", COMMAND_JSON, false } } },
	{ "start_rollout", "start_rollout", "id", NULL, NULL,
		{ TEXT_REQ("fleet"), TEXT_REQ("version"), TEXT("plan"),
			{ "start_at", "timestamptz", COMMAND_TEXT, false }, TEXT("reason") } },
	{ "pause_rollout", "pause_rollout", "state", NULL, NULL, { ID_REQ("id"), TEXT("reason") } },
	{ "resume_rollout", "resume_rollout", "state", NULL, NULL, { ID_REQ("id"), TEXT("reason") } },
	{ "halt_rollout", "halt_rollout", "state", NULL, NULL, { ID_REQ("id"), TEXT_REQ("reason") } },
	{ "cancel_rollout", "cancel_rollout", "state", NULL, NULL,
		{ ID_REQ("id"), TEXT_REQ("reason") } },
	{ "advance_rollout", "advance_rollout", NULL, NULL, NULL, { ID_REQ("id"), TEXT("reason") } },
	{ "start_fallback", "start_fallback", "id", NULL, NULL,
		{ ID_REQ("id"), TEXT_REQ("reason"), TEXT("version") } },
	{ "unquarantine_device", "unquarantine_device", NULL, NULL, NULL,
		{ TEXT_REQ("device_id"), TEXT_REQ("reason") } },
	{ "set_quarantine", "set_quarantine", NULL, NULL, NULL,
		{ TEXT_REQ("fleet"), INTEGER("failures"), TEXT_REQ("reason") } },
	{ "list_quarantine", NULL, NULL,
		"SELECT jsonb_build_object('devices', coalesce(jsonb_agg(to_jsonb(x)), '[]')) FROM (SELECT * FROM "
		"ota.quarantine q WHERE ($1::text IS NULL OR q.fleet = $1) ORDER BY q.quarantined_at DESC, "
		"q.device_id LIMIT coalesce($2, 100)) x " FLEET_EXISTS,
		"fleet", { TEXT("fleet"), LIMIT } },
	{ "retry_device", "retry_device", NULL, NULL, NULL,
		{ ID_REQ("rollout_id"), TEXT_REQ("device_id"), TEXT_REQ("reason") } },
	{ "assign_device", "assign_device", NULL, NULL, NULL,
		{ TEXT_REQ("device_id"), TEXT_REQ("fleet") } },
	{ "assign_gateway", "assign_gateway", NULL, NULL, NULL,
		{ TEXT_REQ("device_id"), TEXT("gateway") } },
	{ "pin_device", "pin_device", "rollout_id", NULL, NULL,
		{ TEXT_REQ("device_id"), TEXT_REQ("version"), TEXT_REQ("reason") } },
	{ "unpin_device", "unpin_device", NULL, NULL, NULL, { TEXT_REQ("device_id") } },
	{ "pin_fleet", "pin_fleet", "rollout_id", NULL, NULL,
		{ TEXT_REQ("fleet"), TEXT_REQ("version"), TEXT_REQ("reason"), TEXT("plan") } },
	{ "unpin_fleet", "unpin_fleet", NULL, NULL, NULL, { TEXT_REQ("fleet") } },
	{ "set_window", "set_window", NULL, NULL, NULL,
		{ TEXT_REQ("fleet"), TEXT_REQ("timezone"), { "days", "text[]", COMMAND_TEXTS, true },
			{ "opens", "time", COMMAND_TEXT, true }, { "closes", "time", COMMAND_TEXT, true } } },
	{ "clear_windows", "clear_windows", "windows", NULL, NULL, { TEXT_REQ("fleet") } },
	{ "limit_fleet", "limit_fleet", NULL, NULL, NULL,
		{ TEXT_REQ("fleet"), INTEGER("max_per_gateway"), INTEGER("max_per_site"),
			TEXT_REQ("reason") } },
	{ "set_fleet_url", "set_fleet_url", NULL, NULL, NULL,
		{ TEXT_REQ("fleet"), TEXT_REQ("template"), TEXT("credential"), TEXT_REQ("reason") } },
	{ "clear_fleet_url", "clear_fleet_url", NULL, NULL, NULL,
		{ TEXT_REQ("fleet"), TEXT_REQ("reason") } },
	{ "set_attributes", "set_attributes", "attributes", NULL, NULL,
		{ TEXT_REQ("device_id"), { "attributes", "jsonb", COMMAND_JSON, true } } },
	{ "add_blackout", "add_blackout", "blackout_id", NULL, NULL,
		{ TEXT("fleet"), { "from_at", "timestamptz", COMMAND_TEXT, true },
			{ "until_at", "timestamptz", COMMAND_TEXT, true }, TEXT_REQ("reason") } },
	{ "remove_blackout", "remove_blackout", NULL, NULL, NULL,
		{ ID_REQ("blackout_id"), TEXT_REQ("reason") } },
	{ "list_blackouts", NULL, NULL,
		"SELECT jsonb_build_object('blackouts', coalesce(jsonb_agg(to_jsonb(x)), '[]')) FROM (SELECT "
		"b.blackout_id, b.fleet, b.from_at, b.until_at, CASE WHEN b.until_at <= now() THEN 'over' WHEN "
		"b.from_at <= now() THEN 'open' ELSE 'scheduled' END AS state, b.reason, b.added_at, b.added_by "
		"FROM ota.blackout b WHERE $1::text IS NULL OR b.fleet = $1 OR b.fleet IS NULL ORDER BY "
		"b.until_at DESC, b.blackout_id LIMIT coalesce($2, 100)) x " FLEET_EXISTS,
		"fleet", { TEXT("fleet"), LIMIT } },
	{ "preview_rollout", "preview_rollout", NULL,
		"WITH p AS MATERIALIZED (SELECT * FROM ota.preview_rollout($1, $2, coalesce($3, 'standard')) "
		"  WITH ORDINALITY AS p (device_id, stage, label, included, reason, current_version, hardware, "
		"  connected, place)) "
		"SELECT jsonb_build_object('included', (SELECT count(*) FROM p WHERE included), "
		"'left_out', (SELECT count(*) FROM p WHERE NOT included), "
		"'told_now', (SELECT w.open FROM ota.window_state($1, now()) w), "
		"'told_from', (SELECT w.next_change FROM ota.window_state($1, now()) w WHERE NOT w.open), "
		"'blackout', (SELECT to_jsonb(b) FROM ota.blackout_state($1, now()) b WHERE b.until_at IS NOT NULL), "
		"'fallback', (SELECT to_jsonb(f) FROM ota.preview_fallback($1, $2, coalesce($3, 'standard')) f), "
		"'stages', coalesce((SELECT jsonb_agg(to_jsonb(s) ORDER BY s.stage) FROM (SELECT stage, label, "
		"  count(*) AS devices, count(*) FILTER (WHERE connected) AS connected FROM p WHERE included "
		"  GROUP BY 1, 2) s), '[]'), "
		"'reasons', coalesce((SELECT jsonb_agg(to_jsonb(s) ORDER BY s.devices DESC, s.reason) FROM "
		"  (SELECT reason, count(*) AS devices FROM p WHERE NOT included GROUP BY 1 ORDER BY 2 DESC "
		"  LIMIT 50) s), '[]'), "
		"'devices', coalesce((SELECT jsonb_agg(to_jsonb(s) - 'place' ORDER BY s.place) FROM (SELECT * "
		"  FROM p ORDER BY place LIMIT coalesce($4, 100)) s), '[]'))",
		NULL, { TEXT_REQ("fleet"), TEXT_REQ("version"), TEXT("plan"), LIMIT } },
	{ "list_releases", NULL, NULL,
		"SELECT jsonb_build_object('releases', coalesce(jsonb_agg(to_jsonb(x)), '[]')) FROM "
		"(SELECT " RELEASE_COLUMNS " FROM ota.release l WHERE ($1::text IS NULL OR l.state = $1) "
		"ORDER BY l.release_id DESC LIMIT coalesce($2, 100)) x",
		NULL, { STATE(COMMAND_RELEASE_STATE), LIMIT } },
	{ "show_release", NULL, NULL,
		"SELECT (to_jsonb(l) - 'envelope' - 'signature') || jsonb_build_object("
		"'has_envelope', l.envelope IS NOT NULL, 'has_signature', l.signature IS NOT NULL, "
		"'rollouts', coalesce((SELECT jsonb_agg(to_jsonb(r) ORDER BY r.id DESC) FROM (SELECT "
		"  o.rollout_id AS id, o.fleet, o.state FROM ota.rollout o WHERE o.release_id = l.release_id "
		"  ORDER BY 1 DESC LIMIT 100) r), '[]')) "
		"FROM ota.release l WHERE l.version = $1 ORDER BY l.state = 'rejected', l.release_id DESC "
		"LIMIT 1",
		"release", { TEXT_REQ("version") } },
	{ "list_plans", NULL, NULL,
		"SELECT jsonb_build_object('plans', coalesce(jsonb_agg(to_jsonb(x)), '[]')) FROM (SELECT "
		"p.plan, (SELECT string_agg(s.label || ' ' || trim_scale(s.percent) || '%', ', ' ORDER BY "
		"s.stage) FROM ota.plan_stage s WHERE s.plan = p.plan) AS stages, p.success_threshold, "
		"p.defined_at, p.defined_by FROM ota.plan p ORDER BY p.plan LIMIT coalesce($1, 100)) x",
		NULL, { LIMIT } },
	{ "show_plan", NULL, NULL,
		"SELECT to_jsonb(p) || jsonb_build_object('stages', coalesce((SELECT jsonb_agg(to_jsonb(s) - "
		"'plan' ORDER BY s.stage) FROM ota.plan_stage s WHERE s.plan = p.plan), '[]')) "
		"FROM ota.plan p WHERE p.plan = $1",
		"plan", { TEXT_REQ("plan") } },
	{ "list_rollouts", NULL, NULL,
		"SELECT jsonb_build_object('rollouts', coalesce(jsonb_agg(to_jsonb(x)), '[]')) FROM (SELECT "
		"p.rollout_id AS id, p.fleet, p.version, p.plan, p.state, p.stage, p.label, p.stages, "
		"p.targeted, p.cohort, p.succeeded, p.failed, p.in_progress, p.next_action, p.next_at, p.reason, "
		"p.created_by FROM ota.rollout_progress p WHERE ($1::text IS NULL OR p.fleet = $1) AND ($2::text IS NULL OR "
		"p.state = $2) ORDER BY p.rollout_id DESC LIMIT coalesce($3, 100)) x " FLEET_EXISTS,
		"fleet", { TEXT("fleet"), STATE(COMMAND_ROLLOUT_STATE), LIMIT } },
	{ "show_rollout", NULL, NULL,
		"SELECT to_jsonb(p) - 'rollout_id' - 'stages' || jsonb_build_object('id', p.rollout_id, "
		"'now', now(), 'stages', (SELECT jsonb_agg(to_jsonb(s) ORDER BY s.stage) FROM (SELECT c.stage, "
		"  c.label, c.percent, c.state, c.opened_at, c.wait_until, c.closed_at, c.eligible, c.cohort, "
		"  c.added, c.notified, c.in_flight, c.succeeded, c.failed, c.rejected, c.verdict FROM "
		"  ota.rollout_stage c WHERE c.rollout_id = p.rollout_id) s), "
		"'errors', CASE WHEN $2 IS NOT FALSE THEN coalesce((SELECT jsonb_agg(to_jsonb(e) ORDER BY e.devices DESC, e.error) "
		"  FROM (SELECT u.state, u.error, count(*) AS devices FROM ota.device_update u WHERE u.rollout_id = "
		"  p.rollout_id AND u.error IS NOT NULL GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 20) e), '[]') ELSE '[]' END) "
		"FROM ota.rollout_progress p WHERE p.rollout_id = $1",
		"rollout", { ID_REQ("id"), { "errors", "boolean", COMMAND_BOOLEAN, false } } },
	{ "list_devices", NULL, NULL,
		"SELECT jsonb_build_object('devices', coalesce(jsonb_agg(to_jsonb(x)), '[]')) FROM (SELECT "
		"d.device_id, d.fleet, d.hardware, d.version, d.pinned_version, d.connected, d.broker, "
		"d.last_seen, u.rollout_id, u.state AS update_state, u.attempt, u.error FROM ota.device d LEFT "
		"JOIN LATERAL (SELECT u.rollout_id, u.state, u.attempt, u.error FROM ota.device_update u WHERE "
		"u.device_id = d.device_id AND u.rollout_id = $5) u ON true WHERE ($1::text IS NULL OR d.fleet = $1) "
		"AND ($2::text IS NULL OR d.version = $2) AND ($3::text IS NULL OR d.hardware = $3) AND ($4::boolean IS NULL OR "
		"d.connected = $4) AND ($5::bigint IS NULL OR u.rollout_id = $5) AND ($6::text IS NULL OR u.state = $6) AND "
		"($7::text IS NULL OR d.device_id > $7) ORDER BY d.device_id LIMIT coalesce($8, 100)) x " FLEET_EXISTS,
		"fleet",
		{ TEXT("fleet"), TEXT("version"), TEXT("hardware"),
			{ "connected", "boolean", COMMAND_BOOLEAN, false }, BIGINT("rollout_id"),
			STATE(COMMAND_UPDATE_STATE), TEXT("after"), LIMIT } },
	{ "show_device", NULL, NULL,
		"SELECT to_jsonb(d) || jsonb_build_object('updates', coalesce((SELECT jsonb_agg(to_jsonb(u) ORDER "
		"BY u.rollout_id DESC) FROM (SELECT u.rollout_id, l.version, u.stage, u.attempt, u.state, "
		"  u.error, u.notified_at, u.deadline, u.finished_at FROM ota.device_update u JOIN ota.rollout o "
		"  USING (rollout_id) JOIN ota.release l USING (release_id) WHERE u.device_id = d.device_id ORDER "
		"  BY 1 DESC LIMIT 20) u), '[]'), 'history', coalesce((SELECT jsonb_agg(to_jsonb(h) - 'event_id' "
		"ORDER BY h.event_id) FROM (SELECT e.event_id, e.at, e.kind, e.rollout_id, e.detail FROM "
		"  ota.event e WHERE e.device_id = d.device_id ORDER BY e.at DESC, e.event_id DESC LIMIT coalesce($2, 20)) "
		"h), '[]')) FROM ota.device d WHERE d.device_id = $1",
		"device", { TEXT_REQ("device_id"), LIMIT } },
	{ "list_stuck", NULL, NULL,
		"SELECT jsonb_build_object('devices', coalesce(jsonb_agg(to_jsonb(x)), '[]')) FROM (SELECT s.* FROM "
		"ota.stuck_devices s WHERE ($1::text IS NULL OR s.fleet = $1) AND ($2::bigint IS NULL OR "
		"s.rollout_id = $2) AND ($3::text IS NULL OR s.device_id = $3) AND ($4::text IS NULL OR s.site = $4) "
		"ORDER BY s.since NULLS LAST, s.device_id LIMIT coalesce($5, 100)) x " FLEET_EXISTS,
		"fleet", { TEXT("fleet"), BIGINT("rollout_id"), TEXT("device_id"), TEXT("site"), LIMIT } },
	{ "list_denied", NULL, NULL,
		"SELECT jsonb_build_object('denied', coalesce(jsonb_agg(to_jsonb(x)), '[]')) FROM (SELECT t.* FROM "
		"ota.denied_today t WHERE $1::text IS NULL OR t.client = $1 ORDER BY t.times DESC, t.last_at DESC "
		"LIMIT coalesce($2, 100)) x",
		NULL, { TEXT("client"), LIMIT } },
	{ "agenda", NULL, NULL,
		"SELECT jsonb_build_object('agenda', coalesce(jsonb_agg(to_jsonb(x)), '[]')) FROM (SELECT a.* FROM "
		"ota.agenda a WHERE $1::text IS NULL OR a.fleet = $1 OR a.fleet IS NULL ORDER BY a.at NULLS LAST, "
		"a.rollout_id LIMIT coalesce($2, 100)) x " FLEET_EXISTS,
		"fleet", { TEXT("fleet"), LIMIT } },
	{ "compare_releases", "compare_releases", NULL,
		"SELECT jsonb_build_object('comparison', coalesce(jsonb_agg(to_jsonb(x) - 'place' ORDER BY x.place), '[]')) "
		"FROM (SELECT c.* FROM ota.compare_releases($1, $2, $3) WITH ORDINALITY AS c (dimension, value, release, told, "
		"succeeded, failed, success_rate, median, p95, other, other_told, other_success_rate, other_median, "
		"other_p95, place) ORDER BY c.place LIMIT coalesce($4, 100)) x",
		NULL, { TEXT_REQ("version"), TEXT("with_version"), TEXT("fleet"), LIMIT } },
	{ "list_fleets", NULL, NULL,
		"SELECT jsonb_build_object('fleets', coalesce(jsonb_agg(to_jsonb(x)), '[]')) FROM (SELECT f.fleet, "
		"f.timezone, f.pinned_version, coalesce(v.devices, 0) AS devices, coalesce(v.connected, 0) AS "
		"connected, v.versions, o.rollout_id, o.state AS rollout_state FROM ota.fleet f LEFT JOIN (SELECT "
		"fleet, sum(devices) AS devices, sum(connected) AS connected, count(version) AS versions FROM "
		"ota.fleet_versions GROUP BY 1) v ON v.fleet = f.fleet LEFT JOIN ota.rollout o ON o.fleet = "
		"f.fleet AND o.state IN ('running', 'paused') ORDER BY f.fleet LIMIT coalesce($1, 100)) x",
		NULL, { LIMIT } },
	{ "show_fleet", NULL, NULL,
		"SELECT to_jsonb(f) || jsonb_build_object('versions', coalesce((SELECT jsonb_agg(to_jsonb(v) - "
		"'fleet' ORDER BY v.devices DESC, v.version) FROM (SELECT * FROM ota.fleet_versions x WHERE x.fleet "
		"= f.fleet ORDER BY x.devices DESC LIMIT 100) v), '[]'), 'rollouts', coalesce((SELECT "
		"jsonb_agg(to_jsonb(r) ORDER BY r.id DESC) FROM (SELECT p.rollout_id AS id, p.version, p.plan, "
		"p.state, p.reason FROM ota.rollout_progress p WHERE p.fleet = f.fleet ORDER BY 1 DESC LIMIT 20) "
		"r), '[]'), 'windows', coalesce((SELECT jsonb_agg(to_jsonb(w) - 'fleet' ORDER BY w.days, w.opens) "
		"FROM ota.fleet_window w WHERE w.fleet = f.fleet), '[]'), 'blackouts', coalesce((SELECT "
		"jsonb_agg(to_jsonb(b) ORDER BY b.from_at) FROM (SELECT x.blackout_id, x.fleet, x.from_at, x.until_at, "
		"x.reason FROM ota.blackout x WHERE (x.fleet = f.fleet OR x.fleet IS NULL) AND x.until_at > now() "
		"ORDER BY x.from_at LIMIT 100) b), '[]')) FROM ota.fleet f WHERE f.fleet = $1",
		"fleet", { TEXT_REQ("fleet") } },
	/* Of one device or rollout by its index, in the order of the time that it has; so a page reads a page, not all there is. */
	{ "audit", NULL, NULL,
		"WITH b AS MATERIALIZED (SELECT e.at FROM ota.event e WHERE e.event_id = $5 LIMIT 1), x AS ("
		"(SELECT " EVENT_COLUMNS
		" FROM ota.event e WHERE $2::text IS NULL AND $3::bigint IS NULL AND " EVENT_IS
		"AND ($5::bigint IS NULL OR e.event_id < $5) ORDER BY e.event_id DESC LIMIT coalesce($6, 100)) UNION ALL "
		"(SELECT " EVENT_COLUMNS
		" FROM ota.event e WHERE ($2::text IS NOT NULL OR $3::bigint IS NOT NULL) "
		"AND ($2::text IS NULL OR e.device_id = $2) AND ($3::bigint IS NULL OR e.rollout_id = $3) AND " EVENT_IS
		"AND ($5::bigint IS NULL OR e.at <= coalesce((SELECT at FROM b), 'infinity') AND (e.event_id < $5 "
		"OR e.at < coalesce((SELECT at FROM b), '-infinity'))) ORDER BY e.at DESC, e.event_id DESC LIMIT coalesce($6, 100))) "
		"SELECT jsonb_build_object('events', coalesce(jsonb_agg(to_jsonb(x) ORDER BY CASE WHEN $2::text IS NULL "
		"AND $3::bigint IS NULL THEN NULL ELSE x.at END, x.event_id), '[]')) FROM x",
		NULL,
		{ TEXT("kind"), TEXT("device_id"), BIGINT("rollout_id"), TEXT("by"), BIGINT("before"),
			LIMIT } },
	{ "status", NULL, NULL,
		"SELECT jsonb_build_object('now', now(), 'schema', (SELECT max(version) FROM "
		"ota.schema_migration), 'brokers', coalesce((SELECT jsonb_agg(to_jsonb(b) ORDER BY b.broker) FROM "
		"(SELECT broker, plugin, started_at, alive_at FROM ota.broker ORDER BY 1 LIMIT 100) b), '[]'), "
		"'devices', (SELECT count(*) FROM ota.device), 'connected', (SELECT count(*) FROM ota.device WHERE "
		"connected), 'releases', coalesce((SELECT jsonb_object_agg(state, n) FROM (SELECT state, count(*) "
		"AS n FROM ota.release GROUP BY 1) s), '{}'), 'rollouts', coalesce((SELECT "
		"jsonb_object_agg(state, n) FROM (SELECT state, count(*) AS n FROM ota.rollout GROUP BY 1) s), "
		"'{}'), 'denied_today', (SELECT count(*) FROM ota.event WHERE kind = 'denied' AND at > now() - "
		"interval '1 day'))",
		NULL, { { NULL, NULL, COMMAND_TEXT, false } } },
};

const struct command *command_table(size_t *count)
{
	*count = sizeof(table) / sizeof(table[0]);
	return table;
}

const struct command *command_find(const struct control_command *command)
{
	const struct command *found = NULL;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct command *row = &table[i];

		if (strcmp(row->name, command->name) != 0) {
			continue;
		}
		found = row;
		if (row->members[0].name && json_member(command->members, row->members[0].name)) {
			break;
		}
	}
	return found;
}
