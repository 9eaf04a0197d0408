/* addr: IPv4 addresses, subnets and MAC addresses as values (pure). Addresses are host-endian
 * numbers. */
#ifndef SKEIN_BASE_ADDR_H
#define SKEIN_BASE_ADDR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum { IPV4_TEXT_SIZE = 16, SUBNET_TEXT_SIZE = 20, MAC_TEXT_SIZE = 18, MAC_SIZE = 6 };

struct subnet {
    uint32_t network; /* no host bits */
    uint8_t prefix;   /* 8…30 for a slice */
};

int ipv4_parse(const char *text, uint32_t *ret, struct err *err);
const char *ipv4_format(uint32_t address, char ret[IPV4_TEXT_SIZE]);
/* "10.7.0.0/24"; refuses host bits that are set. */
int subnet_parse(const char *text, struct subnet *ret, struct err *err);
const char *subnet_format(struct subnet subnet, char ret[SUBNET_TEXT_SIZE]);
bool subnet_overlaps(struct subnet a, struct subnet b);
bool subnet_contains(struct subnet subnet, uint32_t address);
const char *mac_format(const uint8_t mac[MAC_SIZE], char ret[MAC_TEXT_SIZE]);
/* The locally administered unicast MAC of a guest: 02:5c and the IPv4 address. */
void mac_of_guest(uint32_t address, uint8_t ret[MAC_SIZE]);
/* The MAC that a node's VTEP bridge carries: 02:5d and its IPv4 address. */
void mac_of_vtep(uint32_t address, uint8_t ret[MAC_SIZE]);

#endif
