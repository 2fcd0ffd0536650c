#include "json_names.h"

#include <stdlib.h>
#include <string.h>

/* Up to here names are compared pair by pair, above they are sorted: a large object must not take quadratic time. */
static const size_t PAIRWISE_MAX = 8;

static enum ota_err compare_pairs(const cJSON *object, const char **name)
{
	for (const cJSON *item = object->child; item; item = item->next) {
		for (const cJSON *other = item->next; other; other = other->next) {
			if (item->string[0] == other->string[0] && strcmp(item->string, other->string) == 0) {
				*name = item->string;
				return OTA_ERR_INVALID;
			}
		}
	}
	return OTA_OK;
}

static int by_name(const void *left, const void *right)
{
	const char *const *a = left;
	const char *const *b = right;

	return strcmp(*a, *b);
}

enum ota_err json_names_duplicate(const cJSON *object, size_t members, const char **name)
{
	enum ota_err err = OTA_OK;
	const cJSON *item = NULL;
	const char **names = NULL;
	size_t count = 0;

	if (members <= PAIRWISE_MAX) {
		return compare_pairs(object, name);
	}
	names = malloc(members * sizeof(*names));
	if (!names) {
		return OTA_ERR_NOMEM;
	}
	for (item = object->child; item && count < members; item = item->next) {
		names[count++] = item->string;
	}
	qsort(names, count, sizeof(*names), by_name);
	for (size_t i = 1; i < count && !err; i++) {
		if (strcmp(names[i - 1], names[i]) == 0) {
			*name = names[i];
			err = OTA_ERR_INVALID;
		}
	}
	free(names);
	return err;
}
