/* domains: guests whose processors are the hypervisor's, so that no freezer of this kernel reaches
 * them (shell: hypercalls through /dev/xen/privcmd).
 *
 * A guest's domain is known by its handle (domctl.h), not by a number that somebody has to tell:
 * what the hypervisor lists under such a handle is found, also a domain that is just being made.
 * Domains are made paused, and nobody but this guard lets one run; so that it is paused says all.
 * Each call is one or more hypercalls in the calling thread: no process is asked, nothing is
 * allocated, and when a pause returns, none of the domain's processors runs. One lock around each
 * call: the work thread and the lease thread use it.
 */
#ifndef SKEIN_AGENT_GUARD_DOMAINS_XEN_H
#define SKEIN_AGENT_GUARD_DOMAINS_XEN_H

#include <stdint.h>

#include "agent/guard/domctl.h"
#include "base/err.h"

struct domains;

/* *ret NULL: this machine is no Xen's control domain; all calls below do nothing then and return 0.
 * -ENOTSUP: it is, but of a Xen whose control interface is not known here. */
int domains_open(struct domains **ret, struct err *err);
void domains_close(struct domains *d);

/* Pauses every guest's domain but those that stay. What cannot be paused is destroyed. Negative
 * errno: at least one could be neither. */
int domains_pause(struct domains *d);
/* Lets every domain run that `may_run` agrees to; the others stay as they are. */
int domains_unpause(struct domains *d,
                    bool (*may_run)(void *context, const struct domain_name *name), void *context);

/* The guest's domain, if it has one. */
int domain_pause(struct domains *d, const struct domain_name *name);
/* What the guest's domain has used since it was made, and holds now; zeroes without one. */
struct domain_use {
    uint64_t cpu_us, memory_bytes;
};
int domain_use(struct domains *d, const struct domain_name *name, struct domain_use *ret);
/* It never runs again; the hypervisor may keep what is left of it until others let go of it. */
int domain_destroy(struct domains *d, const struct domain_name *name);
/* Calls `each` for every guest's domain that is not being taken apart. */
int domains_list(struct domains *d, void (*each)(void *context, const struct domain_name *name),
                 void *context);

#endif
