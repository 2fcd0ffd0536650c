#include "ota/wire/jsonb.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* A member of an object, as it stands in the output: "name": value. */
struct member {
	size_t at;
	size_t length;
	size_t name_length;
};

struct writer {
	const char *in;
	size_t in_length;
	size_t in_at;
	char *out;
	size_t out_length;
	char *spare; /* as large as the output */
	int depth;
};

static bool value(struct writer *writer);

size_t jsonb_room(size_t length)
{
	return 4 * length + 16;
}

/* The next character that is no blank; 0 at the end. */
static char peek(struct writer *writer)
{
	while (writer->in_at < writer->in_length) {
		char c = writer->in[writer->in_at];

		if (c != ' ' && c != '\t' && c != '\r' && c != '\n') {
			return c;
		}
		writer->in_at++;
	}
	return '\0';
}

static void put(struct writer *writer, const char *text, size_t length)
{
	memcpy(writer->out + writer->out_length, text, length);
	writer->out_length += length;
}

static bool take(struct writer *writer, char c)
{
	if (peek(writer) != c) {
		return false;
	}
	writer->in_at++;
	return true;
}

/*
 * A string, its quotes included.  The escapes that jsonb writes itself stay as they are, and an escaped slash is a slash.  `escapes`: may it
 * have any?
 */
static bool string(struct writer *writer, bool escapes)
{
	const char *in = writer->in + writer->in_at;
	const char *end = writer->in + writer->in_length;
	char *out = writer->out + writer->out_length;

	*out++ = *in++;
	while (in < end && *in != '"') {
		if ((unsigned char)*in < 0x20) {
			return false;
		}
		if (*in == '\\') {
			in++;
			if (!escapes || in == end || !strchr("\"\\/bfnrt", *in)) {
				return false;
			}
			if (*in != '/') {
				*out++ = '\\';
			}
		}
		*out++ = *in++;
	}
	if (in == end) {
		return false;
	}
	*out++ = *in++;
	writer->in_at = (size_t)(in - writer->in);
	writer->out_length = (size_t)(out - writer->out);
	return true;
}

static size_t digits(const char *text, size_t length)
{
	size_t n = 0;

	while (n < length && text[n] >= '0' && text[n] <= '9') {
		n++;
	}
	return n;
}

/* numeric keeps the digits as they are written, zeros at the end too; only zero has no sign. */
static bool number(struct writer *writer)
{
	const char *text = writer->in + writer->in_at;
	size_t left = writer->in_length - writer->in_at;
	size_t sign = left > 0 && text[0] == '-' ? 1 : 0;
	size_t whole = digits(text + sign, left - sign);
	size_t length = sign + whole;
	bool zero;

	if (whole == 0 || (whole > 1 && text[sign] == '0')) {
		return false;
	}
	if (length < left && text[length] == '.') {
		size_t fraction = digits(text + length + 1, left - length - 1);

		if (fraction == 0) {
			return false;
		}
		length += 1 + fraction;
	}
	/* An exponent; and numeric has bounds. */
	if (length > 256 || (length < left && (text[length] == 'e' || text[length] == 'E'))) {
		return false;
	}
	zero = true;
	for (size_t i = sign; zero && i < length; i++) {
		zero = text[i] == '0' || text[i] == '.';
	}
	put(writer, zero ? text + sign : text, zero ? length - sign : length);
	writer->in_at += length;
	return true;
}

static bool word(struct writer *writer)
{
	static const char *const words[] = { "true", "false", "null" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t length = strlen(words[i]);

		if (writer->in_length - writer->in_at >= length
			&& memcmp(writer->in + writer->in_at, words[i], length) == 0) {
			put(writer, words[i], length);
			writer->in_at += length;
			return true;
		}
	}
	return false;
}

/* jsonb keeps members by the length of their names, then by their bytes. */
static int compare(
	const struct writer *writer, const struct member *left, const struct member *right)
{
	if (left->name_length != right->name_length) {
		return left->name_length < right->name_length ? -1 : 1;
	}
	/* Behind the opening quote. */
	return memcmp(writer->out + left->at + 1, writer->out + right->at + 1, left->name_length);
}

/* Put the members, which stand in the output from the first one's place on, in order; false: a name comes twice. */
static bool sort(struct writer *writer, struct member *members, size_t count)
{
	const size_t begin = members[0].at;
	bool moved = false;
	char *out = writer->spare;

	for (size_t i = 1; i < count; i++) {
		struct member member = members[i];
		size_t at = i;
		int order = -1;

		while (at > 0 && (order = compare(writer, &members[at - 1], &member)) > 0) {
			members[at] = members[at - 1];
			at--;
		}
		if (at > 0 && order == 0) {
			return false;
		}
		members[at] = member;
		moved = moved || at != i;
	}
	if (!moved) {
		return true;
	}
	for (size_t i = 0; i < count; i++) {
		if (i > 0) {
			memcpy(out, ", ", 2);
			out += 2;
		}
		memcpy(out, writer->out + members[i].at, members[i].length);
		out += members[i].length;
	}
	memcpy(writer->out + begin, writer->spare, (size_t)(out - writer->spare));
	return true;
}

static bool object(struct writer *writer)
{
	struct member members[JSONB_MEMBERS_MAX];
	size_t count = 0;

	put(writer, "{", 1);
	while (peek(writer) != '}') {
		struct member *member = &members[count];

		if (count == JSONB_MEMBERS_MAX || (count > 0 && !take(writer, ','))
			|| peek(writer) != '"') {
			return false;
		}
		if (count > 0) {
			put(writer, ", ", 2);
		}
		member->at = writer->out_length;
		if (!string(writer, false)) {
			return false;
		}
		member->name_length = writer->out_length - member->at - 2;
		if (!take(writer, ':')) {
			return false;
		}
		put(writer, ": ", 2);
		if (!value(writer)) {
			return false;
		}
		member->length = writer->out_length - member->at;
		count++;
	}
	writer->in_at++;
	if (count > 1 && !sort(writer, members, count)) {
		return false;
	}
	put(writer, "}", 1);
	return true;
}

static bool array(struct writer *writer)
{
	bool first = true;

	put(writer, "[", 1);
	while (peek(writer) != ']') {
		if (!first) {
			if (!take(writer, ',')) {
				return false;
			}
			put(writer, ", ", 2);
		}
		if (!value(writer)) {
			return false;
		}
		first = false;
	}
	writer->in_at++;
	put(writer, "]", 1);
	return true;
}

static bool value(struct writer *writer)
{
	char c = peek(writer);
	bool done;

	if (c == '{' || c == '[') {
		if (writer->depth == JSONB_DEPTH_MAX) {
			return false;
		}
		writer->in_at++;
		writer->depth++;
		done = c == '{' ? object(writer) : array(writer);
		writer->depth--;
		return done;
	}
	if (c == '"') {
		return string(writer, true);
	}
	return c == '-' || (c >= '0' && c <= '9') ? number(writer) : word(writer);
}

size_t jsonb_text(const char *json, size_t length, char *out)
{
	struct writer writer = {
		.in = json, .in_length = length, .out = out, .spare = out + 2 * length + 8
	};

	if (!value(&writer) || peek(&writer) != '\0' || writer.in_at != length) {
		return 0;
	}
	return writer.out_length;
}
