#include "ota/store/pg_array.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *reserve(struct pg_array *array, size_t more)
{
	if (array->failed) {
		return NULL;
	}
	if (array->capacity - array->length < more) {
		size_t capacity = array->capacity ? array->capacity : 4096;
		char *text;

		while (capacity - array->length < more) {
			if (capacity > SIZE_MAX / 4) {
				array->failed = true;
				return NULL;
			}
			capacity *= 2;
		}
		text = realloc(array->text, capacity);
		if (!text) {
			array->failed = true;
			return NULL;
		}
		array->text = text;
		array->capacity = capacity;
	}
	return array->text + array->length;
}

/* The comma or opening brace before an element. */
static void separate(struct pg_array *array)
{
	char *out = reserve(array, 1);

	if (out) {
		*out = array->count == 0 ? '{' : ',';
		array->length++;
		array->count++;
	}
}

static void append(struct pg_array *array, const char *text, size_t length)
{
	char *out;

	separate(array);
	out = reserve(array, length);
	if (out) {
		memcpy(out, text, length);
		array->length += length;
	}
}

void pg_array_begin(struct pg_array *array)
{
	array->length = 0;
	array->count = 0;
	array->failed = false;
}

void pg_array_text(struct pg_array *array, const char *value)
{
	size_t length;
	char *out;
	char *start;

	if (!value) {
		append(array, "NULL", 4);
		return;
	}
	length = strlen(value);
	separate(array);
	out = start = reserve(array, 2 * length + 2);
	if (!out) {
		return;
	}
	*out++ = '"';
	for (size_t i = 0; i < length; i++) {
		if (value[i] == '"' || value[i] == '\\') {
			*out++ = '\\';
		}
		*out++ = value[i];
	}
	*out++ = '"';
	array->length += (size_t)(out - start);
}

void pg_array_int(struct pg_array *array, int64_t value)
{
	char text[24];
	int length = snprintf(text, sizeof(text), "%" PRId64, value);

	append(array, text, (size_t)length);
}

void pg_array_int_or_null(struct pg_array *array, int64_t value, int64_t none)
{
	if (value == none) {
		append(array, "NULL", 4);
	} else {
		pg_array_int(array, value);
	}
}

void pg_array_bool(struct pg_array *array, int value)
{
	if (value < 0) {
		append(array, "NULL", 4);
	} else {
		append(array, value ? "t" : "f", 1);
	}
}

const char *pg_array_end(struct pg_array *array)
{
	char *out = reserve(array, 3);

	if (!out) {
		return NULL;
	}
	if (array->count == 0) {
		*out++ = '{';
	}
	*out++ = '}';
	*out = '\0';
	return array->text;
}

void pg_array_free(struct pg_array *array)
{
	free(array->text);
	memset(array, 0, sizeof(*array));
}
