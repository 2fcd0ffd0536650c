#include "ota/rules/rollout_state.h"

#include "rules/cases.h"

static enum rollout_state state_of(const struct cases *cases, const char *name)
{
	enum rollout_state found = ROLLOUT_STATE_COUNT;

	if (!rollout_state_parse(name, &found)) {
		fail_msg("line %d: no state \"%s\"", cases->line, name);
	}
	return found;
}

static enum rollout_event event_of(const struct cases *cases, const char *name)
{
	for (int i = 0; i < ROLLOUT_EVENT_COUNT; i++) {
		if (strcmp(rollout_event_name((enum rollout_event)i), name) == 0) {
			return (enum rollout_event)i;
		}
	}
	fail_msg("line %d: no event \"%s\"", cases->line, name);
	return ROLLOUT_EVENT_COUNT;
}

/* The case file is the whole table: what it does not name must be impossible. */
static void the_table_is_the_case_file(void **state)
{
	bool named[ROLLOUT_STATE_COUNT][ROLLOUT_EVENT_COUNT] = { { false } };
	struct cases cases;
	size_t rows = 0;

	(void)state;
	cases_open(&cases, "rollout_state.cases");
	while (cases_next(&cases)) {
		assert_int_equal(cases.count, 3);
		enum rollout_state from = state_of(&cases, cases.word[0]);
		enum rollout_event event = event_of(&cases, cases.word[1]);
		const struct rollout_transition *row = rollout_next(from, event);

		assert_false(named[from][event]);
		named[from][event] = true;
		if (!row || row->to != state_of(&cases, cases.word[2])) {
			fail_msg("line %d: the table says otherwise", cases.line);
			return;
		}
		assert_int_equal(row->from, from);
		assert_int_equal(row->event, event);
		assert_true(strlen(row->why) > 0);
	}
	for (int from = 0; from < ROLLOUT_STATE_COUNT; from++) {
		for (int event = 0; event < ROLLOUT_EVENT_COUNT; event++) {
			if (!named[from][event]) {
				assert_null(rollout_next((enum rollout_state)from, (enum rollout_event)event));
			}
		}
	}
	assert_non_null(rollout_transitions(&rows));
	assert_int_equal(rows, cases.number);
}

static void every_state_is_reached_and_the_final_ones_are_final(void **state)
{
	bool reached[ROLLOUT_STATE_COUNT] = { [ROLLOUT_SCHEDULED] = true };
	size_t count = 0;
	const struct rollout_transition *table = rollout_transitions(&count);

	(void)state;
	for (int round = 0; round < ROLLOUT_STATE_COUNT; round++) {
		for (size_t i = 0; i < count; i++) {
			reached[table[i].to] = reached[table[i].to] || reached[table[i].from];
		}
	}
	for (int i = 0; i < ROLLOUT_STATE_COUNT; i++) {
		assert_true(reached[i]);
	}
	for (size_t i = 0; i < count; i++) {
		assert_int_not_equal(table[i].from, ROLLOUT_CANCELLED);
		assert_int_not_equal(table[i].from, ROLLOUT_SUPERSEDED);
	}
}

static void names_and_values_convert_both_ways(void **state)
{
	enum rollout_state found = ROLLOUT_PAUSED;

	(void)state;
	for (int i = 0; i < ROLLOUT_STATE_COUNT; i++) {
		assert_true(rollout_state_parse(rollout_state_name((enum rollout_state)i), &found));
		assert_int_equal(found, i);
	}
	assert_false(rollout_state_parse("RUNNING", &found));
	assert_false(rollout_state_parse("unknown", &found));
	assert_false(rollout_state_parse("", &found));
	assert_false(rollout_state_parse(NULL, &found));
	assert_int_equal(found, ROLLOUT_STATE_COUNT - 1);
	for (int i = 0; i < ROLLOUT_EVENT_COUNT; i++) {
		assert_string_not_equal(rollout_event_name((enum rollout_event)i), "unknown");
	}
	assert_string_equal(rollout_state_name(ROLLOUT_STATE_COUNT), "unknown");
	assert_string_equal(rollout_event_name(ROLLOUT_EVENT_COUNT), "unknown");
	assert_null(rollout_next(ROLLOUT_STATE_COUNT, ROLLOUT_EV_HALT));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_table_is_the_case_file),
		cmocka_unit_test(every_state_is_reached_and_the_final_ones_are_final),
		cmocka_unit_test(names_and_values_convert_both_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
