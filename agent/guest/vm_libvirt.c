/* skein-vm: the first process of a virtual machine (vm.h), and its only tie to libvirt.
 *
 *   skein-vm start SHARED_CPUS GUEST_CPUS      READY goes to KEEPER_STATUS once the guest runs
 *   skein-vm receive SHARED_CPUS GUEST_CPUS    for a guest that moves here: VM_ORDER_RECEIVE comes
 * to the socket at KEEPER_STREAM, and it stands still until VM_ORDER_ACTIVATE
 *
 * The guest_run is at KEEPER_RUN. It was put into the guest's cgroups before it started, and so is
 * all that it starts. It ends when QEMU does, as the guest: 0 when it was powered off, 1 when it
 * died. On SIGTERM it presses the guest's power button. libvirtd is started again should it die:
 * QEMU does not need it to run. It answers the guest's DHCP. What needs libvirt is done in
 * children: vm_call_libvirt.h says why.
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
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "agent/guest/console_posix.h"
#include "agent/guest/keeper_posix.h"
#include "agent/guest/vm_call_libvirt.h"
#include "agent/guest/vm_dhcp_linux.h"
#include "agent/guest/vm_ground_linux.h"
#include "agent/guest/vm_incoming_posix.h"
#include "agent/guest/vm_move_libvirt.h"
#include "base/clean.h"
#include "base/log.h"

struct keeper {
    struct guest_run run;
    struct guest_paths paths;
    struct vm_paths vm;
    struct console console;
    struct vm_dhcp dhcp;
    struct vm_incoming incoming;
    pid_t libvirtd, qemu, watcher;
    char wide_cpus[CPUS_TEXT_SIZE]; /* vm_wide_cpus */
    int signals;
    int control;
    int receiver;  /* who waits for RECEIVE; -1 = nobody */
    int activator; /* likewise for ACTIVATE */
    int awaiter;   /* likewise for AWAIT */
    pid_t mover;   /* the child that moves the guest out; 0 = none */
    int back;      /* socket to it: vm_move_libvirt.h; -1 = none */
};

/* Errors are words of ours; libvirt prints none by itself. */
static void say_nothing(void *unused, virErrorPtr error)
{
    (void)unused;
    (void)error;
}

/* ---- coming to life */

static int read_run(struct keeper *k, int argc, char *argv[], struct err *err)
{
    int rc = keeper_read_run(argc, argv, &k->run, err);

    if (rc < 0)
        return rc;
    guest_paths_init(&k->paths, k->run.spec.name, k->run.digest);
    vm_paths_init(&k->vm, &k->paths);
    return 0;
}

static int find_qemu(struct keeper *k, struct err *err)
{
    return vm_ground_find_qemu(k->run.spec.name, &k->qemu, err);
}

static int create_domain(struct keeper *k, struct err *err)
{
    static char xml[VM_XML_SIZE];
    struct vm_ground_text text;
    struct vm_ground ground;
    struct vm_call call = {0};
    int rc;

    vm_ground_find(&k->paths, &text, &ground);
    rc = vm_domain_xml(&k->run, &k->vm, &ground, xml, err);
    if (rc == 0)
        rc = vm_call_begin(&call, NULL, err);
    if (rc == 0)
        call.domain = virDomainCreateXML(call.connection, xml, 0);
    if (rc == 0 && call.domain == NULL)
        rc = vm_call_failed(err, "start it");
    vm_call_end(&call);
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

        (void)!write(KEEPER_STATUS, err->text, strlen(err->text));
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

/* The guest's own processors are idle until it runs: what receives it is there as well. */
static int expect(struct keeper *k, struct err *err)
{
    static char pins[VM_PINS_SIZE];
    int fd, rc = vm_pins_write(&k->run, k->wide_cpus, pins, err);

    if (rc == 0)
        rc = vm_move_watch(k->run.spec.name, &fd, &k->watcher, err);
    if (rc == 0)
        vm_incoming_expect(&k->incoming, fd, pins);
    return rc;
}

/* It runs: its processors are its own. */
static void leave_its_cpus(const struct keeper *k)
{
    const pid_t all[] = {getpid(), k->watcher, k->libvirtd, k->qemu};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        vm_ground_repin(all[i], k->wide_cpus, k->run.shared_cpus);
}

/* Most machines find their address on their seed: without this one they go on. */
static void serve_address(struct keeper *k)
{
    struct err err;

    if (vm_dhcp_open(&k->dhcp, &k->run, &err) < 0)
        log_warn("guest %s: no DHCP: %s", k->run.spec.name, err.text);
}

static int begin(struct keeper *k, int argc, char *argv[], struct err *err)
{
    int rc = read_run(k, argc, argv, err);
    bool is_target = rc == 0 && strcmp(argv[1], "receive") == 0;

    if (rc < 0)
        return rc;
    vm_wide_cpus(&k->run, k->wide_cpus);
    vm_ground_stay_on(is_target ? k->wide_cpus : k->run.shared_cpus);
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* QEMU, which libvirtd sends into the background */
    k->control = is_target ? KEEPER_STREAM : -1;
    rc = keeper_watch_signals(&k->signals, err);
    if (rc == 0)
        rc = vm_ground_enter(&k->paths, vm_uid(&k->run), err);
    if (rc == 0)
        rc = vm_ground_start_libvirtd(&k->libvirtd, err);
    if (rc == 0)
        rc = console_open(&k->console, k->paths.log, k->vm.clients, err);
    if (rc == 0)
        rc = console_listen(&k->console, k->vm.console, vm_uid(&k->run), err);
    if (rc < 0 || is_target)
        return rc < 0 ? rc : expect(k, err);
    serve_address(k);
    rc = k->control = vm_control_listen(&k->vm, err);
    return rc < 0 ? rc : create_aside(k, err);
}

static void say_ready(void)
{
    const char ready = KEEPER_READY;

    (void)!write(KEEPER_STATUS, &ready, 1);
    close(KEEPER_STATUS);
}

/* ---- what is asked of it */

static void answer(int fd, int rc, const struct err *err)
{
    struct vm_reply reply = {.answer = rc < 0 ? VM_ANSWER_FAILED : VM_ANSWER_DONE};

    if (rc < 0)
        memcpy(reply.text, err->text, sizeof(reply.text));
    (void)vm_control_answer(fd, &reply);
}

static int run_order(const struct keeper *k, const struct vm_request *request, int fd, int back,
                     const struct vm_passed *passed)
{
    const char *guest = k->run.spec.name;
    const struct vm_move move = {.guest = guest,
                                 .vm = &k->vm,
                                 .request = *request,
                                 .control = fd,
                                 .back = back,
                                 .passed = *passed,
                                 .qemu = k->qemu};

    if (request->order == VM_ORDER_MOVE)
        return vm_move_out(&move);
    return request->order == VM_ORDER_RESUME ? vm_move_resume(guest, fd) : vm_move_look(guest, fd);
}

static void forget_mover(struct keeper *k)
{
    if (k->back >= 0)
        close(k->back);
    k->back = -1;
    k->mover = 0;
}

/* The mover's end of a new socket; ours is kept. */
static int make_back(struct keeper *k)
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return -errno;
    forget_mover(k);
    k->back = ends[0];
    return ends[1];
}

static void take_back(const struct keeper *k)
{
    if (k->back >= 0)
        (void)send(k->back, "", 1, MSG_NOSIGNAL);
}

/* The mover has said that the guest is halted, and has not taken that back. */
static bool is_halted(const struct keeper *k)
{
    char byte;

    return k->back >= 0 && recv(k->back, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

/* Its port stands by now. */
static void receive(struct keeper *k, int fd, struct vm_passed *passed)
{
    struct err err;
    int stream = passed->stream;

    if (k->incoming.watcher < 0 || k->incoming.has_stream || stream < 0) {
        answer(fd, err_set(&err, -EINVAL, "nothing moves here"), &err);
        close(fd);
        return;
    }
    passed->stream = -1;
    k->receiver = fd;
    serve_address(k);
    if (vm_incoming_begin(&k->incoming, &k->vm, stream, &err) < 0)
        log_error("guest %s: %s", k->run.spec.name, err.text); /* it is served in vain */
}

/* Answered at once, or when it has come; who asks again takes the place of who asked before. */
static void await_memory(struct keeper *k, int fd)
{
    if (k->incoming.watcher < 0) {
        answer(fd, 0, NULL);
        close(fd);
        return;
    }
    if (k->awaiter >= 0)
        close(k->awaiter);
    k->awaiter = fd;
}

static void take_order(struct keeper *k)
{
    cleanup_close int fd = -1, back = -1;
    struct vm_passed passed;
    struct vm_request request;
    struct err err;
    pid_t pid;

    if (vm_control_take(k->control, &request, &fd, &passed) < 0)
        return;
    if (request.order == VM_ORDER_ACTIVATE && k->incoming.is_received && k->activator < 0) {
        k->activator = steal_fd(&fd);
        vm_incoming_activate(&k->incoming);
    } else if (request.order == VM_ORDER_ACTIVATE ||
               (request.order == VM_ORDER_MOVE && passed.stream < 0)) {
        answer(fd, err_set(&err, -EINVAL, "nothing moves here"), &err);
    } else if (request.order == VM_ORDER_RECEIVE) {
        receive(k, steal_fd(&fd), &passed);
    } else if (request.order == VM_ORDER_AWAIT) {
        await_memory(k, steal_fd(&fd));
    } else if (request.order == VM_ORDER_MOVE && (back = make_back(k)) < 0) {
        answer(fd, err_set(&err, back, "cannot make a socket: %s", strerror(-back)), &err);
    } else {
        if (request.order == VM_ORDER_RESUME)
            take_back(k);
        pid = vm_call_fork();
        if (pid == 0)
            _exit(run_order(k, &request, fd, back, &passed));
        if (request.order == VM_ORDER_MOVE)
            k->mover = pid > 0 ? pid : 0;
    }
    vm_passed_close(&passed);
}

/* ---- living */

static void restart_libvirtd(struct keeper *k)
{
    struct err err = {0};

    log_warn("guest %s: its libvirtd died; another one is started", k->run.spec.name);
    if (vm_ground_start_libvirtd(&k->libvirtd, &err) < 0)
        log_error("guest %s: %s", k->run.spec.name, err.text);
}

/* It is to come here, and was not let go yet: without any of those who bring it nothing comes. */
static bool comes_in(const struct keeper *k)
{
    return k->incoming.watcher >= 0 && !k->incoming.tunnel.lets_pass;
}

/* Halted, the guest may be the target's already: without whom it is held by it must not go on. */
static void end_mover(struct keeper *k, int status)
{
    if (WIFSIGNALED(status) && is_halted(k))
        kill(k->qemu, SIGKILL);
    forget_mover(k);
}

/* A new libvirtd takes a move that it finds under way back, and lets the guest go on. */
static void follow_libvirtd(struct keeper *k)
{
    if (is_halted(k))
        kill(k->qemu, SIGKILL);
    else
        restart_libvirtd(k);
}

/* True when QEMU has ended, or whoever else a guest that comes in needs. */
static bool reap(struct keeper *k, int *ret_code)
{
    bool has_ended = false;
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == k->mover)
            end_mover(k, status);
        if (pid == k->libvirtd && !comes_in(k))
            follow_libvirtd(k);
        if (pid != k->qemu && !(comes_in(k) && (pid == k->libvirtd || pid == k->watcher)))
            continue;
        has_ended = true;
        *ret_code = WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : 1;
    }
    return has_ended;
}

static bool take_signals(struct keeper *k, int *ret_code)
{
    struct signalfd_siginfo info;
    bool has_ended = false;

    while (read(k->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGTERM && vm_call_fork() == 0) {
            vm_call_power_button(k->run.spec.name);
            _exit(0);
        } else if (info.ssi_signo == SIGCHLD) {
            has_ended = reap(k, ret_code) || has_ended;
        }
    }
    return has_ended;
}

/* Tells who waits, if anybody does. */
static void tell(int *waiter, enum vm_answer what, int rc, const struct err *err)
{
    const struct vm_reply reply = {.answer = what};

    if (*waiter < 0)
        return;
    if (rc < 0)
        answer(*waiter, rc, err);
    else
        (void)vm_control_answer(*waiter, &reply);
    close(*waiter);
    *waiter = -1;
}

/* Negative: the guest that was to come here does not, and nothing of it stays. */
static int follow_incoming(struct keeper *k, const struct pollfd *fds, struct err *err)
{
    int news = vm_incoming_serve(&k->incoming, fds, err);

    if (news == VM_INCOMING_RECEIVED) {
        news = find_qemu(k, err); /* its end is heard of from here on */
        tell(&k->receiver, VM_ANSWER_DONE, news, err);
    } else if (news == VM_INCOMING_FOLLOWS || news == VM_INCOMING_RUNS) {
        bool is_over = news == VM_INCOMING_RUNS;

        news = find_qemu(k, err);
        leave_its_cpus(k);
        if (is_over)
            vm_incoming_end(&k->incoming, NULL);
        tell(&k->activator, is_over ? VM_ANSWER_DONE : VM_ANSWER_FOLLOWS, news, err);
        if (is_over)
            tell(&k->awaiter, VM_ANSWER_DONE, news, err);
    }
    return news;
}

static int give_up(struct keeper *k, const struct err *why)
{
    enum vm_answer what = comes_in(k) ? VM_ANSWER_ENDED : VM_ANSWER_FAILED;
    struct err err;

    kill(k->libvirtd, SIGKILL);
    if (find_qemu(k, &err) == 0)
        kill(k->qemu, SIGKILL);
    tell(&k->receiver, VM_ANSWER_FAILED, why->code, why);
    tell(&k->activator, VM_ANSWER_FAILED, why->code, why);
    tell(&k->awaiter, VM_ANSWER_FAILED, why->code, why);
    vm_control_refuse(&k->control, &k->vm, what, why);
    vm_incoming_end(&k->incoming, why->text);
    return EXIT_FAILURE;
}

static int live(struct keeper *k)
{
    struct pollfd fds[4 + CONSOLE_FDS + VM_INCOMING_FDS];
    struct pollfd *console = fds + 4, *incoming = console + CONSOLE_FDS;
    struct err err = {0};
    int code = 1;

    for (;;) {
        fds[0] = (struct pollfd){.fd = k->signals, .events = POLLIN};
        fds[1] = (struct pollfd){.fd = k->control, .events = POLLIN};
        vm_dhcp_poll(&k->dhcp, &fds[2]);
        fds[3] = (struct pollfd){.fd = k->receiver, .events = POLLIN};
        console_poll(&k->console, console);
        vm_incoming_poll(&k->incoming, incoming);
        if (poll(fds, sizeof(fds) / sizeof(fds[0]), -1) < 0)
            continue;
        if (take_signals(k, &code)) { /* first: who is dead is not let go */
            err_set(&err, -ECHILD, "it ended before it ran");
            return comes_in(k) ? give_up(k, &err) : code;
        }
        vm_dhcp_serve(&k->dhcp, &fds[2]);
        console_serve(&k->console, console);
        if (k->incoming.watcher >= 0 && follow_incoming(k, incoming, &err) < 0)
            return give_up(k, &err);
        if (fds[3].revents != 0 && k->receiver >= 0) {
            err_set(&err, -ECANCELED, "nobody waits for it any more");
            return give_up(k, &err);
        }
        if (fds[1].revents != 0)
            take_order(k);
    }
}

int main(int argc, char *argv[])
{
    static struct keeper k = {.dhcp.fd = -1,
                              .incoming.watcher = -1,
                              .receiver = -1,
                              .activator = -1,
                              .awaiter = -1,
                              .back = -1};
    struct err err = {0};

    log_setup(VM_PROGRAM, LOG_LEVEL_INFO);
    virSetErrorFunc(NULL, say_nothing);
    if (begin(&k, argc, argv, &err) < 0) {
        (void)!write(KEEPER_STATUS, err.text, strlen(err.text));
        return EXIT_FAILURE;
    }
    close(KEEPER_RUN);
    if (k.incoming.watcher < 0)
        say_ready();
    return live(&k);
}
