/* What the files of the feed share; see ota/store/feed.h. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ota/base/table.h"
#include "ota/store/feed.h"
#include "ota/store/warm.h"
#include "ota/wire/change.h"
#include "ota/wire/credentials.h"
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
	char *report;     /* as last told to the gate */
	bool live;        /* the same */
	bool serves;      /* the same */
	int64_t until_ms; /* the same */
	uint64_t round;
	UT_hash_handle hh;
};

struct feed {
	const struct options *options;
	struct keyring *keyring;
	uint64_t keys_read; /* how many times it was read again ... */
	uint64_t keys_used; /* ... when all releases at the gate were last verified */
	struct queue *changes;
	struct logring *log;
	struct known_release *releases;
	struct known_rollout *rollouts;
	char *gateways;                  /* as last told to the gate, NULL: none */
	struct credentials *credentials; /* NULL: none */
	char *urls;                      /* of fleets, as last told to the gate, NULL: none */
	bool urls_stale;                 /* ... with other credentials */
	uint64_t round;
	uint64_t release_round;
	size_t turn;            /* devices to claim next; 0: as the first time */
	bool opened;            /* a stage may wait to be handed out page by page */
	struct warm *warm;      /* of the store */
	bool releases_compared; /* what is kept is what the database has */
	bool rollouts_compared;
	bool restoring;  /* claims are on their way to the gate ... */
	size_t restored; /* ... so many of them are through */
};

/* Read the file of credentials again. */
void feed_reload_credentials(struct feed *feed);
/* Give the gate the fleets' URLs once more when they were made with other credentials. */
void feed_renew_urls(struct feed *feed);
/* Give the gate the fleets' URLs of before. */
OTA_MUST_USE enum ota_err feed_restore_urls(struct feed *feed, struct ota_why *why);
/* Give a change to the gate; it is freed on failure.  NULL counts as out of memory. */
OTA_MUST_USE enum ota_err feed_push(struct feed *feed, struct change *change, struct ota_why *why);
/* Rollouts that are no longer reported are over: nothing of them may be delivered any more, and $SYS says how they ended. */
OTA_MUST_USE enum ota_err feed_end_rollouts(struct feed *feed, struct pg *pg, struct ota_why *why);
/* A new entry; NULL: no memory. */
struct known_rollout *feed_know_rollout(struct feed *feed, int64_t id);
/* The offer in a row of broker_claim or broker_claims; NULL: no memory. */
struct change *feed_make_offer(const PGresult *rows, int n);
/* Keep an offer that is about to be told, or is outstanding. */
void feed_keep_claim(struct feed *feed, const struct change *offer);
/* Verify all that is kept of releases with the keys of now. */
void feed_restore_releases(struct feed *feed);
/* End what is kept of releases and rollouts that the database no longer names. */
void feed_forget_releases(struct feed *feed);
void feed_forget_rollouts(struct feed *feed);
/* Verify a release from before with the keys of now; the gate gets it, or loses it. */
OTA_MUST_USE enum ota_err feed_restore_release(
	struct feed *feed, const struct warm_record *record, struct ota_why *why);
/* strdup that lets NULL through. */
char *feed_copy(const char *text);
