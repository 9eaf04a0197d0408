/* vm_move: see the header, and migrate/tunnel.h for what the stream carries.
 *
 * libvirt's own protocol ends the source: its order to finish the move starts the guest on the
 * target, and the answer to that kills the guest here. The target holds that order until the move
 * is committed, and by then this side stands frozen, so that neither happens before its time. An
 * abort thaws it, the order's connection is found broken, and libvirt has nothing to wait for.
 *
 * Post-copy knows no way back once QEMU has switched to it, so that waits for the commit: after the
 * rounds of pre-copy that it was given the guest is halted, and the target's GO, which comes behind
 * the commit of the handover, starts it. In between the move can be taken back like any other.
 */
#include "agent/guest/vm_move_libvirt.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "agent/guest/vm_call_libvirt.h"
#include "agent/guest/vm_migrate_libvirt.h"
#include "base/log.h"
#include "migrate/progress_posix.h"
#include "migrate/tunnel_posix.h"
#include "migrate/tunnel_spill_posix.h"

enum {
    STOP_LIMIT_MS = 30000,   /* for libvirt to take back a move that failed */
    CANCEL_LIMIT_MS = 10000, /* for QEMU to cancel it, with nothing broken */
    TELL_STEP_MS = 250,
    BRIEF_ROUNDS = 3, /* of pre-copy, in which it is hoped to stand still for … */
    BRIEF_PART = 3,   /* … this part of what is allowed */
};

struct move {
    const struct vm_move *asked;
    struct vm_call call;
    struct tunnel_end tunnel;
    bool has_begun;
    int ended;   /* eventfd: the thread is done; code and words are below */
    int stopped; /* eventfd: its rounds of pre-copy are over, and libvirt stopped it, or failed */
    struct err stop_err;
    bool is_halted;
    atomic_bool is_held; /* halted, and not taken back: it must not run here */
    struct err err;
    atomic_ullong stopped_us; /* CLOCK_BOOTTIME when the guest's processors stopped */
    struct progress progress; /* of memory and disk together */
    atomic_bool is_over;      /* nothing more is said of how far it is */
};

static uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static int answer(int control, enum vm_answer what, const char *text)
{
    struct vm_reply reply = {.answer = what};

    snprintf(reply.text, sizeof(reply.text), "%s", text);
    return vm_control_answer(control, &reply) < 0 || what == VM_ANSWER_FAILED;
}

/* ---- what libvirt does, in a thread: its call blocks until the move is over */

static int on_event(virConnectPtr connection, virDomainPtr domain, int event, int detail,
                    void *opaque)
{
    struct move *move = opaque;

    (void)connection, (void)domain, (void)detail;
    if (event == VIR_DOMAIN_EVENT_SUSPENDED)
        atomic_store(&move->stopped_us, now_us());
    /* Of a migration that failed inside QEMU, which libvirtd takes back by itself. */
    if (event == VIR_DOMAIN_EVENT_RESUMED && atomic_load(&move->is_held))
        kill(move->asked->qemu, SIGKILL);
    return 0;
}

/* What QEMU waits for in these calls may have to cross the stream: it is served meanwhile. */
static int call_aside(void *(*call)(void *move), struct move *move, struct err *err)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, call, move) != 0)
        return err_set(err, -ENOMEM, "no thread for the move");
    pthread_detach(thread);
    return 0;
}

static void *stop(void *opaque)
{
    struct move *move = opaque;
    const uint64_t one = 1;

    if (virDomainSuspend(move->call.domain) < 0)
        vm_call_failed(&move->stop_err, "stop it");
    (void)!write(move->stopped, &one, sizeof(one));
    return NULL;
}

/* What is left when it stops may take so long. One that writes little soon has less left. */
static int allow_last_round(const struct move *move, uint32_t ms)
{
    return virDomainMigrateSetMaxDowntime(move->call.domain, ms > 0 ? ms : 1, 0);
}

static void *allow_all(void *opaque)
{
    struct move *move = opaque;
    struct err err;

    if (allow_last_round(move, move->asked->request.last_round_ms) < 0) {
        vm_call_failed(&err, "bound its downtime");
        log_warn("guest %s: %s", move->asked->guest, err.text);
    }
    return NULL;
}

static void on_round(virConnectPtr connection, virDomainPtr domain, int round, void *opaque)
{
    struct move *move = opaque;
    uint32_t last = move->asked->request.post_after;
    struct err err;

    (void)connection, (void)domain;
    if (round == BRIEF_ROUNDS + 1 && call_aside(allow_all, move, &err) < 0)
        log_warn("guest %s: %s", move->asked->guest, err.text); /* it takes more rounds */
    if (last != 0 && (uint32_t)round == last + 1 && call_aside(stop, move, &err) < 0)
        log_warn("guest %s: %s", move->asked->guest, err.text); /* pre-copy goes on */
}

static int migrate_to(struct move *move, virConnectPtr target, struct err *err)
{
    if (allow_last_round(move, move->asked->request.last_round_ms / BRIEF_PART) < 0)
        return vm_call_failed(err, "bound its downtime");
    return vm_migrate(move->asked, move->call.domain, target, move->tunnel.text, err);
}

static void *migrate(void *opaque)
{
    struct move *move = opaque;
    const uint64_t one = 1;
    virConnectPtr target;
    char uri[160];

    snprintf(uri, sizeof(uri), "qemu+unix:///system?socket=%s", move->asked->vm->rpc);
    target = virConnectOpen(uri);
    if (target == NULL)
        vm_call_failed(&move->err, "be reached on the target");
    else
        migrate_to(move, target, &move->err);
    if (target != NULL)
        virConnectClose(target);
    (void)!write(move->ended, &one, sizeof(one));
    return NULL;
}

/* ---- how far it is, in another thread: libvirt answers when QEMU does */

static uint64_t field(virTypedParameterPtr parameters, int n, const char *name)
{
    unsigned long long value = 0;

    return virTypedParamsGetULLong(parameters, n, name, &value) < 0 ? 0 : value;
}

/* False when there is no move to tell of: not yet, or not any more. What the guest writes again
 * counts again. */
static bool read_progress(const struct move *move, struct move_progress *ret)
{
    virTypedParameterPtr parameters = NULL;
    int type = VIR_DOMAIN_JOB_NONE, n = 0;

    if (virDomainGetJobStats(move->call.domain, &type, &parameters, &n, 0) < 0)
        return false;
    ret->round = (uint32_t)field(parameters, n, VIR_DOMAIN_JOB_MEMORY_ITERATION);
    ret->done_bytes = field(parameters, n, VIR_DOMAIN_JOB_DATA_PROCESSED);
    ret->total_bytes = ret->done_bytes + field(parameters, n, VIR_DOMAIN_JOB_DATA_REMAINING);
    virTypedParamsFree(parameters, n);
    return type == VIR_DOMAIN_JOB_UNBOUNDED && ret->total_bytes > 0;
}

static void *tell(void *opaque)
{
    const struct timespec step = {.tv_nsec = TELL_STEP_MS * 1000000L};
    struct move *move = opaque;
    struct move_progress *now = &move->progress.value;

    while (!atomic_load(&move->is_over) && nanosleep(&step, NULL) == 0) {
        if (read_progress(move, now))
            progress_tell(&move->progress, now->done_bytes);
    }
    return NULL;
}

/* ---- the stream meanwhile */

static int begin(struct move *move, struct err *err)
{
    struct err unheard; /* then nobody hears how far it is */
    int rc;

    move->has_begun = true;
    rc = call_aside(migrate, move, err);
    if (rc == 0)
        (void)call_aside(tell, move, &unheard);
    return rc;
}

/* One turn of the loop. Positive: libvirt's call has returned, or nobody wants the move now. */
static int turn(struct move *move, bool has_stream, int timeout_ms, struct err *err)
{
    struct pollfd fds[3 + TUNNEL_FDS];
    int n = has_stream ? 3 + TUNNEL_FDS : 1;

    fds[0] = (struct pollfd){.fd = move->ended, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = move->asked->control, .events = POLLIN};
    fds[2] = (struct pollfd){.fd = move->stopped, .events = POLLIN};
    if (has_stream)
        tunnel_end_poll(&move->tunnel, fds + 3);
    n = poll(fds, (nfds_t)n, timeout_ms);
    if (n == 0)
        return err_set(err, -ETIMEDOUT, "libvirt does not give the move up");
    if (n < 0 || fds[0].revents != 0)
        return n < 0 ? 0 : 1;
    if (!has_stream)
        return 0;
    if (fds[1].revents != 0)
        return err_set(err, -ECANCELED, "the move was given up");
    return tunnel_end_serve(&move->tunnel, fds + 3, err);
}

/* What is left may cross before the target owns the guest: then it was a pre-copy after all. */
static int halt(struct move *move, struct err *err)
{
    if (move->stop_err.code < 0)
        return err_set(err, move->stop_err.code, "%s", move->stop_err.text);
    (void)!write(move->asked->back, "", 1);
    atomic_store(&move->is_held, true);
    tunnel_end_halt(&move->tunnel);
    move->is_halted = true;
    return 0;
}

/* The target holds the order to finish. That order also comes when the copy has failed. */
static int stands_still(struct move *move, struct err *err)
{
    int state = 0, reason = 0;

    if (virDomainGetState(move->call.domain, &state, &reason, 0) < 0)
        return vm_call_failed(err, "say how it is");
    if (state == VIR_DOMAIN_PAUSED && reason == VIR_DOMAIN_PAUSED_MIGRATION)
        return 0;
    return err_set(err, -EIO, "its memory or its disk could not be copied");
}

static int copy(struct move *move, struct err *err)
{
    int rc = 0;

    while (rc == 0 && !move->tunnel.tunnel.is_asked && !move->is_halted) {
        uint64_t times;

        rc = turn(move, true, -1, err);
        if (rc == 0 && !move->has_begun && move->tunnel.tunnel.has_hello)
            rc = begin(move, err);
        if (rc == 0 && read(move->stopped, &times, sizeof(times)) > 0)
            rc = halt(move, err);
    }
    if (rc > 0)
        return err_set(err, move->err.code < 0 ? move->err.code : -EIO, "%s", move->err.text);
    if (rc == 0 && !move->is_halted)
        rc = stands_still(move, err);
    if (rc < 0)
        return rc;
    if (!move->is_halted)
        tunnel_end_complete(&move->tunnel);
    while (rc == 0 && !tunnel_end_is_flushed(&move->tunnel))
        rc = turn(move, true, -1, err);
    return rc;
}

/* The guest is the target's. It fails where all of it has crossed already. */
static void *start_post_copy(void *opaque)
{
    const struct move *move = opaque;
    struct err err;

    if (virDomainMigrateStartPostCopy(move->call.domain, 0) < 0) {
        vm_call_failed(&err, "begin post-copy");
        log_info("guest %s: %s", move->asked->guest, err.text);
    }
    return NULL;
}

/* Of a guest that is halted: gives its memory out until the guard ends all of it. Returns when the
 * move is taken back. A broken stream is nothing to act on: only what was agreed on is. */
static int follow(struct move *move, struct err *err)
{
    struct pollfd fds[1 + TUNNEL_FDS];
    bool has_stream = true, has_gone = false;
    struct err broken;

    for (;;) {
        fds[0] = (struct pollfd){.fd = move->asked->back, .events = POLLIN};
        if (has_stream)
            tunnel_end_poll(&move->tunnel, fds + 1);
        if (poll(fds, has_stream ? 1 + TUNNEL_FDS : 1, -1) < 0)
            continue;
        if (fds[0].revents != 0)
            return err_set(err, -ECANCELED, "the move was given up");
        if (has_stream)
            has_stream = tunnel_end_serve(&move->tunnel, fds + 1, &broken) == 0;
        if (move->tunnel.tunnel.may_go && !has_gone)
            has_gone = call_aside(start_post_copy, move, &broken) == 0;
    }
}

static void *cancel(void *opaque)
{
    struct move *move = opaque;

    (void)virDomainAbortJob(move->call.domain);
    return NULL;
}

/* What goes to libvirt's end and the disks' at the target is broken, and libvirt cancels; what QEMU
 * writes of the guest goes nowhere meanwhile. */
static void cancel_unbroken(struct move *move)
{
    uint64_t until = now_us() + CANCEL_LIMIT_MS * 1000ull;
    struct pollfd fds[1 + TUNNEL_SPILL_FDS];
    struct tunnel_spill spill;
    struct err unheard; /* then it is cancelled in vain below */

    tunnel_spill_begin(&spill, &move->tunnel);
    tunnel_end_deinit(&move->tunnel);
    (void)call_aside(cancel, move, &unheard);
    for (uint64_t now = now_us(); now < until; now = now_us()) {
        fds[0] = (struct pollfd){.fd = move->ended, .events = POLLIN};
        tunnel_spill_poll(&spill, fds + 1);
        if (poll(fds, 1 + TUNNEL_SPILL_FDS, (int)((until - now) / 1000) + 1) <= 0)
            continue;
        if (fds[0].revents != 0)
            break;
        tunnel_spill_serve(&spill, fds + 1);
    }
    tunnel_spill_end(&spill);
}

/* Without its connections libvirt's call comes to an end, and the guest goes on. They are closed
 * first: QEMU may stand in a write that nobody takes, and answer nobody until that fails. */
static void take_back(struct move *move, const struct err *why)
{
    struct err err = {0};
    int rc = 0, state = 0;

    atomic_store(&move->is_over, true);
    atomic_store(&move->is_held, false);
    tunnel_end_fail(&move->tunnel, why->text);
    if (move->has_begun && move->asked->request.connections > 1)
        cancel_unbroken(move);
    tunnel_end_deinit(&move->tunnel);
    if (move->has_begun)
        (void)virDomainAbortJob(move->call.domain);
    while (rc == 0 && move->has_begun)
        rc = turn(move, false, STOP_LIMIT_MS, &err);
    if (rc < 0)
        log_error("guest %s: %s", move->asked->guest, err.text);
    if (move->call.domain != NULL && virDomainGetState(move->call.domain, &state, NULL, 0) == 0 &&
        state == VIR_DOMAIN_PAUSED)
        (void)virDomainResume(move->call.domain);
}

/* Frozen with the guest until the move is over; or until an abort thaws it, and nobody holds the
 * other end any more. */
static void wait_for_the_end(int control)
{
    struct pollfd fd = {.fd = control, .events = POLLIN};

    while (poll(&fd, 1, -1) < 0)
        ;
}

static int say_moved(const struct move *move)
{
    struct vm_reply reply = {.answer = move->is_halted ? VM_ANSWER_HALTED : VM_ANSWER_MOVED,
                             .bytes = move->tunnel.n_bytes,
                             .frozen_us = atomic_load(&move->stopped_us),
                             .handed_over_us = now_us()};

    atomic_store(&move->is_over, !move->is_halted);
    if (reply.frozen_us == 0) /* the event is late */
        reply.frozen_us = reply.handed_over_us;
    return vm_control_answer(move->asked->control, &reply);
}

static int hear(struct move *move)
{
    const struct {
        int id;
        virConnectDomainEventGenericCallback call;
    } events[] = {
        {VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_event)},
        {VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION, VIR_DOMAIN_EVENT_CALLBACK(on_round)},
    };
    int rc = 0;

    for (size_t i = 0; rc >= 0 && i < sizeof(events) / sizeof(events[0]); i++)
        rc = virConnectDomainEventRegisterAny(move->call.connection, move->call.domain,
                                              events[i].id, events[i].call, move, NULL);
    return rc;
}

int vm_move_out(const struct vm_move *asked)
{
    const char *const doors[TUNNEL_N_DOORS] = {[TUNNEL_RPC] = asked->vm->rpc,
                                               [TUNNEL_MEMORY] = asked->vm->memory,
                                               [TUNNEL_DISKS] = asked->vm->disks};
    static struct move move;
    struct err err = {0};
    int rc = vm_call_hear_events(&err);

    move.asked = asked;
    move.progress.fd = asked->passed.progress;
    move.ended = eventfd(0, EFD_CLOEXEC);
    move.stopped = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (tunnel_end_init(&move.tunnel, true, asked->passed.stream, doors, rc == 0 ? &err : NULL) < 0)
        rc = err.code;
    if (rc == 0)
        rc = vm_call_begin(&move.call, asked->guest, &err);
    if (rc == 0 && hear(&move) < 0)
        rc = vm_call_failed(&err, "tell what happens to it");
    if (rc == 0)
        rc = copy(&move, &err);
    if (rc == 0)
        rc = say_moved(&move);
    if (rc == 0 && move.is_halted)
        rc = follow(&move, &err);
    if (rc == 0) {
        wait_for_the_end(asked->control);
        _exit(EXIT_SUCCESS); /* and with it whatever libvirt's call still waits for */
    }
    take_back(&move, &err);
    return answer(asked->control, VM_ANSWER_FAILED, err.text);
}
