#include "agent/skeind/members.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MEMBERS_VERSION = 2 };

void members_deinit(struct members *members)
{
    free(members->list);
    *members = (struct members){0};
}

void members_encode(const struct members *members, struct writer *w)
{
    write_u8(w, MEMBERS_VERSION);
    write_u64(w, members->own_id);
    write_bytes(w, members->cluster, NONCE_SIZE);
    timers_encode(&members->timers, w);
    write_u32(w, members->n);
    for (uint32_t i = 0; i < members->n; i++) {
        const struct member *m = &members->list[i];

        write_u64(w, m->id);
        write_u32(w, m->address);
        write_string(w, m->name);
        write_bytes(w, m->link_key, KEY_SIZE);
        write_bytes(w, m->curve_key, KEY_SIZE);
    }
}

static void read_member(struct reader *r, struct member *ret)
{
    ret->id = read_u64(r);
    ret->address = read_u32(r);
    read_string(r, ret->name, sizeof(ret->name));
    read_bytes(r, ret->link_key, KEY_SIZE);
    read_bytes(r, ret->curve_key, KEY_SIZE);
}

int members_decode(const void *data, size_t size, struct members *ret)
{
    struct members m = {0};
    struct reader r;

    *ret = (struct members){0};
    reader_init(&r, data, size);
    if (read_u8(&r) != MEMBERS_VERSION)
        return -EBADMSG;
    m.own_id = read_u64(&r);
    read_bytes(&r, m.cluster, NONCE_SIZE);
    timers_decode(&r, &m.timers);
    m.n = read_count(&r, MAX_NODES);
    m.list = calloc(m.n > 0 ? m.n : 1, sizeof(*m.list));
    if (m.list == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < m.n && !r.failed; i++)
        read_member(&r, &m.list[i]);
    if (!reader_done(&r) || m.own_id == 0 || timers_check(&m.timers, NULL) < 0) {
        members_deinit(&m);
        return -EBADMSG;
    }
    *ret = m;
    return 0;
}

int members_of_state(const struct state *state, uint64_t own_id, struct members *ret)
{
    struct member *list = calloc(state->n_nodes > 0 ? state->n_nodes : 1, sizeof(*list));

    if (list == NULL)
        return -ENOMEM;
    *ret = (struct members){.own_id = own_id, .n = (uint32_t)state->n_nodes, .list = list};
    memcpy(ret->cluster, state->cluster, NONCE_SIZE);
    ret->timers = state->timers;
    for (size_t i = 0; i < state->n_nodes; i++) {
        const struct node *node = &state->nodes[i];

        list[i].id = node->id;
        list[i].address = node->facts.address;
        memcpy(list[i].name, node->name, sizeof(list[i].name));
        memcpy(list[i].link_key, node->facts.link_key, KEY_SIZE);
        memcpy(list[i].curve_key, node->facts.curve_key, KEY_SIZE);
    }
    return 0;
}

const struct member *members_find(const struct members *members, uint64_t id)
{
    for (uint32_t i = 0; i < members->n; i++) {
        if (members->list[i].id == id)
            return &members->list[i];
    }
    return NULL;
}

bool members_are_equal(const struct members *a, const struct members *b)
{
    if (a->own_id != b->own_id || a->n != b->n || memcmp(a->cluster, b->cluster, NONCE_SIZE) != 0 ||
        !timers_are_equal(&a->timers, &b->timers))
        return false;
    for (uint32_t i = 0; i < a->n; i++) {
        const struct member *x = &a->list[i], *y = &b->list[i];

        if (x->id != y->id || x->address != y->address || strcmp(x->name, y->name) != 0 ||
            memcmp(x->link_key, y->link_key, KEY_SIZE) != 0 ||
            memcmp(x->curve_key, y->curve_key, KEY_SIZE) != 0)
            return false;
    }
    return true;
}
