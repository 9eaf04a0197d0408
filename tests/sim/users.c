/* users: random requests to random nodes, repeated with the same id when the answer leaves that
 * open, and a check that what they are told is true; see sim.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

enum { MAX_ATTEMPTS = 8 }; /* ticket = request * MAX_ATTEMPTS + attempt */
enum { PROTECT_PERIOD_MS = 1000 };

struct attempt {
    uint8_t node;
    uint32_t core_run;
    bool is_answered;
    bool was_done; /* when it was sent, the log had spoken already */
};

struct request {
    enum command_type type;
    int guest, target, image;
    uint32_t n_cores, memory_mib, priority;
    enum restart_policy restart;
    enum failover_policy failover;
    enum preempt_policy preempt;
    bool has_slice, is_bound, flag, no_wait;
    uint32_t n_attempts, n_refused_early;
    struct attempt attempts[MAX_ATTEMPTS];
    /* what the log said */
    bool is_applied;
    struct outcome outcome;
};

struct users {
    size_t n, capacity;
    struct request *requests;
};

void users_setup(struct sim *sim)
{
    sim->users = calloc(1, sizeof(*sim->users));
    if (sim->users == NULL)
        abort();
    if (sim->options->script == NULL)
        sim_push(sim, sim_event(EV_USER, NULL, ACTOR_NONE), 900 * MS);
}

void users_free(struct sim *sim)
{
    if (sim->users != NULL)
        free(sim->users->requests);
    free(sim->users);
}

/* ---- request ids: the number of the request, marked as a user's */

static void id_of(uint64_t number, uint8_t ret[NONCE_SIZE])
{
    memset(ret, 0xa5, NONCE_SIZE);
    memcpy(ret, &number, sizeof(number));
}

static struct request *request_of_id(struct sim *sim, const uint8_t id[NONCE_SIZE])
{
    uint8_t expected[NONCE_SIZE];
    uint64_t number;

    memcpy(&number, id, sizeof(number));
    id_of(number, expected);
    if (number >= sim->users->n || memcmp(id, expected, NONCE_SIZE) != 0)
        return NULL;
    return &sim->users->requests[number];
}

/* ---- what is asked for */

static enum command_type draw_type(struct sim *sim)
{
    static const struct {
        enum command_type type;
        uint32_t weight;
    } choices[] = {
        {COMMAND_GUEST_CREATE, 24}, {COMMAND_GUEST_STOP, 9},         {COMMAND_GUEST_START, 12},
        {COMMAND_GUEST_REMOVE, 6},  {COMMAND_MIGRATION_RESERVE, 34}, {COMMAND_NODE_CORDON, 6},
        {COMMAND_SLICE_CREATE, 2},  {COMMAND_TOKEN_CREATE, 2},       {COMMAND_IMAGE_ADD, 3},
        {COMMAND_NODE_DRAIN, 5},
    };
    uint32_t sum = 0, at;
    size_t i;

    for (i = 0; i < sizeof(choices) / sizeof(choices[0]); i++)
        sum += choices[i].weight;
    at = sim_below(sim, sum);
    for (i = 0; at >= choices[i].weight; i++)
        at -= choices[i].weight;
    return choices[i].type;
}

static struct request *add_request(struct sim *sim)
{
    struct users *users = sim->users;

    if (users->n == users->capacity) {
        users->capacity = users->capacity == 0 ? 128 : users->capacity * 2;
        users->requests = realloc(users->requests, users->capacity * sizeof(*users->requests));
        if (users->requests == NULL)
            abort();
    }
    return &users->requests[users->n++];
}

static struct request *new_request(struct sim *sim)
{
    struct request *r = add_request(sim);

    *r = (struct request){
        .type = draw_type(sim),
        .guest = (int)sim_below(sim, SIM_GUESTS),
        .target = sim_chance(sim, 500) ? (int)sim_below(sim, sim->n) : -1,
        .image = 1 + (int)sim_below(sim, SIM_IMAGES - 1),
        .n_cores = sim_below(sim, 3),
        .memory_mib = 32 + sim_below(sim, 128),
        .priority = 50 + sim_below(sim, 100),
        .restart = sim_chance(sim, 800) ? RESTART_ALWAYS : 1 + sim_below(sim, 3),
        .failover = sim_chance(sim, 750)   ? FAILOVER_RESTART
                    : sim_chance(sim, 500) ? FAILOVER_RESTORE
                                           : FAILOVER_STAY,
        .preempt = sim_chance(sim, 300) ? PREEMPT_ON : PREEMPT_BY_CLUSTER,
        .has_slice = sim_chance(sim, 500),
        .is_bound = sim_chance(sim, 60),
        .flag = sim_chance(sim, 300),
        .no_wait = sim_chance(sim, 400),
    };
    return r;
}

static char *text(const char *words)
{
    char *copy = strdup(words);

    if (copy == NULL)
        abort();
    return copy;
}

static void fill_spec(const struct request *r, struct guest_spec *spec)
{
    sim_guest_name(r->guest, spec->name);
    spec->kind = KIND_CELL;
    strcpy(spec->image, "web");
    strcpy(spec->slice, r->has_slice ? "red" : "");
    spec->n_cores = r->n_cores;
    spec->memory_mib = r->memory_mib;
    spec->priority = r->priority;
    spec->restart = r->restart;
    spec->failover = r->failover;
    spec->protect_ms = r->failover == FAILOVER_RESTORE ? PROTECT_PERIOD_MS : 0;
    spec->preempt = r->preempt;
    if (r->is_bound && r->failover != FAILOVER_RESTORE)
        snprintf(spec->on, sizeof(spec->on), "n%d", r->target >= 0 ? r->target + 1 : 1);
    spec->argv = calloc(1, sizeof(*spec->argv));
    if (spec->argv == NULL)
        abort();
    spec->argv[0] = text("server");
    spec->n_argv = 1;
}

static void fill(struct sim *sim, const struct request *r, uint64_t number, struct command *c)
{
    c->type = r->type;
    switch (r->type) {
    case COMMAND_GUEST_CREATE:
        fill_spec(r, &c->guest_create.spec);
        break;
    case COMMAND_GUEST_START:
        sim_guest_name(r->guest, c->guest_place.name);
        break;
    case COMMAND_GUEST_STOP:
    case COMMAND_GUEST_REMOVE:
        sim_guest_name(r->guest, c->by_name.name);
        break;
    case COMMAND_MIGRATION_RESERVE:
        sim_guest_name(r->guest, c->migration_reserve.guest);
        c->migration_reserve.terms = MOVE_TERMS_DEFAULT;
        c->migration_reserve.target.node = r->target >= 0 ? sim->nodes[r->target].id : 0;
        break;
    case COMMAND_NODE_DRAIN:
        c->node_flag.drain_ms = r->has_slice ? 10 * r->memory_mib : 0;
        /* fall through */
    case COMMAND_NODE_CORDON:
        snprintf(c->node_flag.name, NAME_SIZE, "n%d", r->guest % (int)sim->n + 1);
        c->node_flag.flag = r->flag;
        break;
    case COMMAND_SLICE_CREATE:
        snprintf(c->slice_create.slice.name, NAME_SIZE, "s%d", r->guest);
        c->slice_create.slice.subnet.network = 0x0a100000 + ((uint32_t)number << 8);
        c->slice_create.slice.subnet.prefix = 24;
        break;
    case COMMAND_TOKEN_CREATE:
        memcpy(c->token_create.token.hash, &number, sizeof(number));
        c->token_create.token.hash[31] = 1;
        c->token_create.token.expires_s = c->time_s + 60;
        c->token_create.token.uses_left = 1;
        break;
    case COMMAND_IMAGE_ADD:
        snprintf(c->image_add.image.name, NAME_SIZE, "i%d", r->image);
        image_digest((unsigned)r->image, c->image_add.image.digest);
        c->image_add.image.format = IMAGE_TAR;
        c->image_add.image.size = 1000;
        break;
    default:
        abort();
    }
}

bool users_command(struct sim *sim, uint64_t ticket, struct command *ret, bool *ret_no_wait)
{
    uint64_t number = ticket / MAX_ATTEMPTS;
    const struct request *r = &sim->users->requests[number];

    memset(ret, 0, sizeof(*ret));
    id_of(number, ret->request);
    ret->time_s = SIM_WALL_START_S + sim->now / 1000000;
    *ret_no_wait = r->no_wait;
    fill(sim, r, number, ret);
    return true;
}

/* ---- asking */

static void send_later(struct sim *sim, uint64_t number, unsigned node, uint64_t delay)
{
    struct request *r = &sim->users->requests[number];
    struct event event = sim_event(EV_USER_SEND, &sim->nodes[node], ACTOR_NONE);

    if (r->n_attempts == MAX_ATTEMPTS)
        return;
    event.a = number * MAX_ATTEMPTS + r->n_attempts++;
    r->attempts[event.a % MAX_ATTEMPTS] = (struct attempt){.node = (uint8_t)node};
    if (event.a % MAX_ATTEMPTS != 0)
        sim_count(sim, COUNT_RETRY);
    sim_push(sim, event, delay);
}

void users_ask(struct sim *sim, enum command_type type, int guest, int target, unsigned node)
{
    *add_request(sim) = (struct request){
        .type = type,
        .guest = guest,
        .target = target,
        .n_cores = 1,
        .memory_mib = 64,
        .priority = 100,
        .restart = RESTART_ALWAYS,
        .failover = FAILOVER_RESTART,
        .has_slice = true,
    };
    send_later(sim, sim->users->n - 1, node, 0);
}

static void ask(struct sim *sim, const struct event *event)
{
    struct request *r = &sim->users->requests[event->a / MAX_ATTEMPTS];
    struct attempt *attempt = &r->attempts[event->a % MAX_ATTEMPTS];
    struct sim_node *node = &sim->nodes[event->node];
    struct event out;

    attempt->core_run = node->actors[ACTOR_CORE].run;
    attempt->was_done = r->is_applied;
    if (r->type == COMMAND_IMAGE_ADD && event->a % MAX_ATTEMPTS == 0) {
        out = sim_event(EV_IMAGE, node, ACTOR_CORE);
        out.a = (uint64_t)r->image;
        sim_push(sim, out, 1);
    }
    out = sim_event(EV_REQUEST, node, ACTOR_CORE);
    out.a = event->a;
    sim_push(sim, out, 2);
    out = sim_event(EV_USER_LIMIT, node, ACTOR_NONE);
    out.a = event->a;
    sim_push(sim, out, sim_between(sim, 2000 * MS, 12000 * MS));
}

static void give_up(struct sim *sim, const struct event *event)
{
    struct request *r = &sim->users->requests[event->a / MAX_ATTEMPTS];
    struct attempt *attempt = &r->attempts[event->a % MAX_ATTEMPTS];
    struct event gone = sim_event(EV_REQUEST_GONE, &sim->nodes[attempt->node], ACTOR_CORE);

    if (attempt->is_answered)
        return;
    attempt->is_answered = true;
    sim_count(sim, COUNT_CLIENT_GONE);
    gone.run = attempt->core_run;
    gone.a = event->a;
    sim_push(sim, gone, 1);
    if (!sim->is_calm && sim_chance(sim, 600))
        send_later(sim, event->a / MAX_ATTEMPTS, sim_below(sim, sim->n), 50 * MS);
}

void users_handle(struct sim *sim, struct event *event)
{
    switch ((enum event_kind)event->kind) {
    case EV_USER:
        if (sim->is_calm)
            return;
        new_request(sim);
        send_later(sim, sim->users->n - 1, sim_below(sim, sim->n), 0);
        sim_push(sim, *event, sim_between(sim, 1, 2 * sim->user_ms) * MS);
        break;
    case EV_USER_SEND:
        ask(sim, event);
        break;
    default:
        give_up(sim, event);
    }
}

/* ---- answers */

static const char *kind_name(enum answer_kind kind)
{
    static const char *const names[] = {
        [ANSWER_DONE] = "done",
        [ANSWER_REFUSED] = "refused",
        [ANSWER_INVALID] = "invalid",
        [ANSWER_NO_PLACE] = "no place",
        [ANSWER_NOT_NOW] = "not now",
        [ANSWER_NOT_LEADER] = "not the leader",
        [ANSWER_LEADER_LOST] = "leader lost",
    };

    return names[kind];
}

static void wrong(struct sim *sim, const struct request *r, const struct answer *a, const char *why)
{
    sim_fail(sim, "user was told '%s %s' about %s g%d at index %llu, but %s", kind_name(a->kind),
             a->text, command_type_name(r->type), r->guest, (unsigned long long)a->index, why);
}

static void check_done(struct sim *sim, const struct request *r, const struct answer *a)
{
    char name[NAME_SIZE];
    const struct guest *guest;

    sim_guest_name(r->guest, name);
    guest = state_guest(oracle_state(sim), name);
    if (!r->is_applied)
        wrong(sim, r, a, "the log never said so");
    else if (r->outcome.code != 0)
        wrong(sim, r, a, "the log refused it");
    else if (r->outcome.index != a->index)
        wrong(sim, r, a, "the log did it at another index");
    else if (r->no_wait)
        return;
    else if ((r->type == COMMAND_GUEST_CREATE || r->type == COMMAND_GUEST_START) &&
             a->text[0] == '\0' && sim->ran[r->guest] < a->index)
        wrong(sim, r, a, "it never ran");
    else if (r->type == COMMAND_GUEST_STOP && guest != NULL && guest->desired == DESIRED_STOPPED &&
             guest->placement.node != 0 && guest->placement.epoch < a->index)
        wrong(sim, r, a, "it has not stopped");
    else if (r->type == COMMAND_MIGRATION_RESERVE && oracle_move_end(sim, a->id) != MOVE_DONE)
        wrong(sim, r, a, "the migration was not done");
}

static void check_refused(struct sim *sim, struct request *r, const struct answer *a)
{
    if (a->index == 0) {
        r->n_refused_early++;
        return;
    }
    if (!r->is_applied || r->outcome.index != a->index)
        wrong(sim, r, a, "the log never said so");
    else if (r->outcome.code == 0 && r->type == COMMAND_MIGRATION_RESERVE &&
             oracle_move_end(sim, a->id) == MOVE_DONE)
        wrong(sim, r, a, "the migration was done");
}

static void count_answer(struct sim *sim, const struct answer *a)
{
    static const enum count counts[] = {
        [ANSWER_DONE] = COUNT_ANSWER_DONE,
        [ANSWER_REFUSED] = COUNT_ANSWER_REFUSED,
        [ANSWER_INVALID] = COUNT_ANSWER_REFUSED,
        [ANSWER_NO_PLACE] = COUNT_ANSWER_NO_PLACE,
        [ANSWER_NOT_NOW] = COUNT_ANSWER_NOT_NOW,
        [ANSWER_NOT_LEADER] = COUNT_ANSWER_NOT_LEADER,
        [ANSWER_LEADER_LOST] = COUNT_ANSWER_LEADER_LOST,
    };

    sim_count(sim, counts[a->kind]);
}

/* Elsewhere, or at the leader that the answer names. */
static void repeat(struct sim *sim, uint64_t number, const struct answer *a)
{
    const struct sim_node *leader =
        a->kind == ANSWER_NOT_LEADER ? sim_node_of(sim, a->leader) : NULL;
    unsigned node = leader != NULL ? leader->at : sim_below(sim, sim->n);

    if (leader != NULL)
        send_later(sim, number, node, sim_between(sim, MS, 10 * MS));
    else if (!sim->is_calm && sim_chance(sim, 700))
        send_later(sim, number, node, sim_between(sim, 20 * MS, 800 * MS));
}

void users_answer(struct sim *sim, struct sim_node *node, uint64_t ticket, const struct answer *a)
{
    uint64_t number = ticket / MAX_ATTEMPTS;
    struct request *r = &sim->users->requests[number];
    struct attempt *attempt = &r->attempts[ticket % MAX_ATTEMPTS];

    count_answer(sim, a);
    sim_trace(sim, node, "answers %s g%d: %s%s%s", command_type_name(r->type), r->guest,
              kind_name(a->kind), a->text[0] != '\0' ? ": " : "", a->text);
    if (attempt->is_answered) /* its client may be gone */
        return;
    attempt->is_answered = true;
    if (attempt->was_done && a->kind == ANSWER_DONE)
        sim_count(sim, COUNT_RETRY_OF_DONE);
    switch (a->kind) {
    case ANSWER_DONE:
        check_done(sim, r, a);
        break;
    case ANSWER_REFUSED:
    case ANSWER_INVALID:
    case ANSWER_NO_PLACE:
        check_refused(sim, r, a);
        break;
    case ANSWER_NOT_NOW:
    case ANSWER_NOT_LEADER:
    case ANSWER_LEADER_LOST:
        if (a->kind == ANSWER_NOT_LEADER)
            r->n_refused_early++;
        repeat(sim, number, a);
        break;
    }
}

void users_outcome(struct sim *sim, const uint8_t id[NONCE_SIZE], const struct outcome *outcome)
{
    struct request *r = request_of_id(sim, id);

    if (r == NULL)
        return;
    if (!r->is_applied) {
        r->is_applied = true;
        r->outcome = *outcome;
    } else if (r->outcome.index != outcome->index || r->outcome.code != outcome->code) {
        sim_fail(sim, "a repeated %s g%d was done again at index %llu after %llu",
                 command_type_name(r->type), r->guest, (unsigned long long)outcome->index,
                 (unsigned long long)r->outcome.index);
    }
}

void users_check_end(struct sim *sim)
{
    for (size_t i = 0; i < sim->users->n; i++) {
        const struct request *r = &sim->users->requests[i];

        if (r->is_applied && r->outcome.code == 0 && r->n_attempts == r->n_refused_early)
            sim_fail(sim, "%s g%d was done at index %llu, but every answer refused it",
                     command_type_name(r->type), r->guest, (unsigned long long)r->outcome.index);
    }
}
