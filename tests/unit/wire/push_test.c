/* Updates that a back end publishes itself: what is taken, what is refused and in which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ota/wire/json.h"
#include "ota/wire/push.h"

#define SHA "\"sha256\":\"abababababababababababababababababababababababababababababababab\""

static struct control_request *good(const char *payload)
{
	struct control_request *request = NULL;
	struct ota_why why = { "" };

	if (push_parse(payload, strlen(payload), "pumps", &request, &why) != OTA_OK) {
		fail_msg("%s: %s", payload, why.text);
	}
	assert_int_equal(request->count, 1);
	assert_string_equal(request->commands[0].name, "push_release");
	assert_null(request->commands[0].correlation);
	assert_null(request->topic);
	return request;
}

/* The command's members as JSON. */
static void makes(const char *payload, const char *members)
{
	struct control_request *request = good(payload);
	char *text = cJSON_PrintUnformatted(request->commands[0].members);

	assert_non_null(text);
	assert_string_equal(text, members);
	cJSON_free(text);
	control_request_free(request);
}

static void what_devices_read_becomes_a_command(void **state)
{
	(void)state;
	makes("{\"version\":\"1.5.0\",\"url\":\"http://h/f\"," SHA
		  ",\"size\":7,\"releaseNotes\":\"n\",\"signature\":\"AAAA\"}",
		"{\"fleet\":\"pumps\",\"version\":\"1.5.0\",\"url\":\"http://h/f\"," SHA
		",\"size\":7,\"signature\":\"AAAA\",\"release_notes\":\"n\"}");
	makes(" {\"manifest\":{\"payload\":\"e30=\",\"signatures\":[{}]}} \n",
		"{\"fleet\":\"pumps\",\"manifest\":{\"payload\":\"e30=\",\"signatures\":[{}]}}");
	/* null counts as absent, unheard-of members are nobody's business, a fleet in the message neither. */
	makes(
		"{\"manifest\":{},\"signature\":null,\"version\":null,\"size\":null,\"force\":true,\"fleet\":\"all\","
		"\"client\":\"x\",\"topic\":\"y\"}",
		"{\"fleet\":\"pumps\",\"manifest\":{}}");
	makes("{\"manifest\":{},\"signature\":\"AAAA\"}",
		"{\"fleet\":\"pumps\",\"signature\":\"AAAA\",\"manifest\":{}}");
}

static void what_is_none_is_refused(void **state)
{
	static const struct {
		const char *payload;
		const char *words;
	} cases[] = {
		{ "", "the update cannot be read" },
		{ "[]", "the update cannot be read" },
		{ "{} x", "the update cannot be read" },
		{ "{\"version\":\"1\",\"version\":\"2\"}", "the update cannot be read" },
		{ "{}", "the update is not signed" },
		{ "{\"action\":\"cancel\",\"rollout\":1,\"version\":\"1.5.0\"}",
			"the update is not signed" },
		{ "{\"manifest\":null,\"signature\":null}", "the update is not signed" },
		{ "{\"manifest\":\"{}\"}", "member \"manifest\" is \"{}\"; accepted is a DSSE envelope" },
		{ "{\"manifest\":[]}", "member \"manifest\" is a list" },
		{ "{\"signature\":\"AAAA\"}", "\"version\"" },
		{ "{\"signature\":\"AAAA\",\"version\":1}", "member \"version\" is 1" },
		{ "{\"signature\":\"AAAA\",\"version\":\"1\"}", "\"url\"" },
		{ "{\"signature\":\"AAAA\",\"version\":\"1\",\"url\":\"u\"}", "\"sha256\"" },
		{ "{\"signature\":\"AAAA\",\"version\":\"1\",\"url\":\"u\"," SHA "}", "\"size\"" },
		{ "{\"signature\":\"AAAA\",\"version\":\"1\",\"url\":\"u\"," SHA ",\"size\":0}",
			"\"size\"" },
		{ "{\"signature\":\"AAAA\",\"version\":\"1\",\"url\":\"u\"," SHA ",\"size\":1.5}",
			"\"size\"" },
		{ "{\"signature\":\"AAAA\",\"version\":\"1\",\"url\":\"u\"," SHA ",\"size\":\"7\"}",
			"\"size\"" },
		{ "{\"signature\":7,\"version\":\"1\",\"url\":\"u\"," SHA ",\"size\":7}", "\"signature\"" },
		{ "{\"manifest\":{},\"releaseNotes\":{}}", "\"releaseNotes\"" },
		{ "{\"manifest\":{},\"url\":false}", "\"url\"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct control_request *request = NULL;
		struct ota_why why = { "" };

		assert_int_equal(
			push_parse(cases[i].payload, strlen(cases[i].payload), "pumps", &request, &why),
			OTA_ERR_INVALID);
		assert_null(request);
		if (!strstr(why.text, cases[i].words)) {
			fail_msg("%s: %s", cases[i].payload, why.text);
		}
	}
}

static void sizes_are_bounded(void **state)
{
	struct control_request *request = NULL;
	struct ota_why why = { "" };
	char *text = malloc(CONTROL_PAYLOAD_MAX + 1);

	(void)state;
	assert_non_null(text);
	memset(text, ' ', CONTROL_PAYLOAD_MAX + 1);
	assert_int_equal(
		push_parse(text, CONTROL_PAYLOAD_MAX + 1, "pumps", &request, &why), OTA_ERR_INVALID);
	assert_non_null(strstr(why.text, "393217 bytes"));
	memcpy(text, "{\"manifest\":{}", 14);
	text[CONTROL_PAYLOAD_MAX - 1] = '}';
	assert_int_equal(push_parse(text, CONTROL_PAYLOAD_MAX, "pumps", &request, &why), OTA_OK);
	control_request_free(request);
	free(text);
}

static void names_are_kept_for_the_record(void **state)
{
	struct control_request *request = good("{\"manifest\":{}}");
	char client[600];

	(void)state;
	assert_int_equal(push_name(request, "fleet/pumps/ota/available", "desk", "alice"), OTA_OK);
	assert_string_equal(request->topic, "fleet/pumps/ota/available");
	assert_string_equal(request->client, "desk");
	assert_string_equal(request->user, "alice");
	assert_string_equal(
		cJSON_GetStringValue(json_member(request->commands[0].members, "client")), "desk");
	control_request_free(request);

	/* Longer ones are cut, between characters. */
	for (size_t shift = 0; shift < 2; shift++) {
		const char *kept;

		request = good("{\"manifest\":{}}");
		memset(client, 'x', sizeof(client));
		for (size_t i = shift; i + 2 < sizeof(client); i += 2) {
			memcpy(client + i, "\xc3\xa9", 2);
		}
		client[sizeof(client) - 1] = '\0';
		client[sizeof(client) - 2] = 'x';
		client[sizeof(client) - 3] = 'x';
		assert_int_equal(push_name(request, "t", client, "alice"), OTA_OK);
		kept = cJSON_GetStringValue(json_member(request->commands[0].members, "client"));
		assert_int_equal(strlen(kept), 256 - shift);
		assert_memory_equal(kept, client, strlen(kept));
		assert_string_equal(request->client, client);
		control_request_free(request);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_devices_read_becomes_a_command),
		cmocka_unit_test(what_is_none_is_refused),
		cmocka_unit_test(sizes_are_bounded),
		cmocka_unit_test(names_are_kept_for_the_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
