/* state_protect: guests that resume from a checkpoint after a loss; see state_apply.h.
 *
 * A checkpoint is in the state once its buddy holds it whole, so that every leader knows who has
 * the newest. It says nothing about who may run: like any start, resuming needs a placement and its
 * epoch. Checkpoints end with the life that they are of: an orderly stop, a start, a placement at a
 * node that has none.
 */
#include <errno.h>
#include <string.h>

#include "consensus/codec.h"
#include "consensus/state_apply.h"

void checkpoint_encode(const struct checkpoint *checkpoint, struct writer *w)
{
    write_u64(w, checkpoint->index);
    write_u64(w, checkpoint->node);
    write_bytes(w, checkpoint->digest, sizeof(checkpoint->digest));
    write_u64(w, checkpoint->size);
    write_u64(w, checkpoint->sent);
    write_u32(w, checkpoint->n_increments);
    write_u32(w, checkpoint->frozen_us);
}

void checkpoint_decode(struct reader *r, struct checkpoint *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->index = read_u64(r);
    ret->node = read_u64(r);
    read_bytes(r, ret->digest, sizeof(ret->digest));
    ret->size = read_u64(r);
    ret->sent = read_u64(r);
    ret->n_increments = read_u32(r);
    ret->frozen_us = read_u32(r);
}

void guest_forget_checkpoints(struct guest *guest)
{
    memset(guest->checkpoints, 0, sizeof(guest->checkpoints));
}

/* Takes one out; those behind it move up. */
static void forget_checkpoint(struct guest *guest, size_t at)
{
    size_t n_behind = MAX_CHECKPOINTS - at - 1;

    memmove(&guest->checkpoints[at], &guest->checkpoints[at + 1],
            n_behind * sizeof(guest->checkpoints[0]));
    memset(&guest->checkpoints[MAX_CHECKPOINTS - 1], 0, sizeof(guest->checkpoints[0]));
}

void guest_forget_holder(struct guest *guest, uint64_t node)
{
    if (guest->buddy == node)
        guest->buddy = 0;
    for (size_t i = MAX_CHECKPOINTS; i-- > 0;) {
        if (guest->checkpoints[i].index != 0 && guest->checkpoints[i].node == node)
            forget_checkpoint(guest, i);
    }
}

bool refuse_protection(struct entry *e, const struct guest_spec *spec, uint32_t protect_ms)
{
    if (protect_ms == 0)
        return false;
    if (guest_spec_boots(spec))
        refuse(e, -EINVAL, "guest %s: no checkpoint can be taken of kind %s", spec->name,
               guest_kind_name(spec->kind));
    else if (spec->on[0] != '\0')
        refuse(e, -EINVAL, "guest %s: it must run on %s, so no other node could resume it",
               spec->name, spec->on);
    else if (protect_ms < PROTECT_MIN_MS || protect_ms > PROTECT_MAX_MS)
        refuse(e, -EINVAL, "guest %s: a checkpoint every %d ms to %d s", spec->name, PROTECT_MIN_MS,
               PROTECT_MAX_MS / 1000);
    return e->outcome->code < 0;
}

/* The guest, if it is protected; else a refusal. */
static struct guest *protected_or_refuse(struct entry *e, const char *name)
{
    struct guest *guest = guest_of(e->state, name);

    if (guest == NULL)
        refuse(e, -ENOENT, "guest %s is unknown", name);
    else if (guest->spec.protect_ms == 0)
        refuse(e, -ESTALE, "guest %s is not protected", name);
    return e->outcome->code < 0 ? NULL : guest;
}

void apply_guest_protect(struct entry *e)
{
    const char *name = e->command->guest_protect.name;
    uint32_t protect_ms = e->command->guest_protect.protect_ms;
    struct guest *guest = guest_of(e->state, name);

    if (guest == NULL)
        refuse(e, -ENOENT, "guest %s is unknown", name);
    if (guest == NULL || refuse_protection(e, &guest->spec, protect_ms))
        return;
    if (protect_ms == 0) {
        guest_forget_checkpoints(guest);
        guest->buddy = 0;
    }
    if (protect_ms != 0)
        guest->spec.failover = FAILOVER_RESTORE;
    else if (guest->spec.failover == FAILOVER_RESTORE)
        guest->spec.failover = FAILOVER_RESTART;
    guest->spec.protect_ms = protect_ms;
}

void apply_guest_buddy(struct entry *e)
{
    struct guest *guest = protected_or_refuse(e, e->command->guest_buddy.name);
    const struct node *node = state_node(e->state, e->command->guest_buddy.node);

    if (guest == NULL)
        return;
    if (node == NULL)
        refuse(e, -ENOENT, "node %llu is unknown",
               (unsigned long long)e->command->guest_buddy.node);
    else if (node->state != NODE_UP)
        refuse(e, -ESTALE, "node %s is lost", node->name);
    else if (node->id == guest->placement.node)
        refuse(e, -ESTALE, "guest %s runs on node %s itself", guest->spec.name, node->name);
    else
        guest->buddy = node->id;
}

void apply_guest_checkpoint(struct entry *e)
{
    const struct checkpoint *checkpoint = &e->command->guest_checkpoint.checkpoint;
    uint64_t epoch = e->command->guest_checkpoint.epoch;
    struct guest *guest = protected_or_refuse(e, e->command->guest_checkpoint.name);

    if (guest == NULL)
        return;
    if (guest->placement.node == 0 || guest->placement.epoch != epoch)
        refuse(e, -ESTALE, "guest %s is at epoch %llu, not %llu", guest->spec.name,
               (unsigned long long)guest->placement.epoch, (unsigned long long)epoch);
    else if (guest->desired != DESIRED_RUNNING)
        refuse(e, -ESTALE, "guest %s is meant to be stopped", guest->spec.name);
    else if (guest->buddy == 0 || checkpoint->node != guest->buddy ||
             checkpoint->node == guest->placement.node)
        refuse(e, -ESTALE, "guest %s has no such buddy", guest->spec.name);
    else {
        memmove(&guest->checkpoints[1], &guest->checkpoints[0],
                (MAX_CHECKPOINTS - 1) * sizeof(guest->checkpoints[0]));
        guest->checkpoints[0] = *checkpoint;
        guest->checkpoints[0].index = e->index;
    }
}
