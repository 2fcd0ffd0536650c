/*
 * Fuzz target: what the database says of the fleets' URLs, and the URL of a manifest: two texts with a zero between them.
 * Properties: no crash; what cannot be made has a reason; a made URL is printable ASCII without quotes, begins with http, fits, and has the path of the manifest's
 * at the end of its own.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota/wire/fleet_url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct credentials KEYS = { .count = 1,
	.items = { { .name = "k", .key_id = "AKID", .secret = "secret", .region = "r-1" } } };

static void must(int holds, const char *what)
{
	if (!holds) {
		(void)fprintf(stderr, "broken: %s\n", what);
		abort();
	}
}

/* The manifest's parser lets only these through. */
static int is_manifest_url(const char *url)
{
	if (strlen(url) > 2048
		|| (strncmp(url, "https://", 8) != 0 && strncmp(url, "http://", 7) != 0)) {
		return 0;
	}
	for (; *url; url++) {
		if (*url <= ' ' || *url >= 0x7F || strchr("\"<>\\^`{|}", *url)) {
			return 0;
		}
	}
	return 1;
}

static void check(const char *made, const char *manifest_url)
{
	const char *path = strchr(strstr(manifest_url, "://") + 3, '/');
	const char *end = made + strcspn(made, "?");

	must(path && (size_t)(end - made) > strlen(path)
			&& memcmp(end - strlen(path), path, strlen(path)) == 0,
		"the path is the manifest's");
	must(strncmp(made, "http", 4) == 0 && strlen(made) < FLEET_URL_MAX, "a URL that fits");
	for (; *made; made++) {
		must(*made > ' ' && *made < 0x7F && !strchr("\"\\<>", *made), "printable");
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 2);
	struct fleet_urls *urls = NULL;
	const char *url;

	if (!text) {
		return 0;
	}
	memcpy(text, data, size);
	memset(text + size, 0, 2);
	url = text + strlen(text) + 1;
	url = (size_t)(url - text) <= size ? url : "https://cdn/a.bin";
	must(fleet_urls_parse(text, &KEYS, &urls) == OTA_OK, "any text is lines");
	for (char *line = text, *next = NULL; line && *line; line = next) {
		struct fleet_url *fleet;
		char made[FLEET_URL_MAX] = "";
		struct ota_why why = { "" };

		next = strchr(line, '\n');
		if (next) {
			*next++ = '\0';
		}
		line[strcspn(line, "\t")] = '\0';
		fleet = fleet_urls_find(urls, line);
		if (!fleet || !is_manifest_url(url)) {
			continue;
		}
		if (fleet_url_make(fleet, url, 1800000000000, 1800000060000, made, &why)) {
			must(why.text[0] != '\0' && made[0] == '\0', "what cannot be made has a reason");
		} else {
			check(made, url);
		}
	}
	fleet_urls_free(urls);
	free(text);
	return 0;
}
