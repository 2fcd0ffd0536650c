/* What feed.c and feed_releases.c share; see ota/store/feed.h. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ota/base/table.h"
#include "ota/store/feed.h"
#include "ota/wire/change.h"
#include "ota/wire/keyring.h"

/* A release whose row this process has looked at. */
struct known_release {
	int64_t id;
	char row_version[24];
	char fingerprint[65]; /* of the keys that were asked */
	bool at_gate;         /* verified, and the gate has it */
	uint64_t round;
	UT_hash_handle hh;
};

struct known_rollout {
	int64_t id;
	char *report; /* as last told to the gate */
	bool live;    /* the same */
	uint64_t round;
	UT_hash_handle hh;
};

struct feed {
	const struct options *options;
	struct keyring *keyring;
	struct queue *changes;
	struct logring *log;
	struct known_release *releases;
	struct known_rollout *rollouts;
	char *gateways; /* as last told to the gate, NULL: none */
	uint64_t round;
	uint64_t release_round;
};

/* Give a change to the gate; it is freed on failure.  NULL counts as out of memory. */
OTA_MUST_USE enum ota_err feed_push(struct feed *feed, struct change *change, struct ota_why *why);
/* strdup that lets NULL through. */
char *feed_copy(const char *text);
