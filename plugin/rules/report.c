#include "ota/rules/report.h"

static const char *const names[REPORT_STATUS_COUNT] = {
	[REPORT_IDLE] = "IDLE",
	[REPORT_DOWNLOADING] = "DOWNLOADING",
	[REPORT_VERIFYING] = "VERIFYING",
	[REPORT_APPLYING] = "APPLYING",
	[REPORT_REBOOTING] = "REBOOTING",
	[REPORT_SUCCESS] = "SUCCESS",
	[REPORT_FAILED] = "FAILED",
	[REPORT_ROLLED_BACK] = "ROLLED_BACK",
	[REPORT_REJECTED] = "REJECTED",
	[REPORT_DEFERRED] = "DEFERRED",
};

/* Not strncasecmp(): its answer depends on the locale of the broker (a Turkish i is not an I). */
static bool equals_ignoring_case(const char *text, size_t length, const char *capitals)
{
	for (size_t i = 0; i < length; i++) {
		char c = text[i];

		if (c >= 'a' && c <= 'z') {
			c = (char)(c - 'a' + 'A');
		}
		/* Also stops a text longer than the name, or with a zero byte inside. */
		if (capitals[i] == '\0' || c != capitals[i]) {
			return false;
		}
	}
	return capitals[length] == '\0';
}

bool report_status_parse(const char *text, size_t length, enum report_status *status)
{
	if (!text) {
		return false;
	}
	for (size_t i = 0; i < REPORT_STATUS_COUNT; i++) {
		if (equals_ignoring_case(text, length, names[i])) {
			*status = (enum report_status)i;
			return true;
		}
	}
	return false;
}

const char *report_status_name(enum report_status status)
{
	return (size_t)status < REPORT_STATUS_COUNT ? names[status] : "UNKNOWN";
}
