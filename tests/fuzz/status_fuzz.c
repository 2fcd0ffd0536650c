/*
 * Fuzz target: a status payload.
 * Properties: no crash; a refusal has a reason; JSON is read the same with and without allocating; what is accepted is bounded, UTF-8, and reads the same from its own JSON.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota/wire/json.h"
#include "ota/wire/status.h"
#include "ota/wire/topic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds, const char *what)
{
	if (!holds) {
		(void)fprintf(stderr, "broken: %s\n", what);
		abort();
	}
}

static void check_text(const char *text, size_t max)
{
	must(strlen(text) <= max, "texts are bounded");
	must(topic_utf8_valid(text, strlen(text)), "texts are UTF-8");
	for (; *text; text++) {
		must((unsigned char)*text >= 0x20 && *text != 0x7f, "no control characters");
	}
}

static void check(const struct status_report *report)
{
	check_text(report->version, VERSION_MAX);
	check_text(report->previous_version, VERSION_MAX);
	check_text(report->error, STATUS_TEXT_MAX);
	check_text(report->hardware, STATUS_TEXT_MAX);
	check_text(report->boot_id, STATUS_TEXT_MAX);
	check_text(report->slot, STATUS_TEXT_MAX);
	must(report->progress >= -1 && report->progress <= 100, "progress");
	must(report->attempt >= 0, "attempt");
	must(report->retry_after_ms >= 0 && report->retry_after_ms <= INT64_C(31449600000),
		"retryAfter");
	must(report->status != REPORT_SUCCESS || report->version[0], "success has a version");
	must(report->json_length == strlen(report->json) && report->json_length <= STATUS_PAYLOAD_MAX,
		"json is bounded");
	must(topic_utf8_valid(report->json, report->json_length), "json is UTF-8");
	for (const char *at = report->json; *at; at++) {
		must(strncmp(at, "\\u0000", 6) != 0, "no U+0000 for jsonb");
		at += *at == '\\'; /* an escaped backslash begins no escape */
	}
}

/* Without allocating, the tree is the same. */
static void check_room(const char *text, size_t size)
{
	struct json_room room;
	struct ota_why whys[2] = { { { 0 } }, { { 0 } } };
	cJSON *trees[2] = { NULL, NULL };
	enum ota_err err =
		json_parse_object_in(&room, text, size, STATUS_DEPTH_MAX, &trees[0], &whys[0]);

	if (err == OTA_ERR_FULL) {
		return;
	}
	must(json_parse_object(text, size, STATUS_DEPTH_MAX, &trees[1], &whys[1]) == err,
		"read the same in a room");
	must(strcmp(whys[0].text, whys[1].text) == 0, "with the same reason");
	must(err != OTA_OK || cJSON_Compare(trees[0], trees[1], true), "as the same tree");
	cJSON_Delete(trees[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct status_report first;
	struct status_report second;
	struct ota_why why = { { 0 } };

	check_room((const char *)data, size);
	if (status_report_parse(data, size, &first, &why) != OTA_OK) {
		must(why.text[0] != '\0', "a refusal has a reason");
		return 0;
	}
	check(&first);
	must(status_report_parse(first.json, first.json_length, &second, &why) == OTA_OK,
		"its own JSON is accepted");
	must(strcmp(first.version, second.version) == 0 && strcmp(first.error, second.error) == 0
			&& strcmp(first.hardware, second.hardware) == 0
			&& strcmp(first.boot_id, second.boot_id) == 0 && strcmp(first.slot, second.slot) == 0
			&& first.status == second.status && first.progress == second.progress
			&& first.attempt == second.attempt && first.retry_after_ms == second.retry_after_ms,
		"and says the same");
	must(strcmp(first.json, second.json) == 0, "in the same words");
	status_report_free(&first);
	status_report_free(&second);
	return 0;
}
