/*
 * Fuzz target: an event record from disk; and the same bytes as the texts of an event that is written.
 * Properties: no crash; what is read writes the same bytes; what is written can be read, and its texts are UTF-8.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota/wire/event.h"
#include "ota/wire/topic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds, const char *what)
{
	if (!holds) {
		(void)fprintf(stderr, "broken: %s\n", what);
		abort();
	}
}

static void check_read(const uint8_t *data, size_t size)
{
	static uint8_t again[EVENT_RECORD_MAX];
	struct event event;
	size_t length = 0;

	if (event_decode(data, size, &event) != OTA_OK) {
		return;
	}
	must(event_encode(&event, again, sizeof(again), &length) == OTA_OK,
		"what is read can be written");
	must(length == size && memcmp(again, data, size) == 0, "with the same bytes");
}

/* `text` has at least two terminated strings in it. */
static void check_write(const char *text, const char *other)
{
	static uint8_t record[EVENT_RECORD_MAX];
	struct event event = { .kind = EVENT_DENIED, .device = text, .text = other, .json = text };
	struct event back;
	size_t length = 0;

	if (event_encode(&event, record, sizeof(record), &length) != OTA_OK) {
		must(2 * strlen(text) + strlen(other) > EVENT_RECORD_MAX - 128,
			"only large ones are refused");
		return;
	}
	must(event_decode(record, length, &back) == OTA_OK, "what is written can be read");
	must(strlen(back.device) == strlen(text) && strlen(back.text) == strlen(other),
		"lengths are kept");
	must(topic_utf8_valid(back.text, strlen(back.text)), "texts are UTF-8");
	if (topic_utf8_valid(text, strlen(text))) {
		must(strcmp(back.device, text) == 0 && strcmp(back.json, text) == 0, "texts are kept");
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = calloc(1, size + 2);

	if (!text) {
		return 0;
	}
	if (size > 0) {
		memcpy(text, data, size);
	}
	check_read(data, size);
	check_write(text, text + strlen(text) + 1);
	free(text);
	return 0;
}
