/*
 * Fuzz target: lines of "option value" as in mosquitto.conf, without plugin_opt_.
 * Properties: no crash, no leak; a refusal has a reason; what is accepted is in its range.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota/wire/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	PAIRS_MAX = 32
};

static void must(bool holds, const char *what)
{
	if (!holds) {
		(void)fprintf(stderr, "broken: %s\n", what);
		abort();
	}
}

static size_t split(char *text, struct option_pair *pairs)
{
	size_t count = 0;
	char *line = text;

	while (line && *line && count < PAIRS_MAX) {
		char *end = strchr(line, '\n');
		char *blank;

		if (end) {
			*end++ = '\0';
		}
		blank = strchr(line, ' ');
		if (blank) {
			*blank++ = '\0';
		}
		pairs[count].key = line;
		pairs[count].value = blank;
		count++;
		line = end;
	}
	return count;
}

static void check(const struct options *options)
{
	must(options->database[0] && options->trusted_keys[0], "required ones are there");
	must(options->signature_threshold >= 1 && options->signature_threshold <= 16, "threshold");
	must(options->state_directory[0] == '/', "state_directory");
	must(options->status_topic.placeholder == TOPIC_DEVICE, "status_topic");
	must(options->notify_topics_count >= 1 && options->notify_topics_count <= TOPIC_TEMPLATES_MAX,
		"notify_topics");
	must(options->outbox_max_bytes >= 1048576, "outbox_max_bytes");
	must(options->offline_serve_seconds >= 0 && options->offline_serve_seconds <= 86400,
		"offline_serve_seconds");
	must(options->outbox_sync_ms >= 0 && options->outbox_sync_ms <= 60000, "outbox_sync_ms");
	must(options->block_topic.placeholder == TOPIC_DEVICE
			&& strstr(options->block_get_topic.suffix, "/get"),
		"block_topic");
	must(options->block_max_bytes >= 256 && options->block_max_bytes <= 262144, "block_max_bytes");
	must(options->block_bytes_per_second == 0 || options->block_bytes_per_second >= 16384,
		"block_bytes_per_second");
	must(topic_id_valid(options->broker_name, strlen(options->broker_name)), "broker_name");
	for (size_t i = 0; i < options->notify_topics_count; i++) {
		struct topic_value value;
		char topic[TOPIC_MAX + TOPIC_ID_MAX];

		must(topic_render(&options->notify_topics[i], "x", topic, sizeof(topic)) == OTA_OK,
			"render");
		must(!topic_match(&options->status_topic, topic, &value), "a notice is no status report");
	}
	for (size_t i = 0; i < options->control_users_count; i++) {
		must(options->control_users[i][0] != '\0', "control_users");
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct option_pair pairs[PAIRS_MAX];
	struct options options;
	struct ota_why why = { { 0 } };
	char *text = malloc(size + 1);

	if (!text) {
		return 0;
	}
	if (size > 0) {
		memcpy(text, data, size);
	}
	text[size] = '\0';
	if (options_parse(pairs, split(text, pairs), size % 2 == 0, &options, &why) == OTA_OK) {
		check(&options);
		options_free(&options);
	} else {
		must(why.text[0] != '\0', "a refusal has a reason");
	}
	free(text);
	return 0;
}
