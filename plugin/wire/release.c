#include "ota/wire/release.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ota/base/hex.h"
#include "ota/wire/base64.h"
#include "ota/wire/dsse.h"
#include "ota/wire/json.h"

enum {
	SHA256_SIZE = 32
};

/* Input that breaks a rule is a refused release, whose reason begins with what is broken. */
static enum ota_err deny_broken(
	enum ota_err err, const char *what, const struct ota_why *inner, struct ota_why *why)
{
	if (err != OTA_ERR_INVALID) {
		return err;
	}
	ota_why_set(why, "broken %s: %.290s", what, inner->text);
	return OTA_ERR_DENIED;
}

/* What the policy asks for must be there; anything unknown is refused. */
static enum ota_err check_policy(
	const struct release_unverified *row, enum signature_policy policy, struct ota_why *why)
{
	bool manifest = policy == SIGNATURE_POLICY_MANIFEST || policy == SIGNATURE_POLICY_BOTH;
	bool artifact = policy == SIGNATURE_POLICY_ARTIFACT || policy == SIGNATURE_POLICY_BOTH;

	if (!manifest && !artifact) {
		ota_why_set(why, "arbitrary software: unknown signature policy %d", (int)policy);
		return OTA_ERR_DENIED;
	}
	if (manifest && !row->envelope) {
		ota_why_set(why,
			"arbitrary software: no signed manifest, and signature_policy needs a DSSE envelope");
		return OTA_ERR_DENIED;
	}
	if (artifact && !row->signature) {
		ota_why_set(why,
			"arbitrary software: no artifact signature, and signature_policy needs one over the file");
		return OTA_ERR_DENIED;
	}
	return OTA_OK;
}

static enum ota_err deny_text(
	const char *column, const char *row_says, const char *manifest_says, struct ota_why *why)
{
	char row_shown[JSON_DESCRIBE_SIZE];
	char manifest_shown[JSON_DESCRIBE_SIZE];

	ota_why_set(why, "mix-and-match: column %s says %s, the signed manifest says %s", column,
		json_describe_text(row_says, row_shown), json_describe_text(manifest_says, manifest_shown));
	return OTA_ERR_DENIED;
}

static enum ota_err deny_integer(
	const char *column, int64_t row_says, int64_t manifest_says, struct ota_why *why)
{
	ota_why_set(why, "mix-and-match: column %s says %" PRId64 ", the signed manifest says %" PRId64,
		column, row_says, manifest_says);
	return OTA_ERR_DENIED;
}

/* People and SQL decide by the columns, devices by the manifest: they must be the same. */
static enum ota_err check_columns(
	const struct release_unverified *row, const struct manifest *manifest, struct ota_why *why)
{
	if (!row->version || strcmp(row->version, manifest->terms.version) != 0) {
		return deny_text("version", row->version, manifest->terms.version, why);
	}
	if (row->sequence != manifest->terms.sequence) {
		return deny_integer("sequence", row->sequence, manifest->terms.sequence, why);
	}
	if (!row->url || strcmp(row->url, manifest->url) != 0) {
		return deny_text("url", row->url, manifest->url, why);
	}
	if (!row->sha256 || strcasecmp(row->sha256, manifest->sha256) != 0) {
		return deny_text("sha256", row->sha256, manifest->sha256, why);
	}
	if (row->size != manifest->size) {
		return deny_integer("size", row->size, manifest->size, why);
	}
	return OTA_OK;
}

/* The envelope's signatures, then its payload, then the columns; nothing is read before it is verified. */
static enum ota_err verify_envelope(const struct release_unverified *row,
	const struct keyring *keyring, size_t threshold, bool *signers, struct release *release,
	struct ota_why *why)
{
	struct dsse_unverified envelope = { 0 };
	struct ota_why inner = { "" };
	enum ota_err err = dsse_parse(row->envelope, strlen(row->envelope), &envelope, &inner);

	if (err) {
		return deny_broken(err, "envelope", &inner, why);
	}
	err = dsse_verify(&envelope, keyring, threshold, signers, why);
	if (err) {
		goto out;
	}
	err = manifest_parse(
		(const char *)envelope.payload, envelope.payload_length, &release->manifest, &inner);
	if (err) {
		err = deny_broken(err, "manifest", &inner, why);
		goto out;
	}
	err = check_columns(row, release->manifest, why);
	if (err) {
		goto out;
	}
	release->envelope = dsse_render(&envelope);
	err = release->envelope ? OTA_OK : OTA_ERR_NOMEM;
out:
	dsse_free(&envelope);
	return err;
}

/* The artifact signature over the file whose digest the manifest names; any one trusted key. */
static enum ota_err verify_artifact(const struct release_unverified *row,
	const struct keyring *keyring, bool *signers, struct release *release, struct ota_why *why)
{
	uint8_t digest[SHA256_SIZE];
	bool whole_messages_only = false;

	/* It is 64 digits, says the manifest's parser. */
	if (!hex_read(release->manifest->sha256, sizeof(digest), digest)) {
		ota_why_set(why, "the manifest's sha256 is no digest");
		return OTA_ERR_INVALID;
	}
	for (size_t i = 0; i < keyring_count(keyring); i++) {
		if (keyring_verify_digest(keyring, i, digest, row->signature, row->signature_length)) {
			signers[i] = true;
			release->signature_base64 = base64_encode(row->signature, row->signature_length);
			return release->signature_base64 ? OTA_OK : OTA_ERR_NOMEM;
		}
		whole_messages_only = whole_messages_only || !keyring_signs_digests(keyring, i);
	}
	ota_why_set(why, "arbitrary software: no trusted key signed the file with this SHA-256%s",
		whole_messages_only && row->signature_length == 64
			? "; Ed25519 cannot sign a digest; use an envelope"
			: "");
	return OTA_ERR_DENIED;
}

/* "release.pem (ECDSA P-256), audit.pem (Ed25519)"; NULL: no memory. */
static char *list_signers(const struct keyring *keyring, const bool *signers)
{
	size_t size = 0;
	FILE *stream = NULL;
	char *text = NULL;
	const char *separator = "";
	bool failed = false;

	stream = open_memstream(&text, &size);
	if (!stream) {
		return NULL;
	}
	for (size_t i = 0; i < keyring_count(keyring); i++) {
		if (signers[i]) {
			failed =
				fprintf(stream, "%s%s", separator, keyring_description(keyring, i)) < 0 || failed;
			separator = ", ";
		}
	}
	failed = fclose(stream) != 0 || failed;
	if (failed) {
		free(text);
		return NULL;
	}
	return text;
}

enum ota_err release_verify(const struct release_unverified *row, const struct keyring *keyring,
	enum signature_policy policy, size_t threshold, struct release **release, struct ota_why *why)
{
	bool signers[KEYRING_KEYS_MAX] = { false };
	struct ota_why inner = { "" };
	struct release *verified = NULL;
	enum ota_err err = check_policy(row, policy, why);

	if (err) {
		return err;
	}
	verified = calloc(1, sizeof(*verified));
	if (!verified) {
		return OTA_ERR_NOMEM;
	}
	verified->release_id = row->release_id;
	if (row->envelope) {
		err = verify_envelope(row, keyring, threshold, signers, verified, why);
	} else {
		err = manifest_from_columns(row->version, row->sequence, row->url, row->sha256, row->size,
			row->release_notes, &verified->manifest, &inner);
		err = err ? deny_broken(err, "release", &inner, why) : OTA_OK;
	}
	if (!err && row->signature) {
		err = verify_artifact(row, keyring, signers, verified, why);
	}
	if (!err) {
		verified->signed_by = list_signers(keyring, signers);
		verified->key_fingerprint = strdup(keyring_fingerprint(keyring));
		err = verified->signed_by && verified->key_fingerprint ? OTA_OK : OTA_ERR_NOMEM;
	}
	if (err) {
		release_free(verified);
		return err;
	}
	*release = verified;
	return OTA_OK;
}

void release_free(struct release *release)
{
	if (!release) {
		return;
	}
	manifest_free(release->manifest);
	free(release->envelope);
	free(release->signature_base64);
	free(release->signed_by);
	free(release->key_fingerprint);
	free(release);
}
