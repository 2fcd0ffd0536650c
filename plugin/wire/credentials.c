#include "ota/wire/credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>

enum {
	MODE_TOO_OPEN = S_IWGRP | S_IRWXO
};

static const char lower[] = "abcdefghijklmnopqrstuvwxyz_";
static const char name_characters[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.";
static const char region_characters[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";

/* What may stand below a [name]: where it goes, and what is accepted. */
static const struct member {
	const char *name;
	size_t offset;
	size_t max;
	const char *accepted;
} members[] = {
	{ "aws_access_key_id", offsetof(struct credential, key_id), CREDENTIAL_KEY_ID_MAX,
		"1 to 128 ASCII characters without blanks and '/'" },
	{ "aws_secret_access_key", offsetof(struct credential, secret), CREDENTIAL_SECRET_MAX,
		"1 to 256 ASCII characters without blanks" },
	{ "region", offsetof(struct credential, region), CREDENTIAL_REGION_MAX,
		"1 to 64 letters, digits, '_' and '-', such as eu-central-1" },
};
enum {
	MEMBERS = sizeof(members) / sizeof(members[0])
};

/* A piece of the text. */
struct span {
	const char *text;
	size_t length;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static struct span trim(const char *text, size_t length)
{
	while (length > 0 && is_blank(text[0])) {
		text++;
		length--;
	}
	while (length > 0 && is_blank(text[length - 1])) {
		length--;
	}
	return (struct span){ text, length };
}

/* Of these characters only?  `set` NULL: printable ASCII without blanks. */
static bool consists_of(struct span span, const char *set)
{
	for (size_t i = 0; i < span.length; i++) {
		char c = span.text[i];

		if (c <= ' ' || c > '~' || (set && !strchr(set, c))) {
			return false;
		}
	}
	return span.length > 0;
}

static bool is_text(struct span span, const char *text)
{
	return strlen(text) == span.length && memcmp(text, span.text, span.length) == 0;
}

static enum ota_err refuse(struct ota_why *why, size_t number, const char *what)
{
	ota_why_set(why, "line %zu: %s", number, what);
	return OTA_ERR_INVALID;
}

static enum ota_err begin_credential(
	struct credentials *found, struct span line, size_t number, struct ota_why *why)
{
	struct span name = trim(line.text + 1, line.length - 1);

	if (name.length > 0 && name.text[name.length - 1] == ']') {
		name = trim(name.text, name.length - 1);
	} else {
		name.length = 0;
	}
	if (name.length > CREDENTIAL_NAME_MAX || !consists_of(name, name_characters)) {
		return refuse(
			why, number, "accepted is [name], of 1 to 64 letters, digits, '.', '_' and '-'");
	}
	for (size_t i = 0; i < found->count; i++) {
		if (is_text(name, found->items[i].name)) {
			ota_why_set(why, "line %zu: [%s] is there already", number, found->items[i].name);
			return OTA_ERR_INVALID;
		}
	}
	if (found->count == CREDENTIALS_MAX) {
		return refuse(why, number, "accepted are up to 64 credentials");
	}
	memcpy(found->items[found->count++].name, name.text, name.length);
	return OTA_OK;
}

static enum ota_err set_member(
	struct credentials *found, struct span line, size_t number, struct ota_why *why)
{
	const char *equals = memchr(line.text, '=', line.length);
	const struct member *member = NULL;
	struct span name = { line.text, 0 };
	struct span value;
	char *place;

	if (!equals) { /* it may be a secret that lost its name: not shown */
		return refuse(why, number, "accepted are [name], a comment, and name = value");
	}
	name = trim(line.text, (size_t)(equals - line.text));
	value = trim(equals + 1, line.length - (size_t)(equals + 1 - line.text));
	for (size_t i = 0; i < MEMBERS; i++) {
		if (is_text(name, members[i].name)) {
			member = &members[i];
		}
	}
	if (!member) {
		bool shown = name.length <= 40 && consists_of(name, lower);

		ota_why_set(why,
			"line %zu: %.*s is not known; accepted are aws_access_key_id, aws_secret_access_key and region",
			number, shown ? (int)name.length : 9, shown ? name.text : "this name");
		return OTA_ERR_INVALID;
	}
	if (found->count == 0) {
		return refuse(why, number, "it stands above the first [name]");
	}
	place = (char *)&found->items[found->count - 1] + member->offset;
	if (place[0] != '\0') {
		ota_why_set(why, "line %zu: %s is there twice", number, member->name);
		return OTA_ERR_INVALID;
	}
	if (value.length > member->max
		|| !consists_of(
			value, member->offset == offsetof(struct credential, region) ? region_characters : NULL)
		|| (member->offset == offsetof(struct credential, key_id)
			&& memchr(value.text, '/', value.length))) {
		ota_why_set(why, "line %zu: %s: accepted are %s", number, member->name, member->accepted);
		return OTA_ERR_INVALID;
	}
	memcpy(place, value.text, value.length);
	return OTA_OK;
}

static enum ota_err check_complete(const struct credentials *found, struct ota_why *why)
{
	if (found->count == 0) {
		ota_why_set(why, "there is no [name] in it");
		return OTA_ERR_INVALID;
	}
	for (size_t i = 0; i < found->count; i++) {
		for (size_t j = 0; j < MEMBERS; j++) {
			if (((const char *)&found->items[i])[members[j].offset] == '\0') {
				ota_why_set(why, "[%s] has no %s", found->items[i].name, members[j].name);
				return OTA_ERR_INVALID;
			}
		}
	}
	return OTA_OK;
}

enum ota_err credentials_parse(
	const char *text, size_t length, struct credentials **out, struct ota_why *why)
{
	struct credentials *found = NULL;
	enum ota_err err = OTA_OK;
	size_t number = 0;

	if (length > CREDENTIALS_FILE_MAX) {
		ota_why_set(why, "it is larger than 65536 bytes");
		return OTA_ERR_INVALID;
	}
	found = calloc(1, sizeof(*found));
	if (!found) {
		ota_why_set(why, "out of memory");
		return OTA_ERR_NOMEM;
	}
	for (size_t at = 0; !err && at < length; at++) {
		const char *end = memchr(text + at, '\n', length - at);
		size_t size = end ? (size_t)(end - text) - at : length - at;
		struct span line = trim(text + at, size);

		number++;
		at += size;
		if (line.length == 0 || line.text[0] == '#' || line.text[0] == ';') {
			continue;
		}
		err = line.text[0] == '[' ? begin_credential(found, line, number, why)
								  : set_member(found, line, number, why);
	}
	if (!err) {
		err = check_complete(found, why);
	}
	if (err) {
		credentials_free(found);
		return err;
	}
	*out = found;
	return OTA_OK;
}

static enum ota_err refuse_file(struct ota_why *why, const char *what, int error)
{
	const char *words = strerrordesc_np(error);

	ota_why_set(why, "%s: %s", what, words ? words : "unknown system error");
	return OTA_ERR_IO;
}

/* A secret that others can read is none, whoever opened it up. */
static enum ota_err check_file(int file, struct ota_why *why)
{
	struct stat status;

	if (fstat(file, &status) != 0) {
		return refuse_file(why, "it cannot be read", errno);
	}
	if (!S_ISREG(status.st_mode)) {
		ota_why_set(why, "it is not a regular file");
		return OTA_ERR_INVALID;
	}
	if (status.st_mode & MODE_TOO_OPEN) {
		ota_why_set(why,
			"others may read or change it (mode %04o); accepted are modes such as 0600 and 0640: chmod "
			"o-rwx,g-w",
			(unsigned)(status.st_mode & 07777));
		return OTA_ERR_INVALID;
	}
	if (status.st_uid != 0 && status.st_uid != geteuid()) {
		ota_why_set(why,
			"it belongs to user %u; accepted are root and the user that the broker runs as (%u)",
			(unsigned)status.st_uid, (unsigned)geteuid());
		return OTA_ERR_INVALID;
	}
	return OTA_OK;
}

enum ota_err credentials_read(const char *path, struct credentials **out, struct ota_why *why)
{
	/* Not to hang on a FIFO somebody left there. */
	int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	char *text = NULL;
	size_t length = 0;
	enum ota_err err;

	if (file < 0) {
		return refuse_file(why, "it cannot be opened", errno);
	}
	err = check_file(file, why);
	if (!err && !(text = malloc(CREDENTIALS_FILE_MAX + 1))) {
		ota_why_set(why, "out of memory");
		err = OTA_ERR_NOMEM;
	}
	while (!err && length <= CREDENTIALS_FILE_MAX) {
		ssize_t got = read(file, text + length, CREDENTIALS_FILE_MAX + 1 - length);

		if (got < 0 && errno != EINTR) {
			err = refuse_file(why, "it cannot be read", errno);
		} else if (got == 0) {
			break;
		}
		length += got > 0 ? (size_t)got : 0;
	}
	if (!err) {
		err = credentials_parse(text, length, out, why);
	}
	if (text) {
		OPENSSL_cleanse(text, CREDENTIALS_FILE_MAX + 1);
	}
	free(text);
	(void)close(file);
	return err;
}

const struct credential *credentials_find(const struct credentials *credentials, const char *name)
{
	for (size_t i = 0; credentials && i < credentials->count; i++) {
		if (strcmp(credentials->items[i].name, name) == 0) {
			return &credentials->items[i];
		}
	}
	return NULL;
}

void credentials_free(struct credentials *credentials)
{
	if (credentials) {
		OPENSSL_cleanse(credentials, sizeof(*credentials));
	}
	free(credentials);
}
