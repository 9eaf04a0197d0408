#include "agent/guard/packet_posix.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
    struct cmsghdr header; /* for its alignment */
    char bytes[CMSG_SPACE(sizeof(int) * PACKET_MAX_FDS)];
};

static void attach(struct msghdr *message, union control *control, const int *fds, size_t n_fds)
{
    int open_fds[PACKET_MAX_FDS];
    size_t n = 0;

    for (size_t i = 0; i < n_fds && n < PACKET_MAX_FDS; i++) {
        if (fds[i] >= 0)
            open_fds[n++] = fds[i];
    }
    if (n == 0)
        return;
    memset(control, 0, sizeof(*control));
    message->msg_control = control;
    message->msg_controllen = CMSG_SPACE(sizeof(int) * n);
    CMSG_FIRSTHDR(message)->cmsg_level = SOL_SOCKET;
    CMSG_FIRSTHDR(message)->cmsg_type = SCM_RIGHTS;
    CMSG_FIRSTHDR(message)->cmsg_len = CMSG_LEN(sizeof(int) * n);
    memcpy(CMSG_DATA(CMSG_FIRSTHDR(message)), open_fds, sizeof(int) * n);
}

int packet_send(int socket, const void *data, size_t size, const int *fds, size_t n_fds)
{
    struct iovec part = {.iov_base = (void *)(size_t)data, .iov_len = size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    union control control;

    attach(&message, &control, fds, n_fds);
    while (sendmsg(socket, &message, MSG_NOSIGNAL) < 0) {
        if (errno != EINTR)
            return -errno;
    }
    return 0;
}

/* Puts what came into ret_fds; what has no place there is closed. */
static void detach(struct msghdr *message, int *ret_fds)
{
    int n = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        size_t n_here = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < n_here; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (n < PACKET_MAX_FDS)
                ret_fds[n++] = fd;
            else
                close(fd);
        }
    }
}

ssize_t packet_receive(int socket, void *data, size_t capacity, int *ret_fds)
{
    struct iovec part = {.iov_base = data, .iov_len = capacity};
    union control control;
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    ssize_t size;

    for (int i = 0; i < PACKET_MAX_FDS; i++)
        ret_fds[i] = -1;
    do
        size = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (size < 0 && errno == EINTR);
    if (size < 0)
        return -errno;
    detach(&message, ret_fds);
    if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0)
        return size;
    for (int i = 0; i < PACKET_MAX_FDS; i++) {
        if (ret_fds[i] >= 0)
            close(ret_fds[i]);
        ret_fds[i] = -1;
    }
    return -EMSGSIZE;
}

void packet_make_room(int socket, size_t size)
{
    int room = (int)(2 * size);

    setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
}
