/* place: where a guest goes, and for each node why not there (pure, deterministic).
 *
 * Hard: up, present, not cordoned or draining, no witness, guest kind, labels, `on`, memory, whole
 * isolated cores (cores.h), image held, the guest's volumes nowhere else, not being cleared for a
 * more important guest (preempt.h), not known to be too full for what the guest brings, and of a
 * machine that moves what runs it the same on both nodes, and able to (consensus/vm_driver.h).
 * Soft: backhaul headroom, then spread by free memory and cores, then the name.
 */
#ifndef SKEIN_SCHEDULER_PLACE_H
#define SKEIN_SCHEDULER_PLACE_H

#include <stddef.h>
#include <stdint.h>

#include "consensus/state.h"

/* What the leader knows of a node beyond the replicated state: as old as its newest beat. */
struct node_telemetry {
    uint64_t node;
    bool present;               /* its lease is live, as far as the leader granted it */
    bool is_full;               /* it had no room lately for what this guest brings */
    uint32_t backhaul_permille; /* use of its uplink, the busier direction */
};

struct place_request {
    const struct guest_spec *spec;
    bool is_move;    /* the guest exists: its own present cores and memory count as free */
    uint64_t not_on; /* node id that is no candidate (a migration's source); 0 = none */
    size_t n_telemetry;
    const struct node_telemetry *telemetry; /* ascending by node; no row = absent */
};

enum verdict {
    VERDICT_CHOSEN = 1,
    VERDICT_POSSIBLE, /* fits, another one is better */
    VERDICT_REFUSED,
};

struct place_row {
    uint64_t node;
    enum verdict verdict;
    int64_t score;            /* higher is better; 0 when refused */
    char reason[REASON_SIZE]; /* why refused, or what decided */
};

struct place_result {
    struct placement placement; /* node 0 = it fits nowhere; epoch 0 */
    size_t n_rows;
    struct place_row *rows; /* one a node, in the state's order; heap: place_result_deinit */
};

/* Fills `ret`, which must hold nothing. 0 also when it fits nowhere; -ENOENT for an unknown image,
 * slice or `on`, with words; -ENOMEM. */
int place_guest(const struct state *state, const struct place_request *request,
                struct place_result *ret, struct err *err);
/* One node alone, by the state alone (no lease, nothing that is kept for others). 0 with the
 * placement filled; < 0 with the reason in words. */
int place_on_node(const struct state *state, const struct guest_spec *spec, bool is_move,
                  const struct node *node, struct placement *ret, char reason[REASON_SIZE]);
/* Whether the guest could leave the node that it runs on while it runs, wherever there is room:
 * what runs it there is asked. Else the reason in words. */
bool place_may_leave(const struct state *state, const struct guest_spec *spec, uint64_t node,
                     char reason[REASON_SIZE]);
void place_result_deinit(struct place_result *result);

#endif
