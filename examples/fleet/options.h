/*
 * options - the command line of a run: one table gives parsing, ranges and the help text.
 *
 * Thread: the fleet's.  Ownership: texts point into argv, which outlives the options.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	OPTIONS_TOPICS_MAX = 4,
	OPTIONS_KEYS_MAX = 16,
	OPTIONS_FAULTS_MAX = 32
};

/* Misbehaviour of some devices; see options_faults_of(). */
enum fault {
	FAULT_OFFLINE,
	FAULT_LATE,
	FAULT_SLOW,
	FAULT_DEFER,
	FAULT_REJECT,
	FAULT_CORRUPT,
	FAULT_SILENT,
	FAULT_IGNORE_RECALL,
	FAULT_MINIMAL,
	FAULT_FLAPPING,
	FAULT_POWERCUT,
	FAULT_DARK,
	FAULT_COUNT
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

struct fault_rule {
	enum fault fault;
	uint32_t permille; /* share of the fleet; 0 when `device` is set */
	uint32_t device;   /* number of one device; 0 when a share is meant */
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
	uint32_t connect_rate;
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
	uint32_t seed;
	struct text_list faults;
	struct fault_rule fault_rules[OPTIONS_FAULTS_MAX];
	size_t fault_count;
	uint32_t duration;
	const char *until_version;
	const char *csv;
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

/*
 * The faults of one device, as bits (1 << enum fault).  A share is chosen by a hash of the seed,
 * the fault's name and the device's id, so that equal runs harm equal devices.
 */
uint32_t options_faults_of(const struct options *options, const char *device, uint32_t number);
