#include "ota/store/pg_binary.h"

#include <endian.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum {
	/* dimensions, whether there are nulls, the elements' type; of the one dimension its size and the number of its first element */
	HEADER_BYTES = 5 * 4,
	PREFIX_BYTES = 4, /* of an element: its length, -1: null */
	FIRST_BYTES = 4096,
};

static void put32(char *out, uint32_t value)
{
	value = htobe32(value);
	memcpy(out, &value, sizeof(value));
}

static void put64(char *out, uint64_t value)
{
	value = htobe64(value);
	memcpy(out, &value, sizeof(value));
}

static char *reserve(struct pg_binary *array, size_t more)
{
	if (array->failed) {
		return NULL;
	}
	if (array->capacity - array->length < more) {
		size_t capacity = array->capacity ? array->capacity : FIRST_BYTES;
		char *bytes;

		while (capacity - array->length < more) {
			if (capacity > INT_MAX / 2) {
				array->failed = true;
				return NULL;
			}
			capacity *= 2;
		}
		bytes = realloc(array->bytes, capacity);
		if (!bytes) {
			array->failed = true;
			return NULL;
		}
		array->bytes = bytes;
		array->capacity = capacity;
	}
	return array->bytes + array->length;
}

/* An element of this size; NULL: no memory. */
static char *element(struct pg_binary *array, size_t size)
{
	char *out = size < INT_MAX ? reserve(array, PREFIX_BYTES + size) : NULL;

	if (!out) {
		array->failed = true;
		return NULL;
	}
	put32(out, (uint32_t)size);
	array->length += PREFIX_BYTES + size;
	array->count++;
	return out + PREFIX_BYTES;
}

void pg_binary_begin(struct pg_binary *array, enum pg_binary_type type)
{
	array->length = 0;
	array->count = 0;
	array->type = type;
	array->nulls = false;
	array->failed = false;
	if (reserve(array, HEADER_BYTES)) {
		array->length = HEADER_BYTES;
	}
}

void pg_binary_null(struct pg_binary *array)
{
	char *out = reserve(array, PREFIX_BYTES);

	if (out) {
		put32(out, UINT32_MAX);
		array->length += PREFIX_BYTES;
		array->count++;
		array->nulls = true;
	}
}

void pg_binary_bytes(struct pg_binary *array, const void *value, size_t length)
{
	char *out = element(array, length);

	if (out && length > 0) {
		memcpy(out, value, length);
	}
}

void pg_binary_text(struct pg_binary *array, const char *value)
{
	if (value) {
		pg_binary_bytes(array, value, strlen(value));
	} else {
		pg_binary_null(array);
	}
}

void pg_binary_int(struct pg_binary *array, int64_t value)
{
	char *out = element(array, array->type == PG_BINARY_INTEGER ? 4 : 8);

	if (out && array->type == PG_BINARY_INTEGER) {
		put32(out, (uint32_t)(int32_t)value);
	} else if (out) {
		put64(out, (uint64_t)value);
	}
}

void pg_binary_int_or_null(struct pg_binary *array, int64_t value, int64_t none)
{
	if (value == none) {
		pg_binary_null(array);
	} else {
		pg_binary_int(array, value);
	}
}

void pg_binary_bool(struct pg_binary *array, int value)
{
	char *out;

	if (value < 0) {
		pg_binary_null(array);
		return;
	}
	out = element(array, 1);
	if (out) {
		*out = value ? 1 : 0;
	}
}

char *pg_binary_open(struct pg_binary *array, size_t most)
{
	char *out = reserve(array, PREFIX_BYTES + most);

	return out ? out + PREFIX_BYTES : NULL;
}

void pg_binary_close(struct pg_binary *array, size_t length)
{
	/* There is room: it has been opened. */
	(void)element(array, length);
}

const char *pg_binary_end(struct pg_binary *array, int *length)
{
	char *header = array->bytes;

	if (array->failed) {
		return NULL;
	}
	put32(header, array->count > 0 ? 1 : 0);
	put32(header + 4, array->nulls ? 1 : 0);
	put32(header + 8, (uint32_t)array->type);
	put32(header + 12, (uint32_t)array->count);
	put32(header + 16, 1);
	/* An empty array has no dimension. */
	*length = array->count > 0 ? (int)array->length : 12;
	return header;
}

void pg_binary_next(const struct pg_binary *array, size_t *at, const char **value, size_t *length)
{
	uint32_t size;

	*at = *at == 0 ? HEADER_BYTES : *at;
	memcpy(&size, array->bytes + *at, sizeof(size));
	size = be32toh(size);
	*at += PREFIX_BYTES;
	*value = size == UINT32_MAX ? NULL : array->bytes + *at;
	*length = size == UINT32_MAX ? 0 : size;
	*at += *length;
}

int64_t pg_binary_next_int(const struct pg_binary *array, size_t *at, int64_t none)
{
	const char *value;
	size_t length;
	uint64_t number;

	pg_binary_next(array, at, &value, &length);
	if (!value) {
		return none;
	}
	memcpy(&number, value, sizeof(number));
	return (int64_t)be64toh(number);
}

void pg_binary_free(struct pg_binary *array)
{
	free(array->bytes);
	memset(array, 0, sizeof(*array));
}
