#include "profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

static const char *const profile_names[PROFILE_COUNT] = {
	[PROFILE_GOOD] = "good",
	[PROFILE_FLAKY] = "flaky",
	[PROFILE_SLOW] = "slow",
	[PROFILE_DIES] = "dies",
	[PROFILE_BOOTLOOP] = "bootloop",
	[PROFILE_LIES] = "lies",
	[PROFILE_CLONE] = "clone",
};

static const char *const death_names[DEATH_COUNT] = {
	[DEATH_TOLD] = "told",
	[DEATH_DOWNLOADING] = "downloading",
	[DEATH_VERIFYING] = "verifying",
	[DEATH_APPLYING] = "applying",
	[DEATH_REBOOTING] = "rebooting",
	[DEATH_TRIAL] = "trial",
};

static const char *const lie_names[LIE_COUNT] = {
	[LIE_EARLY] = "early",
	[LIE_VERSION] = "version",
	[LIE_OTHER] = "other",
	[LIE_MALFORMED] = "malformed",
};

const char *profile_name(enum profile profile)
{
	return profile_names[profile];
}

const char *death_name(enum death death)
{
	return death_names[death];
}

const char *lie_name(enum lie lie)
{
	return lie_names[lie];
}

/* The place of `text` (its first `length` characters) in `names`; `count` when it is not there. */
static uint32_t find(const char *const *names, uint32_t count, const char *text, size_t length)
{
	for (uint32_t i = 0; i < count; i++) {
		if (strlen(names[i]) == length && strncmp(names[i], text, length) == 0) {
			return i;
		}
	}
	return count;
}

static bool parse_word(const char *text, const char *const *names, uint32_t count, uint32_t *value)
{
	*value = find(names, count, text, strlen(text));
	return *value < count || strcmp(text, "any") == 0;
}

bool death_parse(const char *text, uint32_t *value)
{
	return parse_word(text, death_names, DEATH_COUNT, value);
}

bool lie_parse(const char *text, uint32_t *value)
{
	return parse_word(text, lie_names, LIE_COUNT, value);
}

const char *mix_parse(const char *text, struct mix *mix)
{
	static const char accepted[] =
		"NAME=PERCENT,... such as good=90,flaky=5,dies=5; names are good, "
		"flaky, slow, dies, bootloop, lies, clone";
	uint32_t sum = 0;
	bool given[PROFILE_COUNT] = { false };

	*mix = (struct mix){ .permille = { 0 } };
	while (*text) {
		size_t length = strcspn(text, "=,");
		uint32_t at = find(profile_names, PROFILE_COUNT, text, length);
		uint32_t permille = 0;

		if (at == PROFILE_COUNT || text[length] != '=') {
			return accepted;
		}
		if (given[at]) {
			return "each name once";
		}
		text = common_parse_permille(text + length + 1, &permille);
		if (!text || (*text != ',' && *text != '\0') || (*text == ',' && text[1] == '\0')) {
			return accepted;
		}
		text += *text == ',';
		given[at] = true;
		mix->permille[at] = permille;
		sum += permille;
	}
	if (sum > 1000 || (given[PROFILE_GOOD] && sum != 1000)) {
		return "percentages that are 100 together; without good, 100 at most";
	}
	mix->permille[PROFILE_GOOD] += 1000 - sum;
	return NULL;
}

enum profile profile_of(const struct mix *mix, uint64_t seed, const char *device)
{
	uint64_t place = common_hash(seed, "profile", device) % 1000;
	uint32_t passed = 0;

	for (uint32_t i = 0; i < PROFILE_COUNT; i++) {
		passed += mix->permille[i];
		if (place < passed) {
			return (enum profile)i;
		}
	}
	return PROFILE_GOOD;
}

uint32_t profile_detail(uint32_t wanted, uint32_t count, uint64_t seed, const char *device)
{
	return wanted < count ? wanted : (uint32_t)(common_hash(seed, "detail", device) % count);
}
