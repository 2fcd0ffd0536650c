/*
 * docs/design/rules.md shows the two state tables and what the stage rules cost in devices.  Those parts are made here
 * from the code and compared with the page; "rules_rules_page_test --print" prints them for pasting.
 */
#include "ota/rules/rollout_state.h"
#include "ota/rules/update_state.h"

#include "rules/cases.h"
#include "rules/stage_simulation.h"

enum {
	PAGE_MAX = 64 * 1024
};

/* Does this event lead from every state in flight to `to`? */
static bool is_common(enum update_event event, enum update_state to)
{
	for (int i = 0; i < UPDATE_STATE_COUNT; i++) {
		if (update_state_is_in_flight((enum update_state)i)) {
			const struct update_transition *row = update_next((enum update_state)i, event);

			if (!row || row->to != to) {
				return false;
			}
		}
	}
	return !update_state_is_in_flight(to);
}

/* One arrow for all events that lead from `from` to `to`; from == COUNT: the arrows common to all in flight. */
static void print_update_arrow(FILE *out, enum update_state from, enum update_state to)
{
	bool common = from == UPDATE_STATE_COUNT;
	const char *glue = ": ";

	for (int i = 0; i < UPDATE_EVENT_COUNT; i++) {
		enum update_event event = (enum update_event)i;
		const struct update_transition *row = common ? NULL : update_next(from, event);
		bool shared = is_common(event, to);
		bool drawn =
			common ? shared : row && row->to == to && !(shared && update_state_is_in_flight(from));

		if (drawn && glue[0] == ':') {
			(void)fprintf(out, "    %s --> %s", common ? "in_flight" : update_state_name(from),
				update_state_name(to));
		}
		if (drawn) {
			(void)fprintf(out, "%s%s", glue, update_event_name(event));
			glue = ", ";
		}
	}
	if (glue[0] == ',') {
		(void)fprintf(out, "\n");
	}
}

static void print_update_diagram(FILE *out)
{
	(void)fprintf(out, "```mermaid\nstateDiagram-v2\n    [*] --> pending\n    state in_flight {\n");
	for (int from = 0; from < UPDATE_STATE_COUNT; from++) {
		for (int to = 0; to < UPDATE_STATE_COUNT; to++) {
			if (from != to && update_state_is_in_flight((enum update_state)from)
				&& update_state_is_in_flight((enum update_state)to)) {
				print_update_arrow(out, (enum update_state)from, (enum update_state)to);
			}
		}
	}
	(void)fprintf(out, "    }\n");
	for (int from = 0; from <= UPDATE_STATE_COUNT; from++) {
		for (int to = 0; to < UPDATE_STATE_COUNT; to++) {
			bool inside = update_state_is_in_flight((enum update_state)from)
				&& update_state_is_in_flight((enum update_state)to);

			if (from != to && !inside) {
				print_update_arrow(out, (enum update_state)from, (enum update_state)to);
			}
		}
	}
	(void)fprintf(out, "```\n");
}

static void print_rollout_diagram(FILE *out)
{
	size_t count = 0;
	const struct rollout_transition *table = rollout_transitions(&count);

	(void)fprintf(out, "```mermaid\nstateDiagram-v2\n    [*] --> scheduled\n");
	for (size_t i = 0; i < count; i++) {
		(void)fprintf(out, "    %s --> %s: %s\n", rollout_state_name(table[i].from),
			rollout_state_name(table[i].to), rollout_event_name(table[i].event));
	}
	(void)fprintf(out, "    cancelled --> [*]\n    superseded --> [*]\n```\n");
}

enum {
	RUNS = 1001
};

struct summary {
	int64_t median_harmed;
	int halted_percent;
};

static int compare_counts(const void *left, const void *right)
{
	const int64_t *a = left;
	const int64_t *b = right;

	return (*a > *b) - (*a < *b);
}

static struct summary run_many(int64_t bad_ppm, bool slow_start, bool early_halt)
{
	const struct simulated_stage stage = {
		.devices = 100,
		.bad_ppm = bad_ppm,
		.slow_start = slow_start,
		.early_halt = early_halt,
		.threshold_ppm = 950000,
	};
	static int64_t harmed[RUNS];
	uint64_t seed = 20260131;
	int halts = 0;

	for (int i = 0; i < RUNS; i++) {
		struct simulated_end end = simulate_stage(&stage, &seed);

		harmed[i] = end.harmed;
		halts += end.decision.verdict == VERDICT_HALT ? 1 : 0;
	}
	qsort(harmed, RUNS, sizeof(harmed[0]), compare_counts);
	return (struct summary){ harmed[RUNS / 2], (halts * 100 + RUNS / 2) / RUNS };
}

static void print_harm_table(FILE *out)
{
	static const int percents[] = { 100, 50, 20, 10, 5, 1 };

	(void)fprintf(out,
		"| devices that fail | all at once | slow start, no early halt "
		"| slow start and early halt | of these halted |\n|---|---|---|---|---|\n");
	for (size_t i = 0; i < sizeof(percents) / sizeof(percents[0]); i++) {
		int64_t ppm = (int64_t)percents[i] * 10000;
		struct summary both = run_many(ppm, true, true);

		(void)fprintf(out, "| %d %% | %" PRId64 " | %" PRId64 " | **%" PRId64 "** | %d %% |\n",
			percents[i], run_many(ppm, false, true).median_harmed,
			run_many(ppm, true, false).median_harmed, both.median_harmed, both.halted_percent);
	}
}

struct part {
	const char *name;
	void (*print)(FILE *out);
};

static const struct part parts[] = {
	{ "device update", print_update_diagram },
	{ "rollout", print_rollout_diagram },
	{ "harm", print_harm_table },
};

/* A part with its two marks, as it stands in the page. */
static void print_part(FILE *out, const struct part *part)
{
	(void)fprintf(out, "<!-- made from the code: %s -->\n", part->name);
	part->print(out);
	(void)fprintf(out, "<!-- end: %s -->\n", part->name);
}

static void the_page_shows_what_the_code_does(void **state)
{
	static char page[PAGE_MAX];
	static char expected[PAGE_MAX];
	char path[512];
	FILE *file;

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/../../../docs/design/rules.md", OTA_CASES_DIR);
	file = fopen(path, "r");
	if (!file) {
		fail_msg("%s cannot be opened", path);
		return;
	}
	page[fread(page, 1, sizeof(page) - 1, file)] = '\0';
	(void)fclose(file);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		memset(expected, 0, sizeof(expected));
		file = fmemopen(expected, sizeof(expected) - 1, "w");
		assert_non_null(file);
		print_part(file, &parts[i]);
		assert_int_equal(fclose(file), 0);
		if (!strstr(page, expected)) {
			fail_msg(
				"the part \"%s\" of docs/design/rules.md must read:\n%s", parts[i].name, expected);
		}
	}
}

/* The promise of the architecture: firmware that kills every device harms five. */
static void firmware_that_kills_every_device_harms_five(void **state)
{
	(void)state;
	assert_int_equal(run_many(1000000, true, true).median_harmed, 5);
	assert_int_equal(run_many(1000000, true, true).halted_percent, 100);
	assert_int_equal(run_many(1000000, false, true).median_harmed, 100);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_page_shows_what_the_code_does),
		cmocka_unit_test(firmware_that_kills_every_device_harms_five),
	};

	if (argc > 1 && strcmp(argv[1], "--print") == 0) {
		for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
			print_part(stdout, &parts[i]);
		}
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
