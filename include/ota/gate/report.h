/*
 * report - a device's status publish on its way into the outbox.
 *
 * Thread: broker.
 */
#pragma once

struct mosquitto;
struct gate;

/*
 * The answer to a QoS 1 or 2 publish that was not taken and must not look as if it was: MQTT 5 gets a reason code against it (0x97 from
 * 2.1 on, 0x87 before), older clients lose their connection before the PUBACK, and send it again.
 */
int report_unacknowledged(const struct gate *gate, const struct mosquitto *client);

/* Callback of the broker, for every accepted PUBLISH.  Runs before the PUBACK: what it returns decides about it. */
int report_on_message(int event, void *data, void *userdata);
