#include "agent/api/envelope.h"

#include <errno.h>
#include <string.h>

#include "base/limits.h"

enum { ENVELOPE_VERSION = 1 };

bool origin_is_equal(const struct origin *a, const struct origin *b)
{
    return a->node == b->node && a->kind == b->kind && a->route_size == b->route_size &&
           memcmp(a->route, b->route, a->route_size) == 0;
}

void envelope_encode(const struct envelope *envelope, struct writer *w)
{
    write_u8(w, ENVELOPE_VERSION);
    write_u8(w, (uint8_t)envelope->origin.kind);
    write_u8(w, envelope->origin.route_size);
    write_bytes(w, envelope->origin.route, envelope->origin.route_size);
    write_bool(w, envelope->is_last);
    write_u32(w, (uint32_t)envelope->json_size);
    write_bytes(w, envelope->json, envelope->json_size);
    write_u32(w, (uint32_t)envelope->size);
    write_bytes(w, envelope->data, envelope->size);
}

/* The next `size` bytes, in place. */
static const uint8_t *read_in_place(struct reader *r, size_t size)
{
    const uint8_t *at = r->data + r->at;

    if (r->failed || size > r->size - r->at) {
        reader_fail(r);
        return NULL;
    }
    r->at += size;
    return at;
}

int envelope_decode(const void *data, size_t size, struct envelope *ret)
{
    struct reader r;

    *ret = (struct envelope){0};
    reader_init(&r, data, size);
    if (read_u8(&r) != ENVELOPE_VERSION)
        return -EBADMSG;
    ret->origin.kind = (enum origin_kind)read_u8(&r);
    ret->origin.route_size = read_u8(&r);
    if (ret->origin.route_size > ROUTE_MAX_SIZE || ret->origin.kind < ORIGIN_LOCAL ||
        ret->origin.kind > ORIGIN_NODE)
        return -EBADMSG;
    read_bytes(&r, ret->origin.route, ret->origin.route_size);
    ret->is_last = read_bool(&r);
    ret->json_size = read_count(&r, MESSAGE_MAX_SIZE);
    ret->json = (const char *)read_in_place(&r, ret->json_size);
    ret->size = read_count(&r, MESSAGE_MAX_SIZE);
    ret->data = read_in_place(&r, ret->size);
    if (ret->size == 0)
        ret->data = NULL;
    return reader_done(&r) ? 0 : -EBADMSG;
}
