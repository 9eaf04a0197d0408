#include "agent/guard/job_run_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/guard/aside_posix.h"
#include "agent/guard/clock_posix.h"
#include "agent/guard/executor_posix.h"
#include "agent/guard/health_posix.h"
#include "agent/guard/kept_posix.h"
#include "agent/guard/process_posix.h"
#include "agent/guest/room_posix.h"
#include "agent/guest/unpack_archive.h"
#include "base/clean.h"
#include "migrate/mover.h"
#include "migrate/progress_posix.h"
#include "netfabric/wiring.h"

/* What a job works with, made from its guest_run. */
struct scene {
    struct cgroups *cgroups;
    const struct cpus *cpus;
    struct job *job;
    const struct guest_kind_ops *kind;
    struct guest_paths paths;
    struct mover_guest mover;
    char freezer[CGROUP_PATH_SIZE];
    bool stays;
};

const struct guest_kind_ops *job_kind_of_guest(enum guest_kind kind)
{
    static const struct guest_kind_ops *const ops[] = {
        [KIND_CELL] = &guest_cell_ops, [KIND_LXC] = &guest_lxc_ops, [KIND_VM] = &guest_vm_ops};

    return (size_t)kind < sizeof(ops) / sizeof(ops[0]) ? ops[kind] : NULL;
}

static int scene_init(struct scene *s, const struct job_context *context, struct job *job,
                      struct err *err)
{
    const char *name = job->run.spec.name;

    *s = (struct scene){.cgroups = context->cgroups, .cpus = &context->cpus, .job = job};
    s->kind = job_kind_of_guest(job->run.spec.kind);
    if (s->kind == NULL)
        return err_set(err, -ENOTSUP, "this node runs no guest of that kind");
    s->stays = job->run.spec.failover == FAILOVER_STAY;
    guest_paths_of_run(&s->paths, &job->run);
    cgroup_freezer_path(s->cgroups, name, s->stays, s->freezer, sizeof(s->freezer));
    guest_mover_init(&s->mover, &job->run, &s->paths);
    s->mover.pid = (pid_t)job->pid;
    s->mover.freezer = s->freezer;
    s->mover.is_kept = job->is_kept;
    return 0;
}

/* ---- what a guest wrote: kept from one start here to the next only when somebody said so */

static int clean_up(const struct scene *s, bool keep_upper, struct err *err)
{
    const struct guest_run *run = &s->job->run;
    int rc;

    if (!keep_upper)
        kept_forget(run->spec.name);
    if (s->kind->mover != NULL)
        (void)s->kind->mover->discard(&s->mover, err); /* memory that still comes, for nobody */
    rc = s->kind->clean_up(&s->paths, keep_upper, err);
    return rc < 0 || !keep_upper ? rc : kept_note(run->spec.name, run->created, err);
}

/* Leaves the upper layer of before only where it was kept; it is not kept twice. */
static int begin_upper(const struct scene *s, bool may_keep, struct err *err)
{
    const struct guest_run *run = &s->job->run;
    bool is_kept = kept_is_of(run->spec.name, run->created) && may_keep;

    kept_forget(run->spec.name);
    return s->kind->clean_up(&s->paths, is_kept, err);
}

/* ---- the jobs */

static int check_process(const struct job *job, struct err *err)
{
    if (job->pid == 0 || process_start_time((pid_t)job->pid) != job->start_time)
        return err_set(err, -ESRCH, "it has ended");
    return 0;
}

static int check_image(const struct scene *s, struct err *err)
{
    struct stat st;

    if (stat(s->paths.image_root, &st) < 0 || !S_ISDIR(st.st_mode))
        return err_set(err, -ENOENT, "its image is not unpacked on this node");
    return 0;
}

static int find_cpus(const struct scene *s, struct err *err)
{
    struct guest_run *run = &s->job->run;

    for (uint32_t i = 0; i < run->n_cores; i++)
        run->cpus[i] = cpus_real(s->cpus, run->cores[i]);
    if (run->spec.kind == KIND_VM)
        return cpus_list_machines(s->cpus, run->shared_cpus, err);
    return cpus_list(s->cpus, NULL, 0, false, run->shared_cpus, err);
}

static int start(struct scene *s, struct job_result *ret, struct err *err)
{
    pid_t pid = 0;
    int rc = find_cpus(s, err);

    /* From here on within the guest's groups: frozen when they are, killed when they are. */
    if (rc == 0)
        rc = cgroup_enter(s->cgroups, s->job->run.spec.name, s->stays, err);
    if (rc == 0)
        rc = s->kind->start(&s->job->run, &s->paths, &pid, err);
    ret->pid = (uint32_t)pid;
    return rc;
}

static int exec_in(struct scene *s, struct job_result *ret, struct err *err)
{
    int wait_status = 0, rc = check_process(s->job, err);

    if (rc == 0 && !s->kind->can_exec)
        rc = err_set(err, -ENOTSUP, "a guest of kind %s runs no command from outside",
                     s->kind->name);
    if (rc == 0)
        rc = cgroup_enter(s->cgroups, s->job->run.spec.name, s->stays, err);
    if (rc == 0)
        rc = s->kind->exec((pid_t)s->job->pid, &s->job->run, s->job->argv, s->job->fds,
                           &wait_status, err);
    ret->status = executor_status_of_wait(wait_status);
    return rc;
}

/* All of it fits into the pipe: nobody has to read yet. */
static int write_look(const struct look *look, int fd, struct err *err)
{
    uint8_t bytes[LOOK_MAX_BYTES];
    struct writer w;

    writer_init(&w, bytes, sizeof(bytes));
    look_encode(look, &w);
    if (w.failed || write(fd, bytes, w.size) != (ssize_t)w.size)
        return err_set(err, -EIO, "what was found cannot be handed over");
    return 0;
}

static int look_at(struct scene *s, struct err *err)
{
    struct look look = {0};
    int rc = check_process(s->job, err);

    if (rc == 0 && s->kind->mover != NULL)
        rc = s->kind->mover->look(&s->mover, &look, err);
    else if (rc == 0)
        look_add(&look, "kind", true, "a guest of kind %s does not move while it runs",
                 s->kind->name);
    return rc < 0 ? rc : write_look(&look, s->job->fds[0], err);
}

static int check_health(struct scene *s, struct err *err)
{
    struct health_probe probe = {.timeout_ms = s->job->timeout_ms,
                                 .port = s->job->port,
                                 .ip = s->job->run.ip,
                                 .netns = s->paths.netns};
    struct job_result result = {0};
    int rc = check_process(s->job, err);
    pid_t child;

    if (rc < 0 || probe.port != 0)
        return rc < 0 ? rc : health_probe_tcp(&probe, err);
    rc = health_probe_fork(s->job->fds, &child, err);
    if (rc < 0)
        return rc;
    if (child == 0) {
        rc = exec_in(s, &result, err);
        _exit(rc < 0 ? HEALTH_NOT_RUN : result.status == HEALTH_NOT_RUN ? 1 : result.status);
    }
    return health_probe_wait(&probe, child, err);
}

static int console(struct scene *s, struct err *err)
{
    int rc = check_process(s->job, err);

    if (rc == 0 && !s->kind->can_console)
        rc = err_set(err, -ENOTSUP, "a guest of kind %s has no console: use exec", s->kind->name);
    if (rc == 0)
        rc = cgroup_enter(s->cgroups, s->job->run.spec.name, s->stays, err);
    return rc < 0 ? rc : s->kind->console(&s->paths, s->job->fds, err);
}

static int join_cgroups(void *context, struct err *err)
{
    const struct scene *s = context;

    return cgroup_enter(s->cgroups, s->job->run.spec.name, s->stays, err);
}

/* Who receives it gets ready while the rest is prepared. */
static int expect(struct scene *s, struct err *err)
{
    const struct mover_join join = {join_cgroups, s};
    int rc = find_cpus(s, err);

    return rc < 0 ? rc : s->kind->mover->expect(&s->mover, &join, err);
}

static int prepare(struct scene *s, struct job_result *ret, struct err *err)
{
    int rc = check_image(s, err);

    if (rc == 0)
        rc = begin_upper(s, s->job->keep_upper, err);
    if (rc == 0 && s->job->is_target)
        guest_room(&ret->room);
    if (rc == 0 && s->job->is_target && s->kind->mover != NULL && s->kind->mover->expect != NULL)
        rc = expect(s, err);
    return rc < 0 ? rc : s->kind->prepare(&s->job->run, &s->paths, err);
}

/* The mode that it will be captured in. What cannot be is found here, before it stands still for
 * nothing; who insists on a mode has it tried. */
static int pick_mode(struct scene *s, struct look *look, struct mode_verdict *ret, struct err *err)
{
    int rc = s->kind->mover->look(&s->mover, look, err);

    if (rc < 0)
        return rc;
    if (look_obstacle(look) != NULL)
        return err_set(err, -ENOTSUP, "%s", look_obstacle(look));
    look->n_reasons = 0;
    mode_pick(&s->job->wish, look, ret);
    return ret->mode == 0 ? err_set(err, -ENOTSUP, "%s", look->reasons[0].text) : 0;
}

/* -ENOSPC: what was found, or is measured now (`look` NULL), has no room at the target. */
static int find_room(struct scene *s, const struct look *look, enum move_mode mode, struct err *err)
{
    const struct mode_wish *wish = &s->job->wish;
    struct room_need need;
    struct look own;

    if (!wish->room.is_known || s->kind->mover->measure == NULL)
        return 0;
    if (look == NULL)
        s->kind->mover->measure(&s->mover, &own);
    room_need_of(look != NULL ? look : &own, mode, &need);
    return room_check(&wish->room, &need, wish->target, err);
}

static int survey(struct scene *s, struct job_result *ret, struct err *err)
{
    struct mode_verdict verdict = {.mode = s->job->wish.terms.mode};
    bool picks = verdict.mode == MOVE_AUTO;
    int rc = check_process(s->job, err);
    struct look look = {0};

    if (rc == 0 && picks)
        rc = pick_mode(s, &look, &verdict, err);
    if (rc == 0)
        rc = find_room(s, picks ? &look : NULL, verdict.mode, err);
    ret->mode = verdict.mode;
    if (rc == 0 && s->kind->mover->ready != NULL)
        rc = s->kind->mover->ready(&s->mover, mode_link_kbps(&s->job->wish), err);
    if (rc >= 0)
        progress_expect(s->paths.checkpoint, &s->job->wish, verdict.blackout_ms);
    ret->copies_files = rc == 1;
    return rc == 1 ? 0 : rc;
}

static int close_port(void *context, struct err *err)
{
    const struct scene *s = context;
    uint16_t port = s->job->run.port;

    return port == 0 ? 0 : wiring_set_up(port, false, err);
}

/* COPY: what goes before it. */
static int capture(struct scene *s, struct job_result *ret, struct err *err)
{
    struct mover_order order = {.mode = s->job->wish.terms.mode,
                                .post_after = mode_post_after(&s->job->wish),
                                .last_round_ms = mode_last_round_ms(&s->job->wish),
                                .rate_kbps = s->job->wish.terms.bandwidth_kbps,
                                .connections = s->job->wish.terms.connections,
                                .link_kbps = mode_link_kbps(&s->job->wish),
                                .close_port = close_port,
                                .context = s};
    const struct mover_ops *mover = s->kind->mover;
    bool copies = s->job->kind == JOB_COPY;
    struct mover_report report = {0};
    int rc = check_process(s->job, err);

    if (rc == 0 && mover->ready == NULL)
        rc = mover->check(&s->mover, err);
    if (rc == 0 && mover->is_live)
        rc = find_room(s, NULL, order.mode, err);
    if (rc == 0)
        rc = (copies ? mover->copy : mover->capture)(&s->mover, s->job->fds[0], &order, &report,
                                                     err);
    ret->bytes = report.bytes;
    ret->frozen_us = report.frozen_us;
    ret->handed_over_us = report.handed_over_us;
    ret->mode = report.mode;
    return rc;
}

static int receive(struct scene *s, struct job_result *ret, struct err *err)
{
    struct mover_report report = {0};
    int rc = s->kind->mover->receive(&s->mover, s->job->fds[0], &report, err);

    ret->pid = (uint32_t)report.pid;
    ret->bytes = report.bytes;
    ret->handed_over_us = report.handed_over_us;
    ret->mode = report.mode;
    return rc;
}

static int stand_by(struct scene *s, struct err *err)
{
    int rc = cgroup_enter(s->cgroups, s->job->run.spec.name, s->stays, err);

    return rc < 0 ? rc : s->kind->mover->stand_by(&s->mover, err);
}

static int activate(struct scene *s, struct job_result *ret, struct err *err)
{
    pid_t pid = 0;
    int rc = cgroup_enter(s->cgroups, s->job->run.spec.name, s->stays, err);

    if (rc == 0)
        rc = s->kind->mover->activate(&s->mover, &pid, err);
    ret->pid = (uint32_t)pid;
    ret->handed_over_us = clock_now_us();
    ret->mode = rc == 1 ? MOVE_POST : MOVE_STOP;
    return rc < 0 ? rc : 0;
}

static int checkpoint(struct scene *s, struct job_result *ret, struct err *err)
{
    struct mover_report report = {0};
    int rc = check_process(s->job, err);

    if (rc == 0)
        rc = s->kind->mover->checkpoint(&s->mover, s->job->since_us, &report, err);
    ret->frozen_us = report.frozen_us;
    ret->handed_over_us = report.handed_over_us;
    ret->mode = report.mode;
    return rc;
}

static int send_kept(struct scene *s, struct job_result *ret, struct err *err)
{
    struct mover_report report = {0};
    int rc = s->kind->mover->send(&s->mover, s->job->fds[0], s->job->digest, &report, err);

    ret->bytes = report.bytes;
    return rc;
}

static int receive_kept(struct scene *s, struct job_result *ret, struct err *err)
{
    struct mover_report report = {0};
    int rc = s->kind->mover->receive_kept(&s->mover, s->job->fds[0], s->job->digest, &report, err);

    ret->bytes = report.bytes;
    return rc;
}

/* True of the jobs that need the kind's mover. */
static bool is_move(enum job_kind kind)
{
    return kind == JOB_SURVEY || kind == JOB_COPY || kind == JOB_CAPTURE || kind == JOB_AWAIT ||
           kind == JOB_RECEIVE || kind == JOB_STAND_BY || kind == JOB_AWAIT_RESTORED ||
           kind == JOB_ACTIVATE || kind == JOB_RESUME || kind == JOB_DISCARD;
}

/* True of those that need one that keeps checkpoints. */
static bool is_protection(enum job_kind kind)
{
    return kind == JOB_CHECKPOINT || kind == JOB_SEND || kind == JOB_RESTORE || kind == JOB_RESET;
}

static int run_on_guest(struct scene *s, struct job_result *ret, struct err *err)
{
    int rc;

    if (is_move(s->job->kind) && s->kind->mover == NULL)
        return err_set(err, -ENOTSUP, "a guest of kind %s does not move while it runs",
                       s->kind->name);
    if (is_protection(s->job->kind) &&
        (s->kind->mover == NULL || s->kind->mover->checkpoint == NULL))
        return err_set(err, -ENOTSUP, "no checkpoint can be taken of a guest of kind %s",
                       s->kind->name);
    switch (s->job->kind) {
    case JOB_START:
        return start(s, ret, err);
    case JOB_TERMINATE:
        rc = check_process(s->job, err);
        return rc < 0 ? rc : s->kind->terminate((pid_t)s->job->pid, err);
    case JOB_EXEC:
        return exec_in(s, ret, err);
    case JOB_LOOK:
        signal(SIGPIPE, SIG_IGN);
        return look_at(s, err);
    case JOB_CHECK:
        return check_health(s, err);
    case JOB_CONSOLE:
        return console(s, err);
    case JOB_CLEAN_UP:
        return clean_up(s, s->job->keep_upper, err);
    case JOB_PREPARE:
        return prepare(s, ret, err);
    case JOB_SURVEY:
        return survey(s, ret, err);
    case JOB_COPY:
    case JOB_CAPTURE:
        signal(SIGPIPE, SIG_IGN);
        return capture(s, ret, err);
    case JOB_RECEIVE:
        signal(SIGPIPE, SIG_IGN);
        return receive(s, ret, err);
    case JOB_STAND_BY:
        return stand_by(s, err);
    case JOB_AWAIT_RESTORED:
        rc = s->kind->mover->await_restored(&s->mover, err);
        return rc < 0 ? rc : 0;
    case JOB_ACTIVATE:
        return activate(s, ret, err);
    case JOB_CHECKPOINT:
        return checkpoint(s, ret, err);
    case JOB_SEND:
        signal(SIGPIPE, SIG_IGN);
        return send_kept(s, ret, err);
    case JOB_RESTORE:
        return receive_kept(s, ret, err);
    case JOB_RESET:
        return s->kind->mover->reset_peers(&s->mover, err);
    case JOB_AWAIT:
        return s->kind->mover->await != NULL ? s->kind->mover->await(&s->mover, err) : 0;
    case JOB_RESUME:
        return s->kind->mover->resume(&s->mover, err);
    case JOB_DISCARD:
        return s->kind->mover->discard(&s->mover, err);
    default:
        return err_set(err, -EINVAL, "no job of the cell executor");
    }
}

static int run_on_image(const struct job *job, struct err *err)
{
    struct guest_paths paths;

    guest_paths_init(&paths, "image", job->digest);
    return job->kind == JOB_UNPACK ? unpack_image(job->fds[0], job->digest, paths.image_root, err)
                                   : unpack_remove(paths.image_root, err);
}

void job_run_cell(const void *context, struct job *job, struct job_result *ret)
{
    struct err err = {0};
    struct scene scene;
    int rc;

    if (job->kind == JOB_UNPACK || job->kind == JOB_DROP_IMAGE) {
        rc = run_on_image(job, &err);
    } else if (job->kind == JOB_DROP_ASIDE) {
        rc = aside_drop(GUEST_VOLUMES, &err);
        rc = rc < 0 ? rc : aside_drop(GUEST_FILES, &err);
    } else {
        rc = scene_init(&scene, context, job, &err);
        if (rc == 0)
            rc = run_on_guest(&scene, ret, &err);
    }
    job_result_end(ret, rc, &err);
}
