/* fake_world: what skein-guard drives, replaced for tests of the guard's own process: guests that
 * count, ports that are files, a mover that moves the count. Everything lies in /run/fake.
 *
 *     NAME.count   "COUNT BOOTTIME_US\n", written by the guest every 2 ms
 *     port.N       "up" or "down"
 *     fail.OP      while it is there, OP fails (-EIO)
 *     hold.OP      while it is there, OP waits
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/guard/clock_posix.h"
#include "agent/guest/guest.h"
#include "agent/guest/unpack_archive.h"
#include "migrate/mover.h"
#include "netfabric/wiring.h"

static void path_of(char ret[128], const char *what, const char *name)
{
    snprintf(ret, 128, "/run/fake/%s.%s", what, name);
}

static bool stands(const char *what, const char *name)
{
    char path[128];

    path_of(path, what, name);
    return access(path, F_OK) == 0;
}

static int act(const char *op, struct err *err)
{
    struct timespec step = {.tv_nsec = 1000000};

    while (stands("hold", op))
        nanosleep(&step, NULL);
    return stands("fail", op) ? err_set(err, -EIO, "%s fails, as told", op) : 0;
}

static void write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        return;
    close(fd);
}

/* ---- guests */

static void count_for_ever(const char *name, unsigned long long count)
{
    struct timespec step = {.tv_nsec = 2000000};
    char path[128], text[64];
    int fd;

    snprintf(path, sizeof(path), "/run/fake/%s.count", name);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644); /* its readers never find it empty again */
    for (;;) {
        int n = snprintf(text, sizeof(text), "%012llu %016llu\n", ++count,
                         (unsigned long long)clock_now_us());

        if (pwrite(fd, text, (size_t)n, 0) < 0)
            _exit(9);
        nanosleep(&step, NULL);
    }
}

static pid_t fork_guest(const char *name, char *const argv[], unsigned long long count)
{
    pid_t pid = fork();

    /* Out of its job's group, by whichever is first: an executor whose guard dies ends that. */
    setpgid(pid, pid);
    if (pid != 0)
        return pid;
    close_range(3, ~0U, 0);
    if (argv != NULL && strcmp(argv[0], "exit") == 0)
        _exit(atoi(argv[1]));
    if (argv != NULL && strcmp(argv[0], "stubborn") == 0)
        signal(SIGTERM, SIG_IGN);
    count_for_ever(name, count);
    return 0;
}

static int fake_start(const struct guest_run *run, const struct guest_paths *paths, pid_t *ret_pid,
                      struct err *err)
{
    int rc = act("start", err);

    if (rc < 0)
        return rc;
    write_text(paths->log, "it speaks\n");
    *ret_pid = fork_guest(run->spec.name, run->spec.argv, 0);
    return 0;
}

static int fake_terminate(pid_t pid, struct err *err)
{
    (void)err;
    kill(pid, SIGTERM);
    return 0;
}

static int fake_exec(pid_t pid, const struct guest_run *run, char *const argv[], const int stdio[3],
                     int *ret_status, struct err *err)
{
    pid_t child = fork();

    (void)pid, (void)run, (void)err;
    if (child == 0) {
        for (int i = 0; i < 3; i++)
            dup2(stdio[i], i);
        execvp(argv[0], argv);
        _exit(127);
    }
    waitpid(child, ret_status, 0);
    return 0;
}

static int fake_prepare(const struct guest_run *run, const struct guest_paths *paths,
                        struct err *err)
{
    (void)run, (void)paths, (void)err;
    return 0;
}

static int fake_clean_up(const struct guest_paths *paths, bool keep_upper, struct err *err)
{
    (void)err;
    if (!keep_upper)
        unlink(paths->log);
    return 0;
}

const struct guest_kind_ops guest_cell_ops = {
    .kind = KIND_CELL,
    .name = "cell",
    .can_exec = true,
    .mover = &mover_criu_ops,
    .start = fake_start,
    .prepare = fake_prepare,
    .terminate = fake_terminate,
    .exec = fake_exec,
    .clean_up = fake_clean_up,
};

/* What fakes a cell fakes a machine too; it has a console that says nothing. */
static int fake_console(const struct guest_paths *paths, const int stdio[2], struct err *err)
{
    (void)paths;
    (void)stdio;
    (void)err;
    return 0;
}

const struct guest_kind_ops guest_vm_ops = {
    .kind = KIND_VM,
    .name = "vm",
    .can_console = true,
    .start = fake_start,
    .prepare = fake_prepare,
    .terminate = fake_terminate,
    .console = fake_console,
    .clean_up = fake_clean_up,
};

const struct guest_kind_ops guest_lxc_ops = {
    .kind = KIND_LXC,
    .name = "lxc",
    .can_exec = true,
    .can_console = true,
    .start = fake_start,
    .prepare = fake_prepare,
    .terminate = fake_terminate,
    .exec = fake_exec,
    .console = fake_console,
    .clean_up = fake_clean_up,
};

int unpack_image(int fd, const uint8_t digest[DIGEST_SIZE], const char *image_root, struct err *err)
{
    (void)fd, (void)digest;
    return mkdir(image_root, 0755) < 0 && errno != EEXIST ? err_set(err, -errno, "no root") : 0;
}

int unpack_remove(const char *image_root, struct err *err)
{
    (void)err;
    return rmdir(image_root) < 0 ? -errno : 0;
}

/* ---- the mover: the count crosses */

static int fake_check(const struct mover_guest *guest, struct err *err)
{
    (void)guest;
    return act("check", err);
}

static bool says(const char *path, const char *word)
{
    char text[64] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    if (fd >= 0)
        close(fd);
    return size < 0 || strstr(text, word) != NULL;
}

static void freeze_v1(const char *state, bool is_frozen)
{
    struct timespec step = {.tv_nsec = 1000000};

    write_text(state, is_frozen ? "FROZEN" : "THAWED");
    while (is_frozen && !says(state, "FROZEN"))
        nanosleep(&step, NULL);
}

/* Frozen means that the count stands when this returns. */
static void freeze(const struct mover_guest *guest, bool is_frozen)
{
    struct timespec step = {.tv_nsec = 1000000};
    char path[256];

    snprintf(path, sizeof(path), "%s/freezer.state", guest->freezer);
    if (access(path, F_OK) == 0) {
        freeze_v1(path, is_frozen);
        return;
    }
    snprintf(path, sizeof(path), "%s/cgroup.freeze", guest->freezer);
    write_text(path, is_frozen ? "1" : "0");
    snprintf(path, sizeof(path), "%s/cgroup.events", guest->freezer);
    while (is_frozen && !says(path, "frozen 1"))
        nanosleep(&step, NULL);
}

static int fake_capture(const struct mover_guest *guest, int fd, const struct mover_order *order,
                        struct mover_report *ret, struct err *err)
{
    char path[128], text[64] = "";
    int count_fd, rc;

    freeze(guest, true);
    ret->frozen_us = clock_now_us();
    snprintf(path, sizeof(path), "/run/fake/%s.count", guest->name);
    count_fd = open(path, O_RDONLY | O_CLOEXEC);
    rc = count_fd < 0 || read(count_fd, text, sizeof(text) - 1) < 0 ? -EIO : act("capture", err);
    if (rc == 0 && write(fd, text, 13) != 13)
        rc = err_set(err, -EPIPE, "nobody reads");
    if (rc < 0)
        freeze(guest, false);
    ret->bytes = 13;
    ret->handed_over_us = clock_now_us();
    ret->mode = order->mode;
    return rc;
}

static int fake_receive(const struct mover_guest *guest, int fd, struct mover_report *ret,
                        struct err *err)
{
    char text[64] = "";
    int rc = act("receive", err);

    mkdir("/run/fake", 0755);
    if (rc == 0 && read(fd, text, 13) != 13)
        rc = err_set(err, -EBADMSG, "the stream was cut");
    if (rc < 0)
        return rc;
    mkdir(guest->checkpoint, 0700);
    snprintf(text + 13, sizeof(text) - 13, "\n");
    ret->bytes = 13;
    ret->handed_over_us = clock_now_us();
    {
        char path[160];

        snprintf(path, sizeof(path), "/run/fake/%s.checkpoint", guest->name);
        write_text(path, text);
    }
    return 0;
}

static int fake_activate(const struct mover_guest *guest, pid_t *ret_pid, struct err *err)
{
    char path[160], text[64] = "";
    int rc = act("activate", err), fd;

    snprintf(path, sizeof(path), "/run/fake/%s.checkpoint", guest->name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (rc == 0 && (fd < 0 || read(fd, text, sizeof(text) - 1) < 0))
        rc = err_set(err, -ENOENT, "no checkpoint");
    if (rc < 0)
        return rc;
    *ret_pid = fork_guest(guest->name, NULL, strtoull(text, NULL, 10));
    return 0;
}

/* The count is kept, and read out of a file again. */
static int fake_checkpoint(const struct mover_guest *guest, uint64_t since_us,
                           struct mover_report *ret, struct err *err)
{
    char path[160], text[64] = "";
    int fd, rc;

    freeze(guest, true);
    ret->frozen_us = clock_now_us();
    snprintf(path, sizeof(path), "/run/fake/%s.count", guest->name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    rc = fd < 0 || read(fd, text, 13) < 0 ? -EIO : act("checkpoint", err);
    if (fd >= 0)
        close(fd);
    snprintf(path, sizeof(path), "/run/fake/%s.snapshot", guest->name);
    if (rc == 0)
        write_text(path, text);
    freeze(guest, false);
    ret->mode = since_us != 0 ? MOVE_PRE : MOVE_STOP;
    ret->handed_over_us = clock_now_us();
    return rc;
}

static int fake_send(const struct mover_guest *guest, int fd, const uint8_t since[DIGEST_SIZE],
                     struct mover_report *ret, struct err *err)
{
    char path[160], text[64] = "";
    int from, rc = act("send", err);

    snprintf(path, sizeof(path), "/run/fake/%s.snapshot", guest->name);
    from = open(path, O_RDONLY | O_CLOEXEC);
    if (rc == 0 && (from < 0 || read(from, text, 13) != 13))
        rc = err_set(err, -ENOENT, "no snapshot");
    if (rc == 0 && write(fd, text, 13) != 13)
        rc = err_set(err, -EPIPE, "nobody reads");
    if (from >= 0)
        close(from);
    ret->bytes = 13u + since[0];
    return rc;
}

static int fake_receive_kept(const struct mover_guest *guest, int fd,
                             const uint8_t digest[DIGEST_SIZE], struct mover_report *ret,
                             struct err *err)
{
    if (digest[0] == 0xbb)
        return err_set(err, -EBADMSG, "the checkpoint is not the one that was kept");
    return fake_receive(guest, fd, ret, err);
}

static int fake_reset_peers(const struct mover_guest *guest, struct err *err)
{
    (void)guest;
    return act("reset", err);
}

static int fake_await(const struct mover_guest *guest, struct err *err)
{
    (void)guest;
    return act("await", err);
}

static int fake_look(const struct mover_guest *guest, struct look *ret, struct err *err)
{
    look_add(ret, "device", true, "guest %s has a device open", guest->name);
    return act("look", err);
}

static int fake_resume(const struct mover_guest *guest, struct err *err)
{
    (void)guest;
    return act("resume", err);
}

static int fake_discard(const struct mover_guest *guest, struct err *err)
{
    char path[160];

    (void)err;
    snprintf(path, sizeof(path), "/run/fake/%s.checkpoint", guest->name);
    unlink(path);
    return 0;
}

const struct mover_ops mover_criu_ops = {
    .name = "fake",
    .check = fake_check,
    .look = fake_look,
    .capture = fake_capture,
    .receive = fake_receive,
    .activate = fake_activate,
    .await = fake_await,
    .resume = fake_resume,
    .checkpoint = fake_checkpoint,
    .send = fake_send,
    .receive_kept = fake_receive_kept,
    .reset_peers = fake_reset_peers,
    .discard = fake_discard,
};

/* ---- the switch */

int wiring_new(const struct wiring_config *config, struct wiring **ret, struct err *err)
{
    (void)config, (void)err;
    *ret = NULL;
    return 0;
}

void wiring_free(struct wiring *wiring)
{
    (void)wiring;
}

int wiring_setup(struct wiring *wiring, struct err *err)
{
    (void)wiring;
    mkdir("/run/fake", 0755);
    write_text("/run/fake/switch", "set up\n");
    return act("setup", err);
}

int wiring_apply(struct wiring *wiring, const struct fabric_view *view, struct err *err)
{
    char text[32];

    (void)wiring;
    snprintf(text, sizeof(text), "%llu\n", (unsigned long long)view->index);
    write_text("/run/fake/view", text);
    return act("apply", err);
}

int wiring_probe(struct wiring *wiring, struct err *err)
{
    (void)wiring;
    return act("probe", err);
}

int wiring_plug(struct wiring *wiring, const struct wiring_port *port, struct err *err)
{
    (void)wiring;
    return wiring_set_up(port->port, port->is_up, err);
}

int wiring_unplug(struct wiring *wiring, const char *guest, uint16_t port, struct err *err)
{
    char path[128], name[8];

    (void)wiring, (void)guest, (void)err;
    snprintf(name, sizeof(name), "%u", port);
    path_of(path, "port", name);
    unlink(path);
    return 0;
}

int wiring_set_up(uint16_t port, bool is_up, struct err *err)
{
    char path[128], name[8];

    (void)err;
    snprintf(name, sizeof(name), "%u", port);
    path_of(path, "port", name);
    write_text(path, is_up ? "up" : "down");
    return 0;
}

int wiring_wait_for_death(int stop_fd, struct err *err)
{
    struct timespec step = {.tv_nsec = 1000000};

    (void)stop_fd, (void)err;
    while (access("/run/fake/switch", F_OK) == 0)
        nanosleep(&step, NULL);
    return 0;
}
