#include "consensus/command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "consensus/codec.h"

enum { COMMAND_VERSION = 5 };

/* The shape of a command's body: several types share one member of the union. */
enum body {
    BODY_NONE,
    BODY_CLUSTER_INIT,
    BODY_TERM_STARTED,
    BODY_TOKEN_CREATE,
    BODY_NODE_JOIN,
    BODY_NODE_FACTS,
    BODY_NODE_SET_ROLE,
    BODY_NODE_FLAG,
    BODY_NODE_CEILING,
    BODY_NODE_EVENT,
    BODY_BY_NAME,
    BODY_SLICE_CREATE,
    BODY_IMAGE_ADD,
    BODY_IMAGE_HELD,
    BODY_IMAGE_RELEASE,
    BODY_GUEST_CREATE,
    BODY_GUEST_PLACE,
    BODY_GUEST_STOPPED,
    BODY_MIGRATION_RESERVE,
    BODY_MIGRATION_STEP,
    BODY_CLUSTER_SET,
    BODY_GUEST_EVICT,
    BODY_GUEST_PROTECT,
    BODY_GUEST_BUDDY,
    BODY_GUEST_CHECKPOINT,
    BODY_GUEST_LEAVE,
};

static const struct {
    const char *name;
    enum body body;
} types[COMMAND_TYPE_END] = {
    [COMMAND_CLUSTER_INIT] = {"cluster-init", BODY_CLUSTER_INIT},
    [COMMAND_TERM_STARTED] = {"term-started", BODY_TERM_STARTED},
    [COMMAND_TOKEN_CREATE] = {"token-create", BODY_TOKEN_CREATE},
    [COMMAND_NODE_JOIN] = {"node-join", BODY_NODE_JOIN},
    [COMMAND_NODE_FACTS] = {"node-facts", BODY_NODE_FACTS},
    [COMMAND_NODE_SET_ROLE] = {"node-set-role", BODY_NODE_SET_ROLE},
    [COMMAND_NODE_CORDON] = {"node-cordon", BODY_NODE_FLAG},
    [COMMAND_NODE_DRAIN] = {"node-drain", BODY_NODE_FLAG},
    [COMMAND_NODE_CEILING] = {"node-ceiling", BODY_NODE_CEILING},
    [COMMAND_NODE_LOST] = {"node-lost", BODY_NODE_EVENT},
    [COMMAND_NODE_REBOOTED] = {"node-rebooted", BODY_NODE_EVENT},
    [COMMAND_NODE_RETURNED] = {"node-returned", BODY_NODE_EVENT},
    [COMMAND_NODE_REMOVE] = {"node-remove", BODY_BY_NAME},
    [COMMAND_SLICE_CREATE] = {"slice-create", BODY_SLICE_CREATE},
    [COMMAND_SLICE_REMOVE] = {"slice-remove", BODY_BY_NAME},
    [COMMAND_IMAGE_ADD] = {"image-add", BODY_IMAGE_ADD},
    [COMMAND_IMAGE_HELD] = {"image-held", BODY_IMAGE_HELD},
    [COMMAND_IMAGE_REMOVE] = {"image-remove", BODY_BY_NAME},
    [COMMAND_GUEST_CREATE] = {"guest-create", BODY_GUEST_CREATE},
    [COMMAND_GUEST_PLACE] = {"guest-place", BODY_GUEST_PLACE},
    [COMMAND_GUEST_STOP] = {"guest-stop", BODY_BY_NAME},
    [COMMAND_GUEST_STOPPED] = {"guest-stopped", BODY_GUEST_STOPPED},
    [COMMAND_GUEST_START] = {"guest-start", BODY_GUEST_PLACE},
    [COMMAND_GUEST_REMOVE] = {"guest-remove", BODY_BY_NAME},
    [COMMAND_MIGRATION_RESERVE] = {"migration-reserve", BODY_MIGRATION_RESERVE},
    [COMMAND_MIGRATION_COMMIT] = {"migration-commit", BODY_MIGRATION_STEP},
    [COMMAND_MIGRATION_ABORT] = {"migration-abort", BODY_MIGRATION_STEP},
    [COMMAND_MIGRATION_DONE] = {"migration-done", BODY_MIGRATION_STEP},
    [COMMAND_CLUSTER_SET] = {"cluster-set", BODY_CLUSTER_SET},
    [COMMAND_IMAGE_RELEASE] = {"image-release", BODY_IMAGE_RELEASE},
    [COMMAND_GUEST_EVICT] = {"guest-evict", BODY_GUEST_EVICT},
    [COMMAND_GUEST_PROTECT] = {"guest-protect", BODY_GUEST_PROTECT},
    [COMMAND_GUEST_BUDDY] = {"guest-buddy", BODY_GUEST_BUDDY},
    [COMMAND_GUEST_CHECKPOINT] = {"guest-checkpoint", BODY_GUEST_CHECKPOINT},
    [COMMAND_MIGRATION_RETURN] = {"migration-return", BODY_MIGRATION_STEP},
    [COMMAND_GUEST_LEAVE] = {"guest-leave", BODY_GUEST_LEAVE},
};

static enum body body_of(enum command_type type)
{
    return (unsigned)type < COMMAND_TYPE_END ? types[type].body : BODY_NONE;
}

const char *command_type_name(enum command_type type)
{
    return body_of(type) == BODY_NONE ? "unknown" : types[type].name;
}

void command_deinit(struct command *c)
{
    switch (body_of(c->type)) {
    case BODY_CLUSTER_INIT:
        node_facts_deinit(&c->cluster_init.facts);
        break;
    case BODY_NODE_JOIN:
        node_facts_deinit(&c->node_join.facts);
        break;
    case BODY_NODE_FACTS:
        node_facts_deinit(&c->node_facts.facts);
        break;
    case BODY_IMAGE_ADD:
        image_deinit(&c->image_add.image);
        break;
    case BODY_GUEST_CREATE:
        guest_spec_deinit(&c->guest_create.spec);
        break;
    default:
        break;
    }
    memset(c, 0, sizeof(*c));
}

static void encode_node_body(const struct command *c, struct writer *w)
{
    switch (body_of(c->type)) {
    case BODY_CLUSTER_INIT:
        write_bytes(w, c->cluster_init.cluster, NONCE_SIZE);
        write_string(w, c->cluster_init.name);
        node_facts_encode(&c->cluster_init.facts, w);
        timers_encode(&c->cluster_init.timers, w);
        break;
    case BODY_TERM_STARTED:
        write_u64(w, c->term_started.node);
        write_u64(w, c->term_started.term);
        break;
    case BODY_TOKEN_CREATE:
        token_encode(&c->token_create.token, w);
        break;
    case BODY_NODE_JOIN:
        write_bytes(w, c->node_join.token_hash, DIGEST_SIZE);
        write_string(w, c->node_join.name);
        node_facts_encode(&c->node_join.facts, w);
        timers_encode(&c->node_join.timers, w);
        break;
    case BODY_NODE_FACTS:
        write_u64(w, c->node_facts.node);
        node_facts_encode(&c->node_facts.facts, w);
        break;
    case BODY_NODE_SET_ROLE:
        write_u64(w, c->node_set_role.node);
        write_enum(w, c->node_set_role.role);
        break;
    case BODY_NODE_FLAG:
        write_string(w, c->node_flag.name);
        write_bool(w, c->node_flag.flag);
        write_u32(w, c->node_flag.drain_ms);
        break;
    case BODY_NODE_CEILING:
        write_u64(w, c->node_ceiling.node);
        write_u32(w, c->node_ceiling.ceiling_ms);
        break;
    case BODY_NODE_EVENT:
        write_u64(w, c->node_event.node);
        write_u64(w, c->node_event.expect_epoch);
        write_u64(w, c->node_event.term);
        write_bytes(w, c->node_event.boot_nonce, NONCE_SIZE);
        loss_origin_encode(&c->node_event.origin, w);
        break;
    default:
        w->failed = true;
        break;
    }
}

static void encode_evict(const struct command *c, struct writer *w)
{
    uint32_t n = c->guest_evict.n_victims;

    if (n < 1 || n > MAX_VICTIMS) {
        w->failed = true;
        return;
    }
    write_string(w, c->guest_evict.name);
    write_u64(w, c->guest_evict.expect_epoch);
    write_u64(w, c->guest_evict.node);
    write_u32(w, n);
    for (uint32_t i = 0; i < n; i++) {
        write_string(w, c->guest_evict.victims[i].name);
        write_u64(w, c->guest_evict.victims[i].epoch);
    }
}

static void encode_protection(const struct command *c, struct writer *w)
{
    switch (body_of(c->type)) {
    case BODY_GUEST_PROTECT:
        write_string(w, c->guest_protect.name);
        write_u32(w, c->guest_protect.protect_ms);
        break;
    case BODY_GUEST_BUDDY:
        write_string(w, c->guest_buddy.name);
        write_u64(w, c->guest_buddy.node);
        break;
    default:
        write_string(w, c->guest_checkpoint.name);
        write_u64(w, c->guest_checkpoint.epoch);
        checkpoint_encode(&c->guest_checkpoint.checkpoint, w);
        write_u32(w, c->guest_checkpoint.age_ms);
        break;
    }
}

static void encode_body(const struct command *c, struct writer *w)
{
    switch (body_of(c->type)) {
    case BODY_BY_NAME:
        write_string(w, c->by_name.name);
        break;
    case BODY_SLICE_CREATE:
        slice_encode(&c->slice_create.slice, w);
        break;
    case BODY_IMAGE_ADD:
        image_encode(&c->image_add.image, w);
        break;
    case BODY_IMAGE_HELD:
        write_string(w, c->image_held.name);
        write_bytes(w, c->image_held.digest, DIGEST_SIZE);
        write_u64(w, c->image_held.node);
        break;
    case BODY_IMAGE_RELEASE:
        write_string(w, c->image_release.name);
        write_u64(w, c->image_release.node);
        break;
    case BODY_GUEST_CREATE:
        guest_spec_encode(&c->guest_create.spec, w);
        placement_encode(&c->guest_create.placement, w);
        break;
    case BODY_GUEST_PLACE:
        write_string(w, c->guest_place.name);
        write_u64(w, c->guest_place.expect_epoch);
        placement_encode(&c->guest_place.placement, w);
        break;
    case BODY_GUEST_STOPPED:
        write_string(w, c->guest_stopped.name);
        write_u64(w, c->guest_stopped.epoch);
        write_bool(w, c->guest_stopped.exited);
        break;
    case BODY_GUEST_LEAVE:
        write_string(w, c->guest_leave.name);
        write_u64(w, c->guest_leave.expect_epoch);
        break;
    case BODY_MIGRATION_RESERVE:
        write_string(w, c->migration_reserve.guest);
        write_u64(w, c->migration_reserve.source_epoch);
        placement_encode(&c->migration_reserve.target, w);
        move_terms_encode(&c->migration_reserve.terms, w);
        break;
    case BODY_MIGRATION_STEP:
        write_u64(w, c->migration_step.id);
        write_bool(w, c->migration_step.is_lazy);
        write_string(w, c->migration_step.reason);
        break;
    case BODY_CLUSTER_SET:
        write_enum(w, c->cluster_set.setting);
        write_bool(w, c->cluster_set.flag);
        break;
    case BODY_GUEST_EVICT:
        encode_evict(c, w);
        break;
    case BODY_GUEST_PROTECT:
    case BODY_GUEST_BUDDY:
    case BODY_GUEST_CHECKPOINT:
        encode_protection(c, w);
        break;
    default:
        encode_node_body(c, w);
        break;
    }
}

void command_encode(const struct command *command, struct writer *w)
{
    write_u8(w, COMMAND_VERSION);
    write_bytes(w, command->request, NONCE_SIZE);
    write_u64(w, command->time_s);
    write_u8(w, (uint8_t)command->type);
    encode_body(command, w);
}

/* The decoders below return -ENOMEM or what the reader says; the caller checks the reader. */
static int decode_node_body(struct reader *r, struct command *c)
{
    int code;

    switch (body_of(c->type)) {
    case BODY_CLUSTER_INIT:
        read_bytes(r, c->cluster_init.cluster, NONCE_SIZE);
        read_string(r, c->cluster_init.name, NAME_SIZE);
        code = node_facts_decode(r, &c->cluster_init.facts);
        timers_decode(r, &c->cluster_init.timers);
        return code;
    case BODY_TERM_STARTED:
        c->term_started.node = read_u64(r);
        c->term_started.term = read_u64(r);
        return 0;
    case BODY_TOKEN_CREATE:
        token_decode(r, &c->token_create.token);
        return 0;
    case BODY_NODE_JOIN:
        read_bytes(r, c->node_join.token_hash, DIGEST_SIZE);
        read_string(r, c->node_join.name, NAME_SIZE);
        code = node_facts_decode(r, &c->node_join.facts);
        timers_decode(r, &c->node_join.timers);
        return code;
    case BODY_NODE_FACTS:
        c->node_facts.node = read_u64(r);
        return node_facts_decode(r, &c->node_facts.facts);
    case BODY_NODE_SET_ROLE:
        c->node_set_role.node = read_u64(r);
        c->node_set_role.role = (enum raft_role)read_enum(r, ROLE_SPARE);
        return 0;
    case BODY_NODE_FLAG:
        read_string(r, c->node_flag.name, NAME_SIZE);
        c->node_flag.flag = read_bool(r);
        c->node_flag.drain_ms = read_u32(r);
        return 0;
    case BODY_NODE_CEILING:
        c->node_ceiling.node = read_u64(r);
        c->node_ceiling.ceiling_ms = read_u32(r);
        return 0;
    case BODY_NODE_EVENT:
        c->node_event.node = read_u64(r);
        c->node_event.expect_epoch = read_u64(r);
        c->node_event.term = read_u64(r);
        read_bytes(r, c->node_event.boot_nonce, NONCE_SIZE);
        loss_origin_decode(r, &c->node_event.origin);
        return 0;
    default:
        reader_fail(r);
        return 0;
    }
}

static void decode_evict(struct reader *r, struct command *c)
{
    uint32_t n;

    read_string(r, c->guest_evict.name, NAME_SIZE);
    c->guest_evict.expect_epoch = read_u64(r);
    c->guest_evict.node = read_u64(r);
    n = read_count(r, MAX_VICTIMS);
    if (n == 0)
        reader_fail(r);
    c->guest_evict.n_victims = n;
    for (uint32_t i = 0; i < n; i++) {
        read_string(r, c->guest_evict.victims[i].name, NAME_SIZE);
        c->guest_evict.victims[i].epoch = read_u64(r);
    }
}

static void decode_protection(struct reader *r, struct command *c)
{
    switch (body_of(c->type)) {
    case BODY_GUEST_PROTECT:
        read_string(r, c->guest_protect.name, NAME_SIZE);
        c->guest_protect.protect_ms = read_u32(r);
        break;
    case BODY_GUEST_BUDDY:
        read_string(r, c->guest_buddy.name, NAME_SIZE);
        c->guest_buddy.node = read_u64(r);
        break;
    default:
        read_string(r, c->guest_checkpoint.name, NAME_SIZE);
        c->guest_checkpoint.epoch = read_u64(r);
        checkpoint_decode(r, &c->guest_checkpoint.checkpoint);
        c->guest_checkpoint.age_ms = read_u32(r);
        break;
    }
}

static int decode_body(struct reader *r, struct command *c)
{
    int code;

    switch (body_of(c->type)) {
    case BODY_BY_NAME:
        read_string(r, c->by_name.name, NAME_SIZE);
        return 0;
    case BODY_SLICE_CREATE:
        slice_decode(r, &c->slice_create.slice);
        return 0;
    case BODY_IMAGE_ADD:
        return image_decode(r, &c->image_add.image);
    case BODY_IMAGE_HELD:
        read_string(r, c->image_held.name, NAME_SIZE);
        read_bytes(r, c->image_held.digest, DIGEST_SIZE);
        c->image_held.node = read_u64(r);
        return 0;
    case BODY_IMAGE_RELEASE:
        read_string(r, c->image_release.name, NAME_SIZE);
        c->image_release.node = read_u64(r);
        return 0;
    case BODY_GUEST_CREATE:
        code = guest_spec_decode(r, &c->guest_create.spec);
        placement_decode(r, &c->guest_create.placement);
        return code;
    case BODY_GUEST_PLACE:
        read_string(r, c->guest_place.name, NAME_SIZE);
        c->guest_place.expect_epoch = read_u64(r);
        placement_decode(r, &c->guest_place.placement);
        return 0;
    case BODY_GUEST_STOPPED:
        read_string(r, c->guest_stopped.name, NAME_SIZE);
        c->guest_stopped.epoch = read_u64(r);
        c->guest_stopped.exited = read_bool(r);
        return 0;
    case BODY_GUEST_LEAVE:
        read_string(r, c->guest_leave.name, NAME_SIZE);
        c->guest_leave.expect_epoch = read_u64(r);
        return 0;
    case BODY_MIGRATION_RESERVE:
        read_string(r, c->migration_reserve.guest, NAME_SIZE);
        c->migration_reserve.source_epoch = read_u64(r);
        placement_decode(r, &c->migration_reserve.target);
        move_terms_decode(r, &c->migration_reserve.terms);
        return 0;
    case BODY_MIGRATION_STEP:
        c->migration_step.id = read_u64(r);
        c->migration_step.is_lazy = read_bool(r);
        read_string(r, c->migration_step.reason, REASON_SIZE);
        return 0;
    case BODY_CLUSTER_SET:
        c->cluster_set.setting = (enum cluster_setting)read_enum(r, UINT8_MAX);
        c->cluster_set.flag = read_bool(r);
        return 0;
    case BODY_GUEST_EVICT:
        decode_evict(r, c);
        return 0;
    case BODY_GUEST_PROTECT:
    case BODY_GUEST_BUDDY:
    case BODY_GUEST_CHECKPOINT:
        decode_protection(r, c);
        return 0;
    default:
        return decode_node_body(r, c);
    }
}

int command_decode(const void *data, size_t size, struct command *ret, struct err *err)
{
    struct reader r;
    uint8_t version, type;

    memset(ret, 0, sizeof(*ret));
    if (size > COMMAND_MAX_SIZE)
        return err_set(err, -EBADMSG, "command of %zu bytes: %d at most", size, COMMAND_MAX_SIZE);
    reader_init(&r, data, size);
    version = read_u8(&r);
    if (size > 0 && version != COMMAND_VERSION)
        return err_set(err, -EBADMSG, "command of version %u: this build knows %d", version,
                       COMMAND_VERSION);
    read_bytes(&r, ret->request, NONCE_SIZE);
    ret->time_s = read_u64(&r);
    type = read_u8(&r);
    if (!r.failed && body_of((enum command_type)type) == BODY_NONE) {
        memset(ret, 0, sizeof(*ret));
        return err_set(err, -EBADMSG, "command of unknown type %u", type);
    }
    ret->type = (enum command_type)type;
    if (!r.failed && decode_body(&r, ret) == -ENOMEM) {
        command_deinit(ret);
        return err_set(err, -ENOMEM, "no memory for a command");
    }
    if (!reader_done(&r)) {
        command_deinit(ret);
        return err_set(err, -EBADMSG, "malformed command (%s, %zu bytes)",
                       command_type_name((enum command_type)type), size);
    }
    return 0;
}
