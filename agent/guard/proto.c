#include "agent/guard/proto.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "consensus/health.h"

enum { PROTO_VERSION = 7 };

/* What a request of each op carries behind its serial and op. */
enum {
    HAS_CONNECTION = 1 << 0,
    HAS_ACK = 1 << 1,
    HAS_RUN = 1 << 2,
    HAS_INDEX = 1 << 3,
    HAS_COPY = 1 << 4,
    HAS_MIGRATION = 1 << 5,
    HAS_STOP = 1 << 6,
    HAS_DIGEST = 1 << 7,
    HAS_VIEW = 1 << 8,
    HAS_ARGV = 1 << 9,
    HAS_CHECK = 1 << 10,
    HAS_WISH = 1 << 11,
    HAS_KEEPS = 1 << 12,
    HAS_SINCE = 1 << 13,
};

static const struct {
    const char *name;
    unsigned int fields;
} ops[GUARD_OP_END] = {
    [GUARD_HELLO] = {"hello", HAS_CONNECTION},
    [GUARD_STAMP] = {"stamp", 0},
    [GUARD_ACK] = {"ack", HAS_ACK},
    [GUARD_LIST] = {"list", 0},
    [GUARD_FABRIC] = {"fabric", HAS_VIEW},
    [GUARD_UNPACK] = {"unpack", HAS_DIGEST},
    [GUARD_DROP_IMAGE] = {"drop-image", HAS_DIGEST},
    [GUARD_START] = {"start", HAS_RUN | HAS_INDEX},
    [GUARD_STOP] = {"stop", HAS_COPY | HAS_STOP},
    [GUARD_FREEZE] = {"freeze", HAS_COPY},
    [GUARD_THAW] = {"thaw", HAS_COPY},
    [GUARD_LOOK] = {"look", HAS_COPY},
    [GUARD_EXEC] = {"exec", HAS_COPY | HAS_ARGV},
    [GUARD_CONSOLE] = {"console", HAS_COPY},
    [GUARD_LOGS] = {"logs", HAS_COPY},
    [GUARD_PREPARE] = {"prepare", HAS_RUN | HAS_MIGRATION},
    [GUARD_CAPTURE] = {"capture", HAS_COPY | HAS_MIGRATION | HAS_WISH},
    [GUARD_RECEIVE] = {"receive", HAS_COPY | HAS_MIGRATION},
    [GUARD_ACTIVATE] = {"activate", HAS_COPY | HAS_MIGRATION | HAS_INDEX},
    [GUARD_RESUME] = {"resume", HAS_COPY | HAS_MIGRATION},
    [GUARD_DISCARD] = {"discard", HAS_COPY | HAS_MIGRATION},
    [GUARD_CHECK] = {"check", HAS_COPY | HAS_CHECK},
    [GUARD_FAIL] = {"fail", HAS_COPY | HAS_STOP},
    [GUARD_CHECKPOINT] = {"checkpoint", HAS_COPY | HAS_SINCE},
    [GUARD_SEND] = {"send", HAS_COPY | HAS_DIGEST},
    [GUARD_RESTORE] = {"restore", HAS_RUN | HAS_INDEX | HAS_DIGEST},
    [GUARD_STATS] = {"stats", HAS_COPY},
    [GUARD_AWAIT] = {"await", HAS_COPY},
    [GUARD_PROGRESS] = {"progress", HAS_COPY | HAS_MIGRATION},
    [GUARD_KEEP_VOLUMES] = {"keep-volumes", HAS_INDEX | HAS_KEEPS},
};

const char *guard_op_name(enum guard_op op)
{
    return op >= GUARD_HELLO && op < GUARD_OP_END ? ops[op].name : "unknown";
}

void guard_request_init(struct guard_request *request)
{
    memset(request, 0, sizeof(*request));
    for (int i = 0; i < GUARD_MAX_FDS; i++)
        request->fds[i] = -1;
}

void guard_request_deinit(struct guard_request *request)
{
    for (uint32_t i = 0; request->argv != NULL && i < request->n_argv; i++)
        free(request->argv[i]);
    free(request->argv);
    free(request->keeps);
    guest_run_deinit(&request->run);
    fabric_view_deinit(&request->view);
    guard_request_init(request);
}

static void write_argv(const struct guard_request *request, struct writer *w)
{
    write_u32(w, request->n_argv);
    for (uint32_t i = 0; i < request->n_argv; i++)
        write_string(w, request->argv[i]);
}

static void write_keeps(const struct guard_request *request, struct writer *w)
{
    write_u32(w, request->n_keeps);
    for (uint32_t i = 0; i < request->n_keeps; i++)
        write_string(w, request->keeps[i]);
}

void guard_request_encode(const struct guard_request *request, struct writer *w)
{
    unsigned int fields = ops[request->op].fields;

    write_u8(w, PROTO_VERSION);
    write_u32(w, request->serial);
    write_u8(w, (uint8_t)request->op);
    if (fields & HAS_CONNECTION) {
        write_u8(w, (uint8_t)request->connection);
        write_bytes(w, request->key, GUARD_KEY_SIZE);
    }
    if (fields & HAS_ACK)
        lease_ack_encode(&request->ack, w);
    if (fields & HAS_RUN)
        guest_run_encode(&request->run, w);
    if (fields & HAS_INDEX)
        write_u64(w, request->index);
    if (fields & HAS_COPY) {
        write_string(w, request->copy.guest);
        write_u64(w, request->copy.epoch);
    }
    if (fields & HAS_MIGRATION)
        write_u64(w, request->migration);
    if (fields & HAS_WISH)
        mode_wish_encode(&request->wish, w);
    if (fields & HAS_STOP) {
        write_u32(w, request->grace_ms);
        write_bool(w, request->keep_upper);
    }
    if (fields & HAS_SINCE)
        write_u64(w, request->since_us);
    if (fields & HAS_DIGEST)
        write_bytes(w, request->digest, DIGEST_SIZE);
    if (fields & HAS_VIEW)
        fabric_view_encode(&request->view, w);
    if (fields & HAS_CHECK) {
        write_u32(w, request->timeout_ms);
        write_u16(w, request->port);
    }
    if (fields & HAS_ARGV || (fields & HAS_CHECK && request->port == 0))
        write_argv(request, w);
    if (fields & HAS_KEEPS)
        write_keeps(request, w);
}

static int read_argv(struct reader *r, struct guard_request *ret)
{
    uint32_t n = read_count(r, MAX_ARGUMENTS);
    char text[ARGUMENT_SIZE];

    if (n == 0)
        return -EBADMSG;
    ret->argv = calloc(n + 1, sizeof(*ret->argv)); /* NULL-terminated, for exec */
    if (ret->argv == NULL)
        return -ENOMEM;
    for (; ret->n_argv < n; ret->n_argv++) {
        read_string(r, text, sizeof(text));
        if (r->failed)
            return -EBADMSG;
        ret->argv[ret->n_argv] = strdup(text);
        if (ret->argv[ret->n_argv] == NULL)
            return -ENOMEM;
    }
    return 0;
}

static int read_keeps(struct reader *r, struct guard_request *ret)
{
    uint32_t n = read_count(r, GUARD_MAX_KEEPS);

    ret->keeps = calloc(n + 1, sizeof(*ret->keeps));
    if (ret->keeps == NULL)
        return -ENOMEM;
    for (; ret->n_keeps < n && !r->failed; ret->n_keeps++)
        read_string(r, ret->keeps[ret->n_keeps], VOLUMES_NAME_SIZE);
    return 0;
}

static int read_values(struct reader *r, unsigned int fields, struct guard_request *ret)
{
    int rc = 0;

    if (fields & HAS_CONNECTION) {
        ret->connection = read_u8(r);
        read_bytes(r, ret->key, GUARD_KEY_SIZE);
        if (ret->connection != GUARD_CONNECTION_LEASE && ret->connection != GUARD_CONNECTION_WORK)
            reader_fail(r);
    }
    if (fields & HAS_ACK)
        lease_ack_decode(r, &ret->ack);
    if (fields & HAS_RUN)
        rc = guest_run_decode(r, &ret->run);
    if (fields & HAS_INDEX)
        ret->index = read_u64(r);
    if (fields & HAS_COPY) {
        read_string(r, ret->copy.guest, sizeof(ret->copy.guest));
        ret->copy.epoch = read_u64(r);
        if (!name_is_valid(ret->copy.guest))
            reader_fail(r);
    }
    if (fields & HAS_MIGRATION && (ret->migration = read_u64(r)) == 0)
        reader_fail(r);
    return rc;
}

static int read_rest(struct reader *r, unsigned int fields, struct guard_request *ret)
{
    int rc = 0;

    if (fields & HAS_WISH)
        mode_wish_decode(r, &ret->wish);
    if (fields & HAS_STOP) {
        ret->grace_ms = read_u32(r);
        ret->keep_upper = read_bool(r);
        if (ret->grace_ms > GUARD_MAX_GRACE_MS)
            reader_fail(r);
    }
    if (fields & HAS_SINCE)
        ret->since_us = read_u64(r);
    if (fields & HAS_DIGEST)
        read_bytes(r, ret->digest, DIGEST_SIZE);
    if (fields & HAS_VIEW)
        rc = fabric_view_decode(r, &ret->view);
    if (fields & HAS_CHECK) {
        ret->timeout_ms = read_u32(r);
        ret->port = read_u16(r);
        if (ret->timeout_ms < HEALTH_MIN_TIMEOUT_MS || ret->timeout_ms > HEALTH_MAX_TIMEOUT_MS)
            reader_fail(r);
    }
    if (!r->failed && (fields & HAS_ARGV || (fields & HAS_CHECK && ret->port == 0)))
        rc = read_argv(r, ret);
    if (rc == 0 && !r->failed && fields & HAS_KEEPS)
        rc = read_keeps(r, ret);
    return rc;
}

/* Reads version, serial and op; the op may be 0 (an event) where `is_reply`. */
static enum guard_op read_head(struct reader *r, bool is_reply, uint32_t *ret_serial)
{
    uint8_t version = read_u8(r);
    enum guard_op op;

    *ret_serial = read_u32(r);
    op = read_u8(r);
    if (version != PROTO_VERSION || (!is_reply && *ret_serial == 0))
        reader_fail(r);
    if (is_reply && *ret_serial == 0 ? op != 0 : op < GUARD_HELLO || op >= GUARD_OP_END)
        reader_fail(r);
    return r->failed ? 0 : op;
}

int guard_request_decode(const void *data, size_t size, struct guard_request *ret)
{
    struct reader r;
    int rc = 0;

    guard_request_init(ret);
    reader_init(&r, data, size);
    ret->op = read_head(&r, false, &ret->serial);
    if (!r.failed)
        rc = read_values(&r, ops[ret->op].fields, ret);
    if (!r.failed && rc == 0)
        rc = read_rest(&r, ops[ret->op].fields, ret);
    if (rc == 0 && reader_done(&r))
        return 0;
    guard_request_deinit(ret);
    return rc == -ENOMEM ? rc : -EBADMSG;
}

/* ---- replies */

void guard_reply_init(struct guard_reply *reply)
{
    memset(reply, 0, sizeof(*reply));
    reply->fd = -1;
}

void guard_reply_deinit(struct guard_reply *reply)
{
    free(reply->reports);
    guard_reply_init(reply);
}

static void write_report(const struct guard_report *report, struct writer *w)
{
    write_string(w, report->guest);
    write_u64(w, report->epoch);
    write_u64(w, report->migration);
    write_u8(w, (uint8_t)report->state);
    write_u8(w, report->frozen_by);
    write_u32(w, (uint32_t)report->exit_status);
    write_u32(w, report->pid);
    write_u32(w, report->n_starts);
}

static void read_report(struct reader *r, struct guard_report *ret)
{
    read_string(r, ret->guest, sizeof(ret->guest));
    ret->epoch = read_u64(r);
    ret->migration = read_u64(r);
    ret->state = read_u8(r);
    ret->frozen_by = read_u8(r);
    ret->exit_status = (int32_t)read_u32(r);
    ret->pid = read_u32(r);
    ret->n_starts = read_u32(r);
    if (!name_is_valid(ret->guest) || ret->state < GUEST_STARTING || ret->state > GUEST_STATE_LAST ||
        ret->frozen_by > (FROZEN_BY_LEASE | FROZEN_BY_MIGRATION | FROZEN_BY_USER))
        reader_fail(r);
}

static void write_reports(const struct guard_reply *reply, struct writer *w)
{
    write_u32(w, reply->n_reports);
    for (uint32_t i = 0; i < reply->n_reports; i++)
        write_report(&reply->reports[i], w);
}

static int read_reports(struct reader *r, struct guard_reply *ret)
{
    uint32_t n = read_count(r, MAX_NODE_GUESTS);

    if (n == 0)
        return 0;
    ret->reports = calloc(n, sizeof(*ret->reports));
    if (ret->reports == NULL)
        return -ENOMEM;
    ret->n_reports = n;
    for (uint32_t i = 0; i < n && !r->failed; i++)
        read_report(r, &ret->reports[i]);
    return 0;
}

/* What an op's answer carries when its code is 0. */
static void write_answer(const struct guard_reply *reply, struct writer *w)
{
    switch (reply->op) {
    case GUARD_HELLO:
        write_bytes(w, reply->hello.boot_nonce, NONCE_SIZE);
        write_u32(w, reply->hello.run);
        write_bool(w, reply->hello.lapsed);
        break;
    case GUARD_STAMP:
        stamp_encode(&reply->stamp, w);
        break;
    case GUARD_ACK:
        write_bool(w, reply->lapsed);
        write_u32(w, reply->lease_left_ms);
        break;
    case GUARD_LIST:
        write_reports(reply, w);
        break;
    case GUARD_EXEC:
        write_u32(w, (uint32_t)reply->status);
        break;
    case GUARD_CAPTURE:
    case GUARD_RECEIVE:
    case GUARD_ACTIVATE:
    case GUARD_CHECKPOINT:
    case GUARD_SEND:
        write_u64(w, reply->bytes);
        write_u64(w, reply->frozen_us);
        write_u64(w, reply->handed_over_us);
        write_u8(w, (uint8_t)reply->mode);
        __attribute__((fallthrough));
    case GUARD_PROGRESS:
        move_progress_encode(&reply->progress, w);
        break;
    case GUARD_STATS:
        write_u64(w, reply->stats.cpu_us);
        write_u64(w, reply->stats.memory_bytes);
        write_u64(w, reply->stats.n_processes);
        write_u64(w, reply->stats.sent_bytes);
        write_u64(w, reply->stats.received_bytes);
        break;
    case GUARD_PREPARE:
        room_encode(&reply->room, w);
        break;
    default:
        break;
    }
}

static int read_answer(struct reader *r, struct guard_reply *ret)
{
    int rc = 0;

    switch (ret->op) {
    case GUARD_HELLO:
        read_bytes(r, ret->hello.boot_nonce, NONCE_SIZE);
        ret->hello.run = read_u32(r);
        ret->hello.lapsed = read_bool(r);
        break;
    case GUARD_STAMP:
        stamp_decode(r, &ret->stamp);
        break;
    case GUARD_ACK:
        ret->lapsed = read_bool(r);
        ret->lease_left_ms = read_u32(r);
        break;
    case GUARD_LIST:
        rc = read_reports(r, ret);
        break;
    case GUARD_EXEC:
        ret->status = (int32_t)read_u32(r);
        break;
    case GUARD_CAPTURE:
    case GUARD_RECEIVE:
    case GUARD_ACTIVATE:
    case GUARD_CHECKPOINT:
    case GUARD_SEND:
        ret->bytes = read_u64(r);
        ret->frozen_us = read_u64(r);
        ret->handed_over_us = read_u64(r);
        ret->mode = (enum move_mode)read_u8(r);
        if (ret->mode > MOVE_POST)
            reader_fail(r);
        __attribute__((fallthrough));
    case GUARD_PROGRESS:
        move_progress_decode(r, &ret->progress);
        break;
    case GUARD_STATS:
        ret->stats.cpu_us = read_u64(r);
        ret->stats.memory_bytes = read_u64(r);
        ret->stats.n_processes = read_u64(r);
        ret->stats.sent_bytes = read_u64(r);
        ret->stats.received_bytes = read_u64(r);
        break;
    case GUARD_PREPARE:
        room_decode(r, &ret->room);
        break;
    default:
        break;
    }
    return rc;
}

void guard_reply_encode(const struct guard_reply *reply, struct writer *w)
{
    write_u8(w, PROTO_VERSION);
    write_u32(w, reply->serial);
    write_u8(w, reply->serial == 0 ? 0 : (uint8_t)reply->op);
    if (reply->serial == 0) {
        write_u8(w, (uint8_t)reply->event);
        if (reply->event == GUARD_EVENT_LIST)
            write_reports(reply, w);
        return;
    }
    write_u32(w, (uint32_t)reply->code);
    if (reply->code == 0)
        write_answer(reply, w);
    else
        write_string(w, reply->text);
}

static int read_event(struct reader *r, struct guard_reply *ret)
{
    ret->event = read_u8(r);
    if (ret->event < GUARD_EVENT_LIST || ret->event > GUARD_EVENT_LIFTED)
        reader_fail(r);
    return ret->event == GUARD_EVENT_LIST ? read_reports(r, ret) : 0;
}

static int read_outcome(struct reader *r, struct guard_reply *ret)
{
    ret->code = (int32_t)read_u32(r);
    if (ret->code == 0)
        return read_answer(r, ret);
    if (ret->code > 0)
        reader_fail(r);
    read_string(r, ret->text, sizeof(ret->text));
    return 0;
}

int guard_reply_decode(const void *data, size_t size, struct guard_reply *ret)
{
    struct reader r;
    int rc = 0;

    guard_reply_init(ret);
    reader_init(&r, data, size);
    ret->op = read_head(&r, true, &ret->serial);
    if (!r.failed)
        rc = ret->serial == 0 ? read_event(&r, ret) : read_outcome(&r, ret);
    if (rc == 0 && reader_done(&r))
        return 0;
    guard_reply_deinit(ret);
    return rc == -ENOMEM ? rc : -EBADMSG;
}
