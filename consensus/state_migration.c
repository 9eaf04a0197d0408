/* state_migration: the agreed steps of a migration; see state_apply.h and the law of moving. */
#include <errno.h>
#include <string.h>

#include "consensus/state_apply.h"

void migration_drop(struct state *state, uint64_t id)
{
    const struct migration *m = state_migration(state, id);
    struct guest *guest;

    if (m == NULL)
        return;
    guest = guest_of(state, m->guest);
    if (guest != NULL && guest->migration == id)
        guest->migration = 0;
    array_remove(state->migrations, &state->n_migrations, sizeof(*m),
                 (size_t)(m - state->migrations));
}

bool migration_return(struct state *state, uint64_t id, enum migration_phase phase)
{
    const struct migration *m = state_migration(state, id);
    struct guest *guest = m != NULL ? guest_of(state, m->guest) : NULL;
    const struct node *source = m != NULL ? state_node(state, m->from) : NULL;

    if (guest == NULL || m->phase != phase || source == NULL ||
        source->state != NODE_UP || source->epoch > id) /* lost or rebooted meanwhile */
        return false;
    guest->placement = m->source;
    guest->home = m->from;
    migration_drop(state, id);
    return true;
}

static bool refuse_guest(struct entry *e, const char *name, const struct guest *guest)
{
    uint64_t epoch = e->command->migration_reserve.source_epoch;
    const struct node *source;

    if (guest == NULL)
        refuse(e, -ENOENT, "guest %s is unknown", name);
    else if (guest->migration != 0)
        refuse(e, -EBUSY, "guest %s is being migrated already", name);
    else if (guest->desired != DESIRED_RUNNING)
        refuse(e, -ESTALE, "guest %s is meant to be stopped", name);
    else if (guest->placement.node == 0)
        refuse(e, -ESTALE, "guest %s runs nowhere", name);
    else if (guest->must_leave)
        refuse(e, -ESTALE, "guest %s is stopped already, to start elsewhere", name);
    else if (guest_is_leaving(guest))
        refuse(e, -ESTALE, "guest %s gives way to guest %s", name, guest->preempted_by);
    else if (guest->placement.epoch != epoch)
        refuse(e, -ESTALE, "guest %s is at epoch %llu, not %llu", name,
               (unsigned long long)guest->placement.epoch, (unsigned long long)epoch);
    else if (guest->placement.node == e->command->migration_reserve.target.node)
        refuse(e, -EINVAL, "guest %s is on that node already", name);
    else {
        source = state_node(e->state, guest->placement.node);
        if (source != NULL && source->state == NODE_UP)
            return false;
        refuse(e, -ESTALE, "guest %s: its node is lost", name);
    }
    return true;
}

void apply_migration_reserve(struct entry *e)
{
    struct state *s = e->state;
    const char *name = e->command->migration_reserve.guest;
    const struct placement *target = &e->command->migration_reserve.target;
    struct guest *guest = guest_of(s, name);
    struct migration *m;

    if (refuse_guest(e, name, guest))
        return;
    e->outcome->code = capacity_check_placement(s, &guest->spec, target, e->outcome->reason);
    if (e->outcome->code < 0)
        return;
    m = array_insert(&s->migrations, &s->n_migrations, sizeof(*m), s->n_migrations);
    m->id = e->index;
    memcpy(m->guest, guest->spec.name, sizeof(m->guest));
    m->from = guest->placement.node;
    m->to = target->node;
    m->source_epoch = guest->placement.epoch;
    m->source = guest->placement;
    m->target.node = target->node;
    m->target.n_cores = target->n_cores;
    memcpy(m->target.cores, target->cores, target->n_cores * sizeof(target->cores[0]));
    m->phase = MIGRATION_RESERVED;
    m->terms = e->command->migration_reserve.terms;
    guest->migration = m->id;
    e->outcome->id = m->id;
}

static struct migration *migration_or_refuse(struct entry *e, enum migration_phase phase)
{
    uint64_t id = e->command->migration_step.id;
    struct migration *m = (struct migration *)state_migration(e->state, id);

    if (m == NULL) {
        refuse(e, -ENOENT, "migration %llu is over or was never reserved", (unsigned long long)id);
        return NULL;
    }
    if (m->phase != phase) {
        refuse(e, -ESTALE, "migration %llu of guest %s is %s, not %s", (unsigned long long)id,
               m->guest, migration_phase_name(m->phase), migration_phase_name(phase));
        return NULL;
    }
    e->outcome->id = id;
    return m;
}

void apply_migration_commit(struct entry *e)
{
    struct migration *m = migration_or_refuse(e, MIGRATION_RESERVED);
    struct guest *guest;

    if (m == NULL)
        return;
    guest = guest_of(e->state, m->guest);
    if (guest == NULL || guest->placement.epoch != m->source_epoch) {
        refuse(e, -ESTALE, "guest %s is no longer what was reserved for", m->guest);
        return;
    }
    m->target.epoch = e->index;
    m->phase = e->command->migration_step.is_lazy ? MIGRATION_HANDOVER : MIGRATION_COMMITTED;
    guest->placement = m->target;
    guest->home = m->to;
}

void apply_migration_abort(struct entry *e)
{
    if (migration_or_refuse(e, MIGRATION_RESERVED) != NULL)
        migration_drop(e->state, e->command->migration_step.id);
}

void apply_migration_return(struct entry *e)
{
    enum migration_phase phase =
        e->command->migration_step.is_lazy ? MIGRATION_HANDOVER : MIGRATION_COMMITTED;
    const struct migration *m = migration_or_refuse(e, phase);

    if (m != NULL && !migration_return(e->state, m->id, phase))
        refuse(e, -ESTALE, "the source of migration %llu has no copy any more",
               (unsigned long long)e->command->migration_step.id);
}

void apply_migration_done(struct entry *e)
{
    const struct migration *m = state_migration(e->state, e->command->migration_step.id);
    bool is_lazy = m != NULL && m->phase == MIGRATION_HANDOVER;

    if (migration_or_refuse(e, is_lazy ? MIGRATION_HANDOVER : MIGRATION_COMMITTED) != NULL)
        migration_drop(e->state, e->command->migration_step.id);
}
