/* vm_dhcp: answers a virtual machine that asks for its address, on its own tap (dhcp.h; shell).
 *
 * The switch is not involved: it would drop the question, whose source has no address yet. */
#ifndef SKEIN_AGENT_GUEST_VM_DHCP_LINUX_H
#define SKEIN_AGENT_GUEST_VM_DHCP_LINUX_H

#include <poll.h>

#include "agent/guest/dhcp.h"
#include "agent/guest/guest.h"

struct vm_dhcp {
    int fd; /* -1 = it has no network */
    struct dhcp_lease lease;
};

/* `run` is borrowed for as long. The machine's tap is there. */
int vm_dhcp_open(struct vm_dhcp *d, const struct guest_run *run, struct err *err);
/* A negative descriptor is passed over by poll(). */
void vm_dhcp_poll(const struct vm_dhcp *d, struct pollfd *ret);
void vm_dhcp_serve(struct vm_dhcp *d, const struct pollfd *fd);

#endif
