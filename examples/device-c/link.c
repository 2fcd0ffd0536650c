#include "link.h"

#include <stdio.h>
#include <string.h>

#include <mosquitto.h>

#include "json.h"
#include "platform.h"
#include "source.h"

enum {
	INBOX = 4 /* the broker repeats what did not fit */
};

static const uint64_t pause_max_ms = 60000;

static struct mosquitto *client;
static const struct config *settings;
static char inbox[INBOX][NOTICE_MAX + 2]; /* one more: too long is seen, and answered */
static size_t sizes[INBOX];
static unsigned first, waiting, session;
static bool up, refused;
static int acknowledged;
static uint64_t retry_at, pause_ms = 1000;

/* A thousand devices that lose one broker must not come back in the same second. */
static void set_retry(void)
{
	retry_at = platform_now_ms() + pause_ms / 2 + platform_random() % pause_ms;
	pause_ms = pause_ms * 2 < pause_max_ms ? pause_ms * 2 : pause_max_ms;
}

static void listen(void)
{
	char topic[sizeof(config_text) + 32] = "";

	/* The fleet's topic also enrols a device that the broker does not know. */
	(void)snprintf(topic, sizeof(topic), "%s/%s/ota/available",
		settings->fleet[0] ? "fleet" : "devices",
		settings->fleet[0] ? settings->fleet : settings->device_id);
	refused = false;
	(void)mosquitto_subscribe(client, NULL, topic, 1);
}

static void on_connect(struct mosquitto *m, void *user, int code)
{
	(void)m, (void)user;
	if (code != 0) {
		printf("the broker refuses the connection: %s\n", mosquitto_connack_string(code));
		return;
	}
	listen();
}

static void on_subscribe(struct mosquitto *m, void *user, int mid, int count, const int *granted)
{
	(void)m, (void)user, (void)mid;
	if (count < 1 || granted[0] >= 0x80) {
		printf("the broker refuses the subscription (0x%02x), trying again\n",
			count < 1 ? 0u : (unsigned)granted[0]);
		refused = true;
		set_retry();
		return;
	}
	up = true; /* only now: a device that reports before it listens may miss its notice */
	session++;
	pause_ms = 1000;
}

static void on_disconnect(struct mosquitto *m, void *user, int code)
{
	(void)m, (void)user, (void)code;
	up = false;
}

static void on_publish(struct mosquitto *m, void *user, int mid)
{
	(void)m, (void)user;
	acknowledged = mid;
}

static void on_message(struct mosquitto *m, void *user, const struct mosquitto_message *message)
{
	const size_t size = (size_t)message->payloadlen;

	(void)m, (void)user;
	/* A kept notice is nobody's: the broker never keeps one. */
	if (source_message(message->topic, message->payload, size) || message->retain
		|| waiting == INBOX) {
		return;
	}
	unsigned place = (first + waiting++) % INBOX;

	sizes[place] = size < sizeof(inbox[0]) ? size : sizeof(inbox[0]) - 1;
	if (sizes[place] > 0) {
		memcpy(inbox[place], message->payload, sizes[place]);
	}
	inbox[place][sizes[place]] = '\0';
}

bool link_open(const struct config *config)
{
	char password[256] = "";

	settings = config;
	platform_password(password, sizeof(password));
	(void)mosquitto_lib_init();
	client = mosquitto_new(config->device_id, true, NULL);
	if (!client
		|| (config->broker_username[0]
			&& mosquitto_username_pw_set(client, config->broker_username, password)
				!= MOSQ_ERR_SUCCESS)
		|| (config->broker_cafile[0]
			&& mosquitto_tls_set(client, config->broker_cafile, NULL, NULL, NULL, NULL)
				!= MOSQ_ERR_SUCCESS)) {
		fprintf(stderr, "broker_cafile, broker_username: cannot be used\n");
		return false;
	}
	mosquitto_connect_callback_set(client, on_connect);
	mosquitto_subscribe_callback_set(client, on_subscribe);
	mosquitto_disconnect_callback_set(client, on_disconnect);
	mosquitto_publish_callback_set(client, on_publish);
	mosquitto_message_callback_set(client, on_message);
	return true;
}

void link_close(void)
{
	(void)mosquitto_disconnect(client);
	(void)mosquitto_loop(client, 100, 1);
}

void link_service(uint64_t ms)
{
	if (mosquitto_loop(client, (int)ms, 1) == MOSQ_ERR_SUCCESS) {
		if (refused && platform_now_ms() >= retry_at) {
			listen();
		}
		return;
	}
	up = false;
	if (platform_now_ms() < retry_at) {
		platform_sleep_ms(ms < 100 ? ms : 100);
		return;
	}
	set_retry();
	int code = mosquitto_connect(client, settings->broker_host, (int)settings->broker_port, 30);

	if (code != MOSQ_ERR_SUCCESS) {
		printf("broker %s:%llu: %s, trying again\n", settings->broker_host,
			(unsigned long long)settings->broker_port, mosquitto_strerror(code));
	}
}

const char *link_take(size_t *size)
{
	if (waiting == 0) {
		return NULL;
	}
	const char *text = inbox[first];

	*size = sizes[first];
	first = (first + 1) % INBOX;
	waiting--;
	return text;
}

void link_put_back(void)
{
	first = (first + INBOX - 1) % INBOX;
	waiting++;
}

unsigned link_session(void)
{
	return up ? session : 0;
}

int link_socket(void)
{
	return mosquitto_socket(client);
}

bool link_publish(const char *what, const char *text, int qos, uint64_t ms)
{
	const uint64_t end = platform_now_ms() + ms;
	char topic[sizeof(config_text) + 32] = "";
	int mid = 0;

	(void)snprintf(topic, sizeof(topic), "devices/%s/ota/%s", settings->device_id, what);
	if (!up
		|| mosquitto_publish(client, &mid, topic, (int)strlen(text), text, qos, false)
			!= MOSQ_ERR_SUCCESS) {
		return false;
	}
	while (acknowledged != mid && up && platform_now_ms() < end) {
		link_service(10);
	}
	return ms == 0 || acknowledged == mid;
}
