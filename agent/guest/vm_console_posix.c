#include "agent/guest/vm_console_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clean.h"
#include "base/tree_posix.h"

enum { CHUNK = 4096 };

static int listen_at(const char *path, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    unlink(path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(fd, VM_MAX_CLIENTS) < 0)
        return err_set(err, -errno, "cannot listen at %s: %s", path, strerror(errno));
    return fd;
}

static int open_log(struct vm_console *c, const char *path, struct err *err)
{
    struct stat st;
    int rc = tree_make_above(path, 0750, err);

    if (rc < 0)
        return rc;
    c->log = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (c->log < 0 || fstat(c->log, &st) < 0)
        return err_set(err, -errno, "cannot open %s: %s", path, strerror(errno));
    c->log_size = (size_t)st.st_size;
    return 0;
}

int vm_console_open(struct vm_console *c, const struct guest_paths *paths,
                    const struct vm_paths *vm, uint32_t uid, struct err *err)
{
    int rc = open_log(c, paths->log, err);

    c->qemu = -1;
    for (int i = 0; i < VM_MAX_CLIENTS; i++)
        c->clients[i] = -1;
    if (rc < 0)
        return rc;
    c->qemu_listener = listen_at(vm->console, err);
    if (c->qemu_listener < 0)
        return c->qemu_listener;
    if (lchown(vm->console, uid, uid) < 0)
        return err_set(err, -errno, "cannot give %s away: %s", vm->console, strerror(errno));
    c->client_listener = listen_at(vm->clients, err);
    return c->client_listener < 0 ? c->client_listener : 0;
}

/* A negative descriptor is passed over by poll(). */
void vm_console_poll(const struct vm_console *c, struct pollfd ret[VM_CONSOLE_FDS])
{
    ret[0] = (struct pollfd){.fd = c->qemu < 0 ? c->qemu_listener : -1, .events = POLLIN};
    ret[1] = (struct pollfd){.fd = c->client_listener, .events = POLLIN};
    ret[2] = (struct pollfd){.fd = c->qemu, .events = POLLIN};
    for (int i = 0; i < VM_MAX_CLIENTS; i++)
        ret[3 + i] = (struct pollfd){.fd = c->clients[i], .events = POLLIN};
}

static void drop(int *fd)
{
    close(*fd);
    *fd = -1;
}

static void add_client(struct vm_console *c)
{
    int fd = accept4(c->client_listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    for (int i = 0; fd >= 0 && i < VM_MAX_CLIENTS; i++) {
        if (c->clients[i] < 0) {
            c->clients[i] = fd;
            return;
        }
    }
    if (fd >= 0)
        close(fd);
}

/* Past its limit the log loses its older half. */
static void cut_log(struct vm_console *c)
{
    const size_t half = VM_LOG_MAX / 2;
    cleanup_free char *newer = malloc(half);
    ssize_t n;

    if (newer == NULL)
        return;
    n = pread(c->log, newer, half, (off_t)(c->log_size - half));
    if (n < 0 || ftruncate(c->log, 0) < 0)
        return;
    c->log_size = write(c->log, newer, (size_t)n) == n ? (size_t)n : 0;
}

/* A client that does not keep up misses something; nobody waits for it. */
static void from_qemu(struct vm_console *c)
{
    char chunk[CHUNK];
    ssize_t n = read(c->qemu, chunk, sizeof(chunk));

    if (n <= 0 && errno != EAGAIN)
        drop(&c->qemu);
    if (n <= 0)
        return;
    if (write(c->log, chunk, (size_t)n) == n)
        c->log_size += (size_t)n;
    if (c->log_size > VM_LOG_MAX)
        cut_log(c);
    for (int i = 0; i < VM_MAX_CLIENTS; i++) {
        if (c->clients[i] >= 0 && write(c->clients[i], chunk, (size_t)n) < 0 && errno != EAGAIN)
            drop(&c->clients[i]);
    }
}

static void from_client(struct vm_console *c, int *client)
{
    char chunk[CHUNK];
    ssize_t n = read(*client, chunk, sizeof(chunk));

    if (n == 0 || (n < 0 && errno != EAGAIN))
        drop(client);
    else if (n > 0 && c->qemu >= 0 && write(c->qemu, chunk, (size_t)n) < 0 && errno != EAGAIN)
        drop(&c->qemu);
}

void vm_console_serve(struct vm_console *c, const struct pollfd fds[VM_CONSOLE_FDS])
{
    if (fds[0].revents != 0)
        c->qemu = accept4(c->qemu_listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fds[1].revents != 0)
        add_client(c);
    if (fds[2].revents != 0)
        from_qemu(c);
    for (int i = 0; i < VM_MAX_CLIENTS; i++) {
        if (fds[3 + i].revents != 0 && c->clients[i] >= 0)
            from_client(c, &c->clients[i]);
    }
}
