/* skein-xen: the first process of a virtual machine by Xen; in skein-vm's place (vm.h).
 *
 *   skein-xen start SHARED_CPUS GUEST_CPUS      READY goes to KEEPER_STATUS once the domain stands
 *
 * The domain is made by a libvirtd of its own, and it stands still: the guard lets it run, by
 * hypercall, and stops it so (docs/leases.md, "Machines by Xen"); nothing here ever does. This
 * process, that libvirtd and the wire to the switch are in the guest's cgroups. It ends when the
 * domain does, as the guest: 0 when that ended itself (a reboot is such an end: the restart policy
 * decides), 1 when it crashed, or its libvirtd died, without which nobody hears of its end. On
 * SIGTERM it asks the guest's system to end. A machine of Xen's does not move.
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
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <libvirt/virterror.h>

#include "agent/guest/console_posix.h"
#include "agent/guest/keeper_posix.h"
#include "agent/guest/vm_call_libvirt.h"
#include "agent/guest/vm_control_posix.h"
#include "agent/guest/vm_dhcp_linux.h"
#include "agent/guest/vm_ground_linux.h"
#include "agent/guest/vm_loop_linux.h"
#include "agent/guest/vm_wire_linux.h"
#include "agent/guest/vm_xen_look_libvirt.h"
#include "base/clean.h"
#include "base/log.h"

#define SCRIPT "/run/libvirt/wire" /* in this process's namespace only */

enum { TERMINAL_SIZE = 64 };

struct keeper {
    struct guest_run run;
    struct guest_paths paths;
    struct vm_paths vm;
    struct console console;
    struct vm_dhcp dhcp;
    pid_t libvirtd, wire; /* 0 = none */
    int signals, control;
    int news; /* enum vm_xen_news come from here */
    int disks[2];
};

/* Errors are words of ours; libvirt prints none by itself. */
static void say_nothing(void *unused, virErrorPtr error)
{
    (void)unused;
    (void)error;
}

/* A caller that does not outlive this process. */
static pid_t fork_caller(void)
{
    pid_t pid = vm_call_fork();

    if (pid == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return pid;
}

/* ---- its network's end: Xen's backend makes it, and then libvirt runs this */

/* No sums and no large packets are left to others: the wire is a plain one. */
static const char script[] =
    "#!/bin/sh\n"
    "[ \"$1\" = online ] || exit 0\n"
    "xenstore-write \"$XENBUS_PATH/feature-sg\" 0 \"$XENBUS_PATH/feature-gso-tcpv4\" 0"
    " \"$XENBUS_PATH/feature-gso-tcpv6\" 0 &&\n"
    "ip link set \"$vif\" netns %d name " VM_WIRE_FAR " &&\n"
    "nsenter --net=/proc/%d/ns/net ip link set " VM_WIRE_FAR " up &&\n"
    "xenstore-write \"$XENBUS_PATH/hotplug-status\" connected\n";

static int write_script(const struct keeper *k, struct err *err)
{
    cleanup_close int fd = open(SCRIPT, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);

    if (fd < 0 || dprintf(fd, script, k->wire, k->wire) < 0)
        return err_set(err, -errno, "cannot write " SCRIPT ": %s", strerror(errno));
    return 0;
}

/* ---- coming to life */

/* Until the child says so on `fd`, or ends. */
static int await_word(int fd, char wanted)
{
    char word = 0;
    ssize_t n;

    do
        n = read(fd, &word, 1);
    while (n < 0 && errno == EINTR);
    return n == 1 && word == wanted ? 0 : -ECHILD;
}

static int begin_watch(struct keeper *k, struct err *err)
{
    int ends[2];
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_set(err, -errno, "cannot make a pipe: %s", strerror(errno));
    pid = fork_caller();
    if (pid == 0) {
        close(ends[0]);
        close(KEEPER_STATUS);
        _exit(vm_xen_watch(k->run.spec.name, ends[1]));
    }
    close(ends[1]);
    k->news = ends[0];
    if (pid < 0 || await_word(ends[0], VM_XEN_WATCHING) < 0)
        return err_set(err, -ECHILD, "its libvirtd does not speak to Xen");
    return 0;
}

static int describe(struct keeper *k, char xml[VM_XML_SIZE], struct err *err)
{
    static char disk[VM_LOOP_PATH_SIZE], seed[VM_LOOP_PATH_SIZE];
    struct vm_ground_text text;
    struct vm_ground found;
    struct vm_xen_ground ground = {.seed = seed, .script = SCRIPT};
    int rc = vm_loop_attach(k->vm.seed, true, seed, &k->disks[1], err);

    vm_ground_find(&k->paths, &text, &found);
    ground.arch = found.arch;
    ground.kernel = found.kernel;
    ground.initrd = found.initrd;
    ground.cmdline = found.cmdline;
    if (rc == 0 && found.kernel == NULL)
        rc = err_set(err, -EINVAL, "its image holds no kernel");
    if (rc == 0 && found.has_disk) {
        rc = vm_loop_attach(k->vm.disk, false, disk, &k->disks[0], err);
        ground.disk = disk;
    }
    return rc < 0 ? rc : vm_xen_domain_xml(&k->run, &ground, xml, err);
}

/* The words of a failure go to KEEPER_STATUS, the terminal's path to `fd`. */
static void create(const char *xml, int fd)
{
    char terminal[TERMINAL_SIZE];
    struct err err;

    if (vm_xen_create(xml, terminal, sizeof(terminal), &err) < 0) {
        (void)!write(KEEPER_STATUS, err.text, strlen(err.text));
        _exit(1);
    }
    _exit(write(fd, terminal, strlen(terminal)) < 0);
}

static int create_aside(const char *xml, char terminal[TERMINAL_SIZE], struct err *err)
{
    int ends[2], status = -1;
    ssize_t n;
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_set(err, -errno, "cannot make a pipe: %s", strerror(errno));
    pid = fork_caller();
    if (pid == 0)
        create(xml, ends[1]);
    close(ends[1]);
    n = pid < 0 ? -1 : read(ends[0], terminal, TERMINAL_SIZE - 1);
    close(ends[0]);
    if (pid < 0)
        return err_set(err, -errno, "cannot ask libvirt: %s", strerror(errno));
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    terminal[n > 0 ? n : 0] = '\0';
    return status == 0 && n > 0 ? 0 : err_set(err, -EIO, "%s", ""); /* it has said why */
}

static int open_terminal(struct keeper *k, const char *path, struct err *err)
{
    struct termios raw;
    int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0 || tcgetattr(fd, &raw) < 0)
        return err_set(err, -errno, "cannot open its console %s: %s", path, strerror(errno));
    cfmakeraw(&raw);
    tcsetattr(fd, TCSANOW, &raw);
    k->console.guest = fd;
    return 0;
}

static int make_domain(struct keeper *k, struct err *err)
{
    static char xml[VM_XML_SIZE];
    char terminal[TERMINAL_SIZE];
    int rc = describe(k, xml, err);

    if (rc == 0)
        rc = begin_watch(k, err);
    if (rc == 0)
        rc = create_aside(xml, terminal, err);
    return rc < 0 ? rc : open_terminal(k, terminal, err);
}

static int open_network(struct keeper *k, struct err *err)
{
    int rc = k->run.vni == 0 ? 0 : vm_wire_start(&k->run, &k->wire, err);

    if (rc == 0)
        rc = write_script(k, err);
    if (rc == 0 && vm_dhcp_open(&k->dhcp, &k->run, err) < 0)
        log_warn("guest %s: no DHCP: %s", k->run.spec.name, err->text);
    return rc;
}

static int begin(struct keeper *k, int argc, char *argv[], struct err *err)
{
    int rc = keeper_read_run(argc, argv, &k->run, err);

    if (rc < 0)
        return rc;
    guest_paths_init(&k->paths, k->run.spec.name, k->run.digest);
    vm_paths_init(&k->vm, &k->paths);
    if (strcmp(argv[1], "start") != 0)
        return err_set(err, -ENOTSUP, "a machine of Xen's does not move");
    vm_ground_stay_on(k->run.shared_cpus);
    rc = keeper_watch_signals(&k->signals, err);
    if (rc == 0)
        rc = vm_ground_enter(&k->paths, vm_uid(&k->run), err);
    if (rc == 0)
        rc = console_open(&k->console, k->paths.log, k->vm.clients, err);
    if (rc == 0)
        rc = open_network(k, err);
    if (rc == 0)
        rc = k->control = vm_control_listen(&k->vm, err);
    if (rc >= 0)
        rc = vm_ground_start_libvirtd(&k->libvirtd, err);
    return rc < 0 ? rc : make_domain(k, err);
}

/* ---- living */

static void shut_down(const struct keeper *k)
{
    struct err err;

    if (fork_caller() != 0)
        return;
    if (vm_xen_shut_down(k->run.spec.name, &err) < 0)
        log_warn("guest %s: %s", k->run.spec.name, err.text);
    _exit(0);
}

static bool has_died(const struct keeper *k, pid_t pid)
{
    return pid == k->libvirtd || (k->wire != 0 && pid == k->wire);
}

/* True when the guest is at its end. */
static bool take_signals(struct keeper *k)
{
    struct signalfd_siginfo info;
    bool is_over = false;
    pid_t pid;

    while (read(k->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGTERM)
            shut_down(k);
        while (info.ssi_signo == SIGCHLD && (pid = waitpid(-1, NULL, WNOHANG)) > 0) {
            if (has_died(k, pid))
                log_error("guest %s: its %s died: it is ended", k->run.spec.name,
                          pid == k->wire ? "wire" : "libvirtd");
            is_over = is_over || has_died(k, pid);
        }
    }
    return is_over;
}

static void describe_size(const struct keeper *k, struct vm_reply *ret)
{
    struct stat st;

    *ret = (struct vm_reply){.answer = VM_ANSWER_LOOKED,
                             .memory_bytes = (uint64_t)k->run.spec.memory_mib << 20};
    if (stat(k->vm.disk, &st) == 0)
        ret->disk_bytes = (uint64_t)st.st_blocks * 512;
}

/* Whoever wants more than to look at it wants it to move. */
static void answer_order(const struct keeper *k)
{
    struct vm_reply reply = {.answer = VM_ANSWER_FAILED,
                             .text = "a machine of Xen's does not move while it runs"};
    struct vm_request request;
    struct vm_passed passed;
    cleanup_close int fd = -1;

    if (vm_control_take(k->control, &request, &fd, &passed) < 0)
        return;
    vm_passed_close(&passed);
    if (request.order == VM_ORDER_LOOK)
        describe_size(k, &reply);
    (void)vm_control_answer(fd, &reply);
}

static int live(struct keeper *k)
{
    struct pollfd fds[4 + CONSOLE_FDS];
    char news;

    for (;;) {
        fds[0] = (struct pollfd){.fd = k->signals, .events = POLLIN};
        fds[1] = (struct pollfd){.fd = k->control, .events = POLLIN};
        fds[2] = (struct pollfd){.fd = k->news, .events = POLLIN};
        vm_dhcp_poll(&k->dhcp, &fds[3]);
        console_poll(&k->console, fds + 4);
        if (poll(fds, sizeof(fds) / sizeof(fds[0]), -1) < 0)
            continue;
        vm_dhcp_serve(&k->dhcp, &fds[3]);
        console_serve(&k->console, fds + 4);
        if (fds[1].revents != 0)
            answer_order(k);
        if (fds[2].revents != 0) {
            console_drain(&k->console);
            return read(k->news, &news, 1) == 1 && news == VM_XEN_ENDED ? 0 : 1;
        }
        if (fds[0].revents != 0 && take_signals(k))
            return 1;
    }
}

int main(int argc, char *argv[])
{
    static struct keeper k = {.news = -1, .control = -1, .disks = {-1, -1}, .dhcp.fd = -1};
    const char ready = KEEPER_READY;
    struct err err = {0};

    log_setup(VM_XEN_PROGRAM, LOG_LEVEL_INFO);
    virSetErrorFunc(NULL, say_nothing);
    if (begin(&k, argc, argv, &err) < 0) {
        (void)!write(KEEPER_STATUS, err.text, strlen(err.text));
        return EXIT_FAILURE;
    }
    close(KEEPER_RUN);
    (void)!write(KEEPER_STATUS, &ready, 1);
    close(KEEPER_STATUS);
    return live(&k);
}
