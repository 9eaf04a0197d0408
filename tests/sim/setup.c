/* setup: a formed cluster as its log would have it, and the draws of a seed; see sim.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/model_raft.h"
#include "tests/support/cluster.h"

struct founding {
    struct sim *sim;
    uint64_t index;
    uint8_t secret;
};

static void add_entry(struct founding *f, struct raft_entry *entry)
{
    f->index++;
    for (unsigned i = 0; i < f->sim->n; i++)
        raft_log_append(&f->sim->nodes[i].raft, entry);
}

static void add_command(struct founding *f, struct command *command)
{
    struct raft_entry *entry;
    struct writer w;

    command->time_s = SIM_WALL_START_S;
    command->request[0] = (uint8_t)(f->index + 1);
    command->request[1] = 0xf0;
    writer_init_growing(&w, COMMAND_MAX_SIZE);
    command_encode(command, &w);
    if (w.failed)
        abort();
    entry = raft_entry_new(f->sim, RAFT_ENTRY_COMMAND, 1, w.data, w.size);
    memcpy(entry->request, command->request, NONCE_SIZE);
    entry->proposer = 0;
    writer_deinit(&w);
    add_entry(f, entry);
}

static void add_join(struct founding *f, unsigned node)
{
    struct command token = {.type = COMMAND_TOKEN_CREATE,
                            .token_create.token = {.hash = {++f->secret},
                                                   .expires_s = SIM_WALL_START_S + 600,
                                                   .uses_left = 1}};
    struct command join = {.type = COMMAND_NODE_JOIN, .node_join.token_hash = {f->secret}};

    add_command(f, &token);
    snprintf(join.node_join.name, NAME_SIZE, "n%u", node + 1);
    join.node_join.facts = f->sim->nodes[node].facts; /* borrowed */
    add_command(f, &join);
    f->sim->nodes[node].id = f->index;
}

static void add_catalog(struct founding *f)
{
    struct command slice = {
        .type = COMMAND_SLICE_CREATE,
        .slice_create.slice = {.name = "red", .subnet = {.network = 0x0a070000, .prefix = 24}}};
    struct command image = {.type = COMMAND_IMAGE_ADD,
                            .image_add.image = {.name = "web", .format = IMAGE_TAR, .size = 1000}};
    uint64_t holders[SIM_MAX_NODES];

    for (unsigned i = 0; i < f->sim->n; i++)
        holders[i] = f->sim->nodes[i].id;
    image_digest(0, image.image_add.image.digest);
    image.image_add.image.holders = holders; /* borrowed */
    image.image_add.image.n_holders = f->sim->n;
    add_command(f, &slice);
    add_command(f, &image);
}

static void found(struct sim *sim)
{
    struct founding f = {.sim = sim};
    struct raft_entry *roles = raft_entry_new(sim, RAFT_ENTRY_CONFIG, 1, NULL, 0);
    struct command init = {.type = COMMAND_CLUSTER_INIT,
                           .cluster_init = {.cluster = {7}, .name = "n1"}};

    for (unsigned i = 0; i < sim->n; i++)
        roles->roles[i] = i < sim->max_voters ? ROLE_VOTER : ROLE_STANDBY;
    add_entry(&f, roles);
    init.cluster_init.timers = *timers_of_profile("default");
    init.cluster_init.facts = sim->nodes[0].facts; /* borrowed */
    add_command(&f, &init);
    sim->nodes[0].id = 1;
    for (unsigned i = 1; i < sim->n; i++) {
        struct command role = {.type = COMMAND_NODE_SET_ROLE};

        add_join(&f, i);
        role.node_set_role.node = sim->nodes[i].id;
        role.node_set_role.role = roles->roles[i];
        add_command(&f, &role);
    }
    add_catalog(&f);
}

static void draw(struct sim *sim)
{
    sim->max_voters = sim->n == 5 && sim_chance(sim, 500) ? 3 : sim->n;
    sim->checks_quorum = sim_chance(sim, 700);
    /* Who was left out of the configuration does not know, and would disturb without end. */
    sim->sticky_votes = sim->max_voters < sim->n || sim_chance(sim, 600);
    sim->noops = sim_chance(sim, 500);
    sim->hangs_guards = sim_chance(sim, 100);
    sim->snapshot_every = 15 + sim_below(sim, 150);
    sim->user_ms = 200 + sim_below(sim, 1200);
    sim->op_failure_permille = sim_below(sim, 80);
    sim->in_move_permille = sim_below(sim, 250);
    sim->aim_permille = sim_below(sim, 1000);
    sim->doubled_permille = sim_below(sim, 30);
}

/* Only what a script says goes wrong. */
static void be_calm(struct sim *sim)
{
    sim->is_calm = true;
    sim->hangs_guards = false;
    sim->op_failure_permille = sim->in_move_permille = sim->aim_permille = 0;
    sim->doubled_permille = 0;
    sim->calm_us = SCRIPT_CALM_US;
    sim->end_us = SCRIPT_END_US;
}

/* Every second clock runs at an end of what is allowed. */
static int32_t draw_drift(struct sim *sim)
{
    int32_t most = sim->options->drift_ppm != 0 ? (int32_t)sim->options->drift_ppm
                                                : CLOCK_DRIFT_PERMILLE * 1000;
    int32_t any = (int32_t)sim_below(sim, 2 * (uint32_t)most + 1) - most;

    return sim_chance(sim, 500) ? any : (any < 0 ? -most : most);
}

void setup_sim(struct sim *sim, uint64_t seed, unsigned n_nodes)
{
    sim->seed = seed;
    sim->prng.state = seed * 0x9e3779b97f4a7c15u + 1;
    sim->n = n_nodes;
    draw(sim);
    sim->calm_us = SIM_CALM_FROM_US;
    sim->end_us = SIM_END_US;
    if (sim->options->script != NULL)
        be_calm(sim);
    for (unsigned i = 0; i < sim->n; i++) {
        struct sim_node *node = &sim->nodes[i];

        node->at = i;
        node->drift_ppm = draw_drift(sim);
        node->images = 1;
        node->raft.first = 1;
        node->raft.term = 1;
        node->raft.voted_for = 0;
        cluster_facts(i + 1, 4, &node->facts);
    }
    oracle_setup(sim);
    found(sim);
    users_setup(sim);
    faults_setup(sim);
    for (unsigned i = 0; i < sim->n; i++)
        node_power_on(sim, &sim->nodes[i]);
}

void setup_end(struct sim *sim)
{
    for (unsigned i = 0; i < sim->n; i++) {
        struct sim_node *node = &sim->nodes[i];

        if (node->is_on)
            node_power_off(sim, node);
    }
    for (unsigned i = 0; i < sim->n; i++) {
        node_facts_deinit(&sim->nodes[i].facts);
        for (int k = 0; k < N_ACTORS; k++) {
            actor_stop(&sim->nodes[i].actors[k]);
            free(sim->nodes[i].actors[k].held);
        }
    }
    moves_free(sim);
    queue_deinit(&sim->queue);
    core_actions_deinit(&sim->actions);
    users_free(sim);
    oracle_free(sim);
    raft_free_all(sim);
}
