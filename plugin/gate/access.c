#include "ota/gate/access.h"

#include <string.h>

#include "ota/gate/blocks.h"
#include "ota/gate/control.h"
#include "ota/gate/emit.h"
#include "ota/gate/presence.h"
#include "ota/gate/push.h"
#include "ota/gate/state.h"

_Static_assert((int)POLICY_READ == MOSQ_ACL_READ && (int)POLICY_WRITE == MOSQ_ACL_WRITE
		&& (int)POLICY_SUBSCRIBE == MOSQ_ACL_SUBSCRIBE
		&& (int)POLICY_UNSUBSCRIBE == MOSQ_ACL_UNSUBSCRIBE,
	"the policy counts accesses as the broker does");

/* Is it the outstanding notice of one of the devices that this gateway speaks for? */
static bool is_current_of_child(const struct gate *gate,
	const struct mosquitto_evt_acl_check *check, const char *identity,
	const struct policy_topic *topic)
{
	char device[TOPIC_ID_MAX + 1];
	const struct told_notice *notice;
	const struct via_child *child;

	if (!topic->exact || topic->placeholder != TOPIC_DEVICE
		|| topic->value.length >= sizeof(device)) {
		return false;
	}
	memcpy(device, topic->value.text, topic->value.length);
	device[topic->value.length] = '\0';
	child = via_child_of(&gate->via, identity, device);
	if (child == NULL || child->session->client != check->client) {
		return false;
	}
	/* Any gateway may claim to speak for it; the notice went into the session of the right one. */
	notice = told_notice_of(&gate->deliver.told, device);
	return (notice == NULL || notice->session == child->session->number)
		&& deliver_is_current(gate, device, check->payload, check->payloadlen);
}

/*
 * Is it a subscription to another device's notify topic by its very name, of a client that is neither a gateway nor an operator?  Those
 * with wildcards pass, as monitors need them; they hear no notice either, see deliver_is_current().
 */
static bool overhears(const struct gate *gate, const struct mosquitto_evt_acl_check *check,
	const struct policy_topic *topic, const char *identity)
{
	return check->access == MOSQ_ACL_SUBSCRIBE
		&& (topic->subject == POLICY_NOTIFY || topic->subject == POLICY_BLOCK) && topic->exact
		&& topic->placeholder == TOPIC_DEVICE && !policy_own(topic, identity)
		&& !control_allows(gate, mosquitto_client_username(check->client))
		&& !via_may_listen(gate, identity);
}

static int deny_overhearing(struct gate *gate, const struct mosquitto_evt_acl_check *check)
{
	emit_denied(gate, check->client, check->topic,
		"a client may subscribe by name to its own topics only; to those of others, a gateway "
		"(ota.assign_gateway) or a user in control_users");
	return MOSQ_ERR_ACL_DENIED;
}

/* A filter of a shared subscription, $share/<group>/<filter>: what is shared is asked for like any other. */
__attribute__((noinline)) static int check_shared(
	struct gate *gate, const struct mosquitto_evt_acl_check *check)
{
	static const char share[] = "$share/";
	const char *filter;
	struct policy_topic topic;
	unsigned candidates;

	if (strncmp(check->topic, share, sizeof(share) - 1) != 0) {
		return gate->others;
	}
	filter = strchr(check->topic + sizeof(share) - 1, '/');
	if (filter == NULL) {
		return gate->others;
	}
	filter++;
	candidates = policy_candidates(&gate->policy, filter);
	if (candidates != 0) {
		candidates = policy_narrow(&gate->policy, filter, candidates);
	}
	policy_sort(&gate->policy, filter, candidates, &topic);
	return overhears(gate, check, &topic, gate_identity(gate, check->client))
		? deny_overhearing(gate, check)
		: gate->others;
}

/* A topic that looks like one of ours. */
__attribute__((noinline)) static int check_ours(
	struct gate *gate, const struct mosquitto_evt_acl_check *check, unsigned candidates)
{
	const char *identity;
	const char *reason = "";
	struct policy_topic topic;
	enum policy_answer answer;
	bool current = false;

	policy_sort(&gate->policy, check->topic, candidates, &topic);
	if (topic.subject == POLICY_FOREIGN) {
		return gate->others;
	}
	identity = gate_identity(gate, check->client);
	if (gate->tick_dead) {
		gate_work(gate);
	}
	if (check->access == MOSQ_ACL_READ && topic.subject == POLICY_NOTIFY && identity != NULL) {
		current = deliver_is_current(gate, identity, check->payload, check->payloadlen)
			|| is_current_of_child(gate, check, identity, &topic);
	} else if (check->access == MOSQ_ACL_READ && topic.subject == POLICY_BLOCK) {
		current = blocks_may_read(gate, check, &topic, identity);
	}

	answer = policy_decide((enum policy_access)check->access, &topic, identity, current, &reason);
	if (answer == POLICY_DENY && check->access == MOSQ_ACL_WRITE
		&& (via_may_report(gate, identity, &topic) || push_wanted(gate, check->client, &topic))) {
		return MOSQ_ERR_SUCCESS;
	}
	if (answer == POLICY_DENY) {
		emit_denied(gate, check->client, check->topic, reason);
		return MOSQ_ERR_ACL_DENIED;
	}
	if (answer == POLICY_OTHERS) {
		return overhears(gate, check, &topic, identity) ? deny_overhearing(gate, check)
														: gate->others;
	}
	if (topic.subject != POLICY_NOTIFY) {
		return MOSQ_ERR_SUCCESS;
	}
	if (check->access == MOSQ_ACL_SUBSCRIBE) {
		presence_subscribe(gate, check->client, &topic);
	} else if (check->access == MOSQ_ACL_UNSUBSCRIBE) {
		presence_unsubscribe(gate, check->client, &topic);
	}
	return MOSQ_ERR_SUCCESS;
}

static inline bool is_seen(const struct gate *gate, const struct mosquitto *client)
{
	return gate->seen[gate_seen_slot(client)] == client;
}

/* 2.0: may a kept session have come back with this client?  Only the first time that it does something. */
static inline bool is_new(const struct gate *gate, const struct mosquitto_evt_acl_check *check)
{
	return (check->access & gate->watched) != 0 && !is_seen(gate, check->client);
}

/* All but a topic of others whose first bytes say so, of a connection that is known. */
__attribute__((noinline)) static int check_closer(
	struct gate *gate, const struct mosquitto_evt_acl_check *check, unsigned candidates)
{
	if (is_new(gate, check)) {
		presence_look(gate, check->client);
	}
	if (candidates != 0) {
		candidates = policy_narrow(&gate->policy, check->topic, candidates);
	}
	if (candidates == 0) {
		if (check->access == MOSQ_ACL_READ) { /* comes here while notices wait */
			window_other(&gate->deliver.window);
		}
		return check->access == MOSQ_ACL_SUBSCRIBE ? check_shared(gate, check) : gate->others;
	}
	return check_ours(gate, check, candidates);
}

/* Asked once for each message that is delivered: what is not ours must end here, without a stack frame. */
int access_on_check(int event, void *data, void *userdata)
{
	struct gate *gate = userdata;
	const struct mosquitto_evt_acl_check *check = data;
	unsigned candidates = policy_candidates(&gate->policy, check->topic);
	(void)event;

	if (candidates == 0
		&& ((check->access & gate->closer) == 0
			|| (check->access == MOSQ_ACL_WRITE && is_seen(gate, check->client)))) {
		return gate->others;
	}
	return check_closer(gate, check, candidates);
}
