/* lease_thread: the one thread of the guard that must never wait (shell: epoll, timerfd).
 *
 * It owns the lease connection and the lease's timer. When the lease ends it freezes by system
 * calls and hypercalls alone, with memory that it has since the start: no disk, no log, no
 * allocation, nothing that the work thread could hold up. The work thread hears of it through an
 * eventfd.
 */
#ifndef SKEIN_AGENT_GUARD_LEASE_THREAD_POSIX_H
#define SKEIN_AGENT_GUARD_LEASE_THREAD_POSIX_H

#include "agent/guard/cgroup.h"
#include "agent/guard/deadline_bpf.h"
#include "agent/guard/domains_xen.h"
#include "agent/guard/roster_posix.h"

struct lease_thread;

struct lease_thread_config {
    struct roster *roster;           /* borrowed, outlive the thread */
    struct cgroups *cgroups;         /* likewise */
    struct domains *domains;         /* likewise; NULL = none */
    const struct deadline *deadline; /* likewise; moved with the lease's end, and not by a lapse */
    int notify_fd;                   /* eventfd: written after each lapse and each lift */
    int watchdog_fd;                 /* -1 = none */
    int priority;                    /* of SCHED_FIFO */
};

/* What the thread did since the last look, for the log. */
struct lease_notes {
    uint32_t n_lapses, n_lifts, n_destroyed;
    uint32_t freeze_us; /* from the wake-up to the freezer's word, of the last lapse */
    uint32_t ports_us;  /* and until every port was down */
    int freeze_rc;      /* 0, or why freezing failed: everything was killed instead */
};

/* Starts it. *ret_has_priority: SCHED_FIFO was allowed. */
int lease_thread_start(const struct lease_thread_config *config, struct lease_thread **ret,
                       bool *ret_has_priority, struct err *err);
/* Takes a connection that said hello; it replaces the one before. */
void lease_thread_give_connection(struct lease_thread *t, int fd);
void lease_thread_take_notes(struct lease_thread *t, struct lease_notes *ret);
/* Ends it; everything is left frozen. */
void lease_thread_stop(struct lease_thread *t);

#endif
