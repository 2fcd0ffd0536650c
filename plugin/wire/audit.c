#include "ota/wire/audit.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

enum {
	/* "ota1", seven numbers with a blank before each, a line feed */
	LINE_MAX_BYTES = 4 + 7 * 21 + 1,
};

struct audit_hasher {
	EVP_MD *sha256; /* fetched once: looking it up costs more than a row */
	EVP_MD_CTX *context;
};

struct audit_hasher *audit_hasher_new(void)
{
	struct audit_hasher *hasher = calloc(1, sizeof(*hasher));

	if (!hasher) {
		return NULL;
	}
	hasher->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	hasher->context = EVP_MD_CTX_new();
	if (!hasher->sha256 || !hasher->context) {
		audit_hasher_free(hasher);
		return NULL;
	}
	return hasher;
}

void audit_hasher_free(struct audit_hasher *hasher)
{
	if (hasher) {
		EVP_MD_CTX_free(hasher->context);
		EVP_MD_free(hasher->sha256);
		free(hasher);
	}
}

/* " 123"; returns the end. */
static char *put_number(char *out, int64_t value)
{
	char digits[20];
	size_t n = 0;
	uint64_t left = value < 0 ? (uint64_t)0 - (uint64_t)value : (uint64_t)value;

	*out++ = ' ';
	if (value < 0) {
		*out++ = '-';
	}
	do {
		digits[n++] = (char)('0' + left % 10);
		left /= 10;
	} while (left > 0);
	while (n > 0) {
		*out++ = digits[--n];
	}
	return out;
}

static char *put_length(char *out, const struct audit_text *text)
{
	if (text->text) {
		return put_number(out, (int64_t)text->length);
	}
	memcpy(out, " -", 2);
	return out + 2;
}

enum ota_err audit_hash(
	struct audit_hasher *hasher, const struct audit_row *row, uint8_t hash[AUDIT_HASH_BYTES])
{
	const struct audit_text *const texts[] = { &row->broker, &row->device, &row->kind,
		&row->detail };
	EVP_MD_CTX *context = hasher->context;
	char line[LINE_MAX_BYTES];
	char *out = line;
	int fine;

	memcpy(out, "ota1", 4);
	out = put_number(out + 4, row->position);
	out = put_number(out, row->event_id);
	out = put_number(out, row->at_us);
	if (row->rollout != 0) {
		out = put_number(out, row->rollout);
	} else {
		memcpy(out, " -", 2);
		out += 2;
	}
	for (size_t i = 0; i < 3; i++) {
		out = put_length(out, texts[i]);
	}
	*out++ = '\n';

	fine = EVP_DigestInit_ex2(context, hasher->sha256, NULL)
		&& EVP_DigestUpdate(context, hash, AUDIT_HASH_BYTES)
		&& EVP_DigestUpdate(context, line, (size_t)(out - line));
	for (size_t i = 0; fine && i < sizeof(texts) / sizeof(texts[0]); i++) {
		fine = !texts[i]->text || EVP_DigestUpdate(context, texts[i]->text, texts[i]->length);
	}
	return fine && EVP_DigestFinal_ex(context, hash, NULL) ? OTA_OK : OTA_ERR_NOMEM;
}
