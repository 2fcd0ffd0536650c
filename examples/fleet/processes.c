#include "processes.h"

#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mosquitto.h>

#include "console.h"

struct watch {
	const struct fleet_setup *setup;
	pid_t children[OPTIONS_PROCESSES_MAX]; /* 0: it has ended */
	size_t running;
	int signals;
	bool failed;
};

static int run_share(const struct fleet_setup *setup, size_t number)
{
	struct fleet fleet = { .epoll = -1, .signals = -1 };
	int status = EXIT_FAILURE;

	curl_global_init(CURL_GLOBAL_DEFAULT);
	mosquitto_lib_init();
	if (fleet_open(&fleet, setup, number)) {
		fleet_run(&fleet);
		status = EXIT_SUCCESS;
	}
	fleet_close(&fleet);
	mosquitto_lib_cleanup();
	curl_global_cleanup();
	return status;
}

static void stop_children(const struct watch *watch)
{
	for (size_t i = 0; i < OPTIONS_PROCESSES_MAX; i++) {
		if (watch->children[i] > 0) {
			(void)kill(watch->children[i], SIGTERM);
		}
	}
}

/* The watching process prints; the others only work. */
static bool start_child(struct watch *watch, size_t number)
{
	struct fleet_setup setup = *watch->setup;
	const pid_t parent = getpid();
	const pid_t child = fork();

	if (child == 0) {
		setup.console = NULL;
		(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
		/* The parent may have ended before that. */
		exit(getppid() == parent ? run_share(&setup, number) : EXIT_FAILURE);
	}
	if (child < 0) {
		perror("mosquitto_ota_fleet: processes: cannot start another one");
		return false;
	}
	watch->children[number] = child;
	watch->running++;
	return true;
}

static void bury(struct watch *watch)
{
	int status = 0;
	pid_t child = 0;

	while ((child = waitpid(-1, &status, WNOHANG)) > 0) {
		for (size_t i = 0; i < OPTIONS_PROCESSES_MAX; i++) {
			if (watch->children[i] != child) {
				continue;
			}
			watch->children[i] = 0;
			watch->running--;
			if (WIFSIGNALED(status)) {
				fprintf(stderr,
					"mosquitto_ota_fleet: process %zu was killed by signal %d; its devices are "
					"shown as they were last seen, the others stop\n",
					i + 1, WTERMSIG(status));
			}
			if (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_SUCCESS) {
				watch->failed = true;
				stop_children(watch);
			}
		}
	}
}

static void on_signals(struct watch *watch)
{
	struct signalfd_siginfo info = { 0 };

	while (read(watch->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGUSR1) {
			console_table(watch->setup->console, watch->setup->ledger);
		} else if (info.ssi_signo != SIGCHLD) {
			stop_children(watch);
		}
	}
}

static bool all_reached(const struct ledger *ledger)
{
	for (size_t i = 0; i < ledger->processes; i++) {
		if (!atomic_load(&ledger->boards[i].reached)) {
			return false;
		}
	}
	return true;
}

static bool block_signals(struct watch *watch)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGUSR1);
	sigaddset(&signals, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &signals, NULL) != 0) {
		return false;
	}
	watch->signals = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
	return watch->signals >= 0;
}

static bool run_several(const struct fleet_setup *setup)
{
	const int tick_ms = 100;
	struct watch watch = { .setup = setup, .signals = -1 };
	bool told = false;

	if (!block_signals(&watch)) {
		perror("mosquitto_ota_fleet: cannot wait for signals");
		return false;
	}
	for (size_t i = 0; i < setup->ledger->processes && !watch.failed; i++) {
		watch.failed = !start_child(&watch, i);
	}
	if (watch.failed) {
		stop_children(&watch);
	}
	while (watch.running > 0) {
		struct pollfd poll_for = { .fd = watch.signals, .events = POLLIN };

		(void)poll(&poll_for, 1, tick_ms);
		on_signals(&watch);
		bury(&watch);
		console_tick(setup->console, setup->ledger);
		if (!told && setup->ledger->options->until_version && all_reached(setup->ledger)) {
			told = true;
			stop_children(&watch);
		}
	}
	close(watch.signals);
	return !watch.failed;
}

int processes_run(const struct fleet_setup *setup)
{
	const struct options *options = setup->ledger->options;
	bool well =
		setup->ledger->processes > 1 ? run_several(setup) : run_share(setup, 0) == EXIT_SUCCESS;

	if (well && options->until_version && !all_reached(setup->ledger)) {
		fprintf(stderr, "mosquitto_ota_fleet: not every device reached version %s\n",
			options->until_version);
		well = false;
	}
	return well ? EXIT_SUCCESS : EXIT_FAILURE;
}
