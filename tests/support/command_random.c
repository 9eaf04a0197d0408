#include "tests/support/command_random.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *allocate(size_t n, size_t size)
{
    void *p = calloc(n > 0 ? n : 1, size);

    assert(p != NULL);
    return p;
}

void name_random(struct prng *p, char ret[NAME_SIZE])
{
    snprintf(ret, NAME_SIZE, "%c%u", "gnsi"[prng_below(p, 4)], prng_below(p, 8));
}

static uint32_t labels_random(struct prng *p, struct label *ret)
{
    uint32_t n = prng_below(p, 4);

    for (uint32_t i = 0; i < n; i++) {
        snprintf(ret[i].key, sizeof(ret[i].key), "key%u", i);
        snprintf(ret[i].value, sizeof(ret[i].value), "%u", prng_below(p, 3));
    }
    return n;
}

void node_facts_random(struct prng *p, struct node_facts *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->address = (uint32_t)prng_next(p);
    ret->vtep = (uint32_t)prng_next(p);
    prng_bytes(p, ret->link_key, KEY_SIZE);
    prng_bytes(p, ret->curve_key, KEY_SIZE);
    ret->n_labels = labels_random(p, ret->labels);
    ret->n_cores = prng_below(p, 9);
    ret->cores = allocate(ret->n_cores, sizeof(*ret->cores));
    for (uint32_t i = 0; i < ret->n_cores; i++) {
        ret->cores[i] = (struct core_info){.id = (uint16_t)i,
                                           .numa = (uint16_t)(i / 4),
                                           .cluster = (uint16_t)(i / 2),
                                           .sibling = (uint16_t)i,
                                           .isolated = i > 0};
    }
    ret->memory_mib = 64 + prng_below(p, 1024);
    ret->kinds = KIND_BIT(KIND_CELL) | (prng_one_in(p, 2) ? KIND_BIT(KIND_VM) : 0);
    snprintf(ret->arch, sizeof(ret->arch), "x86_64");
    ret->backhaul_kbps = prng_below(p, 100000);
    ret->isolation_simulated = prng_one_in(p, 2);
    ret->can_track_dirty = prng_one_in(p, 2);
    ret->can_lazy = prng_one_in(p, 2);
    ret->witness = prng_one_in(p, 16);
    ret->images_mib = prng_below(p, 4096);
    if (ret->kinds & KIND_BIT(KIND_VM))
        ret->vm_driver = (enum vm_driver)(1 + prng_below(p, VM_DRIVER_END - 1));
}

static char **strings_random(struct prng *p, uint32_t n)
{
    char **strings = allocate(n, sizeof(*strings));
    char text[32];

    for (uint32_t i = 0; i < n; i++) {
        snprintf(text, sizeof(text), "K%u=%u", i, prng_below(p, 1000));
        strings[i] = strdup(text);
        assert(strings[i] != NULL);
    }
    return strings;
}

static void health_random(struct prng *p, struct health_check *ret)
{
    if (prng_one_in(p, 2))
        return;
    ret->kind = prng_one_in(p, 2) ? HEALTH_TCP : HEALTH_EXEC;
    ret->interval_ms = 1000 + prng_below(p, 1000);
    ret->timeout_ms = 100 + prng_below(p, 1000);
    ret->retries = 1 + prng_below(p, 5);
    ret->start_ms = prng_below(p, 1000);
    if (ret->kind == HEALTH_TCP) {
        ret->port = (uint16_t)(1 + prng_below(p, 1000));
        return;
    }
    ret->n_argv = 1 + prng_below(p, 3);
    ret->argv = strings_random(p, ret->n_argv);
}

static void directory_random(struct prng *p, char ret[DIRECTORY_SIZE])
{
    if (prng_one_in(p, 2))
        snprintf(ret, DIRECTORY_SIZE, "/srv/%u", prng_below(p, 100));
}

/* Draws nothing: the other values of a seed stay what they were. */
static void volumes_add(struct guest_spec *ret)
{
    ret->n_volumes = ret->memory_mib % 8 == 1 ? 1 + ret->priority % MAX_VOLUMES : 0;
    ret->volumes = allocate(ret->n_volumes, sizeof(*ret->volumes));
    for (uint32_t i = 0; i < ret->n_volumes; i++) {
        snprintf(ret->volumes[i].name, NAME_SIZE, "v%u", i);
        snprintf(ret->volumes[i].path, DIRECTORY_SIZE, "/srv/%u", i);
    }
}

void guest_spec_random(struct prng *p, struct guest_spec *ret)
{
    memset(ret, 0, sizeof(*ret));
    name_random(p, ret->name);
    ret->kind = (enum guest_kind)(1 + prng_below(p, KIND_VM));
    name_random(p, ret->image);
    name_random(p, ret->slice);
    ret->n_cores = prng_below(p, 4);
    ret->memory_mib = prng_below(p, 256);
    ret->priority = prng_below(p, 200);
    ret->restart = (enum restart_policy)(1 + prng_below(p, RESTART_NEVER));
    ret->failover = (enum failover_policy)(1 + prng_below(p, FAILOVER_RESTORE));
    if ((ret->failover == FAILOVER_RESTORE) != prng_one_in(p, 8))
        ret->protect_ms = prng_one_in(p, 8) ? 1 : 5000;
    ret->preempt = (enum preempt_policy)prng_below(p, PREEMPT_OFF + 1);
    health_random(p, &ret->health);
    ret->n_constraints = labels_random(p, ret->constraints);
    ret->n_env = prng_below(p, 3);
    ret->env = strings_random(p, ret->n_env);
    ret->n_argv = guest_spec_boots(ret) && !prng_one_in(p, 8) ? 0 : prng_below(p, 4);
    ret->argv = strings_random(p, ret->n_argv);
    directory_random(p, ret->directory);
    ret->uid = prng_below(p, 3);
    ret->gid = prng_below(p, 3);
    if (prng_one_in(p, guest_spec_boots(ret) ? 2 : 8))
        ret->user_data = strdup("#cloud-config\n");
    volumes_add(ret);
}

void placement_random(struct prng *p, struct placement *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->node = prng_below(p, 8);
    ret->epoch = prng_below(p, 100);
    ret->n_cores = prng_below(p, 4);
    for (uint32_t i = 0; i < ret->n_cores; i++)
        ret->cores[i] = (uint16_t)(1 + i * 2 + prng_below(p, 2));
}

static void image_random(struct prng *p, struct image *ret)
{
    memset(ret, 0, sizeof(*ret));
    name_random(p, ret->name);
    ret->format = (enum image_format)(1 + prng_below(p, IMAGE_RAW));
    ret->copies = prng_below(p, 4);
    prng_bytes(p, ret->digest, DIGEST_SIZE);
    ret->size = prng_next(p);
    ret->defaults.n_env = prng_below(p, 3);
    ret->defaults.env = strings_random(p, ret->defaults.n_env);
    ret->defaults.n_entrypoint = prng_below(p, 3);
    ret->defaults.entrypoint = strings_random(p, ret->defaults.n_entrypoint);
    ret->defaults.n_command = prng_below(p, 3);
    ret->defaults.command = strings_random(p, ret->defaults.n_command);
    directory_random(p, ret->defaults.directory);
    ret->defaults.uid = prng_below(p, 3);
    ret->defaults.gid = prng_below(p, 3);
    ret->n_holders = prng_below(p, 4);
    ret->holders = allocate(ret->n_holders, sizeof(*ret->holders));
    for (uint32_t i = 0; i < ret->n_holders; i++)
        ret->holders[i] = i + 1;
}

static void timers_random(struct prng *p, struct timers *ret)
{
    for (unsigned i = 0; timers_key(i) != NULL; i++)
        *timers_at(ret, i) = prng_below(p, 3000);
}

static void protection_random(struct prng *p, struct command *c)
{
    if (c->type == COMMAND_GUEST_PROTECT) {
        name_random(p, c->guest_protect.name);
        c->guest_protect.protect_ms = prng_one_in(p, 2) ? 0 : prng_below(p, 9000);
    } else if (c->type == COMMAND_GUEST_BUDDY) {
        name_random(p, c->guest_buddy.name);
        c->guest_buddy.node = prng_below(p, 8);
    } else {
        name_random(p, c->guest_checkpoint.name);
        c->guest_checkpoint.epoch = prng_below(p, 100);
        c->guest_checkpoint.checkpoint.node = prng_below(p, 8);
        prng_bytes(p, c->guest_checkpoint.checkpoint.digest, DIGEST_SIZE);
        c->guest_checkpoint.checkpoint.size = prng_next(p);
        c->guest_checkpoint.checkpoint.sent = c->guest_checkpoint.checkpoint.size / 3;
        c->guest_checkpoint.checkpoint.frozen_us = prng_below(p, 100000);
        c->guest_checkpoint.checkpoint.n_increments = c->guest_checkpoint.checkpoint.frozen_us % 20;
        c->guest_checkpoint.age_ms = prng_below(p, 1000);
    }
}

void loss_origin_random(struct prng *p, struct loss_origin *ret)
{
    *ret = (struct loss_origin){
        .since = (enum loss_since)(1 + prng_below(p, LOSS_SINCE_ELECTION)),
        .ago_ms = prng_below(p, 5000),
        .lease_end_ms = prng_below(p, 1000),
        .elected_ms = prng_below(p, 1000),
    };
}

static void node_command_random(struct prng *p, struct command *c)
{
    switch (c->type) {
    case COMMAND_CLUSTER_INIT:
        prng_bytes(p, c->cluster_init.cluster, NONCE_SIZE);
        name_random(p, c->cluster_init.name);
        node_facts_random(p, &c->cluster_init.facts);
        timers_random(p, &c->cluster_init.timers);
        break;
    case COMMAND_TERM_STARTED:
        c->term_started.node = prng_below(p, 8);
        c->term_started.term = prng_below(p, 8);
        break;
    case COMMAND_TOKEN_CREATE:
        prng_bytes(p, c->token_create.token.hash, DIGEST_SIZE);
        c->token_create.token.expires_s = prng_below(p, 2000);
        c->token_create.token.uses_left = prng_below(p, 3);
        break;
    case COMMAND_NODE_JOIN:
        prng_bytes(p, c->node_join.token_hash, DIGEST_SIZE);
        name_random(p, c->node_join.name);
        node_facts_random(p, &c->node_join.facts);
        timers_random(p, &c->node_join.timers);
        break;
    case COMMAND_NODE_FACTS:
        c->node_facts.node = prng_below(p, 8);
        node_facts_random(p, &c->node_facts.facts);
        break;
    case COMMAND_NODE_SET_ROLE:
        c->node_set_role.node = prng_below(p, 8);
        c->node_set_role.role = (enum raft_role)(1 + prng_below(p, ROLE_SPARE));
        break;
    case COMMAND_NODE_CORDON:
    case COMMAND_NODE_DRAIN:
        name_random(p, c->node_flag.name);
        c->node_flag.flag = prng_one_in(p, 2);
        c->node_flag.drain_ms = prng_below(p, 1000);
        break;
    case COMMAND_NODE_CEILING:
        c->node_ceiling.node = prng_below(p, 8);
        c->node_ceiling.ceiling_ms = prng_below(p, 4000);
        break;
    case COMMAND_CLUSTER_SET:
        c->cluster_set.setting = (enum cluster_setting)(1 + prng_below(p, 9));
        c->cluster_set.flag = prng_one_in(p, 2);
        break;
    default: /* LOST, REBOOTED, RETURNED */
        c->node_event.node = prng_below(p, 8);
        c->node_event.expect_epoch = prng_below(p, 100);
        c->node_event.term = prng_below(p, 8);
        prng_bytes(p, c->node_event.boot_nonce, NONCE_SIZE);
        loss_origin_random(p, &c->node_event.origin);
        break;
    }
}

void command_random(struct prng *p, enum command_type type, struct command *c)
{
    memset(c, 0, sizeof(*c));
    c->type = type;
    c->time_s = prng_below(p, 1000);
    prng_bytes(p, c->request, NONCE_SIZE);
    switch (type) {
    case COMMAND_NODE_REMOVE:
    case COMMAND_SLICE_REMOVE:
    case COMMAND_IMAGE_REMOVE:
    case COMMAND_GUEST_STOP:
    case COMMAND_GUEST_REMOVE:
        name_random(p, c->by_name.name);
        break;
    case COMMAND_SLICE_CREATE:
        name_random(p, c->slice_create.slice.name);
        c->slice_create.slice.subnet.network = 0x0a000000 + (prng_below(p, 64) << 4);
        c->slice_create.slice.subnet.prefix = (uint8_t)(26 + prng_below(p, 6));
        c->slice_create.slice.rate_kbps = prng_below(p, 1000);
        break;
    case COMMAND_IMAGE_ADD:
        image_random(p, &c->image_add.image);
        break;
    case COMMAND_IMAGE_RELEASE:
        if (prng_one_in(p, 2))
            name_random(p, c->image_release.name);
        c->image_release.node = prng_below(p, 8);
        break;
    case COMMAND_IMAGE_HELD:
        name_random(p, c->image_held.name);
        prng_bytes(p, c->image_held.digest, DIGEST_SIZE);
        c->image_held.node = prng_below(p, 8);
        break;
    case COMMAND_GUEST_CREATE:
        guest_spec_random(p, &c->guest_create.spec);
        placement_random(p, &c->guest_create.placement);
        break;
    case COMMAND_GUEST_PLACE:
    case COMMAND_GUEST_START:
        name_random(p, c->guest_place.name);
        c->guest_place.expect_epoch = prng_below(p, 100);
        placement_random(p, &c->guest_place.placement);
        break;
    case COMMAND_GUEST_STOPPED:
        name_random(p, c->guest_stopped.name);
        c->guest_stopped.epoch = prng_below(p, 100);
        c->guest_stopped.exited = prng_one_in(p, 2);
        break;
    case COMMAND_GUEST_LEAVE:
        name_random(p, c->guest_leave.name);
        c->guest_leave.expect_epoch = prng_below(p, 100);
        break;
    case COMMAND_GUEST_EVICT:
        name_random(p, c->guest_evict.name);
        c->guest_evict.expect_epoch = prng_below(p, 100);
        c->guest_evict.node = prng_below(p, 8);
        c->guest_evict.n_victims = 1 + prng_below(p, MAX_VICTIMS);
        for (uint32_t i = 0; i < c->guest_evict.n_victims; i++) {
            name_random(p, c->guest_evict.victims[i].name);
            c->guest_evict.victims[i].epoch = prng_below(p, 100);
        }
        break;
    case COMMAND_GUEST_PROTECT:
    case COMMAND_GUEST_BUDDY:
    case COMMAND_GUEST_CHECKPOINT:
        protection_random(p, c);
        break;
    case COMMAND_MIGRATION_RESERVE:
        name_random(p, c->migration_reserve.guest);
        c->migration_reserve.source_epoch = prng_below(p, 100);
        placement_random(p, &c->migration_reserve.target);
        c->migration_reserve.terms =
            (struct move_terms){(enum move_mode)(MOVE_AUTO + prng_below(p, 4)),
                                1 + prng_below(p, MOVE_DOWNTIME_MAX_MS), prng_below(p, 1000000), 1};
        if (c->migration_reserve.terms.mode == MOVE_PRE)
            c->migration_reserve.terms.connections = 1 + prng_below(p, MOVE_CONNECTIONS_MAX);
        break;
    case COMMAND_MIGRATION_COMMIT:
    case COMMAND_MIGRATION_ABORT:
    case COMMAND_MIGRATION_DONE:
    case COMMAND_MIGRATION_RETURN:
        c->migration_step.id = prng_below(p, 100);
        c->migration_step.is_lazy = prng_one_in(p, 2);
        snprintf(c->migration_step.reason, REASON_SIZE, "reason %u", prng_below(p, 9));
        break;
    default:
        node_command_random(p, c);
        break;
    }
}
