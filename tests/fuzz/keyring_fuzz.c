/* A file of any bytes in the key directory: at most one key, and it verifies nothing it did not sign. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ota/wire/keyring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char directory[] = "/tmp/ota-keyring-fuzz-XXXXXX";
static char file[sizeof(directory) + sizeof("/key.pem")];

static void clean_up(void)
{
	(void)unlink(file);
	(void)rmdir(directory);
}

static void make_directory(void)
{
	if (file[0] == '\0') {
		if (!mkdtemp(directory) || atexit(clean_up) != 0) {
			abort();
		}
		(void)snprintf(file, sizeof(file), "%s/key.pem", directory);
	}
}

static void told(void *context, const char *name, const char *reason)
{
	int *count = context;

	if (name[0] == '\0' || reason[0] == '\0') {
		abort();
	}
	(*count)++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t nothing[64] = { 0 };
	struct keyring *ring = NULL;
	int told_count = 0;
	FILE *stream = NULL;

	make_directory();
	stream = fopen(file, "wb");
	if (!stream || fwrite(data, 1, size, stream) != size || fclose(stream) != 0) {
		abort();
	}
	if (keyring_load(directory, told, &told_count, &ring, NULL)) {
		if (told_count != 1) {
			abort();
		}
		return 0;
	}
	if (keyring_count(ring) != 1 || told_count != 0 || strlen(keyring_keyid(ring, 0)) != 64
		|| keyring_verify(ring, 0, data, size, nothing, sizeof(nothing))
		|| keyring_verify_digest(ring, 0, nothing, nothing, sizeof(nothing))) {
		abort();
	}
	keyring_free(ring);
	return 0;
}
