#include "agent/core/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/units.h"
#include "consensus/command.h"

enum { MESSAGE_VERSION = 11 };

void node_report_deinit(struct node_report *report)
{
    free(report->guests);
    free(report->claims);
    free(report->conditions);
    free(report->moves);
    free(report->protections);
    free(report->images);
    memset(report, 0, sizeof(*report));
}

void message_deinit(struct message *message)
{
    if (message->type == MESSAGE_BEAT)
        node_report_deinit(&message->beat.report);
    else if (message->type == MESSAGE_ACK)
        free(message->ack);
    else if (message->type == MESSAGE_FACTS)
        node_facts_deinit(&message->facts);
    message->type = 0;
}

/* ---- the report */

static void write_guest(const struct guard_report *guest, struct writer *w)
{
    write_string(w, guest->guest);
    write_u64(w, guest->epoch);
    write_u64(w, guest->migration);
    write_u8(w, (uint8_t)guest->state);
    write_u8(w, guest->frozen_by);
    write_u32(w, (uint32_t)guest->exit_status);
    write_u32(w, guest->pid);
    write_u32(w, guest->n_starts);
}

static void read_guest(struct reader *r, struct guard_report *ret)
{
    uint8_t state;

    read_string(r, ret->guest, sizeof(ret->guest));
    ret->epoch = read_u64(r);
    ret->migration = read_u64(r);
    state = read_u8(r);
    ret->frozen_by = read_u8(r);
    ret->exit_status = (int32_t)read_u32(r);
    ret->pid = read_u32(r);
    ret->n_starts = read_u32(r);
    if (!name_is_valid(ret->guest) || state < GUEST_STARTING || state > GUEST_RESTORING)
        reader_fail(r);
    ret->state = state;
}

static void write_claim(const struct claim *claim, struct writer *w)
{
    write_u8(w, (uint8_t)claim->kind);
    write_string(w, claim->guest);
    write_u64(w, claim->epoch);
    write_string(w, claim->text);
}

static void read_claim(struct reader *r, struct claim *ret)
{
    uint8_t kind = read_u8(r);

    read_string(r, ret->guest, sizeof(ret->guest));
    ret->epoch = read_u64(r);
    read_string(r, ret->text, sizeof(ret->text));
    if (kind < CLAIM_STOPPED || kind > CLAIM_IMAGE_FAILED || !name_is_valid(ret->guest))
        reader_fail(r);
    ret->kind = kind;
}

static void write_condition(const struct condition *condition, struct writer *w)
{
    write_string(w, condition->guest);
    write_u64(w, condition->epoch);
    write_u8(w, (uint8_t)condition->health);
    write_u32(w, condition->n_failures);
    write_u32(w, condition->n_ends);
    write_u32(w, condition->next_start_ms);
    write_string(w, condition->text);
}

static void read_condition(struct reader *r, struct condition *ret)
{
    uint8_t health;

    read_string(r, ret->guest, sizeof(ret->guest));
    ret->epoch = read_u64(r);
    health = read_u8(r);
    ret->n_failures = read_u32(r);
    ret->n_ends = read_u32(r);
    ret->next_start_ms = read_u32(r);
    read_string(r, ret->text, sizeof(ret->text));
    if (health > GUEST_UNHEALTHY || !name_is_valid(ret->guest))
        reader_fail(r);
    ret->health = health;
}

static void write_move(const struct move_report *move, struct writer *w)
{
    write_u64(w, move->id);
    write_bool(w, move->failed);
    write_string(w, move->text);
    write_u8(w, (uint8_t)move->mode);
    write_bool(w, move->memory_here);
    write_bool(w, move->activates);
    write_bool(w, move->never_ran);
    write_bool(w, move->no_room);
    room_encode(&move->room, w);
    write_u64(w, move->bytes);
    move_progress_encode(&move->progress, w);
    write_u32(w, move->rate_kbps);
    write_u32(w, move->blackout_us);
}

static void read_move(struct reader *r, struct move_report *ret)
{
    ret->id = read_u64(r);
    ret->failed = read_bool(r);
    read_string(r, ret->text, sizeof(ret->text));
    ret->mode = (enum move_mode)read_u8(r);
    if (ret->mode > MOVE_POST)
        reader_fail(r);
    ret->memory_here = read_bool(r);
    ret->activates = read_bool(r);
    ret->never_ran = read_bool(r);
    ret->no_room = read_bool(r);
    room_decode(r, &ret->room);
    ret->bytes = read_u64(r);
    move_progress_decode(r, &ret->progress);
    ret->rate_kbps = read_u32(r);
    ret->blackout_us = read_u32(r);
}

static void write_protection(const struct protection *p, struct writer *w)
{
    write_string(w, p->guest);
    write_u64(w, p->epoch);
    write_u64(w, p->resumed);
    write_u64(w, p->node);
    write_bytes(w, p->digest, DIGEST_SIZE);
    write_u64(w, p->size);
    write_u64(w, p->sent);
    write_u32(w, p->n_increments);
    write_u32(w, p->frozen_us);
    write_u32(w, p->age_ms);
    write_u32(w, p->interval_ms);
    write_u32(w, p->n_failures);
    write_string(w, p->text);
}

static void read_protection(struct reader *r, struct protection *ret)
{
    read_string(r, ret->guest, sizeof(ret->guest));
    ret->epoch = read_u64(r);
    ret->resumed = read_u64(r);
    ret->node = read_u64(r);
    read_bytes(r, ret->digest, DIGEST_SIZE);
    ret->size = read_u64(r);
    ret->sent = read_u64(r);
    ret->n_increments = read_u32(r);
    ret->frozen_us = read_u32(r);
    ret->age_ms = read_u32(r);
    ret->interval_ms = read_u32(r);
    ret->n_failures = read_u32(r);
    read_string(r, ret->text, sizeof(ret->text));
    if (!name_is_valid(ret->guest))
        reader_fail(r);
}

static void write_node_report(const struct node_report *report, struct writer *w)
{
    write_u32(w, report->n_guests);
    for (uint32_t i = 0; i < report->n_guests; i++)
        write_guest(&report->guests[i], w);
    write_u32(w, report->n_claims);
    for (uint32_t i = 0; i < report->n_claims; i++)
        write_claim(&report->claims[i], w);
    write_u32(w, report->n_conditions);
    for (uint32_t i = 0; i < report->n_conditions; i++)
        write_condition(&report->conditions[i], w);
    write_u32(w, report->n_moves);
    for (uint32_t i = 0; i < report->n_moves; i++)
        write_move(&report->moves[i], w);
    write_u32(w, report->n_protections);
    for (uint32_t i = 0; i < report->n_protections; i++)
        write_protection(&report->protections[i], w);
    write_u32(w, report->n_images);
    for (uint32_t i = 0; i < report->n_images; i++)
        write_bytes(w, report->images[i], DIGEST_SIZE);
}

/* Room for a count that was read; marks the reader on lack of memory, as on any other failure. */
static void *room(struct reader *r, uint32_t n, size_t size)
{
    void *p;

    if (n == 0)
        return NULL;
    p = calloc(n, size);
    if (p == NULL)
        reader_fail(r);
    return p;
}

static void read_node_report(struct reader *r, struct node_report *ret)
{
    uint32_t n = read_count(r, MAX_NODE_GUESTS);

    ret->guests = room(r, n, sizeof(*ret->guests));
    for (; !r->failed && ret->n_guests < n; ret->n_guests++)
        read_guest(r, &ret->guests[ret->n_guests]);
    n = read_count(r, MESSAGE_MAX_CLAIMS);
    ret->claims = room(r, n, sizeof(*ret->claims));
    for (; !r->failed && ret->n_claims < n; ret->n_claims++)
        read_claim(r, &ret->claims[ret->n_claims]);
    n = read_count(r, MAX_NODE_GUESTS);
    ret->conditions = room(r, n, sizeof(*ret->conditions));
    for (; !r->failed && ret->n_conditions < n; ret->n_conditions++)
        read_condition(r, &ret->conditions[ret->n_conditions]);
    n = read_count(r, MESSAGE_MAX_MOVES);
    ret->moves = room(r, n, sizeof(*ret->moves));
    for (; !r->failed && ret->n_moves < n; ret->n_moves++)
        read_move(r, &ret->moves[ret->n_moves]);
    n = read_count(r, MAX_NODE_GUESTS);
    ret->protections = room(r, n, sizeof(*ret->protections));
    for (; !r->failed && ret->n_protections < n; ret->n_protections++)
        read_protection(r, &ret->protections[ret->n_protections]);
    n = read_count(r, MAX_IMAGES);
    ret->images = room(r, n, sizeof(*ret->images));
    for (; !r->failed && ret->n_images < n; ret->n_images++)
        read_bytes(r, ret->images[ret->n_images], DIGEST_SIZE);
}

/* ---- messages */

static void write_leader_stamp(const struct leader_stamp *stamp, struct writer *w)
{
    write_u64(w, stamp->term);
    write_u64(w, stamp->sent_us);
}

static void read_leader_stamp(struct reader *r, struct leader_stamp *ret)
{
    ret->term = read_u64(r);
    ret->sent_us = read_u64(r);
}

static void write_beat(const struct beat *beat, struct writer *w)
{
    stamp_encode(&beat->stamp, w);
    write_leader_stamp(&beat->echo, w);
    write_u64(w, beat->published_term);
    write_bool(w, beat->lapsed);
    write_u64(w, beat->applied_index);
    write_u64(w, beat->fabric_index);
    write_u32(w, beat->backhaul_permille);
    write_u32(w, beat->round_trip_us);
    write_u8(w, beat->n_beats);
    write_u8(w, beat->n_beats_unanswered);
    write_u32(w, beat->report_version);
    write_bool(w, beat->has_report);
    if (beat->has_report)
        write_node_report(&beat->report, w);
}

static void read_beat(struct reader *r, struct beat *ret)
{
    stamp_decode(r, &ret->stamp);
    read_leader_stamp(r, &ret->echo);
    ret->published_term = read_u64(r);
    ret->lapsed = read_bool(r);
    ret->applied_index = read_u64(r);
    ret->fabric_index = read_u64(r);
    ret->backhaul_permille = read_u32(r);
    ret->round_trip_us = read_u32(r);
    ret->n_beats = read_u8(r);
    ret->n_beats_unanswered = read_u8(r);
    if (ret->n_beats_unanswered > ret->n_beats)
        reader_fail(r);
    ret->report_version = read_u32(r);
    ret->has_report = read_bool(r);
    if (ret->has_report)
        read_node_report(r, &ret->report);
}

static void write_ack(const struct ack *ack, struct writer *w)
{
    write_leader_stamp(&ack->stamp, w);
    write_u32(w, ack->report_version);
    write_bool(w, ack->again);
    lease_ack_encode(&ack->lease, w);
}

static void read_ack(struct reader *r, struct message *ret)
{
    struct ack *ack = malloc(sizeof(*ack));

    ret->ack = ack;
    if (ack == NULL) {
        reader_fail(r);
        return;
    }
    read_leader_stamp(r, &ack->stamp);
    ack->report_version = read_u32(r);
    ack->again = read_bool(r);
    lease_ack_decode(r, &ack->lease);
}

void message_encode(const struct message *message, struct writer *w)
{
    write_u8(w, MESSAGE_VERSION);
    write_u8(w, (uint8_t)message->type);
    switch (message->type) {
    case MESSAGE_BEAT:
        write_beat(&message->beat, w);
        break;
    case MESSAGE_ACK:
        write_ack(message->ack, w);
        break;
    case MESSAGE_NOT_LEADER:
        write_u64(w, message->not_leader.leader);
        write_u64(w, message->not_leader.term);
        break;
    case MESSAGE_CAPTURE:
        write_u64(w, message->capture.migration);
        room_encode(&message->capture.room, w);
        break;
    case MESSAGE_RUNNING:
        write_u64(w, message->migration);
        break;
    case MESSAGE_FACTS:
        node_facts_encode(&message->facts, w);
        break;
    case MESSAGE_ASK:
        write_u64(w, message->about);
        break;
    case MESSAGE_PING:
    case MESSAGE_PONG:
        write_u64(w, message->token);
        break;
    case MESSAGE_HEARD:
        write_u64(w, message->heard.node);
        write_bool(w, message->heard.is_heard);
        break;
    case MESSAGE_LINKS:
        backhaul_encode(&message->links, w);
        break;
    case MESSAGE_TIMELINE:
        write_string(w, message->told.guest);
        write_u64(w, message->told.node);
        timeline_encode(&message->told.timeline, w);
        break;
    case MESSAGE_TYPE_END:
        break;
    }
}

static int read_message(struct reader *r, struct message *ret)
{
    switch (ret->type) {
    case MESSAGE_BEAT:
        read_beat(r, &ret->beat);
        return 0;
    case MESSAGE_ACK:
        read_ack(r, ret);
        return 0;
    case MESSAGE_NOT_LEADER:
        ret->not_leader.leader = read_u64(r);
        ret->not_leader.term = read_u64(r);
        return 0;
    case MESSAGE_CAPTURE:
        ret->capture.migration = read_u64(r);
        room_decode(r, &ret->capture.room);
        return 0;
    case MESSAGE_RUNNING:
        ret->migration = read_u64(r);
        return 0;
    case MESSAGE_FACTS:
        return node_facts_decode(r, &ret->facts);
    case MESSAGE_ASK:
        ret->about = read_u64(r);
        return 0;
    case MESSAGE_PING:
    case MESSAGE_PONG:
        ret->token = read_u64(r);
        return 0;
    case MESSAGE_HEARD:
        ret->heard.node = read_u64(r);
        ret->heard.is_heard = read_bool(r);
        return 0;
    case MESSAGE_LINKS:
        backhaul_decode(r, &ret->links);
        return 0;
    case MESSAGE_TIMELINE:
        read_string(r, ret->told.guest, sizeof(ret->told.guest));
        ret->told.node = read_u64(r);
        timeline_decode(r, &ret->told.timeline);
        return name_is_valid(ret->told.guest) ? 0 : -EBADMSG;
    case MESSAGE_TYPE_END:
        break;
    }
    return -EBADMSG;
}

int message_decode(const void *data, size_t size, struct message *ret, struct err *err)
{
    struct reader r;
    uint8_t version, type;
    int code;

    memset(ret, 0, sizeof(*ret));
    reader_init(&r, data, size);
    version = read_u8(&r);
    type = read_u8(&r);
    if (r.failed || version != MESSAGE_VERSION || type == 0 || type >= MESSAGE_TYPE_END)
        return err_set(err, -EBADMSG, "a peer's message of version %u and type %u", version, type);
    ret->type = type;
    code = read_message(&r, ret);
    if (code == 0 && !reader_done(&r))
        code = -EBADMSG;
    if (code < 0) {
        message_deinit(ret);
        memset(ret, 0, sizeof(*ret));
        return err_set(err, code, "a peer's message of type %u does not decode", type);
    }
    return 0;
}
