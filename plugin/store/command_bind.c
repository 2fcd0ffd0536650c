#include "command_bind.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota/base/hex.h"
#include "ota/store/pg_array.h"
#include "ota/wire/base64.h"
#include "ota/wire/json.h"

enum {
	NUMBER_SIZE = 40,
	TEXTS_MAX = 64
};

/* Append what there is room for; the texts of the table fit, as a test shows. */
static void append(char *out, size_t size, const char *text)
{
	size_t used = strlen(out);
	size_t length = strnlen(text, size - used - 1);

	memcpy(out + used, text, length);
	out[used + length] = '\0';
}

/* The fewest digits that read back as the same number: 0.95, not 0.94999999999999996. */
static char *number_text(double number)
{
	char text[NUMBER_SIZE];
	double back;

	for (int digits = 15; digits <= 17; digits++) {
		(void)snprintf(text, sizeof(text), "%.*g", digits, number);
		back = strtod(text, NULL);
		if (!(back < number) && !(back > number)) {
			break;
		}
	}
	return strdup(text);
}

static char *hex_text(const char *base64)
{
	uint8_t *bytes = NULL;
	size_t length = 0;
	char *text = NULL;

	if (base64_decode(base64, strlen(base64), &bytes, &length) != OTA_OK) {
		return NULL;
	}
	text = malloc(2 * length + 3);
	if (text) {
		memcpy(text, "\\x", 2);
		hex_write(bytes, length, text + 2);
	}
	free(bytes);
	return text;
}

static char *array_text(const cJSON *list)
{
	struct pg_array array = { 0 };
	const char *end;
	char *text = NULL;
	const cJSON *item;

	if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) > TEXTS_MAX) {
		return NULL;
	}
	pg_array_begin(&array);
	cJSON_ArrayForEach(item, list) {
		if (!cJSON_IsString(item)) {
			pg_array_free(&array);
			return NULL;
		}
		pg_array_text(&array, item->valuestring);
	}
	end = pg_array_end(&array);
	if (end) {
		text = strdup(end);
	}
	pg_array_free(&array);
	return text;
}

static char *integer_text(const cJSON *object, const char *name, int64_t min, int64_t max)
{
	char text[NUMBER_SIZE];
	struct ota_why why;
	int64_t value = 0;

	if (json_integer(object, name, min, max, &value, &why) != OTA_OK) {
		return NULL;
	}
	(void)snprintf(text, sizeof(text), "%" PRId64, value);
	return strdup(text);
}

static const char *accepted(enum command_type type)
{
	static const char *const words[] = {
		[COMMAND_TEXT] = "a text",
		[COMMAND_INTEGER] = "an integer",
		[COMMAND_LIMIT] = "an integer from 1 to 1000",
		[COMMAND_NUMBER] = "a number",
		[COMMAND_BOOLEAN] = "true or false",
		[COMMAND_JSON] = "an object or a list",
		[COMMAND_BASE64] = "base64",
		[COMMAND_TEXTS] = "a list of texts",
		[COMMAND_RELEASE_STATE] = "submitted, verified, rejected or revoked",
		[COMMAND_ROLLOUT_STATE] =
			"scheduled, running, paused, halted, completed, cancelled or superseded",
		[COMMAND_UPDATE_STATE] =
			("pending, notified, downloading, verifying, applying, rebooting, succeeded, failed, "
			 "rolled_back, timed_out, rejected or cancelled"),
	};

	return words[type];
}

/* A text that is one of those that are accepted; a mistyped one would find nothing, and look as if there were nothing. */
static char *state_text(enum command_type type, const char *text)
{
	const size_t length = strlen(text);
	const char *at = accepted(type);

	while (*at) {
		const size_t word = strcspn(at, ", ");

		if (word == length && strncmp(at, text, length) == 0 && strcmp(text, "or") != 0) {
			return strdup(text);
		}
		at += word;
		at += strspn(at, ", ");
	}
	return NULL;
}

/* NULL: not acceptable (or no memory, which is told as the same). */
static char *value_text(const struct command_member *member, const cJSON *object, const cJSON *item)
{
	switch (member->type) {
	case COMMAND_TEXT:
		return cJSON_IsString(item) ? strdup(item->valuestring) : NULL;
	case COMMAND_INTEGER:
		return integer_text(object, member->name, -JSON_INTEGER_MAX, JSON_INTEGER_MAX);
	case COMMAND_LIMIT:
		return integer_text(object, member->name, 1, COMMAND_LIMIT_MAX);
	case COMMAND_NUMBER:
		return cJSON_IsNumber(item) ? number_text(item->valuedouble) : NULL;
	case COMMAND_BOOLEAN:
		return cJSON_IsBool(item) ? strdup(cJSON_IsTrue(item) ? "true" : "false") : NULL;
	case COMMAND_JSON:
		return cJSON_IsObject(item) || cJSON_IsArray(item) ? cJSON_PrintUnformatted(item) : NULL;
	case COMMAND_BASE64:
		return cJSON_IsString(item) ? hex_text(item->valuestring) : NULL;
	case COMMAND_TEXTS:
		return array_text(item);
	case COMMAND_RELEASE_STATE:
	case COMMAND_ROLLOUT_STATE:
	case COMMAND_UPDATE_STATE:
		return cJSON_IsString(item) ? state_text(member->type, item->valuestring) : NULL;
	}
	return NULL;
}

static size_t members_of(const struct command *row)
{
	size_t count = 0;

	while (count < COMMAND_MEMBERS_MAX && row->members[count].name) {
		count++;
	}
	return count;
}

static enum ota_err check_names(
	const struct command *row, const struct control_command *command, struct ota_why *why)
{
	size_t count = members_of(row);
	char list[200] = "";
	const cJSON *item;

	cJSON_ArrayForEach(item, command->members) {
		bool known =
			strcmp(item->string, "command") == 0 || strcmp(item->string, "correlationData") == 0;
		char shown[JSON_DESCRIBE_SIZE];

		for (size_t i = 0; i < count; i++) {
			known = known || strcmp(item->string, row->members[i].name) == 0;
		}
		if (known) {
			continue;
		}
		for (size_t i = 0; i < count; i++) {
			append(list, sizeof(list), i == 0 ? "" : ", ");
			append(list, sizeof(list), row->members[i].name);
		}
		ota_why_set(why, "%s has no member %s; accepted are: %s", row->name,
			json_describe_text(item->string, shown), count > 0 ? list : "none");
		return OTA_ERR_INVALID;
	}
	return OTA_OK;
}

/* SELECT ... FROM ota.<function>(a => $1::text, ...), with the members that were given. */
static void begin_call(struct command_call *call, const struct command *row)
{
	append(call->text, sizeof(call->text), "SELECT ");
	if (row->result) {
		append(call->text, sizeof(call->text), "jsonb_build_object('");
		append(call->text, sizeof(call->text), row->result);
		append(call->text, sizeof(call->text), "', f)");
	} else {
		append(call->text, sizeof(call->text), "'{}'::jsonb");
	}
	append(call->text, sizeof(call->text), " FROM ota.");
	append(call->text, sizeof(call->text), row->function);
	append(call->text, sizeof(call->text), "(");
}

static void add_argument(struct command_call *call, const struct command_member *member)
{
	char number[NUMBER_SIZE];

	(void)snprintf(number, sizeof(number), " => $%d::", call->count);
	append(call->text, sizeof(call->text), call->count == 1 ? "" : ", ");
	append(call->text, sizeof(call->text), member->name);
	append(call->text, sizeof(call->text), number);
	append(call->text, sizeof(call->text), member->sql);
}

enum ota_err command_bind(const struct command *row, const struct control_command *command,
	struct command_call *call, struct ota_why *why)
{
	enum ota_err err;

	*call = (struct command_call){ .sql = row->query ? row->query : call->text };
	err = check_names(row, command, why);
	if (err) {
		return err;
	}
	if (!row->query) {
		begin_call(call, row);
	}
	for (size_t i = 0; i < members_of(row); i++) {
		const struct command_member *member = &row->members[i];
		const cJSON *item = json_member(command->members, member->name);
		char shown[JSON_DESCRIBE_SIZE];

		if (!item || cJSON_IsNull(item)) {
			if (member->required) {
				ota_why_set(why, "%s needs the member \"%s\": %s", row->name, member->name,
					accepted(member->type));
				return OTA_ERR_INVALID;
			}
			call->count += row->query ? 1 : 0;
			continue;
		}
		call->values[call->count] = value_text(member, command->members, item);
		if (!call->values[call->count]) {
			ota_why_set(why, "member \"%s\" is %s; accepted is %s", member->name,
				json_describe(item, shown), accepted(member->type));
			return OTA_ERR_INVALID;
		}
		call->count++;
		if (!row->query) {
			add_argument(call, member);
		}
	}
	if (!row->query) {
		append(call->text, sizeof(call->text), ") AS f");
	}
	return OTA_OK;
}

void command_call_clear(struct command_call *call)
{
	for (size_t i = 0; i < COMMAND_MEMBERS_MAX; i++) {
		free(call->values[i]);
		call->values[i] = NULL;
	}
}
