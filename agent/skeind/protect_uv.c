/* protect_uv: checkpoints on their way: out of the guard to a buddy, from others to this
 * node's disk, and from there to the guard again; see skeind/skeind_uv.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/skeind/skeind_uv.h"
#include "agent/streams/checkpoints_uv.h"
#include "agent/streams/stream_uv.h"
#include "base/log.h"

enum { SENDING_LIMIT_MS = 600000 };

/* A checkpoint on its way to its buddy. */
struct sending {
    struct skeind *s;
    struct sending *next;
    uint32_t serial; /* core's */
    uint64_t to;
    int fd; /* the stream; -1 = not yet */
    uint64_t deadline_us;
    uint64_t sent;                /* bytes, once all is */
    struct guard_request request; /* until the stream is there */
};

/* ---- out */

static void sending_end(struct sending *sending, int code, const char *text,
                        const struct receipt *receipt)
{
    struct skeind *s = sending->s;
    struct sending **at = &s->sendings;
    struct core_event event = {.type = CORE_GUARD_DONE, .serial = sending->serial};
    struct guard_reply reply;

    while (*at != sending)
        at = &(*at)->next;
    *at = sending->next;
    guard_reply_init(&reply);
    reply.serial = sending->serial;
    reply.op = GUARD_SEND;
    reply.code = code;
    if (code < 0) {
        snprintf(reply.text, sizeof(reply.text), "%s", text);
        log_warn("checkpoint: to node %llu: %s", (unsigned long long)sending->to, text);
    } else {
        reply.bytes = receipt->size;
        event.sent = sending->sent;
        event.may_continue = receipt->may_continue;
        memcpy(event.digest, receipt->digest, DIGEST_SIZE);
    }
    event.reply = &reply;
    if (sending->fd >= 0)
        close(sending->fd);
    guard_request_deinit(&sending->request);
    free(sending);
    skeind_event(s, &event);
    guard_reply_deinit(&reply);
}

static void on_receipt(void *context, int status, const struct receipt *receipt)
{
    struct sending *sending = context;

    if (status < 0)
        sending_end(sending, -EREMOTEIO, "its buddy did not say that it keeps it", NULL);
    else if (!receipt->is_kept)
        sending_end(sending, -EREMOTEIO, receipt->text, NULL);
    else
        sending_end(sending, 0, NULL, receipt);
}

static void on_sent(void *context, const struct guard_request *request, struct guard_reply *reply)
{
    struct sending *sending = context;
    int fd = reply->code < 0 ? -1 : fcntl(sending->fd, F_DUPFD_CLOEXEC, 0);

    (void)request;
    if (fd < 0) {
        sending_end(sending, reply->code < 0 ? reply->code : -errno,
                    reply->code < 0 ? reply->text : strerror(errno), NULL);
        return;
    }
    sending->sent = reply->bytes;
    shutdown(fd, SHUT_WR);
    checkpoints_await(sending->s->checkpoints, fd, on_receipt, sending);
}

static void on_opened(void *context, int status, int fd)
{
    struct sending *sending = context;
    struct guard_request request = sending->request;

    if (status < 0) {
        sending_end(sending, status, "the stream to its buddy cannot be had", NULL);
        return;
    }
    guard_request_init(&sending->request);
    sending->fd = fd;
    request.fds[0] = fd;
    guard_client_send(sending->s->guard, &request, on_sent, sending);
}

/* When the guest was created, that has this copy here; 0 = none. */
static uint64_t created_of(const struct skeind *s, const struct guest_copy *copy)
{
    const struct guest *guest = state_guest(core_state(s->core), copy->guest);

    return guest != NULL && guest->placement.epoch == copy->epoch ? guest->created : 0;
}

void skeind_send_checkpoint(struct skeind *s, struct guard_request *request, uint64_t to)
{
    struct sending *sending = calloc(1, sizeof(*sending));
    int rc;

    if (sending == NULL)
        abort(); /* core must not wait for ever */
    *sending = (struct sending){.s = s,
                                .next = s->sendings,
                                .serial = request->serial,
                                .to = to,
                                .fd = -1,
                                .deadline_us = now_us() + SENDING_LIMIT_MS * 1000ull,
                                .request = *request};
    s->sendings = sending;
    rc = s->streams == NULL ? -ECANCELED : 0; /* skeind ends */
    if (rc == 0)
        rc = streams_open_checkpoint(s->streams, to, created_of(s, &request->copy),
                                     request->copy.epoch, on_opened, sending);
    if (rc < 0)
        sending_end(sending, rc, "the stream to its buddy cannot be had", NULL);
}

/* A lost buddy takes nothing any more, and answers nothing: nobody must wait for it. */
void skeind_sweep_sendings(struct skeind *s)
{
    uint64_t now = now_us();

    for (struct sending *sending = s->sendings; sending != NULL; sending = sending->next) {
        const struct node *node = state_node(core_state(s->core), sending->to);

        if (sending->fd >= 0 &&
            (now >= sending->deadline_us || node == NULL || node->state != NODE_UP))
            shutdown(sending->fd, SHUT_RDWR);
    }
}

/* ---- in */

/* Only of a guest that runs there and has this node as its buddy. */
static bool is_expected(const struct skeind *s, uint64_t from, uint64_t created, uint64_t epoch)
{
    const struct state *state = core_state(s->core);

    for (size_t i = 0; i < state->n_guests; i++) {
        const struct guest *guest = &state->guests[i];

        if (guest->created == created)
            return guest->buddy == s->members.own_id && guest->placement.node == from &&
                   guest->placement.epoch == epoch && guest->spec.protect_ms != 0;
    }
    return false;
}

void skeind_checkpoint_stream(void *context, uint64_t from, uint64_t created, uint64_t epoch,
                              int fd)
{
    struct skeind *s = context;

    if (s->core == NULL || s->checkpoints == NULL || !is_expected(s, from, created, epoch)) {
        close(fd);
        return;
    }
    if (!skeind_is_past(s, core_state(s->core)->index))
        skeind_keep_checkpoints(s); /* of those that were never named only the newest stays */
    checkpoints_receive(s->checkpoints, created, fd);
}

static bool is_named(void *context, const uint8_t digest[DIGEST_SIZE])
{
    const struct skeind *s = context;
    const struct state *state = core_state(s->core);

    for (size_t i = 0; i < state->n_guests; i++) {
        const struct checkpoint *checkpoint;

        for (size_t nth = 0;
             (checkpoint = state_checkpoint_at(&state->guests[i], s->members.own_id, nth)) != NULL;
             nth++) {
            if (memcmp(checkpoint->digest, digest, DIGEST_SIZE) == 0)
                return true;
        }
    }
    return false;
}

void skeind_keep_checkpoints(struct skeind *s)
{
    if (s->checkpoints != NULL)
        checkpoints_retain(s->checkpoints, is_named, s);
}
