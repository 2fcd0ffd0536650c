/*
 * program - one run of a command, whichever program it was typed into.
 *
 * Thread: main.
 */
#pragma once

#include "ota/ctl/options.h"

/* What stands before the command in usage lines; set it before program_run(). */
extern const char *program_usage;

/*
 * Run the command line: connection options, a command, its arguments; argv[0] is the first of them.  `connection` has the defaults,
 * see connection_init(), and gets the options.  Returns EXIT_DONE, EXIT_NOT_DONE or EXIT_USAGE; whatever went wrong is printed.
 * Needs mosquitto_lib_init().
 */
int program_run(struct connection *connection, int argc, char **argv);
