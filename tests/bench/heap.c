/*
 * heap - preloaded into a broker: tells how much of its heap is in use, so that bytes can be counted for each device.
 *
 * On SIGRTMIN writes malloc_info() of all arenas to the file named by HEAP_FILE, by renaming, so that a reader never sees half of
 * it.  A thread of its own does that: the signal may come in the middle of an allocation.
 */
#include <malloc.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static sem_t asked;

static void ask(int number)
{
	(void)number;
	(void)sem_post(&asked);
}

static void *serve(void *context)
{
	const char *path = getenv("HEAP_FILE");
	char name[4096];

	(void)context;
	while (path != NULL) {
		FILE *file;

		if (sem_wait(&asked) != 0
			|| snprintf(name, sizeof(name), "%s.new", path) >= (int)sizeof(name)
			|| (file = fopen(name, "w")) == NULL) {
			continue;
		}
		(void)malloc_info(0, file);
		if (fclose(file) == 0) {
			(void)rename(name, path);
		}
	}
	return NULL;
}

__attribute__((constructor)) static void begin(void)
{
	struct sigaction action = { .sa_handler = ask, .sa_flags = SA_RESTART };
	pthread_t thread;

	sigemptyset(&action.sa_mask);
	if (sem_init(&asked, 0, 0) == 0 && sigaction(SIGRTMIN, &action, NULL) == 0
		&& pthread_create(&thread, NULL, serve, NULL) == 0) {
		(void)pthread_detach(thread);
	}
}
