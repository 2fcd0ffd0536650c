#include "ota/rules/eligibility.h"

#include <stdbool.h>
#include <string.h>

#include "ota/rules/version.h"

static bool is_known(const char *text)
{
	return text && text[0] != '\0';
}

static bool is_listed(const char *const *list, size_t count, const char *text)
{
	/* No list: any.  A list, and we do not know what the device is: not on it. */
	if (!list || count == 0) {
		return true;
	}
	if (!is_known(text)) {
		return false;
	}
	for (size_t i = 0; i < count; i++) {
		if (list[i] && strcmp(list[i], text) == 0) {
			return true;
		}
	}
	return false;
}

static enum eligibility check_bounds(const struct release_terms *terms, const char *version)
{
	/* A bound cannot be checked against a version nobody can read: fail closed. */
	if ((terms->min_version || terms->max_version) && !version_valid(version)) {
		return INELIGIBLE_BELOW_MIN;
	}
	if (terms->min_version
		&& (!version_valid(terms->min_version)
			|| version_compare(version, terms->min_version) < 0)) {
		return INELIGIBLE_BELOW_MIN;
	}
	if (terms->max_version
		&& (!version_valid(terms->max_version)
			|| version_compare(version, terms->max_version) > 0)) {
		return INELIGIBLE_ABOVE_MAX;
	}
	return ELIGIBLE;
}

enum eligibility eligibility_check(
	const struct release_terms *terms, const struct device_facts *device, int64_t now_ms)
{
	enum eligibility bounds;

	if (is_known(device->version) && is_known(terms->version)
		&& strcmp(device->version, terms->version) == 0) {
		return INELIGIBLE_CURRENT;
	}
	if (!is_listed(terms->fleets, terms->fleets_count, device->fleet)) {
		return INELIGIBLE_FLEET;
	}
	if (!is_listed(terms->hardware, terms->hardware_count, device->hardware)) {
		return INELIGIBLE_HARDWARE;
	}
	if (device->sequence > 0 && terms->sequence < device->sequence) {
		return INELIGIBLE_SEQUENCE;
	}
	bounds = check_bounds(terms, device->version);
	if (bounds != ELIGIBLE) {
		return bounds;
	}
	if (terms->not_before_ms != 0 && now_ms < terms->not_before_ms) {
		return INELIGIBLE_NOT_YET;
	}
	if (terms->expires_ms != 0 && now_ms >= terms->expires_ms) {
		return INELIGIBLE_EXPIRED;
	}
	return ELIGIBLE;
}

struct wording {
	const char *code;
	const char *words;
};

static const struct wording wordings[ELIGIBILITY_COUNT] = {
	[ELIGIBLE] = { "eligible", "may be given this release" },
	[INELIGIBLE_CURRENT] = { "current", "already runs this version" },
	[INELIGIBLE_FLEET] = { "wrong_fleet", "mix-and-match: the release is not for this fleet" },
	[INELIGIBLE_HARDWARE] = { "wrong_hardware",
		"wrong hardware: the release is not for this model" },
	[INELIGIBLE_SEQUENCE] = { "old_sequence",
		"rollback: the release's sequence is below the one that the device has run" },
	[INELIGIBLE_BELOW_MIN] = { "below_min_version",
		"runs a version below the release's minVersion, or one that is unknown" },
	[INELIGIBLE_ABOVE_MAX] = { "above_max_version",
		"runs a version above the release's maxVersion" },
	[INELIGIBLE_NOT_YET] = { "not_yet", "the release's notBefore has not come" },
	[INELIGIBLE_EXPIRED] = { "expired", "freeze: the release has expired" },
};

const char *eligibility_code(enum eligibility eligibility)
{
	return (size_t)eligibility < ELIGIBILITY_COUNT ? wordings[eligibility].code : "unknown";
}

const char *eligibility_words(enum eligibility eligibility)
{
	return (size_t)eligibility < ELIGIBILITY_COUNT ? wordings[eligibility].words
												   : "unknown eligibility";
}
