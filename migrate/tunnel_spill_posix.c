#include "migrate/tunnel_spill_posix.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SPILL_SIZE = 64 * 1024 };

static int take(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

void tunnel_spill_begin(struct tunnel_spill *spill, struct tunnel_end *e)
{
    spill->door = e->doors[TUNNEL_MEMORY];
    spill->fds[0] = take(&e->listeners[TUNNEL_MEMORY]);
    for (int i = 0; i < TUNNEL_MAX_CHANNELS; i++) {
        const struct tunnel_channel *c = &e->tunnel.channels[i];
        bool is_memory = c->is_used && c->door == TUNNEL_MEMORY;

        spill->fds[1 + i] = is_memory ? take(&e->lines[i].fd) : -1;
    }
}

void tunnel_spill_poll(const struct tunnel_spill *spill, struct pollfd ret[TUNNEL_SPILL_FDS])
{
    for (int i = 0; i < TUNNEL_SPILL_FDS; i++)
        ret[i] = (struct pollfd){.fd = spill->fds[i], .events = POLLIN};
}

static void let_in(struct tunnel_spill *spill)
{
    int fd = accept4(spill->fds[0], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    for (int i = 1; fd >= 0 && i < TUNNEL_SPILL_FDS; i++) {
        if (spill->fds[i] < 0)
            spill->fds[i] = take(&fd);
    }
    if (fd >= 0)
        close(fd);
}

void tunnel_spill_serve(struct tunnel_spill *spill, const struct pollfd fds[TUNNEL_SPILL_FDS])
{
    char unread[SPILL_SIZE];

    for (int i = 1; i < TUNNEL_SPILL_FDS; i++) {
        ssize_t n = fds[i].revents != 0 ? read(spill->fds[i], unread, sizeof(unread)) : 1;

        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            close(take(&spill->fds[i]));
    }
    if (fds[0].revents != 0)
        let_in(spill);
}

void tunnel_spill_end(struct tunnel_spill *spill)
{
    if (spill->fds[0] >= 0)
        unlink(spill->door);
    for (int i = 0; i < TUNNEL_SPILL_FDS; i++) {
        if (spill->fds[i] >= 0)
            close(take(&spill->fds[i]));
    }
}
