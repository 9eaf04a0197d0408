/* view_codec: a view of the fabric as bytes (pure). The guard decodes what skeind sent, so decoding
 * trusts nothing.
 */
#include "netfabric/flows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"

enum { VIEW_VERSION = 1, VNI_MAX = (1 << 24) - 1 };
enum { FLAG_OWNER = 1, FLAG_LEFT = 2, FLAGS_ALL = 3 };

void fabric_view_deinit(struct fabric_view *view)
{
    free(view->peers);
    free(view->endpoints);
    *view = (struct fabric_view){0};
}

void fabric_view_encode(const struct fabric_view *view, struct writer *w)
{
    write_u8(w, VIEW_VERSION);
    write_u64(w, view->index);
    write_u32(w, view->vtep);
    write_u32(w, view->n_peers);
    for (uint32_t i = 0; i < view->n_peers; i++)
        write_u32(w, view->peers[i]);
    write_u32(w, view->n_endpoints);
    for (uint32_t i = 0; i < view->n_endpoints; i++) {
        const struct endpoint *e = &view->endpoints[i];

        write_string(w, e->guest);
        write_u32(w, e->vni);
        write_u32(w, e->ip);
        write_u32(w, e->rate_kbps);
        write_u32(w, e->vtep);
        write_u32(w, e->other_vtep);
        write_u16(w, e->port);
        write_u8(w, (uint8_t)((e->is_owner ? FLAG_OWNER : 0) | (e->has_left ? FLAG_LEFT : 0)));
    }
}

static void read_endpoint(struct reader *r, struct endpoint *ret)
{
    uint8_t flags;

    read_string(r, ret->guest, sizeof(ret->guest));
    ret->vni = read_u32(r);
    ret->ip = read_u32(r);
    ret->rate_kbps = read_u32(r);
    ret->vtep = read_u32(r);
    ret->other_vtep = read_u32(r);
    ret->port = read_u16(r);
    flags = read_u8(r);
    if ((flags & ~FLAGS_ALL) != 0)
        reader_fail(r);
    ret->is_owner = (flags & FLAG_OWNER) != 0;
    ret->has_left = (flags & FLAG_LEFT) != 0;
}

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static bool vtep_is_known(const struct fabric_view *view, uint32_t vtep)
{
    return vtep == 0 || vtep == view->vtep ||
           bsearch(&vtep, view->peers, view->n_peers, sizeof(vtep), compare_u32) != NULL;
}

static bool endpoint_is_sound(const struct fabric_view *view, const struct endpoint *e)
{
    if (!name_is_valid(e->guest) || e->vni == 0 || e->vni > VNI_MAX || e->ip == 0)
        return false;
    if (e->port != 0 && (e->port < FABRIC_FIRST_PORT || e->port > FABRIC_LAST_PORT))
        return false;
    if (!vtep_is_known(view, e->vtep) || !vtep_is_known(view, e->other_vtep))
        return false;
    if (e->is_owner)
        return e->port != 0 && e->vtep == view->vtep && !e->has_left;
    return !e->has_left || (e->port != 0 && e->vtep != view->vtep);
}

/* (VNI, address), or the port: both are unique in a view. */
static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static bool keys_are_unique(uint64_t *keys, uint32_t n)
{
    qsort(keys, n, sizeof(*keys), compare_u64);
    for (uint32_t i = 1; i < n; i++)
        if (keys[i] == keys[i - 1])
            return false;
    return true;
}

static bool endpoints_are_distinct(const struct fabric_view *view, uint64_t *scratch)
{
    uint32_t n = 0;

    for (uint32_t i = 1; i < view->n_endpoints; i++)
        if (strcmp(view->endpoints[i - 1].guest, view->endpoints[i].guest) >= 0)
            return false;
    for (uint32_t i = 0; i < view->n_endpoints; i++)
        scratch[i] = (uint64_t)view->endpoints[i].vni << 32 | view->endpoints[i].ip;
    if (!keys_are_unique(scratch, view->n_endpoints))
        return false;
    for (uint32_t i = 0; i < view->n_endpoints; i++)
        if (view->endpoints[i].port != 0)
            scratch[n++] = view->endpoints[i].port;
    return keys_are_unique(scratch, n);
}

static bool view_is_sound(const struct fabric_view *view, uint64_t *scratch)
{
    for (uint32_t i = 0; i < view->n_peers; i++)
        if (view->peers[i] == 0 || view->peers[i] == view->vtep ||
            (i > 0 && view->peers[i] <= view->peers[i - 1]))
            return false;
    for (uint32_t i = 0; i < view->n_endpoints; i++)
        if (!endpoint_is_sound(view, &view->endpoints[i]))
            return false;
    return endpoints_are_distinct(view, scratch);
}

static int read_view(struct reader *r, struct fabric_view *view)
{
    if (read_u8(r) != VIEW_VERSION)
        reader_fail(r);
    view->index = read_u64(r);
    view->vtep = read_u32(r);
    view->n_peers = read_count(r, MAX_NODES);
    view->peers = calloc(view->n_peers + 1, sizeof(view->peers[0]));
    if (view->peers == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < view->n_peers; i++)
        view->peers[i] = read_u32(r);
    view->n_endpoints = read_count(r, FABRIC_MAX_ENDPOINTS);
    view->endpoints = calloc(view->n_endpoints + 1, sizeof(view->endpoints[0]));
    if (view->endpoints == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < view->n_endpoints && !r->failed; i++)
        read_endpoint(r, &view->endpoints[i]);
    return r->failed ? -EBADMSG : 0;
}

int fabric_view_decode(struct reader *r, struct fabric_view *ret)
{
    struct fabric_view view = {0};
    uint64_t *scratch = NULL;
    int code = read_view(r, &view);

    *ret = (struct fabric_view){0};
    if (code == 0) {
        scratch = calloc(view.n_endpoints + 1, sizeof(*scratch));
        if (scratch == NULL)
            code = -ENOMEM;
        else if (!view_is_sound(&view, scratch))
            code = -EBADMSG;
    }
    free(scratch);
    if (code < 0) {
        reader_fail(r);
        fabric_view_deinit(&view);
        return code;
    }
    *ret = view;
    return 0;
}
