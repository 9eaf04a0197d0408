/* adopt: a guard that starts takes up what its predecessor left; see work_posix.h.
 *
 * The records say what was meant, the kernel says what is: a process counts only when pid, start
 * time and membership of the guest's own group fit together. What no record names is killed. All of
 * it is frozen meanwhile, and stays so until the lease is back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/guard/records_posix.h"
#include "agent/guard/work_posix.h"
#include "base/log.h"
#include "base/units.h"
#include "netfabric/wiring.h"

enum { EMPTY_LIMIT_MS = 10000, EMPTY_STEP_MS = 5 };

static void destroy_domain(struct work *work, const char *guest, const struct domain_name *name)
{
    int rc = domain_destroy(work->config.domains, name);

    if (rc < 0)
        log_error("the domain of '%s' does not die: %s", guest, strerror(-rc));
}

static bool kill_and_wait(struct work *work, const char *name, bool stays)
{
    struct timespec step = {.tv_nsec = EMPTY_STEP_MS * 1000000L};

    for (int waited = 0; waited < EMPTY_LIMIT_MS; waited += EMPTY_STEP_MS) {
        if (cgroup_kill(work->config.cgroups, name, stays) == 0)
            return true;
        nanosleep(&step, NULL);
    }
    log_error("the processes of '%s' do not die", name);
    return false;
}

static void end_copy(struct work *work, const struct local_guest *guest)
{
    struct domain_name name = guest_domain(&guest->record);

    kill_and_wait(work, guest->name, name.stays);
    destroy_domain(work, guest->name, &name);
}

static void enter_roster(struct work *work, const struct local_guest *guest)
{
    const struct guest_record *record = &guest->record;
    struct roster_entry entry = {.epoch = record->run.epoch,
                                 .port = record->run.port,
                                 .created = record->run.created,
                                 .stays = guest_record_stays(record),
                                 .has_copy = !guest_record_is_target(record),
                                 .wants_port = record->state == GUEST_RUNNING};
    struct err err;

    memcpy(entry.guest, guest->name, sizeof(entry.guest));
    memcpy(entry.cluster, record->cluster, sizeof(entry.cluster));
    if (roster_put(work->config.roster, &entry, false, 0, &err) < 0)
        log_error("guest %s: %s", guest->name, err.text);
}

static void take_up_process(struct work *work, struct local_guest *guest)
{
    struct err err;

    if (work_watch_guest(work, guest, &err) < 0) {
        log_warn("guest %s has ended meanwhile: %s", guest->name, err.text);
        guest->has_ended = true;
        return;
    }
    if (guest_follow_freezer(work, guest, &err) < 0)
        log_error("guest %s: %s", guest->name, err.text);
    log_info("guest %s adopted (pid %u, epoch %llu, %s)", guest->name, guest->record.pid,
             (unsigned long long)guest->record.run.epoch,
             guard_guest_state_name(guest->record.state));
}

/* It was being brought to life: what there is of it is no guest yet; it can be tried again. */
static void back_to_received(struct work *work, struct local_guest *guest)
{
    struct err err;

    if (guest->record.run.port != 0) /* or its kernel would reset its connections */
        (void)wiring_set_up(guest->record.run.port, false, NULL);
    end_copy(work, guest);
    if (guest_follow_freezer(work, guest, &err) < 0) /* killing has frozen it */
        log_error("guest %s: %s", guest->name, err.text);
    guest->record.run.epoch = guest->record.migration;
    guest->record.state = GUEST_RECEIVED;
    if (record_write(work->config.run_dir, &guest->record, &err) < 0)
        log_error("guest %s: %s", guest->name, err.text);
}

static void take_up(void *context, struct guest_record *record)
{
    struct work *work = context;
    struct local_guest *guest = guests_need(&work->guests, record->run.spec.name);

    if (guest == NULL) {
        log_error("no room for guest %s: it is left frozen", record->run.spec.name);
        guest_record_deinit(record);
        return;
    }
    guest->record = *record;
    if (record->state == GUEST_RESTORING)
        back_to_received(work, guest);
    if (guest->record.state != GUEST_EXITED)
        enter_roster(work, guest);
    if (guest->record.state == GUEST_RUNNING || guest->record.state == GUEST_HANDED_OVER ||
        (guest->record.state == GUEST_RECEIVED && guest->record.pid != 0))
        take_up_process(work, guest);
    else if (!guest_record_is_target(&guest->record) && guest->record.state != GUEST_EXITED)
        end_copy(work, guest);
}

static void broken_record(void *context, const char *guest, const struct err *err)
{
    struct work *work = context;

    log_error("%s: whatever it named is ended", err->text);
    record_forget(work->config.run_dir, guest);
}

static void end_unnamed(void *context, const char *name, bool stays)
{
    struct work *work = context;
    const struct local_guest *guest = guests_find(&work->guests, name);

    if (guest != NULL && guest_record_stays(&guest->record) == stays)
        return;
    log_warn("the cgroup of '%s' has no record: it is ended", name);
    if (kill_and_wait(work, name, stays))
        cgroup_remove(work->config.cgroups, name, stays);
}

/* A domain of a guest that no record names, or a different one. */
struct stray {
    const struct work *work;
    struct domain_name name; /* created 0 = none was found */
};

static void find_stray(void *context, const struct domain_name *name)
{
    struct stray *stray = context;

    for (const struct local_guest *g = stray->work->guests.first; g != NULL; g = g->next) {
        if (domain_is_of(name, g->record.run.created) &&
            guest_record_stays(&g->record) == name->stays)
            return;
    }
    stray->name = *name;
}

static void end_strays(struct work *work)
{
    struct stray stray;
    int rc;

    do {
        stray = (struct stray){.work = work};
        rc = domains_list(work->config.domains, find_stray, &stray);
        if (rc == 0 && stray.name.created != 0) {
            log_warn("a domain has no record (guest of %llu): it is ended",
                     (unsigned long long)stray.name.created);
            rc = domain_destroy(work->config.domains, &stray.name);
        }
    } while (rc == 0 && stray.name.created != 0);
    if (rc < 0)
        log_error("domains without a record cannot be ended: %s", strerror(-rc));
}

int adopt_guests(struct work *work, struct err *err)
{
    int rc = records_read(work->config.run_dir, take_up, broken_record, work, err);

    if (rc < 0)
        return rc;
    cgroups_list(work->config.cgroups, end_unnamed, work);
    end_strays(work);
    roster_move_ports(work->config.roster);
    return 0;
}
