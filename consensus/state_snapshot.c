/* state_snapshot: the whole state as bytes, and back; see state.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "consensus/codec.h"
#include "consensus/state_apply.h"

enum { SNAPSHOT_VERSION = 12 };

/* Errno values differ between architectures; these positions do not. */
static const int outcome_codes[] = {0,       -EEXIST,       -ENOENT, -EBUSY,
                                    -ESTALE, -EKEYREJECTED, -EINVAL, -ENOSPC};
enum { N_OUTCOME_CODES = sizeof(outcome_codes) / sizeof(outcome_codes[0]) };

static void node_encode(const struct node *node, struct writer *w)
{
    write_u64(w, node->id);
    write_string(w, node->name);
    node_facts_encode(&node->facts, w);
    write_enum(w, node->role);
    write_enum(w, node->state);
    write_bool(w, node->cordoned);
    write_bool(w, node->draining);
    write_u32(w, node->drain_ms);
    write_u64(w, node->epoch);
    write_bytes(w, node->boot_nonce, NONCE_SIZE);
    write_u32(w, node->ceiling_ms);
}

static int node_decode(struct reader *r, struct node *ret)
{
    int code;

    ret->id = read_u64(r);
    read_string(r, ret->name, sizeof(ret->name));
    code = node_facts_decode(r, &ret->facts);
    ret->role = (enum raft_role)read_enum(r, ROLE_SPARE);
    ret->state = (enum node_state)read_enum(r, NODE_LOST);
    ret->cordoned = read_bool(r);
    ret->draining = read_bool(r);
    ret->drain_ms = read_u32(r);
    ret->epoch = read_u64(r);
    read_bytes(r, ret->boot_nonce, NONCE_SIZE);
    ret->ceiling_ms = read_u32(r);
    return code;
}

static void guest_encode(const struct guest *guest, struct writer *w)
{
    guest_spec_encode(&guest->spec, w);
    write_u64(w, guest->created);
    write_u16(w, guest->slot);
    write_enum(w, guest->desired);
    write_u32(w, guest->ip);
    placement_encode(&guest->placement, w);
    write_u64(w, guest->home);
    write_u64(w, guest->migration);
    write_string(w, guest->preempted_by);
    write_bool(w, guest->must_leave);
    write_u64(w, guest->clears);
    write_u64(w, guest->buddy);
    for (int i = 0; i < MAX_CHECKPOINTS; i++)
        checkpoint_encode(&guest->checkpoints[i], w);
}

static int guest_decode(struct reader *r, struct guest *ret)
{
    int code = guest_spec_decode(r, &ret->spec);

    ret->created = read_u64(r);
    ret->slot = read_u16(r);
    ret->desired = (enum desired_state)read_enum(r, DESIRED_STOPPED);
    ret->ip = read_u32(r);
    placement_decode(r, &ret->placement);
    ret->home = read_u64(r);
    ret->migration = read_u64(r);
    read_string(r, ret->preempted_by, sizeof(ret->preempted_by));
    ret->must_leave = read_bool(r);
    ret->clears = read_u64(r);
    ret->buddy = read_u64(r);
    for (int i = 0; i < MAX_CHECKPOINTS; i++)
        checkpoint_decode(r, &ret->checkpoints[i]);
    return code;
}

static void migration_encode(const struct migration *m, struct writer *w)
{
    write_u64(w, m->id);
    write_string(w, m->guest);
    write_u64(w, m->from);
    write_u64(w, m->to);
    write_u64(w, m->source_epoch);
    placement_encode(&m->source, w);
    placement_encode(&m->target, w);
    write_enum(w, m->phase);
    move_terms_encode(&m->terms, w);
}

static void migration_decode(struct reader *r, struct migration *ret)
{
    ret->id = read_u64(r);
    read_string(r, ret->guest, sizeof(ret->guest));
    ret->from = read_u64(r);
    ret->to = read_u64(r);
    ret->source_epoch = read_u64(r);
    placement_decode(r, &ret->source);
    placement_decode(r, &ret->target);
    ret->phase = (enum migration_phase)read_enum(r, MIGRATION_HANDOVER);
    move_terms_decode(r, &ret->terms);
}

static void request_encode(const struct request_outcome *request, struct writer *w)
{
    uint8_t code = 0;

    while (code < N_OUTCOME_CODES && outcome_codes[code] != request->outcome.code)
        code++;
    if (code == N_OUTCOME_CODES)
        w->failed = true;
    write_bytes(w, request->request, NONCE_SIZE);
    write_u8(w, code);
    write_u64(w, request->outcome.index);
    write_u64(w, request->outcome.id);
    write_string(w, request->outcome.reason);
}

static void request_decode(struct reader *r, struct request_outcome *ret)
{
    uint8_t code;

    read_bytes(r, ret->request, NONCE_SIZE);
    code = read_u8(r);
    if (code < N_OUTCOME_CODES)
        ret->outcome.code = outcome_codes[code];
    else
        reader_fail(r);
    ret->outcome.index = read_u64(r);
    ret->outcome.id = read_u64(r);
    read_string(r, ret->outcome.reason, sizeof(ret->outcome.reason));
}

static void catalog_encode(const struct state *s, struct writer *w)
{
    write_u32(w, (uint32_t)s->n_slices);
    for (size_t i = 0; i < s->n_slices; i++)
        slice_encode(&s->slices[i], w);
    write_u32(w, (uint32_t)s->n_images);
    for (size_t i = 0; i < s->n_images; i++)
        image_encode(&s->images[i], w);
    write_u32(w, (uint32_t)s->n_tokens);
    for (size_t i = 0; i < s->n_tokens; i++)
        token_encode(&s->tokens[i], w);
    write_u32(w, (uint32_t)s->n_requests);
    for (size_t i = 0; i < s->n_requests; i++)
        request_encode(&s->requests[i], w);
}

void state_snapshot(const struct state *s, struct writer *w)
{
    write_u8(w, SNAPSHOT_VERSION);
    write_u64(w, s->index);
    write_u64(w, s->term);
    write_bytes(w, s->cluster, NONCE_SIZE);
    write_u64(w, s->leader);
    write_u64(w, s->leader_term);
    write_u32(w, s->next_vni);
    write_bool(w, s->maintenance);
    write_bool(w, s->preemption);
    timers_encode(&s->timers, w);
    catalog_encode(s, w);
    write_u32(w, (uint32_t)s->n_nodes);
    for (size_t i = 0; i < s->n_nodes; i++)
        node_encode(&s->nodes[i], w);
    write_u32(w, (uint32_t)s->n_guests);
    for (size_t i = 0; i < s->n_guests; i++)
        guest_encode(&s->guests[i], w);
    write_u32(w, (uint32_t)s->n_migrations);
    for (size_t i = 0; i < s->n_migrations; i++)
        migration_encode(&s->migrations[i], w);
}

/* Reads a count and makes room for so many zeroed elements. A count that the bytes left cannot
 * hold is refused before anything is allocated. 0, -EBADMSG or -ENOMEM. */
static int make_room(struct reader *r, uint32_t max, size_t size, void *ret_array, uint32_t *ret_n)
{
    uint32_t n = read_count(r, max);
    void *array = NULL;

    if (r->failed || n > r->size - r->at) {
        reader_fail(r);
        return -EBADMSG;
    }
    if (n > 0) {
        array = calloc(n, size);
        if (array == NULL)
            return -ENOMEM;
    }
    memcpy(ret_array, &array, sizeof(array));
    *ret_n = n;
    return 0;
}

/* Counts in the state grow with each element, so that state_deinit is right after a failure. */
static int catalog_decode(struct reader *r, struct state *s)
{
    uint32_t n;
    int code;

    code = make_room(r, MAX_SLICES, sizeof(*s->slices), &s->slices, &n);
    for (uint32_t i = 0; code == 0 && i < n && !r->failed; i++)
        slice_decode(r, &s->slices[s->n_slices++]);
    if (code == 0)
        code = make_room(r, MAX_IMAGES, sizeof(*s->images), &s->images, &n);
    for (uint32_t i = 0; code == 0 && i < n; i++)
        code = image_decode(r, &s->images[s->n_images++]);
    if (code == 0)
        code = make_room(r, MAX_TOKENS, sizeof(*s->tokens), &s->tokens, &n);
    for (uint32_t i = 0; code == 0 && i < n && !r->failed; i++)
        token_decode(r, &s->tokens[s->n_tokens++]);
    if (code == 0)
        code = make_room(r, STATE_REQUESTS_KEPT, sizeof(*s->requests), &s->requests, &n);
    for (uint32_t i = 0; code == 0 && i < n && !r->failed; i++)
        request_decode(r, &s->requests[s->n_requests++]);
    return code;
}

static int members_decode(struct reader *r, struct state *s)
{
    uint32_t n;
    int code;

    code = make_room(r, MAX_NODES, sizeof(*s->nodes), &s->nodes, &n);
    for (uint32_t i = 0; code == 0 && i < n; i++)
        code = node_decode(r, &s->nodes[s->n_nodes++]);
    if (code == 0)
        code = make_room(r, MAX_GUESTS, sizeof(*s->guests), &s->guests, &n);
    for (uint32_t i = 0; code == 0 && i < n; i++)
        code = guest_decode(r, &s->guests[s->n_guests++]);
    if (code == 0)
        code = make_room(r, MAX_GUESTS, sizeof(*s->migrations), &s->migrations, &n);
    for (uint32_t i = 0; code == 0 && i < n && !r->failed; i++)
        migration_decode(r, &s->migrations[s->n_migrations++]);
    return code;
}

static int state_decode(struct reader *r, struct state *s)
{
    uint8_t version = read_u8(r);
    int code;

    if (version != SNAPSHOT_VERSION)
        reader_fail(r);
    s->index = read_u64(r);
    s->term = read_u64(r);
    read_bytes(r, s->cluster, NONCE_SIZE);
    s->leader = read_u64(r);
    s->leader_term = read_u64(r);
    s->next_vni = read_u32(r);
    s->maintenance = read_bool(r);
    s->preemption = read_bool(r);
    timers_decode(r, &s->timers);
    code = catalog_decode(r, s);
    return code == 0 ? members_decode(r, s) : code;
}

int state_restore(struct state *ret, const void *data, size_t size, struct err *err)
{
    struct reader r;
    int code;

    state_init(ret);
    reader_init(&r, data, size);
    code = state_decode(&r, ret);
    if (code == -ENOMEM)
        err_set(err, -ENOMEM, "no memory for a snapshot of %zu bytes", size);
    else if (!reader_done(&r))
        code = err_set(err, -EBADMSG, "malformed snapshot (%zu bytes, stopped at %zu)", size, r.at);
    else
        code = state_check(ret, err);
    if (code < 0)
        state_deinit(ret);
    return code;
}

uint64_t state_digest(const struct state *state)
{
    uint64_t hash = 0xcbf29ce484222325u;
    struct writer w;

    writer_init_growing(&w, SNAPSHOT_MAX_SIZE);
    state_snapshot(state, &w);
    memory_must(w.failed ? -ENOMEM : 0);
    for (size_t i = 0; i < w.size; i++)
        hash = (hash ^ w.data[i]) * 0x100000001b3u;
    writer_deinit(&w);
    return hash;
}
