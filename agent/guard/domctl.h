/* domctl: what is asked of the hypervisor Xen about its domains, as it reads and writes it in
 * memory (pure codec).
 *
 * The control interface of Xen (its public headers domctl.h and sysctl.h) is one of a hypervisor
 * and its tools, numbered anew whenever it changes. These are the numbers of Xen 4.19 and 4.20; a
 * hypervisor with others refuses every call with EACCES, and then nothing here is used.
 */
#ifndef SKEIN_AGENT_GUARD_DOMCTL_H
#define SKEIN_AGENT_GUARD_DOMCTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DOMCTL_SIZE = 144,      /* bytes of a question to domctl … */
    SYSCTL_SIZE = 136,      /* … and of one to sysctl */
    DOMAIN_INFO_SIZE = 112, /* of each domain that the list is written with */
    DOMAIN_HANDLE_SIZE = 16,
    DOMAIN_PAGE_SIZE = 4096,
};

enum domctl_order { DOMCTL_DESTROY = 2, DOMCTL_PAUSE = 3, DOMCTL_UNPAUSE = 4 };

/* A domain as the hypervisor lists it. */
struct domain_info {
    uint16_t id;
    bool is_dying, is_paused;
    uint64_t pages;                     /* of 4 KiB that it has now */
    uint64_t cpu_ns;                    /* of processor time that its processors have had */
    uint8_t handle[DOMAIN_HANDLE_SIZE]; /* its UUID */
};

/* A guest's domain is told by its handle: whose it is, and whether the lease is nothing to it. */
struct domain_name {
    uint64_t created; /* of the guest: of its low 48 bits */
    bool stays;       /* failover=stay */
};

void domain_handle(const struct domain_name *name, uint8_t ret[DOMAIN_HANDLE_SIZE]);
/* Of the guest that was created then. */
bool domain_is_of(const struct domain_name *name, uint64_t created);
/* False: it is no guest's. */
bool domain_handle_read(const uint8_t handle[DOMAIN_HANDLE_SIZE], struct domain_name *ret);

void domctl_encode(enum domctl_order order, uint16_t domain, uint8_t ret[DOMCTL_SIZE]);
/* A list of at most `max` domains from the id `first` on, to be written to the address `list`. */
void sysctl_encode_list(uint16_t first, uint32_t max, uint64_t list, uint8_t ret[SYSCTL_SIZE]);
/* How many it has written. */
uint32_t sysctl_decode_list(const uint8_t answer[SYSCTL_SIZE]);
void domain_info_decode(const uint8_t bytes[DOMAIN_INFO_SIZE], struct domain_info *ret);

#endif
