/* mosquitto_ota - operators' commands for the broker plugin, from a shell. */
#include <stdio.h>

#include <mosquitto.h>

#include "ota/ctl/options.h"
#include "ota/ctl/program.h"
#include "ota/ctl/verb.h"

int main(int argc, char **argv)
{
	struct connection connection;
	struct ota_why why = { "" };
	int status = EXIT_USAGE;

	(void)mosquitto_lib_init();
	if (connection_init(&connection, &why)) {
		(void)task_fail("%s", why.text);
	} else {
		status = program_run(&connection, argc > 0 ? argc - 1 : 0, argv + 1);
	}
	connection_free(&connection);
	(void)mosquitto_lib_cleanup();
	return status;
}
