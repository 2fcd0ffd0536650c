/* Arguments of a verb; see ota/ctl/verb.h. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota/ctl/verb.h"
#include "ota/wire/json.h"

enum {
	NAMES_SIZE = 200
};

/* Blanks around an item are nobody's name: "a, b" means a and b. */
static char *copy_item(const char *text, size_t length)
{
	while (length > 0 && (*text == ' ' || *text == '\t')) {
		text++;
		length--;
	}
	while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t')) {
		length--;
	}
	return strndup(text, length);
}

static cJSON *make_list(const char *text)
{
	cJSON *list = cJSON_CreateArray();

	while (list) {
		size_t length = strcspn(text, ",");
		char *item = copy_item(text, length);

		if (item) {
			cJSON_AddItemToArray(list, cJSON_CreateString(item));
		}
		free(item);
		if (text[length] == '\0') {
			break;
		}
		text += length + 1;
	}
	return list;
}

static cJSON *make_number(const char *text, bool integer)
{
	char *end = NULL;
	double number;

	errno = 0;
	number = strtod(text, &end);
	if (errno != 0 || end == text || *end != '\0' || !isfinite(number)
		|| strpbrk(text, "xX ") != NULL) {
		return NULL;
	}
	if (integer && (floor(number) < number || fabs(number) > (double)JSON_INTEGER_MAX)) {
		return NULL;
	}
	return cJSON_CreateNumber(number);
}

/* The JSON text may be an array, which the strict reader takes inside an object only. */
static cJSON *make_json(const char *text)
{
	char *wrapped = NULL;
	cJSON *root = NULL;
	cJSON *value = NULL;
	struct ota_why why;

	if (asprintf(&wrapped, "{\"v\":%s}", text) < 0) {
		return NULL;
	}
	if (json_parse_object(wrapped, strlen(wrapped), 16, &root, &why) == OTA_OK) {
		value = cJSON_DetachItemFromObjectCaseSensitive(root, "v");
	}
	/* Behind its end the text may not go on as another member. */
	if (root && root->child) {
		cJSON_Delete(value);
		value = NULL;
	}
	cJSON_Delete(root);
	free(wrapped);
	return value;
}

static enum ota_err take_value(
	const struct argument *argument, const char *text, cJSON *members, struct ota_why *why)
{
	const char *accepted = "a text";
	cJSON *list = cJSON_GetObjectItemCaseSensitive(members, argument->member);
	cJSON *value = NULL;

	if (list && argument->kind != ARGUMENT_REPEATED) {
		ota_why_set(why, "%s is given twice", argument->name);
		return OTA_ERR_INVALID;
	}
	switch (argument->kind) {
	case ARGUMENT_TEXT:
		value = cJSON_CreateString(text);
		break;
	case ARGUMENT_INTEGER:
		accepted = "an integer";
		value = make_number(text, true);
		break;
	case ARGUMENT_NUMBER:
		accepted = "a number";
		value = make_number(text, false);
		break;
	case ARGUMENT_BOOLEAN:
		accepted = "true or false";
		value = strcmp(text, "true") == 0 ? cJSON_CreateTrue()
			: strcmp(text, "false") == 0  ? cJSON_CreateFalse()
										  : NULL;
		break;
	case ARGUMENT_FLAG:
		value = cJSON_CreateTrue();
		break;
	case ARGUMENT_LIST:
		value = make_list(text);
		break;
	case ARGUMENT_JSON:
		accepted = "JSON";
		value = make_json(text);
		break;
	case ARGUMENT_REPEATED:
		list = list ? list : cJSON_AddArrayToObject(members, argument->member);
		if (list && cJSON_AddItemToArray(list, cJSON_CreateString(text))) {
			return OTA_OK;
		}
		break;
	}
	if (!value || !cJSON_AddItemToObject(members, argument->member, value)) {
		const bool same = strcmp(argument->help, accepted) == 0;

		ota_why_set(why, "%s is \"%s\"; accepted is %s%s%s%s", argument->name, text, accepted,
			same ? "" : " (", same ? "" : argument->help, same ? "" : ")");
		return OTA_ERR_INVALID;
	}
	return OTA_OK;
}

static const struct argument *find_option(const struct verb *verb, const char *name, size_t length)
{
	for (size_t i = 0; i < VERB_ARGUMENTS_MAX && verb->arguments[i].name; i++) {
		const char *known = verb->arguments[i].name;

		if (strlen(known) == length && strncmp(known, name, length) == 0) {
			return &verb->arguments[i];
		}
		/* What the contract's examples write. */
		if (length == 2 && strncmp(name, "-o", 2) == 0 && strcmp(known, "--out") == 0) {
			return &verb->arguments[i];
		}
	}
	return NULL;
}

static const struct argument *next_positional(const struct verb *verb, const cJSON *members)
{
	for (size_t i = 0; i < VERB_ARGUMENTS_MAX && verb->arguments[i].name; i++) {
		const struct argument *argument = &verb->arguments[i];

		if (argument->positional && !cJSON_GetObjectItemCaseSensitive(members, argument->member)) {
			return argument;
		}
	}
	return NULL;
}

static enum ota_err unknown_option(const struct verb *verb, const char *option, struct ota_why *why)
{
	char names[NAMES_SIZE] = "";
	size_t used = 0;

	for (size_t i = 0; i < VERB_ARGUMENTS_MAX && verb->arguments[i].name; i++) {
		size_t length = strlen(verb->arguments[i].name);

		if (used + length + 2 < sizeof(names)) {
			memcpy(names + used, verb->arguments[i].name, length);
			memcpy(names + used + length, " ", 2);
			used += length + 1;
		}
	}
	ota_why_set(why, "unknown option %s for %s%s%s; accepted are %s%sthe connection options",
		option, verb->group, *verb->group ? " " : "", verb->name, names, *names ? "and " : "");
	return OTA_ERR_INVALID;
}

/* The option at argv[0]; *used: how many arguments it takes. */
static enum ota_err take_option(const struct verb *verb, struct connection *connection, int argc,
	char **argv, cJSON *members, int *used, struct ota_why *why)
{
	const size_t length = strcspn(argv[0], "=");
	const struct argument *argument = find_option(verb, argv[0], length);
	enum ota_err err;

	if (!argument) {
		err = connection_option(connection, argc, argv, used, why);
		return err == OTA_ERR_NOT_FOUND ? unknown_option(verb, argv[0], why) : err;
	}
	*used = 1;
	if (argument->kind == ARGUMENT_FLAG) {
		return take_value(argument, "", members, why);
	}
	if (argv[0][length] == '=') {
		return take_value(argument, argv[0] + length + 1, members, why);
	}
	if (argc < 2) {
		ota_why_set(why, "option %s needs a value: %s", argument->name, argument->help);
		return OTA_ERR_INVALID;
	}
	*used = 2;
	return take_value(argument, argv[1], members, why);
}

static enum ota_err check_required(
	const struct verb *verb, const cJSON *members, struct ota_why *why)
{
	for (size_t i = 0; i < VERB_ARGUMENTS_MAX && verb->arguments[i].name; i++) {
		const struct argument *argument = &verb->arguments[i];

		if (argument->required && !cJSON_GetObjectItemCaseSensitive(members, argument->member)) {
			ota_why_set(why, "%s%s%s needs %s%s%s: %s", verb->group, *verb->group ? " " : "",
				verb->name, argument->positional ? "<" : "",
				argument->positional ? argument->name + 2 : argument->name,
				argument->positional ? ">" : "", argument->help);
			return OTA_ERR_INVALID;
		}
	}
	return OTA_OK;
}

enum ota_err verb_arguments(const struct verb *verb, struct connection *connection, int argc,
	char **argv, cJSON **members, struct ota_why *why)
{
	cJSON *object = cJSON_CreateObject();
	bool options = true;
	enum ota_err err = object ? OTA_OK : OTA_ERR_NOMEM;

	for (int i = 0; !err && i < argc;) {
		int used = 1;

		if (options && strcmp(argv[i], "--") == 0) {
			options = false;
		} else if (options && strcmp(argv[i], "--help") == 0) {
			err = OTA_ERR_NOT_FOUND;
		} else if (options && argv[i][0] == '-' && argv[i][1] != '\0') {
			err = take_option(verb, connection, argc - i, argv + i, object, &used, why);
		} else {
			const struct argument *argument = next_positional(verb, object);

			if (argument) {
				err = take_value(argument, argv[i], object, why);
			} else {
				ota_why_set(why,
					"\"%s\" is one argument too many for %s%s%s; --help tells which it takes",
					argv[i], verb->group, *verb->group ? " " : "", verb->name);
				err = OTA_ERR_INVALID;
			}
		}
		i += used;
	}
	if (!err) {
		err = check_required(verb, object, why);
	}
	if (err) {
		cJSON_Delete(object);
		return err;
	}
	*members = object;
	return OTA_OK;
}
