#include "common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void *common_alloc(size_t count, size_t size)
{
	void *memory = calloc(count ? count : 1, size);

	if (!memory) {
		fputs("mosquitto_ota_fleet: out of memory\n", stderr);
		exit(EXIT_FAILURE);
	}
	return memory;
}

uint64_t common_now_ms(void)
{
	struct timespec now = { 0 };

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

const char *common_error_text(int error)
{
	const char *text = strerrordesc_np(error);

	return text ? text : "unknown error";
}

uint64_t common_wall_ms(void)
{
	struct timespec now = { 0 };

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void common_format_moment(uint64_t wall_ms, char *out, size_t size)
{
	time_t whole = (time_t)(wall_ms / 1000);
	struct tm parts = { 0 };
	char seconds[24] = "";

	gmtime_r(&whole, &parts);
	strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H:%M:%S", &parts);
	(void)snprintf(out, size, "%s.%03uZ", seconds, (unsigned)(wall_ms % 1000));
}

void common_format_time(char *out, size_t size)
{
	common_format_moment(common_wall_ms(), out, size);
}

static uint64_t mix(uint64_t value)
{
	value ^= value >> 30;
	value *= UINT64_C(0xbf58476d1ce4e5b9);
	value ^= value >> 27;
	value *= UINT64_C(0x94d049bb133111eb);
	return value ^ (value >> 31);
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
	for (; *text; text++) {
		hash ^= (unsigned char)*text;
		hash *= UINT64_C(0x100000001b3);
	}
	return hash;
}

uint64_t common_hash(uint64_t seed, const char *salt, const char *text)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ mix(seed);

	hash = hash_text(hash, salt);
	hash = (hash ^ 0xff) * UINT64_C(0x100000001b3); /* "ab","c" is not "a","bc" */
	return mix(hash_text(hash, text));
}

uint64_t common_random(uint64_t *state)
{
	*state += UINT64_C(0x9e3779b97f4a7c15);
	return mix(*state);
}

const char *common_parse_permille(const char *text, uint32_t *permille)
{
	uint32_t value = 0;
	size_t digits = strspn(text, "0123456789");

	if (digits < 1 || digits > 3) {
		return NULL;
	}
	for (; digits > 0; digits--) {
		value = value * 10 + (uint32_t)(*text++ - '0');
	}
	value *= 10;
	if (*text == '.') {
		if (text[1] < '0' || text[1] > '9') {
			return NULL;
		}
		value += (uint32_t)(text[1] - '0');
		text += 2;
	}
	*permille = value;
	return value <= 1000 ? text + (*text == '%') : NULL;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	if (c >= 'a' && c <= 'f') {
		return c - 'a' + 10;
	}
	if (c >= 'A' && c <= 'F') {
		return c - 'A' + 10;
	}
	return -1;
}

bool common_decode_hex(const char *text, unsigned char *out, size_t size)
{
	if (strlen(text) != size * 2) {
		return false;
	}
	for (size_t i = 0; i < size; i++) {
		int high = hex_value(text[2 * i]);
		int low = hex_value(text[2 * i + 1]);

		if (high < 0 || low < 0) {
			return false;
		}
		out[i] = (unsigned char)(high * 16 + low);
	}
	return true;
}

void common_encode_hex(const unsigned char *data, size_t size, char *out)
{
	const char *digits = "0123456789abcdef";

	for (size_t i = 0; i < size; i++) {
		out[2 * i] = digits[data[i] >> 4];
		out[2 * i + 1] = digits[data[i] & 15];
	}
	out[2 * size] = '\0';
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z') {
		return c - 'A';
	}
	if (c >= 'a' && c <= 'z') {
		return c - 'a' + 26;
	}
	if (c >= '0' && c <= '9') {
		return c - '0' + 52;
	}
	if (c == '+' || c == '-') {
		return 62;
	}
	return c == '/' || c == '_' ? 63 : -1;
}

unsigned char *common_decode_base64(const char *text, size_t *size)
{
	size_t digits = strcspn(text, "=");
	size_t padding = strspn(text + digits, "=");
	unsigned char *out = NULL;
	uint32_t bits = 0;
	size_t used = 0;

	if (text[digits + padding] != '\0' || digits % 4 == 1
		|| (padding != 0 && (digits + padding) % 4 != 0) || padding > 2) {
		return NULL;
	}
	out = common_alloc(digits / 4 * 3 + 3, 1);
	for (size_t i = 0; i < digits; i++) {
		int value = base64_value(text[i]);

		if (value < 0) {
			free(out);
			return NULL;
		}
		bits = (bits << 6) | (uint32_t)value;
		if (i % 4 != 0) {
			out[used++] = (unsigned char)(bits >> (6 - 2 * (i % 4)));
		}
	}
	*size = used;
	return out;
}

const char *common_intern(struct name_pool *pool, const char *text)
{
	for (size_t i = 0; i < pool->count; i++) {
		if (strcmp(pool->names[i], text) == 0) {
			return pool->names[i];
		}
	}
	if (pool->count == pool->room) {
		size_t room = pool->room ? pool->room * 2 : 8;
		char **names = common_alloc(room, sizeof(*names));

		if (pool->count) {
			memcpy(names, pool->names, pool->count * sizeof(*names));
		}
		free(pool->names);
		pool->names = names;
		pool->room = room;
	}
	size_t length = strlen(text) + 1;
	char *copy = common_alloc(length, 1);

	memcpy(copy, text, length);
	pool->names[pool->count++] = copy;
	return copy;
}

void common_free_names(struct name_pool *pool)
{
	for (size_t i = 0; i < pool->count; i++) {
		free(pool->names[i]);
	}
	free(pool->names);
	*pool = (struct name_pool){ 0 };
}

char *common_expand(const char *format, const char *device, const char *fleet)
{
	static const char device_mark[] = "{device}";
	static const char fleet_mark[] = "{fleet}";
	char *out = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&out, &size);

	if (!stream) {
		fputs("mosquitto_ota_fleet: out of memory\n", stderr);
		exit(EXIT_FAILURE);
	}
	while (*format) {
		if (strncmp(format, device_mark, sizeof(device_mark) - 1) == 0) {
			fputs(device, stream);
			format += sizeof(device_mark) - 1;
		} else if (strncmp(format, fleet_mark, sizeof(fleet_mark) - 1) == 0) {
			fputs(fleet, stream);
			format += sizeof(fleet_mark) - 1;
		} else {
			fputc(*format++, stream);
		}
	}
	fclose(stream);
	return out;
}
