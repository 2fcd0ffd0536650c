#include "ota/gate/blocks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota/gate/emit.h"
#include "ota/gate/presence.h"
#include "ota/gate/state.h"

#include "blocks_internal.h"

enum {
	/* What one session may fetch: the image twice, and so much more for those who begin anew. */
	BUDGET_IMAGES = 2,
	BUDGET_BYTES = 1 << 20,
};

enum ota_err blocks_start(struct gate *gate)
{
	if (gate->options->firmware_directory == NULL || gate->links.block_submit == NULL) {
		return OTA_OK;
	}
	gate->blocks = calloc(1, sizeof(*gate->blocks));
	if (gate->blocks == NULL) {
		return OTA_ERR_NOMEM;
	}
	if (!properties_init(gate->modern)) {
		gate_log(MOSQ_LOG_WARNING,
			"this broker does not show MQTT 5 properties: blocks are answered on the block topic "
			"whatever the response topic, and without correlation data");
	}
	return OTA_OK;
}

static int key_of(char *key, size_t size, int64_t session, const char *device)
{
	int length = snprintf(key, size, "%lld\n%s", (long long)session, device);

	return length > 0 && (size_t)length < size ? length : 0;
}

struct block_client *blocks_client_numbered(
	const struct blocks *blocks, int64_t session, const char *device)
{
	char key[TOPIC_ID_MAX + 32];
	struct block_client *found = NULL;
	int length = key_of(key, sizeof(key), session, device);

	HASH_FIND(hh, blocks->clients, key, (size_t)length, found);
	return found;
}

struct block_client *blocks_client(
	const struct blocks *blocks, const struct session *session, const char *device)
{
	return blocks_client_numbered(blocks, session->number, device);
}

/* Its entry; NULL: no memory, or a gateway that asks for too many devices. */
static struct block_client *client_for(
	struct blocks *blocks, struct session *session, const char *device)
{
	char key[TOPIC_ID_MAX + 32];
	struct block_client *client = blocks_client(blocks, session, device);
	int length = key_of(key, sizeof(key), session->number, device);

	if (client != NULL || session->block_clients_count >= VIA_CHILDREN_MAX) {
		return client;
	}
	client = calloc(1, sizeof(*client) + (size_t)length + 1);
	if (client == NULL) {
		return NULL;
	}
	memcpy(client->key, key, (size_t)length);
	client->device = strchr(client->key, '\n') + 1;
	client->session = session;
	HASH_ADD_KEYPTR(hh, blocks->clients, client->key, (size_t)length, client);
	if (client->hh.tbl == NULL) {
		free(client);
		return NULL;
	}
	DL_APPEND(session->block_clients, client);
	session->block_clients_count++;
	return client;
}

static void drop_client(struct blocks *blocks, struct block_client *client)
{
	for (size_t i = 0; i < BLOCKS_READING; i++) {
		if (blocks->slots[i].client == client) {
			blocks->slots[i].client = NULL;
		}
	}
	if (client->waiting > 0) {
		DL_DELETE2(blocks->ready, client, ready_prev, ready_next);
	}
	blocks->waiting -= client->waiting;
	for (; client->waiting > 0; client->waiting--) {
		properties_clear(&client->wants[client->first].answer);
		client->first = (client->first + 1) % BLOCKS_OUTSTANDING;
	}
	HASH_DEL(blocks->clients, client);
	DL_DELETE(client->session->block_clients, client);
	client->session->block_clients_count--;
	free(client);
}

void blocks_session_ends(struct gate *gate, struct session *session)
{
	while (session->block_clients != NULL) {
		drop_client(gate->blocks, session->block_clients);
	}
}

void blocks_stop(struct gate *gate)
{
	struct blocks *blocks = gate->blocks;
	struct block_client *client;
	struct block_client *next;

	if (blocks == NULL) {
		return;
	}
	HASH_ITER(hh, blocks->clients, client, next) {
		drop_client(blocks, client);
	}
	for (size_t i = 0; i < BLOCKS_READING; i++) {
		if (blocks->slots[i].busy) {
			mosquitto_free(blocks->slots[i].payload);
			properties_clear(&blocks->slots[i].want.answer);
		}
	}
	grants_clear(&blocks->grants);
	free(blocks);
	gate->blocks = NULL;
}

/* --- a request --- */

/*
 * A response topic must be the device's own: below the level that names it, and none of the topics that mean something here.  The answer
 * goes to the client that asked and to nobody else, whatever its topic is.
 */
static bool may_answer_on(const struct gate *gate, const char *device, const char *topic)
{
	const struct topic_template *own = &gate->options->block_topic;
	size_t length = strlen(device);
	unsigned candidates = policy_candidates(&gate->policy, topic);
	struct policy_topic sorted;

	if (strlen(topic) >= TOPIC_MAX || strncmp(topic, own->prefix, own->prefix_len) != 0
		|| strncmp(topic + own->prefix_len, device, length) != 0
		|| topic[own->prefix_len + length] != '/'
		|| mosquitto_pub_topic_check(topic) != MOSQ_ERR_SUCCESS) {
		return false;
	}
	policy_sort(&gate->policy, topic, candidates, &sorted);
	return sorted.subject == POLICY_FOREIGN || sorted.subject == POLICY_BLOCK;
}

/* A request on its way through the checks. */
struct asking {
	struct gate *gate;
	const struct mosquitto_evt_message *message;
	struct session *session;
	char device[TOPIC_ID_MAX + 1];
	struct block_request request;
	struct properties answer;
};

/* Not answered with bytes, and recorded: somebody asks for what it must not have, or in a wrong way. */
static int deny(struct asking *asking, const struct block_header *header, const char *reason)
{
	emit_denied(asking->gate, asking->message->client, asking->message->topic, reason);
	blocks_answer_without(asking->gate, asking->session, asking->device, &asking->answer, header);
	properties_clear(&asking->answer);
	return MOSQ_ERR_ACL_DENIED;
}

static struct block_header as_asked(
	const struct asking *asking, enum block_status status, uint16_t retry_after)
{
	const struct block_request *request = &asking->request;

	return (struct block_header){
		.status = status,
		.retry_after = retry_after,
		.length = request->length > UINT32_MAX ? UINT32_MAX : (uint32_t)request->length,
		.offset = (uint64_t)request->offset,
	};
}

static int deny_as_asked(struct asking *asking, const char *reason)
{
	const struct block_header header = as_asked(asking, BLOCK_DENIED, 0);

	return deny(asking, &header, reason);
}

static int later(struct asking *asking)
{
	const struct block_header header = as_asked(asking, BLOCK_LATER, BLOCKS_RETRY_SECONDS);

	blocks_answer_without(asking->gate, asking->session, asking->device, &asking->answer, &header);
	properties_clear(&asking->answer);
	return MOSQ_ERR_SUCCESS;
}

/* No room for it: not answered, the device asks again. */
static int drop(struct asking *asking, const char *reason)
{
	const struct gate *gate = asking->gate;

	emit_denied(asking->gate, asking->message->client, asking->message->topic, reason);
	properties_clear(&asking->answer);
	return gate->modern && asking->message->qos > 0
			&& mosquitto_client_protocol_version(asking->message->client) == COMPAT_PROTOCOL_MQTT5
		? (int)COMPAT_ERR_QUOTA_EXCEEDED
		: MOSQ_ERR_ACL_DENIED;
}

/* Offset and length against the image. */
static int check_range(struct asking *asking, const struct manifest *image, bool *good)
{
	const struct block_request *request = &asking->request;
	const int32_t longest = asking->gate->options->block_max_bytes;
	char reason[160];

	*good = false;
	if (request->length > longest) {
		const struct block_header header = {
			.status = BLOCK_RANGE, .length = (uint32_t)longest, .offset = (uint64_t)request->offset
		};

		snprintf(reason, sizeof(reason), "length %lld, accepted are 1 to %d (block_max_bytes)",
			(long long)request->length, (int)longest);
		return deny(asking, &header, reason);
	}
	if (request->offset >= image->size) {
		const struct block_header header = { .status = BLOCK_RANGE,
			.length = (uint32_t)request->length,
			.offset = (uint64_t)image->size };

		snprintf(reason, sizeof(reason), "offset %lld, the image has %lld bytes",
			(long long)request->offset, (long long)image->size);
		return deny(asking, &header, reason);
	}
	*good = true;
	return MOSQ_ERR_SUCCESS;
}

static void enqueue(struct blocks *blocks, struct block_client *client, struct asking *asking,
	const struct deliver_release *release)
{
	const struct block_request *request = &asking->request;
	const int64_t left = release->release->manifest->size - request->offset;
	struct block_want *want =
		&client->wants[(client->first + client->waiting) % BLOCKS_OUTSTANDING];

	*want = (struct block_want){ .release_id = release->release_id,
		.offset = request->offset,
		.length = (uint32_t)(request->length < left ? request->length : left),
		.answer = asking->answer };
	asking->answer = (struct properties){ 0 };
	if (client->waiting++ == 0) {
		DL_APPEND2(blocks->ready, client, ready_prev, ready_next);
	}
	blocks->waiting++;
}

/* Has it had so much in this session that it cannot want more of this image? */
static bool has_had_enough(struct block_client *client, const struct deliver_release *release)
{
	if (client->release_id != release->release_id) {
		client->release_id = release->release_id;
		client->given = 0;
	}
	return client->given > BUDGET_IMAGES * release->release->manifest->size + BUDGET_BYTES;
}

static int take(struct asking *asking)
{
	struct gate *gate = asking->gate;
	struct blocks *blocks = gate->blocks;
	struct block_client *client = client_for(blocks, asking->session, asking->device);
	const struct deliver_release *release = NULL;
	const char *reason = "";
	enum grant_answer answer;
	bool good = false;
	int result;

	if (client == NULL) {
		return drop(asking, "blocks are asked for too many devices in one session");
	}
	answer = grant_ask(gate, client, &release, &reason);
	if (answer == GRANT_LATER) {
		return later(asking);
	}
	if (answer == GRANT_NO) {
		return deny_as_asked(asking, reason);
	}
	if (strcmp(asking->request.sha256, release->release->manifest->sha256) != 0) {
		return deny_as_asked(asking, "this is not the image that the device was told of");
	}
	result = check_range(asking, release->release->manifest, &good);
	if (!good) {
		return result;
	}
	if (has_had_enough(client, release)) {
		return deny_as_asked(
			asking, "in this session the device was given its image more than twice");
	}
	if (client->waiting + client->reading >= BLOCKS_OUTSTANDING
		|| blocks->waiting >= BLOCKS_WAITING_MAX) {
		return drop(asking,
			client->waiting + client->reading >= BLOCKS_OUTSTANDING
				? "more than 8 requests of this device are not answered yet"
				: "too many requests for blocks wait on this broker");
	}
	enqueue(blocks, client, asking, release);
	blocks_work(gate);
	return MOSQ_ERR_SUCCESS;
}

int blocks_on_message(struct gate *gate, const struct mosquitto_evt_message *message,
	const struct policy_topic *topic)
{
	struct asking asking = { .gate = gate, .message = message };
	const struct block_header malformed = { .status = BLOCK_MALFORMED };
	const struct block_header denied = { .status = BLOCK_DENIED };
	const char *identity = gate_identity(gate, message->client);
	struct ota_why why = { "" };
	char reason[sizeof(why.text) + 32];
	enum ota_err err;

	/* Once more: bridges of this broker are never asked by ACL_CHECK. */
	if (!policy_own(topic, identity) && !via_may_report(gate, identity, topic)) {
		emit_denied(gate, message->client, message->topic, "a client may ask for itself only");
		return MOSQ_ERR_ACL_DENIED;
	}
	asking.session = presence_session(gate, message->client);
	if (asking.session == NULL || asking.session->device == NULL
		|| topic->value.length >= sizeof(asking.device)) {
		return MOSQ_ERR_ACL_DENIED;
	}
	memcpy(asking.device, topic->value.text, topic->value.length);
	err = properties_read(message->properties, &asking.answer, &why);
	if (err == OTA_OK && asking.answer.response_topic != NULL
		&& !may_answer_on(gate, asking.device, asking.answer.response_topic)) {
		free(asking.answer.response_topic);
		asking.answer.response_topic = NULL; /* the refusal goes to the topic of blocks */
		return deny(&asking, &denied,
			"the response topic is not one of this device's own: accepted is what begins like the "
			"block topic up to the device's name");
	}
	if (err == OTA_OK) {
		err = block_request_parse(message->payload, message->payloadlen, &asking.request, &why);
	}
	if (err != OTA_OK) {
		snprintf(reason, sizeof(reason), "not a request for a block: %s",
			err == OTA_ERR_NOMEM ? "no memory" : why.text);
		return deny(&asking, &malformed, reason);
	}
	return take(&asking);
}

bool blocks_may_read(const struct gate *gate, const struct mosquitto_evt_acl_check *check,
	const struct policy_topic *topic, const char *identity)
{
	char device[TOPIC_ID_MAX + 1];
	const struct via_child *child;

	if (check->retain || identity == NULL || !topic->exact
		|| topic->value.length >= sizeof(device)) {
		return false;
	}
	if (policy_own(topic, identity)) {
		return true;
	}
	memcpy(device, topic->value.text, topic->value.length);
	device[topic->value.length] = '\0';
	child = via_child_of(&gate->via, identity, device);
	return child != NULL && child->session->client == check->client;
}
