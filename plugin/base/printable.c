#include "ota/base/printable.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How many bytes the character at `text` has, 0: it is none; sets its number (RFC 3629). */
static size_t character(const unsigned char *text, uint32_t *number)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t length = text[0] < 0x80 ? 1
		: text[0] < 0xc2           ? 0
		: text[0] < 0xe0           ? 2
		: text[0] < 0xf0           ? 3
		: text[0] < 0xf5           ? 4
								   : 0;

	*number = length < 2 ? text[0] : text[0] & (0x7fU >> length);
	for (size_t i = 1; i < length; i++) {
		if ((text[i] & 0xc0) != 0x80) { /* the end of the text, too */
			return 0;
		}
		*number = *number << 6 | (text[i] & 0x3fU);
	}
	if (length > 0
		&& (*number < least[length] || *number > 0x10ffff
			|| (*number >= 0xd800 && *number < 0xe000))) {
		return 0;
	}
	return length;
}

static bool is_harmful(uint32_t number)
{
	return number < 0x20 || (number >= 0x7f && number < 0xa0) || number == 0x2028
		|| number == 0x2029 || (number >= 0x202a && number <= 0x202e)
		|| (number >= 0x2066 && number <= 0x2069);
}

void printable_make(char *text)
{
	const unsigned char *from = (const unsigned char *)text;
	char *to = text;

	while (*from != '\0') {
		uint32_t number;
		size_t length = character(from, &number);

		if (length == 0 || is_harmful(number)) {
			*to++ = '?';
			from += length == 0 ? 1 : length;
			continue;
		}
		for (size_t i = 0; i < length; i++) {
			*to++ = (char)*from++;
		}
	}
	*to = '\0';
}
