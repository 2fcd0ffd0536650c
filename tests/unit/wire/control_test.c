/* Requests on $CONTROL/ota/v1: what is one, what is not, and how answers are written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ota/wire/control.h"
#include "ota/wire/json.h"

static void test_two_commands(void **state)
{
	static const char text[] =
		"{\"commands\":[{\"command\":\"status\"},"
		"{\"command\":\"pause_rollout\",\"correlationData\":\"a\\\"b\",\"id\":7}]}";
	struct control_request *request = NULL;
	int64_t id = 0;

	(void)state;
	assert_int_equal(control_request_parse(text, strlen(text), &request, NULL), OTA_OK);
	assert_int_equal(request->count, 2);
	assert_string_equal(request->commands[0].name, "status");
	assert_null(request->commands[0].correlation);
	assert_string_equal(request->commands[1].correlation, "a\"b");
	assert_int_equal(json_integer(request->commands[1].members, "id", 1, 9, &id, NULL), OTA_OK);
	assert_int_equal(id, 7);
	control_request_free(request);
	control_request_free(NULL);
}

static void test_what_is_no_request(void **state)
{
	static const struct {
		const char *text;
		const char *reason;
	} cases[] = {
		{ "", "the request cannot be read" },
		{ "[]", "the request cannot be read" },
		{ "{}", "member \"commands\" is missing" },
		{ "{\"commands\":{}}", "member \"commands\" is an object" },
		{ "{\"commands\":[]}", "has 0 elements" },
		{ "{\"commands\":[3]}", "command 1 is 3" },
		{ "{\"commands\":[{}]}", "command 1: member \"command\" is missing" },
		{ "{\"commands\":[{\"command\":\"\"}]}", "command 1: member \"command\" is empty" },
		{ "{\"commands\":[{\"command\":\"a\"},{\"command\":1}]}",
			"command 2: member \"command\" is 1" },
		{ "{\"commands\":[{\"command\":\"a\",\"correlationData\":7}]}",
			"command 1: member \"correlationData\" is 7" },
		{ "{\"commands\":[{\"command\":\"a\",\"id\":1,\"id\":2}]}", "the request cannot be read" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct control_request *request = NULL;
		struct ota_why why = { "" };

		assert_int_equal(
			control_request_parse(cases[i].text, strlen(cases[i].text), &request, &why),
			OTA_ERR_INVALID);
		assert_null(request);
		if (!strstr(why.text, cases[i].reason)) {
			fail_msg("%s: \"%s\" is not in \"%s\"", cases[i].text, cases[i].reason, why.text);
		}
	}
}

/* As many commands as are accepted, and one more; as many bytes, and one more. */
static void test_limits(void **state)
{
	char *text = malloc(CONTROL_PAYLOAD_MAX + 2);
	struct control_request *request = NULL;
	struct ota_why why = { "" };

	(void)state;
	assert_non_null(text);
	for (int count = CONTROL_COMMANDS_MAX; count <= CONTROL_COMMANDS_MAX + 1; count++) {
		static const char begin[] = "{\"commands\":[";
		static const char one[] = "{\"command\":\"status\"},";
		size_t length = sizeof(begin) - 1;

		memcpy(text, begin, length);
		for (int i = 0; i < count; i++) {
			memcpy(text + length, one, sizeof(one) - 1);
			length += sizeof(one) - 1;
		}
		memcpy(text + length - 1, "]}", 2);
		assert_int_equal(control_request_parse(text, length + 1, &request, &why),
			count == CONTROL_COMMANDS_MAX ? OTA_OK : OTA_ERR_INVALID);
		if (count == CONTROL_COMMANDS_MAX) {
			control_request_free(request);
		}
	}
	memset(text, ' ', CONTROL_PAYLOAD_MAX + 1);
	memcpy(text, "{\"commands\":[{\"command\":\"status\"}]}", 35);
	assert_int_equal(control_request_parse(text, CONTROL_PAYLOAD_MAX, &request, &why), OTA_OK);
	control_request_free(request);
	assert_int_equal(
		control_request_parse(text, CONTROL_PAYLOAD_MAX + 1, &request, &why), OTA_ERR_INVALID);
	free(text);
}

static void test_answers(void **state)
{
	struct control_answers answers = { 0 };
	char *text;

	(void)state;
	control_answer_data(&answers, "status", NULL, "{\"a\":1}");
	control_answer_error(&answers, "pause\"", "c\n1", "no rollout \xff", "P0002");
	text = control_answers_end(&answers);
	assert_string_equal(text,
		"{\"responses\":[{\"command\":\"status\",\"data\":{\"a\":1}},"
		"{\"command\":\"pause\\\"\",\"correlationData\":\"c\\n1\",\"error\":\"no rollout ?\","
		"\"code\":\"P0002\"}]}");
	assert_null(answers.text);
	free(text);
	text = control_answers_end(&answers);
	assert_string_equal(text, "{\"responses\":[]}");
	free(text);
}

static void test_refusals_answer_every_command(void **state)
{
	static const char request_text[] =
		"{\"commands\":[{\"command\":\"a\",\"correlationData\":\"1\"},{\"command\":\"b\"}]}";
	struct control_request *request = NULL;
	char *text;

	(void)state;
	assert_int_equal(
		control_request_parse(request_text, strlen(request_text), &request, NULL), OTA_OK);
	text = control_refusal(request, "away");
	assert_string_equal(text,
		"{\"responses\":[{\"command\":\"a\",\"correlationData\":\"1\",\"error\":\"away\"},"
		"{\"command\":\"b\",\"error\":\"away\"}]}");
	free(text);
	text = control_refusal(NULL, "no");
	assert_string_equal(text, "{\"responses\":[{\"command\":\"\",\"error\":\"no\"}]}");
	free(text);
	control_request_free(request);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_commands),
		cmocka_unit_test(test_what_is_no_request),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_refusals_answer_every_command),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
