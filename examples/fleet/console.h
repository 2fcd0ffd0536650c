/*
 * console - what a run says on standard output: the first line, the live line, tables, colours.
 *
 * On a terminal one line that is rewritten, in colour unless NO_COLOR is set; anywhere else a plain
 * line every five seconds.  Thread: the one that prints.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ledger.h"

struct console {
	uint64_t next;
	bool quiet;
	bool live;
	bool colour;
	bool announced; /* that all are connected */
};

enum paint {
	PAINT_PLAIN,
	PAINT_GOOD,
	PAINT_BAD,
	PAINT_ODD,
	PAINT_DIM,
	PAINT_COUNT
};

/* Look where standard output goes, and say what is about to run. */
void console_open(struct console *console, const struct ledger *ledger);

/* Called at every tick; prints when it is time. */
void console_tick(struct console *console, const struct ledger *ledger);

/* How things stand: versions, events, connections, memory.  SIGUSR1, and part of the summary. */
void console_table(const struct console *console, const struct ledger *ledger);

/* Take the live line away before something else is printed. */
void console_clear(const struct console *console);

/* Begin (or, with PAINT_PLAIN, end) a colour; "" where there are none. */
const char *console_paint(const struct console *console, enum paint paint);

/* The name of an enum device_phase. */
const char *console_phase_name(uint8_t phase);
