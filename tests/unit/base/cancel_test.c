/* What becomes of a thread's cancellation, seen with the functions that set it. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "ota/base/cancel.h"

static void look(int *state, int *type)
{
	assert_int_equal(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, state), 0);
	assert_int_equal(pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, type), 0);
	assert_int_equal(pthread_setcanceltype(*type, NULL), 0);
	assert_int_equal(pthread_setcancelstate(*state, NULL), 0);
}

static void test_never_and_back(void **context)
{
	struct cancel_saved saved = { 0 };
	int state;
	int type;

	(void)context;
	cancel_never(&saved);
	look(&state, &type);
	assert_int_equal(state, PTHREAD_CANCEL_DISABLE);
	assert_int_equal(type, PTHREAD_CANCEL_ASYNCHRONOUS);

	cancel_restore(&saved);
	look(&state, &type);
	assert_int_equal(state, PTHREAD_CANCEL_ENABLE);
	assert_int_equal(type, PTHREAD_CANCEL_DEFERRED);
}

static void test_restore_without_never(void **context)
{
	struct cancel_saved saved = { 0 };
	int state;
	int type;

	(void)context;
	cancel_restore(&saved);
	look(&state, &type);
	assert_int_equal(state, PTHREAD_CANCEL_ENABLE);
	assert_int_equal(type, PTHREAD_CANCEL_DEFERRED);
}

static void *work(void *argument)
{
	struct cancel_saved saved = { 0 };
	struct timespec moment = { .tv_nsec = 1000000 };
	int *stage = argument;

	cancel_never(&saved);
	__atomic_store_n(&stage[0], 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&stage[1], __ATOMIC_SEQ_CST) == 0) {
		(void)nanosleep(&moment, NULL); /* a cancellation point */
	}
	__atomic_store_n(&stage[0], 2, __ATOMIC_SEQ_CST);
	return stage;
}

static void test_a_cancelled_thread_goes_on(void **context)
{
	struct timespec moment = { .tv_nsec = 1000000 };
	int stage[2] = { 0, 0 };
	void *result = NULL;
	pthread_t thread;

	(void)context;
	assert_int_equal(pthread_create(&thread, NULL, work, stage), 0);
	while (__atomic_load_n(&stage[0], __ATOMIC_SEQ_CST) == 0) {
		(void)nanosleep(&moment, NULL);
	}
	assert_int_equal(pthread_cancel(thread), 0);
	moment.tv_nsec = 20000000;
	(void)nanosleep(&moment, NULL);
	__atomic_store_n(&stage[1], 1, __ATOMIC_SEQ_CST);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_ptr_equal(result, stage);
	assert_int_equal(stage[0], 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_never_and_back),
		cmocka_unit_test(test_restore_without_never),
		cmocka_unit_test(test_a_cancelled_thread_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
