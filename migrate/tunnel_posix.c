#include "migrate/tunnel_posix.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "migrate/tunnel_door_posix.h"

/* Room that data leaves in the buffer of the stream for what has no size to speak of. */
enum { CONTROL_ROOM = TUNNEL_MAX_CHANNELS * 32 + TUNNEL_TEXT_MAX + 64 };

/* ---- what is sent */

static size_t room(const struct tunnel_end *e)
{
    return TUNNEL_OUT_SIZE - (e->out_have - e->out_at);
}

static uint8_t *make_room(struct tunnel_end *e, size_t size)
{
    assert(room(e) >= size);
    if (TUNNEL_OUT_SIZE - e->out_have < size) {
        memmove(e->out, e->out + e->out_at, e->out_have - e->out_at);
        e->out_have -= e->out_at;
        e->out_at = 0;
    }
    return e->out + e->out_have;
}

static void put(struct tunnel_end *e, const struct tunnel_frame *frame, const void *payload,
                uint32_t n)
{
    uint8_t *at = make_room(e, TUNNEL_HEADER_SIZE + frame->size);

    tunnel_header_encode(frame, at);
    if (frame->size > 0 && payload != NULL)
        memcpy(at + TUNNEL_HEADER_SIZE, payload, frame->size);
    e->out_have += TUNNEL_HEADER_SIZE + frame->size;
    tunnel_sent(&e->tunnel, frame, n);
}

static void put_credit(struct tunnel_end *e, uint16_t channel)
{
    struct tunnel_frame frame = {.type = TUNNEL_CREDIT, .channel = channel, .size = 4};
    struct tunnel_line *line = &e->lines[channel];
    uint8_t payload[4];
    struct writer w;

    writer_init(&w, payload, sizeof(payload));
    write_u32(&w, line->owed);
    put(e, &frame, payload, line->owed);
    line->owed = 0;
}

static int flush(struct tunnel_end *e, struct err *err)
{
    ssize_t n;

    if (e->out_at == e->out_have)
        return 0;
    n = send(e->stream, e->out + e->out_at, e->out_have - e->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == ENOTSOCK)
        n = write(e->stream, e->out + e->out_at, e->out_have - e->out_at);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR
                   ? 0
                   : err_set(err, -ECONNRESET, "the stream broke: %s", strerror(errno));
    e->out_at += (size_t)n;
    e->n_bytes += (uint64_t)n;
    return 0;
}

void tunnel_end_hello(struct tunnel_end *e, const char *text)
{
    uint8_t payload[1 + TUNNEL_TEXT_MAX] = {TUNNEL_VERSION};
    size_t size = strnlen(text, TUNNEL_TEXT_MAX);
    struct tunnel_frame frame = {.type = TUNNEL_HELLO, .size = (uint32_t)(1 + size)};

    memcpy(payload + 1, text, size);
    put(e, &frame, payload, 0);
}

void tunnel_end_complete(struct tunnel_end *e)
{
    put(e, &(struct tunnel_frame){.type = TUNNEL_COMPLETE}, NULL, 0);
}

void tunnel_end_halt(struct tunnel_end *e)
{
    put(e, &(struct tunnel_frame){.type = TUNNEL_HALTED}, NULL, 0);
}

void tunnel_end_fail(struct tunnel_end *e, const char *text)
{
    struct tunnel_frame frame = {.type = TUNNEL_FAILED,
                                 .size = (uint32_t)strnlen(text, TUNNEL_TEXT_MAX)};

    if (!e->is_cut && frame.size > 0)
        put(e, &frame, text, 0);
}

bool tunnel_end_is_flushed(const struct tunnel_end *e)
{
    return e->out_at == e->out_have;
}

/* ---- lines */

static int line_begin(struct tunnel_line *line, int fd)
{
    *line = (struct tunnel_line){.fd = fd, .wait = malloc(TUNNEL_WINDOW)};
    return line->wait != NULL ? 0 : -ENOMEM;
}

static void line_close(struct tunnel_line *line)
{
    if (line->fd >= 0)
        close(line->fd);
    line->fd = -1;
    line->at = line->have = 0;
}

static void knock(struct tunnel_end *e, enum tunnel_door door)
{
    int fd = accept4(e->listeners[door], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    int channel = tunnel_free_channel(&e->tunnel);
    struct tunnel_frame frame = {.type = TUNNEL_OPEN, .door = door};

    if (fd < 0)
        return;
    if (channel < 0 || e->is_cut || line_begin(&e->lines[channel], fd) < 0) {
        close(fd);
        return;
    }
    frame.channel = (uint16_t)channel;
    put(e, &frame, NULL, 0);
}

static void end_line(struct tunnel_end *e, uint16_t channel)
{
    struct tunnel_frame frame = {.type = TUNNEL_END, .channel = channel};

    if (!e->is_cut && !e->tunnel.channels[channel].sent_end)
        put(e, &frame, NULL, 0);
}

/* From the connection into the stream. */
static void take_from(struct tunnel_end *e, uint16_t channel)
{
    struct tunnel_line *line = &e->lines[channel];
    struct tunnel_frame frame = {.type = TUNNEL_DATA, .channel = channel};
    size_t size = e->tunnel.channels[channel].may_send;
    uint8_t *at;
    ssize_t n;

    if (size > TUNNEL_DATA_MAX)
        size = TUNNEL_DATA_MAX;
    if (room(e) < size + CONTROL_ROOM)
        return; /* full since it was asked */
    at = make_room(e, TUNNEL_HEADER_SIZE + size) + TUNNEL_HEADER_SIZE;
    n = read(line->fd, at, size);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        end_line(e, channel);
        return;
    }
    e->is_answered = e->is_answered || line->is_held;
    frame.size = (uint32_t)n;
    put(e, &frame, NULL, 0); /* the bytes are there already */
}

/* libvirt's answer to the order to finish; nobody is left who would want it. */
static void take_answer(struct tunnel_end *e, struct tunnel_line *line)
{
    char unread[4096];
    ssize_t n = read(line->fd, unread, sizeof(unread));

    if (n > 0)
        e->is_answered = true;
    else if (n == 0 || errno != EAGAIN)
        line_close(line);
}

/* From the stream into the connection, as far as that takes it. */
static void pass_on(struct tunnel_end *e, uint16_t channel)
{
    struct tunnel_line *line = &e->lines[channel];
    ssize_t n;

    if (line->at == line->have || (line->is_held && !e->lets_pass))
        return;
    n = line->fd < 0 || line->is_shut
            ? (ssize_t)(line->have - line->at)
            : send(line->fd, line->wait + line->at, line->have - line->at, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0) { /* nobody reads: what is left goes nowhere */
        line->is_shut = true;
        n = (ssize_t)(line->have - line->at);
    }
    line->at += (size_t)n;
    line->owed += (uint32_t)n;
    if (line->at == line->have)
        line->at = line->have = 0;
}

/* After all that the other side had to say; a connection that is over both ways is closed. */
static void finish_line(struct tunnel_end *e, uint16_t channel)
{
    const struct tunnel_channel *c = &e->tunnel.channels[channel];
    struct tunnel_line *line = &e->lines[channel];

    if (line->fd < 0 || line->is_held || !c->got_end || line->have != 0)
        return;
    if (e->tunnel.is_source && e->tunnel.is_halted)
        return;
    if (!line->is_shut)
        shutdown(line->fd, SHUT_WR);
    line->is_shut = true;
    if (c->sent_end)
        line_close(line);
}

/* ---- what comes */

/* A message of libvirt's begins with its length (RFC 4506: big-endian), which counts itself. */
static bool holds_message(const struct tunnel_line *line)
{
    const uint8_t *p = line->wait + line->at;
    size_t have = line->have - line->at;

    return have >= 4 &&
           have >= ((size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3]);
}

static void take_open(struct tunnel_end *e, const struct tunnel_frame *frame)
{
    struct tunnel_line *line = &e->lines[frame->channel];

    /* Where nobody listens, whoever knocked hears the end of the line. */
    if (line_begin(line, tunnel_door_connect(e->doors[frame->door])) < 0 || line->fd < 0) {
        line->is_shut = true;
        end_line(e, frame->channel);
    }
    if (frame->door == TUNNEL_RPC || e->holds)
        return;
    e->holds = true;
    for (int i = 0; i < TUNNEL_MAX_CHANNELS; i++)
        e->lines[i].is_held =
            e->tunnel.channels[i].is_used && e->tunnel.channels[i].door == TUNNEL_RPC;
}

static void take_data(struct tunnel_end *e, const struct tunnel_frame *frame,
                      const uint8_t *payload)
{
    struct tunnel_line *line = &e->lines[frame->channel];

    if (line->wait == NULL)
        return;
    if (TUNNEL_WINDOW - line->have < frame->size) {
        memmove(line->wait, line->wait + line->at, line->have - line->at);
        line->have -= line->at;
        line->at = 0;
    }
    memcpy(line->wait + line->have, payload, frame->size);
    line->have += frame->size;
    if (line->is_held && !e->tunnel.is_asked && holds_message(line))
        put(e, &(struct tunnel_frame){.type = TUNNEL_ASKED}, NULL, 0);
    pass_on(e, frame->channel);
}

static int take_frame(struct tunnel_end *e, const struct tunnel_frame *frame,
                      const uint8_t *payload, struct err *err)
{
    int rc = tunnel_accept(&e->tunnel, frame, payload, err);
    size_t skip = frame->type == TUNNEL_HELLO;

    if (rc < 0)
        return rc;
    switch (frame->type) {
    case TUNNEL_OPEN:
        take_open(e, frame);
        break;
    case TUNNEL_DATA:
        take_data(e, frame, payload);
        break;
    case TUNNEL_HELLO:
    case TUNNEL_FAILED:
        memcpy(e->text, payload + skip, frame->size - skip);
        e->text[frame->size - skip] = '\0';
        if (frame->type == TUNNEL_FAILED)
            return err_set(err, -EREMOTEIO, "%.200s", e->text);
        break;
    default:
        break;
    }
    return 0;
}

/* Whole frames at the front of `in`. */
static int take_frames(struct tunnel_end *e, struct err *err)
{
    size_t at = 0;
    int rc = 0;

    while (rc == 0 && e->in_have - at >= TUNNEL_HEADER_SIZE) {
        struct tunnel_frame frame;

        if (tunnel_header_decode(e->in + at, &frame) < 0)
            return err_set(err, -EBADMSG, "the other node sent what is no frame");
        if (e->in_have - at < TUNNEL_HEADER_SIZE + frame.size)
            break;
        rc = take_frame(e, &frame, e->in + at + TUNNEL_HEADER_SIZE, err);
        at += TUNNEL_HEADER_SIZE + frame.size;
    }
    memmove(e->in, e->in + at, e->in_have - at);
    e->in_have -= at;
    return rc;
}

static int take_from_stream(struct tunnel_end *e, struct err *err)
{
    ssize_t n = read(e->stream, e->in + e->in_have, sizeof(e->in) - e->in_have);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0)
        return err_set(err, -ECONNRESET, "the stream to the other node broke");
    e->in_have += (size_t)n;
    e->n_bytes += (uint64_t)n;
    return take_frames(e, err);
}

/* ---- the loop */

/* What libvirt answers to the order to finish. */
static bool drops_answers(const struct tunnel_end *e, int channel)
{
    return e->lines[channel].is_held && (e->is_cut || (e->tunnel.is_halted && e->lets_pass));
}

static bool wants_to_take(const struct tunnel_end *e, int channel)
{
    const struct tunnel_channel *c = &e->tunnel.channels[channel];

    return !e->is_cut && !drops_answers(e, channel) && c->is_used && !c->sent_end &&
           c->may_send > 0 && room(e) >= TUNNEL_DATA_MAX + CONTROL_ROOM;
}

void tunnel_end_poll(const struct tunnel_end *e, struct pollfd ret[TUNNEL_FDS])
{
    struct pollfd *lines = ret + 1 + TUNNEL_N_DOORS;

    ret[0] = (struct pollfd){.fd = e->is_cut ? -1 : e->stream, .events = POLLIN};
    /* Frames are taken only where answers to them have room. */
    if (room(e) < CONTROL_ROOM)
        ret[0].events = 0;
    if (!tunnel_end_is_flushed(e))
        ret[0].events |= POLLOUT;
    for (int i = 0; i < TUNNEL_N_DOORS; i++)
        ret[1 + i] = (struct pollfd){.fd = e->listeners[i], .events = POLLIN};
    for (int i = 0; i < TUNNEL_MAX_CHANNELS; i++) {
        const struct tunnel_line *line = &e->lines[i];
        bool wants_in = wants_to_take(e, i) || drops_answers(e, i);
        bool wants_out = line->have > line->at && (!line->is_held || e->lets_pass);

        lines[i] = (struct pollfd){.fd = line->fd};
        lines[i].events = (short)((wants_in ? POLLIN : 0) | (wants_out ? POLLOUT : 0));
        if (lines[i].events == 0)
            lines[i].fd = -1; /* poll() would tell of a hang-up again and again */
    }
}

static void serve_line(struct tunnel_end *e, uint16_t channel, short events)
{
    if ((events & (POLLIN | POLLHUP | POLLERR)) != 0 && wants_to_take(e, channel))
        take_from(e, channel);
    else if ((events & (POLLIN | POLLHUP | POLLERR)) != 0 && drops_answers(e, channel))
        take_answer(e, &e->lines[channel]);
    pass_on(e, channel);
    finish_line(e, channel);
    if (!e->is_cut && e->lines[channel].owed > 0 && room(e) >= CONTROL_ROOM)
        put_credit(e, channel);
}

int tunnel_end_serve(struct tunnel_end *e, const struct pollfd fds[TUNNEL_FDS], struct err *err)
{
    const struct pollfd *lines = fds + 1 + TUNNEL_N_DOORS;
    int rc = 0;

    if (!e->is_cut && (fds[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0)
        rc = take_from_stream(e, err);
    for (int i = 0; rc == 0 && i < TUNNEL_N_DOORS; i++) {
        if (fds[1 + i].revents != 0 && room(e) >= CONTROL_ROOM)
            knock(e, i);
    }
    for (int i = 0; rc == 0 && i < TUNNEL_MAX_CHANNELS; i++) {
        if (e->tunnel.channels[i].is_used)
            serve_line(e, (uint16_t)i, lines[i].revents);
    }
    return rc < 0 || e->is_cut ? rc : flush(e, err);
}

void tunnel_end_let_pass(struct tunnel_end *e)
{
    e->lets_pass = true;
    if (e->tunnel.is_halted && !e->is_cut)
        put(e, &(struct tunnel_frame){.type = TUNNEL_GO}, NULL, 0);
    for (uint16_t i = 0; i < TUNNEL_MAX_CHANNELS; i++)
        pass_on(e, i);
}

bool tunnel_end_has_rpc(const struct tunnel_end *e)
{
    for (int i = 0; i < TUNNEL_MAX_CHANNELS; i++) {
        if (e->lines[i].is_held && e->lines[i].fd >= 0)
            return true;
    }
    return false;
}

bool tunnel_end_is_drained(const struct tunnel_end *e)
{
    for (int i = 0; i < TUNNEL_MAX_CHANNELS; i++) {
        if (e->tunnel.channels[i].is_used && !e->lines[i].is_held && e->lines[i].have != 0)
            return false;
    }
    return true;
}

void tunnel_end_cut(struct tunnel_end *e)
{
    if (!e->is_cut && e->stream >= 0)
        close(e->stream);
    e->stream = -1;
    e->is_cut = true;
    e->out_at = e->out_have = 0;
    for (int i = 0; i < TUNNEL_MAX_CHANNELS; i++) {
        if (!e->lines[i].is_held)
            line_close(&e->lines[i]);
    }
}

/* ---- life */

int tunnel_end_init(struct tunnel_end *e, bool is_source, int stream,
                    const char *const doors[TUNNEL_N_DOORS], struct err *err)
{
    memset(e, 0, sizeof(*e));
    e->tunnel.is_source = is_source;
    e->stream = stream;
    for (int i = 0; i < TUNNEL_N_DOORS; i++) {
        e->doors[i] = doors[i];
        e->listeners[i] = -1;
    }
    for (int i = 0; i < TUNNEL_MAX_CHANNELS; i++)
        e->lines[i].fd = -1;
    if (fcntl(stream, F_SETFL, fcntl(stream, F_GETFL) | O_NONBLOCK) < 0)
        return err_set(err, -errno, "the stream cannot be used: %s", strerror(errno));
    for (int i = 0; is_source && i < TUNNEL_N_DOORS; i++) {
        e->listeners[i] = tunnel_door_listen(doors[i], i == TUNNEL_RPC, err);
        if (e->listeners[i] < 0)
            return e->listeners[i];
    }
    return 0;
}

void tunnel_end_deinit(struct tunnel_end *e)
{
    tunnel_end_cut(e);
    for (int i = 0; i < TUNNEL_N_DOORS; i++) {
        if (e->listeners[i] >= 0) {
            close(e->listeners[i]);
            unlink(e->doors[i]);
        }
        e->listeners[i] = -1;
    }
    for (int i = 0; i < TUNNEL_MAX_CHANNELS; i++) {
        line_close(&e->lines[i]);
        free(e->lines[i].wait);
        e->lines[i].wait = NULL;
    }
}
