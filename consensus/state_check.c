/* state_check: what is true of every state that a log can make; see state.h.
 *
 * Looked at when a snapshot arrives, and by tests after every command. Whatever a command may
 * change so that one of these no longer holds must be refused by that command.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "consensus/state_apply.h"

static int bad(struct err *err, const char *what, const char *name)
{
    return err_set(err, -EBADMSG, "%s %s breaks an invariant of the state", what, name);
}

static int check_nodes(const struct state *s, struct err *err)
{
    for (size_t i = 0; i < s->n_nodes; i++) {
        const struct node *node = &s->nodes[i];

        if (node->id == 0 || node->id > s->index || (i > 0 && node->id <= s->nodes[i - 1].id) ||
            node->epoch > s->index || state_node_by_name(s, node->name) != node)
            return bad(err, "node", node->name);
    }
    return 0;
}

static int check_catalog(const struct state *s, struct err *err)
{
    for (size_t i = 0; i < s->n_slices; i++) {
        const struct slice *slice = &s->slices[i];

        if ((i > 0 && strcmp(s->slices[i - 1].name, slice->name) >= 0) || slice->vni == 0 ||
            slice->vni >= s->next_vni || slice->subnet.prefix < 8 || slice->subnet.prefix > 30)
            return bad(err, "slice", slice->name);
    }
    for (size_t i = 0; i < s->n_images; i++) {
        const struct image *image = &s->images[i];

        if (i > 0 && strcmp(s->images[i - 1].name, image->name) >= 0)
            return bad(err, "image", image->name);
        for (uint32_t h = 0; h < image->n_holders; h++) {
            if (state_node(s, image->holders[h]) == NULL)
                return bad(err, "image", image->name);
        }
    }
    for (size_t i = 1; i < s->n_tokens; i++) {
        if (memcmp(s->tokens[i - 1].hash, s->tokens[i].hash, DIGEST_SIZE) >= 0)
            return bad(err, "token", "");
    }
    for (size_t i = 0; i < s->n_tokens; i++) {
        if (s->tokens[i].uses_left == 0)
            return bad(err, "token", "");
    }
    return 0;
}

static bool placement_is_sane(const struct state *s, const struct placement *p, uint32_t n_cores)
{
    const struct node *node = state_node(s, p->node);

    if (p->epoch > s->index)
        return false;
    if (p->node == 0)
        return p->n_cores == 0;
    if (node == NULL || p->n_cores != n_cores)
        return false;
    for (uint32_t i = 0; i < p->n_cores; i++) {
        const struct core_info *core = capacity_core(&node->facts, p->cores[i]);

        if (core == NULL || !core->isolated)
            return false;
    }
    return true;
}

static bool migration_is_sane(const struct state *s, const struct migration *m)
{
    const struct guest *guest = state_guest(s, m->guest);
    const struct placement *owner = m->phase == MIGRATION_RESERVED ? &m->source : &m->target;

    return guest != NULL && guest->migration == m->id && m->id <= s->index && m->from != m->to &&
           m->source.node == m->from && m->target.node == m->to && m->from != 0 && m->to != 0 &&
           m->source.epoch == m->source_epoch &&
           (m->phase != MIGRATION_RESERVED) == (m->target.epoch != 0) &&
           placement_is_sane(s, &m->source, guest->spec.n_cores) &&
           placement_is_sane(s, &m->target, guest->spec.n_cores) &&
           guest->placement.node == owner->node && guest->placement.epoch == owner->epoch &&
           memcmp(guest->placement.cores, owner->cores, owner->n_cores * sizeof(owner->cores[0])) ==
               0;
}

static int check_migrations(const struct state *s, struct err *err)
{
    for (size_t i = 0; i < s->n_migrations; i++) {
        if ((i > 0 && s->migrations[i].id <= s->migrations[i - 1].id) ||
            !migration_is_sane(s, &s->migrations[i]))
            return bad(err, "the migration of guest", s->migrations[i].guest);
    }
    return 0;
}

static bool address_is_sane(const struct state *s, const struct guest *guest)
{
    const struct slice *slice = state_slice(s, guest->spec.slice);

    if (guest->spec.slice[0] == '\0')
        return guest->ip == 0;
    return slice != NULL && subnet_contains(slice->subnet, guest->ip);
}

/* The other half of the pair is in migration_is_sane. */
static bool migration_link_is_sane(const struct state *s, const struct guest *guest)
{
    const struct migration *m = state_migration(s, guest->migration);

    return guest->migration == 0 || (m != NULL && strcmp(m->guest, guest->spec.name) == 0);
}

/* Only who is meant to run and does not move gives way; only who waits has a node cleared. */
static bool preemption_is_sane(const struct state *s, const struct guest *guest)
{
    bool gave_way = guest->preempted_by[0] != '\0' || guest->must_leave;

    if (guest->desired != DESIRED_RUNNING || guest->migration != 0)
        return !gave_way && guest->clears == 0;
    return guest->clears == 0 ||
           (guest->placement.node == 0 && state_node(s, guest->clears) != NULL);
}

/* Newest first, each at a node that there is; none of a guest that is not protected. */
static bool protection_is_sane(const struct state *s, const struct guest *guest)
{
    uint64_t above = s->index + 1;

    if ((guest->spec.failover == FAILOVER_RESTORE) != (guest->spec.protect_ms != 0) ||
        (guest->buddy != 0 && state_node(s, guest->buddy) == NULL))
        return false;
    for (size_t i = 0; i < MAX_CHECKPOINTS; i++) {
        const struct checkpoint *checkpoint = &guest->checkpoints[i];

        if (checkpoint->index == 0 ? checkpoint->node != 0
                                   : guest->spec.protect_ms == 0 || checkpoint->index >= above ||
                                         state_node(s, checkpoint->node) == NULL)
            return false;
        above = checkpoint->index;
    }
    return guest->spec.protect_ms != 0 || guest->buddy == 0;
}

/* They are where the guest is, or was. */
static bool volumes_are_sane(const struct guest *guest)
{
    return (guest->placement.node == 0 || guest->home == guest->placement.node) &&
           (guest->spec.n_volumes == 0 || !guest_spec_boots(&guest->spec));
}

static int check_guests(const struct state *s, struct err *err)
{
    bool slot_taken[MAX_GUESTS] = {false};

    for (size_t i = 0; i < s->n_guests; i++) {
        const struct guest *guest = &s->guests[i];

        if ((i > 0 && strcmp(s->guests[i - 1].spec.name, guest->spec.name) >= 0) ||
            (guest->spec.n_argv == 0) != guest_spec_boots(&guest->spec) ||
            state_image(s, guest->spec.image) == NULL || !address_is_sane(s, guest) ||
            !placement_is_sane(s, &guest->placement, guest->spec.n_cores) ||
            !migration_link_is_sane(s, guest))
            return bad(err, "guest", guest->spec.name);
        if (!preemption_is_sane(s, guest))
            return bad(err, "the preemption of guest", guest->spec.name);
        if (!protection_is_sane(s, guest))
            return bad(err, "the protection of guest", guest->spec.name);
        if (!volumes_are_sane(guest))
            return bad(err, "the volumes of guest", guest->spec.name);
        if (guest->slot >= MAX_GUESTS || slot_taken[guest->slot])
            return bad(err, "the slot of guest", guest->spec.name);
        slot_taken[guest->slot] = true;
        for (size_t k = 0; guest->ip != 0 && k < i; k++) {
            if (s->guests[k].ip == guest->ip &&
                strcmp(s->guests[k].spec.slice, guest->spec.slice) == 0)
                return bad(err, "the address of guest", guest->spec.name);
        }
    }
    return 0;
}

/* Marks the cores; false when one was held already. */
static bool hold(const struct placement *p, uint64_t node, bool used[MAX_CORES])
{
    bool free_before = true;

    for (uint32_t i = 0; p->node == node && i < p->n_cores; i++) {
        free_before = free_before && !used[p->cores[i]];
        used[p->cores[i]] = true;
    }
    return free_before;
}

static int check_cores(const struct state *s, struct err *err)
{
    for (size_t n = 0; n < s->n_nodes; n++) {
        bool used[MAX_CORES] = {false};

        for (size_t i = 0; i < s->n_guests; i++) {
            if (!hold(&s->guests[i].placement, s->nodes[n].id, used))
                return bad(err, "a core of guest", s->guests[i].spec.name);
        }
        for (size_t i = 0; i < s->n_migrations; i++) {
            const struct migration *m = &s->migrations[i];

            if (!hold(m->phase == MIGRATION_RESERVED ? &m->target : &m->source, s->nodes[n].id,
                      used))
                return bad(err, "a core of the migration of guest", m->guest);
        }
    }
    return 0;
}

static int check_timers(const struct state *s, struct err *err)
{
    if (s->n_nodes > 0 && timers_check(&s->timers, NULL) < 0)
        return bad(err, "the cluster's", "timers");
    return 0;
}

int state_check(const struct state *state, struct err *err)
{
    int code = check_timers(state, err);

    if (code == 0)
        code = check_nodes(state, err);

    if (code == 0)
        code = check_catalog(state, err);
    if (code == 0)
        code = check_guests(state, err);
    if (code == 0)
        code = check_migrations(state, err);
    return code == 0 ? check_cores(state, err) : code;
}
