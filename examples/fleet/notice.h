/*
 * notice - what a broker tells a device: an update or a recall, checked before anything is done.
 *
 * Thread: the fleet's.  Ownership: notice_parse() allocates, notice_free() frees.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "common.h"
#include "image.h"

enum notice_kind {
	NOTICE_INVALID,
	NOTICE_UPDATE,
	NOTICE_RECALL
};

struct notice {
	enum notice_kind kind;
	const char *why; /* what is wrong with an invalid one; a constant */
	char version[IMAGE_VERSION_MAX + 1];
	char *url;
	char *sha256_hex;
	unsigned char sha256[COMMON_SHA256_SIZE];
	uint64_t size;
	unsigned char *signature; /* of the artifact, or NULL */
	size_t signature_size;
	cJSON *manifest; /* DSSE envelope, unverified, or NULL */
	int64_t rollout; /* 0: not given */
	uint32_t attempt;
};

/* Parse `size` bytes of JSON.  `notice->kind` says what came out; always call notice_free(). */
void notice_parse(const void *payload, size_t size, struct notice *notice);
void notice_free(struct notice *notice);

/* Read a whole number from 0 to `high` out of a JSON object; false when absent or anything else. */
bool notice_read_number(const cJSON *object, const char *name, uint64_t high, uint64_t *value)
	__attribute__((warn_unused_result));
