#include "json_number.h"

#include <locale.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "ota/wire/json.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static size_t digits(const char *text, size_t size)
{
	size_t n = 0;

	while (n < size && is_digit(text[n])) {
		n++;
	}
	return n;
}

/* The length of the number by the grammar of RFC 8259; 0 and a reason: it is none. */
static size_t number_length(const char *text, size_t size, const char **reason)
{
	size_t at = 0;
	size_t n = 0;

	if (at < size && text[at] == '-') {
		at++;
	}
	n = digits(text + at, size - at);
	if (n == 0) {
		*reason = "number without digits";
		return 0;
	}
	if (n > 1 && text[at] == '0') {
		*reason = "number with a leading zero";
		return 0;
	}
	at += n;
	if (at < size && text[at] == '.') {
		at++;
		n = digits(text + at, size - at);
		if (n == 0) {
			*reason = "number without digits after the point";
			return 0;
		}
		at += n;
	}
	if (at < size && (text[at] == 'e' || text[at] == 'E')) {
		at++;
		if (at < size && (text[at] == '+' || text[at] == '-')) {
			at++;
		}
		n = digits(text + at, size - at);
		if (n == 0) {
			*reason = "number without digits in its exponent";
			return 0;
		}
		at += n;
	}
	return at;
}

/*
 * Is this number, of RFC 8259's grammar, exactly an integer?  True when the last digit that is not zero stands left of the
 * decimal point once the exponent has moved it.
 */
static bool text_is_integer(const char *number)
{
	const char *exponent = strpbrk(number, "eE");
	size_t mantissa_length = exponent ? (size_t)(exponent - number) : strlen(number);
	const char *point = memchr(number, '.', mantissa_length);
	long shift = exponent ? strtol(exponent + 1, NULL, 10) : 0; /* saturates */
	long integer_digits = (point ? point - number : (long)mantissa_length) - (*number == '-');
	long place = 0;
	long last = 0;

	for (size_t i = 0; i < mantissa_length; i++) {
		if (is_digit(number[i])) {
			place++;
			last = number[i] != '0' ? place : last;
		}
	}
	if (last == 0) {
		return true; /* zero, in whatever form */
	}
	if (shift > JSON_NUMBER_MAX) {
		return true; /* and out of any range */
	}
	return shift >= -JSON_NUMBER_MAX && last <= integer_digits + shift;
}

const char *json_number_read(const char *text, size_t size, cJSON *item, size_t *length)
{
	char number[JSON_NUMBER_MAX + 1];
	const char *reason = NULL;
	size_t n = number_length(text, size, &reason);
	locale_t c_locale = (locale_t)0;
	double value = 0;

	if (reason) {
		return reason;
	}
	if (n > JSON_NUMBER_MAX) {
		return "number of more than 63 characters";
	}
	memcpy(number, text, n);
	number[n] = '\0';
	/* The point is a point whatever the process's locale says; glibc makes this locale without allocating. */
	c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	if (!c_locale) {
		return "number cannot be read: no memory";
	}
	value = strtod_l(number, NULL, c_locale);
	freelocale(c_locale);
	if (!isfinite(value)) {
		return "number out of range";
	}
	item->type = cJSON_Number;
	(void)cJSON_SetNumberHelper(item, value);
	if (fabs(value) <= (double)JSON_INTEGER_MAX && text_is_integer(number)) {
		item->type |= JSON_EXACT_INTEGER;
	}
	*length = n;
	return NULL;
}
