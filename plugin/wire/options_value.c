#include "options_value.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
	CONTROL_USERS_MAX = 1024,
	NAME_DISTANCE_MAX = 48
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

char *option_value_trim(const char *value)
{
	bool quoted = false;
	size_t length = 0;

	value = value ? value : "";
	while (is_blank(*value)) {
		value++;
	}
	for (; value[length]; length++) {
		if (value[length] == '\\' && quoted && value[length + 1]) {
			length++;
		} else if (value[length] == '\'') {
			quoted = !quoted;
		} else if (value[length] == '#' && !quoted
			&& (length == 0 || is_blank(value[length - 1]))) {
			break;
		}
	}
	while (length > 0 && is_blank(value[length - 1])) {
		length--;
	}
	return strndup(value, length);
}

enum ota_err option_text(
	struct options *options, void *field, const char *value, struct ota_why *detail)
{
	char **text = field;

	(void)options;
	(void)detail;
	if (value[0] == '\0' || !topic_utf8_valid(value, strlen(value))) {
		return OTA_ERR_INVALID;
	}
	*text = strdup(value);
	return *text ? OTA_OK : OTA_ERR_NOMEM;
}

enum ota_err option_absolute_path(
	struct options *options, void *field, const char *value, struct ota_why *detail)
{
	return value[0] == '/' ? option_text(options, field, value, detail) : OTA_ERR_INVALID;
}

enum ota_err option_name(
	struct options *options, void *field, const char *value, struct ota_why *detail)
{
	return topic_id_valid(value, strlen(value)) ? option_text(options, field, value, detail)
												: OTA_ERR_INVALID;
}

_Static_assert(sizeof(enum signature_policy) == sizeof(unsigned)
		&& sizeof(enum device_identity) == sizeof(unsigned)
		&& sizeof(enum enroll) == sizeof(unsigned)
		&& sizeof(enum intercept_push) == sizeof(unsigned)
		&& sizeof(enum acl_other_topics) == sizeof(unsigned),
	"what option_word() writes");

/* A word of the list: its place goes into the field, an enum.  Places without a word are nothing that can be said. */
static enum ota_err option_word(
	void *field, const char *value, const char *const *words, size_t count)
{
	for (unsigned i = 0; i < count; i++) {
		if (words[i] && strcmp(words[i], value) == 0) {
			memcpy(field, &i, sizeof(i));
			return OTA_OK;
		}
	}
	return OTA_ERR_INVALID;
}

enum ota_err option_signature_policy(
	struct options *options, void *field, const char *value, struct ota_why *detail)
{
	static const char *const words[] = {
		[SIGNATURE_POLICY_MANIFEST] = "manifest",
		[SIGNATURE_POLICY_ARTIFACT] = "artifact",
		[SIGNATURE_POLICY_BOTH] = "both",
	};

	(void)options;
	(void)detail;
	return option_word(field, value, words, sizeof(words) / sizeof(words[0]));
}

enum ota_err option_device_identity(
	struct options *options, void *field, const char *value, struct ota_why *detail)
{
	static const char *const words[] = {
		[DEVICE_IDENTITY_CLIENTID] = "clientid",
		[DEVICE_IDENTITY_USERNAME] = "username",
	};

	(void)options;
	(void)detail;
	return option_word(field, value, words, sizeof(words) / sizeof(words[0]));
}

enum ota_err option_enroll(
	struct options *options, void *field, const char *value, struct ota_why *detail)
{
	static const char *const words[] = {
		[ENROLL_AUTO] = "auto",
		[ENROLL_KNOWN] = "known",
	};

	(void)options;
	(void)detail;
	return option_word(field, value, words, sizeof(words) / sizeof(words[0]));
}

enum ota_err option_intercept_push(
	struct options *options, void *field, const char *value, struct ota_why *detail)
{
	static const char *const words[] = {
		[INTERCEPT_PUSH_DENY] = "deny",
		[INTERCEPT_PUSH_STAGE] = "stage",
	};

	(void)options;
	(void)detail;
	return option_word(field, value, words, sizeof(words) / sizeof(words[0]));
}

enum ota_err option_acl_other_topics(
	struct options *options, void *field, const char *value, struct ota_why *detail)
{
	static const char *const words[] = {
		[ACL_OTHER_DEFER] = "defer",
		[ACL_OTHER_ALLOW] = "allow",
	};

	(void)options;
	(void)detail;
	return option_word(field, value, words, sizeof(words) / sizeof(words[0]));
}

/* Decimal digits only, no sign, in [min, max]; `*rest` is what follows them. */
static enum ota_err option_digits(
	const char *value, int64_t min, int64_t max, int64_t *number, const char **rest)
{
	int64_t found = 0;
	const char *at = value;

	for (; *at >= '0' && *at <= '9'; at++) {
		int digit = *at - '0';

		if (found > (max - digit) / 10) {
			return OTA_ERR_INVALID;
		}
		found = found * 10 + digit;
	}
	if (at == value || found < min) {
		return OTA_ERR_INVALID;
	}
	*number = found;
	*rest = at;
	return OTA_OK;
}

static enum ota_err option_int32(const char *value, int32_t min, int32_t max, int32_t *number)
{
	int64_t found = 0;
	const char *rest = value;
	enum ota_err err = option_digits(value, min, max, &found, &rest);

	if (err != OTA_OK || *rest != '\0') {
		return OTA_ERR_INVALID;
	}
	*number = (int32_t)found;
	return OTA_OK;
}

enum ota_err option_threshold(
	struct options *options, void *field, const char *value, struct ota_why *detail)
{
	(void)options;
	(void)detail;
	return option_int32(value, 1, 16, field);
}

enum ota_err option_reports_per_minute(
	struct options *options, void *field, const char *value, struct ota_why *detail)
{
	(void)options;
	(void)detail;
	return option_int32(value, 0, 1000000, field);
}

enum ota_err option_outbox_sync_ms(
	struct options *options, void *field, const char *value, struct ota_why *detail)
{
	(void)options;
	(void)detail;
	return option_int32(value, 0, 60000, field);
}

enum ota_err option_offline_serve_seconds(
	struct options *options, void *field, const char *value, struct ota_why *detail)
{
	(void)options;
	(void)detail;
	return option_int32(value, 0, 86400, field);
}

/* A number of bytes, with k, M or G behind it for powers of 1024; `smallest` at least. */
static enum ota_err option_bytes(const char *value, int64_t smallest, int64_t *bytes)
{
	static const char suffixes[] = "kKmMgG";
	const char *rest = value;
	const char *suffix;
	int64_t number = 0;
	int shift = 0;

	if (option_digits(value, 0, INT64_MAX, &number, &rest) != OTA_OK) {
		return OTA_ERR_INVALID;
	}
	if (*rest) {
		suffix = strchr(suffixes, *rest);
		if (!suffix || rest[1] != '\0') {
			return OTA_ERR_INVALID;
		}
		shift = 10 * (int)((suffix - suffixes) / 2 + 1);
	}
	if (number > INT64_MAX >> shift || number << shift < smallest) {
		return OTA_ERR_INVALID;
	}
	*bytes = number << shift;
	return OTA_OK;
}

enum ota_err option_outbox_max_bytes(
	struct options *options, void *field, const char *value, struct ota_why *detail)
{
	(void)options;
	(void)detail;
	return option_bytes(value, 1048576, field);
}

enum ota_err option_block_rate(
	struct options *options, void *field, const char *value, struct ota_why *detail)
{
	int64_t *rate = field;

	(void)options;
	(void)detail;
	if (strcmp(value, "0") == 0) {
		*rate = 0;
		return OTA_OK;
	}
	return option_bytes(value, 16384, rate);
}

enum ota_err option_block_max_bytes(
	struct options *options, void *field, const char *value, struct ota_why *detail)
{
	(void)options;
	(void)detail;
	return option_int32(value, 256, 262144, field);
}

enum ota_err option_status_topic(
	struct options *options, void *field, const char *value, struct ota_why *detail)
{
	(void)options;
	return topic_template_parse(value, TOPIC_TAKES_DEVICE, field, detail);
}

enum ota_err option_block_topic(
	struct options *options, void *field, const char *value, struct ota_why *detail)
{
	static const char get[] = "/get";
	struct topic_template *topic = &options->block_get_topic;
	enum ota_err err = topic_template_parse(value, TOPIC_TAKES_DEVICE, field, detail);

	if (err != OTA_OK) {
		return err;
	}
	*topic = options->block_topic;
	if (strlen(value) + sizeof(get) > TOPIC_MAX) {
		ota_why_set(detail,
			"topic '%.100s...' with /get behind it is too long, accepted are at most %zu bytes",
			value, TOPIC_MAX - sizeof(get));
		return OTA_ERR_INVALID;
	}
	memcpy(topic->suffix + topic->suffix_len, get, sizeof(get));
	topic->suffix_len += sizeof(get) - 1;
	return OTA_OK;
}

/* The next word of a list: where it begins, and how long it is (0: none left); `*at` moves behind it. */
static size_t option_next_word(const char **at, const char *separators, const char **word)
{
	size_t length;

	*word = *at + strspn(*at, separators);
	length = strcspn(*word, separators);
	*at = *word + length;
	return length;
}

enum ota_err option_notify_topics(
	struct options *options, void *field, const char *value, struct ota_why *detail)
{
	const char *at = value;
	const char *word;
	size_t length;

	(void)field;
	while ((length = option_next_word(&at, " \t", &word)) > 0) {
		struct topic_template *topic = &options->notify_topics[options->notify_topics_count];
		char text[TOPIC_MAX + 1]; /* one byte more than fits, so that a longer word is refused */
		size_t copied = length < TOPIC_MAX ? length : TOPIC_MAX;

		if (options->notify_topics_count == TOPIC_TEMPLATES_MAX) {
			return OTA_ERR_INVALID;
		}
		memcpy(text, word, copied);
		text[copied] = '\0';
		if (topic_template_parse(text, TOPIC_TAKES_EITHER, topic, detail) != OTA_OK) {
			return OTA_ERR_INVALID;
		}
		options->notify_topics_count++;
	}
	return options->notify_topics_count > 0 ? OTA_OK : OTA_ERR_INVALID;
}

enum ota_err option_control_users(
	struct options *options, void *field, const char *value, struct ota_why *detail)
{
	const char *at = value;
	const char *word;
	size_t count = 0;
	size_t length;

	(void)field;
	(void)detail;
	if (!topic_utf8_valid(value, strlen(value))) {
		return OTA_ERR_INVALID;
	}
	while (option_next_word(&at, " \t,", &word) > 0) {
		count++;
	}
	if (count > CONTROL_USERS_MAX) {
		return OTA_ERR_INVALID;
	}
	if (count == 0) {
		return OTA_OK;
	}
	options->control_users = calloc(count, sizeof(options->control_users[0]));
	if (!options->control_users) {
		return OTA_ERR_NOMEM;
	}
	at = value;
	while ((length = option_next_word(&at, " \t,", &word)) > 0) {
		char *user = strndup(word, length);

		if (!user) {
			return OTA_ERR_NOMEM;
		}
		options->control_users[options->control_users_count++] = user;
	}
	return OTA_OK;
}

static size_t smallest_of(size_t a, size_t b, size_t c)
{
	size_t smallest = a < b ? a : b;

	return smallest < c ? smallest : c;
}

/* V. Levenshtein, "Binary codes capable of correcting deletions, insertions, and reversals", 1966; one row of the matrix. */
size_t option_name_distance(const char *left, const char *right)
{
	size_t left_length = strnlen(left, NAME_DISTANCE_MAX + 1);
	size_t right_length = strnlen(right, NAME_DISTANCE_MAX + 1);
	size_t row[NAME_DISTANCE_MAX + 1];

	if (left_length > NAME_DISTANCE_MAX || right_length > NAME_DISTANCE_MAX) {
		return NAME_DISTANCE_MAX;
	}
	for (size_t j = 0; j <= right_length; j++) {
		row[j] = j;
	}
	for (size_t i = 1; i <= left_length; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= right_length; j++) {
			size_t above = row[j];

			row[j] =
				smallest_of(above + 1, row[j - 1] + 1, diagonal + (left[i - 1] != right[j - 1]));
			diagonal = above;
		}
	}
	return row[right_length];
}

/* No topic has a control character, so this one can stand for the placeholder. */
static const char any_level[] = "\x01";

static void template_flatten(const struct topic_template *topic, char out[2 * TOPIC_MAX])
{
	memcpy(out, topic->prefix, topic->prefix_len);
	out[topic->prefix_len] = any_level[0];
	memcpy(out + topic->prefix_len + 1, topic->suffix, topic->suffix_len + 1);
}

bool option_topics_overlap(const struct topic_template *left, const struct topic_template *right)
{
	char left_text[2 * TOPIC_MAX];
	char right_text[2 * TOPIC_MAX];
	const char *l = left_text;
	const char *r = right_text;

	template_flatten(left, left_text);
	template_flatten(right, right_text);
	for (;;) {
		size_t l_length = strcspn(l, "/");
		size_t r_length = strcspn(r, "/");

		if (*l != any_level[0] && *r != any_level[0]
			&& (l_length != r_length || memcmp(l, r, l_length) != 0)) {
			return false;
		}
		l += l_length;
		r += r_length;
		if (*l != *r) {
			return false; /* one has more levels */
		}
		if (*l == '\0') {
			return true;
		}
		l++;
		r++;
	}
}
