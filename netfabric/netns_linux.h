/* netns_linux: network namespaces with a name, and the few things that are set inside them and on
 * their host side.
 */
#ifndef SKEIN_NETFABRIC_NETNS_LINUX_H
#define SKEIN_NETFABRIC_NETNS_LINUX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"

/* What eth0 of a guest's namespace is to be. */
struct netns_interface {
    uint32_t ip;
    uint8_t prefix;
    uint8_t mac[MAC_SIZE];
};

/* Makes an empty namespace and binds it to `path`; one that stands there already is kept. */
int netns_make(const char *path, struct err *err);
/* Unbinds it; it ends with its last process. Nothing there is no error. */
int netns_remove(const char *path, struct err *err);
/* True when `path` is a namespace whose eth0 is the far end of the host's `peer`, and has the MAC
 * wanted, where `interface` is not NULL. */
bool netns_holds(const char *path, const struct netns_interface *interface, const char *peer);
/* Inside: lo up, no IPv6, eth0 with its address, no offloads, up. */
int netns_configure(const char *path, const struct netns_interface *interface, struct err *err);

/* In the caller's own namespace. Up or down is one ioctl. */
int interface_set_up(const char *name, bool is_up, struct err *err);
/* Address, prefix and MTU of an interface, and up; what is so already is left alone. */
int interface_set_address(const char *name, uint32_t ip, uint8_t prefix, int mtu, struct err *err);
void interface_disable_ipv6(const char *name);
/* Bytes that came in and went out since it was made; false when there is no such interface. */
bool interface_count(const char *name, uint64_t *ret_in, uint64_t *ret_out);

#endif
