/* packet: one message and its descriptors over a SOCK_SEQPACKET socket (shell). */
#ifndef SKEIN_AGENT_GUARD_PACKET_POSIX_H
#define SKEIN_AGENT_GUARD_PACKET_POSIX_H

#include <stddef.h>
#include <sys/types.h>

enum { PACKET_MAX_FDS = 3 };

/* Sends all or nothing; descriptors that are negative are left out. 0; -EAGAIN when it would block;
 * no SIGPIPE. */
int packet_send(int socket, const void *data, size_t size, const int *fds, size_t n_fds);
/* Receives one packet; the descriptors (close-on-exec) are the caller's. ret_fds holds
 * PACKET_MAX_FDS places, -1 = none. Returns the size, 0 at the end of the connection; -EAGAIN;
 * -EMSGSIZE for a packet larger than `capacity` or with more descriptors (closed). */
ssize_t packet_receive(int socket, void *data, size_t capacity, int *ret_fds);
/* Room for the largest packets, so far as the system lets us. */
void packet_make_room(int socket, size_t size);

#endif
