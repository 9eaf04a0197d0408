#include "agent/core/detector.h"

#include <stdlib.h>
#include <string.h>

#include "base/planted.h"

void detector_init(struct detector *d, uint32_t authority_ms, uint32_t lease_ms)
{
    *d = (struct detector){.authority_ms = authority_ms, .lease_ms = lease_ms};
}

void detector_set_timers(struct detector *d, uint32_t authority_ms, uint32_t lease_ms)
{
    d->authority_ms = authority_ms;
    d->lease_ms = lease_ms;
}

void detector_deinit(struct detector *d)
{
    free(d->nodes);
    *d = (struct detector){0};
}

void detector_lead(struct detector *d, uint64_t term, uint64_t now)
{
    d->is_leading = true;
    d->term = term;
    d->became_us = now;
    d->n = 0;
}

void detector_yield(struct detector *d)
{
    d->is_leading = false;
    d->n = 0;
}

static struct detector_node *find(const struct detector *d, uint64_t id)
{
    size_t low = 0, high = d->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (d->nodes[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < d->n && d->nodes[low].id == id ? &d->nodes[low] : NULL;
}

const struct detector_node *detector_node(const struct detector *d, uint64_t node)
{
    return find(d, node);
}

static void reserve(struct detector *d, size_t n)
{
    struct detector_node *nodes;

    if (n <= d->capacity)
        return;
    nodes = realloc(d->nodes, n * sizeof(*nodes));
    if (nodes == NULL)
        abort(); /* without its rows the leader could forget a promise */
    d->nodes = nodes;
    d->capacity = n;
}

void detector_sync(struct detector *d, const struct state *state, uint64_t now)
{
    size_t kept = 0;

    if (!d->is_leading)
        return;
    for (size_t i = 0; i < d->n; i++) {
        if (state_node(state, d->nodes[i].id) != NULL)
            d->nodes[kept++] = d->nodes[i];
    }
    d->n = kept;
    reserve(d, state->n_nodes);
    for (size_t i = 0; i < state->n_nodes; i++) {
        const struct node *node = &state->nodes[i];

        if (i >= d->n || d->nodes[i].id != node->id) {
            memmove(&d->nodes[i + 1], &d->nodes[i], (d->n - i) * sizeof(*d->nodes));
            d->nodes[i] = (struct detector_node){
                .id = node->id,
                .epoch = node->epoch,
                .counted_us = now,
                .calm_us = now,
                .want_ms = node->ceiling_ms > d->lease_ms ? node->ceiling_ms : d->lease_ms,
            };
            d->n++;
        } else if (d->nodes[i].epoch != node->epoch) {
            d->nodes[i].epoch = node->epoch;
            d->nodes[i].counted_us = now;
        }
    }
}

void detector_set_voters(struct detector *d, const uint64_t *voters, size_t n)
{
    d->n_voters = (uint32_t)(n < DETECTOR_MAX_VOTERS ? n : DETECTOR_MAX_VOTERS);
    if (n > 0)
        memcpy(d->voters, voters, d->n_voters * sizeof(*voters));
}

/* The newest stamp that a majority of the voters has echoed. */
static uint64_t majority_echo(const struct detector *d)
{
    uint64_t echoes[DETECTOR_MAX_VOTERS];
    uint32_t n = 0;

    for (uint32_t i = 0; i < d->n_voters; i++) {
        const struct detector_node *node = find(d, d->voters[i]);
        uint64_t echo = node != NULL ? node->echo_us : 0;
        uint32_t at = n++;

        for (; at > 0 && echoes[at - 1] < echo; at--)
            echoes[at] = echoes[at - 1];
        echoes[at] = echo;
    }
    return n > 0 ? echoes[n / 2] : 0;
}

uint64_t detector_authority_end(const struct detector *d)
{
    uint64_t echo = d->is_leading ? majority_echo(d) : 0;

    return echo == 0 ? 0 : echo + (uint64_t)d->authority_ms * 1000;
}

bool detector_has_authority(const struct detector *d, uint64_t now)
{
    uint64_t end = detector_authority_end(d);

    return end != 0 && now <= end;
}

uint64_t detector_grace_us(const struct detector *d)
{
    return (uint64_t)d->lease_ms * 500;
}

/* What of a lease of `lease_ms` may still be granted: a majority's echo that is older than A takes
 * from it what it is older by, so that it ends when one granted at the end of authority would.
 * 0 = nothing that would help. */
static uint32_t rest_of_lease(const struct detector *d, uint32_t lease_ms, uint64_t now)
{
    uint64_t end_us = detector_authority_end(d);
    uint64_t late_ms = now > end_us ? (now - end_us + 999) / 1000 : 0;

    if (end_us == 0 || late_ms * 1000 > detector_grace_us(d) || late_ms > lease_ms / 2)
        return 0;
    return lease_ms - (uint32_t)late_ms;
}

static bool is_overtaken(const struct detector_node *node, const struct stamp *stamp)
{
    const struct stamp *newest = &node->newest;

    if (!node->heard || memcmp(newest->boot_nonce, stamp->boot_nonce, NONCE_SIZE) != 0)
        return false;
    return stamp->run < newest->run ||
           (stamp->run == newest->run && stamp->sequence <= newest->sequence);
}

/* A boot that echoes what was sent after the boot was first heard of is alive now: a late message
 * of an earlier boot cannot. `known` is the state's. */
static enum detector_verdict judge_boot(struct detector_node *node, const struct beat *beat,
                                        bool echo_is_ours, uint64_t now)
{
    if (memcmp(node->new_boot, beat->stamp.boot_nonce, NONCE_SIZE) != 0 || node->new_boot_us == 0) {
        memcpy(node->new_boot, beat->stamp.boot_nonce, NONCE_SIZE);
        node->new_boot_us = now;
        return IS_PLANTED(REBOOT_UNPROVEN) ? DETECTOR_REBOOTED : DETECTOR_UNPROVEN;
    }
    if ((!echo_is_ours || beat->echo.sent_us < node->new_boot_us) && !IS_PLANTED(REBOOT_UNPROVEN))
        return DETECTOR_UNPROVEN;
    return DETECTOR_REBOOTED;
}

static uint32_t lease_for(const struct detector_node *row, const struct node *node)
{
    return node->ceiling_ms < row->want_ms && !IS_PLANTED(CEILING_UNAGREED) ? node->ceiling_ms
                                                                            : row->want_ms;
}

/* Beats that come later than half a lease, again and again, though the node lives: its leases must
 * be longer. (A gap as long as a lease is another matter: that node was cut off.) */
static void note_gap(const struct detector *d, struct detector_node *row, const struct stamp *stamp,
                     uint64_t now)
{
    uint64_t gap_us = now - row->heard_us;
    uint32_t longer_ms = row->want_ms * 3 / 2;

    if (!row->heard || row->newest.run != stamp->run ||
        memcmp(row->newest.boot_nonce, stamp->boot_nonce, NONCE_SIZE) != 0 ||
        gap_us < (uint64_t)row->want_ms * 500 || gap_us > (uint64_t)row->want_ms * 1000)
        return;
    if (row->n_gaps == 0 || now > row->calm_us + (uint64_t)DETECTOR_CALM_MS * 1000)
        row->n_gaps = 0;
    if (row->n_gaps++ == 0)
        row->calm_us = now;
    if (row->n_gaps < DETECTOR_GAPS)
        return;
    row->n_gaps = 0;
    row->calm_us = now;
    row->want_ms = longer_ms < GROWN_LEASE_MS ? longer_ms : (uint32_t)GROWN_LEASE_MS;
    if (row->want_ms < d->lease_ms)
        row->want_ms = d->lease_ms;
}

enum detector_verdict detector_beat(struct detector *d, const struct state *state, uint64_t id,
                                    const struct beat *beat, uint64_t now, uint32_t *ret_ms)
{
    const struct node *known = state_node(state, id);
    struct detector_node *node = find(d, id);
    bool is_known_boot, echo_is_ours;
    uint32_t lease_ms;

    if (known == NULL || node == NULL)
        return DETECTOR_STRANGER;
    is_known_boot = memcmp(known->boot_nonce, beat->stamp.boot_nonce, NONCE_SIZE) == 0;
    echo_is_ours = beat->echo.term == d->term && beat->echo.sent_us <= now;
    if (!is_known_boot) {
        enum detector_verdict verdict = judge_boot(node, beat, echo_is_ours, now);

        if (verdict == DETECTOR_UNPROVEN)
            return verdict;
    }
    if (is_overtaken(node, &beat->stamp))
        return DETECTOR_STALE;
    note_gap(d, node, &beat->stamp, now);
    node->heard = true;
    node->heard_us = now;
    node->newest = beat->stamp;
    node->lapsed = beat->lapsed;
    if (echo_is_ours && (beat->published_term == d->term || IS_PLANTED(ECHO_WITHOUT_TERM)) &&
        beat->echo.sent_us > node->echo_us)
        node->echo_us = IS_PLANTED(AUTHORITY_BY_ARRIVAL) ? now : beat->echo.sent_us;
    if (!is_known_boot)
        return DETECTOR_REBOOTED;
    if (node->is_deciding && !IS_PLANTED(GRANT_WHILE_DECIDING))
        return DETECTOR_WITHHELD;
    if (known->state == NODE_LOST)
        return DETECTOR_RETURNED;
    lease_ms = rest_of_lease(d, lease_for(node, known), now);
    if (lease_ms == 0 || (!echo_is_ours && !detector_has_authority(d, now)))
        return DETECTOR_WITHHELD;
    *ret_ms = lease_ms;
    return DETECTOR_GRANT;
}

void detector_granted(struct detector *d, uint64_t id, uint32_t lease_ms, uint64_t now)
{
    struct detector_node *node = find(d, id);

    if (node == NULL)
        return;
    node->granted_us = now;
    node->granted_ms = lease_ms;
}

void detector_decide(struct detector *d, uint64_t id, bool is_deciding)
{
    struct detector_node *node = find(d, id);

    if (node != NULL)
        node->is_deciding = is_deciding;
}

/* Longest time on our clock in which a clock that is slower by twice the allowed drift counts
 * `ms`. */
static uint64_t outlast_us(uint64_t ms)
{
    return ms * (1000 + (IS_PLANTED(NO_MARGIN) ? 0 : 3 * CLOCK_DRIFT_PERMILLE));
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* After a calm time the lease shrinks by a step. */
static void relax(const struct detector *d, struct detector_node *row, uint64_t now)
{
    if (row->want_ms <= d->lease_ms || now < row->calm_us + (uint64_t)DETECTOR_CALM_MS * 1000)
        return;
    row->calm_us = now;
    row->n_gaps = 0;
    row->want_ms = row->want_ms * 2 / 3;
    if (row->want_ms < d->lease_ms)
        row->want_ms = d->lease_ms;
}

uint32_t detector_ceiling(struct detector *d, const struct state *state, uint64_t id, uint64_t now)
{
    const struct node *node = state_node(state, id);
    struct detector_node *row = find(d, id);
    uint64_t run_out_us;

    if (node == NULL || row == NULL)
        return 0;
    relax(d, row, now);
    if (row->want_ms >= node->ceiling_ms) {
        row->less_us = 0;
        return row->want_ms > node->ceiling_ms ? row->want_ms : 0;
    }
    /* Grant less, let the longer ones run out (an earlier leader's too), then agree on it. */
    if (row->less_us == 0)
        row->less_us = now;
    run_out_us = later(row->less_us + outlast_us(node->ceiling_ms),
                       d->became_us + outlast_us(d->authority_ms + node->ceiling_ms));
    return now > run_out_us ? row->want_ms : 0;
}

/* Until then a lease of the node may be live. */
static uint64_t lease_over_us(const struct detector *d, const struct detector_node *row,
                              const struct node *node)
{
    static const uint8_t no_boot[NONCE_SIZE];
    uint64_t ceiling = outlast_us(node->ceiling_ms);
    uint64_t patience = ceiling;
    uint64_t earlier_leaders = d->became_us + outlast_us(d->authority_ms + node->ceiling_ms);

    if (memcmp(node->boot_nonce, no_boot, NONCE_SIZE) == 0 && !row->heard)
        patience = later(patience, (uint64_t)DETECTOR_FIRST_BEAT_MS * 1000);
    if (IS_PLANTED(HASTY_LEADER))
        earlier_leaders = 0;
    return later(later(row->granted_us + ceiling, earlier_leaders), row->counted_us + patience);
}

static bool may_be_lost(const struct detector_node *row, const struct node *node)
{
    return node != NULL && node->state == NODE_UP && !row->is_deciding;
}

uint64_t detector_next_lost(const struct detector *d, const struct state *state, uint64_t after,
                            uint64_t now)
{
    for (size_t i = 0; d->is_leading && i < d->n; i++) {
        const struct detector_node *row = &d->nodes[i];
        const struct node *node = state_node(state, row->id);

        if (row->id > after && may_be_lost(row, node) && now > lease_over_us(d, row, node))
            return row->id;
    }
    return 0;
}

uint64_t detector_over_us(const struct detector *d, const struct state *state, uint64_t id)
{
    const struct detector_node *row = find(d, id);
    const struct node *node = state_node(state, id);

    return row != NULL && may_be_lost(row, node) ? lease_over_us(d, row, node) + 1 : 0;
}

uint64_t detector_deadline(const struct detector *d, const struct state *state)
{
    uint64_t deadline = UINT64_MAX;

    for (size_t i = 0; d->is_leading && i < d->n; i++) {
        const struct detector_node *row = &d->nodes[i];
        const struct node *node = state_node(state, row->id);
        uint64_t over = may_be_lost(row, node) ? lease_over_us(d, row, node) + 1 : UINT64_MAX;

        if (over < deadline)
            deadline = over;
    }
    return deadline;
}

bool detector_is_present(const struct detector *d, uint64_t id, uint64_t now)
{
    const struct detector_node *node = find(d, id);

    return node != NULL && node->granted_us != 0 && !node->is_deciding &&
           now < node->granted_us + (uint64_t)node->granted_ms * 1000;
}
