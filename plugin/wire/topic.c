#include "ota/wire/topic.h"

#include <stdint.h>
#include <string.h>

/* As much of a refused text as an error message shows. */
enum {
	TOPIC_SHOWN = 100
};

/*
 * Decode one character of RFC 3629 UTF-8.  Returns its length in bytes, 0 when the bytes are not well-formed.
 */
static size_t utf8_next(const char *text, size_t length, uint32_t *character)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned char first = (unsigned char)text[0];
	uint32_t value;
	size_t bytes;

	if (first < 0x80) {
		*character = first;
		return 1;
	}
	if ((first & 0xe0) == 0xc0) {
		bytes = 2;
		value = first & 0x1fU;
	} else if ((first & 0xf0) == 0xe0) {
		bytes = 3;
		value = first & 0x0fU;
	} else if ((first & 0xf8) == 0xf0) {
		bytes = 4;
		value = first & 0x07U;
	} else {
		return 0;
	}
	if (bytes > length) {
		return 0;
	}
	for (size_t i = 1; i < bytes; i++) {
		unsigned char next = (unsigned char)text[i];

		if ((next & 0xc0) != 0x80) {
			return 0;
		}
		value = value << 6 | (next & 0x3fU);
	}
	if (value < smallest[bytes] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) {
		return 0;
	}
	*character = value;
	return bytes;
}

/* ASCII without zero: decoded without a call, as nearly all that is looked at here is. */
static inline bool is_ascii(char c)
{
	return (signed char)c > 0;
}

/* The same character eight times. */
#define EIGHT(c) (UINT64_C(0x0101010101010101) * (c))

/* A word of text, for questions to which the order of its bytes makes no difference. */
static inline uint64_t word_at(const char *text)
{
	uint64_t word;

	memcpy(&word, text, sizeof(word));
	return word;
}

/*
 * Eight bytes at once.  A high bit in the sum says that the byte is not wanted, or that it lent to a lower one that is not: a "no" is about
 * all eight, and sure only when each is looked at.
 */
static inline bool is_ascii_word(uint64_t word)
{
	return ((word | (word - EIGHT(1))) & EIGHT(0x80)) == 0;
}

/* ASCII without control characters, '+', '/' and '#'; an apostrophe looks like one of these here, and is a "no" too. */
static inline bool is_id_word(uint64_t word)
{
	const uint64_t special = (word | EIGHT(0x0c)) ^ EIGHT('/');

	return ((word | (word + EIGHT(1)) | (word - EIGHT(' ')) | (special - EIGHT(1))) & EIGHT(0x80))
		== 0;
}

/* How many bytes at the beginning are in good words: all of them, when the last eight are one, too. */
static inline size_t good_words(const char *text, size_t length, bool (*is_good)(uint64_t word))
{
	size_t at = 0;

	while (length - at >= sizeof(uint64_t)) {
		if (!is_good(word_at(text + at))) {
			return at;
		}
		at += sizeof(uint64_t);
	}
	return at > 0 && is_good(word_at(text + length - sizeof(uint64_t))) ? length : at;
}

/* The characters that Mosquitto closes a connection for when they stand in a topic. */
static bool character_allowed(uint32_t character)
{
	if (character < 0x20 || (character >= 0x7f && character <= 0x9f)) {
		return false;
	}
	return (character & 0xfffe) != 0xfffe && (character < 0xfdd0 || character > 0xfdef);
}

/* Apart from the function that nearly all text is done with, and that needs no stack frame so. */
__attribute__((noinline)) static bool utf8_valid_slowly(const char *text, size_t length)
{
	size_t at = 0;

	while (at < length) {
		uint32_t character;
		size_t bytes;

		/* Eight bytes at a time while they are ASCII: most text is, also between other characters. */
		at += good_words(text + at, length - at, is_ascii_word);
		if (at == length) {
			break;
		}
		if (is_ascii(text[at])) {
			at++;
			continue;
		}
		bytes = utf8_next(text + at, length - at, &character);
		if (bytes == 0 || character == 0) {
			return false;
		}
		at += bytes;
	}
	return true;
}

bool topic_utf8_valid(const char *text, size_t length)
{
	size_t at = good_words(text, length, is_ascii_word);

	return at == length || utf8_valid_slowly(text + at, length - at);
}

__attribute__((noinline)) static bool id_valid_slowly(const char *text, size_t length)
{
	size_t at = 0;

	while (at < length) {
		uint32_t character = (unsigned char)text[at];
		size_t bytes = is_ascii(text[at]) ? 1 : utf8_next(text + at, length - at, &character);

		if (bytes == 0 || !character_allowed(character) || character == '/' || character == '+'
			|| character == '#') {
			return false;
		}
		at += bytes;
	}
	return true;
}

bool topic_id_valid(const char *text, size_t length)
{
	size_t at;

	if (length < 1 || length > TOPIC_ID_MAX || text[0] == '$') {
		return false;
	}
	at = good_words(text, length, is_id_word);
	return at == length || id_valid_slowly(text + at, length - at);
}

/* Is every character one that a topic on the wire may have? */
static bool template_characters_valid(const char *text, size_t length)
{
	size_t at = 0;

	while (at < length) {
		uint32_t character;
		size_t bytes = utf8_next(text + at, length - at, &character);

		if (bytes == 0 || !character_allowed(character)) {
			return false;
		}
		at += bytes;
	}
	return true;
}

/* The placeholder that begins at `text`, and its length with the braces; 0: none of ours. */
static size_t placeholder_parse(const char *text, enum topic_placeholder *placeholder)
{
	static const struct {
		const char *text;
		enum topic_placeholder placeholder;
	} known[] = { { "{device}", TOPIC_DEVICE }, { "{fleet}", TOPIC_FLEET } };

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		size_t length = strlen(known[i].text);

		if (strncmp(text, known[i].text, length) == 0) {
			*placeholder = known[i].placeholder;
			return length;
		}
	}
	return 0;
}

/* `rest` follows the names of the placeholders that are taken; NULL: nor do they. */
static enum ota_err template_refuse(struct ota_why *why, const char *text, enum topic_takes takes,
	const char *reason, const char *rest)
{
	const char *names = takes == TOPIC_TAKES_DEVICE ? "{device}" : "{device} or {fleet}";

	ota_why_set(why, "topic '%.*s' %s%s%s", (int)TOPIC_SHOWN, text, reason, rest ? names : "",
		rest ? rest : "");
	return OTA_ERR_INVALID;
}

enum ota_err topic_template_parse(
	const char *text, enum topic_takes takes, struct topic_template *topic, struct ota_why *why)
{
	enum topic_placeholder placeholder = TOPIC_DEVICE;
	size_t length = strnlen(text, TOPIC_MAX);
	size_t placeholder_len;
	const char *open;
	const char *suffix;

	if (length == 0) {
		return template_refuse(why, text, takes, "is empty, needed is a level ", "");
	}
	if (length >= TOPIC_MAX) {
		ota_why_set(why, "topic '%.*s...' is too long, accepted are at most %d bytes",
			(int)TOPIC_SHOWN, text, TOPIC_MAX - 1);
		return OTA_ERR_INVALID;
	}
	if (!template_characters_valid(text, length)) {
		ota_why_set(why, "a topic is not valid UTF-8 or has control characters or non-characters");
		return OTA_ERR_INVALID;
	}
	if (text[0] == '$') {
		return template_refuse(
			why, text, takes, "begins with '$', such topics belong to the broker", NULL);
	}
	if (strpbrk(text, "+#")) {
		return template_refuse(
			why, text, takes, "has a wildcard ('+' or '#'), accepted is one level ", " instead");
	}
	open = strpbrk(text, "{}");
	if (!open) {
		return template_refuse(why, text, takes, "has no placeholder, needed is a level ", "");
	}
	placeholder_len = placeholder_parse(open, &placeholder);
	if (placeholder_len == 0) {
		return template_refuse(why, text, takes, "has an unknown placeholder, accepted is ", "");
	}
	suffix = open + placeholder_len;
	if ((open > text && open[-1] != '/') || (*suffix != '\0' && *suffix != '/')) {
		return template_refuse(why, text, takes,
			"has a placeholder that is only a part of a level,"
			" accepted is a whole level between slashes",
			NULL);
	}
	if (strpbrk(suffix, "{}")) {
		return template_refuse(
			why, text, takes, "has more than one placeholder, accepted is one level ", "");
	}
	if (takes == TOPIC_TAKES_DEVICE && placeholder != TOPIC_DEVICE) {
		return template_refuse(why, text, takes, "has the placeholder {fleet}, accepted is ", "");
	}

	topic->placeholder = placeholder;
	topic->prefix_len = (size_t)(open - text);
	topic->suffix_len = length - topic->prefix_len - placeholder_len;
	memcpy(topic->prefix, text, topic->prefix_len);
	topic->prefix[topic->prefix_len] = '\0';
	memcpy(topic->suffix, suffix, topic->suffix_len + 1);
	return OTA_OK;
}

/*
 * What stands in the placeholder's place; false when prefix or suffix differ.  strncmp() and not memcmp(): the topic may be
 * shorter than the prefix.  The first byte is compared here because most foreign topics end there, without a call.
 */
static inline bool template_split(
	const struct topic_template *pattern, const char *topic, struct topic_value *value)
{
	const char *end;

	if (pattern->prefix_len > 0
		&& (topic[0] != pattern->prefix[0]
			|| strncmp(topic, pattern->prefix, pattern->prefix_len) != 0)) {
		return false;
	}
	/* No wildcard and no id reaches into the broker's own topics (MQTT 5.0, section 4.7.2). */
	if (pattern->prefix_len == 0 && topic[0] == '$') {
		return false;
	}
	value->text = topic + pattern->prefix_len;
	end = strchrnul(value->text, '/');
	value->length = (size_t)(end - value->text);
	return strcmp(end, pattern->suffix) == 0;
}

bool topic_match(const struct topic_template *pattern, const char *topic, struct topic_value *value)
{
	struct topic_value found;

	if (!template_split(pattern, topic, &found) || !topic_id_valid(found.text, found.length)) {
		return false;
	}
	*value = found;
	return true;
}

bool topic_match_shape(
	const struct topic_template *pattern, const char *topic, struct topic_value *value)
{
	struct topic_value found;

	if (!template_split(pattern, topic, &found)) {
		return false;
	}
	*value = found;
	return true;
}

enum ota_err topic_render(
	const struct topic_template *topic, const char *value, char *out, size_t size)
{
	size_t length = strnlen(value, TOPIC_ID_MAX + 1);
	char *at = out;

	if (!topic_id_valid(value, length) || topic->prefix_len + length + topic->suffix_len >= size) {
		return OTA_ERR_INVALID;
	}
	memcpy(at, topic->prefix, topic->prefix_len);
	at += topic->prefix_len;
	memcpy(at, value, length);
	at += length;
	memcpy(at, topic->suffix, topic->suffix_len + 1);
	return OTA_OK;
}
