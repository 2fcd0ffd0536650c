/*
 * options - the command line of a run: one table gives parsing, ranges and the help text.
 *
 * Thread: the fleet's.  Ownership: texts point into argv, which outlives the options.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "faults.h"
#include "profile.h"

enum {
	OPTIONS_TOPICS_MAX = 4,
	OPTIONS_KEYS_MAX = 16,
	OPTIONS_FAULTS_MAX = 32,
	OPTIONS_PROCESSES_MAX = 64,
	OPTIONS_ID_SIZE = 80
};

/* Milliseconds, both ends included. */
struct range {
	uint32_t low;
	uint32_t high;
};

/* A list of texts given by repeating an option. */
struct text_list {
	const char *items[OPTIONS_KEYS_MAX];
	size_t count;
};

/* Which signatures must be there and must verify. */
enum verify_policy {
	VERIFY_PRESENT,
	VERIFY_ARTIFACT,
	VERIFY_MANIFEST,
	VERIFY_BOTH
};

struct options {
	const char *host;
	uint32_t port;
	const char *username;
	const char *password;
	const char *cafile;
	uint32_t keepalive;
	bool persistent;
	struct text_list bind;
	uint32_t connect_rate;
	uint32_t connect_timeout; /* ms */
	uint32_t processes;
	uint32_t devices;
	uint32_t first;
	const char *prefix;
	const char *fleet;
	const char *version;
	uint32_t sequence;
	const char *hardware;
	struct text_list topics;
	bool device_topic;
	const char *status_topic;
	struct text_list keys;
	const char *verify;
	enum verify_policy policy;
	uint32_t threshold;
	const char *http_cafile;
	uint32_t chunk;
	uint32_t max_downloads;
	uint32_t download_retries;
	bool progress;
	const char *slots;
	uint32_t boot_attempts;
	struct range download_delay;
	struct range apply_delay;
	struct range boot_delay;
	struct range health_delay;
	uint32_t health_deadline;
	struct range late_delay;
	struct range slow_delay;
	struct range flap_delay;
	uint32_t retry_after;
	const char *mix;
	struct mix profiles;
	const char *dies_at;
	uint32_t death; /* enum death; DEATH_COUNT: each device its own */
	const char *lies_about;
	uint32_t lie; /* enum lie; LIE_COUNT: each device its own */
	struct range flaky_every;
	struct range flaky_stall;
	const char *flaky_break;
	uint32_t flaky_break_permille;
	uint32_t slow_rate; /* bytes a second */
	struct range slow_boot;
	struct range clone_pause;
	uint32_t seed;
	struct text_list faults;
	struct fault_rule fault_rules[OPTIONS_FAULTS_MAX];
	size_t fault_count;
	uint32_t duration;
	const char *until_version;
	const char *csv;
	const char *events;
	const char *notices;
	const char *reports;
	bool quiet;
	bool help;
};

/*
 * Parse a run's arguments (argv[0] is skipped).  False after a message on stderr that names the
 * option, the value and what is accepted.
 */
bool options_parse(int argc, char **argv, struct options *options)
	__attribute__((warn_unused_result));

/* Print the help text, made from the same table. */
void options_print_help(void);

/* Connections to the file server at once, of one process. */
uint32_t options_downloads_each(const struct options *options);

/* Write the id of device `number`: PREFIX-00001 and so on. */
void options_device_id(const struct options *options, uint32_t number, char *out, size_t size);

/* The device that clone `number` is a clone of: the nearest before it that is none, else the nearest
 * after it; itself when all are clones. */
uint32_t options_cloned(const struct options *options, uint32_t number);
