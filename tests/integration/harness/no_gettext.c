/*
 * no_gettext - preloaded beside AddressSanitizer: messages stay untranslated.
 *
 * With the sanitizer's runtime in front of the other libraries a constructor among the broker's libraries leaves glibc's lock of
 * the message catalogues unlocked once too often, without any plugin loaded, and the first bindtextdomain() of libpq then
 * waits for ever.  Thread: any.
 */
#include <stddef.h>

char *bindtextdomain(const char *domain, const char *folder);
char *dgettext(const char *domain, const char *text);
char *dcgettext(const char *domain, const char *text, int category);
char *dngettext(const char *domain, const char *one, const char *many, unsigned long count);

/* The prototypes are libc's, and they give away the const. */
static char *same(const char *text)
{
	union {
		const char *given;
		char *taken;
	} pointer = { .given = text };

	return pointer.taken;
}

char *bindtextdomain(const char *domain, const char *folder)
{
	(void)domain;
	return same(folder);
}

char *dgettext(const char *domain, const char *text)
{
	(void)domain;
	return same(text);
}

char *dcgettext(const char *domain, const char *text, int category)
{
	(void)domain;
	(void)category;
	return same(text);
}

char *dngettext(const char *domain, const char *one, const char *many, unsigned long count)
{
	(void)domain;
	return same(count == 1 ? one : many);
}
