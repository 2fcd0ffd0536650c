#include "ota/gate/gate.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota/base/clock.h"
#include "ota/base/keyhash.h"
#include "ota/base/printable.h"
#include "ota/gate/access.h"
#include "ota/gate/blocks.h"
#include "ota/gate/control.h"
#include "ota/gate/metrics.h"
#include "ota/gate/presence.h"
#include "ota/gate/report.h"
#include "ota/gate/state.h"

enum {
	WORK_EVERY_US = 10000, /* the tick may come 35,000 times a second */
	LOG_LINES_MAX = 64,    /* log lines written per round */
	TICK_IDLE_MS = 100, /* 2.1: shortest distance of ticks; idle it is 100 ms whatever is asked */
	TICK_BUSY_MS = 10,
};

static int gate_on_reload(int event, void *data, void *userdata)
{
	struct gate *gate = userdata;
	(void)event;
	(void)data;

	gate->links.reload(gate->links.context);
	/* 2.0 asks the next plugin only after DEFER, 2.1 ends the broker on it; an error would unhook other ACLs. */
	return gate->modern ? MOSQ_ERR_SUCCESS : MOSQ_ERR_PLUGIN_DEFER;
}

/* For a gate without queue or log ring. */
static const atomic_size_t nothing_waiting;

/* Is there anything but figures to publish?  Without a branch for each: mostly there is nothing. */
static inline bool has_work(const struct gate *gate)
{
	return ((uintptr_t)gate->sessions.waiting | (uintptr_t)gate->deliver.waiting
			   | (uintptr_t)gate->deliver.told.again | (uintptr_t)gate->gathered
			   | atomic_load_explicit(gate->changes_waiting, memory_order_relaxed)
			   | atomic_load_explicit(gate->lines_waiting, memory_order_relaxed))
		!= 0;
}

/* 2.1: no tick before so many milliseconds; 0: with each turn of its loop. */
static long next_ms(const struct gate *gate)
{
	const struct window *window = &gate->deliver.window;
	/* Also a moment later: the next page of offers may be on its way. */
	const bool telling = window->watched || gate->worked_us - window->look_us < WINDOW_BELIEVED_US;

	if (telling && !window->held) {
		return 0;
	}
	return telling || blocks_busy(gate->blocks) ? TICK_BUSY_MS : TICK_IDLE_MS;
}

__attribute__((noinline)) static int tick_with_work(
	struct gate *gate, struct mosquitto_evt_tick *tick)
{
	gate->ticked = true; /* the first tick comes here */
	gate->tick_dead = false;
	gate->attentive = gate->deliver.window.watched;
	gate_work(gate);
	if (blocks_busy(gate->blocks)) {
		blocks_work(gate);
	}
	/* Milliseconds in 2.1, in the slot that 2.0 calls next_ns and ignores. */
	if (gate->modern) {
		tick->next_ns = next_ms(gate);
	}
	return MOSQ_ERR_SUCCESS;
}

static int gate_on_tick(int event, void *data, void *userdata)
{
	struct gate *gate = userdata;
	(void)event;

	/* Mosquitto 2.0 calls this once a message: no clock is read unless there may be something to do. */
	if ((++gate->ticks & gate->rare) == 0 || has_work(gate) || blocks_busy(gate->blocks)) {
		return tick_with_work(gate, data);
	}
	return MOSQ_ERR_SUCCESS;
}

static const struct {
	MOSQ_FUNC_generic_callback function;
	int event;
	bool modern_only;
	const char *topic; /* CONTROL */
} callbacks[] = {
	{ gate_on_reload, MOSQ_EVT_RELOAD, false, NULL },
	{ access_on_check, MOSQ_EVT_ACL_CHECK, false, NULL },
	{ report_on_message, MOSQ_EVT_MESSAGE, false, NULL },
	{ control_on_message, MOSQ_EVT_CONTROL, false, CONTROL_TOPIC },
	{ gate_on_tick, MOSQ_EVT_TICK, false, NULL },
	{ presence_on_disconnect, MOSQ_EVT_DISCONNECT, false, NULL },
	{ presence_on_connect, COMPAT_EVT_CONNECT, true, NULL },
	{ presence_on_offline, COMPAT_EVT_CLIENT_OFFLINE, true, NULL },
};

enum {
	CALLBACKS = sizeof(callbacks) / sizeof(callbacks[0])
};

void gate_log(int level, const char *format, ...)
{
	char line[LOGRING_LINE_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	/* Names of clients and words of the database are in it: one call is one line. */
	printable_make(line);
	mosquitto_log_printf(level, "ota: %s", line);
}

static void write_log(struct gate *gate)
{
	static const int levels[] = {
		[LOG_LEVEL_DEBUG] = MOSQ_LOG_DEBUG,
		[LOG_LEVEL_INFO] = MOSQ_LOG_INFO,
		[LOG_LEVEL_NOTICE] = MOSQ_LOG_NOTICE,
		[LOG_LEVEL_WARNING] = MOSQ_LOG_WARNING,
		[LOG_LEVEL_ERROR] = MOSQ_LOG_ERR,
	};
	char line[LOGRING_LINE_MAX];
	enum log_level level;
	size_t dropped;

	if (gate->links.log == NULL) {
		return;
	}
	for (int i = 0; i < LOG_LINES_MAX && logring_take(gate->links.log, &level, line); i++) {
		gate_log(levels[level], "%s", line);
	}
	dropped = logring_take_dropped(gate->links.log);
	if (dropped > 0) {
		gate_log(MOSQ_LOG_WARNING, "%zu log lines were dropped", dropped);
	}
}

void gate_work(struct gate *gate)
{
	int64_t coarse_us = gate->clock.coarse_us();

	if (coarse_us - gate->worked_us < WORK_EVERY_US) {
		if (deliver_eager(gate)) {
			deliver_work(gate);
		}
		return;
	}
	gate->worked_us = coarse_us;
	write_log(gate);
	presence_confirm(gate);
	deliver_work(gate);
	metrics_work(gate, gate->clock.mono_us());
	if (gate->tick_dead && blocks_busy(gate->blocks)) { /* else the tick does it, more often */
		blocks_work(gate);
	}
}

static int nothing(int event, void *data, void *userdata)
{
	(void)event;
	(void)data;
	(void)userdata;
	return MOSQ_ERR_SUCCESS;
}

bool gate_broker_is_modern(void *plugin_id)
{
	if (mosquitto_callback_register(plugin_id, COMPAT_EVT_CONNECT, nothing, NULL, NULL)
		!= MOSQ_ERR_SUCCESS) {
		return false;
	}
	mosquitto_callback_unregister(plugin_id, COMPAT_EVT_CONNECT, nothing, NULL);
	return true;
}

static void unregister_all(struct gate *gate)
{
	while (gate->registered > 0) {
		size_t i = --gate->registered;

		if (!callbacks[i].modern_only || gate->modern) {
			mosquitto_callback_unregister(
				gate->plugin_id, callbacks[i].event, callbacks[i].function, callbacks[i].topic);
		}
	}
}

static enum ota_err register_all(struct gate *gate, struct ota_why *why)
{
	for (size_t i = 0; i < CALLBACKS; i++) {
		int code;

		if (!callbacks[i].modern_only || gate->modern) {
			code = mosquitto_callback_register(gate->plugin_id, callbacks[i].event,
				callbacks[i].function, callbacks[i].topic, gate);
			if (code != MOSQ_ERR_SUCCESS) {
				ota_why_set(why, "the broker refuses callback %d with code %d%s",
					callbacks[i].event, code,
					code == MOSQ_ERR_ALREADY_EXISTS ? ": the plugin is loaded twice" : "");
				unregister_all(gate);
				return OTA_ERR_CONFLICT;
			}
		}
		gate->registered = i + 1;
	}
	return OTA_OK;
}

static int answer_for_others(const struct gate *gate)
{
	if (gate->modern) {
		return COMPAT_ERR_PLUGIN_IGNORE;
	}
	return gate->options->acl_other_topics == ACL_OTHER_ALLOW ? MOSQ_ERR_SUCCESS
															  : MOSQ_ERR_PLUGIN_DEFER;
}

enum ota_err gate_start(void *plugin_id, const struct options *options,
	const struct gate_links *links, bool modern, struct gate **out, struct ota_why *why)
{
	struct gate *gate;
	enum ota_err err;

	if (!modern && options->acl_other_topics == ACL_OTHER_UNSET) {
		ota_why_set(why, "acl_other_topics is not set: accepted are defer and allow");
		return OTA_ERR_INVALID;
	}
	gate = calloc(1, sizeof(*gate));
	if (gate == NULL) {
		ota_why_set(why, "no memory");
		return OTA_ERR_NOMEM;
	}
	gate->options = options;
	gate->links = *links;
	gate->plugin_id = plugin_id;
	gate->modern = modern;
	gate->changes_waiting = links->changes == NULL ? &nothing_waiting : queue_count(links->changes);
	gate->lines_waiting = links->log == NULL ? &nothing_waiting : logring_count(links->log);
	gate->clock = (struct gate_clock){
		.mono_us = clock_mono_us, .coarse_us = clock_coarse_us, .wall_ms = clock_wall_ms
	};
	gate->others = answer_for_others(gate);
	gate->ticks = GATE_TICK_RARE - 1; /* the first one publishes the figures */
	/* 2.1 is always told when to come again, and does not come more often. */
	gate->rare = modern ? 0 : GATE_TICK_RARE - 1;
	gate->watched = modern ? 0 : MOSQ_ACL_WRITE | MOSQ_ACL_SUBSCRIBE;
	gate->closer = gate->watched | MOSQ_ACL_SUBSCRIBE;
	policy_init(&gate->policy, options);
	sessions_init(&gate->sessions, clock_wall_ms());
	/* Nobody can foresee it: a hash with a secret key. */
	snprintf(gate->hidden, sizeof(gate->hidden), "%016llx", (unsigned long long)keyhash("push", 4));
	for (size_t i = 0; i < METRICS_COUNT; i++) {
		gate->metrics_last[i] = -1; /* so that every figure is published once */
	}

	err = blocks_start(gate);
	if (err != OTA_OK) {
		ota_why_set(why, "no memory");
	} else {
		err = register_all(gate, why);
	}
	if (err != OTA_OK) {
		gate_stop(gate);
		return err;
	}
	*out = gate;
	return OTA_OK;
}

void gate_stop(struct gate *gate)
{
	if (gate == NULL) {
		return;
	}
	unregister_all(gate);
	if (gate->links.log != NULL) {
		write_log(gate);
	}
	blocks_stop(gate);
	deliver_clear(&gate->deliver);
	via_clear(&gate->via);
	fleet_urls_free(gate->urls);
	sessions_clear(&gate->sessions);
	free(gate);
}
