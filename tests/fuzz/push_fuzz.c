/*
 * Fuzz target: an update that a back end publishes to a fleet's notify topic.
 * Properties: no crash; a refusal has a reason; what is accepted is one command for that fleet with members of the kinds that its SQL
 * takes, signed in one way at least.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota/wire/json.h"
#include "ota/wire/push.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds, const char *what)
{
	if (!holds) {
		(void)fprintf(stderr, "broken: %s\n", what);
		abort();
	}
}

static void check_members(const cJSON *members)
{
	static const char *const texts[] = { "version", "url", "sha256", "signature", "release_notes" };
	const cJSON *manifest = json_member(members, "manifest");
	const cJSON *item;
	int64_t value = 0;

	must(strcmp(cJSON_GetStringValue(json_member(members, "fleet")), "pumps") == 0,
		"the fleet is the topic's");
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		item = json_member(members, texts[i]);
		must(!item || cJSON_IsString(item), "texts are texts");
		must(item || manifest || i == 4, "nothing is missing without a manifest");
	}
	must(!json_member(members, "size")
			|| json_integer(members, "size", 1, JSON_INTEGER_MAX, &value, NULL) == OTA_OK,
		"the size is one");
	must(!manifest || cJSON_IsObject(manifest), "a manifest is an object");
	must(manifest || json_member(members, "signature"), "it is signed");
	must(cJSON_GetArraySize(members) <= 8, "no other members");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct control_request *request = NULL;
	struct ota_why why = { { 0 } };

	if (push_parse((const char *)data, size, "pumps", &request, &why) != OTA_OK) {
		must(why.text[0] != '\0', "a refusal has a reason");
		return 0;
	}
	must(request->count == 1 && strcmp(request->commands[0].name, "push_release") == 0,
		"one command");
	check_members(request->commands[0].members);
	must(push_name(request, "fleet/pumps/ota/available", "client", "user") == OTA_OK,
		"it can be named");
	control_request_free(request);
	return 0;
}
