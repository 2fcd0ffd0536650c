/*
 * Fuzz target: two versions, parted by the first zero byte or line end.
 * Properties: no crash; valid ones have an order that is reflexive and antisymmetric, in which build metadata does not
 * count and a pre-release comes before its release.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota/rules/version.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds, const char *what)
{
	if (!holds) {
		(void)fprintf(stderr, "broken: %s\n", what);
		abort();
	}
}

static int sign(int value)
{
	return (value > 0) - (value < 0);
}

/* Append `suffix`; an empty text when there is no room. */
static void append(char *out, size_t room, const char *text, const char *suffix)
{
	int length = snprintf(out, room, "%s%s", text, suffix);

	if (length < 0 || (size_t)length >= room) {
		out[0] = '\0';
	}
}

static void check_one(const char *text)
{
	char other[VERSION_MAX + 8];

	if (!version_valid(text)) {
		return;
	}
	must(strlen(text) <= VERSION_MAX, "a valid version is short");
	must(version_compare(text, text) == 0, "reflexive");
	append(other, sizeof(other), text, strchr(text, '+') ? ".x" : "+x");
	if (version_valid(other)) {
		must(version_compare(text, other) == 0, "build metadata does not count");
	}
	if (!strpbrk(text, "-+")) {
		append(other, sizeof(other), text, "-0");
		if (version_valid(other)) {
			must(version_compare(other, text) < 0, "a pre-release comes before its release");
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Exact copies on the heap, so that the address sanitizer sees a read beyond the end. */
	size_t left_length = 0;
	size_t right_length;
	char *left;
	char *right;

	while (left_length < size && data[left_length] != '\0' && data[left_length] != '\n') {
		left_length++;
	}
	right_length = left_length < size ? size - left_length - 1 : 0;
	left = calloc(1, left_length + 1);
	right = calloc(1, right_length + 1);
	if (left && right) {
		memcpy(left, data, left_length);
		if (right_length > 0) {
			memcpy(right, data + left_length + 1, right_length);
		}
		check_one(left);
		check_one(right);
		must(sign(version_compare(left, right)) == -sign(version_compare(right, left)),
			"antisymmetric");
	}
	free(left);
	free(right);
	return 0;
}
