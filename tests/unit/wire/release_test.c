#include "ota/wire/release.h"

#include "wire/trust_fixture.h"

#define DIGEST \
	"f0e4c2f76c58916ec258f246851bea091d14d4247a2fc3e18694461b1816e13b" /* of FILE_BYTES */
#define URL "https://cdn.example.com/f.bin"

static const char FILE_BYTES[] = "asdf";

static const char PAYLOAD[] = "{\"schema\":1,\"version\":\"1.5.0\",\"sequence\":7,\"url\":\"" URL
							  "\",\"sha256\":\"" DIGEST "\",\"size\":4,\"hardware\":[\"rev-b\"],"
							  "\"releaseNotes\":\"signed notes\"}";

/* Three keys, of which the first two are trusted. */
struct keys {
	EVP_PKEY *ec;
	EVP_PKEY *ed25519;
	EVP_PKEY *stranger;
	struct keyring *ring;
};

static int make_keys(void **state)
{
	struct keys *keys = calloc(1, sizeof(*keys));

	assert_non_null(keys);
	keys->ec = fixture_ec("P-256");
	keys->ed25519 = fixture_ed25519();
	keys->stranger = fixture_ec("P-256");
	keys->ring = fixture_keyring((EVP_PKEY *const[]){ keys->ec, keys->ed25519 }, 2);
	*state = keys;
	return 0;
}

static int free_keys(void **state)
{
	struct keys *keys = *state;

	EVP_PKEY_free(keys->ec);
	EVP_PKEY_free(keys->ed25519);
	EVP_PKEY_free(keys->stranger);
	keyring_free(keys->ring);
	free(keys);
	return 0;
}

static struct release_unverified good_row(void)
{
	return (struct release_unverified){ .release_id = 3,
		.version = "1.5.0",
		.sequence = 7,
		.url = URL,
		.sha256 = DIGEST,
		.size = 4,
		.release_notes = "unsigned notes" };
}

static void manifest_release_comes_from_the_signed_bytes(void **state)
{
	const struct keys *keys = *state;
	char *envelope = fixture_envelope(
		DSSE_MANIFEST_TYPE, PAYLOAD, (EVP_PKEY *const[]){ keys->ec, keys->ed25519 }, 2);
	struct release_unverified row = good_row();
	struct release *release = NULL;
	struct ota_why why = { "" };

	row.envelope = envelope;
	row.sha256 = "F0E4C2F76C58916EC258F246851BEA091D14D4247A2FC3E18694461B1816E13B";
	assert_int_equal(
		release_verify(&row, keys->ring, SIGNATURE_POLICY_MANIFEST, 2, &release, &why), OTA_OK);
	assert_int_equal(release->release_id, 3);
	assert_string_equal(release->manifest->release_notes, "signed notes");
	assert_string_equal(release->manifest->terms.hardware[0], "rev-b");
	assert_string_equal(release->manifest->json, PAYLOAD);
	assert_string_equal(release->envelope, envelope);
	assert_null(release->signature_base64);
	assert_non_null(strstr(release->signed_by, "key-0.pem (ECDSA P-256)"));
	assert_non_null(strstr(release->signed_by, "key-1.pem (Ed25519)"));
	assert_non_null(strstr(release->signed_by, ", "));
	assert_string_equal(release->key_fingerprint, keyring_fingerprint(keys->ring));
	release_free(release);
	free(envelope);
}

static void artifact_release_comes_from_the_columns(void **state)
{
	const struct keys *keys = *state;
	struct fixture_bytes signature =
		fixture_sign(keys->ec, FIXTURE_PLAIN, FILE_BYTES, strlen(FILE_BYTES));
	struct release_unverified row = good_row();
	struct release *release = NULL;
	struct ota_why why = { "" };
	char *encoded = base64_encode(signature.bytes, signature.length);

	row.signature = signature.bytes;
	row.signature_length = signature.length;
	if (release_verify(&row, keys->ring, SIGNATURE_POLICY_ARTIFACT, 1, &release, &why) != OTA_OK) {
		fail_msg("%s", why.text);
	}
	assert_string_equal(release->manifest->release_notes, "unsigned notes");
	assert_string_equal(release->manifest->terms.version, "1.5.0");
	assert_string_equal(release->signed_by, "key-0.pem (ECDSA P-256)");
	assert_string_equal(release->signature_base64, encoded);
	assert_null(release->envelope);
	release_free(release);
	free(encoded);
}

enum manifest_state {
	NO_MANIFEST,
	GOOD_MANIFEST,
	STRANGERS_MANIFEST,
	BROKEN_MANIFEST
};
enum artifact_state {
	NO_ARTIFACT,
	GOOD_ARTIFACT,
	STRANGERS_ARTIFACT,
	ED25519_ARTIFACT
};

struct policy_case {
	enum signature_policy policy;
	enum manifest_state manifest;
	enum artifact_state artifact;
	const char *reason; /* NULL: verified */
};

static void check_policy_case(const struct keys *keys, const struct policy_case *c)
{
	EVP_PKEY *const manifest_key = c->manifest == STRANGERS_MANIFEST ? keys->stranger : keys->ec;
	EVP_PKEY *const artifact_key = c->artifact == STRANGERS_ARTIFACT ? keys->stranger
		: c->artifact == ED25519_ARTIFACT                            ? keys->ed25519
																	 : keys->ec;
	char *envelope = fixture_envelope(DSSE_MANIFEST_TYPE, PAYLOAD, &manifest_key, 1);
	struct fixture_bytes signature =
		fixture_sign(artifact_key, FIXTURE_PLAIN, FILE_BYTES, strlen(FILE_BYTES));
	struct release_unverified row = good_row();
	struct release *release = NULL;
	struct ota_why why = { "" };
	enum ota_err err = OTA_ERR_NOMEM;

	if (c->manifest != NO_MANIFEST) {
		row.envelope = c->manifest == BROKEN_MANIFEST ? "{\"payloadType\":1}" : envelope;
	}
	if (c->artifact != NO_ARTIFACT) {
		row.signature = signature.bytes;
		row.signature_length = signature.length;
	}
	err = release_verify(&row, keys->ring, c->policy, 1, &release, &why);
	if (err != (c->reason ? OTA_ERR_DENIED : OTA_OK)
		|| (c->reason && strncmp(why.text, c->reason, strlen(c->reason)) != 0)) {
		fail_msg("policy %d, manifest %d, artifact %d: %s \"%s\"", (int)c->policy, (int)c->manifest,
			(int)c->artifact, ota_err_name(err), why.text);
	}
	assert_int_equal(release == NULL, c->reason != NULL);
	release_free(release);
	free(envelope);
}

static void policies(void **state)
{
	static const char no_manifest[] = "arbitrary software: no signed manifest";
	static const char no_artifact[] = "arbitrary software: no artifact signature";
	static const char strange_manifest[] = "arbitrary software: no trusted key signed the manifest";
	static const char strange_artifact[] =
		"arbitrary software: no trusted key signed the file with this SHA-256";
	static const char ed25519[] =
		"arbitrary software: no trusted key signed the file with this SHA-256; "
		"Ed25519 cannot sign a digest; use an envelope";
	static const char broken[] = "broken envelope: member \"payloadType\" is 1";
	static const struct policy_case cases[] = {
		{ SIGNATURE_POLICY_MANIFEST, GOOD_MANIFEST, NO_ARTIFACT, NULL },
		{ SIGNATURE_POLICY_MANIFEST, GOOD_MANIFEST, GOOD_ARTIFACT, NULL },
		{ SIGNATURE_POLICY_MANIFEST, NO_MANIFEST, NO_ARTIFACT, no_manifest },
		{ SIGNATURE_POLICY_MANIFEST, NO_MANIFEST, GOOD_ARTIFACT, no_manifest },
		{ SIGNATURE_POLICY_MANIFEST, STRANGERS_MANIFEST, NO_ARTIFACT, strange_manifest },
		{ SIGNATURE_POLICY_MANIFEST, GOOD_MANIFEST, STRANGERS_ARTIFACT, strange_artifact },
		{ SIGNATURE_POLICY_MANIFEST, BROKEN_MANIFEST, NO_ARTIFACT, broken },
		{ SIGNATURE_POLICY_ARTIFACT, NO_MANIFEST, GOOD_ARTIFACT, NULL },
		{ SIGNATURE_POLICY_ARTIFACT, GOOD_MANIFEST, GOOD_ARTIFACT, NULL },
		{ SIGNATURE_POLICY_ARTIFACT, NO_MANIFEST, NO_ARTIFACT, no_artifact },
		{ SIGNATURE_POLICY_ARTIFACT, GOOD_MANIFEST, NO_ARTIFACT, no_artifact },
		{ SIGNATURE_POLICY_ARTIFACT, NO_MANIFEST, STRANGERS_ARTIFACT, strange_artifact },
		{ SIGNATURE_POLICY_ARTIFACT, NO_MANIFEST, ED25519_ARTIFACT, ed25519 },
		{ SIGNATURE_POLICY_ARTIFACT, STRANGERS_MANIFEST, GOOD_ARTIFACT, strange_manifest },
		{ SIGNATURE_POLICY_ARTIFACT, BROKEN_MANIFEST, GOOD_ARTIFACT, broken },
		{ SIGNATURE_POLICY_BOTH, GOOD_MANIFEST, GOOD_ARTIFACT, NULL },
		{ SIGNATURE_POLICY_BOTH, GOOD_MANIFEST, NO_ARTIFACT, no_artifact },
		{ SIGNATURE_POLICY_BOTH, NO_MANIFEST, GOOD_ARTIFACT, no_manifest },
		{ SIGNATURE_POLICY_BOTH, STRANGERS_MANIFEST, GOOD_ARTIFACT, strange_manifest },
		{ SIGNATURE_POLICY_BOTH, GOOD_MANIFEST, STRANGERS_ARTIFACT, strange_artifact },
		{ (enum signature_policy)3, GOOD_MANIFEST, GOOD_ARTIFACT,
			"arbitrary software: unknown signature policy 3" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		check_policy_case(*state, &cases[i]);
	}
}

static void columns_must_agree_with_the_manifest(void **state)
{
	static const char other_digest[] =
		"00e4c2f76c58916ec258f246851bea091d14d4247a2fc3e18694461b1816e13b";
	static const struct {
		const char *version;
		int64_t sequence;
		const char *url;
		const char *sha256;
		int64_t size;
		const char *reason;
	} cases[] = {
		{ "1.5.1", 7, URL, DIGEST, 4,
			"mix-and-match: column version says \"1.5.1\", the signed manifest says \"1.5.0\"" },
		{ NULL, 7, URL, DIGEST, 4, "mix-and-match: column version says nothing" },
		{ "1.5.0", 8, URL, DIGEST, 4,
			"mix-and-match: column sequence says 8, the signed manifest says 7" },
		{ "1.5.0", 7, "https://evil.example.com/f.bin", DIGEST, 4,
			"mix-and-match: column url says \"https://evil.example.com/f.bin\", the signed manifest "
			"says \"" URL "\"" },
		{ "1.5.0", 7, NULL, DIGEST, 4, "mix-and-match: column url says nothing" },
		{ "1.5.0", 7, URL, other_digest, 4, "mix-and-match: column sha256 says \"00e4" },
		{ "1.5.0", 7, URL, NULL, 4, "mix-and-match: column sha256 says nothing" },
		{ "1.5.0", 7, URL, DIGEST, 5,
			"mix-and-match: column size says 5, the signed manifest says 4" },
	};
	const struct keys *keys = *state;
	char *envelope = fixture_envelope(DSSE_MANIFEST_TYPE, PAYLOAD, &keys->ec, 1);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct release_unverified row = { .version = cases[i].version,
			.sequence = cases[i].sequence,
			.url = cases[i].url,
			.sha256 = cases[i].sha256,
			.size = cases[i].size,
			.envelope = envelope };
		struct release *release = NULL;
		struct ota_why why = { "" };

		if (release_verify(&row, keys->ring, SIGNATURE_POLICY_MANIFEST, 1, &release, &why)
				!= OTA_ERR_DENIED
			|| strncmp(why.text, cases[i].reason, strlen(cases[i].reason)) != 0) {
			fail_msg("case %zu: \"%s\"", i, why.text);
		}
		assert_null(release);
	}
	free(envelope);
}

static void artifact_of_another_file_is_refused(void **state)
{
	const struct keys *keys = *state;
	struct fixture_bytes signature = fixture_sign(keys->ec, FIXTURE_PLAIN, "asdg", 4);
	struct release_unverified row = good_row();
	struct release *release = NULL;
	struct ota_why why = { "" };

	row.signature = signature.bytes;
	row.signature_length = signature.length;
	assert_int_equal(release_verify(&row, keys->ring, SIGNATURE_POLICY_ARTIFACT, 1, &release, &why),
		OTA_ERR_DENIED);
	row.signature_length = 0;
	assert_int_equal(release_verify(&row, keys->ring, SIGNATURE_POLICY_ARTIFACT, 1, &release, &why),
		OTA_ERR_DENIED);
	assert_null(release);
}

static void broken_manifests_and_columns_are_named(void **state)
{
	const struct keys *keys = *state;
	char *envelope = fixture_envelope(DSSE_MANIFEST_TYPE, "{\"schema\":2}", &keys->ec, 1);
	struct release_unverified row = good_row();
	struct release *release = NULL;
	struct ota_why why = { "" };

	row.envelope = envelope;
	assert_int_equal(release_verify(&row, keys->ring, SIGNATURE_POLICY_MANIFEST, 1, &release, &why),
		OTA_ERR_DENIED);
	assert_string_equal(
		why.text, "broken manifest: member \"schema\" is 2; accepted is an integer from 1 to 1");
	row = good_row();
	row.signature = (const uint8_t *)"x";
	row.signature_length = 1;
	row.url = "file:///f";
	assert_int_equal(release_verify(&row, keys->ring, SIGNATURE_POLICY_ARTIFACT, 1, &release, &why),
		OTA_ERR_DENIED);
	assert_int_equal(strncmp(why.text, "broken release: member \"url\"", 28), 0);
	free(envelope);
}

static void threshold_of_the_policy_is_used(void **state)
{
	const struct keys *keys = *state;
	char *envelope = fixture_envelope(DSSE_MANIFEST_TYPE, PAYLOAD, &keys->ec, 1);
	struct release_unverified row = good_row();
	struct release *release = NULL;
	struct ota_why why = { "" };

	row.envelope = envelope;
	assert_int_equal(release_verify(&row, keys->ring, SIGNATURE_POLICY_MANIFEST, 2, &release, &why),
		OTA_ERR_DENIED);
	assert_string_equal(
		why.text, "arbitrary software: 1 trusted key signed the manifest, 2 are needed");
	free(envelope);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(manifest_release_comes_from_the_signed_bytes),
		cmocka_unit_test(artifact_release_comes_from_the_columns),
		cmocka_unit_test(policies),
		cmocka_unit_test(columns_must_agree_with_the_manifest),
		cmocka_unit_test(artifact_of_another_file_is_refused),
		cmocka_unit_test(broken_manifests_and_columns_are_named),
		cmocka_unit_test(threshold_of_the_policy_is_used),
	};

	return cmocka_run_group_tests_name("release", tests, make_keys, free_keys);
}
