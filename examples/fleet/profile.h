/*
 * profile - what kind of device each one is: good, or difficult in one of six ways.
 *
 * A device's profile and all that is drawn for it come from the seed and its id alone, never from
 * its place in the run: the same device is the same in every run, in one process or in several.
 * Thread: any; nothing here changes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum profile {
	PROFILE_GOOD,
	PROFILE_FLAKY,    /* the connection breaks and stalls, transfers break and are resumed */
	PROFILE_SLOW,     /* downloads slowly, boots slowly */
	PROFILE_DIES,     /* is never seen again from one state of the update on */
	PROFILE_BOOTLOOP, /* the new firmware drops off until the boot loader gives it up */
	PROFILE_LIES,     /* reports what is not so */
	PROFILE_CLONE,    /* a second client with another device's client id */
	PROFILE_COUNT
};

/* Where a device of PROFILE_DIES goes dark. */
enum death {
	DEATH_TOLD,
	DEATH_DOWNLOADING,
	DEATH_VERIFYING,
	DEATH_APPLYING,
	DEATH_REBOOTING,
	DEATH_TRIAL,
	DEATH_COUNT
};

/* What a device of PROFILE_LIES says. */
enum lie {
	LIE_EARLY,   /* SUCCESS on the new version, at once: nothing was installed, nothing rebooted */
	LIE_VERSION, /* SUCCESS after the reboot, on a version that nobody asked for */
	LIE_OTHER,   /* SUCCESS for another device; honest about itself */
	LIE_MALFORMED, /* what is no report, instead of each report */
	LIE_COUNT
};

/* Shares of the fleet in permille, 1000 together. */
struct mix {
	uint32_t permille[PROFILE_COUNT];
};

/* Names as they stand in --mix, --dies-at, --lies-about and in the CSV. */
const char *profile_name(enum profile profile);
const char *death_name(enum death death);
const char *lie_name(enum lie lie);

/* Parse "good=90,flaky=5,dies=5" (percent, one decimal); what is missing to 100 is good.  NULL when
 * it is well, else what is accepted. */
const char *mix_parse(const char *text, struct mix *mix) __attribute__((warn_unused_result));

/* Parse one name or "any" (then `*value` is the enum's count); false for other words. */
bool death_parse(const char *text, uint32_t *value) __attribute__((warn_unused_result));
bool lie_parse(const char *text, uint32_t *value) __attribute__((warn_unused_result));

/* The profile of the device with this id. */
enum profile profile_of(const struct mix *mix, uint64_t seed, const char *device);

/* Where it dies or what it lies about: `wanted`, or, when that is `count`, the device's own. */
uint32_t profile_detail(uint32_t wanted, uint32_t count, uint64_t seed, const char *device);
