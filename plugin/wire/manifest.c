#include "ota/wire/manifest.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ota/rules/version.h"
#include "ota/wire/json.h"
#include "ota/wire/time.h"

enum {
	SHA256_HEX = 64
};

/* Every member that is read, for finding look-alikes. */
static const char *const MEMBERS[] = { "schema", "version", "sequence", "url", "sha256", "size",
	"hardware", "fleets", "minVersion", "maxVersion", "notBefore", "expires", "releaseNotes" };

/* A manifest and what its strings point into. */
struct owned_manifest {
	struct manifest manifest; /* first, so that a pointer to it is one to this */
	const char *hardware[MANIFEST_LIST_MAX];
	const char *fleets[MANIFEST_LIST_MAX];
	cJSON *tree;
	char *json;
};

/* An absent member is no error when it is optional. */
static enum ota_err optional(enum ota_err err)
{
	return err == OTA_ERR_NOT_FOUND ? OTA_OK : err;
}

static enum ota_err refuse_value(
	const cJSON *root, const char *name, const char *accepted, struct ota_why *why)
{
	char shown[JSON_DESCRIBE_SIZE];

	ota_why_set(why, "member \"%s\" is %s; accepted is %s", name,
		json_describe(json_member(root, name), shown), accepted);
	return OTA_ERR_INVALID;
}

/*
 * "Expires" beside or instead of "expires": we would not see it, but a device that reads names whatever their case would, and
 * an operator would believe in it.
 */
static enum ota_err refuse_lookalikes(const cJSON *root, struct ota_why *why)
{
	const cJSON *item = NULL;
	char shown[JSON_DESCRIBE_SIZE];

	cJSON_ArrayForEach(item, root) {
		for (size_t i = 0; i < sizeof(MEMBERS) / sizeof(MEMBERS[0]); i++) {
			if (strcasecmp(item->string, MEMBERS[i]) == 0
				&& strcmp(item->string, MEMBERS[i]) != 0) {
				ota_why_set(why, "member %s must be written \"%s\"",
					json_describe_text(item->string, shown), MEMBERS[i]);
				return OTA_ERR_INVALID;
			}
		}
	}
	return OTA_OK;
}

static enum ota_err read_version(
	const cJSON *root, const char *name, const char **version, struct ota_why *why)
{
	const char *text = NULL;
	enum ota_err err = json_text(root, name, VERSION_MAX, &text, why);

	if (err) {
		return err;
	}
	if (!version_valid(text)) {
		return refuse_value(root, name, "a Semantic Version such as 1.5.0", why);
	}
	*version = text;
	return OTA_OK;
}

/* Is there a host after the scheme, and nothing but printable ASCII without blanks? */
static bool url_valid(const char *url)
{
	static const char *const schemes[] = { "https://", "http://" };
	const char *host = NULL;

	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		if (strncmp(url, schemes[i], strlen(schemes[i])) == 0) {
			host = url + strlen(schemes[i]);
		}
	}
	if (!host || *host == '\0' || strchr("/?#:@", *host)) {
		return false;
	}
	for (; *host != '\0'; host++) {
		if (*host <= 0x20 || *host >= 0x7F || strchr("\"<>\\^`{|}", *host)) {
			return false;
		}
	}
	return true;
}

static enum ota_err read_url(const cJSON *root, const char **url, struct ota_why *why)
{
	const char *text = NULL;
	enum ota_err err = json_text(root, "url", MANIFEST_URL_MAX, &text, why);

	if (err) {
		return err;
	}
	if (!url_valid(text)) {
		return refuse_value(root, "url", "an https:// or http:// URL in ASCII", why);
	}
	*url = text;
	return OTA_OK;
}

static enum ota_err read_sha256(const cJSON *root, char out[SHA256_HEX + 1], struct ota_why *why)
{
	const char *text = NULL;
	char lower[SHA256_HEX + 1];
	size_t length = 0;
	enum ota_err err = json_text(root, "sha256", SHA256_HEX, &text, why);

	if (err) {
		return err;
	}
	for (; text[length] != '\0'; length++) {
		char c = text[length];

		c = c >= 'A' && c <= 'F' ? (char)(c - 'A' + 'a') : c;
		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f')) {
			break;
		}
		lower[length] = c;
	}
	if (length != SHA256_HEX || text[length] != '\0') {
		return refuse_value(root, "sha256", "64 hex digits", why);
	}
	lower[SHA256_HEX] = '\0';
	memcpy(out, lower, sizeof(lower));
	return OTA_OK;
}

/* A time after the epoch: 0 means "none" in the terms, so nothing may come out as 0. */
static enum ota_err read_time(const cJSON *root, const char *name, int64_t *ms, struct ota_why *why)
{
	const char *text = NULL;
	int64_t value = 0;
	enum ota_err err = json_text(root, name, 64, &text, why);

	if (err) {
		return err;
	}
	if (time_parse_rfc3339(text, &value) || value <= 0) {
		return refuse_value(
			root, name, "an RFC 3339 time after 1970 such as 2026-01-31T02:40:00Z", why);
	}
	*ms = value;
	return OTA_OK;
}

static enum ota_err read_list(const cJSON *root, const char *name,
	const char *list[MANIFEST_LIST_MAX], size_t *count, struct ota_why *why)
{
	const char *accepted = "a list of 1 to 64 texts of 1 to 128 bytes";
	const cJSON *array = json_member(root, name);
	const cJSON *item = NULL;
	size_t n = 0;

	if (!array) {
		return OTA_OK;
	}
	if (!cJSON_IsArray(array) || cJSON_GetArraySize(array) < 1
		|| cJSON_GetArraySize(array) > MANIFEST_LIST_MAX) {
		return refuse_value(root, name, accepted, why);
	}
	cJSON_ArrayForEach(item, array) {
		char shown[JSON_DESCRIBE_SIZE];

		if (!cJSON_IsString(item) || item->valuestring[0] == '\0'
			|| strlen(item->valuestring) > MANIFEST_NAME_MAX) {
			ota_why_set(why, "member \"%s\" has the element %s; accepted is %s", name,
				json_describe(item, shown), accepted);
			return OTA_ERR_INVALID;
		}
		list[n++] = item->valuestring;
	}
	*count = n;
	return OTA_OK;
}

static enum ota_err read_binary(const cJSON *root, struct manifest *manifest, struct ota_why *why)
{
	int64_t schema = 0;
	enum ota_err err = json_integer(root, "schema", 1, 1, &schema, why);

	if (!err) {
		err = read_version(root, "version", &manifest->terms.version, why);
	}
	if (!err) {
		err = json_integer(root, "sequence", 1, JSON_INTEGER_MAX, &manifest->terms.sequence, why);
	}
	if (!err) {
		err = read_url(root, &manifest->url, why);
	}
	if (!err) {
		err = read_sha256(root, manifest->sha256, why);
	}
	if (!err) {
		err = json_integer(root, "size", 1, JSON_INTEGER_MAX, &manifest->size, why);
	}
	return err == OTA_ERR_NOT_FOUND ? OTA_ERR_INVALID : err;
}

static enum ota_err read_terms(const cJSON *root, struct owned_manifest *owned, struct ota_why *why)
{
	struct release_terms *terms = &owned->manifest.terms;
	enum ota_err err = read_list(root, "hardware", owned->hardware, &terms->hardware_count, why);

	if (!err) {
		err = read_list(root, "fleets", owned->fleets, &terms->fleets_count, why);
	}
	if (!err) {
		err = optional(read_version(root, "minVersion", &terms->min_version, why));
	}
	if (!err) {
		err = optional(read_version(root, "maxVersion", &terms->max_version, why));
	}
	if (!err) {
		err = optional(read_time(root, "notBefore", &terms->not_before_ms, why));
	}
	if (!err) {
		err = optional(read_time(root, "expires", &terms->expires_ms, why));
	}
	if (!err) {
		err = optional(json_text(
			root, "releaseNotes", MANIFEST_NOTES_MAX, &owned->manifest.release_notes, why));
	}
	if (err) {
		return err;
	}
	terms->hardware = owned->hardware;
	terms->fleets = owned->fleets;
	if (terms->min_version && terms->max_version
		&& version_compare(terms->min_version, terms->max_version) > 0) {
		return refuse_value(root, "minVersion", "a version not above maxVersion", why);
	}
	if (terms->not_before_ms && terms->expires_ms && terms->not_before_ms >= terms->expires_ms) {
		return refuse_value(root, "notBefore", "a time before expires", why);
	}
	return OTA_OK;
}

enum ota_err manifest_parse(
	const char *json, size_t length, struct manifest **manifest, struct ota_why *why)
{
	enum ota_err err = OTA_ERR_NOMEM;
	struct owned_manifest *owned = NULL;

	if (length > MANIFEST_SIZE_MAX) {
		ota_why_set(why, "manifest of %zu bytes; accepted are up to %d", length, MANIFEST_SIZE_MAX);
		return OTA_ERR_INVALID;
	}
	owned = calloc(1, sizeof(*owned));
	if (!owned) {
		return OTA_ERR_NOMEM;
	}
	err = json_parse_object(json, length, MANIFEST_DEPTH_MAX, &owned->tree, why);
	if (!err) {
		owned->json = strndup(json, length);
		owned->manifest.json = owned->json;
		err = owned->json ? refuse_lookalikes(owned->tree, why) : OTA_ERR_NOMEM;
	}
	if (!err) {
		err = read_binary(owned->tree, &owned->manifest, why);
	}
	if (!err) {
		err = read_terms(owned->tree, owned, why);
	}
	if (err) {
		manifest_free(&owned->manifest);
		return err;
	}
	*manifest = &owned->manifest;
	return OTA_OK;
}

/* Add a text, or null, which the parser refuses where it is needed. */
static bool add_text(cJSON *root, const char *name, const char *text)
{
	return text ? cJSON_AddStringToObject(root, name, text) != NULL
				: cJSON_AddNullToObject(root, name) != NULL;
}

/* A double would round the integers that the parser is to refuse, so the digits go in as they are. */
static bool add_integer(cJSON *root, const char *name, int64_t value)
{
	char digits[32];

	(void)snprintf(digits, sizeof(digits), "%lld", (long long)value);
	return cJSON_AddRawToObject(root, name, digits) != NULL;
}

enum ota_err manifest_from_columns(const char *version, int64_t sequence, const char *url,
	const char *sha256, int64_t size, const char *release_notes, struct manifest **manifest,
	struct ota_why *why)
{
	enum ota_err err = OTA_ERR_NOMEM;
	char *json = NULL;
	cJSON *root = cJSON_CreateObject();

	/* Written as a manifest and read back: one set of checks for both ways in. */
	if (root && add_integer(root, "schema", 1) && add_text(root, "version", version)
		&& add_integer(root, "sequence", sequence) && add_text(root, "url", url)
		&& add_text(root, "sha256", sha256) && add_integer(root, "size", size)
		&& (!release_notes || add_text(root, "releaseNotes", release_notes))) {
		json = cJSON_PrintUnformatted(root);
	}
	cJSON_Delete(root);
	if (json) {
		err = manifest_parse(json, strlen(json), manifest, why);
	}
	free(json);
	return err;
}

void manifest_free(struct manifest *manifest)
{
	struct owned_manifest *owned = (struct owned_manifest *)manifest;

	if (!owned) {
		return;
	}
	cJSON_Delete(owned->tree);
	free(owned->json);
	free(owned);
}
