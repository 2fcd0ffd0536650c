#include "ota/wire/fleet_url.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

static const char path_mark[] = "{path}";
static const char host_characters[] = "abcdefghijklmnopqrstuvwxyz0123456789.-";
static const char prefix_characters[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-";
static const char accepted_template[] =
	"accepted is https://host[:port][/prefix]{path}, or http://, with a lower-case host name; {path} begins with a '/'";

/* A fleet's entry, in the order of the names. */
struct fleet_urls {
	size_t count;
	struct fleet_url items[];
};

static enum ota_err refuse(struct ota_why *why, const char *what)
{
	ota_why_set(why, "%s; %s", what, accepted_template);
	return OTA_ERR_INVALID;
}

/* Is this segment "." or "..", however it is written?  Clients take it out, and with it what stands before it. */
static bool is_dots(const char *segment, size_t length)
{
	size_t dots = 0;

	for (size_t i = 0; i < length; dots++) {
		if (segment[i] == '.') {
			i++;
		} else if (length - i >= 3 && segment[i] == '%' && segment[i + 1] == '2'
			&& (segment[i + 2] == 'e' || segment[i + 2] == 'E')) {
			i += 3;
		} else {
			return false;
		}
	}
	return dots == 1 || dots == 2;
}

static bool has_dots(const char *path)
{
	while (*path == '/') {
		size_t length = strcspn(++path, "/");

		if (is_dots(path, length)) {
			return true;
		}
		path += length;
	}
	return false;
}

/* A port from 1 to 65535, and nothing behind it; 0: it is none. */
static unsigned long parse_port(const char *text, size_t length)
{
	unsigned long port = 0;

	if (length < 1 || length > 5 || text[0] == '0') {
		return 0;
	}
	for (size_t i = 0; i < length; i++) {
		if (text[i] < '0' || text[i] > '9') {
			return 0;
		}
		port = port * 10 + (unsigned long)(text[i] - '0');
	}
	return port <= 65535 ? port : 0;
}

static bool prefix_valid(const char *prefix, size_t length)
{
	for (size_t i = 0; i < length;) {
		size_t segment = prefix[i] == '/' ? strspn(prefix + i + 1, prefix_characters) : 0;

		if (segment == 0 || is_dots(prefix + i + 1, segment)) {
			return false;
		}
		i += 1 + segment;
	}
	return true;
}

enum ota_err fleet_url_template_parse(
	const char *text, struct fleet_url_template *out, struct ota_why *why)
{
	const bool is_https = strncmp(text, "https://", 8) == 0;
	const size_t scheme = is_https ? 8 : 7;
	const size_t length = strlen(text);
	struct fleet_url_template made = { 0 };

	if (length > FLEET_URL_TEMPLATE_MAX) {
		return refuse(why, "it is longer than 512 bytes");
	}
	if (!is_https && strncmp(text, "http://", 7) != 0) {
		return refuse(why, "it begins with neither https:// nor http://");
	}
	const size_t host = strspn(text + scheme, host_characters);
	size_t origin = scheme + host;
	size_t end = length - strlen(path_mark);
	size_t at = origin;

	if (host == 0 || host > 253 || text[scheme] == '.' || text[scheme] == '-'
		|| text[origin - 1] == '.' || text[origin - 1] == '-') {
		return refuse(why, "it has no host name");
	}
	if (text[at] == ':') {
		const size_t digits = strcspn(text + at + 1, "/{");
		const unsigned long port = parse_port(text + at + 1, digits);

		if (port == 0) {
			return refuse(why, "its port is not a number from 1 to 65535");
		}
		at += 1 + digits;
		/* Clients do not say it, and what is signed has to be what they say. */
		origin = port == (is_https ? 443UL : 80UL) ? origin : at;
	}
	if (length < at + strlen(path_mark) || strcmp(text + end, path_mark) != 0) {
		return refuse(why, "it does not end with {path}");
	}
	if (!prefix_valid(text + at, end - at)) {
		return refuse(
			why, "its prefix is not made of /segments of letters, digits, '.', '_', '~' and '-'");
	}
	made.origin = strndup(text, origin);
	made.prefix = strndup(text + at, end - at);
	if (!made.origin || !made.prefix) {
		fleet_url_template_free(&made);
		ota_why_set(why, "out of memory");
		return OTA_ERR_NOMEM;
	}
	made.host = made.origin + scheme;
	*out = made;
	return OTA_OK;
}

void fleet_url_template_free(struct fleet_url_template *template)
{
	free(template->origin);
	free(template->prefix);
	*template = (struct fleet_url_template){ 0 };
}

static void clear(struct fleet_url *url)
{
	if (url->credential) {
		OPENSSL_cleanse(url->credential, sizeof(*url->credential));
	}
	free(url->credential);
	OPENSSL_cleanse(&url->day, sizeof(url->day));
	fleet_url_template_free(&url->template);
	free(url->fleet);
	free(url->trouble);
}

void fleet_urls_free(struct fleet_urls *urls)
{
	for (size_t i = 0; urls && i < urls->count; i++) {
		clear(&urls->items[i]);
	}
	free(urls);
}

/* Cut the line at its next tab; NULL: there is none. */
static char *next_field(char *line)
{
	char *tab = strchr(line, '\t');

	if (!tab) {
		return NULL;
	}
	*tab = '\0';
	return tab + 1;
}

static enum ota_err read_line(
	char *line, const struct credentials *credentials, struct fleet_url *url)
{
	char *text = next_field(line);
	char *name = text ? next_field(text) : NULL;
	const struct credential *credential = name ? credentials_find(credentials, name) : NULL;
	struct ota_why why = { "" };
	enum ota_err err;

	url->fleet = strdup(line);
	if (!url->fleet) {
		return OTA_ERR_NOMEM;
	}
	if (!name) {
		ota_why_set(&why, "the database has no template for it");
	} else if ((err = fleet_url_template_parse(text, &url->template, &why)) == OTA_ERR_NOMEM) {
		return err;
	} else if (!err && *name && !credential) {
		ota_why_set(&why,
			"this broker has no credential \"%.64s\": it is not in the file of plugin_opt_url_credentials",
			name);
	}
	if (why.text[0]) {
		url->trouble = strdup(why.text);
		return url->trouble ? OTA_OK : OTA_ERR_NOMEM;
	}
	if (credential) {
		url->credential = malloc(sizeof(*url->credential));
		if (!url->credential) {
			return OTA_ERR_NOMEM;
		}
		*url->credential = *credential;
	}
	return OTA_OK;
}

static int by_fleet(const void *left, const void *right)
{
	return strcmp(
		((const struct fleet_url *)left)->fleet, ((const struct fleet_url *)right)->fleet);
}

enum ota_err fleet_urls_parse(
	const char *text, const struct credentials *credentials, struct fleet_urls **out)
{
	struct fleet_urls *urls = NULL;
	char *copy = strdup(text);
	char *rest = NULL;
	size_t lines = 1;
	enum ota_err err = OTA_OK;

	for (const char *at = text; *at; at++) {
		lines += *at == '\n';
	}
	urls = calloc(1, sizeof(*urls) + lines * sizeof(urls->items[0]));
	if (!copy || !urls) {
		err = OTA_ERR_NOMEM;
	}
	for (char *line = err ? NULL : strtok_r(copy, "\n", &rest); line && !err;
		 line = strtok_r(NULL, "\n", &rest)) {
		err = read_line(line, credentials, &urls->items[urls->count++]);
	}
	free(copy);
	if (err) {
		fleet_urls_free(urls);
		return err;
	}
	qsort(urls->items, urls->count, sizeof(urls->items[0]), by_fleet);
	*out = urls;
	return OTA_OK;
}

static int to_fleet(const void *name, const void *url)
{
	return strcmp(name, ((const struct fleet_url *)url)->fleet);
}

struct fleet_url *fleet_urls_find(struct fleet_urls *urls, const char *fleet)
{
	return urls && fleet
		? bsearch(fleet, urls->items, urls->count, sizeof(urls->items[0]), to_fleet)
		: NULL;
}

/* The path in the manifest's URL; NULL with the reason: it has none that could stand elsewhere. */
static const char *path_of(const char *manifest_url, struct ota_why *why)
{
	const char *host = strstr(manifest_url, "://");
	const char *path = host ? host + 3 + strcspn(host + 3, "/?#") : "";

	if (*path != '/') {
		ota_why_set(why, "the manifest's URL has no path");
	} else if (strpbrk(path, "?#")) {
		ota_why_set(why,
			"the manifest's URL has a '?' or '#', and only a path can be kept in a fleet's URL");
	} else if (has_dots(path)) {
		ota_why_set(why, "the path of the manifest's URL has a segment \".\" or \"..\"");
	} else {
		return path;
	}
	return NULL;
}

static int64_t seconds_until(int64_t now_ms, int64_t until_ms)
{
	const int64_t most_ms = (int64_t)PRESIGN_SECONDS_MAX * 1000;

	if (until_ms <= 0 || until_ms > now_ms + most_ms) {
		return PRESIGN_SECONDS_MAX;
	}
	return until_ms > now_ms ? (until_ms - now_ms + 999) / 1000 : 1;
}

enum ota_err fleet_url_make(struct fleet_url *url, const char *manifest_url, int64_t now_ms,
	int64_t until_ms, char out[FLEET_URL_MAX], struct ota_why *why)
{
	char query[PRESIGN_QUERY_MAX] = "";
	char made[FLEET_URL_MAX];
	enum ota_err err = OTA_OK;

	if (url->trouble) {
		ota_why_set(why, "%s", url->trouble);
		return OTA_ERR_INVALID;
	}
	const struct fleet_url_template *template = &url->template;
	const char *path = path_of(manifest_url, why);
	int length;

	if (!path) {
		return OTA_ERR_INVALID;
	}
	length = snprintf(made, sizeof(made), "%s%s%s", template->origin, template->prefix, path);
	if (url->credential && length >= 0 && length < (int)sizeof(made)) {
		err = presign_query(url->credential, &url->day, template->host,
			made + strlen(template->origin), now_ms, seconds_until(now_ms, until_ms), query);
	}
	if (err == OTA_ERR_INVALID) {
		ota_why_set(why, "the path of the manifest's URL has a '%%' without two hex digits");
		return err;
	}
	if (err == OTA_ERR_FULL || length < 0 || (size_t)length + strlen(query) + 2 > sizeof(made)) {
		ota_why_set(why, "it would be longer than %d bytes", FLEET_URL_MAX - 1);
		return OTA_ERR_INVALID;
	}
	if (err) {
		ota_why_set(why, "out of memory");
		return err;
	}
	memcpy(out, made, (size_t)length + 1);
	if (query[0]) {
		out[length] = '?';
		memcpy(out + length + 1, query, strlen(query) + 1);
	}
	return OTA_OK;
}
