#include "scheduler/place.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "consensus/capacity.h"
#include "consensus/copies.h"
#include "scheduler/cores.h"
#include "scheduler/preempt.h"

/* What speaks for a node that fits, the most important first. */
struct merit {
    bool has_image;    /* else it would be fetched first */
    uint32_t headroom; /* of its uplink, in tenths: a few percent more or less decide nothing */
    uint32_t room; /* ‰ of memory, and for a guest with cores ‰ of its cores, free afterwards */
    uint32_t use_permille; /* of its uplink, for words */
};

enum { HEADROOM_STEP = 100, HEADROOM_WEIGHT = 10000, IMAGE_WEIGHT = 1000000 };

struct candidate {
    const struct node *node;
    struct place_row *row;
    struct merit merit;
    struct placement placement;
};

/* Rows of telemetry and nodes both ascend: `at` only goes forward. */
static const struct node_telemetry *telemetry_of(const struct place_request *request, uint64_t node,
                                                 size_t *at)
{
    while (*at < request->n_telemetry && request->telemetry[*at].node < node)
        *at += 1;
    if (*at == request->n_telemetry || request->telemetry[*at].node != node)
        return NULL;
    return &request->telemetry[*at];
}

static uint32_t permille(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0 : (uint32_t)(part * 1000 / whole);
}

static struct merit merit_of(const struct state *state, const struct place_request *request,
                             const struct node *node, uint32_t use_permille)
{
    const struct guest_spec *spec = request->spec;
    const char *except = request->is_move ? spec->name : NULL;
    uint64_t memory = node->facts.memory_mib;
    uint64_t used = capacity_memory_used_mib(state, node->id, except) + capacity_guest_mib(spec);
    uint32_t use = use_permille < 1000 ? use_permille : 1000;
    const struct image *image = state_image(state, spec->image);
    struct merit merit = {.has_image = image != NULL && image_is_held(image, node->id),
                          .headroom = (1000 - use + HEADROOM_STEP - 1) / HEADROOM_STEP,
                          .use_permille = use};

    merit.room = permille(used < memory ? memory - used : 0, memory);
    if (spec->n_cores > 0) {
        uint32_t n_free = cores_n_free(state, node), n_isolated = 0;

        for (uint32_t i = 0; i < node->facts.n_cores; i++)
            n_isolated += node->facts.cores[i].isolated;
        merit.room += permille(n_free > spec->n_cores ? n_free - spec->n_cores : 0, n_isolated);
    }
    return merit;
}

static int64_t score_of(struct merit merit)
{
    return (int64_t)merit.has_image * IMAGE_WEIGHT + (int64_t)merit.headroom * HEADROOM_WEIGHT +
           merit.room;
}

int place_on_node(const struct state *state, const struct guest_spec *spec, bool is_move,
                  const struct node *node, struct placement *ret, char reason[REASON_SIZE])
{
    const struct image *image = state_image(state, spec->image);
    const char *except = is_move ? spec->name : NULL;
    int code = capacity_node_takes(node, spec, reason);

    *ret = (struct placement){0};
    if (code < 0)
        return code;
    if (image == NULL || !image_may_serve(image, node->id))
        return reason_set(reason, -ESTALE, "does not hold image %s", spec->image);
    code = capacity_check_memory(state, node, capacity_guest_mib(spec), except, reason);
    if (code == 0)
        code = cores_choose(state, node, spec->n_cores, except, ret->cores, reason);
    if (code < 0)
        return code;
    ret->node = node->id;
    ret->n_cores = spec->n_cores;
    return 0;
}

bool place_may_leave(const struct state *state, const struct guest_spec *spec, uint64_t node,
                     char reason[REASON_SIZE])
{
    const struct node *from = state_node(state, node);

    if (spec->kind != KIND_VM || from == NULL || from->facts.vm_driver == VM_DRIVER_NONE ||
        vm_driver_moves(from->facts.vm_driver))
        return true;
    reason_set(reason, 0,
               "%s runs machines by %s, which do not move while they run: stop it, and start it "
               "elsewhere",
               from->name, vm_driver_name(from->facts.vm_driver));
    return false;
}

/* Of a machine that moves: both ends speak the same. */
static int check_driver(const struct state *state, const struct place_request *request,
                        const struct node *node, char reason[REASON_SIZE])
{
    const struct node *from = state_node(state, request->is_move ? request->not_on : 0);

    if (from == NULL || request->spec->kind != KIND_VM)
        return 0;
    if (!place_may_leave(state, request->spec, from->id, reason))
        return -ENOTSUP;
    if (node->facts.vm_driver == from->facts.vm_driver)
        return 0;
    return reason_set(reason, -ENOTSUP, "runs machines by %s, and the guest runs by %s",
                      vm_driver_name(node->facts.vm_driver), vm_driver_name(from->facts.vm_driver));
}

/* 0 with the placement filled, or the reason in words. */
static int fit(const struct state *state, const struct place_request *request,
               const struct node_telemetry *telemetry, struct candidate *c)
{
    const struct guest_spec *spec = request->spec;
    char *reason = c->row->reason;
    const struct guest *holder;
    const struct node *home;
    int code;

    if (c->node->id == request->not_on)
        return reason_set(reason, -EINVAL, "the guest is there already");
    code = capacity_node_takes(c->node, spec, reason);
    if (code < 0)
        return code;
    code = check_driver(state, request, c->node, reason);
    if (code < 0)
        return code;
    home = state_volumes_elsewhere(state, spec->name, c->node->id);
    if (home != NULL)
        return reason_set(reason, -ESTALE, "the guest's volumes are on %s", home->name);
    if (telemetry == NULL || !telemetry->present)
        return reason_set(reason, -ESTALE, "no live lease");
    if (telemetry->is_full)
        return reason_set(reason, -ENOSPC, "it had no room lately for what the guest brings");
    holder = preempt_holder(state, c->node, spec);
    if (holder != NULL)
        return reason_set(reason, -ESTALE, "it is being cleared for guest %s (priority %u)",
                          holder->spec.name, holder->spec.priority);
    code = place_on_node(state, spec, request->is_move, c->node, &c->placement, reason);
    if (code < 0)
        return code;
    c->merit = merit_of(state, request, c->node, telemetry->backhaul_permille);
    return 0;
}

static bool is_better(const struct candidate *a, const struct candidate *b)
{
    int64_t score_a = score_of(a->merit), score_b = score_of(b->merit);

    return score_a != score_b ? score_a > score_b : strcmp(a->node->name, b->node->name) < 0;
}

/* Why `best` is preferred to `other`, for the row of either. */
static void explain(const struct candidate *best, const struct candidate *other, char *ret)
{
    const char *of = ret == best->row->reason ? other->node->name : best->node->name;

    if (best->merit.has_image != other->merit.has_image)
        reason_set(ret, 0, "fits; the image is on %s, and would be fetched to %s first",
                   best->node->name, other->node->name);
    else if (best->merit.headroom != other->merit.headroom)
        reason_set(ret, 0, "fits; uplink of %s %u%% busy, of %s %u%% busy", best->node->name,
                   best->merit.use_permille / 10, other->node->name,
                   other->merit.use_permille / 10);
    else if (best->merit.room != other->merit.room)
        reason_set(ret, 0,
                   ret == best->row->reason ? "fits; more memory and cores free than %s"
                                            : "fits; %s has more memory and cores free",
                   of);
    else
        reason_set(ret, 0,
                   ret == best->row->reason ? "fits; as good as %s, and first by name"
                                            : "fits; %s is as good, and first by name",
                   of);
}

/* Marks the best of the candidates and words every row; false when there is none. */
static void choose(struct candidate *candidates, size_t n, struct place_result *ret)
{
    struct candidate *best = NULL, *second = NULL;

    for (size_t i = 0; i < n; i++) {
        struct candidate *c = &candidates[i];

        if (best == NULL || is_better(c, best)) {
            second = best;
            best = c;
        } else if (second == NULL || is_better(c, second)) {
            second = c;
        }
    }
    if (best == NULL)
        return;
    for (size_t i = 0; i < n; i++) {
        if (&candidates[i] != best)
            explain(best, &candidates[i], candidates[i].row->reason);
    }
    if (second != NULL)
        explain(best, second, best->row->reason);
    else
        reason_set(best->row->reason, 0, "the only node that fits");
    best->row->verdict = VERDICT_CHOSEN;
    ret->placement = best->placement;
}

static int check_request(const struct state *state, const struct guest_spec *spec, struct err *err)
{
    if (state_image(state, spec->image) == NULL)
        return err_set(err, -ENOENT, "image %s is unknown", spec->image);
    if (spec->slice[0] != '\0' && state_slice(state, spec->slice) == NULL)
        return err_set(err, -ENOENT, "slice %s is unknown", spec->slice);
    if (spec->on[0] != '\0' && state_node_by_name(state, spec->on) == NULL)
        return err_set(err, -ENOENT, "node %s is unknown", spec->on);
    return 0;
}

int place_guest(const struct state *state, const struct place_request *request,
                struct place_result *ret, struct err *err)
{
    size_t n = 0, at = 0, n_nodes = state->n_nodes > 0 ? state->n_nodes : 1;
    struct candidate *candidates;
    int code = check_request(state, request->spec, err);

    if (code < 0)
        return code;
    *ret = (struct place_result){0};
    ret->rows = calloc(n_nodes, sizeof(*ret->rows));
    candidates = calloc(n_nodes, sizeof(*candidates));
    if (ret->rows == NULL || candidates == NULL) {
        free(candidates);
        place_result_deinit(ret);
        return err_set(err, -ENOMEM, "no memory for a placement");
    }
    ret->n_rows = state->n_nodes;
    for (size_t i = 0; i < state->n_nodes; i++) {
        const struct node *node = &state->nodes[i];
        struct candidate *c = &candidates[n];

        *c = (struct candidate){.node = node, .row = &ret->rows[i]};
        c->row->node = node->id;
        c->row->verdict = VERDICT_REFUSED;
        if (fit(state, request, telemetry_of(request, node->id, &at), c) < 0)
            continue;
        c->row->verdict = VERDICT_POSSIBLE;
        c->row->score = score_of(c->merit);
        n++;
    }
    choose(candidates, n, ret);
    free(candidates);
    return 0;
}

void place_result_deinit(struct place_result *result)
{
    free(result->rows);
    *result = (struct place_result){0};
}
