/* connections: a guest's TCP connections as the kernel lists them, and what makes their other ends
 * give them up (pure).
 *
 * A guest that resumes from a checkpoint finds its connections closed; their other ends do not
 * know. To a segment that is out of its window a peer answers with where it stands (RFC
 * 9293, 3.10.7.4), and to that answer the kernel of the resumed guest, which knows of no such
 * connection, says RST with just the number that the peer expects (RFC 5961, 3.2): a reset that it
 * takes.
 */
#ifndef SKEIN_MIGRATE_CONNECTIONS_H
#define SKEIN_MIGRATE_CONNECTIONS_H

#include <stdbool.h>
#include <stdint.h>

/* In the snapshot's image files: /proc/net/tcp and /proc/net/tcp6 of the guest, one after the
 * other. */
#define CONNECTIONS_FILE "connections.img"

enum { CONNECTIONS_MAX = 4096, CONNECTIONS_PROBE_SIZE = 40 };

struct connection_end {
    uint32_t ip; /* host order */
    uint16_t port;
};

struct connection {
    struct connection_end own, peer;
};

/* One line of such a table; false for headings, listeners, what is closed, and what is no IPv4. */
bool connection_parse(const char *line, struct connection *ret);

/* The segment, an IPv4 packet of its own: a bare ACK that means nothing to the peer. */
void connection_probe(const struct connection *connection, uint32_t sequence,
                      uint8_t ret[CONNECTIONS_PROBE_SIZE]);

#endif
