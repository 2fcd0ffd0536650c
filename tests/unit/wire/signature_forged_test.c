/*
 * Signatures that a lax verifier takes, made with the genuine key: paddings and encodings that are not quite those of RFC 8017 and of
 * DER.  What OpenSSL documents to take (any length of a PSS salt, either s of an ECDSA signature) is shown to be taken.
 */
#include <openssl/bn.h>
#include <openssl/ecdsa.h>

#include "trust_fixture.h"

static const char message[] = "DSSEv1 1 t 5 bytes";

enum {
	EM = 256, /* bytes of an RSA 2048 number */
	HASH = 32
};

static bool verifies(const struct keyring *ring, const uint8_t *signature, size_t length)
{
	return keyring_verify(ring, 0, (const uint8_t *)message, strlen(message), signature, length);
}

static void hash_message(const EVP_MD *digest, uint8_t out[EVP_MAX_MD_SIZE])
{
	assert_int_equal(EVP_Digest(message, strlen(message), out, NULL, digest, NULL), 1);
}

/* The signature whose padded number is `number`. */
static void sign_number(EVP_PKEY *key, const uint8_t number[EM], uint8_t signature[EM])
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);
	size_t length = EM;

	assert_non_null(context);
	assert_int_equal(EVP_PKEY_sign_init(context), 1);
	assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(context, RSA_NO_PADDING), 1);
	assert_int_equal(EVP_PKEY_sign(context, signature, &length, number, EM), 1);
	assert_int_equal(length, EM);
	EVP_PKEY_CTX_free(context);
}

static size_t from_hex(const char *hex, uint8_t *out)
{
	size_t length = strlen(hex) / 2;

	for (size_t at = 0; at < length; at++) {
		const char digits[3] = { hex[2 * at], hex[2 * at + 1], '\0' };

		out[at] = (uint8_t)strtoul(digits, NULL, 16);
	}
	return length;
}

/* 00 type ff.. 00 info hash, and `tail` bytes behind it; the padding takes what is left. */
static void build(uint8_t number[EM], uint8_t type, uint8_t filler, const char *info,
	size_t hash_length, size_t tail)
{
	uint8_t head[64];
	uint8_t hash[EVP_MAX_MD_SIZE];
	size_t head_length = from_hex(info, head);
	size_t at = EM - tail - hash_length - head_length;

	hash_message(EVP_sha256(), hash);
	memset(number, 0x55, EM);
	number[0] = 0;
	number[1] = type;
	memset(number + 2, filler, at - 3);
	number[at - 1] = 0;
	memcpy(number + at, head, head_length);
	memcpy(number + at + head_length, hash, hash_length);
}

static void pkcs1_padding_is_exact(void **state)
{
	static const char sha256[] = "3031300d060960864801650304020105000420";
	static const struct {
		const char *what;
		uint8_t type;
		uint8_t filler;
		const char *info;
		size_t hash;
		size_t tail;
		bool good;
	} cases[] = {
		{ "RFC 8017", 1, 0xff, sha256, HASH, 0, true },
		{ "a tail behind the hash", 1, 0xff, sha256, HASH, 1, false },
		{ "the room of Bleichenbacher's forgery", 1, 0xff, sha256, HASH, 194, false },
		{ "a padding for encryption", 2, 0xff, sha256, HASH, 0, false },
		{ "block type 0", 0, 0xff, sha256, HASH, 0, false },
		{ "a padding of other bytes", 1, 0xfe, sha256, HASH, 0, false },
		{ "a short hash", 1, 0xff, "3030300d06096086480165030402010500041f", HASH - 1, 0, false },
		{ "no parameters", 1, 0xff,
			"302f300b0609608648016503040201"
			"0420",
			HASH, 0, false },
		{ "a length in BER", 1, 0xff, "308131300d060960864801650304020105000420", HASH, 0, false },
		{ "parameters that are no NULL", 1, 0xff, "3032300e06096086480165030402010401000420", HASH,
			0, false },
		{ "another hash's name", 1, 0xff, "3031300d060960864801650304020305000420", HASH, 0,
			false },
		{ "SHA-1's name", 1, 0xff, "302d300906052b0e03021a05000420", HASH, 0, false },
		{ "the bare hash", 1, 0xff, "", HASH, 0, false },
	};
	EVP_PKEY *key = fixture_rsa(2048);
	struct keyring *ring = fixture_keyring(&key, 1);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t number[EM];
		uint8_t signature[EM];

		build(number, cases[i].type, cases[i].filler, cases[i].info, cases[i].hash, cases[i].tail);
		sign_number(key, number, signature);
		if (verifies(ring, signature, EM) != cases[i].good) {
			fail_msg("%s: %s", cases[i].what, cases[i].good ? "refused" : "taken");
		}
	}
	keyring_free(ring);
	EVP_PKEY_free(key);
}

static void sign_pss(
	EVP_PKEY *key, const EVP_MD *digest, const EVP_MD *mask, int salt, uint8_t signature[EM])
{
	uint8_t hash[EVP_MAX_MD_SIZE];
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);
	size_t length = EM;

	hash_message(digest, hash);
	assert_non_null(context);
	assert_int_equal(EVP_PKEY_sign_init(context), 1);
	assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING), 1);
	assert_int_equal(EVP_PKEY_CTX_set_signature_md(context, digest), 1);
	assert_int_equal(EVP_PKEY_CTX_set_rsa_mgf1_md(context, mask), 1);
	assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(context, salt), 1);
	assert_int_equal(
		EVP_PKEY_sign(context, signature, &length, hash, (size_t)EVP_MD_get_size(digest)), 1);
	EVP_PKEY_CTX_free(context);
}

/* The salt may have any length, as openssl dgst makes them; hash and mask are SHA-256's. */
static void pss_of_any_salt_and_no_other_hash(void **state)
{
	static const int salts[] = { 0, 1, 20, 32, 64, RSA_PSS_SALTLEN_MAX };
	EVP_PKEY *key = fixture_rsa(2048);
	struct keyring *ring = fixture_keyring(&key, 1);
	uint8_t signature[EM];
	uint8_t number[EM];
	size_t length = EM;
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);

	(void)state;
	for (size_t i = 0; i < sizeof(salts) / sizeof(salts[0]); i++) {
		sign_pss(key, EVP_sha256(), EVP_sha256(), salts[i], signature);
		assert_true(verifies(ring, signature, EM));
	}
	/* The same with another byte at its end than 0xbc, and with a bit set above the key's size. */
	assert_non_null(context);
	assert_int_equal(EVP_PKEY_verify_recover_init(context), 1);
	assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(context, RSA_NO_PADDING), 1);
	assert_int_equal(EVP_PKEY_verify_recover(context, number, &length, signature, EM), 1);
	EVP_PKEY_CTX_free(context);
	assert_int_equal(number[EM - 1], 0xbc);
	number[EM - 1] = 0xcc;
	sign_number(key, number, signature);
	assert_false(verifies(ring, signature, EM));

	sign_pss(key, EVP_sha256(), EVP_sha1(), 32, signature);
	assert_false(verifies(ring, signature, EM));
	sign_pss(key, EVP_sha256(), EVP_sha512(), 32, signature);
	assert_false(verifies(ring, signature, EM));
	sign_pss(key, EVP_sha512(), EVP_sha512(), 32, signature);
	assert_false(verifies(ring, signature, EM));
	sign_pss(key, EVP_sha1(), EVP_sha1(), 20, signature);
	assert_false(verifies(ring, signature, EM));
	keyring_free(ring);
	EVP_PKEY_free(key);
}

/* An INTEGER of a number, with zeros in front of it, its length in the long form when asked. */
static size_t put_integer(uint8_t *out, const BIGNUM *number, size_t zeros, bool long_form)
{
	uint8_t bytes[80];
	size_t length = (size_t)BN_bn2bin(number, bytes);
	size_t pad = zeros + (length == 0 || (bytes[0] & 0x80) != 0 ? 1 : 0);
	size_t at = 0;

	out[at++] = 0x02;
	if (long_form) {
		out[at++] = 0x81;
	}
	out[at++] = (uint8_t)(length + pad);
	memset(out + at, 0, pad);
	memcpy(out + at + pad, bytes, length);
	return at + pad + length;
}

static size_t put_signature(
	uint8_t *out, const BIGNUM *r, const BIGNUM *s, size_t zeros, bool long_form)
{
	uint8_t body[200];
	size_t length = put_integer(body, r, zeros, long_form);

	length += put_integer(body + length, s, 0, false);
	out[0] = 0x30;
	out[1] = (uint8_t)length;
	memcpy(out + 2, body, length);
	return length + 2;
}

/* One pair (r, s) has one encoding, and numbers are below the order. */
static void ecdsa_has_one_encoding(void **state)
{
	static const char order[] = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
	EVP_PKEY *key = fixture_ec("P-256");
	struct keyring *ring = fixture_keyring(&key, 1);
	struct fixture_bytes good = fixture_sign(key, FIXTURE_PLAIN, message, strlen(message));
	const unsigned char *at = good.bytes;
	ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &at, (long)good.length);
	const BIGNUM *r = NULL;
	const BIGNUM *s = NULL;
	BIGNUM *n = NULL;
	BIGNUM *other = BN_new();
	uint8_t bytes[256];

	(void)state;
	assert_non_null(pair);
	assert_int_not_equal(BN_hex2bn(&n, order), 0);
	ECDSA_SIG_get0(pair, &r, &s);
	assert_true(verifies(ring, bytes, put_signature(bytes, r, s, 0, false)));
	assert_false(verifies(ring, bytes, put_signature(bytes, r, s, 1, false)));
	assert_false(verifies(ring, bytes, put_signature(bytes, r, s, 20, false)));
	assert_false(verifies(ring, bytes, put_signature(bytes, r, s, 0, true)));
	/* The same residues beyond the order. */
	assert_int_equal(BN_add(other, r, n), 1);
	assert_false(verifies(ring, bytes, put_signature(bytes, other, s, 0, false)));
	assert_int_equal(BN_add(other, s, n), 1);
	assert_false(verifies(ring, bytes, put_signature(bytes, r, other, 0, false)));
	/* ECDSA's own second signature of the same bytes: it says nothing else, and nothing here counts signatures by their bytes. */
	assert_int_equal(BN_sub(other, n, s), 1);
	assert_true(verifies(ring, bytes, put_signature(bytes, r, other, 0, false)));
	/* Swapped, and with the two halves bare (the form of JOSE). */
	assert_false(verifies(ring, bytes, put_signature(bytes, s, r, 0, false)));
	assert_int_equal(BN_bn2binpad(r, bytes, 32), 32);
	assert_int_equal(BN_bn2binpad(s, bytes + 32, 32), 32);
	assert_false(verifies(ring, bytes, 64));
	BN_free(n);
	BN_free(other);
	ECDSA_SIG_free(pair);
	keyring_free(ring);
	EVP_PKEY_free(key);
}

/* RFC 8032: the prehashed form is another signature, and neutral points are none. */
static void ed25519_is_pure(void **state)
{
	EVP_PKEY *key = fixture_ed25519();
	struct keyring *ring = fixture_keyring(&key, 1);
	uint8_t hash[EVP_MAX_MD_SIZE];
	uint8_t bytes[64] = { 1 }; /* R: the neutral point, S: 0 */
	struct fixture_bytes signature;

	(void)state;
	assert_false(verifies(ring, bytes, sizeof(bytes)));
	hash_message(EVP_sha512(), hash);
	signature = fixture_sign(key, FIXTURE_PLAIN, hash, 64);
	assert_false(verifies(ring, signature.bytes, signature.length));
	hash_message(EVP_sha256(), hash);
	signature = fixture_sign(key, FIXTURE_PLAIN, hash, HASH);
	assert_false(verifies(ring, signature.bytes, signature.length));
	keyring_free(ring);
	EVP_PKEY_free(key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pkcs1_padding_is_exact),
		cmocka_unit_test(pss_of_any_salt_and_no_other_hash),
		cmocka_unit_test(ecdsa_has_one_encoding),
		cmocka_unit_test(ed25519_is_pure),
	};

	return cmocka_run_group_tests_name("signature_forged", tests, NULL, NULL);
}
