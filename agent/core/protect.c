/* protect: checkpoints of the protected guests that run here, and starts out of those that
 * this node keeps for others; see core/internal.h.
 *
 * A checkpoint is two requests: CHECKPOINT keeps the guest as it is (it stands still meanwhile, and
 * nothing else is done with it), SEND takes what was kept to the buddy beside everything else. The
 * leader hears of it once the buddy has it whole, and has the state name it (core/buddy.c).
 * Of a guest whose buddy has said that it keeps the newest one, the next may carry only what was
 * written since: the guard decides (migrate/increment.h). After whatever comes between (a failure,
 * another buddy, another run, a move) it is whole.
 * A period that cannot be held is stretched: a quarter of the time there is none under way. Where
 * there are increments they say what can be held, not the whole one that comes now and then.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/internal.h"

enum { PROTECT_RETRY_MS = 1000, PROTECT_MAX_BACK_OFF_MS = 60000 };

/* ---- taking them */

static bool can_be_taken(const struct core *core, const struct local_guest *local,
                         const struct guest *guest)
{
    return guest->spec.protect_ms != 0 && guest->migration == 0 && !core->node.lapsed &&
           local->report.state == GUEST_RUNNING && local->report.frozen_by == 0 &&
           guest->buddy != 0 && guest->buddy != core->config.id;
}

/* What was under way stays so: its answer says nothing of this run. */
static void begin_run(struct core *core, struct local_guest *local)
{
    struct local_protection *p = &local->protection;
    struct local_protection next = {.epoch = local->report.epoch,
                                    .pid = local->report.pid,
                                    .next_us = core->now,
                                    .begun_us = p->begun_us,
                                    .serial = p->serial};

    *p = next;
}

void core_protect_run(struct core *core, struct local_guest *local, const struct guest *guest)
{
    struct local_protection *p = &local->protection;
    struct guard_request *request;

    if (guest->migration != 0)
        p->is_held = false; /* it may come back, but the move has cleared the kernel's marks */
    if (!can_be_taken(core, local, guest))
        return;
    if (p->epoch != local->report.epoch || p->pid != local->report.pid)
        begin_run(core, local);
    if (p->begun_us != 0)
        return;
    if (p->wanted_ms != guest->spec.protect_ms && p->report.n_failures == 0)
        p->next_us = core->now; /* the first one, or of a new period */
    p->wanted_ms = guest->spec.protect_ms;
    if (core->now < p->next_us) {
        core_wake_at(&core->node.wake_us, p->next_us);
        return;
    }
    p->begun_us = core->now;
    p->to = guest->buddy;
    request = core_ask(core, GUARD_CHECKPOINT, local->name, local->report.epoch, 0);
    request->since_us = p->is_held && p->report.node == p->to ? p->taken_us : 0;
}

static void failed(struct core *core, struct local_guest *local, const char *text)
{
    struct local_protection *p = &local->protection;
    uint64_t delay_ms = PROTECT_RETRY_MS;

    for (uint32_t i = 0; i < p->report.n_failures && delay_ms < PROTECT_MAX_BACK_OFF_MS; i++)
        delay_ms *= 2;
    p->begun_us = 0;
    p->serial = 0;
    p->is_held = false;
    p->next_us = core->now + delay_ms * 1000;
    p->report.n_failures++;
    snprintf(p->report.text, sizeof(p->report.text), "%.*s", REASON_SIZE - 1, text);
    if (p->report.n_failures == 1)
        core_record(core, "guest-checkpoint-failed", local->name, p->to, 0, "%s", p->report.text);
    core_node_changed(core);
}

/* The guest was only busy otherwise: that is no failure. */
static void postponed(struct core *core, struct local_protection *p)
{
    p->begun_us = 0;
    p->serial = 0;
    p->next_us = core->now + (uint64_t)CORE_RETRY_MS * 1000;
}

void core_protect_kept(struct core *core, struct local_guest *local,
                       const struct guard_reply *reply)
{
    const struct guest *guest = state_guest(&core->state, local->name);
    struct local_protection *p = &local->protection;
    struct guard_request *request;

    if (p->begun_us == 0)
        return;
    p->is_held = p->is_held && core_guard_says_later(reply->code);
    if (guest == NULL || core_guard_is_away(reply->code) || core_guard_says_later(reply->code) ||
        (reply->code == 0 && !can_be_taken(core, local, guest))) {
        postponed(core, p);
        return;
    }
    if (reply->code < 0) {
        failed(core, local, reply->text);
        return;
    }
    p->frozen_at_us = reply->frozen_us;
    p->frozen_us = (uint32_t)(reply->handed_over_us - reply->frozen_us);
    p->is_increment = reply->mode == MOVE_PRE;
    request = core_ask(core, GUARD_SEND, NULL, local->report.epoch, 0);
    memcpy(request->copy.guest, local->name, NAME_SIZE);
    if (p->is_increment)
        memcpy(request->digest, p->report.digest, DIGEST_SIZE);
    core->out->list[core->out->n - 1].to = p->to;
    p->serial = request->serial;
}

/* By what goes the next one, too: not that this was one of the whole ones between increments. */
static uint64_t time_taken(const struct core *core, struct local_protection *p, bool was_whole)
{
    uint64_t taken_us = core->now - p->begun_us;

    if (p->is_increment)
        p->usual_us = taken_us;
    else if (was_whole || !p->is_held)
        p->usual_us = 0;
    return p->usual_us != 0 && p->usual_us < taken_us ? p->usual_us : taken_us;
}

/* When the next one is due; says so when the period begins or ceases to be more than wanted. */
static void set_pace(struct core *core, struct local_guest *local, const struct guest *guest,
                     bool was_whole)
{
    struct local_protection *p = &local->protection;
    uint64_t wanted_us = (uint64_t)guest->spec.protect_ms * 1000;
    uint64_t rested_us = core->now + (core->now - p->begun_us) / 3;
    uint64_t taken_us = time_taken(core, p, was_whole), needed_us = taken_us + taken_us / 3;
    bool is_stretched = p->is_stretched ? needed_us * 5 / 4 > wanted_us : needed_us > wanted_us;
    uint64_t interval_us = is_stretched && needed_us > wanted_us ? needed_us : wanted_us;

    p->next_us = p->begun_us + interval_us;
    if (p->next_us < rested_us)
        p->next_us = rested_us;
    p->report.interval_ms = (uint32_t)(interval_us / 1000);
    if (is_stretched && !p->is_stretched)
        core_record(core, "guest-protect-stretched", local->name, p->to, 0,
                    "a checkpoint takes %u ms: one every %u ms, not every %u ms",
                    (uint32_t)(taken_us / 1000), p->report.interval_ms, guest->spec.protect_ms);
    else if (!is_stretched && p->is_stretched)
        core_record(core, "guest-protect-held", local->name, p->to, 0,
                    "a checkpoint every %u ms, as wanted", guest->spec.protect_ms);
    p->is_stretched = is_stretched;
}

static struct local_guest *sending(struct core *core, uint32_t serial)
{
    for (size_t i = 0; i < core->node.n_guests; i++) {
        if (core->node.guests[i].protection.serial == serial)
            return &core->node.guests[i];
    }
    return NULL;
}

bool core_protect_sent(struct core *core, const struct core_event *event)
{
    struct local_guest *local = event->serial != 0 ? sending(core, event->serial) : NULL;
    struct local_protection *p;
    const struct guest *guest;
    bool was_whole;

    if (local == NULL)
        return false;
    p = &local->protection;
    guest = state_guest(&core->state, local->name);
    core->node.dirty = true;
    if (guest == NULL || guest->spec.protect_ms == 0 || guest->buddy != p->to ||
        p->epoch != local->report.epoch || p->pid != local->report.pid || p->frozen_at_us == 0) {
        postponed(core, p); /* of another run, or for nobody */
        return true;
    }
    if (event->reply->code < 0) {
        failed(core, local, event->reply->text);
        return true;
    }
    p->taken_us = p->frozen_at_us;
    p->is_held = event->may_continue && guest->migration == 0;
    p->report.node = p->to;
    memcpy(p->report.digest, event->digest, DIGEST_SIZE);
    p->report.size = event->reply->bytes;
    p->report.sent = event->sent;
    was_whole = p->report.n_increments == 0;
    p->report.n_increments = p->is_increment ? p->report.n_increments + 1 : 0;
    p->report.frozen_us = p->frozen_us;
    p->report.n_failures = 0;
    p->report.text[0] = '\0';
    set_pace(core, local, guest, was_whole);
    p->begun_us = 0;
    p->serial = 0;
    core_node_changed(core);
    return true;
}

bool core_protection_of(const struct core *core, const struct local_guest *local,
                        struct protection *ret)
{
    const struct guest *guest = state_guest(&core->state, local->name);
    const struct local_protection *p = &local->protection;

    if (guest == NULL || guest->spec.protect_ms == 0 || !local->has_report ||
        guest->placement.node != core->config.id || guest->placement.epoch != local->report.epoch)
        return false;
    *ret = (struct protection){0};
    if (p->epoch == local->report.epoch && p->pid == local->report.pid)
        *ret = p->report;
    memcpy(ret->guest, local->name, NAME_SIZE);
    ret->epoch = local->report.epoch;
    ret->resumed = local->resumed;
    if (ret->interval_ms == 0)
        ret->interval_ms = guest->spec.protect_ms;
    if (ret->node != 0)
        ret->age_ms = (uint32_t)((core->now - p->taken_us) / 1000);
    return true;
}

/* ---- starting out of them */

/* From the checkpoint to now; "" when this node did not see it come into the state. */
static void say_age(const struct core *core, uint64_t index, char *ret, size_t size)
{
    ret[0] = '\0';
    for (size_t i = 0; i < core->n_taken; i++) {
        if (core->taken[i].index == index)
            snprintf(ret, size, ", taken %llu ms ago",
                     (unsigned long long)((core->now - core->taken[i].taken_us) / 1000));
    }
}

/* "" of one that came whole. */
static const char *of_increments(const struct checkpoint *checkpoint, char ret[48])
{
    ret[0] = '\0';
    if (checkpoint->n_increments > 0)
        snprintf(ret, 48, " (a whole one and %u increment%s)", checkpoint->n_increments,
                 checkpoint->n_increments == 1 ? "" : "s");
    return ret;
}

bool core_protect_start(struct core *core, struct local_guest *local, const struct guest *guest)
{
    const struct checkpoint *checkpoint =
        guest->spec.protect_ms != 0 ? state_checkpoint_at(guest, core->config.id, local->n_restores)
                                    : NULL;
    struct guard_request *request;

    if (checkpoint == NULL)
        return false;
    local->resumed = checkpoint->index; /* a list may show it before the answer comes */
    request = core_ask(core, GUARD_RESTORE, local->name, guest->placement.epoch, 0);
    request->index = core->state.index;
    memcpy(request->digest, checkpoint->digest, DIGEST_SIZE);
    core_fill_run(core, guest, &guest->placement, guest->placement.epoch, &request->run);
    return true;
}

void core_protect_restored(struct core *core, struct local_guest *local,
                           const struct guard_reply *reply)
{
    const struct guest *guest = state_guest(&core->state, local->name);
    const struct checkpoint *checkpoint, *older;
    char age[48], words[48];

    if (guest == NULL || core_guard_is_away(reply->code) || core_guard_says_later(reply->code))
        return;
    checkpoint = state_checkpoint_at(guest, core->config.id, local->n_restores);
    if (checkpoint == NULL)
        return;
    say_age(core, checkpoint->index, age, sizeof(age));
    if (reply->code == 0) {
        local->n_restores = MAX_CHECKPOINTS;
        local->running_us = core->now;
        core_record(core, "guest-restored", local->name, core->config.id, checkpoint->index,
                    "it goes on from its checkpoint%s%s", of_increments(checkpoint, words), age);
        core_node_changed(core);
        return;
    }
    local->resumed = 0;
    older = state_checkpoint_at(guest, core->config.id, ++local->n_restores);
    core_record(core, "guest-restore-failed", local->name, core->config.id, checkpoint->index,
                "%s; %.100s", older != NULL ? "the one before is tried" : "it starts afresh",
                reply->text);
}

/* ---- what the log says */

static bool is_named(const struct core *core, uint64_t index)
{
    for (size_t i = 0; i < core->state.n_guests; i++) {
        for (size_t k = 0; k < MAX_CHECKPOINTS; k++) {
            if (core->state.guests[i].checkpoints[k].index == index)
                return true;
        }
    }
    return false;
}

/* Only what is committed now has an age: a log that is read again is of the past. */
static void note_taken(struct core *core, const struct command *command,
                       const struct outcome *outcome)
{
    uint64_t age_us = (uint64_t)command->guest_checkpoint.age_ms * 1000;
    struct taken *taken;

    for (size_t i = core->n_taken; i-- > 0;) {
        if (!is_named(core, core->taken[i].index))
            core_take_out(core->taken, &core->n_taken, sizeof(*core->taken), i);
    }
    if (core->now < age_us)
        return;
    taken = core_append(&core->taken, &core->n_taken, sizeof(*taken));
    taken->index = outcome->index;
    taken->taken_us = core->now - age_us;
}

void core_protect_applied(struct core *core, const struct command *command,
                          const struct outcome *outcome)
{
    if (!core_node_is_current(core))
        return;
    if (command->type == COMMAND_GUEST_CHECKPOINT)
        note_taken(core, command, outcome);
    switch (command->type) {
    case COMMAND_GUEST_CHECKPOINT:
    case COMMAND_GUEST_PROTECT:
    case COMMAND_GUEST_PLACE:
    case COMMAND_GUEST_START:
    case COMMAND_GUEST_STOPPED:
    case COMMAND_GUEST_REMOVE:
        core_act(core, CORE_KEEP_CHECKPOINTS);
        break;
    default:
        break;
    }
}

void core_protect_tidy(struct core *core)
{
    if (core->node.has_tidied || !core_node_is_current(core))
        return;
    core->node.has_tidied = true;
    core_act(core, CORE_KEEP_CHECKPOINTS);
}

void core_protection_view(const struct core *core, const char *name, struct protection_view *ret)
{
    const struct guest *guest = state_guest(&core->state, name);
    const struct protection *told;
    struct protection own;

    *ret = (struct protection_view){0};
    if (guest == NULL || guest->spec.protect_ms == 0)
        return;
    for (size_t i = 0; i < core->n_taken; i++) {
        if (core->taken[i].index != guest->checkpoints[0].index)
            continue;
        ret->has_age = true;
        ret->age_ms = (core->now - core->taken[i].taken_us) / 1000;
    }
    told = core_protection_at(core, guest->placement.node, name, guest->placement.epoch);
    for (size_t i = 0; i < core->node.n_guests; i++) {
        const struct local_guest *local = &core->node.guests[i];

        if (strcmp(local->name, name) == 0 && core_protection_of(core, local, &own))
            told = &own;
    }
    if (told == NULL)
        return;
    ret->is_told = true;
    ret->interval_ms = told->interval_ms;
    ret->n_failures = told->n_failures;
    memcpy(ret->text, told->text, sizeof(ret->text));
}
