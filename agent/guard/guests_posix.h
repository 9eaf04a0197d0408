/* guests: the work thread's table of what this node holds, and the state of each (shell: pidfd).
 *
 * An entry stands as long as its guest exists or an operation on it waits; state 0 says that there
 * is no such guest.
 */
#ifndef SKEIN_AGENT_GUARD_GUESTS_POSIX_H
#define SKEIN_AGENT_GUARD_GUESTS_POSIX_H

#include "agent/guard/domctl.h"
#include "agent/guard/record.h"

struct operation;

struct local_guest {
    char name[NAME_SIZE];
    struct guest_record record; /* state 0: there is no such guest */
    int pidfd;                  /* of its init; -1 = none */
    bool has_ended;             /* its init is gone */
    bool is_ours; /* started by this run of the guard: its exit status will be known */
    bool has_status;
    struct operation *current; /* one at a time */
    struct operation *first_waiting, *last_waiting;
    struct local_guest *next;
};

struct guests {
    struct local_guest *first;
    uint32_t n;
};

struct local_guest *guests_find(const struct guests *guests, const char *name);
/* Finds or makes the entry. NULL without memory, or with MAX_NODE_GUESTS entries already. */
struct local_guest *guests_need(struct guests *guests, const char *name);
struct local_guest *guests_find_pid(const struct guests *guests, uint32_t pid);
/* Frees the entry if there is no such guest and nobody waits for it. */
void guests_release(struct guests *guests, struct local_guest *guest);
void guests_deinit(struct guests *guests);

/* The guest is gone: frees what its record owns. */
void guest_clear(struct local_guest *guest);
void guest_report(const struct local_guest *guest, bool is_lapsed, struct guard_report *ret);
bool guest_runs(const struct local_guest *guest);
struct domain_name guest_domain(const struct guest_record *record);

#endif
