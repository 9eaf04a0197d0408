#include "migrate/tunnel.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/bytes.h"

/* What each type may carry, and whether it belongs to a channel. */
static const struct {
    uint32_t min, max;
    bool has_channel;
} rules[TUNNEL_TYPE_END] = {
    [TUNNEL_HELLO] = {1, 1 + TUNNEL_TEXT_MAX, false},
    [TUNNEL_OPEN] = {0, 0, true},
    [TUNNEL_DATA] = {1, TUNNEL_DATA_MAX, true},
    [TUNNEL_CREDIT] = {4, 4, true},
    [TUNNEL_END] = {0, 0, true},
    [TUNNEL_ASKED] = {0, 0, false},
    [TUNNEL_COMPLETE] = {0, 0, false},
    [TUNNEL_FAILED] = {1, TUNNEL_TEXT_MAX, false},
    [TUNNEL_HALTED] = {0, 0, false},
    [TUNNEL_GO] = {0, 0, false},
};

void tunnel_header_encode(const struct tunnel_frame *frame, uint8_t ret[TUNNEL_HEADER_SIZE])
{
    struct writer w;

    writer_init(&w, ret, TUNNEL_HEADER_SIZE);
    write_u8(&w, (uint8_t)frame->type);
    write_u8(&w, (uint8_t)frame->door);
    write_u16(&w, frame->channel);
    write_u32(&w, frame->size);
}

static bool is_sound(const struct tunnel_frame *frame)
{
    if ((unsigned)frame->type < TUNNEL_HELLO || (unsigned)frame->type >= TUNNEL_TYPE_END)
        return false;
    if (frame->size < rules[frame->type].min || frame->size > rules[frame->type].max)
        return false;
    if (frame->channel >= (rules[frame->type].has_channel ? TUNNEL_MAX_CHANNELS : 1))
        return false;
    return (unsigned)frame->door < (frame->type == TUNNEL_OPEN ? TUNNEL_N_DOORS : 1);
}

int tunnel_header_decode(const uint8_t header[TUNNEL_HEADER_SIZE], struct tunnel_frame *ret)
{
    struct tunnel_frame frame;
    struct reader r;

    reader_init(&r, header, TUNNEL_HEADER_SIZE);
    frame.type = read_u8(&r);
    frame.door = read_u8(&r);
    frame.channel = read_u16(&r);
    frame.size = read_u32(&r);
    if (!is_sound(&frame))
        return -EBADMSG;
    *ret = frame;
    return 0;
}

static void open_channel(struct tunnel_channel *c, enum tunnel_door door)
{
    *c = (struct tunnel_channel){
        .is_used = true, .door = door, .may_send = TUNNEL_WINDOW, .may_receive = TUNNEL_WINDOW};
}

static uint32_t credit_of(const uint8_t *payload)
{
    struct reader r;

    reader_init(&r, payload, 4);
    return read_u32(&r);
}

/* Credit may come after either end. */
static bool accept_on_channel(struct tunnel_channel *c, const struct tunnel_frame *frame,
                              const uint8_t *payload)
{
    uint32_t credit;

    if (frame->type == TUNNEL_CREDIT) {
        credit = credit_of(payload);
        if (credit > TUNNEL_WINDOW - c->may_send)
            return false;
        c->may_send += credit;
        return true;
    }
    if (c->got_end || (frame->type == TUNNEL_DATA && frame->size > c->may_receive))
        return false;
    if (frame->type == TUNNEL_DATA)
        c->may_receive -= frame->size;
    else
        c->got_end = true;
    return true;
}

static bool accept(struct tunnel *t, const struct tunnel_frame *frame, const uint8_t *payload)
{
    struct tunnel_channel *c = &t->channels[frame->channel];

    switch (frame->type) {
    case TUNNEL_HELLO:
        if (!t->is_source || t->has_hello || payload[0] != TUNNEL_VERSION)
            return false;
        t->has_hello = true;
        return true;
    case TUNNEL_OPEN:
        if (t->is_source || c->is_used)
            return false;
        open_channel(c, frame->door);
        return true;
    case TUNNEL_DATA:
    case TUNNEL_CREDIT:
    case TUNNEL_END:
        return c->is_used && accept_on_channel(c, frame, payload);
    case TUNNEL_ASKED:
        if (!t->is_source || t->is_asked)
            return false;
        t->is_asked = true;
        return true;
    case TUNNEL_COMPLETE:
        if (t->is_source || !t->is_asked || t->is_complete || t->is_halted)
            return false;
        t->is_complete = true;
        return true;
    case TUNNEL_HALTED:
        if (t->is_source || t->is_halted || t->is_complete)
            return false;
        t->is_halted = true;
        return true;
    case TUNNEL_GO:
        if (!t->is_source || !t->is_halted || t->may_go)
            return false;
        t->may_go = true;
        return true;
    case TUNNEL_FAILED:
        return true;
    case TUNNEL_TYPE_END:
        break;
    }
    return false;
}

int tunnel_accept(struct tunnel *t, const struct tunnel_frame *frame, const uint8_t *payload,
                  struct err *err)
{
    if ((frame->type != TUNNEL_HELLO && frame->type != TUNNEL_FAILED && !t->has_hello) ||
        !accept(t, frame, payload))
        return err_set(err, -EBADMSG, "the other node sent what must not come here (frame %d)",
                       (int)frame->type);
    return 0;
}

void tunnel_sent(struct tunnel *t, const struct tunnel_frame *frame, uint32_t n)
{
    struct tunnel_channel *c = &t->channels[frame->channel];

    switch (frame->type) {
    case TUNNEL_HELLO:
        t->has_hello = true;
        break;
    case TUNNEL_OPEN:
        assert(t->is_source && !c->is_used);
        open_channel(c, frame->door);
        break;
    case TUNNEL_DATA:
        assert(c->is_used && !c->sent_end && frame->size <= c->may_send);
        c->may_send -= frame->size;
        break;
    case TUNNEL_CREDIT:
        assert(c->is_used && n <= TUNNEL_WINDOW - c->may_receive);
        c->may_receive += n;
        break;
    case TUNNEL_END:
        assert(c->is_used && !c->sent_end);
        c->sent_end = true;
        break;
    case TUNNEL_ASKED:
        t->is_asked = true;
        break;
    case TUNNEL_COMPLETE:
        t->is_complete = true;
        break;
    case TUNNEL_HALTED:
        t->is_halted = true;
        break;
    case TUNNEL_GO:
        t->may_go = true;
        break;
    case TUNNEL_FAILED:
    case TUNNEL_TYPE_END:
        break;
    }
}

int tunnel_free_channel(const struct tunnel *t)
{
    for (int i = 0; i < TUNNEL_MAX_CHANNELS; i++) {
        if (!t->channels[i].is_used)
            return i;
    }
    return -ENOSPC;
}
