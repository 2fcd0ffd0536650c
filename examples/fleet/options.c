#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "image.h"

enum option_kind {
	OPTION_FLAG,
	OPTION_TEXT,
	OPTION_NUMBER,
	OPTION_RANGE,
	OPTION_LIST
};

struct option_row {
	const char *name;
	const char *letter; /* short form, or "" */
	enum option_kind kind;
	size_t offset;
	uint32_t low;
	uint32_t high;
	const char *value;
	const char *help;
};

#define AT(member) offsetof(struct options, member)

/* clang-format off */
static const struct option_row rows[] = {
	{ "host", "-h", OPTION_TEXT, AT(host), 0, 0, "HOST", "broker (127.0.0.1)" },
	{ "port", "-p", OPTION_NUMBER, AT(port), 1, 65535, "PORT", "its port (1883)" },
	{ "username", "-u", OPTION_TEXT, AT(username), 0, 0, "NAME", "user name; {device} becomes the device's id" },
	{ "password", "-P", OPTION_TEXT, AT(password), 0, 0, "TEXT", "password; {device} becomes the device's id" },
	{ "cafile", "", OPTION_TEXT, AT(cafile), 0, 0, "FILE", "connect with TLS, trusting these certificates" },
	{ "keepalive", "-k", OPTION_NUMBER, AT(keepalive), 5, 65535, "S", "MQTT keep-alive (60)" },
	{ "persistent", "", OPTION_FLAG, AT(persistent), 0, 0, "", "keep the session at the broker while away" },
	{ "connect-rate", "", OPTION_NUMBER, AT(connect_rate), 1, 100000, "N", "connections begun each second (1000)" },
	{ "devices", "-n", OPTION_NUMBER, AT(devices), 1, 1000000, "N", "how many devices (10)" },
	{ "first", "", OPTION_NUMBER, AT(first), 1, 1000000000, "N", "number of the first device (1)" },
	{ "prefix", "", OPTION_TEXT, AT(prefix), 0, 0, "TEXT", "ids are TEXT-00001 ... (device)" },
	{ "fleet", "-f", OPTION_TEXT, AT(fleet), 0, 0, "NAME", "fleet in the topic (default)" },
	{ "version", "", OPTION_TEXT, AT(version), 0, 0, "V", "version of the factory image (1.0.0)" },
	{ "sequence", "", OPTION_NUMBER, AT(sequence), 0, UINT32_MAX, "N", "its manifest sequence, for anti-rollback (0)" },
	{ "hardware", "", OPTION_TEXT, AT(hardware), 0, 0, "MODEL", "hardware model, reported and checked" },
	{ "topic", "-t", OPTION_LIST, AT(topics), 0, 0, "TOPIC", "notify topic, repeatable (fleet/{fleet}/ota/available)" },
	{ "device-topic", "", OPTION_FLAG, AT(device_topic), 0, 0, "", "use devices/{device}/ota/available instead" },
	{ "status-topic", "", OPTION_TEXT, AT(status_topic), 0, 0, "TOPIC", "where to report (devices/{device}/ota/status)" },
	{ "trusted-key", "", OPTION_LIST, AT(keys), 0, 0, "FILE", "pinned public key (PEM), repeatable; without any nothing is verified" },
	{ "verify", "", OPTION_TEXT, AT(verify), 0, 0, "WHAT", "present, artifact, manifest or both (present: all there are, one at least)" },
	{ "threshold", "", OPTION_NUMBER, AT(threshold), 1, OPTIONS_KEYS_MAX, "N", "distinct keys a manifest needs (1)" },
	{ "http-cafile", "", OPTION_TEXT, AT(http_cafile), 0, 0, "FILE", "certificates to trust for https downloads" },
	{ "chunk", "", OPTION_NUMBER, AT(chunk), 1024, 1 << 30, "BYTES", "size of one range request (65536)" },
	{ "max-downloads", "", OPTION_NUMBER, AT(max_downloads), 1, 10000, "N", "connections to the file server at once (200)" },
	{ "download-retries", "", OPTION_NUMBER, AT(download_retries), 0, 1000, "N", "broken transfers resumed before giving up (5)" },
	{ "progress", "", OPTION_FLAG, AT(progress), 0, 0, "", "report every quarter of a download" },
	{ "slots", "", OPTION_TEXT, AT(slots), 0, 0, "DIR", "keep slots in DIR/<id>/{a.bin,b.bin,boot.json} (in memory)" },
	{ "boot-attempts", "", OPTION_NUMBER, AT(boot_attempts), 1, 100, "N", "boots an unconfirmed image gets (6)" },
	{ "download-delay", "", OPTION_RANGE, AT(download_delay), 0, 0, "MS", "from notice to download (50-200)" },
	{ "apply-delay", "", OPTION_RANGE, AT(apply_delay), 0, 0, "MS", "writing the slot (20-60)" },
	{ "boot-delay", "", OPTION_RANGE, AT(boot_delay), 0, 0, "MS", "rebooting (50-200)" },
	{ "health-delay", "", OPTION_RANGE, AT(health_delay), 0, 0, "MS", "checking after the boot (50-200)" },
	{ "health-deadline", "", OPTION_NUMBER, AT(health_deadline), 100, 86400000, "MS", "no connection by then: health check failed (60000)" },
	{ "fault", "", OPTION_LIST, AT(faults), 0, 0, "NAME=SHARE", "misbehaviour, repeatable; SHARE is 5%, 0.5% or @7 (device number 7)" },
	{ "late-delay", "", OPTION_RANGE, AT(late_delay), 0, 0, "MS", "how late a late device connects (2000-5000)" },
	{ "slow-delay", "", OPTION_RANGE, AT(slow_delay), 0, 0, "MS", "pause of a slow device after each chunk (1000-2000)" },
	{ "flap-delay", "", OPTION_RANGE, AT(flap_delay), 0, 0, "MS", "how long a flapping connection lasts (1000-3000)" },
	{ "retry-after", "", OPTION_NUMBER, AT(retry_after), 1, 86400, "S", "what a deferring device asks for (2)" },
	{ "seed", "", OPTION_NUMBER, AT(seed), 0, UINT32_MAX, "N", "choice of devices and delays (1)" },
	{ "duration", "", OPTION_NUMBER, AT(duration), 1, 31536000, "S", "stop after so many seconds" },
	{ "until-version", "", OPTION_TEXT, AT(until_version), 0, 0, "V", "stop when all devices that can connect run V" },
	{ "csv", "", OPTION_TEXT, AT(csv), 0, 0, "FILE", "one line for each notice and outcome" },
	{ "notices", "", OPTION_TEXT, AT(notices), 0, 0, "FILE", "append one JSON line for each notice and recall received" },
	{ "reports", "", OPTION_TEXT, AT(reports), 0, 0, "FILE", "append one JSON line for each report the broker acknowledged" },
	{ "quiet", "-q", OPTION_FLAG, AT(quiet), 0, 0, "", "no live line and no summary" },
	{ "help", "", OPTION_FLAG, AT(help), 0, 0, "", "this text" },
};

static const struct {
	const char *name;
	const char *help;
} fault_names[FAULT_COUNT] = {
	[FAULT_OFFLINE] = { "offline", "never connects" },
	[FAULT_LATE] = { "late", "connects late (--late-delay)" },
	[FAULT_SLOW] = { "slow", "pauses after each chunk (--slow-delay)" },
	[FAULT_DEFER] = { "defer", "answers the first notice with DEFERRED" },
	[FAULT_REJECT] = { "reject", "answers REJECTED" },
	[FAULT_CORRUPT] = { "corrupt", "one byte changes on the way: HASH_MISMATCH" },
	[FAULT_SILENT] = { "silent", "never answers a notice" },
	[FAULT_IGNORE_RECALL] = { "ignore-recall", "goes on after a recall" },
	[FAULT_MINIMAL] = { "minimal", "reports version, status, checks and ts only, and only at the end" },
	[FAULT_FLAPPING] = { "flapping", "the connection keeps breaking (--flap-delay)" },
	[FAULT_POWERCUT] = { "powercut", "loses power once while applying and boots the old slot" },
	[FAULT_DARK] = { "dark", "never comes back from the reboot, whatever the image" },
};
/* clang-format on */

static bool refuse(const char *option, const char *value, const char *accepted)
{
	fprintf(stderr, "mosquitto_ota_fleet: %s: \"%s\" is not accepted; give %s\n", option, value,
		accepted);
	return false;
}

static bool parse_number(const char *text, char **end, uint32_t *value)
{
	errno = 0;
	unsigned long long parsed = strtoull(text, end, 10);

	if (text[0] < '0' || text[0] > '9' || errno != 0 || parsed > UINT32_MAX) {
		return false;
	}
	*value = (uint32_t)parsed;
	return true;
}

static bool set_number(const struct option_row *row, const char *text, void *member)
{
	char accepted[64] = "";
	char *end = NULL;
	uint32_t value = 0;

	if (!parse_number(text, &end, &value) || *end != '\0' || value < row->low
		|| value > row->high) {
		(void)snprintf(accepted, sizeof(accepted), "a number from %lu to %lu",
			(unsigned long)row->low, (unsigned long)row->high);
		return refuse(row->name, text, accepted);
	}
	memcpy(member, &value, sizeof(value));
	return true;
}

static bool set_range(const struct option_row *row, const char *text, void *member)
{
	const uint32_t most = 86400000;
	struct range range = { 0 };
	char *end = NULL;

	if (!parse_number(text, &end, &range.low)) {
		return refuse(row->name, text, "milliseconds such as 100 or 50-200");
	}
	range.high = range.low;
	if ((*end == '-' && !parse_number(end + 1, &end, &range.high)) || *end != '\0'
		|| range.high < range.low || range.high > most) {
		return refuse(row->name, text, "milliseconds such as 100 or 50-200, a day at most");
	}
	memcpy(member, &range, sizeof(range));
	return true;
}

static bool set_option(const struct option_row *row, const char *text, struct options *options)
{
	char *member = (char *)options + row->offset;
	const bool on = true;
	struct text_list list = { 0 };

	switch (row->kind) {
	case OPTION_FLAG:
		memcpy(member, &on, sizeof(on));
		return true;
	case OPTION_NUMBER:
		return set_number(row, text, member);
	case OPTION_RANGE:
		return set_range(row, text, member);
	case OPTION_LIST:
		memcpy(&list, member, sizeof(list));
		if (list.count == OPTIONS_KEYS_MAX) {
			return refuse(row->name, text, "it 16 times at most");
		}
		list.items[list.count++] = text;
		memcpy(member, &list, sizeof(list));
		return true;
	case OPTION_TEXT:
		memcpy(member, &text, sizeof(text));
		return true;
	}
	return false;
}

/* `5%`, `0.5%`, `12` (percent) or `@7` after the fault's name. */
static bool parse_fault(const char *text, struct fault_rule *rule)
{
	const char *share = strchr(text, '=');
	char *end = NULL;
	uint32_t tenths = 0;

	for (size_t i = 0; share && i < FAULT_COUNT; i++) {
		if (strlen(fault_names[i].name) != (size_t)(share - text)
			|| strncmp(fault_names[i].name, text, (size_t)(share - text)) != 0) {
			continue;
		}
		*rule = (struct fault_rule){ .fault = (enum fault)i };
		if (share[1] == '@') {
			return parse_number(share + 2, &end, &rule->device) && *end == '\0' && rule->device > 0;
		}
		if (!parse_number(share + 1, &end, &rule->permille) || rule->permille > 100) {
			return false;
		}
		rule->permille *= 10;
		if (*end == '.') {
			if (!parse_number(end + 1, &end, &tenths) || tenths > 9) {
				return false;
			}
			rule->permille += tenths;
		}
		end += *end == '%';
		return *end == '\0' && rule->permille <= 1000;
	}
	return false;
}

static bool check_options(struct options *options)
{
	static const char *const policies[] = {
		[VERIFY_PRESENT] = "present",
		[VERIFY_ARTIFACT] = "artifact",
		[VERIFY_MANIFEST] = "manifest",
		[VERIFY_BOTH] = "both",
	};
	size_t policy = 0;

	while (policy <= VERIFY_BOTH && strcmp(policies[policy], options->verify) != 0) {
		policy++;
	}
	if (policy > VERIFY_BOTH) {
		return refuse("verify", options->verify, "present, artifact, manifest or both");
	}
	options->policy = (enum verify_policy)policy;
	if (options->policy != VERIFY_PRESENT && options->keys.count == 0) {
		return refuse("verify", options->verify, "a --trusted-key with it");
	}
	if (options->keys.count > 0 && options->threshold > options->keys.count) {
		fprintf(stderr, "mosquitto_ota_fleet: threshold: %u keys are needed, %zu are trusted\n",
			options->threshold, options->keys.count);
		return false;
	}
	if (!image_version_is_valid(options->version)) {
		return refuse("version", options->version, "a version such as 1.0.0");
	}
	if (options->until_version && !image_version_is_valid(options->until_version)) {
		return refuse("until-version", options->until_version, "a version such as 2.0.0");
	}
	if (!*options->prefix || strlen(options->prefix) > 64 || strpbrk(options->prefix, "/+#")) {
		return refuse("prefix", options->prefix, "1 to 64 characters without / + #");
	}
	if (!*options->fleet || strlen(options->fleet) > 128 || strpbrk(options->fleet, "/+#")) {
		return refuse("fleet", options->fleet, "1 to 128 characters without / + #");
	}
	if (options->slots && (!*options->slots || strlen(options->slots) > 400)) {
		return refuse("slots", options->slots, "a path of 1 to 400 characters");
	}
	for (size_t i = 0; i < options->faults.count; i++) {
		if (!parse_fault(options->faults.items[i], &options->fault_rules[i])) {
			return refuse("fault", options->faults.items[i],
				"NAME=SHARE such as slow=5% or reject=@7, names as in --help");
		}
		options->fault_count++;
	}
	if (options->topics.count > OPTIONS_TOPICS_MAX) {
		return refuse("topic", options->topics.items[OPTIONS_TOPICS_MAX], "4 topics at most");
	}
	if (options->device_topic) {
		options->topics = (struct text_list){ { "devices/{device}/ota/available" }, 1 };
	} else if (options->topics.count == 0) {
		options->topics = (struct text_list){ { "fleet/{fleet}/ota/available" }, 1 };
	}
	return true;
}

static const struct option_row *find_row(const char *word)
{
	size_t length = strcspn(word, "=");

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if ((rows[i].letter[0] && strcmp(rows[i].letter, word) == 0)
			|| (strncmp(word, "--", 2) == 0 && strlen(rows[i].name) == length - 2
				&& strncmp(rows[i].name, word + 2, length - 2) == 0)) {
			return &rows[i];
		}
	}
	return NULL;
}

bool options_parse(int argc, char **argv, struct options *options)
{
	*options = (struct options){
		.host = "127.0.0.1",
		.port = 1883,
		.keepalive = 60,
		.connect_rate = 1000,
		.devices = 10,
		.first = 1,
		.prefix = "device",
		.fleet = "default",
		.version = "1.0.0",
		.status_topic = "devices/{device}/ota/status",
		.verify = "present",
		.threshold = 1,
		.chunk = 65536,
		.max_downloads = 200,
		.download_retries = 5,
		.boot_attempts = 6,
		.download_delay = { 50, 200 },
		.apply_delay = { 20, 60 },
		.boot_delay = { 50, 200 },
		.health_delay = { 50, 200 },
		.health_deadline = 60000,
		.late_delay = { 2000, 5000 },
		.slow_delay = { 1000, 2000 },
		.flap_delay = { 1000, 3000 },
		.retry_after = 2,
		.seed = 1,
	};
	for (int i = 1; i < argc; i++) {
		const struct option_row *row = find_row(argv[i]);
		const char *value = row ? strchr(argv[i], '=') : NULL;

		if (!row) {
			return refuse("option", argv[i], "one of those that --help lists");
		}
		if (row->kind == OPTION_FLAG && value) {
			return refuse(row->name, value + 1, "it without a value");
		}
		if (value) {
			value++;
		} else if (row->kind != OPTION_FLAG) {
			value = ++i < argc ? argv[i] : NULL;
			if (!value) {
				return refuse(row->name, "", row->value);
			}
		}
		if (!set_option(row, value, options)) {
			return false;
		}
	}
	return options->help || check_options(options);
}

void options_print_help(void)
{
	printf(
		"mosquitto_ota_fleet: a fleet of simulated devices with A/B slots, as real MQTT clients\n\n"
		"  mosquitto_ota_fleet [OPTION]...\n"
		"  mosquitto_ota_fleet make-image --version V [--behaviour NAME] [--failrate PERMILLE]\n"
		"                      [--size BYTES] [--seed N] FILE\n\n");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char name[64] = "";

		(void)snprintf(name, sizeof(name), "--%s %s", rows[i].name, rows[i].value);
		printf("  %2s %-25s %s\n", rows[i].letter, name, rows[i].help);
	}
	printf("\nFaults:\n");
	for (size_t i = 0; i < FAULT_COUNT; i++) {
		printf("  %-14s %s\n", fault_names[i].name, fault_names[i].help);
	}
	printf(
		"\nBehaviours of an image: good, bad (rolls back), dark (never comes back), bootloop,\n"
		"silent-rollback, mixed (40%% bad, 30%% silent-rollback, 30%% dark, by the device's id);\n"
		"--failrate 300 has only 300 permille of the devices meet it, the others find it good.\n\n"
		"Signals: SIGUSR1 prints a table, SIGINT and SIGTERM disconnect and print the summary.\n"
		"Exit status: 0 done, 1 --until-version not reached or a failure, 2 bad options.\n\n"
		"Examples:\n"
		"  mosquitto_ota_fleet make-image --version 2.0.0 --size 1048576 2.0.0.bin\n"
		"  mosquitto_ota_fleet -n 200 --trusted-key release.pub --until-version 2.0.0\n"
		"  mosquitto_ota_fleet -n 500 --fault slow=10%% --fault reject=@7 --csv run.csv --duration 60\n"
		"  mosquitto_ota_fleet -n 5 --slots /tmp/devices --device-topic -u '{device}' -P secret\n");
}

uint32_t options_faults_of(const struct options *options, const char *device, uint32_t number)
{
	uint32_t bits = 0;

	for (size_t i = 0; i < options->fault_count; i++) {
		const struct fault_rule *rule = &options->fault_rules[i];
		uint64_t share = common_hash(options->seed, fault_names[rule->fault].name, device) % 1000;

		if (rule->device ? rule->device == number : share < rule->permille) {
			bits |= 1u << rule->fault;
		}
	}
	return bits;
}
