#include "ota/wire/dsse.h"

#include "wire/trust_fixture.h"

static const char PAYLOAD[] = "{\"schema\":1}";

/* The vector of the specification, protocol.md. */
static void pae_vector(void **state)
{
	static const char expected[] = "DSSEv1 29 http://example.com/HelloWorld 11 hello world";
	size_t length = 0;
	uint8_t *pae =
		dsse_pae("http://example.com/HelloWorld", (const uint8_t *)"hello world", 11, &length);

	(void)state;
	assert_int_equal(length, strlen(expected));
	assert_memory_equal(pae, expected, length);
	free(pae);
	pae = dsse_pae("", NULL, 0, &length);
	assert_int_equal(length, strlen("DSSEv1 0  0 "));
	assert_memory_equal(pae, "DSSEv1 0  0 ", length);
	free(pae);
}

static enum ota_err parse(const char *json, struct dsse_unverified *envelope, struct ota_why *why)
{
	return dsse_parse(json, strlen(json), envelope, why);
}

static void good_envelopes(void **state)
{
	static const char *const cases[] = {
		"{\"payloadType\":\"t\",\"payload\":\"+/8=\",\"signatures\":[{\"keyid\":\"k\",\"sig\":\"+/8=\"}]}",
		"{\"payloadType\":\"t\",\"payload\":\"-_8=\",\"signatures\":[{\"keyid\":\"k\",\"sig\":\"-_8\"}]}",
		(" {\"x\":{\"y\":[]},\"signatures\":[{\"z\":1,\"sig\":\"+/8\",\"keyid\":\"k\"}],"
		 "\"payload\":\"-_8\",\"payloadType\":\"t\"}\n"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct dsse_unverified envelope;
		struct ota_why why = { "" };
		char *rendered = NULL;

		if (parse(cases[i], &envelope, &why) != OTA_OK) {
			fail_msg("%s: %s", cases[i], why.text);
		}
		assert_string_equal(envelope.payload_type, "t");
		assert_int_equal(envelope.payload_length, 2);
		assert_memory_equal(envelope.payload, "\xfb\xff", 3);
		assert_int_equal(envelope.signature_count, 1);
		assert_int_equal(envelope.signatures[0].length, 2);
		assert_string_equal(envelope.signatures[0].keyid, "k");
		rendered = dsse_render(&envelope);
		assert_string_equal(rendered, cases[0]);
		free(rendered);
		dsse_free(&envelope);
		dsse_free(&envelope);
	}
}

static void broken_envelopes_are_refused_with_the_reason(void **state)
{
	static const struct {
		const char *json;
		const char *reason;
	} cases[] = {
		{ "[]", "no object" },
		{ "{}", "\"payloadType\" is missing" },
		{ "{\"payloadType\":1}", "\"payloadType\" is 1; accepted is text" },
		{ "{\"payloadType\":\"t\"}", "\"payload\" is missing" },
		{ "{\"payloadType\":\"t\",\"payload\":\"\"}", "\"payload\" has 0 bytes" },
		{ "{\"payloadType\":\"t\",\"payload\":\"!\"}", "\"payload\" is not base64" },
		{ "{\"payloadType\":\"t\",\"payload\":\"+_8=\"}", "\"payload\" is not base64" },
		{ "{\"payloadType\":\"t\",\"payload\":\"AA==\"}", "\"signatures\" is missing" },
		{ "{\"payloadType\":\"t\",\"payload\":\"AA==\",\"signatures\":{}}",
			"\"signatures\" is no list" },
		{ "{\"payloadType\":\"t\",\"payload\":\"AA==\",\"signatures\":[]}", "an empty list" },
		{ "{\"payloadType\":\"t\",\"payload\":\"AA==\",\"signatures\":[1]}", "no object" },
		{ "{\"payloadType\":\"t\",\"payload\":\"AA==\",\"signatures\":[{}]}",
			"\"sig\" is missing" },
		{ "{\"payloadType\":\"t\",\"payload\":\"AA==\",\"signatures\":[{\"sig\":\"\"}]}",
			"\"sig\" has 0 bytes" },
		{ "{\"payloadType\":\"t\",\"payload\":\"AA==\",\"signatures\":[{\"sig\":\"AA==\",\"keyid\":1}]}",
			"\"keyid\" is 1" },
		{ "{\"payloadType\":\"t\",\"payload\":\"AA==\",\"payload\":\"AQ==\","
		  "\"signatures\":[{\"sig\":\"AA==\"}]}",
			"more than once" },
		{ "{\"payloadType\":\"t\",\"payload\":\"AA==\",\"signatures\":[{\"sig\":\"AA==\"}]}x",
			"after the object" },
		{ "{\"payloadType\":\"t\",\"payload\":\"AA==\",\"signatures\":["
		  "{\"sig\":\"AA==\"},{\"sig\":\"AA==\"},{\"sig\":\"AA==\"},{\"sig\":\"AA==\"},"
		  "{\"sig\":\"AA==\"},{\"sig\":\"AA==\"},{\"sig\":\"AA==\"},{\"sig\":\"AA==\"},"
		  "{\"sig\":\"AA==\"},{\"sig\":\"AA==\"},{\"sig\":\"AA==\"},{\"sig\":\"AA==\"},"
		  "{\"sig\":\"AA==\"},{\"sig\":\"AA==\"},{\"sig\":\"AA==\"},{\"sig\":\"AA==\"},"
		  "{\"sig\":\"AA==\"}]}",
			"a longer list; accepted is a list of 1 to 16" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct dsse_unverified envelope;
		struct ota_why why = { "" };

		if (parse(cases[i].json, &envelope, &why) != OTA_ERR_INVALID
			|| !strstr(why.text, cases[i].reason)) {
			fail_msg("%s: \"%s\", expected \"%s\"", cases[i].json, why.text, cases[i].reason);
		}
	}
}

static void sizes_are_bounded(void **state)
{
	static uint8_t payload[DSSE_PAYLOAD_MAX + 1];
	static char spaces[DSSE_ENVELOPE_MAX + 1];
	struct dsse_unverified envelope;
	struct ota_why why = { "" };

	(void)state;
	for (size_t more = 0; more < 2; more++) {
		char *body = base64_encode(payload, DSSE_PAYLOAD_MAX + more);
		char *json = NULL;

		assert_true(
			asprintf(&json,
				"{\"payloadType\":\"t\",\"payload\":\"%s\",\"signatures\":[{\"sig\":\"AA==\"}]}",
				body)
			> 0);
		assert_int_equal(parse(json, &envelope, &why), more ? OTA_ERR_INVALID : OTA_OK);
		if (!more) {
			dsse_free(&envelope);
		}
		free(json);
		free(body);
	}
	assert_non_null(strstr(why.text, "payload"));
	memset(spaces, ' ', sizeof(spaces));
	assert_int_equal(dsse_parse(spaces, sizeof(spaces), &envelope, &why), OTA_ERR_INVALID);
	assert_non_null(strstr(why.text, "envelope of 262145 bytes"));
}

/* Verify an envelope over PAYLOAD, signed by `signers`, with a ring of `trusted`. */
static enum ota_err verify(EVP_PKEY *const *signers, size_t signer_count, EVP_PKEY *const *trusted,
	size_t trusted_count, size_t threshold, size_t *marked, struct ota_why *why)
{
	struct keyring *ring = fixture_keyring(trusted, trusted_count);
	char *json = fixture_envelope(DSSE_MANIFEST_TYPE, PAYLOAD, signers, signer_count);
	bool signed_by[KEYRING_KEYS_MAX] = { false };
	struct dsse_unverified envelope;
	enum ota_err err = OTA_ERR_INVALID;

	assert_int_equal(parse(json, &envelope, why), OTA_OK);
	err = dsse_verify(&envelope, ring, threshold, signed_by, why);
	*marked = 0;
	for (size_t i = 0; i < KEYRING_KEYS_MAX; i++) {
		*marked += signed_by[i];
	}
	dsse_free(&envelope);
	free(json);
	keyring_free(ring);
	return err;
}

static void threshold_counts_distinct_trusted_keys(void **state)
{
	EVP_PKEY *const a = fixture_ec("P-256");
	EVP_PKEY *const b = fixture_ed25519();
	EVP_PKEY *const c = fixture_rsa(2048);
	EVP_PKEY *const stranger = fixture_ed25519();
	const struct {
		EVP_PKEY *signers[3];
		size_t count;
		size_t threshold;
		size_t marked; /* 0: denied */
		const char *reason;
	} cases[] = {
		{ { a }, 1, 1, 1, "" },
		{ { stranger, c }, 2, 1, 1, "" },
		{ { a, b }, 2, 2, 2, "" },
		{ { c, stranger, b }, 3, 2, 2, "" },
		{ { a, b, c }, 3, 3, 3, "" },
		{ { a, b, c }, 3, 1, 3, "" },
		{ { stranger }, 1, 1, 0, "arbitrary software: no trusted key signed the manifest" },
		{ { a }, 1, 2, 0, "arbitrary software: 1 trusted key signed the manifest, 2 are needed" },
		{ { a, a, a }, 3, 2, 0, "arbitrary software: 1 trusted key signed" }, /* thrice the same */
		{ { a, stranger, b }, 3, 3, 0, "arbitrary software: 2 trusted keys signed" },
		{ { a }, 1, 0, 0, "threshold 0 is not in 1..16" },
		{ { a }, 1, 17, 0, "threshold 17 is not in 1..16" },
	};
	EVP_PKEY *const trusted[] = { a, b, c };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ota_why why = { "" };
		size_t marked = 0;
		enum ota_err err =
			verify(cases[i].signers, cases[i].count, trusted, 3, cases[i].threshold, &marked, &why);

		if (err != (cases[i].marked ? OTA_OK : OTA_ERR_DENIED) || marked != cases[i].marked
			|| !strstr(why.text, cases[i].reason)) {
			fail_msg("case %zu: error %d, %zu keys, %s", i, (int)err, marked, why.text);
		}
	}
	EVP_PKEY_free(a);
	EVP_PKEY_free(b);
	EVP_PKEY_free(c);
	EVP_PKEY_free(stranger);
}

static void signature_covers_payload_and_type(void **state)
{
	EVP_PKEY *key = fixture_ec("P-256");
	struct keyring *ring = fixture_keyring(&key, 1);
	char *json = fixture_envelope(DSSE_MANIFEST_TYPE, PAYLOAD, &key, 1);
	char *other = fixture_envelope("text/plain", PAYLOAD, &key, 1);
	struct dsse_unverified envelope;
	struct ota_why why = { "" };

	(void)state;
	assert_int_equal(parse(json, &envelope, &why), OTA_OK);
	assert_int_equal(dsse_verify(&envelope, ring, 1, NULL, &why), OTA_OK);
	envelope.payload[2] ^= 1;
	assert_int_equal(dsse_verify(&envelope, ring, 1, NULL, &why), OTA_ERR_DENIED);
	envelope.payload[2] ^= 1;
	assert_int_equal(dsse_verify(&envelope, ring, 1, NULL, &why), OTA_OK);
	envelope.payload_length--;
	assert_int_equal(dsse_verify(&envelope, ring, 1, NULL, &why), OTA_ERR_DENIED);
	envelope.payload_length++;
	envelope.payload_type[0] = 'A';
	assert_int_equal(dsse_verify(&envelope, ring, 1, NULL, &why), OTA_ERR_DENIED);
	assert_non_null(strstr(why.text, "no trusted key signed"));
	dsse_free(&envelope);

	assert_int_equal(parse(other, &envelope, &why), OTA_OK);
	assert_int_equal(dsse_verify(&envelope, ring, 1, NULL, &why), OTA_ERR_DENIED);
	assert_string_equal(why.text,
		"arbitrary software: payloadType is \"text/plain\"; accepted is "
		"\"application/vnd.mosquitto-ota.manifest+json\"");
	dsse_free(&envelope);
	free(other);
	free(json);
	keyring_free(ring);
	EVP_PKEY_free(key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pae_vector),
		cmocka_unit_test(good_envelopes),
		cmocka_unit_test(broken_envelopes_are_refused_with_the_reason),
		cmocka_unit_test(sizes_are_bounded),
		cmocka_unit_test(threshold_counts_distinct_trusted_keys),
		cmocka_unit_test(signature_covers_payload_and_type),
	};

	return cmocka_run_group_tests_name("dsse", tests, NULL, NULL);
}
