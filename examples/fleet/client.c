#include "client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <mosquitto.h>

#include "common.h"
#include "device.h"
#include "fleet.h"
#include "report.h"

static void on_connect(struct mosquitto *mqtt, void *user, int code)
{
	struct device *device = user;

	(void)mqtt;
	if (code != 0) {
		fleet_note_refusal(device->fleet, mosquitto_connack_string(code));
		return; /* the broker closes the connection */
	}
	device->link = LINK_ONLINE;
	device->failures = 0;
	device->record->connections++;
	timers_cancel(&device->fleet->timers, device->index, TIMER_LINK);
	fleet_note_connected(device->fleet, device);
	device_on_connected(device);
}

static void on_disconnect(struct mosquitto *mqtt, void *user, int code)
{
	struct device *device = user;

	(void)mqtt;
	(void)code;
	device->fd = -1; /* closed, which took it out of the epoll */
	device->watched = 0;
	if (device->link != LINK_OFF) {
		device_on_lost(device);
	}
}

static void on_message(struct mosquitto *mqtt, void *user, const struct mosquitto_message *message)
{
	(void)mqtt;
	if (message->payloadlen >= 0) {
		device_on_message(
			user, message->topic, message->payload, (size_t)message->payloadlen, message->retain);
	}
}

static void on_publish(struct mosquitto *mqtt, void *user, int message)
{
	(void)mqtt;
	device_on_acknowledged(user, message);
}

static void set_up(struct device *device)
{
	const struct options *options = device->fleet->options;
	char id[DEVICE_ID_SIZE] = "";

	device_client_id(device, id, sizeof(id));
	mosquitto_connect_callback_set(device->mqtt, on_connect);
	mosquitto_disconnect_callback_set(device->mqtt, on_disconnect);
	mosquitto_message_callback_set(device->mqtt, on_message);
	mosquitto_publish_callback_set(device->mqtt, on_publish);
	if (options->username) {
		char *username = common_expand(options->username, id, options->fleet);
		char *password =
			options->password ? common_expand(options->password, id, options->fleet) : NULL;

		mosquitto_username_pw_set(device->mqtt, username, password);
		free(username);
		free(password);
	}
	if (options->cafile) {
		int code = mosquitto_tls_set(device->mqtt, options->cafile, NULL, NULL, NULL, NULL);

		if (code != MOSQ_ERR_SUCCESS) {
			fprintf(stderr, "mosquitto_ota_fleet: cafile: cannot use \"%s\": %s\n", options->cafile,
				mosquitto_strerror(code));
			exit(EXIT_FAILURE);
		}
	}
}

/*
 * libmosquitto opens a socket pair for each client, to wake its own select(), which we never use,
 * and goes on without one when there are no descriptors left.  So there are none left, for a
 * moment: a device then costs one descriptor instead of three.
 */
static void refuse_descriptors(bool refuse, struct rlimit *kept)
{
	if (refuse) {
		getrlimit(RLIMIT_NOFILE, kept);

		struct rlimit none = { .rlim_cur = 0, .rlim_max = kept->rlim_max };

		(void)setrlimit(RLIMIT_NOFILE, &none);
	} else {
		(void)setrlimit(RLIMIT_NOFILE, kept);
	}
}

bool client_open(struct device *device)
{
	struct rlimit kept = { 0 };
	char id[DEVICE_ID_SIZE] = "";

	device_client_id(device, id, sizeof(id));
	device->fd = -1;
	refuse_descriptors(true, &kept);
	device->mqtt = mosquitto_new(id, !device->fleet->options->persistent, device);
	refuse_descriptors(false, &kept);
	if (!device->mqtt) {
		fprintf(stderr, "mosquitto_ota_fleet: cannot create the client \"%s\"\n", id);
		return false;
	}
	set_up(device);
	return true;
}

void client_close(struct device *device)
{
	if (device->mqtt) {
		mosquitto_destroy(device->mqtt);
		device->mqtt = NULL;
	}
	report_forget(device);
}

void client_reset(struct device *device)
{
	struct rlimit kept = { 0 };
	char id[DEVICE_ID_SIZE] = "";

	device_client_id(device, id, sizeof(id));
	device->link = LINK_OFF;
	device->unacked = 0;
	report_forget(device);
	device->awaited = 0;
	device->fd = -1;
	device->watched = 0;
	refuse_descriptors(true, &kept);
	int code =
		mosquitto_reinitialise(device->mqtt, id, !device->fleet->options->persistent, device);
	refuse_descriptors(false, &kept);
	if (code != MOSQ_ERR_SUCCESS) {
		fputs("mosquitto_ota_fleet: out of memory\n", stderr);
		exit(EXIT_FAILURE);
	}
	set_up(device);
}

/* Ask the epoll for what the client wants now; cheap when nothing changed. */
static void watch(struct device *device)
{
	int fd = mosquitto_socket(device->mqtt);
	uint32_t wanted =
		device->stalled ? 0u : EPOLLIN | (mosquitto_want_write(device->mqtt) ? EPOLLOUT : 0u);
	struct epoll_event event = { .events = wanted, .data.u64 = device->index };

	if (fd < 0 || (fd == device->fd && wanted == device->watched)) {
		return;
	}
	if (epoll_ctl(
			device->fleet->epoll, fd == device->fd ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event)
		!= 0) {
		perror("mosquitto_ota_fleet: epoll");
		exit(EXIT_FAILURE);
	}
	device->fd = fd;
	device->watched = wanted;
}

void client_connect(struct device *device)
{
	const struct options *options = device->fleet->options;

	device->link = LINK_CONNECTING;
	device->fd = -1;
	device->watched = 0;

	const struct text_list *bind = &options->bind;
	int code = mosquitto_connect_bind_async(device->mqtt, options->host, (int)options->port,
		(int)options->keepalive, bind->count ? bind->items[device->number % bind->count] : NULL);

	if (code != MOSQ_ERR_SUCCESS && mosquitto_socket(device->mqtt) < 0) {
		fleet_note_failure(device->fleet, code);
		device_on_lost(device);
		return;
	}
	/* A broker that is too busy to accept drops packets, and TCP waits longer for each. */
	timers_set(&device->fleet->timers, device->index, TIMER_LINK,
		common_now_ms() + options->connect_timeout);
	watch(device);
}

void client_disconnect(struct device *device)
{
	(void)mosquitto_disconnect(device->mqtt);
	watch(device);
}

void client_stall(struct device *device, bool stall)
{
	device->stalled = stall;
	watch(device);
}

void client_drop(struct device *device)
{
	int fd = mosquitto_socket(device->mqtt);

	if (fd >= 0) {
		(void)shutdown(fd, SHUT_RDWR);
	}
}

/* Give up a connection before the session began.  The next attempt closes the socket. */
static void abandon(struct device *device, int mosquitto_code)
{
	struct epoll_event none = { 0 };
	int fd = mosquitto_socket(device->mqtt);

	if (fd >= 0) {
		(void)epoll_ctl(device->fleet->epoll, EPOLL_CTL_DEL, fd, &none);
	}
	device->fd = -1;
	device->watched = 0;
	fleet_note_failure(device->fleet, mosquitto_code);
	device_on_lost(device);
}

void client_give_up(struct device *device)
{
	errno = ETIMEDOUT;
	abandon(device, MOSQ_ERR_ERRNO);
}

void client_on_events(struct device *device, uint32_t events)
{
	int code = MOSQ_ERR_SUCCESS;

	if (mosquitto_socket(device->mqtt) < 0) {
		return; /* closed by an event handled before this one */
	}
	if (events & EPOLLOUT) {
		code = mosquitto_loop_write(device->mqtt, 1);
	}
	if (code == MOSQ_ERR_SUCCESS && (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
		&& mosquitto_socket(device->mqtt) >= 0) {
		code = mosquitto_loop_read(device->mqtt, 1);
	}
	if (code != MOSQ_ERR_SUCCESS && device->link == LINK_CONNECTING) {
		fleet_note_failure(device->fleet, code);
	}
	if (device->link == LINK_CONNECTING && (events & (EPOLLERR | EPOLLHUP))
		&& mosquitto_socket(device->mqtt) >= 0) {
		/* With TLS libmosquitto takes this for "try again", for ever. */
		abandon(device, MOSQ_ERR_CONN_REFUSED);
		return;
	}
	watch(device);
}

void client_maintain(struct device *device)
{
	if (device->fd >= 0 && mosquitto_socket(device->mqtt) >= 0) {
		(void)mosquitto_loop_misc(device->mqtt);
		watch(device);
	}
}

int client_publish(struct device *device, const char *id, const char *text, size_t size)
{
	const struct options *options = device->fleet->options;
	int message = 0;
	char *topic = common_expand(options->status_topic, id, options->fleet);
	/* Without a connection the message still waits in the library's queue. */
	int code = mosquitto_publish(device->mqtt, &message, topic, (int)size, text, 1, false);

	free(topic);
	if (code != MOSQ_ERR_SUCCESS && code != MOSQ_ERR_NO_CONN && code != MOSQ_ERR_CONN_LOST) {
		fleet_note_failure(device->fleet, code);
		return 0;
	}
	device->unacked++;
	device->record->reports++;
	watch(device);
	return message;
}

void client_subscribe(struct device *device)
{
	const struct options *options = device->fleet->options;
	char id[DEVICE_ID_SIZE] = "";

	device_client_id(device, id, sizeof(id));
	for (size_t i = 0; i < options->topics.count; i++) {
		char *topic = common_expand(options->topics.items[i], id, options->fleet);

		(void)mosquitto_subscribe(device->mqtt, NULL, topic, 1);
		free(topic);
	}
}
