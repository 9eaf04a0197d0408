#include "agent/guard/guests_posix.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct local_guest *guests_find(const struct guests *guests, const char *name)
{
    struct local_guest *guest = guests->first;

    while (guest != NULL && strcmp(guest->name, name) != 0)
        guest = guest->next;
    return guest;
}

struct local_guest *guests_find_pid(const struct guests *guests, uint32_t pid)
{
    struct local_guest *guest = guests->first;

    while (guest != NULL && (guest->record.state == 0 || guest->record.pid != pid))
        guest = guest->next;
    return guest;
}

struct local_guest *guests_need(struct guests *guests, const char *name)
{
    struct local_guest *guest = guests_find(guests, name);

    if (guest != NULL || guests->n >= MAX_NODE_GUESTS)
        return guest;
    guest = calloc(1, sizeof(*guest));
    if (guest == NULL)
        return NULL;
    memcpy(guest->name, name, strnlen(name, NAME_SIZE - 1));
    guest->pidfd = -1;
    guest->next = guests->first;
    guests->first = guest;
    guests->n++;
    return guest;
}

void guest_clear(struct local_guest *guest)
{
    guest_record_deinit(&guest->record);
    if (guest->pidfd >= 0)
        close(guest->pidfd);
    guest->pidfd = -1;
    guest->has_ended = guest->has_status = guest->is_ours = false;
}

void guests_release(struct guests *guests, struct local_guest *guest)
{
    struct local_guest **at = &guests->first;

    if (guest->record.state != 0 || guest->current != NULL || guest->first_waiting != NULL)
        return;
    while (*at != guest)
        at = &(*at)->next;
    *at = guest->next;
    guests->n--;
    free(guest);
}

void guests_deinit(struct guests *guests)
{
    while (guests->first != NULL) {
        struct local_guest *guest = guests->first;

        assert(guest->current == NULL);
        guest_clear(guest);
        guests_release(guests, guest);
    }
}

bool guest_runs(const struct local_guest *guest)
{
    return guest->record.state == GUEST_RUNNING;
}

void guest_report(const struct local_guest *guest, bool is_lapsed, struct guard_report *ret)
{
    const struct guest_record *record = &guest->record;

    memset(ret, 0, sizeof(*ret));
    memcpy(ret->guest, guest->name, sizeof(ret->guest));
    ret->epoch = guest_record_is_target(record) ? 0 : record->run.epoch;
    ret->migration = record->migration;
    ret->state = record->state;
    ret->pid = record->pid;
    ret->exit_status = record->exit_status;
    ret->n_starts = record->n_starts;
    ret->frozen_by = record->frozen_by;
    if (is_lapsed && record->pid != 0 && !guest_record_stays(record))
        ret->frozen_by |= FROZEN_BY_LEASE;
    if (ret->state == GUEST_RUNNING && ret->frozen_by != 0)
        ret->state = GUEST_FROZEN;
}

struct domain_name guest_domain(const struct guest_record *record)
{
    return (struct domain_name){.created = record->run.created,
                                .stays = guest_record_stays(record)};
}
