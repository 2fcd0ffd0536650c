/*
 * Fuzz target: a request on $CONTROL/ota/v1.
 * Properties: no crash; a refusal has a reason; what is accepted is bounded, and its refusal is JSON that echoes every command.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota/wire/control.h"
#include "ota/wire/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds, const char *what)
{
	if (!holds) {
		(void)fprintf(stderr, "broken: %s\n", what);
		abort();
	}
}

static void check_answer(const struct control_request *request)
{
	char *text = control_refusal(request, "no");
	const cJSON *responses;
	cJSON *root = NULL;

	must(text && json_parse_object(text, strlen(text), 4, &root, NULL) == OTA_OK,
		"answers are JSON");
	responses = json_member(root, "responses");
	must((size_t)cJSON_GetArraySize(responses) == request->count, "one answer a command");
	for (size_t i = 0; i < request->count; i++) {
		const struct control_command *command = &request->commands[i];
		const cJSON *answer = cJSON_GetArrayItem(responses, (int)i);
		const cJSON *correlation = json_member(answer, "correlationData");

		must(strcmp(cJSON_GetStringValue(json_member(answer, "command")), command->name) == 0,
			"the name comes back");
		must(command->correlation
				? strcmp(cJSON_GetStringValue(correlation), command->correlation) == 0
				: !correlation,
			"the correlation comes back");
	}
	cJSON_Delete(root);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct control_request *request = NULL;
	struct ota_why why = { { 0 } };

	if (control_request_parse((const char *)data, size, &request, &why) != OTA_OK) {
		must(why.text[0] != '\0', "a refusal has a reason");
		return 0;
	}
	must(request->count >= 1 && request->count <= CONTROL_COMMANDS_MAX, "commands are bounded");
	for (size_t i = 0; i < request->count; i++) {
		must(request->commands[i].name[0] && strlen(request->commands[i].name) <= CONTROL_NAME_MAX,
			"names are bounded");
	}
	check_answer(request);
	control_request_free(request);
	return 0;
}
