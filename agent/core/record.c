/* record: what the log did, in a line for people; see core/internal.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/internal.h"

static uint64_t id_of(const struct core *core, const char *name)
{
    const struct node *node = state_node_by_name(&core->state, name);

    return node != NULL ? node->id : 0;
}

static void subject_guest(struct core_subject *ret, const char *name)
{
    snprintf(ret->guest, sizeof(ret->guest), "%s", name);
}

static void subject_moves(const struct core *core, uint64_t node, struct core_subject *ret)
{
    for (size_t i = 0; i < core->state.n_migrations; i++) {
        const struct migration *m = &core->state.migrations[i];
        struct migration *move;

        if (m->from != node && m->to != node)
            continue;
        move = core_append(&ret->moves, &ret->n_moves, sizeof(*move));
        *move = *m;
    }
}

void core_subject_deinit(struct core_subject *subject)
{
    free(subject->moves);
    *subject = (struct core_subject){0};
}

/* What a command is about, as it stands before the command is applied. */
void core_subject_of(const struct core *core, const struct command *command,
                     struct core_subject *ret)
{
    const struct migration *m;

    *ret = (struct core_subject){0};
    switch (command->type) {
    case COMMAND_GUEST_CREATE:
        subject_guest(ret, command->guest_create.spec.name);
        break;
    case COMMAND_GUEST_PLACE:
    case COMMAND_GUEST_START:
        subject_guest(ret, command->guest_place.name);
        break;
    case COMMAND_GUEST_EVICT:
        subject_guest(ret, command->guest_evict.name);
        ret->node = command->guest_evict.node;
        break;
    case COMMAND_GUEST_PROTECT:
        subject_guest(ret, command->guest_protect.name);
        break;
    case COMMAND_GUEST_BUDDY:
        subject_guest(ret, command->guest_buddy.name);
        ret->node = command->guest_buddy.node;
        break;
    case COMMAND_GUEST_LEAVE:
        subject_guest(ret, command->guest_leave.name);
        break;
    case COMMAND_GUEST_STOPPED:
        subject_guest(ret, command->guest_stopped.name);
        break;
    case COMMAND_GUEST_STOP:
    case COMMAND_GUEST_REMOVE:
        subject_guest(ret, command->by_name.name);
        break;
    case COMMAND_MIGRATION_RESERVE:
        subject_guest(ret, command->migration_reserve.guest);
        ret->node = command->migration_reserve.target.node;
        break;
    case COMMAND_MIGRATION_COMMIT:
    case COMMAND_MIGRATION_ABORT:
    case COMMAND_MIGRATION_DONE:
    case COMMAND_MIGRATION_RETURN:
        m = state_migration(&core->state, command->migration_step.id);
        if (m != NULL) {
            subject_guest(ret, m->guest);
            ret->node = command->type == COMMAND_MIGRATION_ABORT ||
                                command->type == COMMAND_MIGRATION_RETURN
                            ? m->from
                            : m->to;
        }
        break;
    case COMMAND_NODE_CORDON:
    case COMMAND_NODE_DRAIN:
        ret->node = id_of(core, command->node_flag.name);
        break;
    case COMMAND_NODE_LOST:
    case COMMAND_NODE_REBOOTED:
        subject_moves(core, command->node_event.node, ret);
        break;
    default:
        break;
    }
}

/* Of the guest as it is now: where it was put. */
static uint64_t place_of(const struct core *core, const struct core_subject *subject)
{
    const struct guest *guest = state_guest(&core->state, subject->guest);

    return subject->node != 0 || guest == NULL ? subject->node : guest->placement.node;
}

/* "a, b give way to it"; what does not fit is cut. */
static void say_victims(const struct command *command, char ret[REASON_SIZE])
{
    uint32_t n = command->guest_evict.n_victims;
    size_t used = 0;

    for (uint32_t i = 0; i < n && used < REASON_SIZE; i++)
        used += (size_t)snprintf(ret + used, REASON_SIZE - used, "%s%s", i > 0 ? ", " : "",
                                 command->guest_evict.victims[i].name);
    if (used < REASON_SIZE)
        snprintf(ret + used, REASON_SIZE - used, " %s way to it", n == 1 ? "gives" : "give");
}

static void record_guest(struct core *core, const struct command *command,
                         const struct core_subject *subject, const struct outcome *outcome)
{
    const struct guest *guest = state_guest(&core->state, subject->guest);
    char text[REASON_SIZE] = "";

    if (command->type == COMMAND_GUEST_STOPPED && command->guest_stopped.exited)
        snprintf(text, sizeof(text), "it ended by itself");
    else if (command->type == COMMAND_GUEST_STOPPED && guest != NULL &&
             guest->preempted_by[0] != '\0')
        snprintf(text, sizeof(text), "it gave way to guest %s", guest->preempted_by);
    else if (command->type == COMMAND_GUEST_PLACE && guest != NULL && guest->spec.protect_ms != 0)
        snprintf(text, sizeof(text), "%s",
                 guest->checkpoints[0].index != 0 ? "it goes on from a checkpoint that is there"
                                                  : "no checkpoint is there: it starts afresh");
    else if (command->type == COMMAND_GUEST_PROTECT && command->guest_protect.protect_ms != 0)
        snprintf(text, sizeof(text), "a checkpoint every %u ms", command->guest_protect.protect_ms);
    else if (command->type == COMMAND_GUEST_PROTECT)
        snprintf(text, sizeof(text), "off");
    else if (command->type == COMMAND_GUEST_BUDDY)
        snprintf(text, sizeof(text), "its checkpoints go there");
    else if (command->type == COMMAND_GUEST_LEAVE)
        snprintf(text, sizeof(text), "it has not left in time: it is stopped, to start elsewhere");
    else if (command->type == COMMAND_GUEST_EVICT)
        say_victims(command, text);
    else if (command->type == COMMAND_MIGRATION_ABORT || command->type == COMMAND_MIGRATION_RETURN)
        snprintf(text, sizeof(text), "%s", command->migration_step.reason);
    core_record(core, command_type_name(command->type), subject->guest, place_of(core, subject),
                outcome->index, "%s", text);
}

/* The loss of a node has ended a move as well: is its guest where it was, or gone with both? */
static void record_move(struct core *core, const struct migration *m, const struct command *command,
                        const struct outcome *outcome)
{
    const struct guest *guest = state_guest(&core->state, m->guest);
    bool is_back = m->phase != MIGRATION_RESERVED && guest != NULL &&
                   guest->placement.epoch == m->source_epoch;
    const char *what = is_back ? command_type_name(COMMAND_MIGRATION_RETURN)
                       : m->phase == MIGRATION_RESERVED ? command_type_name(COMMAND_MIGRATION_ABORT)
                                                        : "migration-lost";
    uint64_t node = command->node_event.node;

    core_record(core, what, m->guest, is_back || m->phase == MIGRATION_RESERVED ? m->from : m->to,
                outcome->index, "its %s, node %s, %s", node == m->to ? "target" : "source",
                core_node_name(core, node),
                command->type == COMMAND_NODE_LOST ? "was lost" : "has booted anew");
}

static void record_moves(struct core *core, const struct command *command,
                         const struct core_subject *subject, const struct outcome *outcome)
{
    for (size_t i = 0; i < subject->n_moves; i++) {
        if (state_migration(&core->state, subject->moves[i].id) == NULL)
            record_move(core, &subject->moves[i], command, outcome);
    }
}

static void record_node(struct core *core, const struct command *command,
                        const struct core_subject *subject, const struct outcome *outcome)
{
    const char *what = command_type_name(command->type);
    uint64_t at = outcome->index;
    char others[CORE_OTHERS_SIZE];

    switch (command->type) {
    case COMMAND_TERM_STARTED:
        core_record(core, what, NULL, command->term_started.node, at, "it leads in term %llu",
                    (unsigned long long)command->term_started.term);
        break;
    case COMMAND_NODE_SET_ROLE:
        core_record(core, what, NULL, command->node_set_role.node, at, "%s",
                    raft_role_name(command->node_set_role.role));
        break;
    case COMMAND_NODE_CORDON:
    case COMMAND_NODE_DRAIN:
        if (command->node_flag.flag && command->node_flag.drain_ms != 0)
            core_record(core, what, NULL, subject->node, at, "on, to be empty within %u ms",
                        command->node_flag.drain_ms);
        else
            core_record(core, what, NULL, subject->node, at, "%s",
                        command->node_flag.flag ? "on" : "off");
        break;
    case COMMAND_NODE_CEILING:
        core_record(core, what, NULL, command->node_ceiling.node, at, "%u ms",
                    command->node_ceiling.ceiling_ms);
        break;
    case COMMAND_NODE_LOST:
        core_ask_words(core, command->node_event.node, others, sizeof(others));
        core_record(core, what, NULL, command->node_event.node, at,
                    "no beat, and its lease is over%s%s", others[0] != '\0' ? "; " : "", others);
        break;
    case COMMAND_NODE_REBOOTED:
        core_record(core, what, NULL, command->node_event.node, at, "it beats from a new boot");
        break;
    default: /* JOIN, FACTS, RETURNED */
        core_record(core, what, NULL,
                    command->type == COMMAND_NODE_FACTS      ? command->node_facts.node
                    : command->type == COMMAND_NODE_RETURNED ? command->node_event.node
                                                             : outcome->id,
                    at, "%s", "");
    }
}

void core_record_command(struct core *core, const struct command *command,
                         const struct core_subject *subject, const struct outcome *outcome)
{
    const char *what = command_type_name(command->type);

    if (subject->guest[0] != '\0') {
        record_guest(core, command, subject, outcome);
        return;
    }
    switch (command->type) {
    case COMMAND_IMAGE_HELD:
    case COMMAND_GUEST_CHECKPOINT: /* too often to be told */
        break;
    case COMMAND_SLICE_CREATE:
        core_record(core, what, NULL, 0, outcome->index, "%s", command->slice_create.slice.name);
        break;
    case COMMAND_IMAGE_ADD:
        core_record(core, what, NULL, 0, outcome->index, "%s", command->image_add.image.name);
        break;
    case COMMAND_IMAGE_RELEASE:
        core_record(core, what, NULL, command->image_release.node, outcome->index,
                    "%s%s%llu %s more than it needs", command->image_release.name,
                    command->image_release.name[0] != '\0' ? ": " : "",
                    (unsigned long long)outcome->id, outcome->id == 1 ? "copy was" : "copies were");
        break;
    case COMMAND_NODE_REMOVE:
    case COMMAND_SLICE_REMOVE:
    case COMMAND_IMAGE_REMOVE:
        core_record(core, what, NULL, 0, outcome->index, "%s", command->by_name.name);
        break;
    case COMMAND_CLUSTER_SET:
        core_record(core, what, NULL, 0, outcome->index, "%s %s",
                    command->cluster_set.setting == SETTING_PREEMPTION ? "preemption"
                                                                       : "maintenance",
                    command->cluster_set.flag ? "on" : "off");
        break;
    case COMMAND_CLUSTER_INIT:
    case COMMAND_TOKEN_CREATE:
        core_record(core, what, NULL, 0, outcome->index, "%s", "");
        break;
    default:
        record_node(core, command, subject, outcome);
        record_moves(core, command, subject, outcome);
    }
}
