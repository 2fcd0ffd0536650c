#include "fake/broker.h"

#include <mqtt_protocol.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As in all of 2.0. */
struct mqtt5__property {
	struct mqtt5__property *next;
	union {
		uint32_t number;
		struct {
			char *bytes;
			uint16_t length;
		} text;
	} value;
	struct {
		char *bytes;
		uint16_t length;
	} name;
	int32_t identifier;
	bool client_generated;
};

enum {
	EVENTS_MAX = 32,
	LOG_MAX = 1 << 16
};

static struct {
	bool modern;
	int refused_event;
	int refused_code;
	int publish_code;
	struct {
		MOSQ_FUNC_generic_callback function;
		void *userdata;
	} callbacks[EVENTS_MAX];
	struct fake_publish *publishes;
	size_t count;
	size_t room;
	char log[LOG_MAX];
} broker;

void fake_forget_publishes(void)
{
	for (size_t i = 0; i < broker.count; i++) {
		free(broker.publishes[i].client_id);
		free(broker.publishes[i].topic);
		free(broker.publishes[i].payload);
		free(broker.publishes[i].correlation);
	}
	free(broker.publishes);
	broker.publishes = NULL;
	broker.count = 0;
	broker.room = 0;
}

void fake_reset(bool modern)
{
	fake_forget_publishes();
	memset(&broker, 0, sizeof(broker));
	broker.modern = modern;
}

void fake_refuse_event(int event, int code)
{
	broker.refused_event = event;
	broker.refused_code = code;
}

void fake_refuse_publish(int code)
{
	broker.publish_code = code;
}

int fake_call(int event, void *data)
{
	if (broker.callbacks[event].function == NULL) {
		return FAKE_NOT_REGISTERED;
	}
	return broker.callbacks[event].function(event, data, broker.callbacks[event].userdata);
}

size_t fake_callbacks(void)
{
	size_t count = 0;

	for (size_t i = 0; i < EVENTS_MAX; i++) {
		count += broker.callbacks[i].function != NULL ? 1 : 0;
	}
	return count;
}

size_t fake_publishes(void)
{
	return broker.count;
}

const struct fake_publish *fake_publish_at(size_t index)
{
	return index < broker.count ? &broker.publishes[index] : NULL;
}

const struct fake_publish *fake_publish_on(const char *topic)
{
	for (size_t i = broker.count; i-- > 0;) {
		if (strcmp(broker.publishes[i].topic, topic) == 0) {
			return &broker.publishes[i];
		}
	}
	return NULL;
}

size_t fake_log_count(const char *text)
{
	size_t count = 0;

	for (const char *at = broker.log; (at = strstr(at, text)) != NULL; at++) {
		count++;
	}
	return count;
}

int mosquitto_callback_register(mosquitto_plugin_id_t *identifier, int event,
	MOSQ_FUNC_generic_callback cb_func, const void *event_data, void *userdata)
{
	(void)identifier;
	(void)event_data;
	if (event == broker.refused_event) {
		return broker.refused_code;
	}
	if (event < 1 || event > (broker.modern ? 30 : 10)) {
		return MOSQ_ERR_NOT_SUPPORTED;
	}
	if (broker.callbacks[event].function != NULL) {
		return MOSQ_ERR_ALREADY_EXISTS;
	}
	broker.callbacks[event].function = cb_func;
	broker.callbacks[event].userdata = userdata;
	return MOSQ_ERR_SUCCESS;
}

int mosquitto_callback_unregister(mosquitto_plugin_id_t *identifier, int event,
	MOSQ_FUNC_generic_callback cb_func, const void *event_data)
{
	(void)identifier;
	(void)event_data;
	if (event < 1 || event >= EVENTS_MAX || broker.callbacks[event].function != cb_func) {
		return MOSQ_ERR_NOT_FOUND;
	}
	broker.callbacks[event].function = NULL;
	return MOSQ_ERR_SUCCESS;
}

void *mosquitto_malloc(size_t size)
{
	return malloc(size);
}

void mosquitto_free(void *memory)
{
	free(memory);
}

__attribute__((format(printf, 2, 3))) void mosquitto_log_printf(int level, const char *fmt, ...)
{
	char line[1024];
	size_t used = strlen(broker.log);
	size_t length;
	va_list args;
	(void)level;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	length = strlen(line);
	if (used + length + 1 < LOG_MAX) {
		memcpy(broker.log + used, line, length);
		broker.log[used + length] = '\n';
	}
}

const char *mosquitto_client_id(const struct mosquitto *client)
{
	return client->id;
}

const char *mosquitto_client_username(const struct mosquitto *client)
{
	return client->username;
}

bool mosquitto_client_clean_session(const struct mosquitto *client)
{
	return client->clean_session;
}

int mosquitto_client_protocol_version(const struct mosquitto *client)
{
	return client->protocol_version;
}

int mosquitto_client_sub_count(const struct mosquitto *client)
{
	return client->sub_count;
}

int mosquitto_pub_topic_check(const char *topic)
{
	return topic[0] == '\0' || strpbrk(topic, "+#") != NULL ? MOSQ_ERR_INVAL : MOSQ_ERR_SUCCESS;
}

int mosquitto_property_add_binary(
	mosquitto_property **list, int identifier, const void *value, uint16_t length)
{
	struct mqtt5__property *property = calloc(1, sizeof(*property));

	if (property == NULL || (property->value.text.bytes = malloc((size_t)length + 1)) == NULL) {
		abort();
	}
	memcpy(property->value.text.bytes, value, length);
	property->value.text.length = length;
	property->identifier = identifier;
	property->next = *list; /* the order is of no meaning */
	*list = property;
	return MOSQ_ERR_SUCCESS;
}

int mosquitto_property_add_string(mosquitto_property **list, int identifier, const char *value)
{
	return mosquitto_property_add_binary(list, identifier, value, (uint16_t)strlen(value));
}

void mosquitto_property_free_all(mosquitto_property **list)
{
	while (*list != NULL) {
		struct mqtt5__property *next = (*list)->next;

		free((*list)->value.text.bytes);
		free(*list);
		*list = next;
	}
}

int mosquitto_broker_publish(const char *clientid, const char *topic, int payloadlen, void *payload,
	int qos, bool retain, mosquitto_property *properties)
{
	struct fake_publish *publish;
	if (broker.publish_code != MOSQ_ERR_SUCCESS) {
		return broker.publish_code;
	}
	if (broker.count == broker.room) {
		broker.room = broker.room == 0 ? 64 : broker.room * 2;
		broker.publishes = realloc(broker.publishes, broker.room * sizeof(*broker.publishes));
		if (broker.publishes == NULL) {
			abort();
		}
	}
	publish = &broker.publishes[broker.count++];
	publish->client_id = clientid == NULL ? NULL : strdup(clientid);
	publish->topic = strdup(topic);
	publish->payload = calloc(1, (size_t)payloadlen + 1);
	if (publish->payload == NULL) {
		abort();
	}
	if (payloadlen > 0) {
		memcpy(publish->payload, payload, (size_t)payloadlen);
	}
	publish->correlation = NULL;
	if (properties != NULL && properties->identifier == MQTT_PROP_CORRELATION_DATA) {
		publish->correlation = strndup(properties->value.text.bytes, properties->value.text.length);
	}
	mosquitto_property_free_all(&properties);
	publish->length = payloadlen;
	publish->qos = qos;
	publish->retain = retain;
	free(payload); /* the broker's now */
	return MOSQ_ERR_SUCCESS;
}
