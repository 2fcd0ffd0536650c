#include "ota/base/error.h"

#include <stdarg.h>
#include <stdio.h>

void ota_why_set(struct ota_why *why, const char *format, ...)
{
	va_list args;

	if (!why) {
		return;
	}
	va_start(args, format);
	(void)vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
}

const char *ota_err_name(enum ota_err err)
{
	static const char *const names[] = {
		[OTA_OK] = "ok",
		[OTA_ERR_INVALID] = "invalid",
		[OTA_ERR_NOMEM] = "no memory",
		[OTA_ERR_IO] = "input/output error",
		[OTA_ERR_FULL] = "full",
		[OTA_ERR_NOT_FOUND] = "not found",
		[OTA_ERR_DENIED] = "denied",
		[OTA_ERR_TIMEOUT] = "timed out",
		[OTA_ERR_UNAVAILABLE] = "unavailable",
		[OTA_ERR_CONFLICT] = "conflict",
		[OTA_ERR_STATE] = "not possible now",
	};

	if ((size_t)err >= sizeof(names) / sizeof(names[0])) {
		return "unknown error";
	}
	return names[err];
}
