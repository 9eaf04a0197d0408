/* hypercall: the request by which Linux makes a hypercall for a process of Xen's control domain
 * (/dev/xen/privcmd; the kernel's include/uapi/xen/privcmd.h, which has no packaged header). Also
 * for the guard's system call filter.
 */
#ifndef SKEIN_AGENT_GUARD_HYPERCALL_XEN_H
#define SKEIN_AGENT_GUARD_HYPERCALL_XEN_H

#include <linux/ioctl.h>
#include <stdint.h>

struct hypercall_request {
    uint64_t number;
    uint64_t arguments[5];
};

#define HYPERCALL_REQUEST _IOC(_IOC_NONE, 'P', 0, sizeof(struct hypercall_request))

#endif
