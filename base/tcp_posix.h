/* tcp_posix: TCP sockets as the transports between nodes want them. */
#ifndef SKEIN_BASE_TCP_POSIX_H
#define SKEIN_BASE_TCP_POSIX_H

#include <netinet/in.h>
#include <stdint.h>

#include "base/err.h"

/* Classes of traffic (docs/links.md), as IP_TOS says them. */
enum {
    TOS_CONTROL = 0xC0, /* CS6: beats, acks, Raft */
    TOS_REQUEST = 0x40, /* CS2 */
    TOS_BULK = 0x20,    /* CS1: images, migration */
};

/* Payload of a segment of the control class. What is lost is sent again joined with what waits
 * behind it (tcp_retrans_collapse), and a queue that has no room for a whole packet has some for a
 * small one: docs/benchmarks.md has the figures. */
enum { CONTROL_SEGMENT_SIZE = 512 };

/* Non-blocking, close-on-exec. -errno. */
int tcp_socket(void);
/* An option that nothing depends on: errors are left aside. */
void tcp_set(int fd, int level, int option, int value);
/* Before connect or listen. What a listener accepts has the same segments. */
void tcp_set_class(int fd, uint8_t tos);
struct sockaddr_in tcp_address(uint32_t address, uint16_t port);
/* -errno. */
int tcp_bind(int fd, uint32_t address, uint16_t port);
/* A socket that listens; port 0: any free one. -EADDRINUSE, -EADDRNOTAVAIL, …; the caller closes
 * it. */
int tcp_listen(uint32_t address, uint16_t port, uint8_t tos, int backlog, struct err *err);

#endif
