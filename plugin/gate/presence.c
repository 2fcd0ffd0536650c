#include "ota/gate/presence.h"

#include <stdlib.h>
#include <string.h>

#include "ota/gate/blocks.h"
#include "ota/gate/emit.h"
#include "ota/gate/reason.h"
#include "ota/gate/state.h"

const char *gate_identity(const struct gate *gate, const struct mosquitto *client)
{
	return gate->options->device_identity == DEVICE_IDENTITY_USERNAME
		? mosquitto_client_username(client)
		: mosquitto_client_id(client);
}

static int32_t flags_of(const struct gate *gate, bool maybe)
{
	return maybe || gate->options->enroll == ENROLL_KNOWN ? EVENT_FLAG_IF_KNOWN : 0;
}

/* The connection is over: tell the store where it knew of it, and forget what was waiting. */
static void end_session(struct gate *gate, struct session *session, const char *reason)
{
	if (session->connected != SESSION_UNTOLD) {
		struct event event = {
			.kind = EVENT_DISCONNECTED,
			.session = session->number,
			.flags = flags_of(gate, session->connected == SESSION_MAYBE),
			.device = session->device,
			.client = session->client_id,
			.text = reason,
		};
		emit_gather_or_lose(gate, &event);
	}
	via_end(gate, session, reason);
	emit_flush(gate);
	blocks_session_ends(gate, session);
	if (session->device != NULL) {
		deliver_session_ends(gate, session, session->device);
	}
	sessions_end(&gate->sessions, session);
	limit_keep(&gate->limits, session_client_hash(session), &session->reports);
	session->reports = (struct limit){ 0 };
}

static struct session *add_session(
	struct gate *gate, struct mosquitto *client, const char *client_id)
{
	struct session *session;

	sessions_at(&gate->sessions, gate->clock.wall_ms());
	session = sessions_add(&gate->sessions, client, client_id, gate_identity(gate, client));
	if (session != NULL) {
		limit_again(&gate->limits, session_client_hash(session), &session->reports);
	}
	return session;
}

/* The entry of this connection while it is still about this client; a stale one is ended and dropped. */
static struct session *trusted(
	struct gate *gate, const struct mosquitto *client, const char *client_id)
{
	struct session *session = sessions_find(&gate->sessions, client);

	if (session != NULL && !session_is(session, client_id, gate_identity(gate, client))) {
		end_session(gate, session, "");
		sessions_remove(&gate->sessions, session);
		session = NULL;
	}
	return session;
}

struct session *presence_session(struct gate *gate, struct mosquitto *client)
{
	const char *client_id = mosquitto_client_id(client);
	struct session *session;

	if (client_id == NULL) {
		return NULL;
	}
	session = trusted(gate, client, client_id);
	if (session != NULL && session->ended) { /* same place, same name, but a new connection */
		sessions_remove(&gate->sessions, session);
		session = NULL;
	}
	return session != NULL ? session : add_session(gate, client, client_id);
}

static enum ota_err tell_connected(struct gate *gate, struct session *session,
	enum session_told told, enum ota_err (*emit)(struct gate *gate, struct event *event))
{
	struct event event = {
		.kind = EVENT_CONNECTED,
		.session = session->number,
		.flags = flags_of(gate, told == SESSION_MAYBE),
		.device = session->device,
		.client = session->client_id,
	};
	enum ota_err err;

	if (session->connected >= told) {
		return OTA_OK;
	}
	err = emit(gate, &event);
	if (err != OTA_OK) {
		return err;
	}
	return sessions_set_connected(&gate->sessions, session, told);
}

static enum ota_err tell_listening(struct gate *gate, struct session *session, bool maybe)
{
	struct event event = {
		.kind = EVENT_LISTENING,
		.session = session->number,
		.flags = flags_of(gate, maybe),
		.device = session->device,
		.client = session->client_id,
		.fleet = session->fleet,
	};
	enum ota_err err;

	if (session->notify >= 0) {
		const struct topic_template *notify = &gate->options->notify_topics[session->notify];

		err = topic_render(notify,
			notify->placeholder == TOPIC_FLEET ? session->fleet : session->device, gate->topic,
			sizeof(gate->topic));
		if (err != OTA_OK) {
			return err;
		}
		event.topic = gate->topic;
	}
	err = emit_gather(gate, &event);
	if (err != OTA_OK) {
		return err;
	}
	sessions_set_listening(&gate->sessions, session, true);
	deliver_owed(gate, session, session->device);
	return OTA_OK;
}

void presence_look(struct gate *gate, struct mosquitto *client)
{
	const char *client_id = mosquitto_client_id(client);
	struct session *session;

	if (client_id == NULL) {
		return;
	}
	session = trusted(gate, client, client_id);
	/* An ended one: its will is being published, or its context is looked at by a check of the broker. */
	if (session != NULL && session->ended) {
		return;
	}
	gate->seen[gate_seen_slot(client)] = client;
	if (session != NULL) {
		return;
	}
	session = add_session(gate, client, client_id);
	/*
	 * A new connection that has subscriptions before it made any: a kept session came back.  A clean session has none, and
	 * is also how a context looks whose will is published after its end.
	 */
	if (session == NULL || session->device == NULL || mosquitto_client_clean_session(client)
		|| mosquitto_client_sub_count(client) <= 0) {
		return;
	}
	session->kept = true;
	sessions_wait(&gate->sessions, session);
}

int presence_on_connect(int event, void *data, void *userdata)
{
	struct gate *gate = userdata;
	struct compat_evt_connect *connect = data;
	(void)event;

	if (connect->client != NULL) {
		/* A connection that begins: whatever was known under this address is over. */
		struct session *session = sessions_find(&gate->sessions, connect->client);

		if (session != NULL && session->ended) {
			sessions_remove(&gate->sessions, session);
		}
		presence_look(gate, connect->client);
	}
	return MOSQ_ERR_SUCCESS;
}

void presence_subscribe(
	struct gate *gate, struct mosquitto *client, const struct policy_topic *topic)
{
	struct session *session = presence_session(gate, client);

	if (session == NULL || session->device == NULL) {
		return;
	}
	if (topic->placeholder == TOPIC_FLEET) {
		char *fleet = strndup(topic->value.text, topic->value.length);

		if (fleet == NULL) {
			return;
		}
		/* Another fleet than the one told: told again, even on the same template. */
		if (session->fleet == NULL || strcmp(session->fleet, fleet) != 0) {
			session->heard &= (uint16_t) ~(1U << topic->notify);
		}
		free(session->fleet);
		session->fleet = fleet;
	}
	session->wanted |= (uint16_t)(1U << topic->notify);
	session->wanted_notify = (int8_t)topic->notify;
	sessions_wait(&gate->sessions, session);
}

void presence_unsubscribe(
	struct gate *gate, struct mosquitto *client, const struct policy_topic *topic)
{
	struct session *session = sessions_find(&gate->sessions, client);
	uint16_t bit = (uint16_t)(1U << topic->notify);

	if (session == NULL || session->ended
		|| !session_is(session, mosquitto_client_id(client), gate_identity(gate, client))) {
		return;
	}
	if (topic->placeholder == TOPIC_FLEET
		&& (session->fleet == NULL || strlen(session->fleet) != topic->value.length
			|| memcmp(session->fleet, topic->value.text, topic->value.length) != 0)) {
		return;
	}
	session->wanted &= (uint16_t)~bit;
	session->heard &= (uint16_t)~bit;
	if (session->notify != (int)topic->notify && !(session->kept && session->heard == 0)) {
		return;
	}
	session->notify = -1;
	for (int8_t i = TOPIC_TEMPLATES_MAX - 1; i >= 0 && session->notify < 0; i--) {
		session->notify = (session->heard & 1U << i) != 0 ? i : (int8_t)-1;
	}
	if (session->notify < 0) {
		session->left = true;
		sessions_set_listening(&gate->sessions, session, false);
	}
}

enum ota_err presence_reported(struct gate *gate, struct session *session)
{
	enum ota_err err = tell_connected(gate, session, SESSION_TOLD, emit_event);

	if (err != OTA_OK) {
		return err;
	}
	session->is_device = true;
	/* A device with a wildcard subscription listens too, though we never saw the topic. */
	if (!session->listening && !session->left) {
		sessions_wait(&gate->sessions, session);
	}
	return OTA_OK;
}

/* The subscriptions asked for were answered by now: what stands in the session counts. */
static enum ota_err confirm(struct gate *gate, struct session *session)
{
	enum ota_err err = OTA_OK;

	if (!session_is(
			session, mosquitto_client_id(session->client), gate_identity(gate, session->client))) {
		return OTA_OK; /* replaced as soon as it is seen again */
	}
	if (mosquitto_client_sub_count(session->client) <= 0) {
		session->wanted = 0;
		return OTA_OK;
	}
	if (session->wanted != 0) {
		bool fresh = (session->wanted & ~(unsigned)session->heard) != 0;
		int before = session->notify;

		err = tell_connected(gate, session, SESSION_TOLD, emit_gather);
		if (err != OTA_OK) {
			return err;
		}
		session->is_device = true;
		session->left = false;
		session->notify = session->wanted_notify;
		if (fresh || !session->listening || before != session->notify) {
			err = tell_listening(gate, session, false);
		}
		if (err != OTA_OK) {
			return err;
		}
		session->heard |= session->wanted;
		session->wanted = 0;
	} else if (session->is_device && !session->listening && !session->left) {
		err = tell_listening(gate, session, false);
	} else if (session->kept && !session->listening && !session->left) {
		err = tell_connected(gate, session, SESSION_MAYBE, emit_gather);
		if (err == OTA_OK) {
			err = tell_listening(gate, session, true);
		}
	}
	return err;
}

static void confirm_waiting(struct gate *gate)
{
	struct session *session;
	struct session *next;

	DL_FOREACH_SAFE(gate->sessions.waiting, session, next)
	{
		enum ota_err err = confirm(gate, session);

		if (err == OTA_OK && session->children != NULL
			&& session_is(session, mosquitto_client_id(session->client),
				gate_identity(gate, session->client))) {
			err = via_confirm(gate, session);
		}
		/* No room in the outbox: all of them wait for the next round. */
		if (err != OTA_OK && err != OTA_ERR_INVALID) {
			return;
		}
		if (err != OTA_OK || !via_waits(session)) {
			sessions_unwait(&gate->sessions, session);
		}
	}
}

void presence_confirm(struct gate *gate)
{
	confirm_waiting(gate);
	emit_flush(gate);
}

static void gone(struct gate *gate, const struct mosquitto *client, int reason)
{
	const char *client_id = client == NULL ? NULL : mosquitto_client_id(client);
	struct session *session;
	char buffer[REASON_MAX];

	if (client == NULL) {
		return;
	}
	if (gate->seen[gate_seen_slot(client)] == client) {
		gate->seen[gate_seen_slot(client)] = NULL;
	}
	/* Somebody who failed to log in has a context of its own, which is not in the table. */
	session = client_id == NULL ? NULL : sessions_find(&gate->sessions, client);
	if (session == NULL) {
		return;
	}
	if (session->ended || strcmp(session->client_id, client_id) != 0) {
		end_session(gate, session, "");
		sessions_remove(&gate->sessions, session);
		return;
	}
	end_session(gate, session, gate->modern ? reason_words(reason, buffer) : "");
	/*
	 * A 2.0 broker publishes the will, perhaps much later, with the context of the kept session that ended, and that must not
	 * look like its return.  The entry goes with the second DISCONNECT, which comes when the session returns in a new context.
	 */
	if (gate->modern || mosquitto_client_clean_session(client)) {
		sessions_remove(&gate->sessions, session);
	}
}

int presence_on_disconnect(int event, void *data, void *userdata)
{
	const struct mosquitto_evt_disconnect *disconnect = data;
	(void)event;

	gone(userdata, disconnect->client, disconnect->reason);
	return MOSQ_ERR_SUCCESS;
}

int presence_on_offline(int event, void *data, void *userdata)
{
	const struct compat_evt_client_offline *offline = data;
	(void)event;

	gone(userdata, offline->client, offline->reason);
	return MOSQ_ERR_SUCCESS;
}
