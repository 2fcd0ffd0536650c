#include "json.h"

#include <string.h>

static _Alignas(16) char arena[256 * 1024];
static size_t used;
static char record[RECORD_MAX];

static void *take(size_t size)
{
	size = (size + 15) & ~(size_t)15;
	if (size > sizeof(arena) - used) {
		return NULL;
	}
	used += size;
	return arena + used - size;
}

static void give_back(void *memory)
{
	(void)memory; /* json_begin() takes all of it */
}

void json_begin(void)
{
	cJSON_Hooks hooks = { .malloc_fn = take, .free_fn = give_back };

	cJSON_InitHooks(&hooks);
	used = 0;
}

const char *json_text(const cJSON *object, const char *name)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

bool json_copy(const cJSON *object, const char *name, char *text, size_t size)
{
	const char *value = json_text(object, name);

	if (!value || strlen(value) >= size) {
		return false;
	}
	memcpy(text, value, strlen(value) + 1);
	return true;
}

bool json_number(const cJSON *object, const char *name, uint64_t *value)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

	if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0)
		|| item->valuedouble > (double)JSON_EXACT_MAX) {
		return false;
	}
	*value = (uint64_t)item->valuedouble;
	return !((double)*value < item->valuedouble);
}

bool json_has(const cJSON *object, const char *name)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

	return item && !cJSON_IsNull(item);
}

cJSON *json_read_record(const char *name)
{
	cJSON *object = platform_read_record(name, record, sizeof(record)) ? cJSON_Parse(record) : NULL;

	return cJSON_IsObject(object) ? object : NULL;
}

enum platform_result json_write_record(const char *name, cJSON *object)
{
	if (!cJSON_PrintPreallocated(object, record, (int)sizeof(record), true)) {
		return PLATFORM_FULL;
	}
	return platform_write_record(name, record);
}
