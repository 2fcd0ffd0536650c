/*
 * run_corpus - gives a fuzz target its seeds without libFuzzer, so that every compiler's test run has them.
 *
 * Each file of the named folders is given as it is, cut short, with single bytes changed, and doubled.  The changes
 * follow from the seed alone: a failure comes back at every run.
 * Exit status: 0 when the target survived (it aborts otherwise), 1 when there was no seed or no memory.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	SEED_MAX = 1 << 20,
	CUTS = 64,    /* shortened copies of each seed at most */
	CHANGES = 256 /* copies with one changed byte at most */
};

/* Give the target a copy of exactly this size, so that a read beyond the end shows. */
static int give(const uint8_t *data, size_t size)
{
	uint8_t *copy = calloc(1, size > 0 ? size : 1);

	if (!copy) {
		return -1;
	}
	if (size > 0) {
		memcpy(copy, data, size);
	}
	(void)LLVMFuzzerTestOneInput(copy, size);
	free(copy);
	return 0;
}

static int give_variations(uint8_t *data, size_t size)
{
	/* Single characters that parsers stumble over. */
	static const uint8_t bytes[] = { 0, '"', '\\', '{', ']', '-', '9', '+', '/', 0x7f, 0x80, 0xff };
	size_t step = size / CUTS + 1;

	for (size_t i = 0; i < size; i += step) {
		if (give(data, i) != 0) {
			return -1;
		}
	}
	step = size / CHANGES + 1;
	for (size_t i = 0; i < size; i += step) {
		uint8_t before = data[i];

		data[i] = bytes[i / step % sizeof(bytes)];
		if (give(data, size) != 0) {
			return -1;
		}
		data[i] = (uint8_t)(before ^ (1U << (i % 8)));
		if (give(data, size) != 0) {
			return -1;
		}
		data[i] = before;
	}
	return 0;
}

static int give_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = malloc(2 * (size_t)SEED_MAX);
	int result = -1;

	if (file && data) {
		size_t size = fread(data, 1, SEED_MAX, file);

		memcpy(data + size, data, size);
		if (give(data, size) == 0 && give(data, 2 * size) == 0) {
			result = give_variations(data, size);
		}
	}
	if (result != 0) {
		(void)fprintf(stderr, "%s: cannot be read or no memory\n", path);
	}
	free(data);
	if (file) {
		(void)fclose(file);
	}
	return result;
}

static int give_folder(const char *folder, size_t *seeds)
{
	DIR *dir = opendir(folder);
	const struct dirent *entry;
	int result = 0;

	if (!dir) {
		(void)fprintf(stderr, "%s: no such folder of seeds\n", folder);
		return -1;
	}
	while (result == 0 && (entry = readdir(dir)) != NULL) {
		char path[4096];
		int length = snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);

		if (entry->d_name[0] == '.' || length < 0 || (size_t)length >= sizeof(path)) {
			continue;
		}
		result = give_file(path);
		(*seeds)++;
	}
	(void)closedir(dir);
	return result;
}

int main(int argc, char **argv)
{
	size_t seeds = 0;

	if (give((const uint8_t *)"", 0) != 0) {
		return 1;
	}
	for (int i = 1; i < argc; i++) {
		if (give_folder(argv[i], &seeds) != 0) {
			return 1;
		}
	}
	(void)printf("%zu seeds\n", seeds);
	if (seeds == 0) {
		(void)fprintf(stderr, "no seeds: nothing was tested\n");
		return 1;
	}
	return 0;
}
