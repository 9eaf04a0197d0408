/* request: wishes of users, from the request to its answer; see core/internal.h.
 *
 * A wish is completed (placements, epochs), proposed, and answered when its effect is there: not
 * when it is written down but when the guest runs, the image is everywhere, the move is over.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/image_defaults.h"
#include "agent/core/internal.h"

/* ---- answers */

struct answer *core_answer_new(enum answer_kind kind)
{
    struct answer *answer = calloc(1, sizeof(*answer));

    if (answer == NULL)
        abort();
    answer->kind = kind;
    return answer;
}

void core_respond(struct core *core, uint64_t ticket, struct answer *answer)
{
    struct core_action *action = core_act(core, CORE_RESPOND);

    action->ticket = ticket;
    action->answer = answer;
}

void core_refuse(struct core *core, uint64_t ticket, enum answer_kind kind, const char *text)
{
    struct answer *answer = core_answer_new(kind);

    snprintf(answer->text, sizeof(answer->text), "%s", text);
    answer->leader = core->raft_leads ? core->config.id : core->raft_leader;
    core_respond(core, ticket, answer);
}

void core_wish_remove(struct core *core, struct wish *wish)
{
    struct leader_part *lead = &core->lead;

    if (wish->command != NULL)
        command_deinit(wish->command);
    free(wish->command);
    core_take_out(lead->wishes, &lead->n_wishes, sizeof(*wish), (size_t)(wish - lead->wishes));
}

void core_end_wish(struct core *core, struct wish *wish, enum answer_kind kind, const char *text)
{
    struct answer *answer = core_answer_new(kind);
    const struct guest *guest = state_guest(&core->state, wish->name);

    snprintf(answer->text, sizeof(answer->text), "%s", text);
    answer->index = wish->outcome.index;
    answer->id = wish->outcome.id;
    answer->leader = core->raft_leads ? core->config.id : core->raft_leader;
    if (wish->type >= COMMAND_GUEST_CREATE && guest != NULL)
        answer->node = guest->placement.node;
    if (wish->type == COMMAND_MIGRATION_RESERVE)
        answer->from = wish->from;
    core_respond(core, wish->ticket, answer);
    core_wish_remove(core, wish);
}

struct wish *core_wish_of(struct core *core, uint64_t ticket)
{
    for (size_t i = 0; i < core->lead.n_wishes; i++) {
        if (core->lead.wishes[i].ticket == ticket)
            return &core->lead.wishes[i];
    }
    return NULL;
}

/* ---- completing the command */

static bool refuse_placing(struct core *core, uint64_t ticket, int code, const struct err *err,
                           const char *words)
{
    char text[1024];

    if (code == 0)
        return false;
    if (code == -ENOSPC)
        snprintf(text, sizeof(text), "no node can take it: %s",
                 words != NULL ? words : "the cluster has no node");
    core_refuse(core, ticket, code == -ENOSPC ? ANSWER_NO_PLACE : ANSWER_REFUSED,
                code == -ENOSPC ? text : err->text);
    return true;
}

/* Places the guest, or leaves it without a place when others can give way to it; false when the
 * ticket is answered. */
static bool place_wish(struct core *core, uint64_t ticket, const struct guest_spec *spec,
                       uint64_t move_from, struct placement *ret)
{
    struct err err = {0};
    char *words = NULL;
    int code = core_place(core, spec, move_from, ret, &words, &err);
    bool refused;

    if (code == -ENOSPC && move_from == 0 && core_may_wait(core, spec)) {
        *ret = (struct placement){0};
        code = 0;
    }
    refused = refuse_placing(core, ticket, code, &err, words);

    free(words);
    return !refused;
}

static bool complete_create(struct core *core, uint64_t ticket, struct command *command)
{
    struct guest_spec *spec = &command->guest_create.spec;
    const struct image *image = state_image(&core->state, spec->image);
    char text[REASON_SIZE];
    struct err err = {0};

    if (state_guest(&core->state, spec->name) != NULL) {
        snprintf(text, sizeof(text), "guest %s exists already", spec->name);
        core_refuse(core, ticket, ANSWER_REFUSED, text);
        return false;
    }
    if (image != NULL && image_defaults_apply(image, spec, &err) < 0) {
        core_refuse(core, ticket, ANSWER_REFUSED, err.text);
        return false;
    }
    return place_wish(core, ticket, spec, 0, &command->guest_create.placement);
}

static const struct guest *guest_or_refuse(struct core *core, uint64_t ticket, const char *name)
{
    const struct guest *guest = state_guest(&core->state, name);
    char text[REASON_SIZE];

    if (guest != NULL)
        return guest;
    snprintf(text, sizeof(text), "guest %s is unknown", name);
    core_refuse(core, ticket, ANSWER_REFUSED, text);
    return NULL;
}

static bool complete_start(struct core *core, uint64_t ticket, struct command *command)
{
    const struct guest *guest = guest_or_refuse(core, ticket, command->guest_place.name);
    char text[REASON_SIZE];

    if (guest == NULL)
        return false;
    if (guest->placement.node != 0) {
        snprintf(text, sizeof(text),
                 guest->desired == DESIRED_RUNNING ? "guest %s runs already, on node %s"
                                                   : "guest %s is still being stopped on node %s",
                 guest->spec.name, core_node_name(core, guest->placement.node));
        core_refuse(core, ticket, ANSWER_REFUSED, text);
        return false;
    }
    command->guest_place.expect_epoch = guest->placement.epoch;
    return place_wish(core, ticket, &guest->spec, 0, &command->guest_place.placement);
}

bool core_allows_post(const struct guest_spec *spec)
{
    return spec->restart != RESTART_NEVER;
}

/* A mode that is insisted on is looked at before anything is reserved; what only the guest itself
 * shows is found by its guard. */
static bool mode_is_possible(struct core *core, uint64_t ticket, const struct guest *guest,
                             const struct placement *target, enum move_mode mode)
{
    const struct node *from = state_node(&core->state, guest->placement.node);
    const struct node *to = state_node(&core->state, target->node);
    const struct node *lacks = from == NULL || !from->facts.can_lazy ? from
                               : to == NULL || !to->facts.can_lazy   ? to
                                                                     : NULL;
    char text[REASON_SIZE];

    if (guest->spec.kind != KIND_VM && mode == MOVE_PRE &&
        (from == NULL || !from->facts.can_track_dirty))
        snprintf(text, sizeof(text),
                 "node %s does not say which pages were written (its kernel has no soft-dirty): no "
                 "pre-copy",
                 from != NULL ? from->name : "?");
    else if (mode == MOVE_POST && lacks != NULL)
        snprintf(text, sizeof(text),
                 "node %s lets no memory come later (its kernel has no userfaultfd): no post-copy",
                 lacks->name);
    else
        return true;
    core_refuse(core, ticket, ANSWER_REFUSED, text);
    return false;
}

/* The user's target is a wish like `on`: the scheduler says whether it can be, and the cores. */
static bool complete_migrate(struct core *core, uint64_t ticket, struct command *command)
{
    const struct guest *guest = guest_or_refuse(core, ticket, command->migration_reserve.guest);
    uint64_t target = command->migration_reserve.target.node;
    const struct node *node = state_node(&core->state, target);
    struct guest_spec spec;
    char text[REASON_SIZE + NAME_SIZE + 32], why[REASON_SIZE];

    if (guest == NULL)
        return false;
    text[0] = '\0';
    if (target != 0 && node == NULL)
        snprintf(text, sizeof(text), "the target node is unknown");
    else if (guest->placement.node == 0)
        snprintf(text, sizeof(text), "guest %s runs nowhere: start it instead", guest->spec.name);
    else if (guest->placement.node == target)
        snprintf(text, sizeof(text), "guest %s is on node %s already", guest->spec.name,
                 node->name);
    else if (node != NULL && guest->spec.on[0] != '\0' && strcmp(guest->spec.on, node->name) != 0)
        snprintf(text, sizeof(text), "guest %s is bound to node %s", guest->spec.name,
                 guest->spec.on);
    else if (!place_may_leave(&core->state, &guest->spec, guest->placement.node, why))
        snprintf(text, sizeof(text), "guest %s does not move: %s", guest->spec.name, why);
    else if (guest->spec.kind != KIND_VM && command->migration_reserve.terms.connections > 1)
        snprintf(text, sizeof(text), "guest %s is no vm: it moves by one connection",
                 guest->spec.name);
    if (text[0] != '\0') {
        core_refuse(core, ticket, ANSWER_REFUSED, text);
        return false;
    }
    spec = guest->spec; /* borrows the heap parts */
    if (node != NULL)
        memcpy(spec.on, node->name, sizeof(spec.on));
    command->migration_reserve.source_epoch = guest->placement.epoch;
    return place_wish(core, ticket, &spec, guest->placement.node,
                      &command->migration_reserve.target) &&
           mode_is_possible(core, ticket, guest, &command->migration_reserve.target,
                            command->migration_reserve.terms.mode);
}

static bool complete_release(struct core *core, uint64_t ticket, const struct command *command)
{
    char text[REASON_SIZE];

    if (core_copies_may_go(core, command->image_release.name, text, sizeof(text)))
        return true;
    core_refuse(core, ticket, ANSWER_NOT_NOW, text);
    return false;
}

static bool complete(struct core *core, uint64_t ticket, struct command *command)
{
    switch (command->type) {
    case COMMAND_GUEST_CREATE:
        return complete_create(core, ticket, command);
    case COMMAND_GUEST_START:
        return complete_start(core, ticket, command);
    case COMMAND_MIGRATION_RESERVE:
        return complete_migrate(core, ticket, command);
    case COMMAND_IMAGE_RELEASE:
        return complete_release(core, ticket, command);
    default:
        return true;
    }
}

/* ---- a wish begins */

static const char *name_in(const struct command *command)
{
    switch (command->type) {
    case COMMAND_GUEST_CREATE:
        return command->guest_create.spec.name;
    case COMMAND_GUEST_START:
        return command->guest_place.name;
    case COMMAND_MIGRATION_RESERVE:
        return command->migration_reserve.guest;
    case COMMAND_IMAGE_ADD:
        return command->image_add.image.name;
    case COMMAND_NODE_DRAIN:
        return command->node_flag.name;
    case COMMAND_NODE_REMOVE:
    case COMMAND_SLICE_REMOVE:
    case COMMAND_IMAGE_REMOVE:
    case COMMAND_GUEST_STOP:
    case COMMAND_GUEST_REMOVE:
        return command->by_name.name;
    default:
        return "";
    }
}

/* Nothing is to be waited for. */
static bool is_undrain(const struct command *command)
{
    return command->type == COMMAND_NODE_DRAIN && !command->node_flag.flag;
}

static struct wish *wish_add(struct core *core, const struct core_event *event)
{
    struct wish *wish = core_append(&core->lead.wishes, &core->lead.n_wishes, sizeof(*wish));

    wish->ticket = event->ticket;
    wish->phase = WISH_PROPOSED;
    wish->type = event->command->type;
    wish->no_wait = event->no_wait || is_undrain(event->command);
    wish->began_us = core->now;
    wish->limit_us = core->now + (uint64_t)CORE_PROPOSAL_LIMIT_MS * 1000;
    snprintf(wish->name, sizeof(wish->name), "%s", name_in(event->command));
    return wish;
}

struct wish *core_wish_keep(struct core *core, const struct core_event *event,
                            enum wish_phase phase)
{
    struct wish *wish = wish_add(core, event);

    wish->phase = phase;
    wish->command = malloc(sizeof(*wish->command));
    if (wish->command == NULL)
        abort();
    *wish->command = *event->command;
    memset(event->command, 0, sizeof(*event->command));
    return wish;
}

bool core_wish_propose(struct core *core, struct wish *wish, struct command *command)
{
    if (core_propose(core, command, PROPOSAL_WISH, wish->ticket, NULL))
        return true;
    core_end_wish(core, wish, ANSWER_NOT_NOW, "too much is under way here; try again");
    return false;
}

/* Who must do it, or why not now. */
static bool is_refused_now(struct core *core, const struct core_event *event)
{
    uint64_t no_authority_us = core->lead.no_authority_us;
    bool is_init = event->command->type == COMMAND_CLUSTER_INIT;

    if (!core->raft_leads && core->raft_leader != 0)
        core_refuse(core, event->ticket, ANSWER_NOT_LEADER, "another node leads");
    else if (!core->raft_leads)
        core_refuse(core, event->ticket, ANSWER_NOT_NOW,
                    "no leader is known: is a majority of the voters up and reachable?");
    else if (!core->leads && !is_init)
        core_refuse(core, event->ticket, ANSWER_NOT_NOW,
                    "this node has only just begun to lead; try again");
    else if (!is_init && no_authority_us != 0 &&
             core->now >= no_authority_us + core_no_authority_limit_us(core))
        core_refuse(core, event->ticket, ANSWER_NOT_NOW,
                    "no quorum: a majority of the voters does not answer");
    else if (core->lead.n_wishes >= CORE_MAX_WISHES)
        core_refuse(core, event->ticket, ANSWER_NOT_NOW, "too many requests are under way");
    else
        return false;
    return true;
}

/* A request that was asked before is answered with its first outcome. */
static const struct outcome *outcome_before(const struct core *core, const struct command *command)
{
    static const uint8_t no_request[NONCE_SIZE];

    if (memcmp(command->request, no_request, NONCE_SIZE) == 0)
        return NULL;
    for (size_t i = 0; i < core->state.n_requests; i++) {
        if (memcmp(core->state.requests[i].request, command->request, NONCE_SIZE) == 0)
            return &core->state.requests[i].outcome;
    }
    return NULL;
}

/* Without authority an entry might sit in the log for long and come about when nobody expects it:
 * what is refused for want of a quorum must change nothing. */
static bool must_wait(const struct core *core, const struct command *command)
{
    return command->type != COMMAND_CLUSTER_INIT &&
           detector_authority_end(&core->lead.detector) < core->now;
}

void core_wish(struct core *core, const struct core_event *event)
{
    struct command *command = event->command;
    const struct outcome *before;
    struct wish *wish;
    bool is_move = command->type == COMMAND_MIGRATION_RESERVE, is_free;

    if (is_refused_now(core, event)) {
        command_deinit(command);
        return;
    }
    before = outcome_before(core, command);
    if (before != NULL) {
        wish_add(core, event);
        core_wish_outcome(core, event->ticket, before);
        command_deinit(command);
        return;
    }
    if (must_wait(core, command)) {
        wish = core_wish_keep(core, event, WISH_WAITING);
        wish->limit_us = core->now + core_no_authority_limit_us(core);
        core_wake_at(&core->lead.wake_us, wish->limit_us);
        return;
    }
    if (command->type == COMMAND_NODE_REMOVE) {
        core_remove_begin(core, event);
        return;
    }
    is_free = is_move && command->migration_reserve.target.node == 0;
    if (complete(core, event->ticket, command)) {
        wish = wish_add(core, event);
        wish->is_free = is_free;
        if (is_move)
            wish->terms = command->migration_reserve.terms;
        if (core_wish_propose(core, wish, command))
            core_wake_at(&core->lead.wake_us, wish->limit_us);
    }
    command_deinit(command);
}

void core_wish_resume(struct core *core, struct wish *wish)
{
    struct command command = *wish->command;
    struct core_event event = {.type = CORE_REQUEST,
                               .ticket = wish->ticket,
                               .no_wait = wish->no_wait,
                               .command = &command};

    memset(wish->command, 0, sizeof(*wish->command));
    core_wish_remove(core, wish);
    core_wish(core, &event);
}

void core_wish_gone(struct core *core, uint64_t ticket)
{
    struct wish *wish = core_wish_of(core, ticket);

    if (wish != NULL)
        core_wish_remove(core, wish);
}
