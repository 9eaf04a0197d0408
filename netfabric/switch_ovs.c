/* switch_ovs: see the header. A process is named by its pid and start time, in a file, so that a
 * restart of the caller forgets nothing and a reused pid deceives nobody.
 */
#include "netfabric/switch_ovs.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/clean.h"
#include "netfabric/socket_posix.h"

static const char *const pid_path = "/run/openvswitch/ovs-vswitchd.pid";
static const char *const record_path = "/run/skein/switch";

enum { IDENTITY_SIZE = 48, CONTROL_TIMEOUT_S = 5 };

/* A neighbour that no packet went to for so long is forgotten, and asked for by ARP. */
#define LONGEST_AGE_S "\"3600\""

static int read_text(const char *path, char *ret, size_t size)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, ret, size - 1);

    if (n < 0)
        return -errno;
    ret[n] = '\0';
    return 0;
}

static pid_t switch_pid(void)
{
    char text[32];

    return read_text(pid_path, text, sizeof(text)) < 0 ? 0 : (pid_t)atoi(text);
}

/* "PID STARTTIME", or -ESRCH. */
static int identity_of(pid_t pid, char ret[IDENTITY_SIZE])
{
    char path[40], stat[1024], *at, *save = NULL;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (pid <= 0 || read_text(path, stat, sizeof(stat)) < 0)
        return -ESRCH;
    at = strrchr(stat, ')'); /* field 2 ends here; the start time is field 22 */
    at = at == NULL ? NULL : strtok_r(at + 1, " ", &save);
    if (at == NULL || *at == 'Z' || *at == 'X')
        return -ESRCH;
    for (int field = 3; at != NULL && field < 22; field++)
        at = strtok_r(NULL, " ", &save);
    if (at == NULL)
        return -ESRCH;
    snprintf(ret, IDENTITY_SIZE, "%d %.20s", (int)pid, at);
    return 0;
}

int switch_remember(struct err *err)
{
    char identity[IDENTITY_SIZE];
    cleanup_close int fd = -1;

    if (identity_of(switch_pid(), identity) < 0)
        return err_set(err, -ESRCH, "ovs-vswitchd does not run; start it");
    mkdir("/run/skein", 0755);
    fd = open(record_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, identity, strlen(identity)) < 0)
        return err_set(err, -errno, "cannot write %s: %s", record_path, strerror(errno));
    return 0;
}

int switch_wait_for_death(int stop_fd, struct err *err)
{
    char recorded[IDENTITY_SIZE] = "", present[IDENTITY_SIZE];
    cleanup_close int fd = -1;
    struct pollfd fds[2];
    pid_t pid;

    if (read_text(record_path, recorded, sizeof(recorded)) < 0)
        return 0;
    pid = (pid_t)atoi(recorded);
    fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0 || identity_of(pid, present) < 0 || strcmp(present, recorded) != 0)
        return 0;
    fds[0] = (struct pollfd){.fd = fd, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = stop_fd, .events = POLLIN};
    while (poll(fds, 2, -1) < 0)
        if (errno != EINTR)
            return err_set(err, -errno, "cannot watch ovs-vswitchd: %s", strerror(errno));
    return fds[0].revents != 0 ? 0 : 1;
}

/* ---- the control socket: JSON-RPC, as ovs-appctl speaks it */

static int control_connect(void)
{
    char path[64];

    snprintf(path, sizeof(path), "/run/openvswitch/ovs-vswitchd.%d.ctl", (int)switch_pid());
    return socket_connect(path, CONTROL_TIMEOUT_S);
}

/* Reads one reply, a flat JSON object; 0 when it carries no error. */
static int control_read_reply(int fd)
{
    char text[1024];
    size_t n = 0;

    while (n < sizeof(text) - 1) {
        ssize_t got = recv(fd, text + n, sizeof(text) - 1 - n, 0);

        if (got <= 0)
            return got == 0 ? -ECONNRESET : -errno;
        n += (size_t)got;
        text[n] = '\0';
        if (text[n - 1] == '}' || (n > 1 && text[n - 2] == '}'))
            return strstr(text, "\"error\":null") != NULL ? 0 : -EIO;
    }
    return -EMSGSIZE;
}

/* `params` is JSON. */
static int control_call(int fd, const char *method, const char *params)
{
    char request[192];
    int n = snprintf(request, sizeof(request), "{\"id\":0,\"method\":\"%s\",\"params\":[%s]}",
                     method, params);

    int code = socket_write(fd, request, (size_t)n);

    return code < 0 ? code : control_read_reply(fd);
}

static int set_neighbour(int fd, uint32_t vtep)
{
    char params[96], ip[IPV4_TEXT_SIZE], mac[MAC_TEXT_SIZE];
    uint8_t bytes[MAC_SIZE];

    mac_of_vtep(vtep, bytes);
    snprintf(params, sizeof(params), "\"br-phy\",\"%s\",\"%s\"", ipv4_format(vtep, ip),
             mac_format(bytes, mac));
    return control_call(fd, "tnl/neigh/set", params);
}

int switch_set_neighbours(const uint32_t *vteps, uint32_t n, struct err *err)
{
    cleanup_close int fd = -1;
    int code;

    if (n == 0)
        return 0;
    fd = control_connect();
    if (fd < 0)
        return err_set(err, fd, "cannot reach ovs-vswitchd: %s", strerror(-fd));
    code = control_call(fd, "tnl/neigh/aging", LONGEST_AGE_S);
    for (uint32_t i = 0; code == 0 && i < n; i++)
        code = set_neighbour(fd, vteps[i]);
    if (code < 0)
        return err_set(err, code, "ovs-vswitchd takes no tunnel neighbour: %s", strerror(-code));
    return 0;
}
