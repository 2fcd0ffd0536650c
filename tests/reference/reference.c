/*
 * Prints what the code's own tables say, as JSON: options, the program's commands, the commands of the control topic.
 * scripts/make_reference.sh makes the reference pages from it.
 */
#include <stdio.h>
#include <stdlib.h>

#include <cjson/cJSON.h>

#include "ota/ctl/options.h"
#include "ota/ctl/verb.h"
#include "ota/store/command_table.h"
#include "ota/wire/control.h"
#include "ota/wire/options.h"

static cJSON *add_object(cJSON *list)
{
	cJSON *object = cJSON_CreateObject();

	if (!object || !cJSON_AddItemToArray(list, object)) {
		abort();
	}
	return object;
}

static void add_text(cJSON *object, const char *name, const char *text)
{
	if (text && !cJSON_AddStringToObject(object, name, text)) {
		abort();
	}
}

static void add_options(cJSON *list)
{
	size_t count = 0;
	const struct option_doc *docs = options_docs(&count);

	for (size_t i = 0; i < count; i++) {
		cJSON *object = add_object(list);

		add_text(object, "name", docs[i].name);
		add_text(object, "default", docs[i].fallback);
		add_text(object, "accepted", docs[i].accepted);
		cJSON_AddBoolToObject(object, "required", docs[i].required);
	}
}

static void add_verbs(cJSON *list)
{
	size_t count = 0;
	const struct verb *verbs = verb_table(&count);

	for (size_t i = 0; i < count; i++) {
		cJSON *object = add_object(list);
		cJSON *arguments = cJSON_AddArrayToObject(object, "arguments");

		add_text(object, "group", verbs[i].group);
		add_text(object, "name", verbs[i].name);
		add_text(object, "command", verbs[i].command);
		add_text(object, "summary", verbs[i].summary);
		add_text(object, "example", verbs[i].example);
		for (size_t j = 0; j < VERB_ARGUMENTS_MAX && verbs[i].arguments[j].name; j++) {
			const struct argument *argument = &verbs[i].arguments[j];
			cJSON *one = add_object(arguments);

			add_text(one, "name", argument->name);
			add_text(one, "help", argument->help);
			cJSON_AddBoolToObject(one, "positional", argument->positional);
			cJSON_AddBoolToObject(one, "required", argument->required);
			cJSON_AddBoolToObject(one, "flag", argument->kind == ARGUMENT_FLAG);
		}
	}
}

static void add_commands(cJSON *list)
{
	size_t count = 0;
	const struct command *commands = command_table(&count);

	for (size_t i = 0; i < count; i++) {
		cJSON *object = add_object(list);
		cJSON *members = cJSON_AddArrayToObject(object, "members");

		add_text(object, "name", commands[i].name);
		add_text(object, "function", commands[i].function);
		add_text(object, "result", commands[i].result);
		for (size_t j = 0; j < COMMAND_MEMBERS_MAX && commands[i].members[j].name; j++) {
			cJSON *one = add_object(members);

			add_text(one, "name", commands[i].members[j].name);
			add_text(one, "sql", commands[i].members[j].sql);
			cJSON_AddBoolToObject(one, "required", commands[i].members[j].required);
		}
	}
}

int main(void)
{
	cJSON *root = cJSON_CreateObject();
	char *text;

	add_options(cJSON_AddArrayToObject(root, "options"));
	add_verbs(cJSON_AddArrayToObject(root, "verbs"));
	add_commands(cJSON_AddArrayToObject(root, "commands"));
	add_text(root, "connection_help", connection_help);
	add_text(root, "control_topic", CONTROL_TOPIC);
	add_text(root, "control_response_topic", CONTROL_RESPONSE_TOPIC);
	text = cJSON_Print(root);
	if (!text || puts(text) == EOF) {
		abort();
	}
	free(text);
	cJSON_Delete(root);
	return 0;
}
