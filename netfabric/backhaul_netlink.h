/* backhaul_netlink: reads the uplink's counters from the kernel (rtnetlink; reading needs no
 * privilege). */
#ifndef SKEIN_NETFABRIC_BACKHAUL_NETLINK_H
#define SKEIN_NETFABRIC_BACKHAUL_NETLINK_H

#include "base/err.h"
#include "netfabric/backhaul.h"

/* Fills the counters; capacity and rates are the caller's. Two short exchanges with the kernel,
 * which answers at once. -ENODEV without such an interface. */
int backhaul_read(const char *interface, struct backhaul *ret, struct err *err);

#endif
