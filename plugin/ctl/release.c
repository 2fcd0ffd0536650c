/* Releases: signed and verified on this machine, submitted to the broker. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota/base/clock.h"
#include "ota/ctl/commands.h"
#include "ota/ctl/print.h"
#include "ota/ctl/sign.h"
#include "ota/ctl/verb.h"
#include "ota/wire/base64.h"
#include "ota/wire/dsse.h"
#include "ota/wire/json.h"
#include "ota/wire/manifest.h"

enum {
	LOOK_MS = 200,
	SIGNATURE_MAX = 8192
};

static const char *text_of(const struct task *task, const char *name)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(task->members, name));
}

/* The first option that is given besides these three members; NULL: none is. */
static const char *given_besides(const struct task *task, const char *const members[3])
{
	for (size_t i = 0; i < VERB_ARGUMENTS_MAX && task->verb->arguments[i].name; i++) {
		const struct argument *argument = &task->verb->arguments[i];

		if (strcmp(argument->member, members[0]) != 0 && strcmp(argument->member, members[1]) != 0
			&& strcmp(argument->member, members[2]) != 0
			&& cJSON_GetObjectItemCaseSensitive(task->members, argument->member)) {
			return argument->name;
		}
	}
	return NULL;
}

/* Is there an envelope to add to, or all that a new one needs?  False: said what is missing, or one too many. */
static bool has_needed(const struct task *task)
{
	static const char *const needed[] = { "version", "sequence", "url", "file" };
	static const char *const adding[3] = { "key", "append", "out" };
	const char *other = text_of(task, "append") ? given_besides(task, adding) : NULL;

	if (other) {
		/* Whoever adds a signature must not believe to have changed what is signed. */
		(void)task_fail("release sign --append takes no %s: the envelope's manifest says it; "
						"accepted are --key and --out",
			other);
		return false;
	}
	for (size_t i = 0; !text_of(task, "append") && i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (!cJSON_GetObjectItemCaseSensitive(task->members, needed[i])) {
			(void)task_fail("release sign needs --%s (or --append with an envelope)", needed[i]);
			return false;
		}
	}
	return true;
}

/* The payload: a manifest of the arguments, checked by the code that the broker checks it with.  NULL: said why. */
static char *make_manifest(const struct task *task)
{
	static const char *const copied[] = { "hardware", "fleets", "minVersion", "maxVersion",
		"notBefore", "expires", "releaseNotes" };
	cJSON *body = cJSON_CreateObject();
	struct manifest *manifest = NULL;
	struct ota_why why = { "" };
	char digest[65];
	int64_t size = 0;
	char *text = NULL;

	if (file_digest(text_of(task, "file"), digest, &size, &why) != OTA_OK) {
		(void)task_fail("%s", why.text);
		goto out;
	}
	(void)cJSON_AddNumberToObject(body, "schema", 1);
	(void)cJSON_AddStringToObject(body, "version", text_of(task, "version"));
	(void)cJSON_AddItemToObject(body, "sequence",
		cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(task->members, "sequence"), true));
	(void)cJSON_AddStringToObject(body, "url", text_of(task, "url"));
	(void)cJSON_AddStringToObject(body, "sha256", digest);
	(void)cJSON_AddNumberToObject(body, "size", (double)size);
	for (size_t i = 0; i < sizeof(copied) / sizeof(copied[0]); i++) {
		const cJSON *item = cJSON_GetObjectItemCaseSensitive(task->members, copied[i]);

		if (item) {
			(void)cJSON_AddItemToObject(body, copied[i], cJSON_Duplicate(item, true));
		}
	}
	text = cJSON_PrintUnformatted(body);
	if (!text || manifest_parse(text, strlen(text), &manifest, &why) != OTA_OK) {
		(void)task_fail("the manifest is not acceptable: %s", text ? why.text : "out of memory");
		free(text);
		text = NULL;
	}
	manifest_free(manifest);
out:
	cJSON_Delete(body);
	return text;
}

static void not_an_envelope(const char *path, const struct ota_why *why)
{
	(void)task_fail(
		"%s is no envelope: %s; accepted is what release sign has written", path, why->text);
}

/* The envelope to sign: a new one, or that of --append. */
static enum ota_err begin_envelope(const struct task *task, struct dsse_unverified *envelope)
{
	const char *path = text_of(task, "append");
	struct ota_why why = { "" };
	uint8_t *data = NULL;
	size_t length = 0;
	enum ota_err err;

	if (path) {
		err = file_read(path, DSSE_ENVELOPE_MAX, &data, &length, &why);
		if (err) {
			(void)task_fail("%s", why.text);
			return err;
		}
		err = dsse_parse((const char *)data, length, envelope, &why);
		free(data);
		if (err) {
			not_an_envelope(path, &why);
		} else if (envelope->signature_count >= DSSE_SIGNATURES_MAX) {
			(void)task_fail("%s has %d signatures already", path, DSSE_SIGNATURES_MAX);
			dsse_free(envelope);
			err = OTA_ERR_FULL;
		}
		return err;
	}
	*envelope = (struct dsse_unverified){ 0 };
	envelope->payload = (uint8_t *)make_manifest(task);
	if (!envelope->payload) {
		return OTA_ERR_INVALID;
	}
	envelope->payload_length = strlen((const char *)envelope->payload);
	envelope->payload_type = strdup(DSSE_MANIFEST_TYPE);
	if (!envelope->payload_type) {
		dsse_free(envelope);
		return OTA_ERR_NOMEM;
	}
	return OTA_OK;
}

/* Sign, add the signature, and verify all that with the public half. */
static enum ota_err add_signature(
	const struct signing_key *key, struct dsse_unverified *envelope, struct ota_why *why)
{
	struct dsse_signature *signature = &envelope->signatures[envelope->signature_count];
	size_t length = 0;
	uint8_t *pae =
		dsse_pae(envelope->payload_type, envelope->payload, envelope->payload_length, &length);
	enum ota_err err = OTA_ERR_NOMEM;

	for (size_t i = 0; i < envelope->signature_count; i++) {
		if (envelope->signatures[i].keyid
			&& strcmp(envelope->signatures[i].keyid, signing_key_id(key)) == 0) {
			ota_why_set(why, "this key has signed the envelope already");
			err = OTA_ERR_CONFLICT;
			goto out;
		}
	}
	if (pae) {
		err = signing_key_sign(key, pae, length, &signature->bytes, &signature->length, why);
	}
	if (!err) {
		envelope->signature_count++;
		signature->keyid = strdup(signing_key_id(key));
		err = dsse_verify(envelope, signing_key_ring(key), 1, NULL, why);
	}
out:
	free(pae);
	return err;
}

static int write_out(const char *path, const char *text)
{
	if (path && file_write(path, text) != 0) {
		return task_fail("cannot write %s: %s", path, strerrordesc_np(errno));
	}
	if (!path && (printf("%s\n", text) < 0 || fflush(stdout) != 0)) {
		return task_fail("cannot write to standard output: %s", strerrordesc_np(errno));
	}
	return EXIT_DONE;
}

int release_sign(struct task *task)
{
	const char *out = text_of(task, "out");
	struct dsse_unverified envelope = { 0 };
	struct signing_key *key = NULL;
	struct ota_why why = { "" };
	char *text = NULL;
	int status = EXIT_NOT_DONE;

	if (!has_needed(task)) {
		return EXIT_USAGE;
	}
	if (begin_envelope(task, &envelope) != OTA_OK) {
		return EXIT_NOT_DONE;
	}
	if (signing_key_load(text_of(task, "key"), &key, &why) != OTA_OK
		|| add_signature(key, &envelope, &why) != OTA_OK) {
		(void)task_fail("%s", why.text);
		goto out;
	}
	text = dsse_render(&envelope);
	if (!text) {
		(void)task_fail("out of memory");
		goto out;
	}
	status = write_out(out, text);
	if (status == EXIT_DONE && out) {
		(void)fprintf(task->connection->json ? stderr : stdout,
			"%s is signed with key %.16s..., %zu signature%s\n", out, signing_key_id(key),
			envelope.signature_count, envelope.signature_count == 1 ? "" : "s");
	}
out:
	free(text);
	signing_key_free(key);
	dsse_free(&envelope);
	return status;
}

static void note_key(void *context, const char *file, const char *reason)
{
	(void)context;
	(void)fprintf(stderr, "mosquitto_ota: key %s is not used: %s\n", file, reason);
}

/* Does the firmware file have the digest and the length of the manifest? */
static int compare_file(const char *path, const struct manifest *manifest)
{
	struct ota_why why = { "" };
	char digest[65];
	int64_t size = 0;

	if (file_digest(path, digest, &size, &why) != OTA_OK) {
		return task_fail("%s", why.text);
	}
	if (size != manifest->size || strcmp(digest, manifest->sha256) != 0) {
		return task_fail("%s has %lld bytes and SHA-256 %s; the manifest says %lld and %s", path,
			(long long)size, digest, (long long)manifest->size, manifest->sha256);
	}
	return EXIT_DONE;
}

static int show_verified(const struct task *task, const struct manifest *manifest,
	const struct keyring *keyring, const bool *signed_by)
{
	cJSON *shown = cJSON_Parse(manifest->json);
	cJSON *keys = cJSON_AddArrayToObject(shown, "signed_by");

	for (size_t i = 0; keys && i < keyring_count(keyring); i++) {
		if (signed_by[i]) {
			(void)cJSON_AddItemToArray(keys, cJSON_CreateString(keyring_description(keyring, i)));
		}
	}
	if (!keys) {
		cJSON_Delete(shown);
		return task_fail("out of memory");
	}
	if (task->connection->json) {
		print_json(shown, false);
	} else {
		print_object(shown);
	}
	cJSON_Delete(shown);
	return EXIT_DONE;
}

int release_verify(struct task *task)
{
	const cJSON *threshold = cJSON_GetObjectItemCaseSensitive(task->members, "threshold");
	const double needed = threshold ? threshold->valuedouble : 1;
	const char *path = text_of(task, "envelope");
	struct dsse_unverified envelope = { 0 };
	struct manifest *manifest = NULL;
	struct keyring *keyring = NULL;
	struct ota_why why = { "" };
	bool *signed_by = NULL;
	uint8_t *data = NULL;
	size_t length = 0;
	int status = EXIT_NOT_DONE;

	if (needed < 1 || needed > DSSE_SIGNATURES_MAX) {
		(void)task_fail("--threshold is %.0f; accepted are 1 to %d", needed, DSSE_SIGNATURES_MAX);
		return EXIT_USAGE;
	}
	if (keyring_load(text_of(task, "trusted_keys"), note_key, NULL, &keyring, &why) != OTA_OK
		|| file_read(path, DSSE_ENVELOPE_MAX, &data, &length, &why) != OTA_OK) {
		(void)task_fail("%s", why.text);
		goto out;
	}
	if (dsse_parse((const char *)data, length, &envelope, &why) != OTA_OK) {
		not_an_envelope(path, &why);
		goto out;
	}
	signed_by = calloc(keyring_count(keyring) + 1, sizeof(*signed_by));
	if (!signed_by || dsse_verify(&envelope, keyring, (size_t)needed, signed_by, &why) != OTA_OK
		|| manifest_parse((const char *)envelope.payload, envelope.payload_length, &manifest, &why)
			!= OTA_OK) {
		(void)task_fail("%s: %s", path, signed_by ? why.text : "out of memory");
		goto out;
	}
	status = text_of(task, "file") ? compare_file(text_of(task, "file"), manifest) : EXIT_DONE;
	if (status == EXIT_DONE) {
		status = show_verified(task, manifest, keyring, signed_by);
	}
out:
	free(signed_by);
	manifest_free(manifest);
	dsse_free(&envelope);
	free(data);
	keyring_free(keyring);
	return status;
}

/* The members of add_release with an envelope.  NULL: said why. */
static cJSON *from_envelope(const char *path, char *version, size_t size)
{
	struct dsse_unverified envelope;
	struct manifest *manifest = NULL;
	struct ota_why why = { "" };
	uint8_t *data = NULL;
	size_t length = 0;
	cJSON *members = NULL;
	cJSON *root = NULL;

	if (file_read(path, DSSE_ENVELOPE_MAX, &data, &length, &why) != OTA_OK) {
		(void)task_fail("%s", why.text);
		return NULL;
	}
	if (dsse_parse((const char *)data, length, &envelope, &why) != OTA_OK) {
		not_an_envelope(path, &why);
		goto out;
	}
	if (manifest_parse((const char *)envelope.payload, envelope.payload_length, &manifest, &why)
			!= OTA_OK
		|| json_parse_object((const char *)data, length, JSON_DEPTH_LIMIT, &root, &why) != OTA_OK) {
		(void)task_fail("%s: %s", path, why.text);
	} else {
		(void)snprintf(version, size, "%s", manifest->terms.version);
		members = cJSON_CreateObject();
		if (!cJSON_AddItemToObject(members, "envelope", root)) {
			cJSON_Delete(root);
		}
	}
	manifest_free(manifest);
	dsse_free(&envelope);
out:
	free(data);
	return members;
}

/* Add what is in the file of --signature.  False: said why. */
static bool put_signature(const struct task *task, cJSON *members)
{
	struct ota_why why = { "" };
	uint8_t *data = NULL;
	size_t length = 0;
	char *base64;
	bool put;

	if (file_read(text_of(task, "signature"), SIGNATURE_MAX, &data, &length, &why) != OTA_OK) {
		(void)task_fail("%s", why.text);
		return false;
	}
	base64 = base64_encode(data, length);
	put = base64 && cJSON_AddStringToObject(members, "signature", base64);
	free(base64);
	free(data);
	if (!put) {
		(void)task_fail("out of memory");
	}
	return put;
}

/* ... with a signature over the file alone. */
static cJSON *from_signature(const struct task *task, char *version, size_t size)
{
	static const char *const copied[] = { "version", "url", "sequence", "release_notes" };
	struct ota_why why = { "" };
	char digest[65];
	int64_t bytes = 0;
	cJSON *members;

	if (file_digest(text_of(task, "file"), digest, &bytes, &why) != OTA_OK) {
		(void)task_fail("%s", why.text);
		return NULL;
	}
	members = cJSON_CreateObject();
	for (size_t i = 0; i < sizeof(copied) / sizeof(copied[0]); i++) {
		const cJSON *item = cJSON_GetObjectItemCaseSensitive(task->members, copied[i]);

		if (item) {
			(void)cJSON_AddItemToObject(members, copied[i], cJSON_Duplicate(item, true));
		}
	}
	(void)cJSON_AddStringToObject(members, "sha256", digest);
	(void)cJSON_AddNumberToObject(members, "size", (double)bytes);
	(void)snprintf(version, size, "%s", text_of(task, "version"));
	return members;
}

/* The broker verifies on its own time: look until it has. */
static int wait_verdict(struct task *task, const char *version)
{
	const int64_t deadline = clock_mono_ms() + task->connection->timeout_s * INT64_C(1000);
	cJSON *members = cJSON_CreateObject();
	cJSON *data = NULL;
	const char *state = "submitted";
	int status = EXIT_DONE;

	(void)cJSON_AddStringToObject(members, "version", version);
	while (status == EXIT_DONE) {
		cJSON_Delete(data);
		data = NULL;
		status = task_ask(task, "show_release", members, &data);
		state = status == EXIT_DONE
			? cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(data, "state"))
			: NULL;
		if (!state || strcmp(state, "submitted") != 0 || clock_mono_ms() >= deadline) {
			break;
		}
		(void)!session_wait(task->session, LOOK_MS);
	}
	if (state && strcmp(state, "verified") != 0) {
		const char *reason = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(data, "reason"));

		status = task_fail("release %s is %s: %s", version, state,
			reason ? reason : "no broker has verified it yet");
	} else if (state && task->connection->json) {
		print_json(data, false);
	} else if (state) {
		print_sentence("release {version} is {state}, signed by {signed_by}", data, NULL);
	}
	cJSON_Delete(data);
	cJSON_Delete(members);
	return status;
}

/* An envelope, or all that takes its place.  False: said so. */
static bool has_release(const struct task *task)
{
	if (text_of(task, "envelope")
		|| (text_of(task, "version") && text_of(task, "url") && text_of(task, "file")
			&& text_of(task, "signature"))) {
		return true;
	}
	(void)task_fail("release add needs <envelope>, or --version, --url, --file and --signature");
	return false;
}

/* Everything else that could be said is in the envelope, and signed.  False: said so. */
static bool envelope_alone(const struct task *task)
{
	static const char *const beside[3] = { "envelope", "signature", "signature" };
	const char *other = given_besides(task, beside);

	if (other) {
		(void)task_fail(
			"release add with an envelope takes no %s: the signed manifest says it; accepted is "
			"--signature",
			other);
	}
	return other == NULL;
}

int release_add(struct task *task)
{
	const char *envelope = text_of(task, "envelope");
	char version[128] = "";
	cJSON *data = NULL;
	cJSON *members;
	int status = EXIT_NOT_DONE;

	if (!has_release(task) || (envelope && !envelope_alone(task))) {
		return EXIT_USAGE;
	}
	members = envelope ? from_envelope(envelope, version, sizeof(version))
					   : from_signature(task, version, sizeof(version));
	if (members && (!text_of(task, "signature") || put_signature(task, members))) {
		status = task_ask(task, "add_release", members, &data);
	}
	if (status == EXIT_DONE) {
		status = wait_verdict(task, version);
	}
	cJSON_Delete(data);
	cJSON_Delete(members);
	return status;
}
