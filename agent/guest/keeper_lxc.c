/* skein-lxc: the first process of an lxc guest (lxc.h), and its only tie to liblxc.
 *
 *   skein-lxc start|restore|stand-by|resume SHARED_CPUS GUEST_CPUS       (keeper_posix.h)
 *
 * It was put into the guest's cgroups before it started, and so is all that it starts. A child of
 * it is liblxc's monitor, whose child is the container's init; of a container that moved here,
 * which CRIU restores, that init itself. It ends when the container does, with the exit status of
 * its init; on SIGTERM it asks that to end.
 *
 * liblxc's own init for a single command kills what still runs a second after it was asked to end
 * (lxc_container_init() of LXC 6.0), so a command has the init of a cell (cell_init.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <lxc/lxccontainer.h>

#include "agent/guest/cell_confine.h"
#include "agent/guest/cell_env.h"
#include "agent/guest/cell_init.h"
#include "agent/guest/cell_root.h"
#include "agent/guest/cell_volumes.h"
#include "agent/guest/console_posix.h"
#include "agent/guest/keeper_posix.h"
#include "agent/guest/lxc.h"
#include "agent/guest/lxc_ground_linux.h"
#include "base/clean.h"
#include "base/log.h"
#include "base/tree_posix.h"
#include "migrate/console_criu.h"
#include "migrate/ground_criu.h"
#include "migrate/mover.h"

/* System calls that no container is to make, as LXC ships them. */
#define FILTER "/usr/share/lxc/config/common.seccomp"

enum { VALUE_SIZE = 320, EXIT_NOT_EXECUTED = 125 };

/* As a cell's (cell_confine.c): no devices, mounts or networks of its own making. */
static const char kept_capabilities[] =
    "chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw "
    "sys_chroot setfcap audit_write";

struct keeper {
    struct guest_run run;
    struct guest_paths paths;
    struct lxc_paths lxc;
    struct console console;
    char terminal[64];               /* the container's end of it; console.guest is ours */
    int terminal_fd;                 /* which stays open here, too */
    struct lxc_container *container; /* NULL: it was restored here */
    pid_t child; /* liblxc's monitor, or the restored container's init; 0: it is held, and who
                  * holds it is the only child */
    int code;    /* of its end */
    int signals;
};

static int failed(struct err *err, const char *what)
{
    return err_set(err, -errno, "cannot %s: %s", what, strerror(errno));
}

static int open_terminal(struct keeper *k, struct err *err)
{
    int rc = console_open(&k->console, k->paths.log, k->lxc.console, err);
    int master;

    if (rc < 0)
        return rc;
    master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0 ||
        ptsname_r(master, k->terminal, sizeof(k->terminal)) != 0)
        return failed(err, "make a terminal");
    k->console.guest = master;
    k->terminal_fd = open(k->terminal, O_RDWR | O_NOCTTY | O_CLOEXEC);
    return k->terminal_fd < 0 ? failed(err, "open a terminal") : 0;
}

/* ---- the container */

/* Its command is an init itself. */
static bool boots(const struct guest_spec *spec)
{
    return strcmp(spec->argv[0], LXC_BOOT) == 0;
}

/* Of an init liblxc would guess, by whether it blocks the signal that systemd is ended with: a
 * shell blocks every signal for the moment of a fork, and then never hears of its end. */
static int halt_signal(const struct guest_spec *spec)
{
    return boots(spec) ? SIGPWR : SIGTERM;
}

static int set(struct keeper *k, const char *key, const char *value, struct err *err)
{
    if (k->container->set_config_item(k->container, key, value))
        return 0;
    return err_set(err, -EINVAL, "liblxc takes no %s = %.80s", key, value);
}

/* Where the kernel has AppArmor liblxc would choose a profile, which nobody may have loaded here, and
 * insists on the mounts that AppArmor is told through. What confines a container is what confines a
 * cell: capabilities, a filter, its groups. Elsewhere liblxc takes no such word. */
static int leave_apparmor_out(struct keeper *k, struct err *err)
{
    cleanup_close int fd = open("/sys/module/apparmor/parameters/enabled", O_RDONLY | O_CLOEXEC);
    char enabled = 'N';

    if (fd < 0 || read(fd, &enabled, 1) != 1 || enabled != 'Y')
        return 0;
    return set(k, "lxc.apparmor.profile", "unconfined", err);
}

static int set_fields(struct keeper *k, struct err *err)
{
    const struct guest_spec *spec = &k->run.spec;
    cleanup_free char **env = cell_env_new(spec);
    char root[VALUE_SIZE], dev[VALUE_SIZE], console[VALUE_SIZE];
    const struct {
        const char *key, *value;
    } items[] = {
        {"lxc.log.level", "ERROR"},
        {"lxc.log.file", k->lxc.errors},
        {"lxc.rootfs.path", root},
        {"lxc.uts.name", spec->name},
        {"lxc.cgroup.relative", "1"}, /* to its own, not to the node's first process's */
        {"lxc.namespace.share.net", k->paths.netns},
        {"lxc.mount.auto", "proc:mixed sys:ro"},
        {"lxc.autodev", "0"}, /* a cell's, with the terminal */
        {"lxc.mount.entry", dev},
        {"lxc.mount.entry", "shm dev/shm tmpfs nosuid,nodev,noexec,mode=1777"},
        {"lxc.mount.entry", console},
        {"lxc.tty.max", "0"},
        {"lxc.pty.max", "1024"},
        {"lxc.console.path", "none"},       /* the one that it is started on */
        {"lxc.monitor.signal.pdeath", "0"}, /* where it moves to there is no monitor */
        {"lxc.signal.halt", halt_signal(spec) == SIGPWR ? "SIGPWR" : "SIGTERM"},
        {"lxc.cap.keep", kept_capabilities},
        {"lxc.seccomp.profile", FILTER},
    };
    int rc = env == NULL ? err_set(err, -ENOMEM, "no memory") : 0;

    snprintf(root, sizeof(root), "dir:%s", k->paths.merged);
    snprintf(dev, sizeof(dev), "%s dev none bind,create=dir", k->lxc.dev);
    snprintf(console, sizeof(console), "%s dev/console none bind", k->terminal);
    for (size_t i = 0; rc == 0 && i < sizeof(items) / sizeof(items[0]); i++)
        rc = set(k, items[i].key, items[i].value, err);
    for (size_t i = 0; rc == 0 && env[i] != NULL; i++)
        rc = set(k, "lxc.environment", env[i], err);
    return rc < 0 ? rc : leave_apparmor_out(k, err);
}

static int make_container(struct keeper *k, struct err *err)
{
    int rc;

    k->container = lxc_container_new(k->run.spec.name, k->lxc.home);
    if (k->container == NULL)
        return err_set(err, -ENOMEM, "liblxc makes no container in %s", k->lxc.home);
    k->container->clear_config(k->container);
    rc = set_fields(k, err);
    if (rc == 0 && !k->container->want_daemonize(k->container, false))
        rc = err_set(err, -EINVAL, "liblxc does not stay in the foreground");
    return rc;
}

/* How the container's init ended, as liblxc keeps it: a status of waitpid(). */
static int code_of(int status)
{
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* liblxc's monitor: stays until the container has ended. */
static void become_monitor(struct keeper *k, int status)
{
    const struct guest_spec *spec = &k->run.spec;
    char ids[CELL_IDS_SIZE];
    char *argv[CELL_INIT_WORDS + MAX_ARGUMENTS + 1] = {
        (char *)CELL_INIT_PATH, (char *)(boots(spec) ? "boot" : "tend"), cell_ids_format(spec, ids),
        (char *)cell_directory(spec)};
    struct err err;

    for (uint32_t i = 0; i < spec->n_argv && i < MAX_ARGUMENTS; i++)
        argv[CELL_INIT_WORDS + i] = spec->argv[i];
    for (int fd = 0; fd < 3; fd++)
        dup2(k->terminal_fd, fd);
    close(KEEPER_RUN);
    dup2(status, TEND_STATUS); /* in the place of KEEPER_STATUS */
    if (cell_reset_process(&err) < 0 || !k->container->start(k->container, 0, argv))
        _exit(EXIT_NOT_EXECUTED);
    _exit(code_of(k->container->error_num));
}

/* The first error that liblxc wrote, without the places in its source; what it says of controllers
 * is no failure: it has none to hand on. */
static void read_reason(const struct keeper *k, char *ret, size_t size)
{
    FILE *f = fopen(k->lxc.errors, "re");
    char line[512];

    snprintf(ret, size, "it gives no reason");
    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        const char *words = strstr(line, " - ");

        words = words != NULL ? strstr(words + 3, " - ") : NULL;
        if (words == NULL || strstr(line, "delegate_controllers") != NULL)
            continue;
        snprintf(ret, size, "%s", words + 3);
        ret[strcspn(ret, "\n")] = '\0';
        break;
    }
    if (f != NULL)
        fclose(f);
}

/* Its init says that its command runs, or why it does not; else liblxc has failed before. */
static int await_command(struct keeper *k, int status, struct err *err)
{
    char words[ERR_TEXT_SIZE];
    ssize_t n = read(status, words, sizeof(words));

    if (n == 1 && words[0] == READY)
        return 0;
    if (n > 0)
        return err_set(err, -ENOEXEC, "%.*s", (int)n, words);
    waitpid(k->child, NULL, 0);
    read_reason(k, words, sizeof(words));
    return err_set(err, -EIO, "liblxc cannot start it: %s", words);
}

static int start_container(struct keeper *k, struct err *err)
{
    cleanup_close int read_end = -1, write_end = -1;
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return failed(err, "make a pipe");
    read_end = ends[0];
    write_end = ends[1];
    k->child = fork();
    if (k->child == 0)
        become_monitor(k, write_end);
    if (k->child < 0)
        return failed(err, "fork");
    close(steal_fd(&write_end));
    return await_command(k, read_end, err);
}

/* Below its root, of which liblxc takes a copy with all that is mounted there. */
static int mount_volumes(const struct keeper *k, struct err *err)
{
    int volumes[MAX_VOLUMES];
    int rc = cell_volumes_open(&k->run, &k->paths, volumes, err);

    if (rc == 0)
        rc = cell_volumes_mount(&k->run, k->paths.merged, volumes, err);
    for (size_t i = 0; i < MAX_VOLUMES; i++) {
        if (volumes[i] >= 0)
            close(volumes[i]);
    }
    return rc;
}

/* In the mount namespace of this process. */
static int make_ground(struct keeper *k, struct err *err)
{
    int rc = lxc_ground_enter(err);

    if (rc == 0)
        rc = ground_mount_root(k->paths.image_root, k->paths.upper, k->paths.work, k->paths.merged,
                               err);
    if (rc == 0)
        rc = cell_root_write_init(k->paths.merged, err);
    if (rc == 0)
        rc = mount_volumes(k, err);
    if (rc == 0)
        rc = tree_make(k->lxc.dev, 0755, err);
    if (rc == 0)
        rc = ground_mount_dev(k->lxc.dev, err);
    return rc < 0 ? rc : console_make_points(k->lxc.dev, err);
}

static int start(struct keeper *k, struct err *err)
{
    int rc = make_ground(k, err);

    if (rc == 0)
        rc = make_container(k, err);
    return rc < 0 ? rc : start_container(k, err);
}

/* Who restores it ends, and leaves its init to this process: at once, or when it is let go.
 * A checkpoint that was kept is resumed.
 */
static int restore(struct keeper *k, const char *how, struct err *err)
{
    struct mover_guest guest;

    guest_mover_init(&guest, &k->run, &k->paths);
    guest.has_console = true;
    guest.terminal = k->terminal;
    guest.is_kept = strcmp(how, "resume") == 0;
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        return failed(err, "become the container's parent");
    if (strcmp(how, "stand-by") == 0)
        console_leave_log(&k->console); /* it comes with the container */
    return strcmp(how, "stand-by") == 0 ? mover_criu_ops.stand_by(&guest, err)
                                        : mover_criu_ops.activate(&guest, &k->child, err);
}

static int begin(struct keeper *k, int argc, char *argv[], struct err *err)
{
    int rc = keeper_read_run(argc, argv, &k->run, err);

    if (rc < 0)
        return rc;
    guest_paths_of_run(&k->paths, &k->run);
    lxc_paths_init(&k->lxc, &k->paths);
    unlink(k->lxc.errors);
    rc = open_terminal(k, err);
    if (rc == 0)
        rc = strcmp(argv[1], "start") == 0 ? start(k, err) : restore(k, argv[1], err);
    return rc < 0 ? rc : keeper_watch_signals(&k->signals, err);
}

/* ---- its life */

/* Who held the container has let it go, and it is this process's child; or has taken it back. */
static bool is_let_go(struct keeper *k)
{
    return lxc_find_init(getpid(), &k->child, NULL) == 0;
}

/* With its child the container has ended. */
static bool has_ended(struct keeper *k)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        bool was_held = k->child == 0;

        if (was_held ? !is_let_go(k) : pid == k->child) {
            k->code = code_of(status);
            return true;
        }
    }
    return false;
}

static void ask_to_end(struct keeper *k)
{
    if (k->container != NULL)
        k->container->shutdown(k->container, 0);
    else if (k->child != 0 || is_let_go(k))
        kill(k->child, halt_signal(&k->run.spec));
}

static void take_signals(struct keeper *k)
{
    struct signalfd_siginfo info;

    while (read(k->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGTERM)
            ask_to_end(k);
    }
}

static int live(struct keeper *k)
{
    struct pollfd fds[1 + CONSOLE_FDS];

    while (!has_ended(k)) {
        fds[0] = (struct pollfd){.fd = k->signals, .events = POLLIN};
        console_poll(&k->console, fds + 1);
        if (poll(fds, 1 + CONSOLE_FDS, -1) < 0)
            continue;
        console_serve(&k->console, fds + 1);
        if (fds[0].revents != 0)
            take_signals(k);
    }
    console_drain(&k->console);
    return k->code;
}

int main(int argc, char *argv[])
{
    static struct keeper k;
    struct err err = {0};
    const char ready = KEEPER_READY;

    log_setup(LXC_PROGRAM, LOG_LEVEL_INFO);
    if (begin(&k, argc, argv, &err) < 0) {
        (void)!write(KEEPER_STATUS, err.text, strlen(err.text));
        return EXIT_FAILURE;
    }
    (void)!write(KEEPER_STATUS, &ready, 1);
    close(KEEPER_STATUS);
    close(KEEPER_RUN);
    return live(&k);
}
