/* skein-vm: the first process of a virtual machine (vm.h), and its only tie to libvirt.
 *
 *   skein-vm SHARED_CPUS GUEST_CPUS    with the guest_run at VM_RUN; READY goes to VM_STATUS once
 * the guest runs
 *
 * It was put into the guest's cgroups before it started, and so is all that it starts. It ends when
 * QEMU does, as the guest: 0 when it was powered off, 1 when it died. On SIGTERM it presses the
 * guest's power button. libvirtd is started again should it die: QEMU does not need it to run.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "agent/guest/vm_console_posix.h"
#include "agent/guest/vm_ground_linux.h"
#include "base/clean.h"
#include "base/log.h"

#define LOCAL_URI "qemu:///system"

struct keeper {
    struct guest_run run;
    struct guest_paths paths;
    struct vm_paths vm;
    struct vm_console console;
    pid_t libvirtd, qemu;
    int signals;
};

/* Errors are words of ours; libvirt prints none by itself. */
static void say_nothing(void *unused, virErrorPtr error)
{
    (void)unused;
    (void)error;
}

static int libvirt_failed(struct err *err, const char *what)
{
    return err_set(err, -EIO, "libvirt cannot %s: %s", what, virGetLastErrorMessage());
}

/* ---- coming to life */

static int read_run(struct keeper *k, int argc, char *argv[], struct err *err)
{
    static uint8_t bytes[VM_RUN_MAX];
    ssize_t n = read(VM_RUN, bytes, sizeof(bytes));
    struct reader r;
    char *at = argc == 3 ? argv[2] : NULL;

    if (n <= 0 || at == NULL)
        return err_set(err, -EINVAL, VM_PROGRAM " is started by skein-guard");
    reader_init(&r, bytes, (size_t)n);
    if (guest_run_decode(&r, &k->run) < 0)
        return err_set(err, -EBADMSG, "what is to run cannot be read");
    snprintf(k->run.shared_cpus, sizeof(k->run.shared_cpus), "%s", argv[1]);
    for (uint32_t i = 0; i < k->run.n_cores; i++) {
        k->run.cpus[i] = (uint16_t)strtoul(at, &at, 10);
        at += *at == ',';
    }
    guest_paths_init(&k->paths, k->run.spec.name, k->run.digest);
    vm_paths_init(&k->vm, &k->paths);
    return 0;
}

static int open_signals(struct keeper *k, struct err *err)
{
    sigset_t set;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    k->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return k->signals < 0 ? err_set(err, -errno, "no signalfd: %s", strerror(errno)) : 0;
}

/* As libvirt wrote it down. */
static int find_qemu(struct keeper *k, struct err *err)
{
    char path[96];
    FILE *f;

    snprintf(path, sizeof(path), "/run/libvirt/qemu/%s.pid", k->run.spec.name);
    f = fopen(path, "re");
    if (f == NULL || fscanf(f, "%d", &k->qemu) != 1)
        k->qemu = 0;
    if (f != NULL)
        fclose(f);
    if (k->qemu <= 0)
        return err_set(err, -ESRCH, "libvirt does not say which process QEMU is (%s)", path);
    if (!vm_ground_has(k->qemu))
        return err_set(err, -EXDEV, "libvirt moved QEMU out of the guest's cgroups");
    return 0;
}

static int create_domain(struct keeper *k, struct err *err)
{
    static char xml[VM_XML_SIZE];
    struct vm_ground_text text;
    struct vm_ground ground;
    virConnectPtr connection;
    virDomainPtr domain;
    int rc;

    vm_ground_find(&k->paths, &text, &ground);
    rc = vm_domain_xml(&k->run, &k->vm, &ground, xml, err);
    if (rc < 0)
        return rc;
    connection = virConnectOpen(LOCAL_URI);
    if (connection == NULL)
        return libvirt_failed(err, "be reached");
    domain = virDomainCreateXML(connection, xml, 0);
    if (domain == NULL)
        rc = libvirt_failed(err, "start it");
    else
        virDomainFree(domain);
    virConnectClose(connection);
    return rc;
}

/* In a child: what libvirtd sends into the background falls to this process, and libvirtd waits
 * for its end. A process that waits for libvirtd cannot reap. */
static int create_aside(struct keeper *k, struct err *err)
{
    pid_t child = fork(), ended;
    int status = -1;

    if (child == 0) {
        int rc = create_domain(k, err);

        (void)!write(VM_STATUS, err->text, strlen(err->text));
        _exit(rc < 0);
    }
    do {
        ended = waitpid(-1, &status, 0);
        if (ended == k->libvirtd)
            return err_set(err, -ECHILD, "libvirtd died (status %d)", status);
    } while (child > 0 && ended != child && (ended > 0 || errno == EINTR));
    if (child < 0 || ended != child)
        return err_set(err, -errno, "cannot ask libvirt: %s", strerror(errno));
    if (status != 0) /* it has said why */
        return err_set(err, -EIO, "%s", "");
    return find_qemu(k, err);
}

static int begin(struct keeper *k, int argc, char *argv[], struct err *err)
{
    int rc = read_run(k, argc, argv, err);

    if (rc < 0)
        return rc;
    vm_ground_stay_on(k->run.shared_cpus);
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* QEMU, which libvirtd sends into the background */
    rc = open_signals(k, err);
    if (rc == 0)
        rc = vm_ground_enter(err);
    if (rc == 0)
        rc = vm_console_open(&k->console, &k->paths, &k->vm, err);
    if (rc == 0)
        rc = vm_ground_start_libvirtd(&k->libvirtd, err);
    return rc < 0 ? rc : create_aside(k, err);
}

/* ---- living */

static void press_power_button(const struct keeper *k)
{
    virConnectPtr connection = virConnectOpen(LOCAL_URI);
    virDomainPtr domain = NULL;

    if (connection != NULL)
        domain = virDomainLookupByName(connection, k->run.spec.name);
    if (domain == NULL || virDomainShutdownFlags(domain, VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN) < 0)
        log_warn("guest %s: libvirt cannot press its power button: %s", k->run.spec.name,
                 virGetLastErrorMessage());
    if (domain != NULL)
        virDomainFree(domain);
    if (connection != NULL)
        virConnectClose(connection);
}

static void restart_libvirtd(struct keeper *k)
{
    struct err err = {0};

    log_warn("guest %s: its libvirtd died; another one is started", k->run.spec.name);
    if (vm_ground_start_libvirtd(&k->libvirtd, &err) < 0)
        log_error("guest %s: %s", k->run.spec.name, err.text);
}

/* True when QEMU has ended. */
static bool reap(struct keeper *k, int *ret_code)
{
    bool has_ended = false;
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == k->libvirtd)
            restart_libvirtd(k);
        if (pid != k->qemu)
            continue;
        has_ended = true;
        *ret_code = WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : 1;
    }
    return has_ended;
}

/* True when QEMU has ended. */
static bool take_signals(struct keeper *k, int *ret_code)
{
    struct signalfd_siginfo info;
    bool has_ended = false;

    while (read(k->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGTERM && fork() == 0) {
            press_power_button(k);
            _exit(0);
        } else if (info.ssi_signo == SIGCHLD) {
            has_ended = reap(k, ret_code) || has_ended;
        }
    }
    return has_ended;
}

static int live(struct keeper *k)
{
    struct pollfd fds[1 + VM_CONSOLE_FDS];
    int code = 1;

    for (;;) {
        fds[0] = (struct pollfd){.fd = k->signals, .events = POLLIN};
        vm_console_poll(&k->console, fds + 1);
        if (poll(fds, 1 + VM_CONSOLE_FDS, -1) < 0)
            continue;
        vm_console_serve(&k->console, fds + 1);
        if (fds[0].revents != 0 && take_signals(k, &code))
            return code;
    }
}

int main(int argc, char *argv[])
{
    static struct keeper k;
    struct err err = {0};
    const char ready = VM_READY;

    log_setup(VM_PROGRAM, LOG_LEVEL_INFO);
    virSetErrorFunc(NULL, say_nothing);
    if (begin(&k, argc, argv, &err) < 0) {
        (void)!write(VM_STATUS, err.text, strlen(err.text));
        return EXIT_FAILURE;
    }
    (void)!write(VM_STATUS, &ready, 1);
    close(VM_STATUS);
    close(VM_RUN);
    return live(&k);
}
