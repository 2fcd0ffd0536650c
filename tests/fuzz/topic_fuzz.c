/*
 * Fuzz target: a template and a topic, parted by the first line end.
 * Properties: no crash; matching agrees with a slow and simple reading of the rule; what matches can be rendered again; a text is valid
 * when each of its characters is.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota/wire/topic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds, const char *what)
{
	if (!holds) {
		(void)fprintf(stderr, "broken: %s\n", what);
		abort();
	}
}

/* topic = prefix, something without a slash, suffix. */
static bool shape_slowly(
	const struct topic_template *pattern, const char *topic, struct topic_value *value)
{
	size_t length = strlen(topic);

	if (length < pattern->prefix_len + pattern->suffix_len
		|| memcmp(topic, pattern->prefix, pattern->prefix_len) != 0
		|| memcmp(topic + length - pattern->suffix_len, pattern->suffix, pattern->suffix_len)
			!= 0) {
		return false;
	}
	value->text = topic + pattern->prefix_len;
	value->length = length - pattern->prefix_len - pattern->suffix_len;
	return memchr(value->text, '/', value->length) == NULL
		&& !(pattern->prefix_len == 0 && topic[0] == '$');
}

static void check(const char *text, const char *topic)
{
	struct topic_template pattern;
	struct ota_why why = { { 0 } };
	struct topic_value value = { NULL, 0 };
	struct topic_value slow = { NULL, 0 };
	char id[TOPIC_ID_MAX + 1];
	char out[TOPIC_MAX + TOPIC_ID_MAX];
	bool shape;

	if (topic_template_parse(text, TOPIC_TAKES_EITHER, &pattern, &why) != OTA_OK) {
		must(why.text[0] != '\0', "a refusal has a reason");
		return;
	}
	shape = shape_slowly(&pattern, topic, &slow);
	must(topic_match_shape(&pattern, topic, &value) == shape, "shape");
	must(!shape || (value.text == slow.text && value.length == slow.length), "the shape's value");
	value = (struct topic_value){ NULL, 0 };
	must(topic_match(&pattern, topic, &value) == (shape && topic_id_valid(slow.text, slow.length)),
		"match");
	if (value.text) {
		must(value.text == slow.text && value.length == slow.length, "value");
		must(topic_utf8_valid(value.text, value.length), "an id is UTF-8");
		memcpy(id, value.text, value.length);
		id[value.length] = '\0';
		must(topic_render(&pattern, id, out, sizeof(out)) == OTA_OK, "render");
		must(strcmp(out, topic) == 0, "rendered as it was");
	}
}

/* Are all characters good, asked for one by one?  The functions read longer texts in words of eight bytes. */
static bool each_valid(
	const char *text, size_t length, bool (*is_valid)(const char *text, size_t length))
{
	for (size_t at = 0, bytes; at < length; at += bytes) {
		const unsigned char first = (unsigned char)text[at];

		bytes = first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
		/* A '$' alone would be a bad id, inside of one it is not. */
		if (first != '$' && (bytes > length - at || !is_valid(text + at, bytes))) {
			return false;
		}
	}
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	char *end;

	if (!text) {
		return 0;
	}
	if (size > 0) {
		memcpy(text, data, size);
	}
	text[size] = '\0';
	must(topic_utf8_valid(text, size) == each_valid(text, size, topic_utf8_valid), "UTF-8");
	must(topic_id_valid(text, size)
			== (size >= 1 && size <= TOPIC_ID_MAX && text[0] != '$'
				&& each_valid(text, size, topic_id_valid)),
		"ids");
	if (topic_id_valid(text, size)) {
		must(topic_utf8_valid(text, size), "every id is UTF-8");
	}
	end = strchr(text, '\n');
	if (end) {
		/* An exact copy: reading behind the end of a topic shows under the sanitizer. */
		char *topic = strdup(end + 1);

		*end = '\0';
		if (topic) {
			check(text, topic);
		}
		free(topic);
	}
	free(text);
	return 0;
}
