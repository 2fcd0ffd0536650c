#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include <openssl/err.h>

#include "ota/wire/keyring.h"

#include "wire/trust_fixture.h"

/* What the loader told, one line a file. */
struct told {
	char text[4096];
	size_t count;
};

static void note(void *context, const char *file, const char *reason)
{
	struct told *told = context;
	size_t used = strlen(told->text);

	(void)snprintf(told->text + used, sizeof(told->text) - used, "%s: %s\n", file, reason);
	told->count++;
}

static void every_algorithm_signs_messages_and_digests(void **state)
{
	static const char message[] = "the message";
	EVP_PKEY *const keys[] = { fixture_rsa(2048), fixture_ec("P-256"), fixture_ec("P-384"),
		fixture_ed25519(), fixture_rsa(3072) };
	const size_t count = sizeof(keys) / sizeof(keys[0]);
	struct keyring *ring = fixture_keyring(keys, count);
	uint8_t digest[32];

	(void)state;
	assert_int_equal(EVP_Digest(message, strlen(message), digest, NULL, EVP_sha256(), NULL), 1);
	for (size_t i = 0; i < count; i++) {
		const bool ed25519 = EVP_PKEY_is_a(keys[i], "ED25519");
		const int ways = EVP_PKEY_is_a(keys[i], "RSA") ? 2 : 1;

		for (int how = 0; how < ways; how++) {
			struct fixture_bytes s =
				fixture_sign(keys[i], (enum fixture_signature)how, message, strlen(message));
			size_t by_message = 0;
			size_t by_digest = 0;
			size_t by_other = 0;
			size_t by_shorter = 0;
			size_t by_changed = 0;

			for (size_t k = 0; k < count; k++) {
				by_message += keyring_verify(
					ring, k, (const uint8_t *)message, strlen(message), s.bytes, s.length);
				by_digest += keyring_verify_digest(ring, k, digest, s.bytes, s.length);
				by_other += keyring_verify(
					ring, k, (const uint8_t *)message, strlen(message) - 1, s.bytes, s.length);
				by_shorter += keyring_verify(
					ring, k, (const uint8_t *)message, strlen(message), s.bytes, s.length - 1);
			}
			s.bytes[s.length / 2] ^= 1;
			for (size_t k = 0; k < count; k++) {
				by_changed += keyring_verify(
					ring, k, (const uint8_t *)message, strlen(message), s.bytes, s.length);
			}
			assert_int_equal(by_message, 1);
			assert_int_equal(by_digest, ed25519 ? 0 : 1);
			assert_int_equal(by_other, 0);
			assert_int_equal(by_shorter, 0);
			assert_int_equal(by_changed, 0);
		}
	}
	assert_int_equal(ERR_peek_error(), 0);
	keyring_free(ring);
	for (size_t i = 0; i < count; i++) {
		EVP_PKEY_free(keys[i]);
	}
}

static void wrong_arguments_never_verify(void **state)
{
	EVP_PKEY *key = fixture_ec("P-256");
	struct keyring *ring = fixture_keyring(&key, 1);
	struct fixture_bytes s = fixture_sign(key, FIXTURE_PLAIN, "m", 1);
	static uint8_t large[4096];
	const uint8_t *message = (const uint8_t *)"m";

	(void)state;
	assert_true(keyring_verify(ring, 0, message, 1, s.bytes, s.length));
	assert_false(keyring_verify(ring, 1, message, 1, s.bytes, s.length));
	assert_false(keyring_verify(ring, 0, message, 1, NULL, s.length));
	assert_false(keyring_verify(ring, 0, message, 1, s.bytes, 0));
	assert_false(keyring_verify(ring, 0, message, 1, large, sizeof(large)));
	assert_true(keyring_signs_digests(ring, 0));
	assert_false(keyring_signs_digests(ring, 1));
	keyring_free(ring);
	EVP_PKEY_free(key);
}

/* Signed with SHA-1 or SHA-512, an otherwise right signature is none of ours. */
static void other_digests_do_not_verify(void **state)
{
	EVP_PKEY *const keys[] = { fixture_rsa(2048), fixture_ec("P-256") };
	struct keyring *ring = fixture_keyring(keys, 2);

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		uint8_t signature[512];
		size_t length = sizeof(signature);
		EVP_MD_CTX *context = EVP_MD_CTX_new();

		assert_int_equal(EVP_DigestSignInit(context, NULL, EVP_sha512(), NULL, keys[i]), 1);
		assert_int_equal(EVP_DigestSign(context, signature, &length, (const uint8_t *)"m", 1), 1);
		EVP_MD_CTX_free(context);
		for (size_t k = 0; k < 2; k++) {
			assert_false(keyring_verify(ring, k, (const uint8_t *)"m", 1, signature, length));
		}
		EVP_PKEY_free(keys[i]);
	}
	keyring_free(ring);
}

static EVP_PKEY *key_with_explicit_curve(void)
{
	EVP_PKEY *key = fixture_ec("P-256");

	assert_int_equal(EVP_PKEY_set_utf8_string_param(key, "encoding", "explicit"), 1);
	return key;
}

static EVP_PKEY *rsa_with_exponent(unsigned long exponent)
{
	EVP_PKEY *good = fixture_rsa(2048);
	EVP_PKEY *bad = NULL;
	BIGNUM *n = NULL;
	unsigned char bytes[512];
	OSSL_PARAM params[3];
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);

	assert_int_equal(EVP_PKEY_get_bn_param(good, "n", &n), 1);
	assert_int_not_equal(BN_bn2nativepad(n, bytes, 256), -1);
	params[0] = OSSL_PARAM_construct_BN("n", bytes, 256);
	params[1] = OSSL_PARAM_construct_ulong("e", &exponent);
	params[2] = OSSL_PARAM_construct_end();
	assert_int_equal(EVP_PKEY_fromdata_init(context), 1);
	assert_int_equal(EVP_PKEY_fromdata(context, &bad, EVP_PKEY_PUBLIC_KEY, params), 1);
	EVP_PKEY_CTX_free(context);
	BN_free(n);
	EVP_PKEY_free(good);
	return bad;
}

/* Every file that must not become a key, with words of the reason; nothing usable is left. */
static void unusable_files_are_told_with_the_reason(void **state)
{
	static const char *const expected[] = {
		"a-private.pem: a private key left in the directory",
		"b-weak.pem: RSA of 1024 bits; accepted are 2048 to 8192",
		"c-curve.pem: elliptic curve secp521r1; accepted are P-256 and P-384",
		"d-explicit.pem: elliptic curve by explicit parameters",
		"e-one.pem: RSA with an unsafe public exponent",
		"f-even.pem: RSA with an unsafe public exponent",
		"g-empty.pub: empty",
		"h-large.pub: larger than 65536 bytes",
		"i-noise.pem: no PEM public key",
		"j-two.pem: more than one PEM object",
		"k-broken.pem: not a PEM public key that OpenSSL can read",
		"l-certificate.pem: a certificate",
		"m-type.pem: key type X25519; accepted are",
		"n-zero.pem: not a text file",
		"o-directory.pem: not a regular file",
		"p-dangling.pem: cannot be opened: No such file or directory",
		"q-fifo.pem: not a regular file",
		"r-koblitz.pem: elliptic curve secp256k1",
		"s-pss.pem: key type RSA-PSS; accepted are",
	};
	static char large[KEYRING_FILE_MAX + 1];
	static const char begin[] = "-----BEGIN PUBLIC KEY-----\n";
	static const char end[] = "-----END PUBLIC KEY-----\n";
	struct fixture_directory directory = fixture_directory_make();
	EVP_PKEY *const keys[] = { fixture_ec("P-256"), fixture_rsa(1024), fixture_ec("P-521"),
		key_with_explicit_curve(), rsa_with_exponent(1), rsa_with_exponent(65536),
		EVP_PKEY_Q_keygen(NULL, NULL, "X25519"), fixture_ec("secp256k1"), NULL };
	EVP_PKEY_CTX *pss = EVP_PKEY_CTX_new_from_name(NULL, "RSA-PSS", NULL);
	EVP_PKEY *pss_key = NULL;
	struct keyring *ring = NULL;
	struct told told = { "", 0 };
	struct ota_why why = { "" };
	char path[512];
	char text[256];

	(void)state;
	fixture_write_private(&directory, "a-private.pem", keys[0]);
	fixture_write_public(&directory, "b-weak.pem", keys[1]);
	fixture_write_public(&directory, "c-curve.pem", keys[2]);
	fixture_write_public(&directory, "d-explicit.pem", keys[3]);
	fixture_write_public(&directory, "e-one.pem", keys[4]);
	fixture_write_public(&directory, "f-even.pem", keys[5]);
	fixture_write(&directory, "g-empty.pub", "", 0);
	memset(large, 'x', sizeof(large));
	fixture_write(&directory, "h-large.pub", large, sizeof(large));
	fixture_write(&directory, "i-noise.pem", "hello", 5);
	(void)snprintf(text, sizeof(text), "%sAAAA\n%s%sAAAA\n%s", begin, end, begin, end);
	fixture_write(&directory, "j-two.pem", text, strlen(text));
	(void)snprintf(text, sizeof(text), "%sAAAA\n%s", begin, end);
	fixture_write(&directory, "k-broken.pem", text, strlen(text));
	fixture_write(&directory, "l-certificate.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n", 33);
	fixture_write_public(&directory, "m-type.pem", keys[6]);
	fixture_write(&directory, "n-zero.pem", "a\0b", 3);
	assert_int_equal(mkdir(fixture_path(&directory, "o-directory.pem", path), 0700), 0);
	assert_int_equal(symlink("nowhere", fixture_path(&directory, "p-dangling.pem", path)), 0);
	assert_int_equal(mkfifo(fixture_path(&directory, "q-fifo.pem", path), 0600), 0);
	fixture_write_public(&directory, "r-koblitz.pem", keys[7]);
	assert_int_equal(EVP_PKEY_keygen_init(pss), 1);
	assert_int_equal(EVP_PKEY_CTX_set_rsa_keygen_bits(pss, 2048), 1);
	assert_int_equal(EVP_PKEY_generate(pss, &pss_key), 1);
	fixture_write_public(&directory, "s-pss.pem", pss_key);
	/* These are not even looked at. */
	fixture_write(&directory, "README", "x", 1);
	fixture_write(&directory, ".hidden.pem", "x", 1);
	fixture_write(&directory, ".pem", "x", 1);

	assert_int_equal(keyring_load(directory.path, note, &told, &ring, &why), OTA_ERR_INVALID);
	assert_non_null(strstr(why.text, "no usable key"));
	assert_null(ring);
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		if (!strstr(told.text, expected[i])) {
			fail_msg("not told: %s; told:\n%s", expected[i], told.text);
		}
	}
	assert_int_equal(told.count, sizeof(expected) / sizeof(expected[0]));
	assert_int_equal(ERR_peek_error(), 0);

	assert_int_equal(rmdir(fixture_path(&directory, "o-directory.pem", path)), 0);
	fixture_directory_remove(&directory);
	for (size_t i = 0; keys[i]; i++) {
		EVP_PKEY_free(keys[i]);
	}
	EVP_PKEY_free(pss_key);
	EVP_PKEY_CTX_free(pss);
}

static void same_key_counts_once(void **state)
{
	struct fixture_directory directory = fixture_directory_make();
	EVP_PKEY *key = fixture_ec("P-256");
	struct keyring *ring = NULL;
	struct told told = { "", 0 };

	(void)state;
	fixture_write_public(&directory, "a.pem", key);
	fixture_write_public(&directory, "b.pub", key);
	/* The same point, written in its other encoding: another key id, the same key. */
	assert_int_equal(EVP_PKEY_set_utf8_string_param(key, "point-format", "compressed"), 1);
	fixture_write_public(&directory, "c.pem", key);
	assert_int_equal(keyring_load(directory.path, note, &told, &ring, NULL), OTA_OK);
	assert_int_equal(keyring_count(ring), 1);
	assert_string_equal(keyring_description(ring, 0), "a.pem (ECDSA P-256)");
	assert_string_equal(
		told.text, "b.pub: the same key as in a.pem\nc.pem: the same key as in a.pem\n");
	keyring_free(ring);
	fixture_directory_remove(&directory);
	EVP_PKEY_free(key);
}

static void fingerprint_depends_on_the_keys_only(void **state)
{
	EVP_PKEY *const keys[] = { fixture_ec("P-256"), fixture_ed25519(), fixture_ec("P-384") };
	EVP_PKEY *const turned[] = { keys[2], keys[0], keys[1] };
	struct keyring *first = fixture_keyring(keys, 3);
	struct keyring *same = fixture_keyring(turned, 3);
	struct keyring *fewer = fixture_keyring(keys, 2);

	(void)state;
	assert_int_equal(strlen(keyring_fingerprint(first)), 64);
	assert_string_equal(keyring_fingerprint(first), keyring_fingerprint(same));
	assert_string_not_equal(keyring_fingerprint(first), keyring_fingerprint(fewer));
	for (size_t i = 0; i < 3; i++) {
		assert_string_equal(keyring_keyid(first, i), keyring_keyid(same, i));
		assert_true(i == 0 || strcmp(keyring_keyid(first, i - 1), keyring_keyid(first, i)) < 0);
		EVP_PKEY_free(keys[i]);
	}
	keyring_free(first);
	keyring_free(same);
	keyring_free(fewer);
}

static void missing_directories_are_told_apart(void **state)
{
	struct fixture_directory directory = fixture_directory_make();
	struct keyring *ring = NULL;
	struct ota_why why = { "" };
	char path[512];

	(void)state;
	assert_int_equal(keyring_load(fixture_path(&directory, "no", path), NULL, NULL, &ring, &why),
		OTA_ERR_NOT_FOUND);
	assert_non_null(strstr(why.text, "No such file or directory"));
	fixture_write(&directory, "file", "x", 1);
	assert_int_equal(keyring_load(fixture_path(&directory, "file", path), NULL, NULL, &ring, NULL),
		OTA_ERR_NOT_FOUND);
	assert_int_equal(keyring_load(directory.path, NULL, NULL, &ring, &why), OTA_ERR_INVALID);
	fixture_directory_remove(&directory);
}

/* Run a command and wait; its arguments end with NULL. */
static void run(const char *const *arguments, const char *output)
{
	char *copies[24] = { NULL };
	posix_spawn_file_actions_t actions;
	pid_t pid = 0;
	int status = -1;

	for (size_t i = 0; arguments[i]; i++) {
		copies[i] = strdup(arguments[i]);
		assert_non_null(copies[i]);
	}
	assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
	assert_int_equal(posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0), 0);
	if (output) {
		assert_int_equal(posix_spawn_file_actions_addopen(
							 &actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0600),
			0);
	}
	assert_int_equal(posix_spawnp(&pid, copies[0], &actions, NULL, copies, environ), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status != 0) {
		fail_msg("%s %s ended with %d", arguments[0], arguments[1], status);
	}
	(void)posix_spawn_file_actions_destroy(&actions);
	for (size_t i = 0; copies[i]; i++) {
		free(copies[i]);
	}
}

static size_t read_file(const char *path, uint8_t *bytes, size_t size)
{
	FILE *file = fopen(path, "rb");
	size_t length = 0;

	assert_non_null(file);
	length = fread(bytes, 1, size, file);
	(void)fclose(file);
	return length;
}

/* Keys and signatures as an operator makes them, with the commands of the manual. */
static void agrees_with_the_openssl_command(void **state)
{
	static const char *const options[][2] = {
		{ "RSA", "rsa_keygen_bits:2048" }, { "EC", "ec_paramgen_curve:P-256" },
		{ "EC", "ec_paramgen_curve:P-384" },
		{ "RSA-PSS", NULL }, /* a plain RSA key, signing with PSS */
	};
	static const char firmware[] = "firmware";

	(void)state;
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		struct fixture_directory directory = fixture_directory_make();
		const bool pss = !options[i][1];
		char private_key[512];
		char public_key[512];
		char file[512];
		char signature[512];
		char der[512];
		uint8_t bytes[1024];
		uint8_t digest[32];
		char keyid[KEYRING_KEYID_SIZE] = "";
		struct keyring *ring = NULL;
		size_t length = 0;

		(void)fixture_path(&directory, "private.key", private_key);
		(void)fixture_path(&directory, "public.pem", public_key);
		(void)fixture_path(&directory, "firmware.bin", file);
		(void)fixture_path(&directory, "firmware.sig", signature);
		(void)fixture_path(&directory, "public.der", der);
		fixture_write(&directory, "firmware.bin", firmware, strlen(firmware));
		run((const char *const[]){ "openssl", "genpkey", "-algorithm", pss ? "RSA" : options[i][0],
				"-pkeyopt", pss ? "rsa_keygen_bits:3072" : options[i][1], "-out", private_key,
				NULL },
			NULL);
		run((const char *const[]){ "openssl", "pkey", "-in", private_key, "-pubout", "-out",
				public_key, NULL },
			NULL);
		run((const char *const[]){ "openssl", "pkey", "-pubin", "-in", public_key, "-outform",
				"DER", "-out", der, NULL },
			NULL);
		if (pss) {
			run((const char *const[]){ "openssl", "dgst", "-sha256", "-sign", private_key,
					"-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:20", "-out",
					signature, file, NULL },
				NULL);
		} else {
			run((const char *const[]){ "openssl", "dgst", "-sha256", "-sign", private_key, "-out",
					signature, file, NULL },
				NULL);
		}
		assert_int_equal(keyring_load(directory.path, NULL, NULL, &ring, NULL), OTA_OK);
		length = read_file(signature, bytes, sizeof(bytes));
		assert_int_equal(
			EVP_Digest(firmware, strlen(firmware), digest, NULL, EVP_sha256(), NULL), 1);
		assert_true(keyring_verify_digest(ring, 0, digest, bytes, length));
		assert_true(
			keyring_verify(ring, 0, (const uint8_t *)firmware, strlen(firmware), bytes, length));
		digest[0] ^= 1;
		assert_false(keyring_verify_digest(ring, 0, digest, bytes, length));

		length = read_file(der, bytes, sizeof(bytes));
		assert_int_equal(EVP_Digest(bytes, length, digest, NULL, EVP_sha256(), NULL), 1);
		for (size_t d = 0; d < sizeof(digest); d++) {
			(void)snprintf(keyid + 2 * d, 3, "%02x", digest[d]);
		}
		assert_string_equal(keyring_keyid(ring, 0), keyid);
		keyring_free(ring);
		fixture_directory_remove(&directory);
	}
}

/* Ed25519 the same way; the command signs whole messages only with -rawin. */
static void agrees_with_the_openssl_command_for_ed25519(void **state)
{
	struct fixture_directory directory = fixture_directory_make();
	char private_key[512];
	char public_key[512];
	char file[512];
	char signature[512];
	uint8_t bytes[128];
	size_t length = 0;
	struct keyring *ring = NULL;

	(void)state;
	(void)fixture_path(&directory, "private.key", private_key);
	(void)fixture_path(&directory, "public.pem", public_key);
	(void)fixture_path(&directory, "message", file);
	(void)fixture_path(&directory, "message.sig", signature);
	fixture_write(&directory, "message", "message", 7);
	run((const char *const[]){ "openssl", "genpkey", "-algorithm", "ed25519", "-out", private_key,
			NULL },
		NULL);
	run((const char *const[]){ "openssl", "pkey", "-in", private_key, "-pubout", "-out", public_key,
			NULL },
		NULL);
	run((const char *const[]){ "openssl", "pkeyutl", "-sign", "-rawin", "-inkey", private_key,
			"-in", file, "-out", signature, NULL },
		NULL);
	assert_int_equal(keyring_load(directory.path, NULL, NULL, &ring, NULL), OTA_OK);
	assert_string_equal(keyring_description(ring, 0), "public.pem (Ed25519)");
	length = read_file(signature, bytes, sizeof(bytes));
	assert_int_equal(length, 64);
	assert_true(keyring_verify(ring, 0, (const uint8_t *)"message", 7, bytes, length));
	assert_false(keyring_verify(ring, 0, (const uint8_t *)"messagf", 7, bytes, length));
	assert_false(keyring_signs_digests(ring, 0));
	keyring_free(ring);
	fixture_directory_remove(&directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_algorithm_signs_messages_and_digests),
		cmocka_unit_test(wrong_arguments_never_verify),
		cmocka_unit_test(other_digests_do_not_verify),
		cmocka_unit_test(unusable_files_are_told_with_the_reason),
		cmocka_unit_test(same_key_counts_once),
		cmocka_unit_test(fingerprint_depends_on_the_keys_only),
		cmocka_unit_test(missing_directories_are_told_apart),
		cmocka_unit_test(agrees_with_the_openssl_command),
		cmocka_unit_test(agrees_with_the_openssl_command_for_ed25519),
	};

	return cmocka_run_group_tests_name("keyring", tests, NULL, NULL);
}
