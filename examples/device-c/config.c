#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct field {
	const char *name;
	size_t offset;
	bool is_number;
};

#define TEXT(name)                                  \
	{                                               \
#		name, offsetof(struct config, name), false \
	}
#define NUMBER(name)                               \
	{                                              \
#		name, offsetof(struct config, name), true \
	}

/* clang-format off */
static const struct field fields[] = {
	TEXT(device_id), TEXT(state_directory), TEXT(fleet), TEXT(hardware),
	TEXT(broker_host), TEXT(broker_cafile), TEXT(broker_username), TEXT(broker_password_file),
	TEXT(signature), TEXT(download_cafile), TEXT(battery_file), TEXT(busy_file),
	NUMBER(broker_port), NUMBER(download_tries), NUMBER(backoff_ms), NUMBER(stall_seconds),
	NUMBER(slot_size), NUMBER(boot_attempts), NUMBER(watchdog_seconds), NUMBER(restart_ms),
	NUMBER(health_seconds), NUMBER(battery_min), NUMBER(defer_seconds),
};
/* clang-format on */

static bool copy(config_text to, const char *from)
{
	size_t length = strlen(from);

	if (length == 0 || length >= sizeof(config_text)) {
		return false;
	}
	memcpy(to, from, length + 1);
	return true;
}

static bool parse_number(const char *text, uint64_t *value)
{
	size_t length = strlen(text);

	if (length == 0 || length > 12 || strspn(text, "0123456789") != length) {
		return false;
	}
	*value = strtoull(text, NULL, 10);
	return true;
}

/* A name for the report, a blank, a program. */
static const char *set_check(struct config *config, char *value)
{
	char *command = strchr(value, ' ');

	if (!command || config->checks == CONFIG_CHECKS_MAX) {
		return "accepted are up to 8, each a name and a program";
	}
	*command++ = '\0';
	command += strspn(command, " ");
	return copy(config->check_name[config->checks], value)
			&& copy(config->check_command[config->checks++], command)
		? NULL
		: "accepted are a name and a program";
}

/* NULL, or what is accepted. */
static const char *set(struct config *config, const char *name, char *value)
{
	if (strcmp(name, "health") == 0) {
		return set_check(config, value);
	}
	if (strcmp(name, "trusted_key") == 0) {
		return config->keys < CONFIG_KEYS_MAX && copy(config->trusted_key[config->keys++], value)
			? NULL
			: "accepted are up to 8, each the name of a file";
	}
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		void *place = (char *)config + fields[i].offset;

		if (strcmp(name, fields[i].name) != 0) {
			continue;
		}
		if (fields[i].is_number) {
			return parse_number(value, place) ? NULL : "accepted is a whole number";
		}
		return copy(place, value) ? NULL : "accepted are 1 to 255 characters";
	}
	return "unknown setting; see device.conf.example for all of them";
}

static const char *check(const struct config *config)
{
	if (!config->device_id[0] || strpbrk(config->device_id, "/+#")) {
		return "device_id: needed, without / + and #";
	}
	if (!config->state_directory[0]) {
		return "state_directory: needed";
	}
	if (config->keys == 0) {
		return "trusted_key: needed, a PEM public key";
	}
	if (strcmp(config->signature, "manifest") != 0 && strcmp(config->signature, "artifact") != 0
		&& strcmp(config->signature, "both") != 0) {
		return "signature: accepted are manifest, artifact, both";
	}
	if (config->broker_port < 1 || config->broker_port > 65535) {
		return "broker_port: accepted are 1 to 65535";
	}
	return config->download_tries && config->boot_attempts && config->health_seconds
			&& config->stall_seconds
		? NULL
		: "download_tries, boot_attempts, health_seconds, stall_seconds: at least 1";
}

bool config_load(struct config *config, const char *path)
{
	char line[600] = "";
	unsigned number = 0;
	const char *wrong = NULL;

	*config = (struct config){ .broker_host = "localhost",
		.broker_port = 1883,
		.signature = "manifest",
		.download_tries = 8,
		.backoff_ms = 1000,
		.stall_seconds = 20,
		.slot_size = 1u << 30,
		.boot_attempts = 3,
		.watchdog_seconds = 120,
		.restart_ms = 1000,
		.health_seconds = 50,
		.battery_min = 30,
		.defer_seconds = 300 };
	FILE *file = fopen(path, "r");

	if (!file) {
		fprintf(stderr, "%s: cannot be read\n", path);
		return false;
	}
	while (!wrong && fgets(line, sizeof(line), file)) {
		char *name = line + strspn(line, " \t");
		size_t length = strcspn(name, " \t\r\n");
		char *value = name + length + strspn(name + length, " \t");

		number++;
		value[strcspn(value, "\r\n")] = '\0';
		if (length > 0 && name[0] != '#') {
			name[length] = '\0';
			wrong = set(config, name, value);
			if (wrong) {
				fprintf(stderr, "%s, line %u: %s \"%s\": %s\n", path, number, name, value, wrong);
			}
		}
	}
	fclose(file);
	if (!wrong && (wrong = check(config)) != NULL) {
		fprintf(stderr, "%s: %s\n", path, wrong);
	}
	return !wrong;
}
