/* cable_netlink: the veth pair between a guest's namespace and the switch, by rtnetlink(7). */
#ifndef SKEIN_NETFABRIC_CABLE_NETLINK_H
#define SKEIN_NETFABRIC_CABLE_NETLINK_H

#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"

/* `name` in the caller's namespace, down; its other end is eth0, with `mac`, in the namespace at
 * `netns`. -EEXIST when there is an interface of that name on either side. */
int cable_make(const char *name, const char *netns, const uint8_t mac[MAC_SIZE], unsigned mtu,
               struct err *err);
/* Both ends; nothing there is no error. */
int cable_remove(const char *name, struct err *err);

#endif
