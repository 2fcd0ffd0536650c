/*
 * verify - signatures checked on the device, with keys pinned into it.
 *
 * Two kinds: a detached signature over the firmware file, and a DSSE envelope over the manifest.
 * Results start as failure.  Thread: the fleet's.  Ownership: the caller frees the keyring.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common.h"
#include "notice.h"
#include "options.h"

struct keyring;

/* Codes a device reports with FAILED, ROLLED_BACK or REJECTED. */
enum update_error {
	UPDATE_OK = 0,
	UPDATE_BAD_NOTICE,
	UPDATE_BAD_SIGNATURE,
	UPDATE_MANIFEST_MISMATCH,
	UPDATE_SEQUENCE_ROLLBACK,
	UPDATE_WRONG_HARDWARE,
	UPDATE_DOWNLOAD_FAILED,
	UPDATE_SIZE_MISMATCH,
	UPDATE_HASH_MISMATCH,
	UPDATE_SLOT_WRITE_FAILED,
	UPDATE_HEALTH_CHECK_FAILED,
	UPDATE_BOOT_LOOP,
	UPDATE_DECLINED,
	UPDATE_BUSY,
};

/* The code as it stands in a report; "" for UPDATE_OK. */
const char *verify_error_name(enum update_error error);

/* Load PEM public keys: RSA from 2048 bits, ECDSA P-256 and P-384, Ed25519.  NULL after a message
 * that names the file. */
struct keyring *keyring_load(const struct text_list *files) __attribute__((warn_unused_result));
void keyring_free(struct keyring *keyring);

/*
 * Check a notice before its download: that the signatures the policy asks for are there, the
 * manifest's envelope (DSSE v1), its members against the notice, its hardware list and its
 * sequence, which may not be below `sequence`.  Sets `*manifest_sequence` on success: the
 * manifest's, or `sequence` without a manifest.  Without a keyring nothing is verified.
 */
enum update_error verify_notice(const struct keyring *keyring, const struct options *options,
	const struct notice *notice, int64_t sequence, int64_t *manifest_sequence)
	__attribute__((warn_unused_result));

/*
 * Check the artifact signature, if the notice has one, over a file known by its SHA-256: RSA
 * PKCS#1 v1.5 or PSS, ECDSA.  Ed25519 hashes for itself, so there it is over the 32 bytes of the
 * digest.
 */
enum update_error verify_artifact(const struct keyring *keyring, const struct notice *notice,
	const unsigned char *sha256) __attribute__((warn_unused_result));
