/* Whatever parses as a manifest keeps its promises: bounds, order of versions and times, lower-case digest. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ota/rules/version.h"
#include "ota/wire/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int truth)
{
	if (!truth) {
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct manifest *m = NULL;
	struct ota_why why = { "" };

	if (manifest_parse((const char *)data, size, &m, &why)) {
		require(why.text[0] != '\0' && m == NULL);
		return 0;
	}
	require(version_valid(m->terms.version) && m->terms.sequence > 0 && m->size > 0);
	require(strlen(m->sha256) == 64 && strspn(m->sha256, "0123456789abcdef") == 64);
	require(strncmp(m->url, "http", 4) == 0 && strlen(m->url) <= MANIFEST_URL_MAX);
	require(m->terms.not_before_ms >= 0 && m->terms.expires_ms >= 0);
	require(!m->terms.expires_ms || m->terms.not_before_ms < m->terms.expires_ms);
	require(!m->terms.min_version || version_valid(m->terms.min_version));
	require(!m->terms.max_version || version_valid(m->terms.max_version));
	for (size_t i = 0; i < m->terms.hardware_count; i++) {
		require(m->terms.hardware[i][0] != '\0');
	}
	for (size_t i = 0; i < m->terms.fleets_count; i++) {
		require(m->terms.fleets[i][0] != '\0');
	}
	require(strlen(m->json) == size && memcmp(m->json, data, size) == 0);
	manifest_free(m);
	return 0;
}
