/*
 * Signatures that nearly are: the corner cases of Wycheproof's collections (malformed DER, wrong lengths, wrong hashes, r and s at
 * the borders, malleability) with fresh keys of every kind, and what a keyring without keys verifies: nothing.
 */
#include "trust_fixture.h"

static const char message[] = "DSSEv1 1 t 5 bytes";

enum {
	KINDS = 5
};

struct kinds {
	EVP_PKEY *keys[KINDS]; /* RSA 2048, RSA 3072, P-256, P-384, Ed25519 */
	struct keyring *rings[KINDS];
};

static struct kinds kinds_make(void)
{
	struct kinds kinds = { .keys = { fixture_rsa(2048), fixture_rsa(3072), fixture_ec("P-256"),
							   fixture_ec("P-384"), fixture_ed25519() } };

	for (size_t i = 0; i < KINDS; i++) {
		kinds.rings[i] = fixture_keyring(&kinds.keys[i], 1);
	}
	return kinds;
}

static void kinds_free(struct kinds *kinds)
{
	for (size_t i = 0; i < KINDS; i++) {
		keyring_free(kinds->rings[i]);
		EVP_PKEY_free(kinds->keys[i]);
	}
}

static bool verifies(const struct keyring *ring, const uint8_t *signature, size_t length)
{
	return keyring_verify(ring, 0, (const uint8_t *)message, strlen(message), signature, length);
}

/* Each bit of a good signature counts, and so does its length. */
static void no_bit_and_no_byte_may_differ(void **state)
{
	struct kinds kinds = kinds_make();

	(void)state;
	for (size_t i = 0; i < KINDS; i++) {
		struct fixture_bytes good =
			fixture_sign(kinds.keys[i], FIXTURE_PLAIN, message, strlen(message));

		assert_true(verifies(kinds.rings[i], good.bytes, good.length));
		for (size_t at = 0; at < good.length; at++) {
			struct fixture_bytes bad = good;

			bad.bytes[at] ^= (uint8_t)(1U << (at % 8));
			assert_false(verifies(kinds.rings[i], bad.bytes, bad.length));
		}
		for (size_t length = 0; length < good.length; length++) {
			assert_false(verifies(kinds.rings[i], good.bytes, length));
		}
		for (size_t more = 1; more <= 16; more++) {
			struct fixture_bytes bad = good;

			memset(bad.bytes + good.length, 0, more);
			assert_false(verifies(kinds.rings[i], bad.bytes, good.length + more));
			memmove(bad.bytes + more, good.bytes, good.length);
			memset(bad.bytes, 0, more);
			assert_false(verifies(kinds.rings[i], bad.bytes, good.length + more));
		}
	}
	kinds_free(&kinds);
}

/* A signature of one kind of key, or with one padding, is none of another. */
static void kinds_do_not_mix(void **state)
{
	struct kinds kinds = kinds_make();

	(void)state;
	for (size_t signer = 0; signer < KINDS; signer++) {
		struct fixture_bytes good =
			fixture_sign(kinds.keys[signer], FIXTURE_PLAIN, message, strlen(message));

		for (size_t verifier = 0; verifier < KINDS; verifier++) {
			assert_int_equal(
				verifies(kinds.rings[verifier], good.bytes, good.length), signer == verifier);
		}
	}
	kinds_free(&kinds);
}

/* DER that some parsers take: BER lengths, signs, padding, tails inside; and r, s at the borders. */
static void ecdsa_is_strict_der_within_the_order(void **state)
{
	static const struct {
		const char *what;
		const char *hex;
	} cases[] = {
		{ "empty sequence", "3000" },
		{ "r and s zero", "3006020100020100" },
		{ "r and s one", "3006020101020101" },
		{ "r zero", "3006020100020101" },
		{ "s zero", "3006020101020100" },
		{ "r minus one", "30060201ff020101" },
		{ "no s", "3003020101" },
		{ "three integers", "3009020101020101020101" },
		{ "empty integers", "300402000200" },
		{ "null for s", "30050201010500" },
		{ "boolean for r", "3006010101020101" },
		{ "real infinity", "3006090140090142" },
		{ "indefinite length", "30800201010201010000" },
		{ "long length", "308106020101020101" },
		{ "length beyond the end", "3007020101020101" },
		{ "length of 4 GB", "3084ffffffff020101020101" },
		{ "octets", "0406020101020101" },
		{ "the order of P-256 and one",
			"3026022100ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551020101" },
		{ "one and the order of P-256",
			"3026020101022100ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551" },
		{ "a tail inside", "30080201010201010500" },
	};
	EVP_PKEY *key = fixture_ec("P-256");
	struct keyring *ring = fixture_keyring(&key, 1);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t bytes[128];
		size_t length = strlen(cases[i].hex) / 2;

		for (size_t at = 0; at < length; at++) {
			const char digits[3] = { cases[i].hex[2 * at], cases[i].hex[2 * at + 1], '\0' };

			bytes[at] = (uint8_t)strtoul(digits, NULL, 16);
		}
		if (verifies(ring, bytes, length)) {
			fail_msg("%s verified", cases[i].what);
		}
	}
	keyring_free(ring);
	EVP_PKEY_free(key);
}

/* Good signatures over the same bytes with another hash than SHA-256. */
static void other_hashes_do_not_verify(void **state)
{
	struct kinds kinds = kinds_make();
	const EVP_MD *const hashes[] = { EVP_sha1(), EVP_sha224(), EVP_sha384(), EVP_sha512(),
		EVP_sha3_256() };

	(void)state;
	for (size_t i = 0; i < KINDS - 1; i++) {
		for (size_t hash = 0; hash < sizeof(hashes) / sizeof(hashes[0]); hash++) {
			struct fixture_bytes signature = { .length = sizeof(signature.bytes) };
			EVP_MD_CTX *context = EVP_MD_CTX_new();

			assert_non_null(context);
			assert_int_equal(
				EVP_DigestSignInit(context, NULL, hashes[hash], NULL, kinds.keys[i]), 1);
			assert_int_equal(EVP_DigestSign(context, signature.bytes, &signature.length,
								 (const uint8_t *)message, strlen(message)),
				1);
			EVP_MD_CTX_free(context);
			assert_false(verifies(kinds.rings[i], signature.bytes, signature.length));
		}
	}
	kinds_free(&kinds);
}

/* Numbers that are no residues: zero, one, the modulus itself and all ones. */
static void rsa_numbers_at_the_borders(void **state)
{
	EVP_PKEY *key = fixture_rsa(2048);
	struct keyring *ring = fixture_keyring(&key, 1);
	uint8_t bytes[256] = { 0 };
	BIGNUM *modulus = NULL;

	(void)state;
	assert_false(verifies(ring, bytes, sizeof(bytes)));
	bytes[255] = 1;
	assert_false(verifies(ring, bytes, sizeof(bytes)));
	memset(bytes, 0xff, sizeof(bytes));
	assert_false(verifies(ring, bytes, sizeof(bytes)));
	assert_int_equal(EVP_PKEY_get_bn_param(key, "n", &modulus), 1);
	assert_int_equal(BN_bn2binpad(modulus, bytes, sizeof(bytes)), sizeof(bytes));
	assert_false(verifies(ring, bytes, sizeof(bytes)));
	BN_free(modulus);
	keyring_free(ring);
	EVP_PKEY_free(key);
}

/* RFC 8032, 5.1.7: S is below the order; S + L would make a second signature of every one. */
static void ed25519_is_not_malleable(void **state)
{
	static const uint8_t order[32] = { 0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c,
		0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10 };
	EVP_PKEY *key = fixture_ed25519();
	struct keyring *ring = fixture_keyring(&key, 1);
	struct fixture_bytes signature = fixture_sign(key, FIXTURE_PLAIN, message, strlen(message));
	unsigned carry = 0;

	(void)state;
	assert_true(verifies(ring, signature.bytes, signature.length));
	for (size_t i = 0; i < sizeof(order); i++) {
		carry += (unsigned)signature.bytes[32 + i] + order[i];
		signature.bytes[32 + i] = (uint8_t)carry;
		carry >>= 8;
	}
	assert_false(verifies(ring, signature.bytes, signature.length));
	keyring_free(ring);
	EVP_PKEY_free(key);
}

static void no_keys_verify_nothing(void **state)
{
	EVP_PKEY *key = fixture_ec("P-256");
	struct fixture_bytes good = fixture_sign(key, FIXTURE_PLAIN, message, strlen(message));
	struct keyring *ring = fixture_keyring(&key, 1);
	struct keyring *none = NULL;

	(void)state;
	assert_int_equal(keyring_none(&none), OTA_OK);
	assert_int_equal(keyring_count(none), 0);
	assert_string_not_equal(keyring_fingerprint(none), keyring_fingerprint(ring));
	assert_false(verifies(none, good.bytes, good.length));
	assert_true(verifies(ring, good.bytes, good.length));
	keyring_free(none);
	keyring_free(ring);
	EVP_PKEY_free(key);
}

static void directories_that_others_may_write_are_seen(void **state)
{
	struct fixture_directory directory = fixture_directory_make();
	char path[512];

	(void)state;
	assert_false(keyring_directory_open(directory.path));
	assert_int_equal(chmod(directory.path, 0775), 0);
	assert_false(keyring_directory_open(directory.path));
	assert_int_equal(chmod(directory.path, 01777), 0);
	assert_true(keyring_directory_open(directory.path));
	assert_false(keyring_directory_open(fixture_path(&directory, "missing", path)));
	fixture_directory_remove(&directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_bit_and_no_byte_may_differ),
		cmocka_unit_test(kinds_do_not_mix),
		cmocka_unit_test(ecdsa_is_strict_der_within_the_order),
		cmocka_unit_test(other_hashes_do_not_verify),
		cmocka_unit_test(rsa_numbers_at_the_borders),
		cmocka_unit_test(ed25519_is_not_malleable),
		cmocka_unit_test(no_keys_verify_nothing),
		cmocka_unit_test(directories_that_others_may_write_are_seen),
	};

	return cmocka_run_group_tests_name("signature", tests, NULL, NULL);
}
