#include "faults.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

/* clang-format off */
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

/* `5%`, `0.5%`, `12` (percent) or `@7` after the fault's name. */
bool fault_parse(const char *text, struct fault_rule *rule)
{
	const char *share = strchr(text, '=');
	char *end = NULL;

	for (size_t i = 0; share && i < FAULT_COUNT; i++) {
		if (strlen(fault_names[i].name) != (size_t)(share - text)
			|| strncmp(fault_names[i].name, text, (size_t)(share - text)) != 0) {
			continue;
		}
		*rule = (struct fault_rule){ .fault = (enum fault)i };
		if (share[1] == '@') {
			unsigned long number = strtoul(share + 2, &end, 10);

			rule->device = (uint32_t)number;
			return share[2] >= '1' && share[2] <= '9' && *end == '\0' && number <= UINT32_MAX;
		}
		const char *rest = common_parse_permille(share + 1, &rule->permille);

		return rest && *rest == '\0';
	}
	return false;
}

uint32_t faults_of(const struct fault_rule *rules, size_t count, uint64_t seed, const char *device,
	uint32_t number)
{
	uint32_t bits = 0;

	for (size_t i = 0; i < count; i++) {
		uint64_t share = common_hash(seed, fault_names[rules[i].fault].name, device) % 1000;

		if (rules[i].device ? rules[i].device == number : share < rules[i].permille) {
			bits |= 1u << rules[i].fault;
		}
	}
	return bits;
}

void faults_print_help(void)
{
	for (size_t i = 0; i < FAULT_COUNT; i++) {
		printf("  %-14s %s\n", fault_names[i].name, fault_names[i].help);
	}
}
