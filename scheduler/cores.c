#include "scheduler/cores.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "consensus/capacity.h"

void cores_mark_used(const struct state *state, uint64_t node, const char *except,
                     bool used[MAX_CORES])
{
    capacity_mark_cores(state, node, except, used);
}

uint32_t memory_used_mib(const struct state *state, uint64_t node, const char *except)
{
    uint64_t used = capacity_memory_used_mib(state, node, except);

    return used < UINT32_MAX ? (uint32_t)used : UINT32_MAX;
}

uint32_t cores_n_free(const struct state *state, const struct node *node)
{
    bool used[MAX_CORES] = {false};
    uint32_t n = 0;

    capacity_mark_cores(state, node->id, NULL, used);
    for (uint32_t i = 0; i < node->facts.n_cores; i++)
        n += node->facts.cores[i].isolated && !used[node->facts.cores[i].id];
    return n;
}

/* Cores that a guest could have, in ascending order. */
struct pool {
    uint32_t n;
    const struct core_info *cores[MAX_CORES];
};

/* Cores near each other: of one NUMA node, or of one cluster in it. */
enum scope { SCOPE_CLUSTER, SCOPE_NUMA };

static bool same_scope(const struct core_info *a, const struct core_info *b, enum scope scope)
{
    return a->numa == b->numa && (scope == SCOPE_NUMA || a->cluster == b->cluster);
}

static uint32_t scope_size(const struct pool *pool, const struct core_info *of, enum scope scope)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < pool->n; i++)
        n += same_scope(pool->cores[i], of, scope);
    return n;
}

/* A core of the smallest scope that holds n free ones (what is larger stays whole for a larger
 * guest), the first of equals; NULL when none does. */
static const struct core_info *best_scope(const struct pool *pool, uint32_t n, enum scope scope)
{
    const struct core_info *best = NULL;
    uint32_t best_size = UINT32_MAX;

    for (uint32_t i = 0; i < pool->n; i++) {
        uint32_t size = scope_size(pool, pool->cores[i], scope);

        if (size >= n && size < best_size) {
            best = pool->cores[i];
            best_size = size;
        }
    }
    return best;
}

static void keep_scope(struct pool *pool, const struct core_info *of, enum scope scope)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < pool->n; i++) {
        if (same_scope(pool->cores[i], of, scope))
            pool->cores[n++] = pool->cores[i];
    }
    pool->n = n;
}

static uint32_t n_siblings(const struct pool *pool, const struct core_info *of)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < pool->n; i++)
        n += pool->cores[i]->sibling == of->sibling;
    return n;
}

static int compare_ids(const void *a, const void *b)
{
    return (int)*(const uint16_t *)a - (int)*(const uint16_t *)b;
}

/* Adds all free siblings of a core. */
static void take_physical(const struct pool *pool, const struct core_info *of,
                          bool taken[MAX_CORES], uint16_t ret[MAX_GUEST_CORES], uint32_t *n_taken)
{
    for (uint32_t i = 0; i < pool->n; i++) {
        if (pool->cores[i]->sibling == of->sibling) {
            taken[pool->cores[i]->id] = true;
            ret[(*n_taken)++] = pool->cores[i]->id;
        }
    }
}

/* Takes n cores: the fullest physical cores that fit first, so that few siblings are left idle. */
static void take(const struct pool *pool, uint32_t n, uint16_t ret[MAX_GUEST_CORES])
{
    bool taken[MAX_CORES] = {false};
    uint32_t n_taken = 0;

    for (uint32_t size = n; size > 0; size--) {
        for (uint32_t i = 0; i < pool->n && size <= n - n_taken; i++) {
            if (!taken[pool->cores[i]->id] && n_siblings(pool, pool->cores[i]) == size)
                take_physical(pool, pool->cores[i], taken, ret, &n_taken);
        }
    }
    for (uint32_t i = 0; i < pool->n && n_taken < n; i++) {
        if (!taken[pool->cores[i]->id])
            ret[n_taken++] = pool->cores[i]->id;
    }
    qsort(ret, n, sizeof(ret[0]), compare_ids);
}

static void fill_pool(const struct node *node, const bool used[MAX_CORES], struct pool *ret,
                      uint32_t *ret_n_isolated, uint32_t *ret_n_unheld)
{
    ret->n = *ret_n_isolated = *ret_n_unheld = 0;
    for (uint32_t i = 0; i < node->facts.n_cores; i++) {
        const struct core_info *core = &node->facts.cores[i];

        *ret_n_isolated += core->isolated;
        *ret_n_unheld += core->isolated && !used[core->id];
        if (capacity_core_is_free(&node->facts, core, used))
            ret->cores[ret->n++] = core;
    }
}

static uint32_t largest_numa(const struct pool *pool)
{
    uint32_t largest = 0;

    for (uint32_t i = 0; i < pool->n; i++) {
        uint32_t size = scope_size(pool, pool->cores[i], SCOPE_NUMA);

        largest = size > largest ? size : largest;
    }
    return largest;
}

int cores_choose(const struct state *state, const struct node *node, uint32_t n, const char *except,
                 uint16_t ret[MAX_GUEST_CORES], char reason[REASON_SIZE])
{
    bool used[MAX_CORES] = {false};
    const struct core_info *of;
    uint32_t n_isolated, n_unheld;
    enum scope scope = SCOPE_CLUSTER;
    struct pool pool;

    if (n == 0)
        return 0;
    capacity_mark_cores(state, node->id, except, used);
    fill_pool(node, used, &pool, &n_isolated, &n_unheld);
    if (n_unheld < n || n > MAX_GUEST_CORES)
        return reason_set(reason, -ENOSPC, "%u of %u isolated cores free, %u wanted", n_unheld,
                          n_isolated, n);
    if (pool.n < n)
        return reason_set(reason, -ENOSPC,
                          "%u of %u isolated cores free, but %u of them share a physical core with "
                          "another guest; %u wanted",
                          n_unheld, n_isolated, n_unheld - pool.n, n);
    of = best_scope(&pool, n, scope);
    if (of == NULL) {
        scope = SCOPE_NUMA;
        of = best_scope(&pool, n, scope);
    }
    if (of == NULL)
        return reason_set(reason, -ENOSPC,
                          "%u isolated cores free, but at most %u on one NUMA node; %u wanted",
                          pool.n, largest_numa(&pool), n);
    keep_scope(&pool, of, scope);
    take(&pool, n, ret);
    return 0;
}
