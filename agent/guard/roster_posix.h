/* roster: what the lease thread and the work thread share: the lease holder, and which guest copies
 * may have something that runs (shell: pthread locks).
 *
 * Two locks, both with priority inheritance. `lock` guards memory and is held for a copy or a look.
 * `port_lock` is held over the one ioctl that moves a port, so that a port never comes up behind
 * the back of a lapse; freezing never waits for it.
 */
#ifndef SKEIN_AGENT_GUARD_ROSTER_POSIX_H
#define SKEIN_AGENT_GUARD_ROSTER_POSIX_H

#include <pthread.h>

#include "agent/guard/domctl.h"
#include "agent/guard/holder.h"
#include "base/err.h"

struct roster_entry {
    char guest[NAME_SIZE]; /* "" = a free place */
    uint64_t epoch;
    uint8_t cluster[NONCE_SIZE]; /* that the epoch is of */
    uint16_t port;               /* 0 = no network */
    uint64_t created;            /* of the guest: names its domain */
    bool stays;
    bool has_copy;   /* something of (guest, epoch) may exist; false: a migration's target */
    bool wants_port; /* up whenever the lease lives */
    bool wants_run;  /* its domain may, whenever the lease lives: it stands, and nobody froze it */
    bool is_destroyed; /* by a lift; the work thread clears away the rest */
};

struct roster {
    pthread_mutex_t lock, port_lock;
    struct holder holder;
    struct roster_entry entries[MAX_NODE_GUESTS];
};

int roster_init(struct roster *r, const uint8_t boot_nonce[NONCE_SIZE], uint32_t run,
                uint32_t freeze_ms, struct err *err);
void roster_deinit(struct roster *r);

bool roster_is_lapsed(struct roster *r);
/* The cluster whose leases these are; zeroes before its first ack. */
void roster_cluster(struct roster *r, uint8_t ret[NONCE_SIZE]);
/* Enters a guest or changes its entry. With `is_start` only under a live lease and at or above the
 * floor (holder_may_start; words in err), and for the cluster of that lease, which the entry is
 * given; in one step with the check, so that no lift comes between. -ENOSPC when the node is
 * full. */
int roster_put(struct roster *r, struct roster_entry *entry, bool is_start, uint64_t index,
               struct err *err);
/* The same check alone. */
int roster_may_start(struct roster *r, uint64_t index, struct err *err);
void roster_remove(struct roster *r, const char *guest);
/* Wants the guest's port up or down, and moves it so far as the lease allows. */
int roster_set_port(struct roster *r, const char *guest, bool is_up, struct err *err);
/* Wants it down, and leaves it to somebody else to move it: see JOB_CAPTURE. */
void roster_want_port_down(struct roster *r, const char *guest);
/* Moves every wanted port as the lease says. Returns the last error. */
int roster_move_ports(struct roster *r);
/* Wants the guest's domain to run or not; it is the caller's to have it follow. */
void roster_set_run(struct roster *r, const char *guest, bool may_run);
/* Whether a domain may run now: the contract of domains_unpause (context: the roster). */
bool roster_may_run(void *context, const struct domain_name *name);
/* Copies all entries. */
void roster_copy(struct roster *r, struct roster_entry ret[MAX_NODE_GUESTS]);
/* Marks the copy destroyed; its port stays down. */
void roster_mark_destroyed(struct roster *r, const char *guest, uint64_t epoch);
bool roster_is_destroyed(struct roster *r, const char *guest);

#endif
