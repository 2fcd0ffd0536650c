#include "ota/wire/control.h"

#include <stdlib.h>
#include <string.h>

#include "ota/wire/json.h"
#include "ota/wire/topic.h"

enum {
	ANSWERS_START = 1024
};

static enum ota_err read_command(
	const cJSON *item, size_t number, struct control_command *command, struct ota_why *why)
{
	struct ota_why inner = { "" };
	char shown[JSON_DESCRIBE_SIZE];
	enum ota_err err;

	if (!cJSON_IsObject(item)) {
		ota_why_set(
			why, "command %zu is %s; accepted is an object", number, json_describe(item, shown));
		return OTA_ERR_INVALID;
	}
	err = json_text(item, "command", CONTROL_NAME_MAX, &command->name, &inner);
	if (!err && command->name[0] == '\0') {
		ota_why_set(&inner, "member \"command\" is empty; accepted is a command's name");
		err = OTA_ERR_INVALID;
	}
	if (!err) {
		err = json_text(
			item, "correlationData", CONTROL_CORRELATION_MAX, &command->correlation, &inner);
		if (err == OTA_ERR_NOT_FOUND) {
			command->correlation = NULL;
			err = OTA_OK;
		}
	}
	if (err) {
		ota_why_set(why, "command %zu: %s", number, inner.text);
		return OTA_ERR_INVALID;
	}
	command->members = item;
	return OTA_OK;
}

static enum ota_err read_commands(struct control_request *request, struct ota_why *why)
{
	const cJSON *commands = json_member(request->root, "commands");
	char shown[JSON_DESCRIBE_SIZE];
	const cJSON *item;
	size_t count;

	if (!cJSON_IsArray(commands)) {
		ota_why_set(why, "member \"commands\" is %s; accepted is a list of commands",
			commands ? json_describe(commands, shown) : "missing");
		return OTA_ERR_INVALID;
	}
	count = (size_t)cJSON_GetArraySize(commands);
	if (count < 1 || count > CONTROL_COMMANDS_MAX) {
		ota_why_set(why, "member \"commands\" has %zu elements; accepted are 1 to %d", count,
			CONTROL_COMMANDS_MAX);
		return OTA_ERR_INVALID;
	}
	cJSON_ArrayForEach(item, commands) {
		enum ota_err err =
			read_command(item, request->count + 1, &request->commands[request->count], why);

		if (err) {
			return err;
		}
		request->count++;
	}
	return OTA_OK;
}

enum ota_err control_request_parse(
	const char *payload, size_t length, struct control_request **out, struct ota_why *why)
{
	struct control_request *request;
	struct ota_why inner = { "" };
	enum ota_err err;

	if (length > CONTROL_PAYLOAD_MAX) {
		ota_why_set(
			why, "the request has %zu bytes; accepted are up to %d", length, CONTROL_PAYLOAD_MAX);
		return OTA_ERR_INVALID;
	}
	request = calloc(1, sizeof(*request));
	if (!request) {
		ota_why_set(why, "out of memory");
		return OTA_ERR_NOMEM;
	}
	err = json_parse_object(payload, length, CONTROL_DEPTH_MAX, &request->root, &inner);
	if (err) {
		ota_why_set(why, "the request cannot be read: %s", inner.text);
	} else {
		err = read_commands(request, why);
	}
	if (err) {
		control_request_free(request);
		return err;
	}
	*out = request;
	return OTA_OK;
}

void control_request_free(struct control_request *request)
{
	if (!request) {
		return;
	}
	cJSON_Delete(request->root);
	free(request->client);
	free(request->user);
	free(request->topic);
	free(request);
}

/* Room for `more` bytes and the terminator. */
static bool reserve(struct control_answers *answers, size_t more)
{
	size_t capacity = answers->capacity ? answers->capacity : ANSWERS_START;
	char *text;

	if (answers->failed || more > SIZE_MAX / 4 - answers->length) {
		answers->failed = true;
		return false;
	}
	while (capacity <= answers->length + more) {
		capacity *= 2;
	}
	if (capacity != answers->capacity) {
		text = realloc(answers->text, capacity);
		if (!text) {
			answers->failed = true;
			return false;
		}
		answers->text = text;
		answers->capacity = capacity;
	}
	return true;
}

static void put(struct control_answers *answers, const char *text)
{
	size_t length = strlen(text);

	if (reserve(answers, length)) {
		memcpy(answers->text + answers->length, text, length + 1);
		answers->length += length;
	}
}

/* A JSON string.  Bytes that are not UTF-8 make the whole text plain ASCII: it is a message for people, not data. */
static void put_string(struct control_answers *answers, const char *text)
{
	char *copy = strdup(text);
	size_t length;

	if (!copy) {
		answers->failed = true;
		return;
	}
	if (!topic_utf8_valid(copy, strlen(copy))) {
		for (char *at = copy; *at; at++) {
			if ((unsigned char)*at > 0x7e) {
				*at = '?';
			}
		}
	}
	put(answers, "\"");
	length = json_escaped_length(copy);
	if (reserve(answers, length)) {
		*json_escape(copy, answers->text + answers->length) = '\0';
		answers->length += length;
	}
	put(answers, "\"");
	free(copy);
}

static void begin_answer(
	struct control_answers *answers, const char *command, const char *correlation)
{
	put(answers, answers->length == 0 ? "{\"responses\":[{\"command\":" : ",{\"command\":");
	put_string(answers, command);
	if (correlation) {
		put(answers, ",\"correlationData\":");
		put_string(answers, correlation);
	}
}

void control_answer_data(
	struct control_answers *answers, const char *command, const char *correlation, const char *data)
{
	begin_answer(answers, command, correlation);
	put(answers, ",\"data\":");
	put(answers, data);
	put(answers, "}");
}

void control_answer_error(struct control_answers *answers, const char *command,
	const char *correlation, const char *error, const char *code)
{
	if (!answers->error) {
		answers->error = strdup(error);
	}
	begin_answer(answers, command, correlation);
	put(answers, ",\"error\":");
	put_string(answers, error);
	if (code) {
		put(answers, ",\"code\":");
		put_string(answers, code);
	}
	put(answers, "}");
}

char *control_answers_end(struct control_answers *answers)
{
	char *text = NULL;

	put(answers, answers->length == 0 ? "{\"responses\":[]}" : "]}");
	if (!answers->failed) {
		text = answers->text;
		answers->text = NULL;
	}
	control_answers_free(answers);
	return text;
}

void control_answers_free(struct control_answers *answers)
{
	free(answers->text);
	free(answers->error);
	*answers = (struct control_answers){ 0 };
}

char *control_refusal(const struct control_request *request, const char *error)
{
	struct control_answers answers = { 0 };

	if (!request) {
		control_answer_error(&answers, "", NULL, error, NULL);
	}
	for (size_t i = 0; request && i < request->count; i++) {
		control_answer_error(
			&answers, request->commands[i].name, request->commands[i].correlation, error, NULL);
	}
	return control_answers_end(&answers);
}
