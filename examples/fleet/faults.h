/*
 * faults - single kinds of misbehaviour that some devices have, whatever their profile.
 *
 * Thread: any; nothing here changes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Misbehaviour of some devices; see faults_of(). */
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

struct fault_rule {
	enum fault fault;
	uint32_t permille; /* share of the fleet; 0 when `device` is set */
	uint32_t device;   /* number of one device; 0 when a share is meant */
};

/* Parse NAME=SHARE; false for anything else. */
bool fault_parse(const char *text, struct fault_rule *rule) __attribute__((warn_unused_result));

/*
 * The faults of one device, as bits (1 << enum fault).  A share is chosen by a hash of the seed,
 * the fault's name and the device's id, so that equal runs harm equal devices.
 */
uint32_t faults_of(const struct fault_rule *rules, size_t count, uint64_t seed, const char *device,
	uint32_t number);

/* Print a line for each fault. */
void faults_print_help(void);
