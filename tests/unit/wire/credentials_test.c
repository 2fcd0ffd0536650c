#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "ota/wire/credentials.h"

static const char GOOD[] = "# of the bucket\n"
						   "[firmware]\r\n"
						   "aws_access_key_id = AKIAIOSFODNN7EXAMPLE\n"
						   "\taws_secret_access_key=wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY= \n"
						   "region = eu-central-1\n"
						   "\n"
						   "; the other one\n"
						   "[ lab.2 ]\n"
						   "region=garage\n"
						   "aws_access_key_id=GK1\n"
						   "aws_secret_access_key=x";

static void a_file_with_two(void **state)
{
	struct credentials *found = NULL;
	const struct credential *one;
	struct ota_why why = { "" };

	(void)state;
	assert_int_equal(credentials_parse(GOOD, strlen(GOOD), &found, &why), OTA_OK);
	assert_int_equal(found->count, 2);
	one = credentials_find(found, "firmware");
	assert_non_null(one);
	assert_string_equal(one->key_id, "AKIAIOSFODNN7EXAMPLE");
	assert_string_equal(one->secret, "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY=");
	assert_string_equal(one->region, "eu-central-1");
	one = credentials_find(found, "lab.2");
	assert_non_null(one);
	assert_string_equal(one->secret, "x");
	assert_null(credentials_find(found, "Firmware"));
	assert_null(credentials_find(found, ""));
	assert_null(credentials_find(NULL, "firmware"));
	credentials_free(found);
}

#define BODY "aws_access_key_id=A\naws_secret_access_key=hush\nregion=r\n"

static void what_is_refused(void **state)
{
	static const struct {
		const char *text;
		const char *reason;
	} cases[] = {
		{ "", "there is no [name]" },
		{ "# nothing\n\n", "there is no [name]" },
		{ BODY, "line 1: it stands above" },
		{ "[a]\n", "[a] has no aws_access_key_id" },
		{ "[a]\naws_access_key_id=A\nregion=r\n", "[a] has no aws_secret_access_key" },
		{ "[a]\naws_access_key_id=A\naws_secret_access_key=hush\n", "[a] has no region" },
		{ "[a]\n" BODY "[a]\n" BODY, "line 5: [a] is there already" },
		{ "[a\n" BODY, "line 1: accepted is [name]" },
		{ "[]\n" BODY, "line 1: accepted is [name]" },
		{ "[profile a]\n" BODY, "line 1: accepted is [name]" },
		{ "[a]\nregion=r\nregion=r\n", "line 3: region is there twice" },
		{ "[a]\nregion=\n", "line 2: region: accepted are" },
		{ "[a]\nregion=a/b\n", "line 2: region: accepted are" },
		{ "[a]\naws_access_key_id=a/b\n", "line 2: aws_access_key_id: accepted are" },
		{ "[a]\naws_access_key_id=a b\n", "line 2: aws_access_key_id: accepted are" },
		{ "[a]\naws_secret_access_key=hush hush\n", "line 2: aws_secret_access_key: accepted" },
		{ "[a]\naws_secret_access_key=hush\xc3\xbc\n", "line 2: aws_secret_access_key: accepted" },
		{ "[a]\naws_session_token=hush\n", "line 2: aws_session_token is not known" },
		{ "[a]\nhush/Hush+=\n", "line 2: this name is not known" },
		{ "[a]\nhush\n", "line 2: accepted are [name]" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct credentials *found = NULL;
		struct ota_why why = { "" };

		assert_int_equal(
			credentials_parse(cases[i].text, strlen(cases[i].text), &found, &why), OTA_ERR_INVALID);
		if (!strstr(why.text, cases[i].reason)) {
			fail_msg("%s: %s", cases[i].text, why.text);
		}
		/* Whatever is wrong, no value is shown. */
		assert_null(strstr(why.text, "hush"));
		assert_null(found);
	}
}

static void bounds(void **state)
{
	static char large[CREDENTIALS_FILE_MAX + 2];
	char text[1024];
	struct credentials *found = NULL;
	struct ota_why why = { "" };
	size_t length = 0;

	(void)state;
	memset(large, '\n', sizeof(large));
	assert_int_equal(
		credentials_parse(large, CREDENTIALS_FILE_MAX + 1, &found, &why), OTA_ERR_INVALID);
	assert_non_null(strstr(why.text, "65536"));
	snprintf(text, sizeof(text), "[%065d]\n", 1);
	assert_int_equal(credentials_parse(text, strlen(text), &found, &why), OTA_ERR_INVALID);
	snprintf(text, sizeof(text), "[a]\naws_secret_access_key=%0257d\n", 1);
	assert_int_equal(credentials_parse(text, strlen(text), &found, &why), OTA_ERR_INVALID);
	snprintf(text, sizeof(text),
		"[%064d]\naws_access_key_id=%0128d\naws_secret_access_key=%0256d\nregion=%064d", 1, 1, 1,
		1);
	assert_int_equal(credentials_parse(text, strlen(text), &found, &why), OTA_OK);
	credentials_free(found);
	found = NULL;
	for (int i = 0; i <= CREDENTIALS_MAX; i++) {
		length += (size_t)snprintf(large + length, sizeof(large) - length, "[c%d]\n" BODY, i);
	}
	assert_int_equal(credentials_parse(large, length, &found, &why), OTA_ERR_INVALID);
	assert_non_null(strstr(why.text, "up to 64"));
}

static void modes_of_the_file(void **state)
{
	static const struct {
		mode_t mode;
		enum ota_err err;
	} cases[] = {
		{ 0600, OTA_OK },
		{ 0400, OTA_OK },
		{ 0640, OTA_OK },
		{ 0660, OTA_ERR_INVALID },
		{ 0644, OTA_ERR_INVALID },
		{ 0604, OTA_ERR_INVALID },
		{ 0602, OTA_ERR_INVALID },
	};
	char folder[] = "/tmp/ota-credentials.XXXXXX";
	char path[64];
	struct credentials *found = NULL;
	struct ota_why why = { "" };
	FILE *file;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/file", folder);
	assert_int_equal(credentials_read(path, &found, &why), OTA_ERR_IO);
	assert_int_equal(credentials_read(folder, &found, &why), OTA_ERR_INVALID);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(GOOD, file) >= 0);
	assert_int_equal(fclose(file), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		why.text[0] = '\0';
		assert_int_equal(chmod(path, cases[i].mode), 0);
		assert_int_equal(credentials_read(path, &found, &why), cases[i].err);
		if (cases[i].err == OTA_OK) {
			assert_int_equal(found->count, 2);
			credentials_free(found);
			found = NULL;
		} else {
			assert_non_null(strstr(why.text, "chmod o-rwx,g-w"));
		}
	}
	if (geteuid() == 0) { /* of a third user */
		assert_int_equal(chmod(path, 0600), 0);
		assert_int_equal(chown(path, 65534, 65534), 0);
		assert_int_equal(credentials_read(path, &found, &why), OTA_ERR_INVALID);
		assert_non_null(strstr(why.text, "belongs to user 65534"));
	}
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_with_two),
		cmocka_unit_test(what_is_refused),
		cmocka_unit_test(bounds),
		cmocka_unit_test(modes_of_the_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
