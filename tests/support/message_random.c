#include "tests/support/message_random.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/command_random.h"

static void stamp_random(struct prng *p, struct stamp *ret)
{
    prng_bytes(p, ret->boot_nonce, NONCE_SIZE);
    ret->run = prng_below(p, 9);
    ret->sequence = prng_next(p) % 1000;
}

static void *room(uint32_t n, size_t size)
{
    void *list = calloc(n + 1, size);

    assert(list != NULL);
    return list;
}

static void room_random(struct prng *p, struct node_room *ret)
{
    ret->is_known = prng_one_in(p, 2);
    ret->files_bytes = prng_next(p);
    ret->volumes_bytes = prng_next(p);
    ret->is_one = prng_one_in(p, 2);
    ret->memory_bytes = prng_next(p);
}

static void report_random(struct prng *p, struct node_report *ret)
{
    ret->n_guests = prng_below(p, 4);
    ret->guests = room(ret->n_guests, sizeof(*ret->guests));
    for (uint32_t i = 0; i < ret->n_guests; i++) {
        struct guard_report *guest = &ret->guests[i];

        name_random(p, guest->guest);
        guest->epoch = prng_next(p) % 100;
        guest->migration = prng_next(p) % 3;
        guest->state = GUEST_STARTING + prng_below(p, GUEST_RESTORING);
        guest->frozen_by = (uint8_t)prng_below(p, 8);
        guest->exit_status = (int32_t)prng_below(p, 256) - 1;
        guest->pid = prng_below(p, 1000);
        guest->n_starts = prng_below(p, 4);
    }
    ret->n_claims = prng_below(p, 3);
    ret->claims = room(ret->n_claims, sizeof(*ret->claims));
    for (uint32_t i = 0; i < ret->n_claims; i++) {
        ret->claims[i].kind = CLAIM_STOPPED + prng_below(p, CLAIM_IMAGE_FAILED);
        name_random(p, ret->claims[i].guest);
        ret->claims[i].epoch = prng_next(p) % 100;
        snprintf(ret->claims[i].text, REASON_SIZE, "why %u", prng_below(p, 100));
    }
    ret->n_conditions = prng_below(p, 3);
    ret->conditions = room(ret->n_conditions, sizeof(*ret->conditions));
    for (uint32_t i = 0; i < ret->n_conditions; i++) {
        name_random(p, ret->conditions[i].guest);
        ret->conditions[i].epoch = prng_next(p) % 100;
        ret->conditions[i].health = prng_below(p, GUEST_UNHEALTHY + 1);
        ret->conditions[i].n_failures = prng_below(p, 5);
        ret->conditions[i].n_ends = prng_below(p, 5);
        ret->conditions[i].next_start_ms = prng_below(p, 30000);
        snprintf(ret->conditions[i].text, REASON_SIZE, "why %u", prng_below(p, 100));
    }
    ret->n_moves = prng_below(p, 3);
    ret->moves = room(ret->n_moves, sizeof(*ret->moves));
    for (uint32_t i = 0; i < ret->n_moves; i++) {
        ret->moves[i].id = prng_next(p) % 100;
        ret->moves[i].failed = prng_one_in(p, 2);
        ret->moves[i].mode = prng_below(p, MOVE_POST + 1);
        ret->moves[i].memory_here = prng_one_in(p, 2);
        ret->moves[i].activates = prng_one_in(p, 2);
        ret->moves[i].never_ran = prng_one_in(p, 2);
        ret->moves[i].no_room = prng_one_in(p, 2);
        room_random(p, &ret->moves[i].room);
        ret->moves[i].progress.round = prng_below(p, 9);
        ret->moves[i].progress.is_files = prng_below(p, 2) == 1;
        ret->moves[i].progress.done_bytes = prng_next(p);
        ret->moves[i].progress.total_bytes = prng_next(p);
        ret->moves[i].progress.blackout_ms = prng_below(p, 100000);
        ret->moves[i].rate_kbps = prng_below(p, 1000000);
        ret->moves[i].bytes = prng_next(p);
        ret->moves[i].blackout_us = prng_below(p, 1000000);
    }
    ret->n_protections = prng_below(p, 3);
    ret->protections = room(ret->n_protections, sizeof(*ret->protections));
    for (uint32_t i = 0; i < ret->n_protections; i++) {
        name_random(p, ret->protections[i].guest);
        ret->protections[i].epoch = prng_next(p) % 100;
        ret->protections[i].resumed = prng_next(p) % 100;
        ret->protections[i].node = prng_next(p) % 9;
        prng_bytes(p, ret->protections[i].digest, DIGEST_SIZE);
        ret->protections[i].size = prng_next(p);
        ret->protections[i].sent = prng_next(p);
        ret->protections[i].n_increments = prng_below(p, 20);
        ret->protections[i].age_ms = prng_below(p, 1000);
        ret->protections[i].interval_ms = prng_below(p, 1000);
    }
    ret->n_images = prng_below(p, 3);
    ret->images = room(ret->n_images, sizeof(*ret->images));
    for (uint32_t i = 0; i < ret->n_images; i++)
        prng_bytes(p, ret->images[i], DIGEST_SIZE);
}

static void beat_random(struct prng *p, struct beat *ret)
{
    stamp_random(p, &ret->stamp);
    ret->echo = (struct leader_stamp){prng_next(p) % 9, prng_next(p)};
    ret->published_term = prng_next(p) % 9;
    ret->lapsed = prng_one_in(p, 2);
    ret->applied_index = prng_next(p) % 1000;
    ret->fabric_index = prng_next(p) % 1000;
    ret->backhaul_permille = prng_below(p, 1000);
    ret->round_trip_us = prng_below(p, 1000);
    ret->report_version = prng_below(p, 1000);
    ret->has_report = prng_one_in(p, 2);
    if (ret->has_report)
        report_random(p, &ret->report);
}

static void ack_random(struct prng *p, struct ack *ret)
{
    ret->stamp = (struct leader_stamp){prng_next(p) % 9, prng_next(p)};
    ret->report_version = prng_below(p, 1000);
    ret->again = prng_one_in(p, 2);
    stamp_random(p, &ret->lease.stamp);
    ret->lease.term = ret->stamp.term;
    ret->lease.freeze_ms = prng_one_in(p, 2) ? 0 : 5 + prng_below(p, 900);
    ret->lease.lease_ms = prng_below(p, MAX_LEASE_MS);
    ret->lease.index = prng_next(p) % 1000;
    ret->lease.has_copies = prng_one_in(p, 2);
    ret->lease.n_copies = ret->lease.has_copies ? prng_below(p, 4) : 0;
    for (uint32_t i = 0; i < ret->lease.n_copies; i++) {
        name_random(p, ret->lease.copies[i].guest);
        ret->lease.copies[i].epoch = prng_next(p) % 100;
    }
}

static void way_random(struct prng *p, struct backhaul_way *ret)
{
    *ret = (struct backhaul_way){prng_next(p), prng_next(p), prng_next(p), prng_below(p, 100000)};
}

static void links_random(struct prng *p, struct backhaul *ret)
{
    ret->capacity_kbps = prng_below(p, 100000);
    way_random(p, &ret->out);
    way_random(p, &ret->in);
    ret->has_queues = prng_one_in(p, 2);
    for (int i = 0; ret->has_queues && i < BACKHAUL_N_CLASSES; i++)
        ret->queues[i] = (struct backhaul_queue){prng_next(p), prng_next(p), prng_next(p),
                                                 prng_below(p, 100000), prng_below(p, 100000)};
    ret->streams = (struct backhaul_streams){prng_below(p, 100), prng_below(p, 100000),
                                             prng_below(p, 100000), prng_one_in(p, 2)};
}

static void timeline_random(struct prng *p, struct timeline *ret)
{
    ret->from = 1 + prng_below(p, 100);
    ret->is_rebooted = prng_one_in(p, 2);
    loss_origin_random(p, &ret->origin);
    ret->is_protected = prng_one_in(p, 2);
    ret->is_resumed = prng_one_in(p, 2);
    ret->has_lost = prng_one_in(p, 2);
    ret->lost_ms = prng_below(p, 1000);
    ret->committed_ms = prng_below(p, 1000);
    ret->placed_ms = prng_below(p, 1000);
    ret->started_ms = prng_below(p, 1000);
    ret->serving_ms = prng_below(p, 1000);
}

void message_random(struct prng *p, enum message_type type, struct message *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->type = type;
    switch (type) {
    case MESSAGE_BEAT:
        beat_random(p, &ret->beat);
        break;
    case MESSAGE_ACK:
        ret->ack = calloc(1, sizeof(*ret->ack));
        assert(ret->ack != NULL);
        ack_random(p, ret->ack);
        break;
    case MESSAGE_NOT_LEADER:
        ret->not_leader.leader = prng_next(p) % 9;
        ret->not_leader.term = prng_next(p) % 9;
        break;
    case MESSAGE_CAPTURE:
        ret->capture.migration = prng_next(p);
        room_random(p, &ret->capture.room);
        break;
    case MESSAGE_RUNNING:
        ret->migration = prng_next(p);
        break;
    case MESSAGE_FACTS:
        node_facts_random(p, &ret->facts);
        break;
    case MESSAGE_ASK:
        ret->about = prng_next(p);
        break;
    case MESSAGE_PING:
    case MESSAGE_PONG:
        ret->token = prng_next(p);
        break;
    case MESSAGE_HEARD:
        ret->heard.node = prng_next(p);
        ret->heard.is_heard = prng_one_in(p, 2);
        break;
    case MESSAGE_LINKS:
        links_random(p, &ret->links);
        break;
    case MESSAGE_TIMELINE:
        name_random(p, ret->told.guest);
        ret->told.node = prng_next(p);
        timeline_random(p, &ret->told.timeline);
        break;
    case MESSAGE_TYPE_END:
        break;
    }
}
