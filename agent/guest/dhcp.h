/* dhcp: the answer to a virtual machine that asks for its address (RFC 2131; pure).
 *
 * Each machine is heard on its own port alone and has one address for good, so there is nothing to
 * remember: every question has one answer, and the lease has no end.
 */
#ifndef SKEIN_AGENT_GUEST_DHCP_H
#define SKEIN_AGENT_GUEST_DHCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

enum {
    DHCP_SERVER_PORT = 67,
    DHCP_CLIENT_PORT = 68,
    DHCP_FRAME_MAX = 1514, /* bytes of a question: an Ethernet frame */
    DHCP_ANSWER_MAX = 600,
};

/* What the machine is told. */
struct dhcp_lease {
    uint8_t mac[MAC_SIZE];
    uint32_t ip;
    uint8_t prefix;
    uint32_t server; /* who answers: the address that is kept for a gateway */
    uint16_t mtu;
    const char *host_name;
};

/* Ethernet frame in, Ethernet frame out. The size of the answer; 0: it is nothing to be answered. */
size_t dhcp_answer(const struct dhcp_lease *lease, const uint8_t *frame, size_t size,
                   uint8_t ret[DHCP_ANSWER_MAX]);

#endif
