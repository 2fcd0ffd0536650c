/*
 * client - a device's MQTT connection: libmosquitto without its own loop.
 *
 * Thread: the fleet's.  Nothing here is called from inside a libmosquitto callback, except
 * client_publish() and client_subscribe().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct device;

/* Create the client; false after a message. */
bool client_open(struct device *device) __attribute__((warn_unused_result));
void client_close(struct device *device);

/* Forget all session state in this process, as a reboot does.  A connection is broken by it. */
void client_reset(struct device *device);

/* Begin to connect; on failure the device is told that the connection is lost. */
void client_connect(struct device *device);

/* The broker has not answered in time: as if it had refused. */
void client_give_up(struct device *device);

/* Leave with a DISCONNECT packet. */
void client_disconnect(struct device *device);

/* Break the connection without one, as power cuts and bad networks do. */
void client_drop(struct device *device);

/* Read nothing, and send nothing that does not fit the socket, until it is called with false. */
void client_stall(struct device *device, bool stall);

/* The device's socket has `events` (of epoll). */
void client_on_events(struct device *device, uint32_t events);

/* Keep-alive; to be called about once a second. */
void client_maintain(struct device *device);

/* Publish on the status topic of `id` (normally its own) with QoS 1; the message id, or 0. */
int client_publish(struct device *device, const char *id, const char *text, size_t size);

/* Subscribe to the notify topics. */
void client_subscribe(struct device *device);
