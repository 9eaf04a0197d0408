/* fuzz_guard: mutated packets against the decoders of the guard: requests, replies, records, jobs,
 * looks.
 *
 *     fuzz_guard [ITERATIONS [SEED]]
 *
 * The corpus is made from the seed. What a decoder takes must be what its encoder writes, byte for
 * byte. A failure prints the iteration; the same arguments show it again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/guard/job.h"
#include "agent/guard/record.h"
#include "migrate/look.h"
#include "tests/support/command_random.h"
#include "tests/support/prng.h"

enum { N_KINDS = 5, N_EACH = 64, MAX_MUTATIONS = 6, MAX_GROWTH = 64 };
enum kind { REQUEST, REPLY, RECORD, JOB, LOOK };

struct bytes {
    uint8_t data[GUARD_PACKET_MAX];
    size_t size;
};

struct fuzz {
    struct prng prng;
    struct bytes corpus[N_KINDS][N_EACH];
    struct bytes packet, again;
    unsigned long iteration, n_taken, n_refused;
};

static void fail(const struct fuzz *f, const char *what)
{
    printf("not ok 1 - iteration %lu: %s\n", f->iteration, what);
    exit(1);
}

/* ---- the corpus */

static void run_random(struct fuzz *f, struct guest_run *run)
{
    memset(run, 0, sizeof(*run));
    guest_spec_random(&f->prng, &run->spec);
    run->epoch = 1 + prng_below(&f->prng, 100);
    run->n_cores = prng_below(&f->prng, 3);
    for (uint32_t i = 0; i < run->n_cores; i++)
        run->cores[i] = (uint16_t)(2 * i + prng_below(&f->prng, 2));
    run->vni = 1;
    run->ip = 0x0a070002;
    run->prefix = 24;
    run->port = 2000;
}

static void write_request(struct fuzz *f, int i, struct writer *w)
{
    struct guard_request request;

    guard_request_init(&request);
    request.serial = 1 + (uint32_t)i;
    request.op = (enum guard_op)(GUARD_HELLO + i % (GUARD_OP_END - GUARD_HELLO));
    request.connection = GUARD_CONNECTION_WORK;
    request.ack.has_copies = true;
    request.ack.n_copies = prng_below(&f->prng, 4);
    for (uint32_t k = 0; k < request.ack.n_copies; k++)
        name_random(&f->prng, request.ack.copies[k].guest);
    name_random(&f->prng, request.copy.guest);
    request.migration = 1 + prng_next(&f->prng) % 9;
    request.wish.terms = MOVE_TERMS_DEFAULT;
    request.timeout_ms = 100;
    request.port = (uint16_t)prng_below(&f->prng, 2);
    run_random(f, &request.run);
    request.n_argv = 1;
    request.argv = calloc(1, sizeof(char *));
    request.argv[0] = strdup("sh");
    request.n_keeps = prng_below(&f->prng, 3);
    request.keeps = calloc(3, sizeof(*request.keeps));
    for (uint32_t k = 0; k < request.n_keeps; k++)
        guest_volumes_name(request.keeps[k], "web", prng_below(&f->prng, 9));
    guard_request_encode(&request, w);
    guard_request_deinit(&request);
}

static void write_reply(struct fuzz *f, int i, struct writer *w)
{
    struct guard_report reports[3] = {
        {.state = GUEST_RUNNING}, {.state = GUEST_EXITED}, {.state = GUEST_PREPARED}};
    struct guard_reply reply;

    guard_reply_init(&reply);
    reply.serial = (uint32_t)i % 8; /* 0: an event */
    reply.op = (enum guard_op)(GUARD_HELLO + i % (GUARD_OP_END - GUARD_HELLO));
    reply.event = (enum guard_event)(GUARD_EVENT_LIST + i / 8 % 3);
    reply.code = i % 5 == 4 ? -5 : 0;
    reply.n_reports = prng_below(&f->prng, 4);
    reply.reports = reports;
    for (int k = 0; k < 3; k++)
        name_random(&f->prng, reports[k].guest);
    guard_reply_encode(&reply, w);
}

static void write_record(struct fuzz *f, int i, struct writer *w)
{
    struct guest_record record = {
        .state = (enum guard_guest_state)(GUEST_STARTING + i % GUEST_RESTORING), .pid = 7};

    run_random(f, &record.run);
    guest_record_encode(&record, w);
    guest_record_deinit(&record);
}

static void write_job(struct fuzz *f, int i, struct writer *w)
{
    struct job job;

    job_init(&job);
    job.id = 1 + (uint32_t)i;
    job.kind = (enum job_kind)(JOB_START + i % (JOB_KIND_END - JOB_START));
    job.has_run = i % 2 == 0;
    job.has_view = i % 3 == 0;
    run_random(f, &job.run);
    job_encode(&job, w);
    guest_run_deinit(&job.run);
}

static void write_look(struct fuzz *f, int i, struct writer *w)
{
    struct look look = {.memory_bytes = prng_next(&f->prng), .n_processes = (uint32_t)i};

    for (int k = 0; k < i % 5; k++)
        look_add(&look, "device", k % 2 == 0, "process %d has a device open", k);
    look_encode(&look, w);
}

static void make_corpus(struct fuzz *f)
{
    static void (*const write[N_KINDS])(struct fuzz *, int, struct writer *) = {
        write_request, write_reply, write_record, write_job, write_look};

    for (int kind = 0; kind < N_KINDS; kind++) {
        for (int i = 0; i < N_EACH; i++) {
            struct bytes *b = &f->corpus[kind][i];
            struct writer w;

            writer_init(&w, b->data, sizeof(b->data));
            write[kind](f, i, &w);
            b->size = w.size;
            if (w.failed)
                fail(f, "an encoder failed");
        }
    }
}

/* ---- one packet */

static void mutate(struct fuzz *f, struct bytes *b)
{
    for (uint32_t n = prng_below(&f->prng, MAX_MUTATIONS); n > 0 && b->size > 0; n--) {
        size_t at = prng_below(&f->prng, (uint32_t)b->size);

        switch (prng_below(&f->prng, 4)) {
        case 0:
            b->data[at] ^= (uint8_t)(1u << prng_below(&f->prng, 8));
            break;
        case 1:
            b->data[at] = prng_one_in(&f->prng, 2) ? 0xff : 0;
            break;
        case 2:
            b->size = at; /* cut */
            break;
        default:
            if (b->size + MAX_GROWTH < sizeof(b->data)) {
                memmove(b->data + at + 1, b->data + at, b->size - at);
                b->size++;
            }
            break;
        }
    }
}

/* Decodes from memory of exactly the packet's size, so that a sanitizer sees a read past it. 0 when
 * it was taken; `w` has then what the encoder makes of it. */
static int decode_and_encode(enum kind kind, const struct bytes *b, struct writer *w)
{
    struct guard_request request;
    struct guard_reply reply;
    struct guest_record record;
    struct job job;
    struct look look;
    uint8_t *exact = malloc(b->size > 0 ? b->size : 1);
    int rc = -1;

    memcpy(exact, b->data, b->size);
    if (kind == REQUEST && (rc = guard_request_decode(exact, b->size, &request)) == 0) {
        guard_request_encode(&request, w);
        guard_request_deinit(&request);
    } else if (kind == REPLY && (rc = guard_reply_decode(exact, b->size, &reply)) == 0) {
        guard_reply_encode(&reply, w);
        guard_reply_deinit(&reply);
    } else if (kind == RECORD && (rc = guest_record_decode(exact, b->size, &record)) == 0) {
        guest_record_encode(&record, w);
        guest_record_deinit(&record);
    } else if (kind == JOB && (rc = job_decode(exact, b->size, &job)) == 0) {
        job_encode(&job, w);
        job_deinit(&job);
    } else if (kind == LOOK && (rc = look_decode(exact, b->size, &look)) == 0) {
        look_encode(&look, w);
    }
    free(exact);
    return rc;
}

static void try_one(struct fuzz *f)
{
    enum kind kind = (enum kind)prng_below(&f->prng, N_KINDS);
    const struct bytes *from = &f->corpus[kind][prng_below(&f->prng, N_EACH)];
    struct writer w;

    memcpy(f->packet.data, from->data, from->size);
    f->packet.size = from->size;
    mutate(f, &f->packet);
    writer_init(&w, f->again.data, sizeof(f->again.data));
    if (decode_and_encode(kind, &f->packet, &w) < 0) {
        f->n_refused++;
        return;
    }
    f->n_taken++;
    if (w.failed || w.size != f->packet.size || memcmp(w.data, f->packet.data, w.size) != 0)
        fail(f, "what was taken is not what is written");
}

int main(int argc, char *argv[])
{
    unsigned long n = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
    struct fuzz *f = calloc(1, sizeof(*f));

    if (f == NULL)
        return 1;
    f->prng.state = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    make_corpus(f);
    for (f->iteration = 0; f->iteration < n; f->iteration++)
        try_one(f);
    printf("1..1\nok 1 - %lu packets: %lu taken, %lu refused\n", n, f->n_taken, f->n_refused);
    free(f);
    return 0;
}
