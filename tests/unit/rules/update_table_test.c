#include "ota/rules/update_state.h"

#include "rules/cases.h"

static size_t row_number(enum update_state from, enum update_event event)
{
	size_t count = 0;
	const struct update_transition *table = update_transitions(&count);

	for (size_t i = 0; i < count; i++) {
		if (table[i].from == from && table[i].event == event) {
			return i;
		}
	}
	return SIZE_MAX;
}

static void rows_are_unique_and_complete(void **state)
{
	size_t count = 0;
	const struct update_transition *table = update_transitions(&count);

	(void)state;
	assert_true(count > 0);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(row_number(table[i].from, table[i].event), i);
		assert_ptr_equal(update_next(table[i].from, table[i].event), &table[i]);
		assert_true(table[i].from < UPDATE_STATE_COUNT && table[i].to < UPDATE_STATE_COUNT);
		assert_true(table[i].event < UPDATE_EVENT_COUNT);
		assert_true(strlen(table[i].why) > 0);
	}
	assert_null(update_next(UPDATE_PENDING, UPDATE_EVENT_COUNT));
}

static void every_state_is_reached_and_the_final_ones_are_final(void **state)
{
	bool reached[UPDATE_STATE_COUNT] = { [UPDATE_PENDING] = true };
	size_t count = 0;
	const struct update_transition *table = update_transitions(&count);

	(void)state;
	for (int round = 0; round < UPDATE_STATE_COUNT; round++) {
		for (size_t i = 0; i < count; i++) {
			reached[table[i].to] = reached[table[i].to] || reached[table[i].from];
		}
	}
	for (int i = 0; i < UPDATE_STATE_COUNT; i++) {
		assert_true(reached[i]);
	}
	for (size_t i = 0; i < count; i++) {
		if (update_state_is_final(table[i].from)) {
			assert_int_equal(table[i].event, UPDATE_EV_RETRY);
			assert_int_equal(table[i].to, UPDATE_PENDING);
			assert_int_not_equal(table[i].from, UPDATE_SUCCEEDED);
		}
	}
}

static void states_fall_into_three_kinds(void **state)
{
	(void)state;
	for (int i = 0; i < UPDATE_STATE_COUNT; i++) {
		enum update_state one = (enum update_state)i;
		int kinds =
			(one == UPDATE_PENDING) + update_state_is_in_flight(one) + update_state_is_final(one);

		assert_int_equal(kinds, 1);
		assert_true(!update_state_is_failure(one) || update_state_is_final(one));
	}
	assert_true(update_state_is_failure(UPDATE_FAILED));
	assert_true(update_state_is_failure(UPDATE_ROLLED_BACK));
	assert_true(update_state_is_failure(UPDATE_TIMED_OUT));
	assert_false(update_state_is_failure(UPDATE_REJECTED));
	assert_false(update_state_is_failure(UPDATE_CANCELLED));
	assert_false(update_state_is_failure(UPDATE_SUCCEEDED));
	assert_false(update_state_is_final(UPDATE_STATE_COUNT));
	assert_false(update_state_is_in_flight(UPDATE_STATE_COUNT));
}

static void names_and_values_convert_both_ways(void **state)
{
	enum update_state found = UPDATE_PENDING;

	(void)state;
	for (int i = 0; i < UPDATE_STATE_COUNT; i++) {
		assert_true(update_state_parse(update_state_name((enum update_state)i), &found));
		assert_int_equal(found, i);
	}
	assert_false(update_state_parse("PENDING", &found));
	assert_false(update_state_parse("unknown", &found));
	assert_false(update_state_parse(NULL, &found));
	assert_int_equal(found, UPDATE_STATE_COUNT - 1);
	for (int i = 0; i < UPDATE_EVENT_COUNT; i++) {
		assert_string_not_equal(update_event_name((enum update_event)i), "unknown");
		for (int j = 0; j < i; j++) {
			assert_string_not_equal(
				update_event_name((enum update_event)i), update_event_name((enum update_event)j));
		}
	}
	assert_string_equal(update_state_name(UPDATE_STATE_COUNT), "unknown");
	assert_string_equal(update_event_name(UPDATE_EVENT_COUNT), "unknown");
}

/* One try of every input in every situation; the bits of `turn` choose. */
static void try_one(unsigned turn, bool *used)
{
	enum {
		START_BOOTS = UPDATE_BOOT_LOOP_SESSIONS - 1
	};
	struct update_facts facts = {
		.attempt = 1,
		.told_session = 1,
		.boots = (turn & 1U) ? START_BOOTS : 0,
		.deadline_ms = 1000,
	};
	struct update_limits limits = {
		.download_ms = 5000,
		.health_ms = 100,
		.retries = (turn & 2U) ? 1 : 0,
		.reboot = (turn & 4U) != 0,
		.step = (turn & 64U) != 0,
	};
	struct update_input input = {
		.session = (turn & 8U) ? 1 : 2,
		.runs_target = (turn & 16U) != 0,
		.at_ms = (turn & 32U) ? 1000 : 999,
	};

	turn /= 128U;
	facts.state = (enum update_state)(turn % UPDATE_STATE_COUNT);
	turn /= UPDATE_STATE_COUNT;
	input.kind = (enum update_input_kind)(turn % 8U);
	input.status = (enum report_status)(turn / 8U);
	struct update_facts before = facts;
	struct update_step step = update_advance(&facts, &limits, &input);
	size_t row = row_number(before.state, step.event);

	assert_true(strlen(step.why) > 0);
	assert_int_equal(step.to, facts.state);
	if (!step.accepted) {
		assert_memory_equal(&before, &facts, sizeof(before));
		assert_true(row == SIZE_MAX || input.kind == UPDATE_IN_DEADLINE);
		return;
	}
	size_t count = 0;
	const struct update_transition *table = update_transitions(&count);

	assert_true(row < count);
	used[row] = true;
	assert_int_equal(step.to, table[row].to);
	assert_ptr_equal(step.why, table[row].why);
	/* A deadline exactly while something is outstanding. */
	assert_int_equal(facts.deadline_ms != 0, update_state_is_in_flight(facts.state));
	if (update_state_is_failure(facts.state)) {
		assert_true(step.attempt_failed);
	}
}

static void every_row_is_used_and_nothing_else_happens(void **state)
{
	enum {
		TURNS = 128 * UPDATE_STATE_COUNT * 8 * REPORT_STATUS_COUNT
	};
	bool used[256] = { false };
	size_t count = 0;
	const struct update_transition *table = update_transitions(&count);

	(void)state;
	assert_true(count <= sizeof(used));
	for (unsigned turn = 0; turn < TURNS; turn++) {
		try_one(turn, used);
	}
	for (size_t i = 0; i < count; i++) {
		if (!used[i]) {
			fail_msg("nothing leads to %s + %s", update_state_name(table[i].from),
				update_event_name(table[i].event));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_are_unique_and_complete),
		cmocka_unit_test(every_state_is_reached_and_the_final_ones_are_final),
		cmocka_unit_test(states_fall_into_three_kinds),
		cmocka_unit_test(names_and_values_convert_both_ways),
		cmocka_unit_test(every_row_is_used_and_nothing_else_happens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
