#include "ota/rules/update_state.h"

#include "rules/cases.h"

struct story {
	struct cases *cases;
	int at; /* the next word */
	struct update_facts facts;
	struct update_limits limits;
	int64_t now_ms;
	int64_t fails;
};

static bool is_at(const struct story *story, const char *word)
{
	return story->at < story->cases->count && strcmp(story->cases->word[story->at], word) == 0;
}

static bool is_end_of_step(const struct story *story)
{
	return story->at >= story->cases->count || is_at(story, ";") || is_at(story, "=>");
}

/* The value behind "name=", or NULL. */
static const char *value_of(const char *word, const char *name)
{
	size_t length = strlen(name);

	return strncmp(word, name, length) == 0 && word[length] == '=' ? word + length + 1 : NULL;
}

static bool read_verb(const struct story *story, struct update_input *input)
{
	static const struct {
		const char *word;
		enum update_input_kind kind;
	} verbs[] = {
		{ "told", UPDATE_IN_TOLD },
		{ "untold", UPDATE_IN_UNTOLD },
		{ "start", UPDATE_IN_SESSION_STARTED },
		{ "end", UPDATE_IN_SESSION_ENDED },
		{ "deadline", UPDATE_IN_DEADLINE },
		{ "cancel", UPDATE_IN_CANCEL },
		{ "retry", UPDATE_IN_RETRY },
	};
	const char *word = story->cases->word[story->at];

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(word, verbs[i].word) == 0) {
			input->kind = verbs[i].kind;
			return true;
		}
	}
	input->kind = UPDATE_IN_REPORT;
	return report_status_parse(word, strlen(word), &input->status);
}

static void read_argument(const struct story *story, const char *word, struct update_input *input)
{
	const char *error = value_of(word, "error");
	const char *after = value_of(word, "after");

	if (error) {
		input->error = error;
	} else if (after) {
		input->retry_after_ms = cases_number(story->cases, after);
	} else if (word[0] == 's') {
		input->session = cases_number(story->cases, word + 1);
	} else if (strcmp(word, "target") == 0) {
		input->runs_target = true;
	} else if (strcmp(word, "old") != 0) {
		fail_msg("line %d: \"%s\" is no argument", story->cases->line, word);
	}
}

static void take_step(struct story *story)
{
	struct update_input input = { .at_ms = story->now_ms };
	struct update_facts before = story->facts;
	bool refused = is_at(story, "!");

	story->at += refused ? 1 : 0;
	if (is_at(story, "at")) {
		story->now_ms = cases_number(story->cases, story->cases->word[story->at + 1]);
		story->at += 2;
		return;
	}
	if (is_end_of_step(story) || !read_verb(story, &input)) {
		fail_msg("line %d: word %d is no step", story->cases->line, story->at + 1);
	}
	for (story->at++; !is_end_of_step(story); story->at++) {
		read_argument(story, story->cases->word[story->at], &input);
	}
	struct update_step step = update_advance(&story->facts, &story->limits, &input);

	story->fails += step.attempt_failed ? 1 : 0;
	assert_non_null(step.why);
	assert_int_equal(step.from, before.state);
	assert_int_equal(step.to, story->facts.state);
	if (step.accepted == refused) {
		fail_msg("line %d, before word %d: %s from %s is %s: %s", story->cases->line, story->at + 1,
			update_event_name(step.event), update_state_name(step.from),
			refused ? "accepted" : "refused", step.why);
	}
	if (refused) {
		assert_false(step.attempt_failed);
		assert_memory_equal(&before, &story->facts, sizeof(before));
	}
}

static void check_value(const struct story *story, const char *word)
{
	const struct update_facts *facts = &story->facts;
	const struct {
		const char *name;
		int64_t value;
	} numbers[] = {
		{ "attempt", facts->attempt },
		{ "retries", facts->retries_used },
		{ "session", facts->told_session },
		{ "boots", facts->boots },
		{ "deadline", facts->deadline_ms },
		{ "not_before", facts->not_before_ms },
		{ "fails", story->fails },
	};
	const char *error = value_of(word, "error");

	if (error) {
		const char *expected = cases_text(error) ? error : "";

		if (strcmp(facts->error, expected) != 0) {
			fail_msg("line %d: error \"%s\"", story->cases->line, facts->error);
		}
		return;
	}
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		const char *value = value_of(word, numbers[i].name);

		if (value) {
			if (cases_number(story->cases, value) != numbers[i].value) {
				fail_msg("line %d: %s is %" PRId64, story->cases->line, numbers[i].name,
					numbers[i].value);
			}
			return;
		}
	}
	fail_msg("line %d: \"%s\" is no value", story->cases->line, word);
}

static void stories_end_as_the_case_file_says(void **state)
{
	struct cases cases;

	(void)state;
	cases_open(&cases, "update_state.cases");
	while (cases_next(&cases)) {
		struct story story = {
			.cases = &cases,
			.facts = { .attempt = 1 },
			.limits = { .download_ms = 3600000, .health_ms = 60000, .reboot = true },
		};

		for (; story.at < cases.count; story.at++) {
			const char *retries = value_of(cases.word[story.at], "retries");
			const char *reboot = value_of(cases.word[story.at], "reboot");

			if (retries) {
				story.limits.retries = (int32_t)cases_number(&cases, retries);
			} else if (reboot) {
				story.limits.reboot = strcmp(reboot, "0") != 0;
			} else if (is_at(&story, "step")) {
				story.limits.step = true;
			} else {
				break;
			}
		}
		do {
			take_step(&story);
		} while (is_at(&story, ";") && ++story.at);
		if (!is_at(&story, "=>") || story.at + 1 >= cases.count) {
			fail_msg("line %d: no end", cases.line);
		}
		if (strcmp(update_state_name(story.facts.state), cases.word[story.at + 1]) != 0) {
			fail_msg("line %d: ends in %s", cases.line, update_state_name(story.facts.state));
		}
		for (story.at += 2; story.at < cases.count; story.at++) {
			check_value(&story, cases.word[story.at]);
		}
	}
	assert_true(cases.number >= 120);
}

static const struct update_limits plain = { .download_ms = 1000, .health_ms = 100, .reboot = true };

static void errors_are_cut_between_characters(void **state)
{
	char error[80];
	struct update_facts facts = { .state = UPDATE_NOTIFIED, .attempt = 1 };
	struct update_input input = { .status = REPORT_FAILED, .error = error };
	struct update_step step;

	(void)state;
	memset(error, 'A', sizeof(error));
	memcpy(error + 61, "\xe2\x82\xac", 4); /* a euro sign, one byte too long */
	step = update_advance(&facts, &plain, &input);
	assert_true(step.accepted);
	assert_int_equal(strlen(facts.error), 61);
	facts.state = UPDATE_NOTIFIED;
	memcpy(error + 60, "\xe2\x82\xac", 4); /* fits exactly */
	step = update_advance(&facts, &plain, &input);
	assert_true(step.accepted);
	assert_int_equal(strlen(facts.error), 63);
	/* Nothing but continuation bytes: no character, and no endless walk. */
	facts.state = UPDATE_NOTIFIED;
	memset(error, 0x80, sizeof(error) - 1);
	step = update_advance(&facts, &plain, &input);
	assert_true(step.accepted);
	assert_string_equal(facts.error, "");
}

static void sums_saturate(void **state)
{
	struct update_facts facts = { .attempt = INT32_MAX, .retries_used = INT32_MAX - 1 };
	struct update_limits limits = { .download_ms = INT64_MAX, .retries = INT32_MAX };
	struct update_input input = { .kind = UPDATE_IN_TOLD, .at_ms = 5 };
	struct update_step step = update_advance(&facts, &limits, &input);

	(void)state;
	assert_true(step.accepted);
	assert_int_equal(facts.deadline_ms, INT64_MAX);
	input.kind = UPDATE_IN_REPORT;
	input.status = REPORT_FAILED;
	step = update_advance(&facts, &limits, &input);
	assert_int_equal(step.to, UPDATE_PENDING);
	assert_int_equal(facts.attempt, INT32_MAX);
	/* A negative time counts as none. */
	limits.download_ms = -1;
	input.kind = UPDATE_IN_TOLD;
	step = update_advance(&facts, &limits, &input);
	assert_int_equal(facts.deadline_ms, 5);
	/* In flight without a deadline never times out. */
	facts.deadline_ms = 0;
	input.kind = UPDATE_IN_DEADLINE;
	step = update_advance(&facts, &limits, &input);
	assert_false(step.accepted);
}

static void nonsense_is_refused(void **state)
{
	struct update_facts facts = { .state = UPDATE_STATE_COUNT };
	struct update_input input = { .kind = UPDATE_IN_CANCEL };
	struct update_step step = update_advance(&facts, &plain, &input);

	(void)state;
	assert_false(step.accepted);
	assert_string_equal(step.why, "unknown state or input");
	facts.state = UPDATE_NOTIFIED;
	input.kind = (enum update_input_kind)77;
	step = update_advance(&facts, &plain, &input);
	assert_false(step.accepted);
	assert_int_equal(step.event, UPDATE_EVENT_COUNT);
	input.kind = UPDATE_IN_REPORT;
	input.status = REPORT_STATUS_COUNT;
	step = update_advance(&facts, &plain, &input);
	assert_false(step.accepted);
	assert_string_equal(step.why, "unknown state or input");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stories_end_as_the_case_file_says),
		cmocka_unit_test(errors_are_cut_between_characters),
		cmocka_unit_test(sums_saturate),
		cmocka_unit_test(nonsense_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
