/* node: the shell around one core, as skeind is: carries out its actions, brings it its events; and
 * a board's power. See sim.h. */
#include "tests/sim/sim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_AT_ONCE = 30 }; /* turns; what one part has for the other takes a few */

void image_digest(unsigned image, uint8_t ret[DIGEST_SIZE])
{
    memset(ret, 0, DIGEST_SIZE);
    ret[0] = (uint8_t)(image + 1);
}

static int image_of(const uint8_t digest[DIGEST_SIZE])
{
    return digest[0] >= 1 && digest[0] <= SIM_IMAGES ? digest[0] - 1 : -1;
}

/* ---- time */

/* A core that asks for its next turn at once, again and again, would take a processor for itself.
 */
static void check_rest(struct sim *sim, struct sim_node *node, bool is_at_once)
{
    node->n_at_once = is_at_once ? node->n_at_once + 1 : 0;
    if (node->n_at_once > MAX_AT_ONCE)
        sim_fail(sim, "n%u never rests: %u turns at once", node->at + 1, node->n_at_once);
}

void node_arm_tick(struct sim *sim, struct sim_node *node)
{
    uint64_t deadline = core_next_deadline(node->core), at;

    if (deadline == UINT64_MAX)
        return;
    at = node_sim_time(node, deadline);
    check_rest(sim, node, at <= sim->now);
    if (at <= sim->now)
        at = sim->now + 5;
    if (node->tick_us > sim->now && node->tick_us <= at)
        return; /* looks again then */
    node->tick_us = at;
    sim_push(sim, sim_event(EV_TICK, node, ACTOR_CORE), at - sim->now);
}

/* ---- actions */

static void send_peer(struct sim *sim, struct sim_node *node, struct core_action *action)
{
    struct sim_node *to = sim_node_of(sim, action->to);
    struct event event = {.kind = EV_PEER, .actor = ACTOR_CORE, .dispose = free};

    if (to == NULL)
        return;
    event.data = action->data;
    event.b = action->size;
    action->data = NULL;
    net_send(sim, node, to, &event);
}

static void fetch_image(struct sim *sim, struct sim_node *node, const struct core_action *action)
{
    struct event event = sim_event(EV_IMAGE, node, ACTOR_CORE);
    int image = image_of(action->digest);
    bool is_there = false;

    for (unsigned i = 0; image >= 0 && i < sim->n; i++) {
        const struct sim_node *other = &sim->nodes[i];

        is_there = is_there || (i != node->at && other->actors[ACTOR_CORE].up &&
                                (other->images & 1u << image) != 0 &&
                                !sim->links[i][node->at].is_cut && !sim->links[node->at][i].is_cut);
    }
    event.a = (uint64_t)image;
    if (!is_there || (!sim->is_calm && sim_chance(sim, 100))) {
        event.b = (uint64_t)(int64_t)-EHOSTUNREACH;
        sim_count(sim, COUNT_FETCH_FAILED);
    }
    sim_push(sim, event, sim_between(sim, 5 * MS, 200 * MS));
}

static void record(struct sim *sim, struct sim_node *node, const struct core_record *record)
{
    sim_trace(sim, node, "%s%s%s %s", record->what, record->guest[0] != '\0' ? " " : "",
              record->guest, record->text);
}

static void carry_out(struct sim *sim, struct sim_node *node, struct core_action *action)
{
    int image;

    switch (action->type) {
    case CORE_SEND:
        send_peer(sim, node, action);
        break;
    case CORE_PROPOSE:
        aims_at_proposal(sim, node, action);
        raft_propose(sim, node, action);
        break;
    case CORE_WANT_STAMP:
        guard_want_stamp(sim, node);
        break;
    case CORE_ACK_GUARD:
        guard_take_ack(sim, node, action->ack);
        action->ack = NULL;
        break;
    case CORE_ASK_GUARD:
        if (action->guard->op == GUARD_CAPTURE || action->guard->op == GUARD_RECEIVE)
            move_ask(sim, node, action);
        else
            guard_ask(sim, node, action->guard);
        action->guard = NULL;
        break;
    case CORE_MEMBERSHIP:
        raft_membership(sim, node, action);
        break;
    case CORE_RESPOND:
        users_answer(sim, node, action->ticket, action->answer);
        break;
    case CORE_FETCH_IMAGE:
        fetch_image(sim, node, action);
        break;
    case CORE_DROP_IMAGE:
        image = image_of(action->digest);
        if (image >= 0)
            node->images &= ~(1u << image);
        break;
    case CORE_EVENT:
        record(sim, node, action->record);
        break;
    case CORE_STOP:
        sim_fail(sim, "n%u was told that it was removed", node->at + 1);
        break;
    case CORE_END_STREAM:
        move_end(sim, node, action->migration);
        break;
    case CORE_SET_STREAM:
    case CORE_PACE:
    case CORE_PROGRESS:
    case CORE_MEMBERS:
    case CORE_KEEP_CHECKPOINTS:
        break;
    }
}

static void step(struct sim *sim, struct sim_node *node, struct core_event *event)
{
    event->wall_s = SIM_WALL_START_S + sim->now / 1000000;
    core_step(node->core, event, node_clock(sim, node), &sim->actions);
    for (size_t i = 0; i < sim->actions.n; i++)
        carry_out(sim, node, &sim->actions.list[i]);
    core_actions_clear(&sim->actions);
    if (core_state(node->core)->index != node->seen_index) {
        node->seen_index = core_state(node->core)->index;
        oracle_applied(sim, node);
        raft_snapshot_if_due(sim, node);
    }
    node_arm_tick(sim, node);
}

/* ---- events */

static void tick(struct sim *sim, struct sim_node *node, const struct event *event)
{
    struct core_event out = {.type = CORE_TICK};

    if (event->at != node->tick_us && node->tick_us > sim->now)
        return; /* another one is on its way */
    node->tick_us = 0;
    if (core_next_deadline(node->core) <= node_clock(sim, node))
        step(sim, node, &out);
    else
        node_arm_tick(sim, node);
}

static void peer(struct sim *sim, struct sim_node *node, struct event *event)
{
    struct core_event out = {.type = CORE_PEER_MESSAGE,
                             .from = sim->nodes[event->from].id,
                             .data = event->data,
                             .size = event->b};

    if (net_arrives(sim, event))
        step(sim, node, &out);
}

static void stamp(struct sim *sim, struct sim_node *node, const struct event *event)
{
    struct core_event out = {.type = CORE_STAMP, .published_term = node->published_term};

    if (!node->is_connected)
        return;
    memcpy(out.stamp.boot_nonce, node->guard.boot_nonce, NONCE_SIZE);
    out.stamp.run = (uint32_t)event->a;
    out.stamp.sequence = event->b;
    step(sim, node, &out);
}

static void guard_said(struct sim *sim, struct sim_node *node, const struct event *event)
{
    struct guard_reply *reply = event->data;
    struct core_event out = {.type = CORE_GUARD_DONE, .serial = reply->serial, .reply = reply};

    if (reply->op == GUARD_SEND)
        memcpy(out.digest, &reply->bytes, sizeof(reply->bytes));
    if (event->a == 1 && reply->event == GUARD_EVENT_LIST)
        out = (struct core_event){
            .type = CORE_GUARD_LIST, .n_reports = reply->n_reports, .reports = reply->reports};
    else if (event->a == 1)
        out = (struct core_event){.type = CORE_GUARD_LEASE,
                                  .lapsed = reply->event == GUARD_EVENT_LAPSED};
    step(sim, node, &out);
}

static void configuration(struct sim *sim, struct sim_node *node, const struct event *event)
{
    struct core_member members[SIM_MAX_NODES];
    struct core_event out = {.type = CORE_CONFIGURATION, .members = members};

    for (unsigned i = 0; i < sim->n; i++) {
        enum raft_role role = event->a >> (8 * i) & 0xff;

        if (role != 0)
            members[out.n_members++] = (struct core_member){sim->nodes[i].id, role};
    }
    step(sim, node, &out);
}

static void request(struct sim *sim, struct sim_node *node, const struct event *event)
{
    struct command command = {0};
    struct core_event out = {.type = CORE_REQUEST, .ticket = event->a, .command = &command};

    if (users_command(sim, event->a, &command, &out.no_wait))
        step(sim, node, &out);
    command_deinit(&command);
}

static void image(struct sim *sim, struct sim_node *node, const struct event *event)
{
    struct core_event out = {.type = event->b == 0 ? CORE_IMAGE_HELD : CORE_IMAGE_FAILED,
                             .code = (int)(int64_t)event->b};

    image_digest((unsigned)event->a, out.digest);
    if (event->b == 0)
        node->images |= 1u << event->a;
    step(sim, node, &out);
}

static void connected(struct sim *sim, struct sim_node *node)
{
    struct core_event out = {.type = CORE_GUARD_HELLO};

    if (!node->actors[ACTOR_GUARD].up || node->is_connected)
        return;
    if (actor_is_stalled(sim, node, ACTOR_GUARD)) {
        node_connect(sim, node);
        return;
    }
    node->is_connected = true;
    node->connected_run = node->guard.run;
    guard_hello(node, &out.hello);
    step(sim, node, &out);
}

static void log_event(struct sim *sim, struct sim_node *node, const struct event *event)
{
    const struct raft_entry *entry = event->data;
    const struct raft_snapshot *snapshot = event->data;
    struct core_event out = {.type = CORE_COMMITTED, .index = event->a};

    if (event->kind == EV_COMMITTED) {
        out.term = entry->term;
        out.data = entry->data;
        out.size = entry->size;
    } else {
        out = (struct core_event){.type = CORE_RESTORED,
                                  .index = snapshot->index,
                                  .term = snapshot->term,
                                  .data = snapshot->data,
                                  .size = snapshot->size};
    }
    step(sim, node, &out);
}

void node_handle(struct sim *sim, struct sim_node *node, struct event *event)
{
    struct core_event out = {.type = CORE_TICK};

    switch ((enum event_kind)event->kind) {
    case EV_TICK:
        tick(sim, node, event);
        break;
    case EV_PEER:
        peer(sim, node, event);
        break;
    case EV_CONNECT:
        connected(sim, node);
        break;
    case EV_GUARD_GONE:
        node->is_connected = false;
        out.type = CORE_GUARD_LOST;
        step(sim, node, &out);
        node_connect(sim, node);
        break;
    case EV_STAMP:
        stamp(sim, node, event);
        break;
    case EV_GUARD_REPLY:
        guard_said(sim, node, event);
        break;
    case EV_COMMITTED:
    case EV_RESTORED:
        log_event(sim, node, event);
        break;
    case EV_ROLE:
        step(sim, node, event->data);
        break;
    case EV_CONFIGURATION:
        configuration(sim, node, event);
        break;
    case EV_PROPOSE_FAILED:
        out.type = CORE_PROPOSE_FAILED;
        out.code = (int)(int64_t)event->b;
        memcpy(out.request, event->data, NONCE_SIZE);
        step(sim, node, &out);
        break;
    case EV_MEMBERSHIP_DONE:
        out.type = CORE_MEMBERSHIP_DONE;
        out.serial = (uint32_t)event->a;
        out.code = (int)(int64_t)event->b;
        step(sim, node, &out);
        break;
    case EV_REQUEST:
        request(sim, node, event);
        break;
    case EV_REQUEST_GONE:
        out.type = CORE_REQUEST_GONE;
        out.ticket = event->a;
        step(sim, node, &out);
        break;
    case EV_IMAGE:
        image(sim, node, event);
        break;
    case EV_STREAM:
        move_stream(sim, node, event);
        break;
    case EV_STREAM_SILENT:
        out.type = CORE_STREAM_ENDED;
        out.migration = event->a;
        out.code = -ETIMEDOUT;
        step(sim, node, &out);
        break;
    case EV_STREAM_LIMIT:
        move_stream_limit(sim, node, event);
        break;
    default:
        abort();
    }
}

/* ---- life */

void node_connect(struct sim *sim, struct sim_node *node)
{
    if (node->actors[ACTOR_CORE].up && node->actors[ACTOR_GUARD].up)
        sim_push(sim, sim_event(EV_CONNECT, node, ACTOR_CORE), sim_between(sim, MS / 2, 8 * MS));
}

void skeind_start(struct sim *sim, struct sim_node *node)
{
    uint64_t hints[SIM_MAX_NODES];
    struct core_config config = {
        .id = node->id,
        .timers = *timers_of_profile("default"),
        .facts = node->facts,
        .max_voters = sim->max_voters,
        .n_hints = sim->n,
        .hints = hints,
    };
    struct err err = {0};

    for (unsigned i = 0; i < sim->n; i++)
        hints[i] = sim->nodes[i].id;
    prng_bytes(&sim->prng, config.salt, sizeof(config.salt));
    if (core_new(&config, &node->core, &err) < 0)
        abort();
    net_note(sim, node->at);
    actor_start(&node->actors[ACTOR_CORE]);
    node->tick_us = 0;
    node->seen_index = 0;
    node->is_connected = false;
    sim_trace(sim, node, "skeind starts");
    raft_start(sim, node);
    node_connect(sim, node);
    for (unsigned i = 0; i < SIM_IMAGES; i++) {
        struct event event = sim_event(EV_IMAGE, node, ACTOR_CORE);

        event.a = i;
        if ((node->images & 1u << i) != 0)
            sim_push(sim, event, sim_between(sim, 1 * MS, 50 * MS));
    }
}

void skeind_crash(struct sim *sim, struct sim_node *node)
{
    if (!node->actors[ACTOR_CORE].up)
        return;
    net_note(sim, node->at);
    node->crashed_us = sim->now;
    node->handover_us = 0;
    raft_stop(sim, node);
    actor_stop(&node->actors[ACTOR_CORE]);
    node->is_connected = false;
    move_break(sim, node);
    core_free(node->core);
    node->core = NULL;
}

void node_power_on(struct sim *sim, struct sim_node *node)
{
    struct event event = sim_event(EV_BOOT, node, ACTOR_NONE);

    node->is_on = true;
    node->boot_us = sim->now;
    node->boot_offset_us = sim_between(sim, MS, 9000 * MS);
    memset(node->guard.copies, 0, sizeof(node->guard.copies));
    node->guard.is_frozen = false;
    node->guard.run = 0;
    prng_bytes(&sim->prng, node->guard.boot_nonce, NONCE_SIZE);
    sim_trace(sim, node, "power on");
    event.a = ACTOR_GUARD;
    sim_push(sim, event, sim_between(sim, MS, 60 * MS));
    event.a = ACTOR_CORE;
    sim_push(sim, event, sim_between(sim, MS, 150 * MS));
}

void node_power_off(struct sim *sim, struct sim_node *node)
{
    sim_trace(sim, node, "power off");
    skeind_crash(sim, node);
    guard_stop(sim, node);
    node->is_on = false;
}
