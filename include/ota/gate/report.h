/*
 * report - a device's status publish on its way into the outbox.
 *
 * Thread: broker.
 */
#pragma once

/* Callback of the broker, for every accepted PUBLISH.  Runs before the PUBACK: what it returns decides about it. */
int report_on_message(int event, void *data, void *userdata);
