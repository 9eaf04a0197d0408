/* switch_ovs: ovs-vswitchd as a process: which one was set up, when it dies, and the calls of its
 * control socket.
 */
#ifndef SKEIN_NETFABRIC_SWITCH_OVS_H
#define SKEIN_NETFABRIC_SWITCH_OVS_H

#include <stdint.h>

#include "base/err.h"

/* Notes in /run/skein which process it is that was just set up. */
int switch_remember(struct err *err);
/* Waits until that process is gone (0; also when another one runs in its place, or none) or
 * `stop_fd` is readable (1). */
int switch_wait_for_death(int stop_fd, struct err *err);
/* Tells the switch the MAC behind each VTEP, so that no first packet waits for ARP. */
int switch_set_neighbours(const uint32_t *vteps, uint32_t n, struct err *err);

#endif
