#include "ota/rules/version.h"

#include <stddef.h>
#include <string.h>

/* A piece of the text; not terminated. */
struct span {
	const char *at;
	size_t length;
};

struct parts {
	struct span core[3]; /* major, minor, patch */
	struct span pre;     /* without its hyphen; length 0: no pre-release */
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_identifier_char(char c)
{
	return is_digit(c) || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-';
}

static bool is_number(struct span span)
{
	for (size_t i = 0; i < span.length; i++) {
		if (!is_digit(span.at[i])) {
			return false;
		}
	}
	return true;
}

/* Item 2: a run of digits without leading zeros. */
static bool take_number(const char **cursor, struct span *number)
{
	const char *at = *cursor;

	while (is_digit(*at)) {
		at++;
	}
	number->at = *cursor;
	number->length = (size_t)(at - *cursor);
	*cursor = at;
	return number->length > 0 && (number->length == 1 || number->at[0] != '0');
}

/* One identifier of items 9 and 10; `strict` forbids leading zeros in numbers (item 9 only). */
static bool take_identifier(const char **cursor, bool strict)
{
	struct span identifier = { *cursor, 0 };

	while (is_identifier_char(**cursor)) {
		(*cursor)++;
		identifier.length++;
	}
	if (identifier.length == 0) {
		return false;
	}
	return !strict || identifier.length == 1 || identifier.at[0] != '0' || !is_number(identifier);
}

static bool take_identifiers(const char **cursor, bool strict, struct span *all)
{
	const char *start = *cursor;

	while (take_identifier(cursor, strict)) {
		if (**cursor != '.') {
			all->at = start;
			all->length = (size_t)(*cursor - start);
			return true;
		}
		(*cursor)++;
	}
	return false;
}

static bool parse(const char *text, struct parts *parts)
{
	const char *cursor = text;
	struct span build;

	if (!text || strnlen(text, VERSION_MAX + 1) > VERSION_MAX) {
		return false;
	}
	for (size_t i = 0; i < 3; i++) {
		if ((i > 0 && *cursor++ != '.') || !take_number(&cursor, &parts->core[i])) {
			return false;
		}
	}
	parts->pre = (struct span){ cursor, 0 };
	if (*cursor == '-') {
		cursor++;
		if (!take_identifiers(&cursor, true, &parts->pre)) {
			return false;
		}
	}
	if (*cursor == '+') {
		cursor++;
		if (!take_identifiers(&cursor, false, &build)) {
			return false;
		}
	}
	return *cursor == '\0';
}

bool version_valid(const char *text)
{
	struct parts parts;

	return parse(text, &parts);
}

/* Without leading zeros the longer number is the larger one; no conversion, so no overflow. */
static int compare_numbers(struct span left, struct span right)
{
	if (left.length != right.length) {
		return left.length < right.length ? -1 : 1;
	}
	return memcmp(left.at, right.at, left.length);
}

static int compare_text(struct span left, struct span right)
{
	size_t shorter = left.length < right.length ? left.length : right.length;
	int order = memcmp(left.at, right.at, shorter);

	if (order != 0 || left.length == right.length) {
		return order;
	}
	return left.length < right.length ? -1 : 1;
}

/* Item 11.4: numbers below words, numbers by value, words in ASCII order. */
static int compare_identifiers(struct span left, struct span right)
{
	bool left_number = is_number(left);
	bool right_number = is_number(right);

	if (left_number != right_number) {
		return left_number ? -1 : 1;
	}
	return left_number ? compare_numbers(left, right) : compare_text(left, right);
}

/* Cut the first identifier off `rest`. */
static struct span next_identifier(struct span *rest)
{
	struct span identifier = { rest->at, 0 };

	while (identifier.length < rest->length && rest->at[identifier.length] != '.') {
		identifier.length++;
	}
	size_t used = identifier.length + (identifier.length < rest->length ? 1 : 0);
	rest->at += used;
	rest->length -= used;
	return identifier;
}

static int compare_pre(struct span left, struct span right)
{
	/* Item 11.3: a pre-release comes before its release. */
	if (left.length == 0 || right.length == 0) {
		return (left.length == 0) - (right.length == 0);
	}
	while (left.length > 0 && right.length > 0) {
		int order = compare_identifiers(next_identifier(&left), next_identifier(&right));

		if (order != 0) {
			return order;
		}
	}
	/* Item 11.4.4: when all before are equal, more fields are higher. */
	return (left.length > 0) - (right.length > 0);
}

int version_compare(const char *left, const char *right)
{
	struct parts left_parts;
	struct parts right_parts;
	bool left_valid = parse(left, &left_parts);
	bool right_valid = parse(right, &right_parts);

	/* Not a promise of the header, only a calm answer to a broken caller: invalid is lowest. */
	if (!left_valid || !right_valid) {
		return (int)left_valid - (int)right_valid;
	}
	for (size_t i = 0; i < 3; i++) {
		int order = compare_numbers(left_parts.core[i], right_parts.core[i]);

		if (order != 0) {
			return order;
		}
	}
	return compare_pre(left_parts.pre, right_parts.pre);
}
