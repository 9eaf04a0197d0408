/* state_guest: commands about guests; see state_apply.h. */
#include <errno.h>
#include <string.h>

#include "base/units.h"
#include "consensus/copies.h"
#include "consensus/health.h"
#include "consensus/state_apply.h"

enum { GUESTS_TEXT_MAX_SIZE = SNAPSHOT_MAX_SIZE / 2 }; /* all else takes well under the rest */

static struct guest *guest_or_refuse(struct entry *e, const char *name)
{
    struct guest *guest = guest_of(e->state, name);

    if (guest == NULL)
        refuse(e, -ENOENT, "guest %s is unknown", name);
    return guest;
}

void guest_unplace(struct guest *guest, uint64_t epoch)
{
    guest->placement = (struct placement){.epoch = epoch};
}

/* It gave way to nobody any more, has left where it had to, and nothing is cleared for it. */
static void guest_settled(struct guest *guest)
{
    guest->must_leave = false;
    memset(guest->preempted_by, 0, sizeof(guest->preempted_by));
    guest->clears = 0;
}

/* Takes the place; what lies behind the last core is zero, whatever the command says. */
static void guest_put(struct guest *guest, const struct placement *placement, uint64_t epoch)
{
    guest_unplace(guest, epoch);
    guest->placement.node = placement->node;
    guest->placement.n_cores = placement->n_cores;
    memcpy(guest->placement.cores, placement->cores,
           placement->n_cores * sizeof(placement->cores[0]));
    if (placement->node == 0)
        return;
    guest->home = placement->node;
    guest_settled(guest);
}

/* The lowest address of the subnet that no guest of the slice has: .0 is the network, .1 is kept
 * for a gateway, the last one is for broadcasts. 0 when there is none. */
static uint32_t free_address(const struct state *s, const struct slice *slice)
{
    bool taken[MAX_GUESTS + 3] = {false}; /* n guests leave one of the first n + 1 free */
    uint32_t last = UINT32_MAX >> slice->subnet.prefix;

    for (size_t i = 0; i < s->n_guests; i++) {
        uint32_t host = s->guests[i].ip - slice->subnet.network;

        if (strcmp(s->guests[i].spec.slice, slice->name) == 0 && host < sizeof(taken))
            taken[host] = true;
    }
    for (uint32_t host = 2; host < last && host < sizeof(taken); host++) {
        if (!taken[host])
            return slice->subnet.network + host;
    }
    return 0;
}

/* There is one: a cluster has at most MAX_GUESTS guests. */
static uint16_t free_slot(const struct state *s)
{
    bool taken[MAX_GUESTS + 1] = {false};
    uint16_t slot = 0;

    for (size_t i = 0; i < s->n_guests; i++)
        taken[s->guests[i].slot] = true;
    while (taken[slot])
        slot++;
    return slot;
}

/* Bytes of the guest's words: they are what makes a snapshot large. */
static size_t text_size(const struct guest_spec *spec)
{
    size_t size = 0;

    for (uint32_t i = 0; i < spec->n_env; i++)
        size += strlen(spec->env[i]) + 2;
    for (uint32_t i = 0; i < spec->n_argv; i++)
        size += strlen(spec->argv[i]) + 2;
    for (uint32_t i = 0; i < spec->health.n_argv; i++)
        size += strlen(spec->health.argv[i]) + 2;
    for (uint32_t i = 0; i < spec->n_volumes; i++)
        size += strlen(spec->volumes[i].name) + strlen(spec->volumes[i].path) + 4;
    return size + (spec->user_data != NULL ? strlen(spec->user_data) : 0);
}

static bool text_fits(const struct state *s, const struct guest_spec *spec)
{
    size_t size = text_size(spec);

    for (size_t i = 0; i < s->n_guests; i++)
        size += text_size(&s->guests[i].spec);
    return size <= GUESTS_TEXT_MAX_SIZE;
}

static bool env_is_valid(const struct guest_spec *spec)
{
    for (uint32_t i = 0; i < spec->n_env; i++) {
        const char *equals = strchr(spec->env[i], '=');

        if (equals == NULL || equals == spec->env[i])
            return false;
    }
    return true;
}

/* Machines start from disks, or from a root that holds a kernel; cells and lxc from roots. */
static bool refuse_image(struct entry *e, const struct guest_spec *spec)
{
    const struct image *image = state_image(e->state, spec->image);

    if (image == NULL)
        refuse(e, -ENOENT, "guest %s: image %s is unknown", spec->name, spec->image);
    else if (!guest_spec_boots(spec) && image_is_disk(image))
        refuse(e, -EINVAL, "guest %s: image %s is a %s; kind %s needs a root (tar, squashfs)",
               spec->name, spec->image, image_format_name(image->format),
               guest_kind_name(spec->kind));
    return e->outcome->code < 0;
}

/* A machine's disk is its own affair. */
static bool refuse_volumes(struct entry *e, const struct guest_spec *spec)
{
    struct err err;

    if (spec->n_volumes > 0 && guest_spec_boots(spec))
        refuse(e, -EINVAL, "guest %s: a %s has no volumes", spec->name,
               guest_kind_name(spec->kind));
    else if (volumes_check(spec->volumes, spec->n_volumes, &err) < 0)
        refuse(e, -EINVAL, "guest %s: %s", spec->name, err.text);
    return e->outcome->code < 0;
}

static bool refuse_spec(struct entry *e, const struct guest_spec *spec)
{
    const struct state *s = e->state;

    if (!name_is_valid(spec->name))
        refuse(e, -EINVAL, "'%s' is no name for a guest: a-z, 0-9 and '-', at most %d", spec->name,
               NAME_MAX_LENGTH);
    else if (state_guest(s, spec->name) != NULL)
        refuse(e, -EEXIST, "guest %s exists already", spec->name);
    else if (!guest_spec_boots(spec) && (spec->n_argv == 0 || spec->argv[0][0] == '\0'))
        refuse(e, -EINVAL, "guest %s: no command is given", spec->name);
    else if (guest_spec_boots(spec) && spec->n_argv > 0)
        refuse(e, -EINVAL, "guest %s: a %s boots its image and takes no command", spec->name,
               guest_kind_name(spec->kind));
    else if (!guest_spec_boots(spec) && spec->user_data != NULL)
        refuse(e, -EINVAL, "guest %s: user data is for a vm", spec->name);
    else if (guest_spec_boots(spec) && spec->health.kind != HEALTH_NONE)
        refuse(e, -EINVAL, "guest %s: a %s has no health check yet", spec->name,
               guest_kind_name(spec->kind));
    else if (!env_is_valid(spec))
        refuse(e, -EINVAL, "guest %s: its environment must be KEY=VALUE", spec->name);
    else if (spec->memory_mib == 0)
        refuse(e, -EINVAL, "guest %s: at least 1m of memory is needed", spec->name);
    else if ((spec->failover == FAILOVER_RESTORE) != (spec->protect_ms != 0))
        refuse(e, -EINVAL, "guest %s: restore needs a period of checkpoints, and has no use else",
               spec->name);
    else if (refuse_protection(e, spec, spec->protect_ms))
        return true;
    else if (!health_is_valid(&spec->health))
        refuse(e, -EINVAL, "guest %s: its health check is out of bounds", spec->name);
    else if (refuse_image(e, spec) || refuse_volumes(e, spec))
        return true;
    else if (spec->slice[0] != '\0' && state_slice(s, spec->slice) == NULL)
        refuse(e, -ENOENT, "guest %s: slice %s is unknown", spec->name, spec->slice);
    else if (s->n_guests >= MAX_GUESTS)
        refuse(e, -ENOSPC, "the cluster has %d guests, the most it can have", MAX_GUESTS);
    else if (!text_fits(s, spec))
        refuse(e, -ENOSPC, "the arguments and environments of all guests exceed %d MiB",
               GUESTS_TEXT_MAX_SIZE >> 20);
    else
        return false;
    return true;
}

/* Room for the guest, and its image there. No node: it waits until others gave way. */
static bool refuse_placement(struct entry *e, const struct guest_spec *spec,
                             const struct placement *placement)
{
    const struct image *image = state_image(e->state, spec->image);
    int code;

    if (placement->node == 0 && placement->n_cores == 0 && state_may_preempt(e->state, spec))
        return false;
    code = capacity_check_placement(e->state, spec, placement, e->outcome->reason);
    if (code < 0)
        e->outcome->code = code;
    else if (image == NULL || !image_may_serve(image, placement->node))
        refuse(e, -ESTALE, "node %s: does not hold image %s",
               state_node(e->state, placement->node)->name, spec->image);
    return e->outcome->code < 0;
}

void apply_guest_create(struct entry *e)
{
    struct state *s = e->state;
    const struct guest_spec *spec = &e->command->guest_create.spec;
    const struct placement *placement = &e->command->guest_create.placement;
    const struct slice *slice;
    struct guest *guest;
    uint16_t slot;
    uint32_t ip = 0;

    if (refuse_spec(e, spec) || refuse_placement(e, spec, placement))
        return;
    slice = spec->slice[0] != '\0' ? state_slice(s, spec->slice) : NULL;
    if (slice != NULL) {
        char subnet[SUBNET_TEXT_SIZE];

        ip = free_address(s, slice);
        if (ip == 0) {
            refuse(e, -ENOSPC, "slice %s: no address is free in %s", slice->name,
                   subnet_format(slice->subnet, subnet));
            return;
        }
    }
    slot = free_slot(s);
    guest =
        array_insert(&s->guests, &s->n_guests, sizeof(*guest), state_guest_position(s, spec->name));
    memory_must(guest_spec_copy(&guest->spec, spec));
    guest->created = e->index;
    guest->slot = slot;
    guest->desired = DESIRED_RUNNING;
    guest->ip = ip;
    guest_put(guest, placement, e->index);
}

void apply_guest_place(struct entry *e)
{
    const struct placement *placement = &e->command->guest_place.placement;
    bool start = e->command->type == COMMAND_GUEST_START;
    struct guest *guest = guest_or_refuse(e, e->command->guest_place.name);
    const struct node *node, *home;

    if (guest == NULL)
        return;
    node = state_node(e->state, guest->placement.node);
    home = state_volumes_elsewhere(e->state, guest->spec.name, placement->node);
    if (guest->placement.node != 0)
        refuse(e, -EBUSY,
               guest->desired == DESIRED_RUNNING ? "guest %s runs already, on node %s"
                                                 : "guest %s is still being stopped on node %s",
               guest->spec.name, node != NULL ? node->name : "?");
    else if (guest->placement.epoch != e->command->guest_place.expect_epoch)
        refuse(e, -ESTALE, "guest %s is at epoch %llu, not %llu", guest->spec.name,
               (unsigned long long)guest->placement.epoch,
               (unsigned long long)e->command->guest_place.expect_epoch);
    else if (!start && (guest->desired != DESIRED_RUNNING || placement->node == 0))
        refuse(e, -ESTALE,
               guest->desired != DESIRED_RUNNING ? "guest %s is meant to be stopped"
                                                 : "guest %s: no node is given",
               guest->spec.name);
    else if (placement->node != 0 && home != NULL)
        refuse(e, -ESTALE, "guest %s: its volumes are on node %s", guest->spec.name, home->name);
    else if (!refuse_placement(e, &guest->spec, placement)) {
        guest_put(guest, placement, e->index);
        guest->desired = DESIRED_RUNNING;
        if (start || state_checkpoint_at(guest, placement->node, 0) == NULL)
            guest_forget_checkpoints(guest);
    }
}

void apply_guest_stop(struct entry *e)
{
    struct guest *guest = guest_or_refuse(e, e->command->by_name.name);

    if (guest == NULL)
        return;
    if (guest->migration != 0)
        refuse(e, -EBUSY, "guest %s is being migrated; wait for its end, or abort it",
               guest->spec.name);
    else {
        guest->desired = DESIRED_STOPPED;
        guest_settled(guest);
    }
}

/* Whoever owns the guest says that it is gone: a migration of it has nothing left to move. */
void apply_guest_stopped(struct entry *e)
{
    struct guest *guest = guest_or_refuse(e, e->command->guest_stopped.name);

    if (guest == NULL)
        return;
    if (guest->placement.node == 0 || guest->placement.epoch != e->command->guest_stopped.epoch) {
        refuse(e, -ESTALE, "guest %s is at epoch %llu, not %llu", guest->spec.name,
               (unsigned long long)guest->placement.epoch,
               (unsigned long long)e->command->guest_stopped.epoch);
        return;
    }
    if (guest->migration != 0)
        migration_drop(e->state, guest->migration);
    guest_unplace(guest, e->index);
    guest_forget_checkpoints(guest);
    if (e->command->guest_stopped.exited) {
        guest->desired = DESIRED_STOPPED;
        guest_settled(guest);
    }
}

void apply_guest_remove(struct entry *e)
{
    struct state *s = e->state;
    struct guest *guest = guest_or_refuse(e, e->command->by_name.name);

    if (guest == NULL)
        return;
    if (guest->desired != DESIRED_STOPPED)
        refuse(e, -EBUSY, "guest %s is meant to run; stop it first", guest->spec.name);
    else if (guest->placement.node != 0)
        refuse(e, -EBUSY, "guest %s is still being stopped", guest->spec.name);
    else {
        guest_spec_deinit(&guest->spec);
        array_remove(s->guests, &s->n_guests, sizeof(*guest), (size_t)(guest - s->guests));
    }
}
