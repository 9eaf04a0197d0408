/* socket_posix: whole messages over a Unix stream socket, with a limit of time, as the switch's
 * sockets want them.
 */
#ifndef SKEIN_NETFABRIC_SOCKET_POSIX_H
#define SKEIN_NETFABRIC_SOCKET_POSIX_H

#include <stddef.h>

/* A connected socket whose every read and write gives up after `limit_s` seconds; the caller closes
 * it. Negative errno. */
int socket_connect(const char *path, int limit_s);
/* All of it, or a negative errno (-ETIMEDOUT; -ECONNRESET at its end). */
int socket_write(int fd, const void *data, size_t size);
int socket_read(int fd, void *ret, size_t size);

#endif
