/* The table of commands against the functions of sql/, the SQL made of members, and the queue. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ota/store/command.h"
#include "ota/store/command_table.h"
#include "ota/store/sql_files.h"
#include "ota/wire/change.h"

#include "../../../plugin/store/command_bind.h"

static struct control_request *request_of(const char *text)
{
	struct control_request *request = NULL;
	struct ota_why why = { "" };

	if (control_request_parse(text, strlen(text), &request, &why) != OTA_OK) {
		fail_msg("%s: %s", text, why.text);
	}
	request->client = strdup("desk");
	request->user = strdup("alice");
	return request;
}

/* functions/<name>.sql whose first words are "-- Operators:" is an operators' function. */
static void test_every_function_has_a_command(void **state)
{
	size_t count = 0;
	size_t functions = 0;
	const struct command *table = command_table(&count);

	(void)state;
	for (size_t i = 0; i < sql_files_count; i++) {
		static const char folder[] = "functions/";
		static const char mark[] = "-- Operators:";
		const char *name = sql_files[i].name + sizeof(folder) - 1;
		bool found = false;

		if (strncmp(sql_files[i].name, folder, sizeof(folder) - 1) != 0
			|| strncmp(sql_files[i].text, mark, sizeof(mark) - 1) != 0) {
			continue;
		}
		functions++;
		for (size_t n = 0; n < count; n++) {
			found = found
				|| (table[n].function && strlen(table[n].function) + 4 == strlen(name)
					&& strncmp(table[n].function, name, strlen(table[n].function)) == 0);
		}
		if (!found) {
			fail_msg("%s is an operators' function without a command", sql_files[i].name);
		}
	}
	assert_true(functions >= 19);
}

static void test_every_command_has_its_function(void **state)
{
	size_t count = 0;
	const struct command *table = command_table(&count);

	(void)state;
	for (size_t i = 0; i < count; i++) {
		const struct command *row = &table[i];
		const char *text = NULL;
		char path[128];

		assert_true(row->function || row->query);
		if (!row->function) {
			continue;
		}
		snprintf(path, sizeof(path), "functions/%s.sql", row->function);
		for (size_t n = 0; n < sql_files_count; n++) {
			text = strcmp(sql_files[n].name, path) == 0 ? sql_files[n].text : text;
		}
		if (!text) {
			fail_msg("command %s: there is no %s", row->name, path);
		}
		if (row->query) {
			continue;
		}
		/* Parameters are called by name: each must stand in the function's head. */
		for (size_t m = 0; m < COMMAND_MEMBERS_MAX && row->members[m].name; m++) {
			char parameter[128];

			snprintf(
				parameter, sizeof(parameter), "%s %s", row->members[m].name, row->members[m].sql);
			if (!strstr(text, parameter)) {
				fail_msg("command %s: no parameter \"%s\" in %s", row->name, parameter, path);
			}
		}
	}
}

static void test_calls(void **state)
{
	static const struct {
		const char *command;
		const char *sql;
		const char *values; /* joined by | */
	} cases[] = {
		{ "{\"command\":\"start_rollout\",\"version\":\"1.5.0\",\"fleet\":\"default\",\"plan\":null}",
			"SELECT jsonb_build_object('id', f) FROM ota.start_rollout(fleet => $1::text, version => "
			"$2::text) AS f",
			"default|1.5.0" },
		{ "{\"command\":\"advance_rollout\",\"id\":7}",
			"SELECT '{}'::jsonb FROM ota.advance_rollout(id => $1::bigint) AS f", "7" },
		{ "{\"command\":\"add_release\",\"envelope\":{\"a\":[1,\"\\u00e9\"]}}",
			"SELECT jsonb_build_object('release_id', f) FROM ota.add_release(envelope => $1::jsonb) AS f",
			"{\"a\":[1,\"\xc3\xa9\"]}" },
		{ "{\"command\":\"add_release\",\"version\":\"1\",\"url\":\"u\",\"sha256\":\"s\",\"size\":"
		  "9007199254740991,\"signature\":\"AP8=\"}",
			"SELECT jsonb_build_object('release_id', f) FROM ota.add_release(version => $1::text, url => "
			"$2::text, sha256 => $3::text, size => $4::bigint, signature => $5::bytea) AS f",
			"1|u|s|9007199254740991|\\x00ff" },
		{ "{\"command\":\"define_plan\",\"plan\":\"p\",\"stages\":[],\"success_threshold\":0.95}",
			"SELECT '{}'::jsonb FROM ota.define_plan(plan => $1::text, stages => $2::jsonb, "
			"success_threshold => $3::numeric) AS f",
			"p|[]|0.95" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[1024];
		const char *at = cases[i].values;
		struct control_request *request;
		const struct command *row;
		struct command_call call = { 0 };
		struct ota_why why = { "" };

		snprintf(text, sizeof(text), "{\"commands\":[%s]}", cases[i].command);
		request = request_of(text);
		row = command_find(&request->commands[0]);
		assert_non_null(row);
		if (command_bind(row, &request->commands[0], &call, &why) != OTA_OK) {
			fail_msg("%s: %s", cases[i].command, why.text);
		}
		assert_string_equal(call.sql, cases[i].sql);
		for (int n = 0; n < call.count; n++) {
			size_t length = strlen(call.values[n]);

			assert_memory_equal(at, call.values[n], length);
			assert_int_equal(at[length], n + 1 < call.count ? '|' : '\0');
			at += length + 1;
		}
		command_call_clear(&call);
		command_call_clear(&call);
		control_request_free(request);
	}
}

static void test_every_call_has_room(void **state)
{
	size_t count = 0;
	const struct command *table = command_table(&count);

	(void)state;
	for (size_t i = 0; i < count; i++) {
		size_t names = 0;
		size_t length = 100;

		for (size_t m = 0; m < COMMAND_MEMBERS_MAX && table[i].members[m].name; m++) {
			names += strlen(table[i].members[m].name) + 2;
			length += strlen(table[i].members[m].name) + strlen(table[i].members[m].sql) + 16;
		}
		assert_true(length < COMMAND_SQL_MAX);
		assert_true(names < 200);
	}
}

static void test_bad_members(void **state)
{
	static const struct {
		const char *command;
		const char *reason;
	} cases[] = {
		{ "{\"command\":\"pause_rollout\"}", "pause_rollout needs the member \"id\": an integer" },
		{ "{\"command\":\"pause_rollout\",\"id\":\"1\"}",
			"member \"id\" is \"1\"; accepted is an integer" },
		{ "{\"command\":\"pause_rollout\",\"id\":1,\"why\":\"x\"}",
			"pause_rollout has no member \"why\"; accepted are: id, reason" },
		{ "{\"command\":\"status\",\"x\":1}", "accepted are: none" },
		{ "{\"command\":\"list_devices\",\"limit\":1001}",
			"accepted is an integer from 1 to 1000" },
		{ "{\"command\":\"list_devices\",\"connected\":1}", "accepted is true or false" },
		{ "{\"command\":\"add_release\",\"envelope\":1}", "accepted is an object or a list" },
		{ "{\"command\":\"define_plan\",\"plan\":\"p\",\"stages\":[],\"success_threshold\":\"1\"}",
			"accepted is a number" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[1024];
		struct control_request *request;
		const struct command *row;
		struct command_call call = { 0 };
		struct ota_why why = { "" };

		snprintf(text, sizeof(text), "{\"commands\":[%s]}", cases[i].command);
		request = request_of(text);
		row = command_find(&request->commands[0]);
		assert_non_null(row);
		assert_int_equal(command_bind(row, &request->commands[0], &call, &why), OTA_ERR_INVALID);
		if (!strstr(why.text, cases[i].reason)) {
			fail_msg("%s: \"%s\" is not in \"%s\"", cases[i].command, cases[i].reason, why.text);
		}
		command_call_clear(&call);
		control_request_free(request);
	}
}

static const char status[] = "{\"commands\":[{\"command\":\"status\"}]}";

static void free_change(void *change)
{
	change_free(change);
}

static void test_the_queue(void **state)
{
	struct queue *changes = queue_new(COMMANDS_WAITING_MAX * 2);
	struct commands *commands = commands_new(changes);
	struct control_request *request;
	struct change *change;

	(void)state;
	assert_non_null(changes);
	assert_non_null(commands);
	for (int i = 0; i < COMMANDS_WAITING_MAX; i++) {
		assert_int_equal(commands_push(commands, request_of(status)), OTA_OK);
	}
	request = request_of(status);
	assert_int_equal(commands_push(commands, request), OTA_ERR_FULL);
	/* The database goes: all that wait are answered, new ones refused. */
	commands_set_state(commands, COMMANDS_AWAY);
	assert_int_equal(queue_length(changes), COMMANDS_WAITING_MAX);
	change = queue_pop(changes);
	assert_int_equal(change->kind, CHANGE_RESPONSE);
	assert_string_equal(change->device, "desk");
	assert_non_null(strstr(change->text, "PostgreSQL is away: nothing was done"));
	change_free(change);
	assert_int_equal(commands_push(commands, request), OTA_ERR_UNAVAILABLE);
	/* It is there and busy, which is not the same. */
	commands_set_state(commands, COMMANDS_TAKEN);
	assert_int_equal(commands_push(commands, request), OTA_OK);
	commands_set_state(commands, COMMANDS_BUSY);
	while (queue_length(changes) > 1) {
		change_free(queue_pop(changes));
	}
	change = queue_pop(changes);
	assert_non_null(strstr(change->text, "PostgreSQL is busy opening a stage"));
	change_free(change);
	request = request_of(status);
	assert_int_equal(commands_push(commands, request), OTA_ERR_CONFLICT);
	commands_set_state(commands, COMMANDS_TAKEN);
	assert_int_equal(commands_push(commands, request), OTA_OK);
	commands_free(commands); /* with a request in it */
	commands_free(NULL);
	queue_free(changes, free_change);
}

/* The gate has no room for an answer: it is kept, and nothing else is begun before it is gone. */
static void test_an_answer_waits_for_room(void **state)
{
	struct queue *changes = queue_new(1);
	struct commands *commands = commands_new(changes);
	struct pg pg = { .stop_fd = -1 };
	struct ota_why why = { "" };
	bool more = false;

	(void)state;
	assert_non_null(commands);
	assert_true(queue_push(changes, change_new(CHANGE_METRIC)));
	assert_int_equal(commands_push(commands, request_of(status)), OTA_OK);
	assert_int_equal(commands_push(commands, request_of(status)), OTA_OK);
	assert_int_equal(commands_work(commands, &pg, &more, &why), OTA_ERR_UNAVAILABLE);
	assert_false(more); /* not before there is room */
	assert_int_equal(commands_work(commands, &pg, &more, &why), OTA_OK);
	change_free(queue_pop(changes));
	assert_int_equal(commands_work(commands, &pg, &more, &why), OTA_ERR_UNAVAILABLE);
	assert_int_equal(queue_length(changes), 1);
	commands_free(commands); /* with an answer kept */
	queue_free(changes, free_change);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_function_has_a_command),
		cmocka_unit_test(test_every_command_has_its_function),
		cmocka_unit_test(test_calls),
		cmocka_unit_test(test_every_call_has_room),
		cmocka_unit_test(test_bad_members),
		cmocka_unit_test(test_the_queue),
		cmocka_unit_test(test_an_answer_waits_for_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
