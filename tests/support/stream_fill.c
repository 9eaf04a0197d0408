/* stream_fill: what a command of a type says, taken from the state as a rule; see stream.h. */
#include "tests/support/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consensus/capacity.h"
#include "tests/support/cluster.h"
#include "tests/support/command_random.h"

/* ---- picks: something of the state, NULL where there is nothing */

static const struct node *pick_node(struct stream *stream, const struct state *s)
{
    return s->n_nodes > 0 ? &s->nodes[prng_below(&stream->prng, (uint32_t)s->n_nodes)] : NULL;
}

static const struct guest *pick_guest(struct stream *stream, const struct state *s)
{
    return s->n_guests > 0 ? &s->guests[prng_below(&stream->prng, (uint32_t)s->n_guests)] : NULL;
}

static void pick_guest_name(struct stream *stream, const struct state *s, char ret[NAME_SIZE])
{
    const struct guest *guest = pick_guest(stream, s);

    if (guest != NULL)
        memcpy(ret, guest->spec.name, NAME_SIZE);
    else
        name_random(&stream->prng, ret);
}

static uint64_t pick_node_id(struct stream *stream, const struct state *s)
{
    const struct node *node = pick_node(stream, s);

    return node != NULL && !prng_one_in(&stream->prng, 20) ? node->id
                                                           : prng_below(&stream->prng, 9);
}

static void pick_node_name(struct stream *stream, const struct state *s, char ret[NAME_SIZE])
{
    const struct node *node = pick_node(stream, s);

    if (node != NULL)
        memcpy(ret, node->name, NAME_SIZE);
    else
        name_random(&stream->prng, ret);
}

/* A node that would take guests with this image, if a few tries find one. */
static const struct node *pick_host(struct stream *stream, const struct state *s, const char *name)
{
    const struct image *image = state_image(s, name);
    const struct node *node = NULL;

    for (int tries = 0; tries < 6; tries++) {
        node = pick_node(stream, s);
        if (node == NULL || (node->state == NODE_UP && !node->cordoned && !node->draining &&
                             image != NULL && image_is_held(image, node->id)))
            break;
    }
    return node;
}

/* A place for a guest, with free cores unless it is one of those that must be refused. */
static void pick_place(struct stream *stream, const struct state *s, uint32_t n_cores,
                       const char *image, struct placement *ret)
{
    const struct node *node = pick_host(stream, s, image);
    bool used[MAX_CORES] = {false};

    if (node == NULL || prng_one_in(&stream->prng, 10)) {
        placement_random(&stream->prng, ret);
        return;
    }
    *ret = (struct placement){.node = node->id};
    capacity_mark_cores(s, node->id, NULL, used);
    for (uint32_t i = 0; i < node->facts.n_cores && ret->n_cores < n_cores; i++) {
        const struct core_info *core = &node->facts.cores[i];

        if (capacity_core_is_free(&node->facts, core, used) || prng_one_in(&stream->prng, 20))
            ret->cores[ret->n_cores++] = core->id;
    }
}

/* ---- the commands */

static void next_join(struct stream *stream, const struct state *s, struct command *c)
{
    unsigned i = ++stream->n_joins;

    if (s->n_tokens > 0 && !prng_one_in(&stream->prng, 8))
        memcpy(c->node_join.token_hash, s->tokens[0].hash, DIGEST_SIZE);
    snprintf(c->node_join.name, NAME_SIZE, "n%u", prng_one_in(&stream->prng, 5) ? 1 : i + 1);
    cluster_facts(prng_one_in(&stream->prng, 8) ? 1 : i + 1, 2 + prng_below(&stream->prng, 5),
                  &c->node_join.facts);
}

static void next_facts(struct stream *stream, const struct state *s, struct command *c)
{
    const struct node *node = pick_node(stream, s);

    if (node == NULL)
        return;
    c->node_facts.node = node->id;
    cluster_facts(node->facts.link_key[0], 2 + prng_below(&stream->prng, 6), &c->node_facts.facts);
    if (prng_one_in(&stream->prng, 5))
        c->node_facts.facts.address++;
}

static void next_node_event(struct stream *stream, const struct state *s, struct command *c)
{
    const struct node *node = pick_node(stream, s);

    for (int tries = 0; tries < 4 && node != NULL; tries++) {
        if ((node->state == NODE_LOST) == (c->type == COMMAND_NODE_RETURNED))
            break;
        node = pick_node(stream, s);
    }
    if (node == NULL)
        return;
    c->node_event.node = node->id;
    c->node_event.expect_epoch = node->epoch - prng_one_in(&stream->prng, 8);
    c->node_event.term = stream->term - prng_one_in(&stream->prng, 8);
    c->node_event.boot_nonce[0] = (uint8_t)(1 + prng_below(&stream->prng, 200));
}

/* Most specs are such that nothing but their place speaks against them. */
static void fit_to_kind(struct stream *stream, struct guest_spec *spec)
{
    spec->kind = prng_one_in(&stream->prng, 4) ? KIND_VM : KIND_CELL;
    if (spec->kind == KIND_VM) {
        guest_spec_deinit(spec);
        spec->health = (struct health_check){0};
    } else {
        free(spec->user_data);
        spec->user_data = NULL;
    }
}

/* What can be protected, as a rule. */
static void fit_protection(struct guest_spec *spec)
{
    bool is_possible = spec->kind == KIND_CELL && spec->on[0] == '\0';

    if (spec->failover == FAILOVER_RESTORE && !is_possible)
        spec->failover = FAILOVER_RESTART;
    spec->protect_ms = spec->failover == FAILOVER_RESTORE ? PROTECT_DEFAULT_MS : 0;
}

static void next_create(struct stream *stream, const struct state *s, struct command *c)
{
    struct guest_spec *spec = &c->guest_create.spec;

    do {
        guest_spec_deinit(spec);
        guest_spec_random(&stream->prng, spec);
    } while (spec->n_argv == 0 && !prng_one_in(&stream->prng, 8));
    snprintf(spec->name, NAME_SIZE, "g%u", prng_below(&stream->prng, 16));
    if (s->n_images > 0 && !prng_one_in(&stream->prng, 8))
        memcpy(spec->image, s->images[prng_below(&stream->prng, (uint32_t)s->n_images)].name,
               NAME_SIZE);
    if (s->n_slices > 0 && !prng_one_in(&stream->prng, 8))
        memcpy(spec->slice, s->slices[prng_below(&stream->prng, (uint32_t)s->n_slices)].name,
               NAME_SIZE);
    else if (!prng_one_in(&stream->prng, 8))
        spec->slice[0] = '\0';
    if (!prng_one_in(&stream->prng, 8))
        fit_to_kind(stream, spec);
    if (!prng_one_in(&stream->prng, 8))
        fit_protection(spec);
    spec->memory_mib = prng_below(&stream->prng, 64);
    spec->n_constraints = 0;
    pick_place(stream, s, spec->n_cores, spec->image, &c->guest_create.placement);
    if (prng_one_in(&stream->prng, 5))
        c->guest_create.placement = (struct placement){0};
    else if (!prng_one_in(&stream->prng, 8) && (spec->n_argv > 0 || guest_spec_boots(spec)))
        spec->n_cores = c->guest_create.placement.n_cores;
}

static void next_place(struct stream *stream, const struct state *s, struct command *c)
{
    const struct guest *guest = NULL;

    for (int tries = 0; tries < 8 && (guest == NULL || guest->placement.node != 0); tries++)
        guest = pick_guest(stream, s);
    if (guest == NULL)
        return;
    memcpy(c->guest_place.name, guest->spec.name, NAME_SIZE);
    c->guest_place.expect_epoch = guest->placement.epoch - prng_one_in(&stream->prng, 8);
    pick_place(stream, s, guest->spec.n_cores, guest->spec.image, &c->guest_place.placement);
}

static bool suits_evict(struct stream *stream, const struct guest *guest,
                        const struct guest *victim, uint64_t node)
{
    bool is_right = victim->placement.node == node && guest_may_give_way(victim) &&
                    victim->spec.priority < guest->spec.priority;

    return is_right ? !prng_one_in(&stream->prng, 4) : prng_one_in(&stream->prng, 30);
}

/* Whoever is less important on the node of some guest gives way to a guest that waits, as a rule.
 */
static void next_evict(struct stream *stream, const struct state *s, struct command *c)
{
    const struct guest *guest = NULL, *there = NULL;

    c->guest_evict.n_victims = 1; /* of no name: refused */
    for (int tries = 0; tries < 16 && (guest == NULL || guest->placement.node != 0 ||
                                       !state_may_preempt(s, &guest->spec));
         tries++)
        guest = pick_guest(stream, s);
    for (int tries = 0; tries < 8 && (there == NULL || there->placement.node == 0); tries++)
        there = pick_guest(stream, s);
    if (guest == NULL || there == NULL)
        return;
    memcpy(c->guest_evict.name, guest->spec.name, NAME_SIZE);
    c->guest_evict.expect_epoch = guest->placement.epoch - prng_one_in(&stream->prng, 8);
    c->guest_evict.node = there->placement.node;
    for (size_t i = 0, n = 0; i < s->n_guests && n < 4; i++) {
        const struct guest *victim = &s->guests[i];

        if (!suits_evict(stream, guest, victim, there->placement.node))
            continue;
        memcpy(c->guest_evict.victims[n].name, victim->spec.name, NAME_SIZE);
        c->guest_evict.victims[n].epoch = victim->placement.epoch - prng_one_in(&stream->prng, 16);
        c->guest_evict.n_victims = (uint32_t)++n;
    }
}

static void next_protection(struct stream *stream, const struct state *s, struct command *c)
{
    const struct guest *guest = NULL;

    for (int tries = 0; tries < 16 && (guest == NULL || guest->spec.protect_ms == 0); tries++)
        guest = pick_guest(stream, s);
    if (guest == NULL)
        return;
    if (c->type == COMMAND_GUEST_PROTECT) {
        snprintf(c->guest_protect.name, NAME_SIZE, "%s",
                 prng_one_in(&stream->prng, 8) ? "nobody" : guest->spec.name);
        c->guest_protect.protect_ms = prng_one_in(&stream->prng, 8) ? 0 : PROTECT_DEFAULT_MS;
    } else if (c->type == COMMAND_GUEST_BUDDY) {
        memcpy(c->guest_buddy.name, guest->spec.name, NAME_SIZE);
        c->guest_buddy.node = pick_node_id(stream, s);
    } else {
        memcpy(c->guest_checkpoint.name, guest->spec.name, NAME_SIZE);
        c->guest_checkpoint.epoch = guest->placement.epoch - prng_one_in(&stream->prng, 8);
        c->guest_checkpoint.checkpoint.node =
            prng_one_in(&stream->prng, 8) ? pick_node_id(stream, s) : guest->buddy;
        prng_bytes(&stream->prng, c->guest_checkpoint.checkpoint.digest, DIGEST_SIZE);
    }
}

static void next_stopped(struct stream *stream, const struct state *s, struct command *c)
{
    const struct guest *guest = pick_guest(stream, s);

    if (guest == NULL)
        return;
    memcpy(c->guest_stopped.name, guest->spec.name, NAME_SIZE);
    c->guest_stopped.epoch = guest->placement.epoch - prng_one_in(&stream->prng, 8);
    c->guest_stopped.exited = prng_one_in(&stream->prng, 5);
}

static bool may_leave(const struct state *s, const struct guest *guest)
{
    const struct node *node = state_node(s, guest->placement.node);

    return guest_may_start_elsewhere(guest) && node != NULL && node->draining;
}

static void next_leave(struct stream *stream, const struct state *s, struct command *c)
{
    const struct guest *guest = pick_guest(stream, s);

    for (size_t i = 0; i < s->n_guests; i++) {
        if (may_leave(s, &s->guests[i]))
            guest = &s->guests[i];
    }
    if (guest == NULL)
        return;
    memcpy(c->guest_leave.name, guest->spec.name, NAME_SIZE);
    c->guest_leave.expect_epoch = guest->placement.epoch - prng_one_in(&stream->prng, 8);
}

static void next_reserve(struct stream *stream, const struct state *s, struct command *c)
{
    const struct guest *guest = NULL;

    c->migration_reserve.terms = MOVE_TERMS_DEFAULT;
    c->migration_reserve.terms.mode = (enum move_mode)(MOVE_AUTO + s->index % 4);
    if (c->migration_reserve.terms.mode == MOVE_PRE)
        c->migration_reserve.terms.connections = 1 + s->index / 4 % MOVE_CONNECTIONS_MAX;
    for (int tries = 0; tries < 8 && (guest == NULL || guest->placement.node == 0 ||
                                      guest->desired == DESIRED_STOPPED);
         tries++)
        guest = pick_guest(stream, s);
    if (guest == NULL)
        return;
    memcpy(c->migration_reserve.guest, guest->spec.name, NAME_SIZE);
    c->migration_reserve.source_epoch = guest->placement.epoch - prng_one_in(&stream->prng, 8);
    for (int tries = 0; tries < 6; tries++) {
        pick_place(stream, s, guest->spec.n_cores, guest->spec.image, &c->migration_reserve.target);
        if (c->migration_reserve.target.node != guest->placement.node)
            break;
    }
}

static void next_image(struct stream *stream, const struct state *s, struct command *c)
{
    if (c->type == COMMAND_IMAGE_ADD) {
        snprintf(c->image_add.image.name, NAME_SIZE, "i%u", prng_below(&stream->prng, 4));
        c->image_add.image.digest[0] = 1;
        c->image_add.image.format = IMAGE_TAR;
        c->image_add.image.copies = prng_below(&stream->prng, 3);
        return;
    }
    snprintf(c->image_held.name, NAME_SIZE, "i%u", prng_below(&stream->prng, 4));
    c->image_held.digest[0] = prng_one_in(&stream->prng, 8) ? 2 : 1;
    c->image_held.node = pick_node_id(stream, s);
}

static void next_by_name(struct stream *stream, const struct state *s, struct command *c)
{
    if (c->type == COMMAND_NODE_REMOVE)
        pick_node_name(stream, s, c->by_name.name);
    else if (c->type == COMMAND_GUEST_STOP || c->type == COMMAND_GUEST_REMOVE)
        pick_guest_name(stream, s, c->by_name.name);
    else
        snprintf(c->by_name.name, NAME_SIZE, "%c%u", c->type == COMMAND_SLICE_REMOVE ? 's' : 'i',
                 prng_below(&stream->prng, 4));
}

static void next_cluster(struct stream *stream, const struct state *s, struct command *c)
{
    switch (c->type) {
    case COMMAND_CLUSTER_INIT:
        c->cluster_init.cluster[0] = 7;
        strcpy(c->cluster_init.name, "n1");
        c->cluster_init.timers = *timers_of_profile("default");
        cluster_facts(1, 4, &c->cluster_init.facts);
        break;
    case COMMAND_TERM_STARTED:
        stream->term += prng_below(&stream->prng, 3);
        c->term_started.node = pick_node_id(stream, s);
        c->term_started.term = stream->term;
        break;
    case COMMAND_TOKEN_CREATE:
        prng_bytes(&stream->prng, c->token_create.token.hash, DIGEST_SIZE);
        c->token_create.token.expires_s = stream->time_s + prng_below(&stream->prng, 900);
        c->token_create.token.uses_left = prng_below(&stream->prng, 4);
        break;
    case COMMAND_NODE_SET_ROLE:
        c->node_set_role.node = pick_node_id(stream, s);
        c->node_set_role.role = (enum raft_role)(1 + prng_below(&stream->prng, ROLE_SPARE));
        break;
    case COMMAND_NODE_CORDON:
    case COMMAND_NODE_DRAIN:
        pick_node_name(stream, s, c->node_flag.name);
        c->node_flag.flag = prng_one_in(&stream->prng, c->type == COMMAND_NODE_DRAIN ? 2 : 6);
        c->node_flag.drain_ms = prng_below(&stream->prng, 3) * 1000;
        break;
    case COMMAND_CLUSTER_SET:
        c->cluster_set.setting =
            (enum cluster_setting)(SETTING_MAINTENANCE + prng_below(&stream->prng, 3));
        c->cluster_set.flag = prng_one_in(&stream->prng, 2);
        break;
    default:
        c->node_ceiling.node = pick_node_id(stream, s);
        c->node_ceiling.ceiling_ms = prng_below(&stream->prng, 3500);
        break;
    }
}

static void next_step(struct stream *stream, const struct state *s, struct command *c)
{
    if (s->n_migrations > 0)
        c->migration_step.is_lazy = s->index % 2 == 0;
    if (s->n_migrations > 0)
        c->migration_step.id =
            s->migrations[prng_below(&stream->prng, (uint32_t)s->n_migrations)].id;
}

void stream_fill(struct stream *stream, const struct state *s, struct command *c)
{
    switch (c->type) {
    case COMMAND_NODE_JOIN:
        next_join(stream, s, c);
        break;
    case COMMAND_NODE_FACTS:
        next_facts(stream, s, c);
        break;
    case COMMAND_NODE_LOST:
    case COMMAND_NODE_REBOOTED:
    case COMMAND_NODE_RETURNED:
        next_node_event(stream, s, c);
        break;
    case COMMAND_GUEST_CREATE:
        next_create(stream, s, c);
        break;
    case COMMAND_GUEST_PLACE:
    case COMMAND_GUEST_START:
        next_place(stream, s, c);
        break;
    case COMMAND_GUEST_EVICT:
        next_evict(stream, s, c);
        break;
    case COMMAND_GUEST_PROTECT:
    case COMMAND_GUEST_BUDDY:
    case COMMAND_GUEST_CHECKPOINT:
        next_protection(stream, s, c);
        break;
    case COMMAND_GUEST_STOPPED:
        next_stopped(stream, s, c);
        break;
    case COMMAND_GUEST_LEAVE:
        next_leave(stream, s, c);
        break;
    case COMMAND_MIGRATION_RESERVE:
        next_reserve(stream, s, c);
        break;
    case COMMAND_MIGRATION_COMMIT:
    case COMMAND_MIGRATION_ABORT:
    case COMMAND_MIGRATION_DONE:
    case COMMAND_MIGRATION_RETURN:
        next_step(stream, s, c);
        break;
    case COMMAND_IMAGE_ADD:
    case COMMAND_IMAGE_HELD:
        next_image(stream, s, c);
        break;
    case COMMAND_IMAGE_RELEASE:
        memset(c->image_release.name, 0, NAME_SIZE);
        if (prng_one_in(&stream->prng, 2))
            snprintf(c->image_release.name, NAME_SIZE, "i%u", prng_below(&stream->prng, 4));
        c->image_release.node = prng_one_in(&stream->prng, 2) ? 0 : pick_node_id(stream, s);
        break;
    case COMMAND_NODE_REMOVE:
    case COMMAND_SLICE_REMOVE:
    case COMMAND_IMAGE_REMOVE:
    case COMMAND_GUEST_STOP:
    case COMMAND_GUEST_REMOVE:
        next_by_name(stream, s, c);
        break;
    default:
        next_cluster(stream, s, c);
        break;
    }
}
