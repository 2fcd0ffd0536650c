/*
 * config - the settings of a device, from a file with one "name value" a line.
 *
 * The agent in Python reads the same file; device-python/device.conf.example explains every setting.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	CONFIG_KEYS_MAX = 8,
	CONFIG_CHECKS_MAX = 8
};

typedef char config_text[256];

struct config {
	config_text device_id, state_directory, fleet, hardware;
	config_text broker_host, broker_cafile, broker_username, broker_password_file;
	config_text signature, download_cafile, battery_file, busy_file;
	config_text trusted_key[CONFIG_KEYS_MAX];
	config_text check_name[CONFIG_CHECKS_MAX], check_command[CONFIG_CHECKS_MAX];
	size_t keys, checks;
	uint64_t broker_port, download_tries, backoff_ms, stall_seconds, slot_size;
	uint64_t boot_attempts, watchdog_seconds, restart_ms, health_seconds;
	uint64_t battery_min, defer_seconds;
};

/* Read `path`.  False after a message that names the line, the setting and what is accepted. */
bool config_load(struct config *config, const char *path) __attribute__((warn_unused_result));
