#include "ota/ctl/verb.h"

#include <stdio.h>
#include <string.h>

#include "ota/ctl/commands.h"
#include "ota/ctl/program.h"

#define POSITIONAL(name, member, help)                \
	{                                                 \
		name, member, ARGUMENT_TEXT, true, true, help \
	}
#define OPTION(name, member, help)                      \
	{                                                   \
		name, member, ARGUMENT_TEXT, false, false, help \
	}
#define ROLLOUT_ID                                               \
	{                                                            \
		"--id", "id", ARGUMENT_INTEGER, true, true, "its number" \
	}
#define REASON                                                                        \
	{                                                                                 \
		"--reason", "reason", ARGUMENT_TEXT, true, true, "why; kept in the audit log" \
	}
#define REASON_OPTIONAL                                                                \
	{                                                                                  \
		"--reason", "reason", ARGUMENT_TEXT, true, false, "why; kept in the audit log" \
	}
#define LIMIT                                                                 \
	{                                                                         \
		"--limit", "limit", ARGUMENT_INTEGER, false, false, "1 to 1000 (100)" \
	}
#define PLAN    OPTION("--plan", "plan", "how it goes out (standard)")
#define FLEET   POSITIONAL("--fleet", "fleet", "the fleet")
#define VERSION POSITIONAL("--version", "version", "of the release")
#define DEVICE  POSITIONAL("--device", "device_id", "the device")

static const struct verb table[] = {
	{ "release", "sign", NULL, "make a manifest and sign it, on this machine alone",
		"release sign --key release.key --version 1.5.0 --sequence 15 --url "
		"https://cdn.example.com/1.5.0.bin --file 1.5.0.bin --out 1.5.0.json",
		NULL, NULL, NULL, release_sign,
		{ { "--key", "key", ARGUMENT_TEXT, false, true, "private key: PEM; RSA, ECDSA or Ed25519" },
			OPTION("--version", "version", "Semantic Version of the firmware"),
			{ "--sequence", "sequence", ARGUMENT_INTEGER, false, false,
				"above that of every release before" },
			OPTION("--url", "url", "where devices download it"),
			OPTION("--file", "file", "the firmware: its digest and size go into the manifest"),
			{ "--hardware", "hardware", ARGUMENT_LIST, false, false,
				"models that may run it: a,b" },
			{ "--fleets", "fleets", ARGUMENT_LIST, false, false, "fleets that may get it: a,b" },
			OPTION("--min-version", "minVersion", "devices below it need a stepping stone"),
			OPTION("--max-version", "maxVersion", "devices above it are not eligible"),
			OPTION("--not-before", "notBefore", "RFC 3339 time"),
			OPTION("--expires", "expires", "RFC 3339 time"),
			OPTION("--notes", "releaseNotes", "text for people"),
			OPTION("--append", "append", "an envelope: add a signature to it; no manifest is made"),
			OPTION("--out", "out", "write the envelope there (standard output); also -o") } },
	{ "release", "verify", NULL, "check an envelope as the broker would, on this machine alone",
		"release verify 1.5.0.json --trusted-keys keys.d --file 1.5.0.bin", NULL, NULL, NULL,
		release_verify,
		{ POSITIONAL("--envelope", "envelope", "the file that sign wrote"),
			{ "--trusted-keys", "trusted_keys", ARGUMENT_TEXT, false, true,
				"folder of public keys" },
			{ "--threshold", "threshold", ARGUMENT_INTEGER, false, false, "signatures needed (1)" },
			OPTION("--file", "file", "the firmware, to compare with the manifest") } },
	{ "release", "add", "add_release", "submit a release and wait for the broker's verdict",
		"release add 1.5.0.json", NULL, NULL, NULL, release_add,
		{ { "--envelope", "envelope", ARGUMENT_TEXT, true, false, "the file that sign wrote" },
			OPTION("--version", "version",
				"without an envelope (signature_policy artifact): version,"),
			OPTION("--url", "url", "... where devices download it,"),
			OPTION("--file", "file", "... the firmware, and"),
			OPTION("--signature", "signature",
				"what openssl dgst -sha256 -sign wrote for the firmware; with an envelope, too (both)"),
			{ "--sequence", "sequence", ARGUMENT_INTEGER, false, false,
				"the next one when absent" },
			OPTION("--notes", "release_notes", "text for people") } },
	{ "release", "list", "list_releases", "the releases, newest first", "release list", "releases",
		"version sequence state size url signed_by reason", NULL, NULL,
		{ OPTION("--state", "state", "submitted, verified, rejected or revoked"), LIMIT } },
	{ "release", "show", "show_release", "everything about a release", "release show 1.5.0", NULL,
		NULL, NULL, NULL, { VERSION } },
	{ "release", "compare", "compare_releases",
		"how a release did, next to the one before: by hardware and by site",
		"release compare 1.5.0 --with 1.4.0", "comparison",
		"of=dimension value release told ok=succeeded failed rate=success_rate median p95 other "
		"other_told other_rate=other_success_rate other_median other_p95",
		NULL, NULL,
		{ VERSION, OPTION("--with", "with_version", "the other one (the one before)"),
			OPTION("--fleet", "fleet", "rollouts to this fleet only"), LIMIT } },
	{ "release", "revoke", "revoke_release", "recall a release everywhere",
		"release revoke 1.5.0 'bricks revision C'", NULL, NULL, "release {version} is revoked",
		NULL, { VERSION, REASON } },
	{ "plan", "list", "list_plans", "the plans", "plan list", "plans",
		"plan stages threshold=success_threshold by=defined_by", NULL, NULL, { LIMIT } },
	{ "plan", "show", "show_plan", "everything about a plan", "plan show standard", NULL, NULL,
		NULL, NULL, { POSITIONAL("--plan", "plan", "its name") } },
	{ "plan", "define", "define_plan", "define a plan, or define it anew",
		"plan define careful --stage 'canary:1:2 hours' --stage 'half:50:1 day' --stage full:100",
		NULL, NULL, "plan {plan} is defined", plan_define,
		{ POSITIONAL("--plan", "plan", "its name"),
			{ "--stage", "stage", ARGUMENT_REPEATED, false, false,
				"LABEL:PERCENT[:WAIT[:hold]], once for each stage" },
			{ "--stages", "stages", ARGUMENT_JSON, false, false,
				"all stages as JSON instead: [{\"label\":\"a\",\"percent\":1}, ...]" },
			{ "--success-threshold", "success_threshold", ARGUMENT_NUMBER, false, false,
				"share that must succeed (0.95)" },
			OPTION("--health-timeout", "health_timeout",
				"silence allowed after applying (60 seconds)"),
			OPTION("--download-timeout", "download_timeout", "silence allowed before (1 hour)"),
			{ "--max-in-flight", "max_in_flight", ARGUMENT_INTEGER, false, false,
				"devices at once" },
			{ "--per-minute", "per_minute", ARGUMENT_INTEGER, false, false,
				"devices told a minute" },
			{ "--retries", "retries", ARGUMENT_INTEGER, false, false, "further attempts, 0 to 10" },
			{ "--options", "options", ARGUMENT_JSON, false, false,
				"JSON such as {\"pacing\":\"none\",\"approval\":true}" } } },
	{ "rollout", "preview", "preview_rollout", "dry run: which devices, in which stage",
		"rollout preview default 1.5.0", NULL, NULL, NULL, NULL, { FLEET, VERSION, PLAN, LIMIT } },
	{ "rollout", "start", "start_rollout", "send a release to a fleet",
		"rollout start default 1.5.0 --plan standard --reason 'winter release'", NULL, NULL, NULL,
		rollout_start,
		{ FLEET, VERSION, PLAN, OPTION("--start-at", "start_at", "RFC 3339 time (now)"),
			OPTION(
				"--reason", "reason", "why; 'emergency: ...' goes to the whole fleet at once") } },
	{ "rollout", "list", "list_rollouts", "the rollouts, newest first",
		"rollout list --state running", "rollouts",
		"id fleet version plan state stage=label ok=succeeded failed busy=in_progress by=created_by next=next_action",
		NULL, NULL,
		{ OPTION("--fleet", "fleet", "of this fleet"), OPTION("--state", "state", "in this state"),
			LIMIT } },
	{ "rollout", "show", "show_rollout", "everything about a rollout", "rollout show 17", NULL,
		NULL, NULL, NULL, { ROLLOUT_ID } },
	{ "rollout", "watch", "show_rollout", "look on until it ends; exit status 0 when it completed",
		"rollout watch 17", NULL, NULL, NULL, rollout_watch,
		{ ROLLOUT_ID,
			{ "--interval", "interval", ARGUMENT_NUMBER, false, false,
				"seconds between looks (1)" } } },
	{ "rollout", "pause", "pause_rollout", "tell nobody else for now",
		"rollout pause 17 'call at 3'", NULL, NULL, "rollout {id} is {state}", NULL,
		{ ROLLOUT_ID, REASON_OPTIONAL } },
	{ "rollout", "resume", "resume_rollout", "go on after a pause or a halt",
		"rollout resume 17 'false alarm'", NULL, NULL, "rollout {id} is {state}", NULL,
		{ ROLLOUT_ID, REASON_OPTIONAL } },
	{ "rollout", "halt", "halt_rollout", "stop it and recall what has not been applied",
		"rollout halt 17 'smoke'", NULL, NULL, "rollout {id} is {state}", NULL,
		{ ROLLOUT_ID, REASON } },
	{ "rollout", "cancel", "cancel_rollout", "end it for good", "rollout cancel 17 'wrong fleet'",
		NULL, NULL, "rollout {id} is {state}", NULL, { ROLLOUT_ID, REASON } },
	{ "rollout", "advance", "advance_rollout", "close the open stage now, or approve a held one",
		"rollout advance 17 'canaries are fine'", NULL, NULL, "rollout {id} goes on", NULL,
		{ ROLLOUT_ID, REASON_OPTIONAL } },
	{ "rollout", "fallback", "start_fallback",
		"bring devices back from a halted release, in stages",
		"rollout fallback 17 'crashes in the cold' --to 1.4.1", NULL, NULL,
		"rollout {id} brings them back", NULL,
		{ ROLLOUT_ID, REASON,
			OPTION("--to", "version",
				"to this version, of a release with a higher sequence (the plan's fallback)") } },
	{ "device", "list", "list_devices", "devices, by name",
		"device list --fleet default --connected false", "devices",
		"device=device_id fleet hardware version connected last_seen update=update_state error",
		NULL, NULL,
		{ OPTION("--fleet", "fleet", "of this fleet"),
			OPTION("--version", "version", "running this version"),
			OPTION("--hardware", "hardware", "of this model"),
			{ "--connected", "connected", ARGUMENT_BOOLEAN, false, false, "true or false" },
			{ "--rollout", "rollout_id", ARGUMENT_INTEGER, false, false,
				"that are in this rollout" },
			OPTION("--state", "state", "... in this state of its update"),
			OPTION("--after", "after", "begin after this name: the next page"), LIMIT } },
	{ "device", "show", "show_device", "a device with its updates and history",
		"device show sensor-7", NULL, NULL, NULL, NULL, { DEVICE, LIMIT } },
	{ "device", "stuck", "list_stuck", "devices that do not run what they should, and why",
		"device stuck --rollout 17", "devices",
		"device=device_id fleet site version wanted rollout=rollout_id state since reason", NULL,
		NULL,
		{ OPTION("--fleet", "fleet", "of this fleet"),
			{ "--rollout", "rollout_id", ARGUMENT_INTEGER, false, false, "in this rollout" },
			OPTION("--device", "device_id", "this one"), OPTION("--site", "site", "at this site"),
			LIMIT } },
	{ "device", "assign", "assign_device", "put a device into a fleet",
		"device assign sensor-7 lab", NULL, NULL, "device {device_id} is in fleet {fleet}", NULL,
		{ DEVICE, FLEET } },
	{ "device", "gateway", "assign_gateway", "say which client speaks for a device; none: itself",
		"device gateway beacon-7 hub-1", NULL, NULL,
		"device {device_id} has the gateway \"{gateway}\"", NULL,
		{ DEVICE,
			{ "--gateway", "gateway", ARGUMENT_TEXT, true, false, "the gateway's identity" } } },
	{ "device", "set", "set_attributes", "set attributes of a device, such as its site",
		"device set sensor-7 '{\"site\":\"munich\"}'", NULL, NULL,
		"device {device_id} has the attributes {attributes}", NULL,
		{ DEVICE,
			{ "--attributes", "attributes", ARGUMENT_JSON, true, true,
				"an object such as {\"site\":\"munich\"}; {\"site\":null} removes it" } } },
	{ "device", "pin", "pin_device", "hold a device at a version",
		"device pin sensor-7 1.4.0 'lab test'", NULL, NULL,
		"device {device_id} is pinned to {version}", NULL, { DEVICE, VERSION, REASON } },
	{ "device", "unpin", "unpin_device", "let a device follow its fleet again",
		"device unpin sensor-7", NULL, NULL, "device {device_id} is not pinned", NULL, { DEVICE } },
	{ "device", "retry", "retry_device", "give a device another try in a rollout",
		"device retry 17 sensor-7 'new battery'", NULL, NULL,
		"device {device_id} waits for its turn in rollout {rollout_id}", NULL,
		{ { "--rollout", "rollout_id", ARGUMENT_INTEGER, true, true, "the rollout's number" },
			DEVICE, REASON } },
	{ "device", "quarantined", "list_quarantine", "devices that failed too often in a row",
		"device quarantined --fleet default", "devices",
		"device=device_id fleet since=quarantined_at failures version failed=failed_version error",
		NULL, NULL, { OPTION("--fleet", "fleet", "of this fleet"), LIMIT } },
	{ "device", "unquarantine", "unquarantine_device", "let a device take part in rollouts again",
		"device unquarantine sensor-7 'new battery'", NULL, NULL,
		"device {device_id} is not in quarantine", NULL, { DEVICE, REASON } },
	{ "fleet", "list", "list_fleets", "the fleets", "fleet list", "fleets",
		"fleet devices connected versions pinned=pinned_version rollout=rollout_id state=rollout_state",
		NULL, NULL, { LIMIT } },
	{ "fleet", "show", "show_fleet", "a fleet with its versions and rollouts", "fleet show default",
		NULL, NULL, NULL, NULL, { FLEET } },
	{ "fleet", "pin", "pin_fleet", "hold a fleet at a version",
		"fleet pin lab 1.4.0 'certification'", NULL, NULL, "fleet {fleet} is pinned to {version}",
		NULL, { FLEET, VERSION, REASON, PLAN } },
	{ "fleet", "unpin", "unpin_fleet", "let a fleet have new releases again", "fleet unpin lab",
		NULL, NULL, "fleet {fleet} is not pinned", NULL, { FLEET } },
	{ "fleet", "window", "set_window",
		"add a weekly window in which the fleet may be told, or clear them",
		"fleet window default --timezone Europe/Berlin --days mon,tue --opens 02:00 --closes 05:00",
		NULL, NULL, NULL, fleet_window,
		{ FLEET, OPTION("--timezone", "timezone", "a name such as Europe/Berlin"),
			{ "--days", "days", ARGUMENT_LIST, false, false, "on which it opens: mon,tue" },
			OPTION("--opens", "opens", "time of day"), OPTION("--closes", "closes", "time of day"),
			{ "--clear", "clear", ARGUMENT_FLAG, false, false, "remove all windows instead" } } },
	{ "fleet", "limit", "limit_fleet", "how many devices of one place are updated at once",
		"fleet limit default --per-gateway 2 --per-site 5 --reason 'half a dock at most'", NULL,
		NULL, "fleet {fleet} has its limits", NULL,
		{ FLEET,
			{ "--per-gateway", "max_per_gateway", ARGUMENT_INTEGER, false, false,
				"devices behind one gateway (1)" },
			{ "--per-site", "max_per_site", ARGUMENT_INTEGER, false, false,
				"devices of one site; 0: no cap" },
			{ "--reason", "reason", ARGUMENT_TEXT, false, true, "why; kept in the audit log" } } },
	{ "fleet", "url", "set_fleet_url",
		"where the fleet's devices download, or clear it: where the manifest says",
		"fleet url default 'https://fw.s3.eu-central-1.amazonaws.com{path}' --credential fw --reason 'private bucket'",
		NULL, NULL, NULL, fleet_url,
		{ FLEET,
			{ "--template", "template", ARGUMENT_TEXT, true, false,
				"https://host[:port][/prefix]{path}" },
			OPTION("--credential", "credential",
				"sign it with this one of the brokers' credentials (not signed)"),
			{ "--clear", "clear", ARGUMENT_FLAG, false, false, "take it away instead" },
			{ "--reason", "reason", ARGUMENT_TEXT, false, true, "why; kept in the audit log" } } },
	{ "fleet", "quarantine", "set_quarantine",
		"after how many failures in a row a device goes into quarantine",
		"fleet quarantine default --after 5 --reason 'bad radio on site'", NULL, NULL, NULL,
		fleet_quarantine,
		{ FLEET,
			{ "--after", "failures", ARGUMENT_INTEGER, false, false,
				"failed updates in a row, 1 to 1000 (3 from the start)" },
			{ "--never", "never", ARGUMENT_FLAG, false, false, "no quarantine instead" },
			{ "--reason", "reason", ARGUMENT_TEXT, false, true, "why; kept in the audit log" } } },
	{ "fleet", "blackout", NULL, "dates on which nobody is told: add, remove or list them",
		"fleet blackout default --from 2026-12-20T00:00+01 --until 2027-01-07T00:00+01 --reason peak",
		NULL, NULL, NULL, fleet_blackout,
		{ { "--fleet", "fleet", ARGUMENT_TEXT, true, false, "the fleet" },
			{ "--all", "all", ARGUMENT_FLAG, false, false, "every fleet instead" },
			OPTION("--from", "from_at", "RFC 3339 time: its first moment"),
			OPTION("--until", "until_at", "RFC 3339 time: the first moment after it"),
			{ "--remove", "blackout_id", ARGUMENT_INTEGER, false, false,
				"the number of the one to remove" },
			OPTION("--reason", "reason", "why; kept in the audit log"), LIMIT } },
	{ "", "agenda", "agenda", "what happens next, and when", "agenda --fleet default", "agenda",
		"at what fleet rollout=rollout_id version state", NULL, NULL,
		{ OPTION("--fleet", "fleet", "of this fleet"), LIMIT } },
	{ "", "denied", "list_denied", "what the broker refused in the last 24 hours", "denied",
		"denied", "times last=last_at client topic reason brokers", NULL, NULL,
		{ OPTION("--client", "client", "to this client"), LIMIT } },
	{ "", "audit", "audit", "who did what, latest last", "audit --by alice --limit 20", "events",
		"id=event_id at kind device=device_id rollout=rollout_id detail", NULL, NULL,
		{ OPTION("--kind", "kind", "of this kind"),
			OPTION("--device", "device_id", "of this device"),
			{ "--rollout", "rollout_id", ARGUMENT_INTEGER, false, false, "of this rollout" },
			OPTION("--by", "by", "done by this person"),
			{ "--before", "before", ARGUMENT_INTEGER, false, false,
				"events before this id: the page before" },
			LIMIT } },
	{ "", "status", "status", "brokers, devices, releases and rollouts at a glance", "status", NULL,
		NULL, NULL, NULL, { { NULL, NULL, ARGUMENT_TEXT, false, false, NULL } } },
};

const struct verb *verb_table(size_t *count)
{
	*count = sizeof(table) / sizeof(table[0]);
	return table;
}

const struct verb *verb_find(const char *group, const char *name)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (strcmp(table[i].group, group) == 0 && strcmp(table[i].name, name) == 0) {
			return &table[i];
		}
	}
	return NULL;
}

static void print_argument(const struct argument *argument)
{
	(void)printf("  %-20s %s%s\n", argument->name, argument->help,
		argument->required && !argument->positional ? " (required)" : "");
}

void verb_help(const struct verb *verb)
{
	(void)printf(
		"usage: %s %s%s%s", program_usage, verb->group, *verb->group ? " " : "", verb->name);
	for (size_t i = 0; i < VERB_ARGUMENTS_MAX && verb->arguments[i].name; i++) {
		const struct argument *argument = &verb->arguments[i];

		if (argument->positional) {
			(void)printf(argument->required ? " <%s>" : " [%s]", argument->name + 2);
		}
	}
	(void)printf(" [options]\n\n%s.\n\n", verb->summary);
	for (size_t i = 0; i < VERB_ARGUMENTS_MAX && verb->arguments[i].name; i++) {
		print_argument(&verb->arguments[i]);
	}
	(void)printf("\nexample:\n  mosquitto_ota %s\n", verb->example);
}
