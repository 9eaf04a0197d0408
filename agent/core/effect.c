/* effect: wishes of users, from the outcome in the log to the effect; see core/request.c. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/core/internal.h"
#include "consensus/copies.h"

enum { STOP_LIMIT_MS = 60000, DRAIN_LIMIT_MS = 600000, BLACKOUT_LIMIT_MS = 1000 };

static uint64_t effect_limit_us(enum command_type type)
{
    switch (type) {
    case COMMAND_GUEST_STOP:
        return STOP_LIMIT_MS * 1000ull;
    case COMMAND_NODE_DRAIN:
        return DRAIN_LIMIT_MS * 1000ull;
    default:
        return CORE_EFFECT_LIMIT_MS * 1000ull;
    }
}

/* ---- its outcome in the log */

static bool has_effect_to_wait_for(const struct wish *wish)
{
    return wish->type == COMMAND_GUEST_CREATE || wish->type == COMMAND_GUEST_START ||
           wish->type == COMMAND_GUEST_STOP || wish->type == COMMAND_IMAGE_ADD ||
           wish->type == COMMAND_MIGRATION_RESERVE || wish->type == COMMAND_NODE_DRAIN;
}

void core_wish_outcome(struct core *core, uint64_t ticket, const struct outcome *outcome)
{
    struct wish *wish = core_wish_of(core, ticket);
    const struct migration *m;

    if (wish == NULL)
        return;
    wish->outcome = *outcome;
    if (outcome->code < 0) {
        core_end_wish(core, wish, ANSWER_REFUSED, outcome->reason);
        return;
    }
    if (wish->phase == WISH_DRAINING) { /* the drain is agreed on; the removal comes after it */
        core->lead.dirty = true;
        return;
    }
    if (wish->no_wait || !has_effect_to_wait_for(wish)) {
        core_end_wish(core, wish, ANSWER_DONE, "");
        return;
    }
    wish->phase = WISH_EFFECT;
    wish->epoch = outcome->index;
    wish->limit_us = core->now + effect_limit_us(wish->type);
    m = state_migration(&core->state, outcome->id);
    if (wish->type == COMMAND_MIGRATION_RESERVE && m != NULL) {
        wish->from = m->from;
        wish->to = m->to;
    }
    core->lead.dirty = true;
}

static const char leader_lost[] = "leadership was lost: the outcome is unknown; asking again with "
                                  "the same request id is safe";

void core_wish_failed(struct core *core, uint64_t ticket, int code)
{
    struct wish *wish = core_wish_of(core, ticket);

    if (wish == NULL)
        return;
    if (code == -EAGAIN || code == -ECANCELED)
        core_end_wish(core, wish, ANSWER_LEADER_LOST, leader_lost);
    else if (code == -ENOTCONN)
        core_end_wish(core, wish, ANSWER_LEADER_LOST, "leadership was lost; try again");
    else
        core_end_wish(core, wish, ANSWER_NOT_NOW, "the log does not take it now; try again");
}

void core_wishes_end(struct core *core)
{
    while (core->lead.n_wishes > 0)
        core_end_wish(core, &core->lead.wishes[core->lead.n_wishes - 1], ANSWER_LEADER_LOST,
                      leader_lost);
    core->lead.n_proposals = 0;
}

/* ---- its effect; each returns true when the wish is ended */

static const struct claim *claim_of(const struct core *core, uint64_t node, enum claim_kind kind,
                                    const char *name, uint64_t epoch)
{
    const struct peer *peer = core_peer(core, node);

    for (uint32_t i = 0; peer != NULL && i < peer->report.n_claims; i++) {
        const struct claim *claim = &peer->report.claims[i];

        if (claim->kind == kind && claim->epoch == epoch && strcmp(claim->guest, name) == 0)
            return claim;
    }
    return NULL;
}

/* Runs, and its node's switch knows it. */
static bool is_serving(const struct core *core, const struct guest *guest,
                       const struct guard_report *report)
{
    const struct peer *peer = core_peer(core, guest->placement.node);

    return report != NULL && report->state == GUEST_RUNNING && peer != NULL &&
           (guest->spec.slice[0] == '\0' || peer->fabric_index >= guest->placement.epoch);
}

static bool running_effect(struct core *core, struct wish *wish)
{
    const struct guest *guest = state_guest(&core->state, wish->name);
    const struct guard_report *report;
    const struct claim *claim;
    char text[2 * REASON_SIZE];

    if (guest == NULL || guest->desired == DESIRED_STOPPED) {
        core_end_wish(core, wish, ANSWER_DONE,
                      guest == NULL ? "it was removed meanwhile" : "it ran and is stopped again");
        return true;
    }
    if (guest->placement.node == 0)
        return false;
    report = core_report_of(core, guest->placement.node, guest->spec.name, guest->placement.epoch);
    if (is_serving(core, guest, report)) {
        core_end_wish(core, wish, ANSWER_DONE, "");
        return true;
    }
    if (report != NULL && report->state == GUEST_EXITED) {
        snprintf(text, sizeof(text), "it started and ended with status %d", report->exit_status);
        core_end_wish(core, wish, ANSWER_DONE, text);
        return true;
    }
    claim = claim_of(core, guest->placement.node, CLAIM_START_FAILED, wish->name,
                     guest->placement.epoch);
    if (claim == NULL)
        return false;
    snprintf(text, sizeof(text), "guest %s does not start on %s: %s (it is kept and tried again)",
             wish->name, core_node_name(core, guest->placement.node), claim->text);
    core_end_wish(core, wish, ANSWER_REFUSED, text);
    return true;
}

static bool stopped_effect(struct core *core, struct wish *wish)
{
    const struct guest *guest = state_guest(&core->state, wish->name);

    if (guest != NULL && guest->desired == DESIRED_STOPPED && guest->placement.node != 0)
        return false;
    core_end_wish(core, wish, ANSWER_DONE, "");
    return true;
}

static bool image_effect(struct core *core, struct wish *wish)
{
    const struct image *image = state_image(&core->state, wish->name);
    bool is_everywhere = true;
    char text[2 * REASON_SIZE];

    for (size_t i = 0; image != NULL && i < core->state.n_nodes; i++) {
        const struct node *node = &core->state.nodes[i];
        const struct peer *peer = core_peer(core, node->id);
        const struct claim *claim = claim_of(core, node->id, CLAIM_IMAGE_FAILED, wish->name, 0);

        if (claim != NULL) {
            snprintf(text, sizeof(text), "image %s cannot be unpacked on %s: %s", wish->name,
                     node->name, claim->text);
            core_end_wish(core, wish, ANSWER_REFUSED, text);
            return true;
        }
        if (!image_is_wanted(&core->state, image, node) ||
            !detector_is_present(&core->lead.detector, node->id, core->now))
            continue;
        is_everywhere = is_everywhere && image_is_held(image, node->id) && peer != NULL &&
                        core_peer_has_image(peer, image->digest);
    }
    if (is_everywhere)
        core_end_wish(core, wish, ANSWER_DONE, "");
    return is_everywhere;
}

/* ---- migrations: done in the log, then the source's figure may still be on its way */

static void take_end(struct core *core, struct wish *wish, const struct ended_move *end)
{
    if (end->to != 0) {
        wish->from = end->from;
        wish->to = end->to;
    }
    wish->done_us = core->now;
    wish->was_aborted = end->was_aborted;
    wish->had_no_room = end->had_no_room;
    snprintf(wish->text, sizeof(wish->text), "%s", end->text);
    core->lead.dirty = true;
}

static const struct ended_move *end_of(const struct core *core, uint64_t id)
{
    for (size_t i = 0; i < CORE_ENDS_KEPT; i++) {
        if (core->ended[i].id == id && id != 0)
            return &core->ended[i];
    }
    return NULL;
}

void core_move_ended(struct core *core, const struct ended_move *end)
{
    if (end_of(core, end->id) != NULL)
        return;
    core->ended[core->ended_at] = *end;
    core->ended_at = (core->ended_at + 1) % CORE_ENDS_KEPT;
    for (size_t i = 0; i < core->lead.n_wishes; i++) {
        struct wish *wish = &core->lead.wishes[i];

        if (wish->type == COMMAND_MIGRATION_RESERVE && wish->phase == WISH_EFFECT &&
            wish->outcome.id == end->id)
            take_end(core, wish, end);
    }
}

/* It was over before it was asked for here. True: this node remembers how it ended. */
static bool recall_end(struct core *core, struct wish *wish)
{
    const struct ended_move *end = end_of(core, wish->outcome.id);

    if (end != NULL)
        take_end(core, wish, end);
    return end != NULL;
}

/* A placement that is older than the migration says that the guest stayed; a newer one is that of
 * a commit, or of a start after a loss. */
static void end_forgotten(struct core *core, struct wish *wish)
{
    const struct guest *guest = state_guest(&core->state, wish->name);
    bool has_stayed = guest != NULL && guest->placement.epoch < wish->outcome.index;
    char text[2 * REASON_SIZE];

    if (has_stayed)
        snprintf(text, sizeof(text), "guest %s was not moved: the migration was undone",
                 wish->name);
    else
        snprintf(text, sizeof(text),
                 "the migration is over, and how it ended is not known here: guest %s is on node "
                 "%s now",
                 wish->name, guest != NULL ? core_node_name(core, guest->placement.node) : "?");
    core_end_wish(core, wish, has_stayed ? ANSWER_REFUSED : ANSWER_NOT_NOW, text);
}

static bool was_told(const struct wish *wish, const struct migration_view *view)
{
    return view->step == wish->told_step && view->progress.done_bytes == wish->told.done_bytes &&
           view->progress.total_bytes == wish->told.total_bytes &&
           view->progress.is_files == wish->told.is_files &&
           view->progress.blackout_ms == wish->told.blackout_ms;
}

/* As far as it is known. */
static void write_progress(const struct migration_view *view, char *ret, size_t size)
{
    const struct move_progress *p = &view->progress;
    size_t used = (size_t)snprintf(ret, size, "%s", view->step);

    if (p->total_bytes != 0)
        used += (size_t)snprintf(ret + used, size - used, "%s: %.1f of %.1f MiB",
                                 p->is_files ? " files" : "", p->done_bytes / 1048576.0,
                                 p->total_bytes / 1048576.0);
    if (p->total_bytes != 0 && view->rate_kbps != 0)
        used += (size_t)snprintf(ret + used, size - used, ", %.1f Mbit/s, %.1f s left",
                                 view->rate_kbps / 1000.0,
                                 move_left_ms(p, view->rate_kbps) / 1000.0);
    if (p->round > 1)
        used += (size_t)snprintf(ret + used, size - used, ", round %u", p->round);
    if (p->blackout_ms != 0)
        snprintf(ret + used, size - used, ", to stand still for about %u ms", p->blackout_ms);
}

/* Whoever waits hears of each step, and of how far the source is. */
static void tell_progress(struct core *core, struct wish *wish, const struct migration *m)
{
    const struct move_progress *p;
    struct migration_view view;
    struct core_action *action;
    struct answer *answer;

    core_migration_view(core, m, core->now, &view);
    p = &view.progress;
    if (view.step == NULL || was_told(wish, &view))
        return;
    wish->told = *p;
    wish->told_step = view.step;
    answer = core_answer_new(ANSWER_DONE);
    answer->id = m->id;
    answer->step = view.step;
    answer->progress = *p;
    answer->rate_kbps = view.rate_kbps;
    write_progress(&view, answer->text, sizeof(answer->text));
    action = core_act(core, CORE_PROGRESS);
    action->ticket = wish->ticket;
    action->answer = answer;
}

/* Nobody named the target, and it had no room: the next best. */
static bool goes_elsewhere(struct core *core, struct wish *wish)
{
    const struct guest *guest = state_guest(&core->state, wish->name);
    struct command command = {.type = COMMAND_MIGRATION_RESERVE};
    struct err err;

    if (!wish->is_free || !wish->had_no_room || guest == NULL || guest->migration != 0 ||
        guest->placement.node != wish->from ||
        core_place(core, &guest->spec, wish->from, &command.migration_reserve.target, NULL, &err) <
            0)
        return false;
    memcpy(command.migration_reserve.guest, guest->spec.name, NAME_SIZE);
    command.migration_reserve.source_epoch = guest->placement.epoch;
    command.migration_reserve.terms = wish->terms;
    if (!core_propose(core, &command, PROPOSAL_WISH, wish->ticket, NULL))
        return false;
    wish->phase = WISH_PROPOSED;
    wish->limit_us = core->now + (uint64_t)CORE_PROPOSAL_LIMIT_MS * 1000;
    wish->done_us = 0;
    wish->was_aborted = false;
    return true;
}

static bool migrated_effect(struct core *core, struct wish *wish)
{
    const struct migration *m = state_migration(&core->state, wish->outcome.id);
    const struct move_report *move, *target;
    uint64_t limit_us;
    struct answer *answer;
    char text[2 * REASON_SIZE];

    if (wish->done_us == 0 && m != NULL) {
        tell_progress(core, wish, m);
        return false;
    }
    if (wish->done_us == 0 && !recall_end(core, wish)) {
        end_forgotten(core, wish);
        return true;
    }
    if (wish->was_aborted && goes_elsewhere(core, wish))
        return false;
    if (wish->was_aborted) {
        snprintf(text, sizeof(text), "guest %s was not moved: %s", wish->name, wish->text);
        core_end_wish(core, wish, ANSWER_REFUSED, text);
        return true;
    }
    move = core_move_report(core, wish->from, wish->outcome.id);
    target = core_move_report(core, wish->to, wish->outcome.id);
    limit_us = wish->done_us + (uint64_t)BLACKOUT_LIMIT_MS * 1000;
    if ((move == NULL || move->blackout_us == 0) && core->now < limit_us) {
        core_wake_at(&core->lead.wake_us, limit_us);
        return false;
    }
    answer = core_answer_new(ANSWER_DONE);
    answer->index = wish->outcome.index;
    answer->id = wish->outcome.id;
    answer->from = wish->from;
    answer->node = wish->to;
    answer->bytes = move != NULL ? move->bytes : 0;
    answer->blackout_us = move != NULL ? move->blackout_us : 0;
    answer->total_ms = (uint32_t)((wish->done_us - wish->began_us) / 1000);
    snprintf(answer->mode, sizeof(answer->mode), "%s",
             target != NULL && target->failed          ? "restart"
             : move != NULL && move->mode == MOVE_POST ? "post-copy"
             : move != NULL && move->mode == MOVE_PRE  ? "pre-copy"
                                                       : "stop-and-copy");
    if (target != NULL && target->failed)
        snprintf(answer->text, sizeof(answer->text), "it had to start afresh: %s", target->text);
    else if (answer->blackout_us == 0)
        snprintf(answer->text, sizeof(answer->text),
                 "how long the guest stood still is not known: node %s was lost meanwhile, or its "
                 "skeind was restarted",
                 core_node_name(core, wish->from));
    core_respond(core, wish->ticket, answer);
    core_wish_remove(core, wish);
    return true;
}

static bool effect_is_there(struct core *core, struct wish *wish)
{
    switch (wish->type) {
    case COMMAND_GUEST_CREATE:
    case COMMAND_GUEST_START:
        return running_effect(core, wish);
    case COMMAND_GUEST_STOP:
        return stopped_effect(core, wish);
    case COMMAND_IMAGE_ADD:
        return image_effect(core, wish);
    case COMMAND_MIGRATION_RESERVE:
        return migrated_effect(core, wish);
    case COMMAND_NODE_DRAIN:
        return core_drained(core, wish);
    default:
        return false;
    }
}

uint64_t core_no_authority_limit_us(const struct core *core)
{
    uint32_t lease_ms = core->config.timers.lease_ms;

    return (lease_ms > CORE_NO_AUTHORITY_LIMIT_MS ? lease_ms
                                                  : (uint32_t)CORE_NO_AUTHORITY_LIMIT_MS) *
           1000ull;
}

static bool time_is_up(struct core *core, struct wish *wish)
{
    uint64_t no_authority_us = core->lead.no_authority_us;
    uint64_t no_quorum_us = no_authority_us == 0
                                ? UINT64_MAX
                                : no_authority_us + core_no_authority_limit_us(core);

    if (wish->phase == WISH_WAITING && core->now >= wish->limit_us) {
        core_end_wish(core, wish, ANSWER_NOT_NOW,
                      "no quorum: a majority of the voters does not answer; nothing was changed");
        return true;
    }
    if (wish->phase != WISH_WAITING && core->now >= no_quorum_us) {
        core_end_wish(
            core, wish, ANSWER_NOT_NOW,
            "no quorum: a majority of the voters does not answer; the outcome is unknown");
        return true;
    }
    if (core->now >= wish->limit_us) {
        core_end_wish(core, wish, ANSWER_NOT_NOW,
                      wish->phase >= WISH_DRAINING && wish->phase <= WISH_LEAVING
                          ? "the node drains and is not removed yet; ask again to go on"
                      : wish->phase == WISH_EFFECT
                          ? "it is agreed on, but it has not come about yet; see 'skein status'"
                          : "the log did not answer in time; the outcome is unknown");
        return true;
    }
    core_wake_at(&core->lead.wake_us, wish->limit_us);
    if (wish->phase != WISH_WAITING)
        core_wake_at(&core->lead.wake_us, no_quorum_us);
    return false;
}

void core_wishes_run(struct core *core)
{
    for (size_t i = core->lead.n_wishes; i-- > 0;) {
        struct wish *wish = &core->lead.wishes[i];

        if (wish->phase == WISH_EFFECT && effect_is_there(core, wish))
            continue;
        if (wish->type == COMMAND_NODE_REMOVE && core_remove_run(core, wish))
            continue;
        if (wish->phase == WISH_WAITING && core->lead.authority_us != 0)
            core_wish_resume(core, wish);
        else
            time_is_up(core, wish);
    }
}
