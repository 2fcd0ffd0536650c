/*
 * summary - what became of the devices, by profile on the console and one by one in a CSV.
 *
 * After the run; the ledger does not change any more.  Thread: the one that prints.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "console.h"
#include "ledger.h"

/* Print the table of profiles, and that of console_table(). */
void summary_print(const struct console *console, const struct ledger *ledger);

/* Write a line for each device; false when not all of it could be written. */
bool summary_write_csv(const struct ledger *ledger, FILE *file) __attribute__((warn_unused_result));
