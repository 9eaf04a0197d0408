/* The guard's protocol: what is written is read back, and nothing else is. */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/guard/proto.h"
#include "consensus/health.h"
#include "tests/support/command_random.h"
#include "tests/support/prng.h"

static uint8_t buffer[GUARD_PACKET_MAX];

static size_t encoded(const struct guard_request *request)
{
    struct writer w;

    writer_init(&w, buffer, sizeof(buffer));
    guard_request_encode(request, &w);
    assert_false(w.failed);
    return w.size;
}

static size_t encoded_reply(const struct guard_reply *reply)
{
    struct writer w;

    writer_init(&w, buffer, sizeof(buffer));
    guard_reply_encode(reply, &w);
    assert_false(w.failed);
    return w.size;
}

/* A request of the op with everything set that any op may carry. */
static void fill(struct guard_request *request, enum guard_op op)
{
    struct prng p = {.state = 7};

    guard_request_init(request);
    *request = (struct guard_request){
        .serial = 9,
        .op = op,
        .connection = GUARD_CONNECTION_WORK,
        .ack = {.term = 3,
                .lease_ms = 600,
                .index = 77,
                .has_copies = true,
                .n_copies = 2,
                .copies = {{"web", 5}, {"db", 6}}},
        .index = 78,
        .copy = {"web", 5},
        .migration = 12,
        .wish = {{MOVE_POST, 50, 20000, 1}, 100000, true, true},
        .grace_ms = 1000,
        .timeout_ms = 500,
        .keep_upper = true,
        .digest = {9, 8, 7},
        .fds = {-1, -1, -1},
    };
    guest_spec_random(&p, &request->run.spec);
    request->run.created = 3;
    request->run.epoch = 5;
    request->run.n_cores = 2;
    request->run.cores[0] = 1;
    request->run.cores[1] = 3;
    request->run.vni = 10;
    request->run.ip = 0x0a070002;
    request->run.prefix = 24;
    request->run.port = FABRIC_FIRST_PORT;
    request->n_argv = 2;
    request->argv = calloc(3, sizeof(char *));
    request->argv[0] = strdup("echo");
    request->argv[1] = strdup("");
    request->n_keeps = 2;
    request->keeps = calloc(2, sizeof(*request->keeps));
    strcpy(request->keeps[0], "web.3");
    strcpy(request->keeps[1], "db.40");
}

static void every_op_is_read_back_and_no_part_of_it(void **state)
{
    (void)state;
    for (enum guard_op op = GUARD_HELLO; op < GUARD_OP_END; op++) {
        struct guard_request request, back;
        uint8_t *again;
        size_t size;

        fill(&request, op);
        size = encoded(&request);
        again = malloc(size);
        memcpy(again, buffer, size);
        for (size_t cut = 0; cut < size; cut++)
            assert_int_equal(guard_request_decode(again, cut, &back), -EBADMSG);
        assert_int_equal(guard_request_decode(again, size, &back), 0);
        assert_int_equal(back.serial, 9);
        assert_int_equal(back.op, op);
        assert_int_equal(encoded(&back), size);
        assert_memory_equal(buffer, again, size);
        guard_request_deinit(&back);
        buffer[size] = 0; /* something behind it */
        assert_int_equal(guard_request_decode(buffer, size + 1, &back), -EBADMSG);
        guard_request_deinit(&request);
        free(again);
    }
}

/* Each change makes a sound request unsound. */
static void bad_arguments_are_refused(void **state)
{
    static const enum guard_op op_of[] = {
        GUARD_STOP,  GUARD_STOP,  GUARD_STOP,  GUARD_START,   GUARD_START,
        GUARD_START, GUARD_START, GUARD_START, GUARD_CAPTURE, GUARD_PREPARE,
        GUARD_ACK,   GUARD_ACK,   GUARD_ACK,   GUARD_HELLO,   GUARD_START,
        GUARD_LIST,  GUARD_EXEC,  GUARD_CHECK, GUARD_CHECK,   GUARD_CHECK,
    };

    (void)state;
    for (size_t i = 0; i < sizeof(op_of) / sizeof(op_of[0]); i++) {
        struct guard_request request, back;
        uint32_t n_argv;

        fill(&request, op_of[i]);
        n_argv = request.n_argv;
        switch (i) {
        case 0:
            strcpy(request.copy.guest, "../etc");
            break;
        case 1:
            request.copy.guest[0] = '\0';
            break;
        case 2:
            request.grace_ms = GUARD_MAX_GRACE_MS + 1;
            break;
        case 3:
            strcpy(request.run.spec.name, "a/b");
            break;
        case 4:
            request.run.cores[1] = 1; /* twice */
            break;
        case 5:
            request.run.cores[1] = MAX_CORES;
            break;
        case 6:
            request.run.vni = 1u << 24;
            break;
        case 7:
            request.run.epoch = 0;
            break;
        case 8:
        case 9:
            request.migration = 0;
            break;
        case 10:
            request.ack.lease_ms = MAX_LEASE_MS + 1;
            break;
        case 11:
            request.ack.has_copies = false; /* with copies */
            break;
        case 12:
            strcpy(request.ack.copies[1].guest, "WEB");
            break;
        case 13:
            request.connection = 3;
            break;
        case 14:
            request.run.prefix = 31;
            break;
        case 15:
            request.serial = 0;
            break;
        case 16:
            request.n_argv = 0;
            break;
        case 17:
            request.timeout_ms = HEALTH_MAX_TIMEOUT_MS + 1;
            break;
        case 18:
            request.timeout_ms = HEALTH_MIN_TIMEOUT_MS - 1;
            break;
        case 19:
            request.n_argv = 0; /* and no port */
            break;
        }
        assert_int_equal(guard_request_decode(buffer, encoded(&request), &back), -EBADMSG);
        request.n_argv = n_argv;
        guard_request_deinit(&request);
    }
}

static void noise_is_refused_or_read_but_never_more(void **state)
{
    struct prng p = {.state = 42};

    (void)state;
    for (int i = 0; i < 20000; i++) {
        struct guard_request request;
        struct guard_reply reply;
        uint8_t noise[96];
        size_t size = prng_below(&p, sizeof(noise));

        prng_bytes(&p, noise, sizeof(noise));
        noise[0] = 2;
        noise[5] = (uint8_t)prng_below(&p, GUARD_OP_END + 1);
        if (guard_request_decode(noise, size, &request) == 0)
            guard_request_deinit(&request);
        if (guard_reply_decode(noise, size, &reply) == 0)
            guard_reply_deinit(&reply);
    }
}

static void replies_are_read_back(void **state)
{
    (void)state;
    for (enum guard_op op = GUARD_HELLO; op < GUARD_OP_END; op++) {
        struct guard_report reports[2] = {
            {"web", 5, 0, GUEST_RUNNING, 0, 0, 100, 1},
            {"db", 6, 9, GUEST_EXITED, FROZEN_BY_LEASE | FROZEN_BY_USER, -1, 0, 2},
        };
        bool is_timed = op == GUARD_CAPTURE || op == GUARD_RECEIVE || op == GUARD_ACTIVATE ||
                        op == GUARD_CHECKPOINT || op == GUARD_SEND;
        struct guard_reply reply, back;

        guard_reply_init(&reply);
        reply.serial = 4;
        reply.op = op;
        reply.hello.run = 3;
        reply.stamp.sequence = 8;
        reply.lapsed = true;
        reply.lease_left_ms = 500;
        reply.status = 137;
        reply.bytes = 1 << 20;
        reply.handed_over_us = 99;
        reply.stats = (struct guard_stats){1, 2, 3, 4, GUARD_UNKNOWN};
        reply.mode = MOVE_POST;
        reply.progress = (struct move_progress){1, true, 2, 3, 4};
        reply.room = (struct node_room){true, 5, 6, true, 7};
        reply.n_reports = 2;
        reply.reports = reports;
        assert_int_equal(guard_reply_decode(buffer, encoded_reply(&reply), &back), 0);
        assert_int_equal(back.op, op);
        assert_int_equal(back.fd, -1);
        assert_int_equal(back.hello.run, op == GUARD_HELLO ? 3 : 0);
        assert_int_equal(back.stamp.sequence, op == GUARD_STAMP ? 8 : 0);
        assert_int_equal(back.lease_left_ms, op == GUARD_ACK ? 500 : 0);
        assert_int_equal(back.status, op == GUARD_EXEC ? 137 : 0);
        assert_int_equal(back.bytes, is_timed ? 1 << 20 : 0);
        assert_int_equal(back.handed_over_us, is_timed ? 99 : 0);
        assert_int_equal(back.stats.memory_bytes, op == GUARD_STATS ? 2 : 0);
        assert_true(back.stats.received_bytes == (op == GUARD_STATS ? GUARD_UNKNOWN : 0));
        assert_int_equal(back.mode, is_timed ? MOVE_POST : 0);
        assert_int_equal(back.progress.total_bytes, is_timed || op == GUARD_PROGRESS ? 3 : 0);
        assert_int_equal(back.progress.blackout_ms, is_timed || op == GUARD_PROGRESS ? 4 : 0);
        assert_int_equal(back.room.is_known, op == GUARD_PREPARE);
        assert_int_equal(back.room.memory_bytes, op == GUARD_PREPARE ? 7 : 0);
        assert_int_equal(back.n_reports, op == GUARD_LIST ? 2 : 0);
        if (op == GUARD_LIST) {
            assert_string_equal(back.reports[1].guest, "db");
            assert_int_equal(back.reports[1].exit_status, -1);
            assert_int_equal(back.reports[1].frozen_by, FROZEN_BY_LEASE | FROZEN_BY_USER);
        }
        guard_reply_deinit(&back);
    }
}

static void refusals_carry_words_and_events_no_code(void **state)
{
    struct guard_reply reply, back;

    (void)state;
    guard_reply_init(&reply);
    reply.serial = 4;
    reply.op = GUARD_START;
    reply.code = -EEXIST;
    strcpy(reply.text, "guest 'web' exists");
    assert_int_equal(guard_reply_decode(buffer, encoded_reply(&reply), &back), 0);
    assert_int_equal(back.code, -EEXIST);
    assert_string_equal(back.text, reply.text);
    guard_reply_init(&reply);
    reply.event = GUARD_EVENT_LAPSED;
    assert_int_equal(guard_reply_decode(buffer, encoded_reply(&reply), &back), 0);
    assert_int_equal(back.serial, 0);
    assert_int_equal(back.event, GUARD_EVENT_LAPSED);
    reply.event = 9;
    assert_int_equal(guard_reply_decode(buffer, encoded_reply(&reply), &back), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_op_is_read_back_and_no_part_of_it),
        cmocka_unit_test(bad_arguments_are_refused),
        cmocka_unit_test(noise_is_refused_or_read_but_never_more),
        cmocka_unit_test(replies_are_read_back),
        cmocka_unit_test(refusals_carry_words_and_events_no_code),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
