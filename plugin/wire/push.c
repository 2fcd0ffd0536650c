#include "ota/wire/push.h"

#include <stdlib.h>
#include <string.h>

#include "ota/wire/json.h"
#include "ota/wire/topic.h"

enum {
	SHA256_HEX = 64,
	VERSION_MAX = 64,
	CLIENT_SHOWN = 256, /* bytes of a client id that are kept for the record */
};

/* A member that is there and not null. */
static bool given(const cJSON *message, const char *name)
{
	const cJSON *item = json_member(message, name);

	return item && !cJSON_IsNull(item);
}

static enum ota_err check_text(
	const cJSON *message, const char *name, size_t max, bool required, struct ota_why *why)
{
	const char *text = NULL;

	if (!required && !given(message, name)) {
		return OTA_OK;
	}
	return json_text(message, name, max, &text, why) == OTA_OK ? OTA_OK : OTA_ERR_INVALID;
}

static enum ota_err check_size(const cJSON *message, bool required, struct ota_why *why)
{
	int64_t size = 0;

	if (!required && !given(message, "size")) {
		return OTA_OK;
	}
	return json_integer(message, "size", 1, JSON_INTEGER_MAX, &size, why) == OTA_OK
		? OTA_OK
		: OTA_ERR_INVALID;
}

static enum ota_err check_manifest(const cJSON *message, bool *enveloped, struct ota_why *why)
{
	const cJSON *manifest = json_member(message, "manifest");
	char shown[JSON_DESCRIBE_SIZE];

	*enveloped = given(message, "manifest");
	if (*enveloped && !cJSON_IsObject(manifest)) {
		ota_why_set(why, "member \"manifest\" is %s; accepted is a DSSE envelope, an object",
			json_describe(manifest, shown));
		return OTA_ERR_INVALID;
	}
	if (!*enveloped && !given(message, "signature")) {
		ota_why_set(why, "the update is not signed: it has neither \"manifest\" nor \"signature\"");
		return OTA_ERR_INVALID;
	}
	return OTA_OK;
}

static enum ota_err check(const cJSON *message, struct ota_why *why)
{
	bool enveloped = false;
	enum ota_err err = check_manifest(message, &enveloped, why);

	if (!err) {
		err = check_text(message, "version", VERSION_MAX, !enveloped, why);
	}
	if (!err) {
		err = check_text(message, "url", PUSH_URL_MAX, !enveloped, why);
	}
	if (!err) {
		err = check_text(message, "sha256", SHA256_HEX, !enveloped, why);
	}
	if (!err) {
		err = check_size(message, !enveloped, why);
	}
	if (!err) {
		err = check_text(message, "releaseNotes", PUSH_NOTES_MAX, false, why);
	}
	if (!err) {
		err = check_text(message, "signature", PUSH_SIGNATURE_MAX, !enveloped, why);
	}
	return err;
}

/* Move what the command takes from the message. */
static bool move(cJSON *message, cJSON *command)
{
	static const struct {
		const char *from;
		const char *to;
	} members[] = {
		{ "version", "version" },
		{ "url", "url" },
		{ "sha256", "sha256" },
		{ "size", "size" },
		{ "signature", "signature" },
		{ "manifest", "manifest" },
		{ "releaseNotes", "release_notes" },
	};

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		cJSON *item;

		if (!given(message, members[i].from)) {
			continue;
		}
		item = cJSON_DetachItemFromObjectCaseSensitive(message, members[i].from);
		if (!cJSON_AddItemToObject(command, members[i].to, item)) {
			cJSON_Delete(item);
			return false;
		}
	}
	return true;
}

static struct control_request *build(cJSON *message, const char *fleet)
{
	struct control_request *request = calloc(1, sizeof(*request));
	cJSON *command;

	if (!request) {
		return NULL;
	}
	request->root = cJSON_CreateObject();
	command = cJSON_AddObjectToObject(request->root, "push_release");
	if (!command || !cJSON_AddStringToObject(command, "fleet", fleet) || !move(message, command)) {
		control_request_free(request);
		return NULL;
	}
	request->commands[0] = (struct control_command){ .name = "push_release", .members = command };
	request->count = 1;
	return request;
}

enum ota_err push_parse(const char *payload, size_t length, const char *fleet,
	struct control_request **request, struct ota_why *why)
{
	struct ota_why inner = { "" };
	cJSON *message = NULL;
	enum ota_err err;

	if (length > CONTROL_PAYLOAD_MAX) {
		ota_why_set(
			why, "the update has %zu bytes; accepted are up to %d", length, CONTROL_PAYLOAD_MAX);
		return OTA_ERR_INVALID;
	}
	err = json_parse_object(payload, length, CONTROL_DEPTH_MAX, &message, &inner);
	if (!err) {
		err = check(message, &inner);
	}
	if (!err) {
		*request = build(message, fleet);
		err = *request ? OTA_OK : OTA_ERR_NOMEM;
	}
	if (err == OTA_ERR_NOMEM) {
		ota_why_set(why, "out of memory");
	} else if (err) {
		ota_why_set(why, "the update cannot be read: %s", inner.text);
	}
	cJSON_Delete(message);
	return err;
}

enum ota_err push_name(
	struct control_request *request, const char *topic, const char *client, const char *user)
{
	cJSON *command = cJSON_GetObjectItemCaseSensitive(request->root, "push_release");
	char shown[CLIENT_SHOWN + 1] = "";
	size_t length = strnlen(client, CLIENT_SHOWN + 1);

	/* Cut between characters. */
	while (
		length > CLIENT_SHOWN || (length > 0 && ((unsigned char)client[length] & 0xC0U) == 0x80U)) {
		length--;
	}
	if (topic_utf8_valid(client, length)) {
		memcpy(shown, client, length);
	}
	request->topic = strdup(topic);
	request->client = strdup(client);
	request->user = strdup(user);
	return request->topic && request->client && request->user
			&& cJSON_AddStringToObject(command, "topic", topic)
			&& cJSON_AddStringToObject(command, "client", shown)
		? OTA_OK
		: OTA_ERR_NOMEM;
}
