#include "migrate/tunnel_door_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "migrate/tunnel.h"

static void address_of(const char *path, struct sockaddr_un *ret)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(ret->sun_path, sizeof(ret->sun_path), "%s", path);
}

static int bind_to(int fd, const char *path, bool is_private)
{
    mode_t mask = umask(is_private ? 0177 : 0);
    struct sockaddr_un address;
    int rc;

    address_of(path, &address);
    unlink(path);
    rc = bind(fd, (struct sockaddr *)&address, sizeof(address));
    umask(mask);
    return rc;
}

int tunnel_door_listen(const char *path, bool is_private, struct err *err)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), code;

    if (fd >= 0 && bind_to(fd, path, is_private) == 0 && listen(fd, TUNNEL_MAX_CHANNELS) == 0)
        return fd;
    code = err_set(err, -errno, "cannot listen at %s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return code;
}

int tunnel_door_connect(const char *path)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address;

    address_of(path, &address);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
        fcntl(fd, F_SETFL, O_NONBLOCK) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}
