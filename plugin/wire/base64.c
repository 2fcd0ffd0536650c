#include "ota/wire/base64.h"

#include <stdbool.h>
#include <stdlib.h>

/* Which of the two alphabets a text has shown to be in. */
enum alphabet {
	ALPHABET_EITHER = 0,
	ALPHABET_STANDARD,
	ALPHABET_URL
};

/* The six bits of a character, -1: not base64; `*alphabet` is set by the four characters in which the alphabets differ. */
static int sextet(char c, enum alphabet *alphabet)
{
	enum alphabet shown = ALPHABET_EITHER;
	int value = -1;

	if (c >= 'A' && c <= 'Z') {
		return c - 'A';
	}
	if (c >= 'a' && c <= 'z') {
		return c - 'a' + 26;
	}
	if (c >= '0' && c <= '9') {
		return c - '0' + 52;
	}
	if (c == '+' || c == '/') {
		shown = ALPHABET_STANDARD;
		value = c == '+' ? 62 : 63;
	} else if (c == '-' || c == '_') {
		shown = ALPHABET_URL;
		value = c == '-' ? 62 : 63;
	} else {
		return -1;
	}
	if (*alphabet != ALPHABET_EITHER && *alphabet != shown) {
		return -1;
	}
	*alphabet = shown;
	return value;
}

/* The characters without the padding; false: the padding or the length is wrong. */
static bool strip_padding(const char *text, size_t *length)
{
	size_t n = *length;
	size_t padding = 0;

	while (n > 0 && padding < 2 && text[n - 1] == '=') {
		n--;
		padding++;
	}
	if (padding > 0 && *length % 4 != 0) {
		return false;
	}
	*length = n;
	return n % 4 != 1;
}

enum ota_err base64_decode(const char *text, size_t length, uint8_t **out, size_t *out_length)
{
	enum alphabet alphabet = ALPHABET_EITHER;
	uint32_t bits = 0;
	unsigned bit_count = 0;
	uint8_t *data = NULL;
	size_t n = 0;

	if (!strip_padding(text, &length)) {
		return OTA_ERR_INVALID;
	}
	/* Three bytes of four characters; computed so that it cannot overflow. */
	data = calloc(1, length / 4 * 3 + length % 4 + 1);
	if (!data) {
		return OTA_ERR_NOMEM;
	}
	for (size_t i = 0; i < length; i++) {
		int value = sextet(text[i], &alphabet);

		if (value < 0) {
			free(data);
			return OTA_ERR_INVALID;
		}
		bits = (bits << 6 | (uint32_t)value) & 0xFFFF;
		bit_count += 6;
		if (bit_count >= 8) {
			bit_count -= 8;
			data[n++] = (uint8_t)(bits >> bit_count);
		}
	}
	/* Left-over bits must be zero: one text for one value (RFC 4648, section 3.5). */
	if (bits & ((1U << bit_count) - 1U)) {
		free(data);
		return OTA_ERR_INVALID;
	}
	data[n] = 0;
	*out = data;
	*out_length = n;
	return OTA_OK;
}

char *base64_encode(const uint8_t *data, size_t length)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *text = NULL;
	size_t n = 0;

	if (length > SIZE_MAX / 2) {
		return NULL;
	}
	text = malloc((length / 3 + 1) * 4 + 1);
	if (!text) {
		return NULL;
	}
	for (size_t i = 0; i < length; i += 3) {
		size_t left = length - i;
		uint32_t bits = (uint32_t)data[i] << 16;

		bits |= left > 1 ? (uint32_t)data[i + 1] << 8 : 0;
		bits |= left > 2 ? (uint32_t)data[i + 2] : 0;
		text[n++] = alphabet[bits >> 18 & 63];
		text[n++] = alphabet[bits >> 12 & 63];
		text[n++] = left > 1 ? alphabet[bits >> 6 & 63] : '=';
		text[n++] = left > 2 ? alphabet[bits & 63] : '=';
	}
	text[n] = '\0';
	return text;
}
