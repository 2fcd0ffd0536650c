#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "ota/base/descriptors.h"

struct talk {
	int kept[2];
	int left;
	bool own;
	bool sees_kept;
	bool sees_left;
	int opened;
};

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void *leave(void *argument)
{
	struct talk *talk = argument;
	int keep[3] = { talk->kept[1], -1, talk->kept[0] };
	const uint64_t one = 1;

	talk->own = descriptors_own(keep, 3);
	talk->sees_kept = is_open(STDERR_FILENO) && is_open(talk->kept[0]) && is_open(talk->kept[1])
		&& write(talk->kept[1], &one, sizeof(one)) == sizeof(one);
	talk->sees_left = is_open(talk->left);
	talk->opened = eventfd(0, EFD_CLOEXEC);
	return NULL;
}

static void test_own_table(void **state)
{
	struct talk talk = { .left = eventfd(0, EFD_CLOEXEC) };
	uint64_t value = 0;
	pthread_t thread;
	(void)state;

	talk.kept[0] = eventfd(0, EFD_CLOEXEC);
	talk.kept[1] = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(pthread_create(&thread, NULL, leave, &talk), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	if (!talk.own) { /* nothing has changed then */
		assert_true(talk.sees_left);
		skip();
	}
	assert_true(talk.sees_kept);
	assert_false(talk.sees_left);
	/* Numbers are free in its table that are taken in ours. */
	assert_true(talk.opened >= 0 && talk.opened <= talk.left);
	assert_true(is_open(talk.left));
	assert_int_equal(read(talk.kept[1], &value, sizeof(value)), sizeof(value));
	assert_int_equal(value, 1);
	assert_int_equal(close(talk.left), 0);
	assert_int_equal(close(talk.kept[0]), 0);
	assert_int_equal(close(talk.kept[1]), 0);
}

static void test_too_many(void **state)
{
	int keep[DESCRIPTORS_MAX + 1] = { 0 };
	(void)state;

	assert_false(descriptors_own(keep, DESCRIPTORS_MAX + 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own_table),
		cmocka_unit_test(test_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
