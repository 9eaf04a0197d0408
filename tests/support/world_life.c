#include "tests/support/world_parts.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- life */

static void new_core(struct world *w, unsigned i)
{
    struct world_node *node = &w->nodes[i];
    struct core_config config = {
        .id = node->id, .max_voters = w->max_voters, .stream_delay_ms = 25};
    struct core_event restored = {.type = CORE_RESTORED,
                                  .index = w->snapshot_index,
                                  .term = 1,
                                  .data = w->snapshot,
                                  .size = w->snapshot_size};
    struct core_event held = {.type = CORE_IMAGE_HELD, .digest = {1}};
    struct core_event hello = {.type = CORE_GUARD_HELLO};
    int code;

    config.timers = *timers_of_profile("default");
    config.salt[0] = (uint8_t)i;
    config.salt[1] = (uint8_t)++node->n_boots;
    cluster_facts(i, 4, &config.facts);
    config.facts.kinds |= KIND_BIT(KIND_VM);
    config.facts.vm_driver = VM_DRIVER_TCG;
    code = core_new(&config, &node->core, NULL);
    assert(code == 0);
    (void)code;
    node_facts_deinit(&config.facts);
    node->applied = 0;
    world_step(w, i, &restored);
    world_step(w, i, &held);
    memcpy(hello.hello.boot_nonce, node->guard.holder.boot_nonce, NONCE_SIZE);
    hello.hello.run = node->guard.holder.run;
    hello.hello.lapsed = node->guard.holder.lapsed;
    world_step(w, i, &hello);
}

static void new_guard(struct world *w, unsigned i)
{
    struct world_node *node = &w->nodes[i];
    uint8_t nonce[NONCE_SIZE] = {(uint8_t)i, (uint8_t)(node->n_boots + 1)};

    node->guard = (struct world_guard){.up = true};
    holder_init(&node->guard.holder, nonce, 1, 20);
}

static void tell_role(struct world *w, unsigned i)
{
    struct core_event role = {.type = CORE_ROLE,
                              .is_leader = i == w->leader,
                              .term = w->term,
                              .leader = w->leader != 0 ? w->nodes[w->leader].id : 0};

    if (!w->nodes[i].up || (w->leader != 0 && !world_sees_log(w, i)))
        return;
    w->nodes[i].published_term = w->term;
    world_step(w, i, &role);
}

void world_lead(struct world *w, unsigned i)
{
    w->leader = i;
    w->term++;
    for (unsigned k = 1; k <= w->n; k++)
        tell_role(w, k);
}

void world_init(struct world *w, unsigned n)
{
    struct cluster c;
    struct writer snapshot;

    *w = (struct world){.n = n, .term = 1, .now = 1000000, .max_voters = 5};
    cluster_form(&c, n);
    for (unsigned i = 1; i <= n; i++) {
        struct command role = {.type = COMMAND_NODE_SET_ROLE};
        char name[NAME_SIZE];

        snprintf(name, sizeof(name), "n%u", i);
        w->nodes[i].id = cluster_node(&c, name);
        role.node_set_role.node = w->nodes[i].id;
        role.node_set_role.role = ROLE_VOTER;
        cluster_apply(&c, &role);
    }
    writer_init_growing(&snapshot, SNAPSHOT_MAX_SIZE);
    state_snapshot(&c.state, &snapshot);
    w->snapshot = writer_steal(&snapshot, &w->snapshot_size);
    w->snapshot_index = c.state.index;
    w->first_index = c.state.index + 1;
    cluster_deinit(&c);
    for (unsigned i = 1; i <= n; i++) {
        w->nodes[i].up = true;
        new_guard(w, i);
        new_core(w, i);
    }
    world_lead(w, 1);
}

void world_deinit(struct world *w)
{
    for (unsigned i = 1; i <= w->n; i++)
        core_free(w->nodes[i].core);
    for (size_t i = 0; i < w->n_pending; i++)
        world_pending_deinit(&w->pending[i]);
    for (size_t i = 0; i < w->n_entries; i++)
        free(w->entries[i].data);
    free(w->pending);
    free(w->entries);
    free(w->snapshot);
}

void world_kill(struct world *w, unsigned i)
{
    w->nodes[i].up = false;
    core_free(w->nodes[i].core);
    w->nodes[i].core = NULL;
    w->nodes[i].guard = (struct world_guard){0};
}

void world_boot(struct world *w, unsigned i)
{
    w->nodes[i].up = true;
    new_guard(w, i);
    new_core(w, i);
    tell_role(w, i);
}

void world_restart_skeind(struct world *w, unsigned i)
{
    core_free(w->nodes[i].core);
    w->nodes[i].core = NULL;
    new_core(w, i);
    tell_role(w, i);
}

void world_restart_guard(struct world *w, unsigned i)
{
    struct world_guard *g = &w->nodes[i].guard;
    struct core_event lost = {.type = CORE_GUARD_LOST};
    struct core_event hello = {.type = CORE_GUARD_HELLO};
    uint8_t nonce[NONCE_SIZE];

    memcpy(nonce, g->holder.boot_nonce, NONCE_SIZE);
    holder_init(&g->holder, nonce, g->holder.run + 1, 20);
    for (size_t k = w->n_pending; k-- > 0;) { /* what the old one was at is lost */
        if (w->pending[k].to != i || w->pending[k].type != PENDING_REPLY)
            continue;
        world_pending_deinit(&w->pending[k]);
        memmove(&w->pending[k], &w->pending[k + 1], (--w->n_pending - k) * sizeof(*w->pending));
    }
    for (uint32_t k = 0; k < g->n_guests; k++) {
        g->guests[k].frozen_by |= FROZEN_BY_LEASE;
        world_guard_refreeze(&g->guests[k]);
    }
    world_step(w, i, &lost);
    memcpy(hello.hello.boot_nonce, nonce, NONCE_SIZE);
    hello.hello.run = g->holder.run;
    hello.hello.lapsed = true;
    world_step(w, i, &hello);
}

void world_isolate(struct world *w, unsigned i, bool cut)
{
    for (unsigned k = 1; k <= w->n; k++) {
        if (k != i)
            w->cut[i][k] = w->cut[k][i] = cut;
    }
}

/* ---- wishes */

void world_ask(struct world *w, struct command *command)
{
    struct core_event event = {.type = CORE_REQUEST, .ticket = 7, .command = command};

    w->has_answer = false;
    world_step(w, w->leader, &event);
}

bool world_answered(struct world *w, uint64_t limit_ms)
{
    for (uint64_t ms = 0; ms < limit_ms && !w->has_answer; ms++)
        world_run(w, 1);
    return w->has_answer;
}

void world_spec(struct guest_spec *ret, const char *name)
{
    *ret = (struct guest_spec){
        .kind = KIND_CELL,
        .n_cores = 1,
        .memory_mib = 64,
        .priority = 100,
        .restart = RESTART_ALWAYS,
        .failover = FAILOVER_RESTART,
        .n_argv = 1,
        .argv = calloc(1, sizeof(char *)),
    };
    snprintf(ret->name, sizeof(ret->name), "%s", name);
    strcpy(ret->image, "web");
    assert(ret->argv != NULL);
    ret->argv[0] = strdup("/bin/server");
}

void world_create(struct world *w, const char *name, enum restart_policy restart)
{
    struct command command = {.type = COMMAND_GUEST_CREATE};
    struct guest_spec *spec = &command.guest_create.spec;

    world_spec(spec, name);
    strcpy(spec->slice, "red");
    if (w->kind != 0)
        spec->kind = w->kind;
    if (w->kind == KIND_VM) { /* its image says what it runs */
        free(spec->argv[0]);
        spec->n_argv = 0;
    }
    spec->restart = restart;
    spec->failover = w->protect_ms != 0 ? FAILOVER_RESTORE : FAILOVER_RESTART;
    spec->protect_ms = w->protect_ms;
    spec->health = w->health;
    world_ask(w, &command);
}

void world_by_name(struct world *w, enum command_type type, const char *name)
{
    struct command command = {.type = type};

    snprintf(command.by_name.name, sizeof(command.by_name.name), "%s", name);
    world_ask(w, &command);
}

void world_migrate(struct world *w, const char *name, unsigned to)
{
    struct command command = {.type = COMMAND_MIGRATION_RESERVE};

    snprintf(command.migration_reserve.guest, NAME_SIZE, "%s", name);
    command.migration_reserve.target.node = to != 0 ? w->nodes[to].id : 0;
    command.migration_reserve.terms = MOVE_TERMS_DEFAULT;
    world_ask(w, &command);
}

void world_end_stream(struct world *w, int code)
{
    const struct migration *m = &world_state(w)->migrations[0];
    struct core_event ended = {.type = CORE_STREAM_ENDED, .migration = m->id, .code = code};

    for (unsigned i = 1; i <= w->n; i++) {
        if (w->nodes[i].id == m->from)
            world_step(w, i, &ended);
    }
}

void world_end_guest(struct world *w, unsigned i, const char *name, int32_t status)
{
    struct world_guard *g = &w->nodes[i].guard;
    struct guard_report *copy = world_guard_copy(g, name);
    struct core_event list = {.type = CORE_GUARD_LIST};

    if (copy == NULL)
        return;
    copy->state = GUEST_EXITED;
    copy->exit_status = status;
    copy->pid = 0;
    list.n_reports = g->n_guests;
    list.reports = g->guests;
    world_step(w, i, &list);
}

void world_end_target(struct world *w, unsigned i, const char *name)
{
    struct world_guard *g = &w->nodes[i].guard;
    struct guard_report *copy = world_guard_copy(g, name);
    struct core_event list = {.type = CORE_GUARD_LIST};

    if (copy == NULL)
        return;
    *copy = g->guests[--g->n_guests];
    list.n_reports = g->n_guests;
    list.reports = g->guests;
    world_step(w, i, &list);
}

unsigned world_n_running(const struct world *w, const char *name, unsigned *ret_node)
{
    unsigned n = 0;

    for (unsigned i = 1; i <= w->n; i++) {
        const struct guard_report *copy = w->nodes[i].up ? world_copy(w, i, name) : NULL;

        if (copy == NULL || copy->state != GUEST_RUNNING)
            continue;
        n++;
        if (ret_node != NULL)
            *ret_node = i;
    }
    return n;
}

const struct state *world_state(const struct world *w)
{
    return core_state(w->nodes[w->leader].core);
}
