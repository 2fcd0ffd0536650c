/* ota_device CONFIGURATION: the agent of one device. */
#include <stdio.h>
#include <stdlib.h>

#include "agent.h"
#include "config.h"
#include "link.h"
#include "notice.h"
#include "platform.h"
#include "source.h"

int main(int argc, char **argv)
{
	static struct config config;

	if (argc != 2) {
		fprintf(stderr, "usage: ota_device CONFIGURATION\n");
		return 2;
	}
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	if (!config_load(&config, argv[1]) || !platform_open(&config) || !notice_load_keys(&config)
		|| !source_open(&config) || !link_open(&config)) {
		return 2;
	}
	agent_run(&config);
}
