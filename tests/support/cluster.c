#include "tests/support/cluster.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void cluster_init(struct cluster *c)
{
    *c = (struct cluster){.term = 1, .time_s = 1000};
    state_init(&c->state);
}

void cluster_deinit(struct cluster *c)
{
    state_deinit(&c->state);
}

int cluster_apply(struct cluster *c, struct command *command)
{
    static const uint8_t none[NONCE_SIZE];

    if (memcmp(command->request, none, NONCE_SIZE) == 0) {
        c->n_requests++;
        memcpy(command->request, &c->n_requests, sizeof(c->n_requests));
    }
    if (command->time_s == 0)
        command->time_s = c->time_s;
    state_apply(&c->state, c->state.index + 1, c->term, command, &c->out);
    return c->out.code;
}

void cluster_facts(unsigned i, uint32_t n_cores, struct node_facts *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->address = ret->vtep = 0x0a000000 + i;
    memset(ret->link_key, (int)i, KEY_SIZE);
    memset(ret->curve_key, (int)i + 100, KEY_SIZE);
    ret->link_key[KEY_SIZE - 1] ^= (uint8_t)(i >> 8);
    ret->curve_key[KEY_SIZE - 1] ^= (uint8_t)(i >> 8);
    ret->n_cores = n_cores;
    ret->cores = calloc(n_cores, sizeof(*ret->cores));
    assert(ret->cores != NULL);
    for (uint16_t k = 0; k < n_cores; k++)
        ret->cores[k] = (struct core_info){.id = k, .sibling = k, .isolated = k > 0};
    ret->memory_mib = 512;
    ret->kinds = KIND_BIT(KIND_CELL);
    strcpy(ret->arch, "x86_64");
    ret->n_labels = 1;
    strcpy(ret->labels[0].key, "zone");
    strcpy(ret->labels[0].value, i % 2 == 1 ? "a" : "b");
}

int cluster_token(struct cluster *c, uint8_t secret, uint32_t n_uses)
{
    struct command command = {
        .type = COMMAND_TOKEN_CREATE,
        .token_create.token = {.hash = {secret}, .expires_s = c->time_s + 60, .uses_left = n_uses}};

    return cluster_apply(c, &command);
}

int cluster_join(struct cluster *c, uint8_t secret, unsigned i)
{
    struct command command = {.type = COMMAND_NODE_JOIN, .node_join.token_hash = {secret}};
    int code;

    snprintf(command.node_join.name, NAME_SIZE, "n%u", i);
    cluster_facts(i, 4, &command.node_join.facts);
    code = cluster_apply(c, &command);
    command_deinit(&command);
    return code;
}

static void must(int code)
{
    assert(code == 0);
    (void)code;
}

static void first_node(struct cluster *c)
{
    struct command init = {.type = COMMAND_CLUSTER_INIT,
                           .cluster_init = {.cluster = {7}, .name = "n1"}};
    struct command started = {.type = COMMAND_TERM_STARTED,
                              .term_started = {.node = 1, .term = c->term}};

    init.cluster_init.timers = *timers_of_profile("default");
    cluster_facts(1, 4, &init.cluster_init.facts);
    must(cluster_apply(c, &init));
    must(cluster_apply(c, &started));
    command_deinit(&init);
}

static void catalog(struct cluster *c)
{
    struct command slice = {
        .type = COMMAND_SLICE_CREATE,
        .slice_create.slice = {.name = "red", .subnet = {.network = 0x0a070000, .prefix = 24}}};
    struct command image = {
        .type = COMMAND_IMAGE_ADD,
        .image_add.image = {
            .name = "web", .format = IMAGE_TAR, .digest = {1}, .size = 1, .n_holders = 0}};
    uint64_t *holders = calloc(c->state.n_nodes, sizeof(*holders));

    assert(holders != NULL);
    for (size_t i = 0; i < c->state.n_nodes; i++)
        holders[i] = c->state.nodes[i].id;
    image.image_add.image.holders = holders;
    image.image_add.image.n_holders = (uint32_t)c->state.n_nodes;
    must(cluster_apply(c, &slice));
    must(cluster_apply(c, &image));
    command_deinit(&image);
}

void cluster_form(struct cluster *c, unsigned n_nodes)
{
    cluster_init(c);
    first_node(c);
    for (unsigned i = 2; i <= n_nodes; i++) {
        must(cluster_token(c, (uint8_t)i, 1));
        must(cluster_join(c, (uint8_t)i, i));
    }
    catalog(c);
}

uint64_t cluster_node(const struct cluster *c, const char *name)
{
    const struct node *node = state_node_by_name(&c->state, name);

    return node != NULL ? node->id : 0;
}

struct placement cluster_place(const struct cluster *c, const char *node, uint16_t first,
                               uint32_t n_cores)
{
    struct placement at = {.node = cluster_node(c, node), .n_cores = n_cores};

    for (uint16_t i = 0; i < n_cores; i++)
        at.cores[i] = (uint16_t)(first + i);
    return at;
}

int cluster_guest(struct cluster *c, const char *name, struct placement at,
                  enum failover_policy failover)
{
    char *argv[] = {"server"};
    struct command command = {
        .type = COMMAND_GUEST_CREATE,
        .guest_create = {.spec = {.kind = KIND_CELL,
                                  .image = "web",
                                  .slice = "red",
                                  .n_cores = at.n_cores,
                                  .memory_mib = 64,
                                  .priority = 100,
                                  .restart = RESTART_ALWAYS,
                                  .failover = failover,
                                  .protect_ms = failover == FAILOVER_RESTORE ? 5000 : 0,
                                  .n_argv = 1,
                                  .argv = argv},
                         .placement = at}};

    snprintf(command.guest_create.spec.name, NAME_SIZE, "%s", name);
    return cluster_apply(c, &command);
}

int cluster_place_guest(struct cluster *c, enum command_type type, const char *name,
                        uint64_t expect_epoch, struct placement at)
{
    struct command command = {.type = type,
                              .guest_place = {.expect_epoch = expect_epoch, .placement = at}};

    snprintf(command.guest_place.name, NAME_SIZE, "%s", name);
    return cluster_apply(c, &command);
}

int cluster_by_name(struct cluster *c, enum command_type type, const char *name)
{
    struct command command = {.type = type};

    snprintf(command.by_name.name, NAME_SIZE, "%s", name);
    return cluster_apply(c, &command);
}

int cluster_flag(struct cluster *c, enum command_type type, const char *name, bool flag)
{
    struct command command = {.type = type, .node_flag.flag = flag};

    snprintf(command.node_flag.name, NAME_SIZE, "%s", name);
    return cluster_apply(c, &command);
}

int cluster_event(struct cluster *c, enum command_type type, const char *name, uint8_t boot)
{
    const struct node *node = state_node_by_name(&c->state, name);
    struct command command = {
        .type = type,
        .node_event = {
            .node = node->id, .expect_epoch = node->epoch, .term = c->term, .boot_nonce = {boot}}};

    return cluster_apply(c, &command);
}

int cluster_stopped(struct cluster *c, const char *name, bool exited)
{
    struct command command = {.type = COMMAND_GUEST_STOPPED, .guest_stopped.exited = exited};

    snprintf(command.guest_stopped.name, NAME_SIZE, "%s", name);
    command.guest_stopped.epoch = state_guest(&c->state, name)->placement.epoch;
    return cluster_apply(c, &command);
}

int cluster_reserve(struct cluster *c, const char *name, struct placement target)
{
    struct command command = {.type = COMMAND_MIGRATION_RESERVE,
                              .migration_reserve = {.target = target, .terms = MOVE_TERMS_DEFAULT}};

    snprintf(command.migration_reserve.guest, NAME_SIZE, "%s", name);
    command.migration_reserve.source_epoch = state_guest(&c->state, name)->placement.epoch;
    return cluster_apply(c, &command);
}

int cluster_step(struct cluster *c, enum command_type type, uint64_t migration)
{
    struct command command = {.type = type, .migration_step.id = migration};

    return cluster_apply(c, &command);
}
