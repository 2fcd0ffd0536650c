#include "options.h"

#include <arpa/inet.h>
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
	{ "bind", "", OPTION_LIST, AT(bind), 0, 0, "ADDRESS", "connect from this address, repeatable: devices take turns; one holds 28,000 connections" },
	{ "connect-rate", "", OPTION_NUMBER, AT(connect_rate), 1, 100000, "N", "connections begun each second, by all processes (1000)" },
	{ "connect-timeout", "", OPTION_NUMBER, AT(connect_timeout), 100, 3600000, "MS", "without the broker's answer by then, another try (10000)" },
	{ "processes", "", OPTION_NUMBER, AT(processes), 1, OPTIONS_PROCESSES_MAX, "N", "share the devices among N processes (1)" },
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
	{ "max-downloads", "", OPTION_NUMBER, AT(max_downloads), 1, 10000, "N", "connections to the file server at once, of all processes (200)" },
	{ "download-retries", "", OPTION_NUMBER, AT(download_retries), 0, 1000, "N", "broken transfers resumed before giving up (5)" },
	{ "progress", "", OPTION_FLAG, AT(progress), 0, 0, "", "report every quarter of a download" },
	{ "slots", "", OPTION_TEXT, AT(slots), 0, 0, "DIR", "keep slots in DIR/<id>/{a.bin,b.bin,boot.json} (in memory)" },
	{ "boot-attempts", "", OPTION_NUMBER, AT(boot_attempts), 1, 100, "N", "boots an unconfirmed image gets (6)" },
	{ "download-delay", "", OPTION_RANGE, AT(download_delay), 0, 0, "MS", "from notice to download (50-200)" },
	{ "apply-delay", "", OPTION_RANGE, AT(apply_delay), 0, 0, "MS", "writing the slot (20-60)" },
	{ "boot-delay", "", OPTION_RANGE, AT(boot_delay), 0, 0, "MS", "rebooting (50-200)" },
	{ "health-delay", "", OPTION_RANGE, AT(health_delay), 0, 0, "MS", "checking after the boot (50-200)" },
	{ "health-deadline", "", OPTION_NUMBER, AT(health_deadline), 100, 86400000, "MS", "no connection by then: health check failed (60000)" },
	{ "mix", "", OPTION_TEXT, AT(mix), 0, 0, "NAME=PERCENT,...", "profiles, such as good=90,flaky=5,dies=5 (good=100); see below" },
	{ "dies-at", "", OPTION_TEXT, AT(dies_at), 0, 0, "STATE", "where dies goes dark: told, downloading, verifying, applying, rebooting, trial or any (any)" },
	{ "lies-about", "", OPTION_TEXT, AT(lies_about), 0, 0, "WHAT", "what lies says: early, version, other, malformed or any (any)" },
	{ "flaky-every", "", OPTION_RANGE, AT(flaky_every), 0, 0, "MS", "from one trouble of a flaky link to the next (5000-20000)" },
	{ "flaky-stall", "", OPTION_RANGE, AT(flaky_stall), 0, 0, "MS", "how long a flaky link lets nothing through (500-3000)" },
	{ "flaky-break", "", OPTION_TEXT, AT(flaky_break), 0, 0, "PERCENT", "ranges that break off on a flaky link (20)" },
	{ "slow-rate", "", OPTION_NUMBER, AT(slow_rate), 1, 1 << 30, "BYTES", "what slow downloads in a second (16384)" },
	{ "slow-boot", "", OPTION_RANGE, AT(slow_boot), 0, 0, "MS", "how long slow boots (5000-15000)" },
	{ "clone-pause", "", OPTION_RANGE, AT(clone_pause), 0, 0, "MS", "how long a clone that was thrown out waits (2000-5000)" },
	{ "fault", "", OPTION_LIST, AT(faults), 0, 0, "NAME=SHARE", "misbehaviour, repeatable; SHARE is 5%, 0.5% or @7 (device number 7)" },
	{ "late-delay", "", OPTION_RANGE, AT(late_delay), 0, 0, "MS", "how late a late device connects (2000-5000)" },
	{ "slow-delay", "", OPTION_RANGE, AT(slow_delay), 0, 0, "MS", "pause of a slow device after each chunk (1000-2000)" },
	{ "flap-delay", "", OPTION_RANGE, AT(flap_delay), 0, 0, "MS", "how long a flapping connection lasts (1000-3000)" },
	{ "retry-after", "", OPTION_NUMBER, AT(retry_after), 1, 86400, "S", "what a deferring device asks for (2)" },
	{ "seed", "", OPTION_NUMBER, AT(seed), 0, UINT32_MAX, "N", "profiles, faults and delays of each device (1)" },
	{ "duration", "", OPTION_NUMBER, AT(duration), 1, 31536000, "S", "stop after so many seconds" },
	{ "until-version", "", OPTION_TEXT, AT(until_version), 0, 0, "V", "stop when all devices that can connect run V" },
	{ "csv", "", OPTION_TEXT, AT(csv), 0, 0, "FILE", "at the end, one line for each device" },
	{ "events", "", OPTION_TEXT, AT(events), 0, 0, "FILE", "one CSV line for each notice and outcome, as they come" },
	{ "notices", "", OPTION_TEXT, AT(notices), 0, 0, "FILE", "append one JSON line for each notice and recall received" },
	{ "reports", "", OPTION_TEXT, AT(reports), 0, 0, "FILE", "append one JSON line for each report the broker acknowledged" },
	{ "quiet", "-q", OPTION_FLAG, AT(quiet), 0, 0, "", "no live line and no summary" },
	{ "help", "", OPTION_FLAG, AT(help), 0, 0, "", "this text" },
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

static bool check_profiles(struct options *options)
{
	const char *accepted = mix_parse(options->mix, &options->profiles);

	if (accepted) {
		return refuse("mix", options->mix, accepted);
	}
	if (!death_parse(options->dies_at, &options->death)) {
		return refuse("dies-at", options->dies_at,
			"told, downloading, verifying, applying, rebooting, trial or any");
	}
	if (!lie_parse(options->lies_about, &options->lie)) {
		return refuse("lies-about", options->lies_about, "early, version, other, malformed or any");
	}
	const char *rest = common_parse_permille(options->flaky_break, &options->flaky_break_permille);

	if (!rest || *rest != '\0') {
		return refuse("flaky-break", options->flaky_break, "a percentage from 0 to 100");
	}
	return true;
}

static bool check_processes(const struct options *options)
{
	struct in6_addr address = { 0 };

	if (options->processes > options->devices) {
		fprintf(stderr,
			"mosquitto_ota_fleet: processes: %u is not accepted; give at most one for each of "
			"the %u devices\n",
			options->processes, options->devices);
		return false;
	}
	for (size_t i = 0; i < options->bind.count; i++) {
		if (inet_pton(AF_INET, options->bind.items[i], &address) != 1
			&& inet_pton(AF_INET6, options->bind.items[i], &address) != 1) {
			return refuse("bind", options->bind.items[i], "an IP address of this machine");
		}
	}
	return true;
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
		if (!fault_parse(options->faults.items[i], &options->fault_rules[i])) {
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
	return check_processes(options) && check_profiles(options);
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
		.connect_timeout = 10000,
		.processes = 1,
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
		.mix = "",
		.dies_at = "any",
		.lies_about = "any",
		.flaky_every = { 5000, 20000 },
		.flaky_stall = { 500, 3000 },
		.flaky_break = "20",
		.slow_rate = 16384,
		.slow_boot = { 5000, 15000 },
		.clone_pause = { 2000, 5000 },
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

uint32_t options_downloads_each(const struct options *options)
{
	return (options->max_downloads + options->processes - 1) / options->processes;
}

void options_device_id(const struct options *options, uint32_t number, char *out, size_t size)
{
	(void)snprintf(out, size, "%s-%05u", options->prefix, number);
}

static bool is_clone(const struct options *options, uint32_t number)
{
	char id[OPTIONS_ID_SIZE] = "";

	options_device_id(options, number, id, sizeof(id));
	return profile_of(&options->profiles, options->seed, id) == PROFILE_CLONE;
}

uint32_t options_cloned(const struct options *options, uint32_t number)
{
	const uint32_t end = options->first + options->devices;

	for (uint32_t other = number; other > options->first; other--) {
		if (!is_clone(options, other - 1)) {
			return other - 1;
		}
	}
	for (uint32_t other = number + 1; other < end; other++) {
		if (!is_clone(options, other)) {
			return other;
		}
	}
	return number;
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
	printf(
		"\nProfiles, for --mix; what is missing to 100 is good:\n"
		"  good           updates as it should\n"
		"  flaky          the link breaks and stalls (--flaky-every, --flaky-stall), transfers break\n"
		"                 off and are resumed (--flaky-break)\n"
		"  slow           downloads slowly (--slow-rate), boots slowly (--slow-boot)\n"
		"  dies           is never seen again from one state of the update on (--dies-at)\n"
		"  bootloop       the new firmware drops off until the boot loader gives it up\n"
		"                 (--boot-attempts)\n"
		"  lies           says SUCCESS without a reboot (early), on another version (version), for\n"
		"                 another device (other), or says what is no report (malformed)\n"
		"  clone          connects with the client id of the device before it (--clone-pause)\n"
		"\nFaults, in addition to the profile:\n");
	faults_print_help();
	printf(
		"\nBehaviours of an image: good, bad (rolls back), dark (never comes back), bootloop,\n"
		"silent-rollback, mixed (40%% bad, 30%% silent-rollback, 30%% dark, by the device's id);\n"
		"--failrate 300 has only 300 permille of the devices meet it, the others find it good.\n\n"
		"Signals: SIGUSR1 prints a table, SIGINT and SIGTERM disconnect and print the summary.\n"
		"Exit status: 0 done, 1 --until-version not reached or a failure, 2 bad options.\n\n"
		"Examples:\n"
		"  mosquitto_ota_fleet make-image --version 2.0.0 --size 1048576 2.0.0.bin\n"
		"  mosquitto_ota_fleet -n 200 --trusted-key release.pub --until-version 2.0.0\n"
		"  mosquitto_ota_fleet -n 500 --mix flaky=10,dies=1 --fault reject=@7 --csv run.csv\n"
		"  mosquitto_ota_fleet -n 30000 --processes 2 --mix flaky=5,slow=5 --duration 600\n"
		"  mosquitto_ota_fleet -n 5 --slots /tmp/devices --device-topic -u '{device}' -P secret\n");
}
