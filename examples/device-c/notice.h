/*
 * notice - what the broker says, and whether somebody with a pinned key has signed it.
 *
 * Functions that can fail return NULL when all is well, else the code to report (docs/protocol.md).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bootctl.h"
#include "config.h"

enum {
	SIGNATURE_MAX = 1024 + 2 /* RSA with 8192 bits, in whole groups of Base64 */
};

struct signature {
	size_t size; /* 0: none */
	unsigned char bytes[SIGNATURE_MAX];
};

struct notice {
	bool recall, has_rollout;
	char key[300]; /* the same key again is the same notice, heard twice */
	uint64_t rollout, attempt;
	struct slot image; /* its sequence number is the manifest's, once that is verified */
	char url[4096];
	unsigned char sha256[SHA256_SIZE];
	struct signature signature; /* of the file */
};

/* Parse `size` bytes of JSON; nothing in a notice may be believed before notice_verify(). */
const char *notice_parse(struct notice *notice, const char *text, size_t size);

/* Load the keys of `config`.  False after a message that names the file and what is accepted. */
bool notice_load_keys(const struct config *config) __attribute__((warn_unused_result));

/*
 * Right after notice_parse() of the same notice: check everything that can be known before a byte is fetched.  `newest` is
 * the sequence number below which nothing is accepted.
 */
const char *notice_verify(struct notice *notice, const struct config *config, uint64_t newest);

/* The file, whose SHA-256 is the notice's, has arrived: check its own signature, if there is one. */
const char *notice_verify_file(const struct notice *notice);
