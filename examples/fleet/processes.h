/*
 * processes - a run in one process, or shared among several with one that watches them.
 */
#pragma once

#include "fleet.h"

/* Run all devices until the end of the run; the exit status of the program.  The setup's console
 * is the one that prints. */
int processes_run(const struct fleet_setup *setup);
