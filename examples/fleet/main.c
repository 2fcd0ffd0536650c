/*
 * mosquitto_ota_fleet - a fleet of simulated devices, as real MQTT clients with A/B slots.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mosquitto.h>

#include "fleet.h"
#include "image.h"
#include "options.h"

enum {
	STATUS_USAGE = 2
};

static int run_fleet(const struct options *options)
{
	struct fleet fleet = { 0 };
	int status = EXIT_FAILURE;

	curl_global_init(CURL_GLOBAL_DEFAULT);
	mosquitto_lib_init();
	if (fleet_open(&fleet, options)) {
		fleet_run(&fleet);
		status = !options->until_version || fleet.reached ? EXIT_SUCCESS : EXIT_FAILURE;
		if (status != EXIT_SUCCESS) {
			fprintf(stderr, "mosquitto_ota_fleet: not every device reached version %s\n",
				options->until_version);
		}
	}
	fleet_close(&fleet);
	mosquitto_lib_cleanup();
	curl_global_cleanup();
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
