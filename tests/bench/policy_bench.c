/*
 * policy_bench - what the access check costs for topics that are not the plugin's.
 *
 * usage: policy_bench [ROUNDS [ROW]]
 * Prints nanoseconds per check and, where the kernel lets it count, instructions, each minus those of an empty callback.
 * Elsewhere callgrind counts them: --toggle-collect=access_on_check, one row at a time.
 */
#include <inttypes.h>
#include <linux/perf_event.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ota/base/clock.h"
#include "ota/gate/access.h"
#include "ota/gate/state.h"

#include "fake/broker.h"

static int empty(int event, void *data, void *userdata)
{
	(void)event;
	(void)data;
	(void)userdata;
	return MOSQ_ERR_SUCCESS;
}

/* The processor's count of instructions; -1: the kernel or the machine does not tell. */
static int open_counter(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_HARDWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_HW_INSTRUCTIONS,
		.exclude_kernel = 1,
		.exclude_hv = 1,
	};

	return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

struct cost {
	double ns;
	double instructions;
};

static struct cost measure(MOSQ_FUNC_generic_callback volatile function, struct gate *gate,
	struct mosquitto_evt_acl_check *check, long rounds, int counter)
{
	struct cost cost = { 0 };
	uint64_t before = 0;
	uint64_t after = 0;
	int64_t began = clock_mono_us();

	if (counter >= 0 && read(counter, &before, sizeof(before)) != sizeof(before)) {
		before = 0;
	}
	for (long i = 0; i < rounds; i++) {
		function(MOSQ_EVT_ACL_CHECK, check, gate);
	}
	if (counter >= 0 && read(counter, &after, sizeof(after)) != sizeof(after)) {
		after = 0;
	}
	cost.ns = (double)(clock_mono_us() - began) * 1000.0 / (double)rounds;
	cost.instructions = (double)(after - before) / (double)rounds;
	return cost;
}

static enum ota_err append(void *context, const uint8_t *record, size_t length)
{
	(void)context;
	(void)record;
	(void)length;
	return OTA_OK;
}

static void reload(void *context)
{
	(void)context;
}

int main(int argc, char **argv)
{
	static const struct option_pair pairs[] = {
		{ "database", "postgresql:///ota" },
		{ "trusted_keys", "/etc/keys" },
		{ "acl_other_topics", "allow" },
	};
	static const struct {
		int access;
		const char *topic;
	} rows[] = {
		{ MOSQ_ACL_READ, "sensors/building-7/room-12/temperature" },
		{ MOSQ_ACL_WRITE, "sensors/building-7/room-12/temperature" },
		{ MOSQ_ACL_READ, "data/temperature" },
		{ MOSQ_ACL_WRITE, "device/17/temperature" },
		{ MOSQ_ACL_READ, "devices/d1/temperature" },
		{ MOSQ_ACL_WRITE, "devices/d1/temperature" },
		{ MOSQ_ACL_WRITE, "devices/d1/ota/status" },
	};
	const struct gate_links links = { .append = append, .reload = reload };
	long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : 5000000;
	long row = argc > 2 ? strtol(argv[2], NULL, 10) : -1;
	struct mosquitto client = { .id = "d1", .protocol_version = 4, .clean_session = true };
	struct options options;
	struct gate *gate = NULL;
	struct ota_why why = { "" };
	int counter = open_counter();

	fake_reset(false);
	if (rounds < 1 || options_parse(pairs, 3, true, &options, &why) != OTA_OK
		|| gate_start(NULL, &options, &links, false, &gate, &why) != OTA_OK) {
		fprintf(stderr, "policy_bench: %s\n", why.text);
		return 1;
	}
	printf("%-6s %-40s %10s %14s\n", "access", "topic", "ns", "instructions");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct mosquitto_evt_acl_check check = {
			.client = &client,
			.topic = rows[i].topic,
			.access = rows[i].access,
		};
		struct cost base;
		struct cost cost;
		char instructions[32] = "not counted";

		if (row >= 0 && (size_t)row != i) {
			continue;
		}
		base = measure(empty, gate, &check, rounds, counter);
		cost = measure(access_on_check, gate, &check, rounds, counter);
		if (counter >= 0) {
			snprintf(instructions, sizeof(instructions), "%ld",
				lround(cost.instructions - base.instructions));
		}
		printf("%-6s %-40s %10.1f %14s\n", rows[i].access == MOSQ_ACL_READ ? "read" : "write",
			rows[i].topic, cost.ns - base.ns, instructions);
	}
	gate_stop(gate);
	options_free(&options);
	return 0;
}
