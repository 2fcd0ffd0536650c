/*
 * device - one simulated device: what it is doing, its slots and its connection.
 *
 * device_update.c takes it from a notice to the reboot, device_boot.c from the boot to the verdict.
 * Thread: the fleet's.  Ownership: the fleet owns its devices; a device owns its update.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "download.h"
#include "ledger.h"
#include "notice.h"
#include "options.h"
#include "report.h"
#include "slots.h"
#include "timers.h"
#include "verify.h"

struct fleet;
struct mosquitto;

enum {
	DEVICE_ID_SIZE = OPTIONS_ID_SIZE,
	DEVICE_FOLDER_SIZE = 512,
	DEVICE_BOOT_ID_SIZE = 17
};

enum link_state {
	LINK_OFF,
	LINK_QUEUED,
	LINK_CONNECTING,
	LINK_ONLINE
};

enum device_phase {
	PHASE_OFF, /* not started */
	PHASE_IDLE,
	PHASE_WAITING, /* told, not started: a recall still finds nothing to undo */
	PHASE_DOWNLOADING,
	PHASE_APPLYING,
	PHASE_REBOOTING, /* waits for the broker to have its last report */
	PHASE_DOWN,      /* powered off, between the slots */
	PHASE_TRIAL,     /* runs the new image and checks itself */
	PHASE_DARK,      /* never to be seen again */
	PHASE_COUNT
};

/* What a random number is for: each kind has a row of its own, so that one cannot disturb another. */
enum choice {
	CHOICE_PHASE,    /* how long a phase takes */
	CHOICE_LINK,     /* when to connect again */
	CHOICE_TROUBLE,  /* what a flaky link does, and when */
	CHOICE_TRANSFER, /* where a transfer breaks */
	CHOICE_GARBAGE,  /* what is said instead of a report */
	CHOICE_KINDS
};

/* A report the broker has not acknowledged yet; kept only for --reports. */
struct sent_report {
	struct sent_report *next;
	int message;
	char text[];
};

/* What a notice asked for, while it is worked on before the reboot. */
struct update {
	struct notice notice;
	int64_t sequence;
	struct download *download;
	uint32_t quarter; /* of the download that was reported last */
};

struct device {
	struct fleet *fleet;
	struct record *record; /* what the run's summary knows of it */
	struct mosquitto *mqtt;
	struct update *update; /* NULL when there is none */
	struct sent_report *sent;
	const char *target;   /* interned version of the last update; NULL: none yet */
	const char *previous; /* interned version before the last update */
	const char *claimed;  /* interned version that it says it runs; NULL: the truth */
	struct slots slots;
	uint64_t key; /* hash of the last notice taken up; 0: none */
	uint64_t random;
	uint32_t drawn[CHOICE_KINDS];
	uint32_t number;
	uint32_t client_number; /* of the device whose client id it uses: its own, but for a clone */
	uint32_t index;
	uint32_t faults;
	uint32_t watched;  /* epoll events asked for */
	uint32_t failures; /* connections that failed in a row */
	uint32_t unacked;  /* reports the broker has not acknowledged */
	int fd;            /* in the epoll; -1: none */
	int awaited;       /* message id of the report to wait for; 0: none */
	uint8_t link;      /* enum link_state */
	uint8_t phase;     /* enum device_phase */
	uint8_t reported;  /* enum report_status of the last report */
	uint8_t reported_error;
	uint8_t pending; /* enum report_status to send at the next connection; 0: a plain one */
	uint8_t pending_error;
	bool greeted; /* connected at least once */
	bool queued;  /* in the fleet's connection queue */
	bool stalled; /* its link lets nothing through for a while */
	char boot_id[DEVICE_BOOT_ID_SIZE];
};

/* Write the device's id. */
void device_name(const struct device *device, char *out, size_t size);

/* Write the id it connects and reports with: its own, but for a clone; or that of a neighbour. */
void device_client_id(const struct device *device, char *out, size_t size);
void device_neighbour(const struct device *device, char *out, size_t size);

/* Write the folder of its slots and return it; NULL when the slots are in memory. */
const char *device_folder(const struct device *device, char *out, size_t size);

bool device_has(const struct device *device, enum fault fault);
bool device_is(const struct device *device, enum profile profile);

/* Does it lie about this? */
bool device_lies(const struct device *device, enum lie lie);

/*
 * Draw a number in `range`.  The n-th draw of a kind is the same in every run with this seed.
 */
uint32_t device_choose(struct device *device, enum choice choice, struct range range);

/* The version it runs now. */
const char *device_version(const struct device *device);

/* Go on with `phase` when `range` milliseconds (a random choice in it) have passed. */
void device_enter(struct device *device, enum device_phase phase, struct range range);

/* Prepare slots and faults and start it, at once or late.  False when the slots cannot be used. */
bool device_start(struct device *device, struct fleet *fleet, uint32_t index)
	__attribute__((warn_unused_result));
void device_stop(struct device *device);

/* From the connection. */
void device_on_connected(struct device *device);
void device_on_lost(struct device *device);
void device_on_message(
	struct device *device, const char *topic, const void *payload, size_t size, bool retained);
void device_on_acknowledged(struct device *device, int message);

/* From timers and downloads. */
void device_on_timer(struct device *device, enum timer_kind kind);
void device_on_download(void *device, enum download_event event, enum update_error error);

/* device_update.c: the phase's time has come, before the reboot. */
void device_continue_update(struct device *device);

/* Forget the update being worked on, if any. */
void device_drop_update(struct device *device);

/* device_boot.c: power on; and what follows the reboot. */
void device_boot(struct device *device);
void device_power_off(struct device *device, bool clean);

/* Never to be seen again; device_dies() does it when the profile says so, and then returns true. */
void device_go_dark(struct device *device);
bool device_dies(struct device *device, enum death death) __attribute__((warn_unused_result));
void device_finish_trial(struct device *device);
void device_fall_back(struct device *device, enum report_status status, enum update_error error);
