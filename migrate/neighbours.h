/* neighbours: whom a guest knows by its hardware address, as the kernel lists them (pure).
 *
 * A guest that moved finds an empty table in its new network namespace. Its first packet asks by
 * ARP, while its port is still closed, and the next question comes a retransmission's time later
 * (netfabric/netns_linux.c: 20 ms): all of that would be part of each blackout. So the table moves
 * along. An address that is known like that is used at once, and asked about within seconds.
 */
#ifndef SKEIN_MIGRATE_NEIGHBOURS_H
#define SKEIN_MIGRATE_NEIGHBOURS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

struct neighbour {
    uint32_t ip; /* host order */
    uint8_t mac[MAC_SIZE];
};

/* One line of /proc/net/arp; false for its heading, for what is not known (yet), and for interfaces
 * other than eth0. */
bool neighbour_parse(const char *line, struct neighbour *ret);

#endif
