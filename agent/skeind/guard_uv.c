/* guard_uv: what core asks of the guard, with the descriptors that go along. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/guard/key_posix.h"
#include "agent/skeind/skeind_uv.h"
#include "agent/streams/checkpoints_uv.h"
#include "agent/streams/stream_uv.h"
#include "base/log.h"
#include "consensus/replica.h"

static void guard_done(struct skeind *s, uint32_t serial, enum guard_op op,
                       const struct guard_reply *reply)
{
    struct core_event event = {.type = CORE_GUARD_DONE, .serial = serial, .reply = reply};

    log_debug("guard: %s %u: %d", guard_op_name(op), serial, reply->code);
    if (reply->code < 0)
        log_warn("guard: %s: %s", guard_op_name(op),
                 reply->text[0] != '\0' ? reply->text : strerror(-reply->code));
    skeind_event(s, &event);
}

static void guard_failed(struct skeind *s, const struct guard_request *request, int code,
                         const char *text)
{
    struct guard_reply reply;

    guard_reply_init(&reply);
    reply.serial = request->serial;
    reply.op = request->op;
    reply.code = code;
    strncpy(reply.text, text, sizeof(reply.text) - 1);
    guard_done(s, request->serial, request->op, &reply);
    guard_reply_deinit(&reply);
}

static void close_fds(const struct guard_request *request)
{
    for (int i = 0; i < GUARD_MAX_FDS; i++) {
        if (request->fds[i] >= 0)
            close(request->fds[i]);
    }
}

/* Work that core asked for; the client numbers requests in its own way. */
struct work {
    struct skeind *s;
    uint32_t serial; /* core's */
};

static void on_done(void *context, const struct guard_request *request, struct guard_reply *reply)
{
    struct work *work = context;

    close_fds(request);
    guard_done(work->s, work->serial, request->op, reply);
    free(work);
}

/* Takes the request. */
static void send_work(struct skeind *s, struct guard_request *request, int fd)
{
    struct work *work = malloc(sizeof(*work));

    if (work == NULL)
        abort(); /* core must not wait for ever */
    *work = (struct work){s, request->serial};
    request->fds[0] = fd;
    guard_client_send(s->guard, request, on_done, work);
}

/* ---- lease */

static void on_stamp(void *context, const struct guard_request *request, struct guard_reply *reply)
{
    struct skeind *s = context;
    struct core_event event = {.type = CORE_STAMP, .stamp = reply->stamp};

    (void)request;
    if (reply->code < 0 || s->core == NULL)
        return;
    event.published_term = s->replica != NULL ? replica_published_term(s->replica) : 0;
    skeind_event(s, &event);
}

static void on_acked(void *context, const struct guard_request *request, struct guard_reply *reply)
{
    (void)context;
    (void)request;
    if (reply->code < 0)
        log_debug("guard: ack: %s", strerror(-reply->code));
}

void skeind_guard_send(struct skeind *s, struct guard_request *request, guard_reply_cb cb,
                       void *context)
{
    s->next_serial = s->next_serial % (SKEIND_OWN_SERIALS - 1) + 1;
    request->serial = SKEIND_OWN_SERIALS + s->next_serial;
    guard_client_send(s->guard, request, cb, context);
}

void skeind_want_stamp(struct skeind *s)
{
    struct guard_request request;

    guard_request_init(&request);
    request.op = GUARD_STAMP;
    skeind_guard_send(s, &request, on_stamp, s);
}

void skeind_ack_guard(struct skeind *s, const struct lease_ack *ack)
{
    struct guard_request request;

    guard_request_init(&request);
    request.op = GUARD_ACK;
    request.ack = *ack;
    skeind_guard_send(s, &request, on_acked, s);
}

/* ---- work */

struct capture {
    struct skeind *s;
    struct guard_request request;
};

static void capture_opened(void *context, int status, int fd)
{
    struct capture *capture = context;

    if (status < 0) {
        guard_failed(capture->s, &capture->request, status,
                     "the stream to the target cannot be had");
        guard_request_deinit(&capture->request);
    } else {
        send_work(capture->s, &capture->request, fd);
    }
    free(capture);
}

static void ask_capture(struct skeind *s, struct guard_request *request,
                        const struct core_action *action)
{
    struct capture *capture = malloc(sizeof(*capture));
    int rc = -ENOMEM;

    if (capture != NULL) {
        *capture = (struct capture){s, *request};
        rc = streams_open_migration(s->streams, action->to, request->migration,
                                    &(struct stream_terms){action->patience_ms, action->manner},
                                    capture_opened, capture);
    }
    if (rc < 0) {
        guard_failed(s, request, rc, "the stream to the target cannot be had");
        guard_request_deinit(request);
        free(capture);
    }
}

static void ask_unpack(struct skeind *s, struct guard_request *request)
{
    int fd = image_store_read(s->store, request->digest, NULL);

    if (fd < 0) {
        guard_failed(s, request, fd, "the image is not in the store");
        guard_request_deinit(request);
        return;
    }
    send_work(s, request, fd);
}

static void ask_restore(struct skeind *s, struct guard_request *request)
{
    int fd = s->checkpoints != NULL ? checkpoints_read(s->checkpoints, request->digest) : -ENOENT;

    if (fd < 0) {
        guard_failed(s, request, fd, "the checkpoint is not here any more");
        guard_request_deinit(request);
        return;
    }
    send_work(s, request, fd);
}

static void transfer_remove(struct skeind *s, size_t at)
{
    s->transfers[at] = s->transfers[--s->n_transfers];
}

static struct transfer *transfer_add(struct skeind *s, uint64_t from, uint64_t migration)
{
    struct transfer *transfer;

    if (s->n_transfers == SKEIND_MAX_TRANSFERS)
        return NULL;
    transfer = &s->transfers[s->n_transfers++];
    *transfer = (struct transfer){.migration = migration,
                                  .from = from,
                                  .fd = -1,
                                  .deadline_us = now_us() + SKEIND_TRANSFER_LIMIT_MS * 1000ull};
    return transfer;
}

static void ask_receive(struct skeind *s, struct guard_request *request, uint64_t from)
{
    struct transfer *transfer;

    for (size_t i = 0; i < s->n_transfers; i++) {
        transfer = &s->transfers[i];
        if (transfer->migration == request->migration && transfer->from == from &&
            transfer->fd >= 0) {
            int fd = transfer->fd;

            transfer_remove(s, i);
            send_work(s, request, fd);
            return;
        }
    }
    transfer = transfer_add(s, from, request->migration);
    if (transfer != NULL)
        transfer->request = malloc(sizeof(*transfer->request));
    if (transfer == NULL || transfer->request == NULL) {
        if (transfer != NULL)
            s->n_transfers--;
        guard_failed(s, request, -ENOBUFS, "too many migrations at once");
        guard_request_deinit(request);
        return;
    }
    *transfer->request = *request;
}

void skeind_migration_stream(void *context, uint64_t from, uint64_t migration, int fd)
{
    struct skeind *s = context;
    struct transfer *transfer;

    for (size_t i = 0; i < s->n_transfers; i++) {
        transfer = &s->transfers[i];
        if (transfer->migration == migration && transfer->from == from &&
            transfer->request != NULL) {
            struct guard_request *request = transfer->request;

            transfer_remove(s, i);
            send_work(s, request, fd);
            free(request);
            return;
        }
    }
    transfer = transfer_add(s, from, migration);
    if (transfer == NULL)
        close(fd);
    else
        transfer->fd = fd;
}

void skeind_migration_end(void *context, uint64_t migration, int status)
{
    struct core_event event = {.type = CORE_STREAM_ENDED, .migration = migration, .code = status};

    skeind_event(context, &event);
}

/* What waits is told, what came is closed. */
static void transfer_end(struct skeind *s, size_t at, int code, const char *text)
{
    struct transfer transfer = s->transfers[at];

    transfer_remove(s, at);
    if (transfer.fd >= 0)
        close(transfer.fd);
    if (transfer.request == NULL)
        return;
    guard_failed(s, transfer.request, code, text);
    guard_request_deinit(transfer.request);
    free(transfer.request);
}

void skeind_sweep_transfers(struct skeind *s)
{
    uint64_t now = now_us();

    for (size_t i = s->n_transfers; i-- > 0;) {
        if (now >= s->transfers[i].deadline_us)
            transfer_end(s, i, -ETIMEDOUT, "the source's stream did not come");
    }
}

void skeind_end_transfer(struct skeind *s, uint64_t migration)
{
    for (size_t i = s->n_transfers; i-- > 0;) {
        if (i < s->n_transfers && s->transfers[i].migration == migration)
            transfer_end(s, i, -ECANCELED, "the migration is over");
    }
}

void skeind_ask_guard(struct skeind *s, struct core_action *action)
{
    struct guard_request request = *action->guard;

    free(action->guard);
    action->guard = NULL;
    request.serial = action->serial != 0 ? action->serial : request.serial;
    log_debug("guard: asks %s %u", guard_op_name(request.op), request.serial);
    switch (request.op) {
    case GUARD_UNPACK:
        ask_unpack(s, &request);
        break;
    case GUARD_SEND:
        skeind_send_checkpoint(s, &request, action->to);
        break;
    case GUARD_RESTORE:
        ask_restore(s, &request);
        break;
    case GUARD_CAPTURE:
        ask_capture(s, &request, action);
        break;
    case GUARD_RECEIVE:
        ask_receive(s, &request, action->to);
        break;
    default:
        send_work(s, &request, -1);
    }
}

/* ---- connection */

static void on_hello(void *context, const struct guard_hello *hello)
{
    struct skeind *s = context;
    struct core_event event = {.type = CORE_GUARD_HELLO, .hello = *hello};

    log_info("guard: connected, run %u%s", hello->run, hello->lapsed ? ", lapsed" : "");
    s->hello = *hello;
    s->has_guard = true;
    skeind_event(s, &event);
}

static void on_lost(void *context)
{
    struct skeind *s = context;
    struct core_event event = {.type = CORE_GUARD_LOST};

    log_warn("guard: connection lost");
    s->has_guard = false;
    skeind_event(s, &event);
}

static void on_event(void *context, const struct guard_reply *reply)
{
    struct core_event event = {0};

    switch (reply->event) {
    case GUARD_EVENT_LIST:
        event.type = CORE_GUARD_LIST;
        event.n_reports = reply->n_reports;
        event.reports = reply->reports;
        break;
    case GUARD_EVENT_LAPSED:
    case GUARD_EVENT_LIFTED:
        event.type = CORE_GUARD_LEASE;
        event.lapsed = reply->event == GUARD_EVENT_LAPSED;
        log_info("guard: guests %s", event.lapsed ? "frozen, the lease ran out" : "go on");
        break;
    default:
        return;
    }
    skeind_event(context, &event);
}

int skeind_guard_take_key(struct skeind *s, struct err *err)
{
    s->guard_key_fd = guard_key_open(s->config.run_dir, s->guard_key, err);
    return s->guard_key_fd < 0 ? s->guard_key_fd : 0;
}

int skeind_guard_claim(struct skeind *s, struct err *err)
{
    return guard_key_lock(s->guard_key_fd, err);
}

int skeind_guard_start(struct skeind *s, struct err *err)
{
    struct guard_client_config config = {
        .socket_path = s->guard_path,
        .context = s,
        .on_hello = on_hello,
        .on_lost = on_lost,
        .on_event = on_event,
    };

    memcpy(config.key, s->guard_key, sizeof(config.key));
    snprintf(s->guard_path, sizeof(s->guard_path), "%s/guard.sock", s->config.run_dir);
    return guard_client_new(s->loop, &config, &s->guard, err);
}
