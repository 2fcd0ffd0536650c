#include "ota/gate/deliver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota/gate/address.h"
#include "ota/gate/again.h"
#include "ota/gate/control.h"
#include "ota/gate/deliver_send.h"
#include "ota/gate/metrics.h"
#include "ota/gate/push.h"
#include "ota/gate/state.h"
#include "ota/rules/eligibility.h"

struct deliver_release *deliver_release_of(const struct deliver *deliver, int64_t release_id)
{
	struct deliver_release *found = NULL;

	HASH_FIND(hh, deliver->releases, &release_id, sizeof(release_id), found);
	return found;
}

static struct deliver_rollout *rollout_of(const struct deliver *deliver, int64_t rollout)
{
	struct deliver_rollout *found = NULL;

	HASH_FIND(hh, deliver->live, &rollout, sizeof(rollout), found);
	return found;
}

bool deliver_is_live(const struct gate *gate, int64_t rollout)
{
	const struct deliver_rollout *found = rollout_of(&gate->deliver, rollout);

	return found != NULL && (found->until_ms == 0 || gate->clock.wall_ms() < found->until_ms);
}

static void release_entry_free(struct deliver_release *entry)
{
	notice_template_free(entry->notice);
	release_free(entry->release);
	free(entry);
}

static void drop_release(struct deliver *deliver, struct deliver_release *entry)
{
	HASH_DEL(deliver->releases, entry);
	release_entry_free(entry);
}

static void drop_rollout(struct deliver *deliver, struct deliver_rollout *entry)
{
	HASH_DEL(deliver->live, entry);
	free(entry);
}

static void drop_waiting(struct deliver *deliver, struct change *waiting)
{
	DL_DELETE(deliver->waiting, waiting);
	deliver->waiting_count--;
	change_free(waiting);
}

void deliver_clear(struct deliver *deliver)
{
	struct deliver_release *release = deliver->releases;
	struct deliver_rollout *rollout = deliver->live;
	struct change *waiting = deliver->waiting;

	/* The tables go, the entries are still chained. */
	HASH_CLEAR(hh, deliver->releases);
	HASH_CLEAR(hh, deliver->live);
	deliver->waiting = NULL;
	deliver->waiting_count = 0;
	while (release != NULL) {
		struct deliver_release *next = release->hh.next;

		release_entry_free(release);
		release = next;
	}
	while (rollout != NULL) {
		struct deliver_rollout *next = rollout->hh.next;

		free(rollout);
		rollout = next;
	}
	while (waiting != NULL) {
		struct change *next = waiting->next;

		change_free(waiting);
		waiting = next;
	}
	told_clear(&deliver->told);
}

bool deliver_is_current(
	const struct gate *gate, const char *device, const void *payload, size_t length)
{
	const struct deliver *deliver = &gate->deliver;
	const struct told_notice *notice = told_notice_of(&deliver->told, device);
	const struct told_recall *recall = told_recall_of(&deliver->told, device);
	const struct deliver_release *release = NULL;
	const int64_t now_ms = gate->clock.wall_ms();
	struct notice_digest digest;

	if ((notice == NULL && recall == NULL) || notice_digest(payload, length, &digest) != OTA_OK) {
		return false;
	}
	if (recall != NULL && recall->sent && notice_digest_equal(&digest, &recall->digest)) {
		return true;
	}
	if (notice == NULL || !notice->sent || notice->answered
		|| !notice_digest_equal(&digest, &notice->digest) || !deliver_is_live(gate, notice->rollout)
		|| !again_allowed(gate)) {
		return false;
	}
	/* Nobody waits for an answer any more, and the next attempt may be on its way. */
	if (notice->deadline_ms > 0 && now_ms >= notice->deadline_ms + DELIVER_LATE_MS) {
		return false;
	}
	release = deliver_release_of(deliver, notice->release_id);
	return release != NULL
		&& (release->release->manifest->terms.expires_ms == 0
			|| now_ms < release->release->manifest->terms.expires_ms);
}

/* The last gate before a device.  False: it is not told, and the store hears why. */
static bool may_be_told(struct gate *gate, const struct change *offer,
	const struct session *session, bool listening, const struct deliver_release *release)
{
	const struct device_facts facts = {
		.fleet = offer->fleet,
		.hardware = offer->hardware,
		.version = offer->version,
		.sequence = offer->sequence,
	};
	enum eligibility eligibility;

	if (!deliver_is_live(gate, offer->rollout)) {
		deliver_undelivered(
			gate, offer, session, REPORT_IDLE, "rollout_not_live", "the rollout is not running");
		return false;
	}
	if (!offer->again && offer->by_ms > 0 && gate->clock.mono_us() / 1000 >= offer->by_ms) {
		deliver_undelivered(gate, offer, session, REPORT_IDLE, "too_late",
			"its turn came so late that the rollout may have been halted meanwhile");
		return false;
	}
	if (release == NULL) {
		deliver_undelivered(gate, offer, session, REPORT_IDLE, "release_unknown",
			"the release is not verified here, or was revoked");
		return false;
	}
	if (session == NULL || !listening) {
		deliver_undelivered(gate, offer, session, REPORT_IDLE,
			session == NULL ? "not_connected" : "not_listening",
			session == NULL ? "the device is not connected to this broker"
							: "the device is not subscribed to its notify topic");
		return false;
	}
	eligibility =
		eligibility_check(&release->release->manifest->terms, &facts, gate->clock.wall_ms());
	if (eligibility != ELIGIBLE) {
		deliver_undelivered(gate, offer, session, REPORT_REJECTED, eligibility_code(eligibility),
			eligibility_words(eligibility));
		return false;
	}
	return true;
}

/* Send the notice, remembered before: no copy may exist which the READ check would not know. */
static enum ota_err tell(struct gate *gate, const struct change *offer,
	const struct session *session, struct told_notice *before, const struct notice *notice)
{
	struct told *told = &gate->deliver.told;
	struct told_notice *entry = told_notice_put(told, before, offer->device);
	enum ota_err err;

	if (entry == NULL) {
		return OTA_ERR_NOMEM;
	}
	entry->digest = notice->digest;
	entry->deadline_ms = offer->deadline_ms;
	entry->rollout = offer->rollout;
	entry->attempt = offer->attempt;
	entry->release_id = offer->release_id;
	entry->session = session->number;
	entry->answered = false;
	entry->sent = true;
	err = deliver_send(
		gate, session, offer->device, offer->topic, offer->fleet, notice->payload, notice->length);
	if (err != OTA_OK) {
		told_notice_drop(told, entry);
	} else if (!offer->again) {
		again_keep(gate, entry, offer);
	}
	return err;
}

/* True: a message went to the broker. */
static bool offer(struct gate *gate, const struct change *offer)
{
	bool listening;
	const struct session *session = deliver_target(gate, offer->device, offer->via, &listening);
	const struct deliver_release *release = deliver_release_of(&gate->deliver, offer->release_id);
	struct told_notice *told = told_notice_of(&gate->deliver.told, offer->device);
	const struct notice *notice = NULL;
	struct address *address = &gate->address;
	enum ota_err err;

	if (!may_be_told(gate, offer, session, listening, release)) {
		return false;
	}
	/* The same offer twice: the copy on its way counts. */
	if (told != NULL && told->rollout == offer->rollout && told->attempt == offer->attempt
		&& told->session == session->number) {
		return false;
	}
	if (address_make(gate, offer, release->release->manifest, address) != OTA_OK) {
		deliver_undelivered(
			gate, offer, session, REPORT_IDLE, EVENT_URL_NOT_MADE, address->why.text);
		return false;
	}
	err = notice_render(release->notice, address->url, offer->rollout, offer->attempt, offer->stage,
		offer->deadline_ms, &notice);
	if (err == OTA_OK) {
		err = again_note(gate, offer, session);
	}
	if (err == OTA_OK) {
		err = tell(gate, offer, session, told, notice);
	}
	if (err != OTA_OK) {
		deliver_undelivered(gate, offer, session, REPORT_IDLE, "not_sent", ota_err_name(err));
		return false;
	}
	gate->counters.notices_sent++;
	grant_told(gate, offer, session->number);
	return true;
}

static bool send_recall(
	struct gate *gate, const struct session *session, struct told_recall *recall)
{
	char *payload = NULL;
	size_t length = 0;
	bool sent = false;

	if (notice_render_recall(recall->rollout, recall->version, &payload, &length) != OTA_OK) {
		return false;
	}
	if (notice_digest(payload, length, &recall->digest) == OTA_OK) {
		/* Before it is sent: the broker asks for the right to read it at once. */
		recall->sent = true;
		sent = deliver_send(gate, session, recall->device, recall->topic, NULL, payload, length)
			== OTA_OK;
		recall->sent = sent;
	}
	free(payload);
	gate->counters.recalls_sent += sent ? 1 : 0;
	return sent;
}

static bool recall(struct gate *gate, const struct change *change)
{
	struct told *told = &gate->deliver.told;
	bool listening;
	const struct session *session = deliver_target(gate, change->device, change->via, &listening);
	struct told_notice *notice = told_notice_of(told, change->device);
	struct told_recall *recall = told_recall_of(told, change->device);

	if (notice != NULL && notice->rollout == change->rollout) {
		told_notice_drop(told, notice);
	}
	grant_recalled(gate, change->device, change->rollout);
	if (recall == NULL || recall->rollout != change->rollout) {
		recall = told_recall_put(told, change->device, change->rollout,
			change->version == NULL ? "" : change->version, change->topic);
	}
	if (recall == NULL || recall->sent || session == NULL || !listening) {
		return false;
	}
	return send_recall(gate, session, recall);
}

void deliver_owed(struct gate *gate, struct session *session, const char *device)
{
	struct told_recall *recall = told_recall_of(&gate->deliver.told, device);

	if (recall != NULL && !recall->sent) {
		send_recall(gate, session, recall);
	}
	again_returned(gate, session, device);
}

static void take_release(struct gate *gate, struct change *change)
{
	struct deliver *deliver = &gate->deliver;
	struct deliver_release *old = deliver_release_of(deliver, change->release_id);
	struct deliver_release *entry;

	if (old != NULL) {
		drop_release(deliver, old);
	}
	if (change->release == NULL) {
		return;
	}
	entry = calloc(1, sizeof(*entry));
	if (entry == NULL || notice_template_make(change->release, &entry->notice) != OTA_OK) {
		goto fail;
	}
	entry->release_id = change->release_id;
	HASH_ADD(hh, deliver->releases, release_id, sizeof(entry->release_id), entry);
	if (entry->hh.tbl == NULL) {
		notice_template_free(entry->notice);
		goto fail;
	}
	entry->release = change->release;
	change->release = NULL;
	return;

fail:
	free(entry);
	gate_log(MOSQ_LOG_ERR, "release %lld cannot be handed out: no memory for its notice",
		(long long)change->release_id);
}

static void take_rollout(struct gate *gate, const struct change *change)
{
	struct deliver *deliver = &gate->deliver;
	struct deliver_rollout *entry = rollout_of(deliver, change->rollout);
	char name[64];

	if (!change->live && entry != NULL) {
		drop_rollout(deliver, entry);
	}
	if (change->live && entry != NULL) {
		entry->until_ms = change->until_ms;
	}
	if (change->live && entry == NULL && (entry = calloc(1, sizeof(*entry))) != NULL) {
		entry->rollout = change->rollout;
		entry->until_ms = change->until_ms;
		HASH_ADD(hh, deliver->live, rollout, sizeof(entry->rollout), entry);
		if (entry->hh.tbl == NULL) {
			free(entry);
		}
	}
	if (change->text == NULL) {
		return;
	}
	snprintf(name, sizeof(name), "rollout/%lld", (long long)change->rollout);
	metrics_publish(name, change->text);
}

void deliver_wait(struct deliver *deliver, struct change *change)
{
	if (change->device == NULL) {
		change_free(change); /* the deadline of the device's update ends it */
		return;
	}
	DL_APPEND(deliver->waiting, change);
	deliver->waiting_count++;
}

/* What waits for its turn is queued; all else takes effect now. */
static void take(struct gate *gate, struct change *change)
{
	struct deliver *deliver = &gate->deliver;
	struct deliver_release *release;

	switch (change->kind) {
	case CHANGE_OFFER:
	case CHANGE_RECALL:
		deliver_wait(deliver, change);
		return;
	case CHANGE_CLAIM:
		again_claim(gate, change);
		return;
	case CHANGE_RELEASE:
		take_release(gate, change);
		break;
	case CHANGE_RELEASE_GONE:
		release = deliver_release_of(deliver, change->release_id);
		if (release != NULL) {
			drop_release(deliver, release);
		}
		break;
	case CHANGE_GATEWAYS:
		via_set_gateways(&gate->via, change->text);
		gate->via.known = true;
		break;
	case CHANGE_URLS:
		address_take(gate, change);
		break;
	case CHANGE_ROLLOUT:
		take_rollout(gate, change);
		grant_rollout(gate, change);
		break;
	case CHANGE_UPDATING:
		grant_updating(gate, change);
		break;
	case CHANGE_DATABASE:
		again_database(gate, change);
		metrics_publish("database", change->text);
		break;
	case CHANGE_AUDIT:
		metrics_publish("audit", change->text);
		break;
	case CHANGE_METRIC:
		if (change->text != NULL) {
			metrics_publish_number(change->text, change->value);
		}
		break;
	case CHANGE_RESPONSE:
		control_respond(change->device, change->text);
		break;
	case CHANGE_PUSHED:
		push_answered(gate, change->device, change->topic, change->text);
		break;
	}
	change_free(change);
}

/* The next page of a stage is on its way: what is left of this one goes one a turn. */
static bool spread(struct gate *gate, int64_t now_us)
{
	struct deliver *deliver = &gate->deliver;
	const bool more = deliver->waiting != NULL && deliver->waiting->prev->more && !gate->tick_dead;

	return window_spread(&deliver->window, deliver->waiting_count, more, now_us);
}

/* While something waits, others' messages and deliveries come to the longer ways of report.c and access.c, which count them. */
static void watch(struct gate *gate, int64_t now_us)
{
	const bool waits = gate->deliver.waiting != NULL;

	if (waits == gate->deliver.window.watched) {
		return;
	}
	window_watch(&gate->deliver.window, waits, now_us);
	gate->attentive = waits || gate->tick_dead;
	gate->closer = waits ? gate->closer | MOSQ_ACL_READ : gate->closer & ~MOSQ_ACL_READ;
}

bool deliver_eager(const struct gate *gate)
{
	/* Held they come with the other work, every 10 ms. */
	return !gate->deliver.window.held && !gate->tick_dead
		&& (gate->deliver.waiting != NULL
			|| atomic_load_explicit(gate->changes_waiting, memory_order_relaxed) != 0);
}

void deliver_work(struct gate *gate)
{
	struct deliver *deliver = &gate->deliver;
	int64_t began_us = gate->clock.mono_us();
	int64_t now_us = began_us;
	bool later = false;
	struct change *change;

	window_renew(&deliver->window, began_us, !gate->tick_dead);
	for (int i = 0; i < DELIVER_TAKE_MAX && deliver->waiting_count < DELIVER_WAITING_MAX
		 && now_us - began_us < WINDOW_WORK_US / 2;
		 i++) {
		change = queue_pop(gate->links.changes);
		if (change == NULL) {
			break;
		}
		take(gate, change);
		now_us = gate->clock.mono_us();
	}
	again_work(gate);
	while (deliver->waiting != NULL && !later && deliver->window.notices > 0
		&& now_us - began_us < deliver->window.work_us) {
		struct change *first = deliver->waiting;
		bool sent = first->kind == CHANGE_OFFER ? offer(gate, first) : recall(gate, first);

		deliver->window.notices -= sent ? 1 : 0;
		drop_waiting(deliver, first);
		now_us = gate->clock.mono_us();
		later = spread(gate, now_us);
	}
	deliver->window.work_us -= now_us - began_us;
	watch(gate, now_us);
}
