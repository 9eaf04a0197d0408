/* ask: the leader asks up to three others whether they hear a silent node; see
 * core/internal.h.
 *
 *   ASK    leader -> helper   do you hear that node?
 *   PING   helper -> node     answer me
 *   PONG   node   -> helper   … which proves both directions between them
 *   HEARD  helper -> leader   yes, or not within PROBE_BEATS beats
 *
 * For people only: dead, or only its path to the leader is down. NOTHING decides by it. A helper
 * may lie, be late or be wrong, so the detector never sees an answer, and nothing else of the core
 * reads one but core/view.c and the texts of records. (test_core_ask shows that losses come at the
 * same moment whatever is answered.)
 *
 * Bounded: at most CORE_MAX_INQUIRIES nodes are asked about, each of CORE_MAX_HELPERS others, first
 * twice a second and then ever less; a helper has at most CORE_MAX_PROBES pings under way, one a
 * node, and a ping costs its receiver one message of its own size. */
#include <stdio.h>
#include <string.h>

#include "agent/core/internal.h"

enum {
    SILENT_BEATS = 3, /* so many without a beat: others are asked */
    PROBE_BEATS = 4,  /* a helper waits so long for the node */
    AGAIN_BEATS = 8,  /* the leader asks again after so long, then after twice as long, … */
    AGAIN_MAX_MS = 5000,
};

static uint64_t beats_us(const struct core *core, uint32_t n)
{
    return (uint64_t)core->config.timers.beat_ms * 1000 * n;
}

/* ---- a helper's part, and the silent node's */

void core_asked(struct core *core, uint64_t from, uint64_t about)
{
    struct node_part *node = &core->node;
    struct message message = {.type = MESSAGE_PING, .token = core->now};

    if (about == core->config.id || state_node(&core->state, about) == NULL)
        return;
    for (size_t i = 0; i < node->n_probes; i++) {
        if (node->probes[i].node == about) {
            node->probes[i].asker = from;
            return;
        }
    }
    if (node->n_probes == CORE_MAX_PROBES)
        return;
    node->probes[node->n_probes++] =
        (struct probe){.node = about, .asker = from, .sent_us = core->now};
    core_wake_at(&node->wake_us, core->now + beats_us(core, PROBE_BEATS));
    core_send(core, about, &message);
}

void core_pinged(struct core *core, uint64_t from, uint64_t token)
{
    struct message message = {.type = MESSAGE_PONG, .token = token};

    core_send(core, from, &message);
}

static void answer(struct core *core, size_t at, bool is_heard)
{
    struct node_part *node = &core->node;
    struct message message = {.type = MESSAGE_HEARD};

    message.heard.node = node->probes[at].node;
    message.heard.is_heard = is_heard;
    core_send(core, node->probes[at].asker, &message);
    core_take_out(node->probes, &node->n_probes, sizeof(node->probes[0]), at);
}

void core_ponged(struct core *core, uint64_t from, uint64_t token)
{
    for (size_t i = 0; i < core->node.n_probes; i++) {
        if (core->node.probes[i].node == from && core->node.probes[i].sent_us == token) {
            answer(core, i, true);
            return;
        }
    }
}

void core_probes_run(struct core *core)
{
    for (size_t i = core->node.n_probes; i-- > 0;) {
        uint64_t until_us = core->node.probes[i].sent_us + beats_us(core, PROBE_BEATS);

        if (core->now >= until_us)
            answer(core, i, false);
        else
            core_wake_at(&core->node.wake_us, until_us);
    }
}

/* ---- the leader's part */

static uint64_t silent_since(const struct core *core, const struct detector_node *row)
{
    return row->heard ? row->heard_us : core->lead.detector.became_us;
}

static bool is_silent(const struct core *core, const struct detector_node *row)
{
    return core->now >= silent_since(core, row) + beats_us(core, SILENT_BEATS);
}

const struct inquiry *core_inquiry(const struct core *core, uint64_t node)
{
    for (size_t i = 0; i < core->lead.n_inquiries; i++) {
        if (core->lead.inquiries[i].node == node)
            return &core->lead.inquiries[i];
    }
    return NULL;
}

bool core_is_silent(const struct core *core, uint64_t node)
{
    const struct detector_node *row = detector_node(&core->lead.detector, node);

    return core->leads && node != core->config.id && row != NULL && is_silent(core, row);
}

/* Room for one more: a node that is lost already makes place for one that is not. */
static struct inquiry *inquiry_made(struct core *core, const struct node *about)
{
    struct leader_part *lead = &core->lead;

    for (size_t i = 0; lead->n_inquiries == CORE_MAX_INQUIRIES && about->state != NODE_LOST &&
                       i < lead->n_inquiries;
         i++) {
        const struct node *other = state_node(&core->state, lead->inquiries[i].node);

        if (other == NULL || other->state == NODE_LOST)
            core_take_out(lead->inquiries, &lead->n_inquiries, sizeof(lead->inquiries[0]), i);
    }
    if (lead->n_inquiries == CORE_MAX_INQUIRIES)
        return NULL;
    lead->inquiries[lead->n_inquiries] = (struct inquiry){.node = about->id};
    return &lead->inquiries[lead->n_inquiries++];
}

static struct helper *helper_of(struct inquiry *inquiry, uint64_t id)
{
    for (size_t i = 0; i < inquiry->n; i++) {
        if (inquiry->helpers[i].id == id)
            return &inquiry->helpers[i];
    }
    return NULL;
}

static bool can_help(const struct core *core, uint64_t id, uint64_t about)
{
    return id != core->config.id && id != about && !core_is_silent(core, id) &&
           detector_is_present(&core->lead.detector, id, core->now);
}

/* Those that cannot be asked any more make room for the next present ones, by id from the silent
 * node on: with many silent nodes not always the same three are asked. */
static void choose_helpers(struct core *core, struct inquiry *inquiry)
{
    const struct state *state = &core->state;
    size_t first = 0;

    for (size_t i = inquiry->n; i-- > 0;) {
        if (!can_help(core, inquiry->helpers[i].id, inquiry->node))
            core_take_out(inquiry->helpers, &inquiry->n, sizeof(inquiry->helpers[0]), i);
    }
    while (first < state->n_nodes && state->nodes[first].id <= inquiry->node)
        first++;
    for (size_t k = 0; k < state->n_nodes && inquiry->n < CORE_MAX_HELPERS; k++) {
        uint64_t id = state->nodes[(first + k) % state->n_nodes].id;

        if (can_help(core, id, inquiry->node) && helper_of(inquiry, id) == NULL)
            inquiry->helpers[inquiry->n++] = (struct helper){.id = id};
    }
}

static void ask(struct core *core, struct inquiry *inquiry)
{
    struct message message = {.type = MESSAGE_ASK, .about = inquiry->node};
    uint64_t wait_us = beats_us(core, AGAIN_BEATS) << inquiry->n_asked;

    choose_helpers(core, inquiry);
    for (size_t i = 0; i < inquiry->n; i++)
        core_send(core, inquiry->helpers[i].id, &message);
    if (wait_us > AGAIN_MAX_MS * 1000)
        wait_us = AGAIN_MAX_MS * 1000;
    else
        inquiry->n_asked++;
    inquiry->next_us = core->now + wait_us;
}

void core_heard(struct core *core, uint64_t from, uint64_t about, bool is_heard)
{
    struct inquiry *inquiry = (struct inquiry *)core_inquiry(core, about);
    struct helper *helper = inquiry != NULL ? helper_of(inquiry, from) : NULL;

    if (helper == NULL)
        return;
    helper->is_answered = true;
    helper->is_heard = is_heard;
    helper->answered_us = core->now;
}

static void end_inquiries(struct core *core)
{
    struct leader_part *lead = &core->lead;

    for (size_t i = lead->n_inquiries; i-- > 0;) {
        if (!core_is_silent(core, lead->inquiries[i].node))
            core_take_out(lead->inquiries, &lead->n_inquiries, sizeof(lead->inquiries[0]), i);
    }
}

void core_asks_run(struct core *core)
{
    end_inquiries(core);
    for (size_t i = 0; i < core->state.n_nodes; i++) {
        const struct node *node = &core->state.nodes[i];
        const struct detector_node *row = detector_node(&core->lead.detector, node->id);
        struct inquiry *inquiry;

        if (row == NULL || node->id == core->config.id)
            continue;
        if (!is_silent(core, row)) {
            core_wake_at(&core->lead.wake_us,
                         silent_since(core, row) + beats_us(core, SILENT_BEATS));
            continue;
        }
        inquiry = (struct inquiry *)core_inquiry(core, node->id);
        if (inquiry == NULL)
            inquiry = inquiry_made(core, node);
        if (inquiry == NULL)
            continue;
        if (core->now >= inquiry->next_us)
            ask(core, inquiry);
        core_wake_at(&core->lead.wake_us, inquiry->next_us);
    }
}

/* ---- for people */

/* The names of those that answered so: "n3", "n3 and n4", "n3, n4 and n5". Returns how many. */
static size_t names_of(const struct core *core, const struct inquiry *inquiry, bool is_answered,
                       bool is_heard, char *ret, size_t size)
{
    const char *names[CORE_MAX_HELPERS];
    size_t n = 0, used = 0;

    for (size_t i = 0; i < inquiry->n; i++) {
        const struct helper *helper = &inquiry->helpers[i];

        if (helper->is_answered == is_answered && helper->is_heard == is_heard)
            names[n++] = core_node_name(core, helper->id);
    }
    ret[0] = '\0';
    for (size_t i = 0; i < n && used < size; i++)
        used += (size_t)snprintf(ret + used, size - used, "%s%s",
                                 i == 0       ? ""
                                 : i + 1 == n ? " and "
                                              : ", ",
                                 names[i]);
    return n;
}

void core_ask_words(const struct core *core, uint64_t node, char *ret, size_t size)
{
    const struct inquiry *inquiry = core_inquiry(core, node);
    char names[CORE_MAX_HELPERS * (NAME_SIZE + 6)];
    size_t n;

    ret[0] = '\0';
    if (inquiry == NULL)
        return;
    n = names_of(core, inquiry, true, true, names, sizeof(names));
    if (n > 0) {
        snprintf(ret, size, "%s hear%s it: only its path to the leader %s is down", names,
                 n == 1 ? "s" : "", core_node_name(core, core->config.id));
        return;
    }
    n = names_of(core, inquiry, true, false, names, sizeof(names));
    if (n > 0) {
        snprintf(ret, size, "%s do%s not hear it either: dead or cut off", names,
                 n == 1 ? "es" : "");
        return;
    }
    n = names_of(core, inquiry, false, false, names, sizeof(names));
    if (n > 0)
        snprintf(ret, size, "%s %s asked and %s not answered yet", names, n == 1 ? "is" : "are",
                 n == 1 ? "has" : "have");
    else
        snprintf(ret, size, "there is nobody else to ask");
}
