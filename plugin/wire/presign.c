#include "ota/wire/presign.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "ota/base/hex.h"
#include "ota/wire/time.h"

#define ALGORITHM "AWS4-HMAC-SHA256"
#define SERVICE   "s3"
#define END       "aws4_request"

enum {
	STAMP_SIZE = sizeof("20130524T000000Z"),
	HEX_SIZE = 2 * PRESIGN_KEY_SIZE + 1,
	/* Every byte of the path may become three. */
	REQUEST_MAX = 3 * PRESIGN_PATH_MAX + PRESIGN_HOST_MAX + PRESIGN_QUERY_MAX + 128,
};

static const char hex_upper[] = "0123456789ABCDEF";

static bool is_unreserved(unsigned char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'
		|| c == '.' || c == '_' || c == '~';
}

/* UriEncode() of AWS's page; returns the end. */
static char *encode(char *out, unsigned char c, bool keep_slash)
{
	if (is_unreserved(c) || (keep_slash && c == '/')) {
		*out++ = (char)c;
	} else {
		*out++ = '%';
		*out++ = hex_upper[c >> 4];
		*out++ = hex_upper[c & 15];
	}
	return out;
}

/* The path as the server writes it down: decoded, and encoded in the one way.  NULL: a '%' that begins no escape. */
static char *encode_path(char *out, const char *path)
{
	for (; *path; path++) {
		unsigned char c = (unsigned char)*path;

		if (c == '%') {
			int high = hex_digit(path[1]);
			int low = high < 0 ? -1 : hex_digit(path[2]);

			if (low < 0) {
				return NULL;
			}
			c = (unsigned char)(high * 16 + low);
			path += 2;
		}
		out = encode(out, c, true);
	}
	return out;
}

static char *append(char *out, const char *text)
{
	size_t length = strlen(text);

	memcpy(out, text, length + 1);
	return out + length;
}

static bool hmac(const void *key, size_t size, const char *text, uint8_t out[PRESIGN_KEY_SIZE])
{
	unsigned int length = 0;

	return HMAC(EVP_sha256(), key, (int)size, (const unsigned char *)text, strlen(text), out,
			   &length)
		&& length == PRESIGN_KEY_SIZE;
}

/* HMAC(HMAC(HMAC(HMAC("AWS4" secret, date), region), service), "aws4_request"): the same for a whole day. */
static bool make_day(const struct credential *credential, const char *date, struct presign_day *day)
{
	char secret[CREDENTIAL_SECRET_MAX + sizeof("AWS4")];
	uint8_t key[PRESIGN_KEY_SIZE];
	bool made;

	if (strcmp(day->date, date) == 0) {
		return true;
	}
	(void)append(append(secret, "AWS4"), credential->secret);
	made = hmac(secret, strlen(secret), date, key)
		&& hmac(key, sizeof(key), credential->region, key) && hmac(key, sizeof(key), SERVICE, key)
		&& hmac(key, sizeof(key), END, day->key);
	OPENSSL_cleanse(secret, sizeof(secret));
	OPENSSL_cleanse(key, sizeof(key));
	memcpy(day->date, made ? date : "", made ? PRESIGN_DATE_SIZE : 1);
	return made;
}

/* "20130524T000000Z", of which the first eight letters are the date. */
static void make_stamp(int64_t now_ms, char stamp[STAMP_SIZE])
{
	char text[TIME_TEXT_SIZE];
	size_t length = 0;

	time_format_rfc3339(now_ms, text);
	for (const char *at = text; *at && length < STAMP_SIZE - 1; at++) {
		if (*at != '-' && *at != ':') {
			stamp[length++] = *at;
		}
	}
	stamp[length] = '\0';
}

enum ota_err presign_query(const struct credential *credential, struct presign_day *day,
	const char *host, const char *path, int64_t now_ms, int64_t seconds,
	char query[PRESIGN_QUERY_MAX])
{
	char request[REQUEST_MAX];
	char text[256];
	char stamp[STAMP_SIZE];
	char date[PRESIGN_DATE_SIZE];
	char scope[CREDENTIAL_REGION_MAX + 64];
	char number[32];
	char signature[HEX_SIZE];
	uint8_t digest[PRESIGN_KEY_SIZE];
	unsigned int size = 0;
	char *at;

	if (seconds < 1 || seconds > PRESIGN_SECONDS_MAX) {
		return OTA_ERR_INVALID;
	}
	if (strlen(path) > PRESIGN_PATH_MAX || strlen(host) > PRESIGN_HOST_MAX) {
		return OTA_ERR_FULL;
	}
	make_stamp(now_ms, stamp);
	memcpy(date, stamp, PRESIGN_DATE_SIZE - 1);
	date[PRESIGN_DATE_SIZE - 1] = '\0';
	(void)snprintf(scope, sizeof(scope), "%s/%s/" SERVICE "/" END, date, credential->region);

	/* In the order of the names, as the server sorts them. */
	at = append(query, "X-Amz-Algorithm=" ALGORITHM "&X-Amz-Credential=");
	for (const char *id = credential->key_id; *id; id++) {
		at = encode(at, (unsigned char)*id, false);
	}
	at = append(at, "%2F");
	for (const char *part = scope; *part; part++) {
		at = encode(at, (unsigned char)*part, false);
	}
	(void)snprintf(number, sizeof(number), "%d", (int)seconds);
	at = append(append(at, "&X-Amz-Date="), stamp);
	at = append(append(at, "&X-Amz-Expires="), number);
	at = append(at, "&X-Amz-SignedHeaders=host");

	/* The canonical request, and what is signed of it. */
	char *line = encode_path(append(request, "GET\n"), path);

	if (!line) {
		return OTA_ERR_INVALID;
	}
	line = append(append(append(line, "\n"), query), "\nhost:");
	line = append(append(line, host), "\n\nhost\nUNSIGNED-PAYLOAD");
	if (EVP_Digest(request, (size_t)(line - request), digest, &size, EVP_sha256(), NULL) != 1) {
		return OTA_ERR_NOMEM;
	}
	hex_write(digest, sizeof(digest), signature);
	(void)snprintf(text, sizeof(text), ALGORITHM "\n%s\n%s\n%s", stamp, scope, signature);
	if (!make_day(credential, date, day) || !hmac(day->key, sizeof(day->key), text, digest)) {
		return OTA_ERR_NOMEM;
	}
	hex_write(digest, sizeof(digest), signature);
	(void)append(append(at, "&X-Amz-Signature="), signature);
	return OTA_OK;
}
