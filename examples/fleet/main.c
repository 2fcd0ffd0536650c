/*
 * mosquitto_ota_fleet - a fleet of simulated devices, as real MQTT clients with A/B slots.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "console.h"
#include "image.h"
#include "options.h"
#include "output.h"
#include "processes.h"
#include "summary.h"

enum {
	STATUS_USAGE = 2
};

static int run_and_tell(const struct fleet_setup *setup)
{
	FILE *csv = output_csv(setup->output);
	int status = EXIT_FAILURE;

	console_open(setup->console, setup->ledger);
	status = processes_run(setup);
	if (!ledger_has_started(setup->ledger)) {
		return status; /* there is nothing to tell, and it has been said why */
	}
	if (!setup->console->quiet) {
		summary_print(setup->console, setup->ledger);
	}
	if (csv && !summary_write_csv(setup->ledger, csv)) {
		fprintf(stderr, "mosquitto_ota_fleet: csv: could not write all of \"%s\"\n",
			setup->ledger->options->csv);
		status = EXIT_FAILURE;
	}
	return status;
}

static int run_fleet(const struct options *options)
{
	struct ledger ledger = { 0 };
	struct console console = { 0 };
	struct fleet_setup setup = { .ledger = &ledger, .console = &console };
	int status = EXIT_FAILURE;

	if (!fleet_raise_file_limit(options) || !ledger_open(&ledger, options)) {
		return EXIT_FAILURE;
	}
	setup.output = output_open(options);
	setup.keyring = options->keys.count ? keyring_load(&options->keys) : NULL;
	if (setup.output && (setup.keyring || options->keys.count == 0)) {
		status = run_and_tell(&setup);
	}
	keyring_free(setup.keyring);
	output_close(setup.output);
	ledger_close(&ledger);
	return status;
}

int main(int argc, char **argv)
{
	struct options options = { 0 };

	if (argc > 1 && strcmp(argv[1], "make-image") == 0) {
		return image_command(argc - 1, argv + 1);
	}
	if (!options_parse(argc, argv, &options)) {
		return STATUS_USAGE;
	}
	if (options.help) {
		options_print_help();
		return EXIT_SUCCESS;
	}
	return run_fleet(&options);
}
