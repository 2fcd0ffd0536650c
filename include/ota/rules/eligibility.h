/*
 * eligibility - may this device be given this release, now?
 *
 * Asked when a cohort is chosen (in SQL, the same cases) and again at the moment of delivery, with the terms taken from
 * the verified manifest.  Pure.  Thread: any.
 * Source: RFC 9124, REQ.SEC.SEQUENCE, REQ.SEC.COMPATIBLE, REQ.SEC.EXP, REQ.SEC.AUTH.PRECURSOR.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"

/* What the manifest allows.  Strings and lists belong to the caller; an empty list or NULL means any. */
struct release_terms {
	const char *version;
	int64_t sequence;
	const char *const *hardware;
	size_t hardware_count;
	const char *const *fleets;
	size_t fleets_count;
	const char *min_version; /* NULL: none */
	const char *max_version; /* NULL: none */
	int64_t not_before_ms;   /* 0: none */
	int64_t expires_ms;      /* 0: none */
};

/* What is known of the device; NULL or empty: unknown. */
struct device_facts {
	const char *fleet;
	const char *hardware;
	const char *version;
	int64_t sequence; /* highest sequence it is known to run or have run; 0: unknown */
};

enum eligibility {
	ELIGIBLE = 0,
	INELIGIBLE_CURRENT,   /* already runs this version */
	INELIGIBLE_FLEET,     /* mix-and-match: not for this fleet */
	INELIGIBLE_HARDWARE,  /* wrong or unknown hardware, and the release names some */
	INELIGIBLE_SEQUENCE,  /* rollback: sequence below the device's */
	INELIGIBLE_BELOW_MIN, /* needs a stepping stone; unknown versions too */
	INELIGIBLE_ABOVE_MAX,
	INELIGIBLE_NOT_YET,
	INELIGIBLE_EXPIRED, /* freeze */
	ELIGIBILITY_COUNT
};

/*
 * Check in the order of the enum; the first that fails is the answer.  `now_ms` since the Unix epoch; the release is
 * handed out from not_before_ms on and no longer at expires_ms.  What is unknown fails closed: a device without a
 * fleet, hardware or readable version does not pass a list or a bound, and an unreadable bound passes nobody.
 * CURRENT compares the exact text, build metadata included, so that 1.0.0+b may follow 1.0.0+a.
 */
OTA_MUST_USE enum eligibility eligibility_check(const struct release_terms *terms,
	const struct device_facts *device, int64_t now_ms) __attribute__((nonnull));

/*
 * Short code for the database and the log: eligible, current, wrong_fleet, wrong_hardware, old_sequence,
 * below_min_version, above_max_version, not_yet, expired; and words for people.  Static; never NULL.
 */
const char *eligibility_code(enum eligibility eligibility);
const char *eligibility_words(enum eligibility eligibility);
