/* steps_run: starting, stopping and watching guests; see work_posix.h. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/guard/clock_posix.h"
#include "agent/guard/process_posix.h"
#include "agent/guard/records_posix.h"
#include "agent/guard/work_posix.h"
#include "agent/guest/vm_driver_posix.h"
#include "base/log.h"
#include "consensus/capacity.h"

/* ---- checks: the first step of each */

enum step check_copy(struct operation *op)
{
    const struct guest_record *record = &op->guest->record;
    const struct guest_copy *copy = &op->request.copy;

    if (record->state == 0 || guest_record_is_target(record))
        return operation_fail(op, -ENOENT, "guest '%s' is not on this node", copy->guest);
    if (record->run.epoch != copy->epoch)
        return operation_fail(op, -ESTALE, "guest '%s' is here with epoch %llu, not %llu",
                              copy->guest, (unsigned long long)record->run.epoch,
                              (unsigned long long)copy->epoch);
    return STEP_NEXT;
}

enum step check_run(struct operation *op)
{
    const struct guest_run *run = &op->request.run;

    if (run->spec.memory_mib == 0)
        return operation_fail(op, -EINVAL, "a guest needs memory");
    if (run->n_cores != run->spec.n_cores)
        return operation_fail(op, -EINVAL, "%u cores given, %u asked for", run->n_cores,
                              run->spec.n_cores);
    if (run->vni != 0 && (run->port < FABRIC_FIRST_PORT || run->port > FABRIC_LAST_PORT))
        return operation_fail(op, -EINVAL, "%u is no guest's port", run->port);
    if (run->spec.n_volumes > 0 && guest_spec_boots(&run->spec))
        return operation_fail(op, -EINVAL, "a %s has no volumes", guest_kind_name(run->spec.kind));
    return STEP_NEXT;
}

enum step step_start_check(struct work *work, struct operation *op)
{
    struct guest_record *record = &op->guest->record;
    struct guest_run *run = &op->request.run;
    struct roster_entry entry = {.epoch = run->epoch,
                                 .port = run->port,
                                 .created = run->created,
                                 .stays = run->spec.failover == FAILOVER_STAY,
                                 .has_copy = true};
    uint8_t cluster[NONCE_SIZE];
    uint32_t n_starts = 1;
    bool had_ended;
    struct err err;

    if (check_run(op) == STEP_FAIL)
        return STEP_FAIL;
    if (record->state != 0 && record->state != GUEST_EXITED)
        return operation_fail(op, -EEXIST, "guest '%s' is on this node already", op->guest->name);
    roster_cluster(work->config.roster, cluster);
    had_ended = record->state == GUEST_EXITED && guest_record_is_of(record, cluster);
    if (had_ended && run->epoch < record->run.epoch)
        return operation_fail(op, -ESTALE, "guest '%s' is here with the newer epoch %llu",
                              op->guest->name, (unsigned long long)record->run.epoch);
    if (had_ended && run->epoch == record->run.epoch)
        n_starts = record->n_starts + 1;
    memcpy(entry.guest, op->guest->name, sizeof(entry.guest));
    if (roster_put(work->config.roster, &entry, true, op->request.index, &err) < 0)
        return operation_fail(op, err.code, "%s", err.text);
    guest_clear(op->guest);
    record->run = *run; /* takes it */
    *run = (struct guest_run){0};
    memcpy(record->cluster, entry.cluster, sizeof(record->cluster));
    record->state = GUEST_STARTING;
    record->n_starts = n_starts;
    op->has_begun = true;
    return save_record(work, op);
}

/* ---- coming to life */

enum step step_make_cgroup(struct work *work, struct operation *op)
{
    const struct guest_record *record = &op->guest->record;
    bool is_vm = record->run.spec.kind == KIND_VM;
    bool is_domain = is_vm && work->config.domains != NULL; /* its cores are Xen's affair … */
    char cpus[CPUS_TEXT_SIZE];
    struct cgroup_limits limits = {.memory_mib = capacity_guest_mib(&record->run.spec),
                                   .cpus = cpus,
                                   .n_cores = record->run.n_cores};
    struct err err;

    if (is_domain && record->state == GUEST_PREPARED)
        return operation_fail(op, -ENOTSUP, "this node runs machines by Xen: none moves here");
    if (is_vm && !is_domain && vm_driver_is_xen())
        return operation_fail(op, -ENOTSUP, "the guard cannot stop domains of this Xen");
    /* … and of any other machine what runs it keeps off its cores. */
    if (cpus_list(&work->config.cpus, record->run.cores, is_domain ? 0 : record->run.n_cores, is_vm,
                  cpus, &err) < 0 ||
        cgroup_make(work->config.cgroups, op->guest->name, guest_record_stays(record), &limits,
                    &err) < 0 ||
        guest_follow_freezer(work, op->guest, &err) < 0)
        return operation_fail(op, err.code, "%s", err.text);
    return STEP_NEXT;
}

enum step step_plug(struct work *work, struct operation *op)
{
    if (op->guest->record.run.vni == 0)
        return STEP_NEXT;
    return operation_plain_job(work, op, &work->config.fabric, JOB_PLUG);
}

static enum step start_prepare(struct work *work, struct operation *op)
{
    struct job job;

    job_init(&job);
    job.kind = JOB_PREPARE;
    job.keep_upper = true;
    return operation_job(work, op, &work->config.cells, &job);
}

static enum step start_job(struct work *work, struct operation *op)
{
    return operation_plain_job(work, op, &work->config.cells, JOB_START);
}

/* The guest's init as the job named it; it may have ended already, which look_after finds. */
enum step step_take_pid(struct work *work, struct operation *op)
{
    struct local_guest *guest = op->guest;
    struct guest_record *record = &guest->record;
    struct err err;

    record->pid = op->result.pid;
    record->start_time = process_start_time((pid_t)record->pid);
    record->state = GUEST_RUNNING;
    guest->is_ours = true;
    guest->has_status = work_take_exit(work, record->pid, &record->exit_status);
    guest->has_ended = guest->has_status;
    if (!guest->has_ended && guest->pidfd < 0 && work_watch_guest(work, guest, &err) < 0)
        guest->has_ended = true;
    return save_record(work, op);
}

enum step step_port_up(struct work *work, struct operation *op)
{
    struct err err;

    if (roster_set_port(work->config.roster, op->guest->name, true, &err) < 0)
        return operation_fail(op, err.code, "%s", err.text);
    return STEP_NEXT;
}

/* A machine of the hypervisor's stands still until now: nobody else lets it go. */
enum step step_let_run(struct work *work, struct operation *op)
{
    struct err err;

    if (guest_follow_freezer(work, op->guest, &err) < 0)
        return operation_fail(op, err.code, "%s", err.text);
    return STEP_NEXT;
}

/* ---- going away */

/* Nothing of it runs any more, nor ever will. Its processes first: they could make another domain.
 */
enum step step_kill(struct work *work, struct operation *op)
{
    struct domain_name name = guest_domain(&op->guest->record);
    bool stays = name.stays;
    uint64_t now = clock_now_us();
    int n;

    if (op->until_us == 0)
        op->until_us = now + WORK_KILL_US;
    n = cgroup_kill(work->config.cgroups, op->guest->name, stays);
    if (n == 0)
        n = domain_destroy(work->config.domains, &name);
    if (n == 0)
        return STEP_NEXT;
    if (now > op->until_us)
        return operation_fail(op, n < 0 ? n : -ETIMEDOUT, "guest '%s' does not die",
                              op->guest->name);
    return operation_again(op, WORK_POLL_US);
}

enum step step_unplug(struct work *work, struct operation *op)
{
    if (op->guest->record.run.vni == 0)
        return STEP_NEXT;
    op->is_soft = true;
    return operation_plain_job(work, op, &work->config.fabric, JOB_UNPLUG);
}

enum step step_clean_up(struct work *work, struct operation *op)
{
    struct job job;

    job_init(&job);
    job.kind = JOB_CLEAN_UP;
    op->is_soft = true;
    job.keep_upper = op->guest->record.keep_upper;
    return operation_job(work, op, &work->config.cells, &job);
}

/* EBUSY for some ms after a kill. */
enum step step_remove_cgroup(struct work *work, struct operation *op)
{
    bool stays = guest_record_stays(&op->guest->record);
    uint64_t now = clock_now_us();
    int rc = cgroup_remove(work->config.cgroups, op->guest->name, stays);

    if (op->until_us == 0)
        op->until_us = now + WORK_KILL_US;
    if (rc == 0)
        return STEP_NEXT;
    if (rc == -EBUSY && now < op->until_us)
        return operation_again(op, WORK_POLL_US);
    log_warn("cannot remove the cgroup of '%s': %s", op->guest->name, strerror(-rc));
    return STEP_NEXT; /* nothing is in it */
}

enum step step_forget(struct work *work, struct operation *op)
{
    roster_remove(work->config.roster, op->guest->name);
    record_forget(work->config.run_dir, op->guest->name);
    guest_clear(op->guest);
    work->has_news = true;
    return STEP_NEXT;
}

/* A refused operation leaves alone what it found. */
enum step step_undo(struct work *work, struct operation *op)
{
    (void)work;
    return op->has_begun ? STEP_NEXT : step_to_end(op);
}

const step_fn steps_start[] = {step_start_check, step_make_cgroup, start_prepare,
                               step_plug,        start_job,        step_take_pid,
                               step_port_up,     step_let_run,     NULL};
const step_fn undo_start[] = {step_undo,          step_kill,   step_unplug, step_clean_up,
                              step_remove_cgroup, step_forget, NULL};

/* ---- stop */

/* Nothing of that copy here is what was asked for: done. */
static enum step stop_check(struct work *work, struct operation *op)
{
    struct guest_record *record = &op->guest->record;
    struct err err;

    if (record->state == 0 || guest_record_is_target(record) ||
        record->run.epoch > op->request.copy.epoch)
        return step_to_end(op);
    if (check_copy(op) == STEP_FAIL)
        return STEP_FAIL;
    if (record->state == GUEST_HANDED_OVER)
        return operation_fail(op, -EBUSY, "guest '%s' is being moved", op->guest->name);
    record->keep_upper = op->request.keep_upper;
    record->frozen_by = 0; /* so that it can end by itself */
    if (record->state != GUEST_EXITED)
        record->state = GUEST_STOPPING;
    guest_follow_freezer(work, op->guest, &err);
    return save_record(work, op);
}

static bool can_end_by_itself(struct work *work, const struct operation *op)
{
    const struct local_guest *guest = op->guest;

    return guest->record.state == GUEST_STOPPING && guest->record.pid != 0 && !guest->has_ended &&
           op->request.grace_ms > 0 &&
           (guest_record_stays(&guest->record) || !roster_is_lapsed(work->config.roster));
}

static enum step stop_terminate(struct work *work, struct operation *op)
{
    if (!can_end_by_itself(work, op))
        return STEP_NEXT;
    op->is_soft = true;
    return operation_plain_job(work, op, &work->config.cells, JOB_TERMINATE);
}

static enum step stop_grace(struct work *work, struct operation *op)
{
    uint64_t now = clock_now_us();

    if (op->until_us == 0)
        op->until_us = now + (uint64_t)op->request.grace_ms * 1000;
    if (!can_end_by_itself(work, op) || now >= op->until_us)
        return STEP_NEXT;
    return operation_again(op, WORK_POLL_US);
}

const step_fn steps_stop[] = {stop_check,         stop_terminate, stop_grace,
                              step_kill,          step_unplug,    step_clean_up,
                              step_remove_cgroup, step_forget,    NULL};

/* What a guard that died in the middle of a start or a stop left behind. */
const step_fn steps_end[] = {step_kill,          step_unplug, step_clean_up,
                             step_remove_cgroup, step_forget, NULL};

/* ---- its own end */

/* The reaper's word on how it ended comes a moment after the pidfd's. */
static enum step exit_status(struct work *work, struct operation *op)
{
    struct local_guest *guest = op->guest;
    uint64_t now = clock_now_us();

    if (!guest->has_status)
        guest->has_status = work_take_exit(work, guest->record.pid, &guest->record.exit_status);
    if (op->until_us == 0)
        op->until_us = now + 200000;
    if (!guest->has_status && guest->is_ours && now < op->until_us)
        return operation_again(op, WORK_POLL_US);
    if (!guest->has_status)
        guest->record.exit_status = -1;
    return STEP_NEXT;
}

static enum step exit_begin(struct work *work, struct operation *op)
{
    op->guest->record.keep_upper = true; /* a restart in its place goes on with what it wrote */
    return exit_status(work, op);
}

static enum step exit_done(struct work *work, struct operation *op)
{
    struct guest_record *record = &op->guest->record;

    log_info("guest %s ended with status %d", op->guest->name, record->exit_status);
    roster_remove(work->config.roster, op->guest->name);
    record->state = GUEST_EXITED;
    record->pid = 0;
    record->frozen_by = 0;
    record->migration = 0;
    if (op->guest->pidfd >= 0)
        close(op->guest->pidfd);
    op->guest->pidfd = -1;
    op->guest->has_ended = false;
    return save_record(work, op);
}

const step_fn steps_exit[] = {step_kill,          exit_begin, step_unplug, step_clean_up,
                              step_remove_cgroup, exit_done,  NULL};

/* ---- an end that somebody else decided, for it has failed: see GUARD_FAIL */

static enum step fail_check(struct work *work, struct operation *op)
{
    struct guest_record *record = &op->guest->record;

    if (check_copy(op) == STEP_FAIL)
        return STEP_FAIL;
    if (record->state != GUEST_RUNNING || record->frozen_by != 0)
        return operation_fail(op, -EAGAIN, "guest '%s' does not run now (%s)", op->guest->name,
                              guard_guest_state_name(record->state));
    record->state = GUEST_STOPPING;
    return save_record(work, op);
}

/* However politely it went: it was a failure. */
static enum step fail_status(struct work *work, struct operation *op)
{
    enum step step = exit_begin(work, op);

    if (step == STEP_NEXT && op->guest->record.exit_status == 0)
        op->guest->record.exit_status = 128 + SIGTERM;
    return step;
}

const step_fn steps_fail[] = {
    fail_check,  stop_terminate, stop_grace,         step_kill, fail_status,
    step_unplug, step_clean_up,  step_remove_cgroup, exit_done, NULL};

static enum step destroy_begin(struct work *work, struct operation *op)
{
    (void)work;
    op->guest->record.keep_upper = false; /* it lives elsewhere */
    return STEP_NEXT;
}

const step_fn steps_destroy[] = {destroy_begin,      step_kill,   step_unplug, step_clean_up,
                                 step_remove_cgroup, step_forget, NULL};

/* ---- freezing by the user */

static bool may_run(const struct guest_record *record)
{
    return record->frozen_by == 0 &&
           (record->state == GUEST_RUNNING || record->state == GUEST_STOPPING);
}

/* Which of them run is the roster's word, under the domains' lock: behind a lapse none does. */
static int follow_domain(struct work *work, const struct local_guest *guest)
{
    struct domain_name name = guest_domain(&guest->record);

    roster_set_run(work->config.roster, guest->name, may_run(&guest->record));
    if (!may_run(&guest->record))
        return domain_pause(work->config.domains, &name);
    return domains_unpause(work->config.domains, roster_may_run, work->config.roster);
}

int guest_follow_freezer(struct work *work, struct local_guest *guest, struct err *err)
{
    bool is_frozen = guest->record.frozen_by != 0;
    int rc = cgroup_set_frozen(work->config.cgroups, guest->name,
                               guest_record_stays(&guest->record), is_frozen, err);

    if (rc < 0)
        return rc;
    rc = follow_domain(work, guest);
    return rc < 0 ? err_set(err, rc, "its domain does not follow: %s", strerror(-rc)) : 0;
}

static enum step freeze_or_thaw(struct work *work, struct operation *op, bool is_frozen)
{
    struct guest_record *record = &op->guest->record;
    struct err err;

    if (check_copy(op) == STEP_FAIL)
        return STEP_FAIL;
    if (record->state != GUEST_RUNNING)
        return operation_fail(op, -EINVAL, "guest '%s' does not run (%s)", op->guest->name,
                              guard_guest_state_name(record->state));
    record->frozen_by &= (uint8_t)~FROZEN_BY_USER;
    record->frozen_by |= is_frozen ? FROZEN_BY_USER : 0;
    if (guest_follow_freezer(work, op->guest, &err) < 0)
        return operation_fail(op, err.code, "%s", err.text);
    return save_record(work, op);
}

static enum step freeze(struct work *work, struct operation *op)
{
    return freeze_or_thaw(work, op, true);
}

static enum step thaw(struct work *work, struct operation *op)
{
    return freeze_or_thaw(work, op, false);
}

const step_fn steps_freeze[] = {freeze, NULL};
const step_fn steps_thaw[] = {thaw, NULL};
