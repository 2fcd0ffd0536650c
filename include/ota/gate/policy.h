/*
 * policy - may this client publish, subscribe to or be given this topic?
 *
 * Decisions only: no events, no broker calls, no allocation.
 * Thread: broker.  A policy borrows the templates of the options, which must outlive it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ota/wire/options.h"
#include "ota/wire/topic.h"

/* The same numbers as MOSQ_ACL_*. */
enum policy_access {
	POLICY_READ = 0x01,
	POLICY_WRITE = 0x02,
	POLICY_SUBSCRIBE = 0x04,
	POLICY_UNSUBSCRIBE = 0x08,
};

enum policy_subject {
	POLICY_FOREIGN = 0, /* not ours */
	POLICY_STATUS,      /* looks like a status topic */
	POLICY_NOTIFY,      /* looks like a notify topic */
	POLICY_BLOCK,       /* looks like a topic on which blocks are answered */
	POLICY_BLOCK_GET,   /* looks like one on which they are asked for */
};

enum policy_answer {
	POLICY_OTHERS = 0, /* the operator's choice for topics that are not ours */
	POLICY_ALLOW,
	POLICY_DENY,
};

enum {
	/* The status topic, the notify topics, two for blocks. */
	POLICY_TEMPLATES_MAX = TOPIC_TEMPLATES_MAX + 3,
	POLICY_HEAD = 8, /* bytes of a topic that the first look covers */
};

/*
 * Bit i of head[p][c]: template i does not rule out byte c at position p of a topic.  Nearly every foreign topic drops to
 * no bits within a byte or two, which is all that traffic of others pays.
 */
struct policy {
	uint16_t head[POLICY_HEAD][256];
	size_t head_length; /* places that every topic of ours has, at most POLICY_HEAD */
	/* 0: status; from 1: notify; then the two for blocks, when there are any */
	const struct topic_template *templates[POLICY_TEMPLATES_MAX];
	size_t count;
	size_t notify_count;
};

/* A topic or filter, sorted. */
struct policy_topic {
	enum policy_subject subject;
	bool exact;    /* a valid id stands in the placeholder's place */
	size_t notify; /* NOTIFY: index into the notify topics */
	enum topic_placeholder placeholder;
	struct topic_value value; /* when exact: points into the topic */
};

void policy_init(struct policy *policy, const struct options *options);

/* First look: the templates that `topic` may belong to, as bits; 0: surely foreign. */
static inline unsigned policy_candidates(const struct policy *policy, const char *topic)
{
	/* The first byte on its own: most topics of others end here, and pay for no loop. */
	unsigned candidates = policy->head[0][(unsigned char)topic[0]];

	/* The zero at the end of a topic rules out everything: it is too short for any template. */
	for (size_t place = 1; candidates != 0 && place < policy->head_length; place++) {
		candidates &= policy->head[place][(unsigned char)topic[place]];
	}
	return candidates;
}

/* Second look, for what begins like ours: the templates left when the level after the placeholder begins otherwise. */
OTA_MUST_USE unsigned policy_narrow(
	const struct policy *policy, const char *topic, unsigned candidates);

/* Sort a topic whose first or second look left `candidates`.  A topic of both kinds counts as a notify topic: nobody may write it. */
void policy_sort(const struct policy *policy, const char *topic, unsigned candidates,
	struct policy_topic *sorted);

/* Is it the exact topic of the client with this identity: its status, its notify topic, its blocks, or any fleet's?  NULL: nobody. */
OTA_MUST_USE bool policy_own(const struct policy_topic *topic, const char *identity);

/*
 * Decide.  `current`: for POLICY_READ of a notify topic, the payload is the outstanding notice or recall of this very
 * client, or the blocks are for it.  `*reason` is set with POLICY_DENY only: words for the log and the audit, static.
 */
OTA_MUST_USE enum policy_answer policy_decide(enum policy_access access,
	const struct policy_topic *topic, const char *identity, bool current, const char **reason);
