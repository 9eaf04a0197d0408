/* seal: the handshake and the records, and what must not pass. */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clean.h"
#include "consensus/identity_sodium.h"
#include "consensus/seal_sodium.h"

struct pair {
    struct identity caller, callee, stranger;
    struct seal_config calling, called;
    struct seal *initiator, *responder;
    uint8_t hello[SEAL_HELLO_SIZE], answer[SEAL_ANSWER_SIZE];
    uint8_t a[SEAL_RECORD_MAX * 2], b[SEAL_RECORD_MAX];
    bool lists_caller;
};

static bool is_listed(void *data, const uint8_t key[KEY_SIZE])
{
    struct pair *p = data;

    return p->lists_caller && memcmp(key, p->caller.link_public, KEY_SIZE) == 0;
}

static int setup(void **state)
{
    struct pair *p = calloc(1, sizeof(*p));

    identity_generate(&p->caller);
    identity_generate(&p->callee);
    identity_generate(&p->stranger);
    p->lists_caller = true;
    p->calling = (struct seal_config){
        .identity = &p->caller,
        .cluster = "cluster-id-16-by",
        .purpose = "raft",
        .greeting = "caller!",
        .peer_key = p->callee.link_public,
    };
    p->called = (struct seal_config){
        .identity = &p->callee,
        .cluster = "cluster-id-16-by",
        .purpose = "raft",
        .greeting = "callee!",
        .is_listed = is_listed,
        .data = p,
    };
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct pair *p = *state;

    seal_free(p->initiator);
    seal_free(p->responder);
    free(p);
    return 0;
}

/* Up to the answer: what the responder says to the hello. */
static int call(struct pair *p)
{
    assert_int_equal(seal_new(&p->calling, &p->initiator, NULL), 0);
    assert_int_equal(seal_new(&p->called, &p->responder, NULL), 0);
    assert_int_equal(seal_hello(p->initiator, p->hello), 0);
    return seal_answer(p->responder, p->hello, p->answer);
}

static size_t put(struct seal *s, enum seal_type type, uint8_t *buffer, const char *text)
{
    memcpy(buffer + SEAL_HEADROOM, text, strlen(text));
    return seal_record(s, type, buffer, strlen(text));
}

static void confirm(struct pair *p)
{
    struct seal_record record;
    size_t size;

    assert_int_equal(call(p), 0);
    assert_int_equal(seal_finish(p->initiator, p->answer), 0);
    size = put(p->initiator, SEAL_CONFIRM, p->a, "");
    assert_int_equal(seal_open(p->responder, p->a, size, &record), size);
}

static void expect_text(struct seal *s, uint8_t *buffer, size_t size, const char *text)
{
    struct seal_record record;

    assert_int_equal(seal_open(s, buffer, size, &record), size);
    assert_int_equal(record.type, SEAL_DATA);
    assert_int_equal(record.size, strlen(text));
    assert_memory_equal(record.data, text, record.size);
}

static void both_sides_know_each_other(void **state)
{
    struct pair *p = *state;
    struct seal_record record;
    size_t size;

    assert_int_equal(call(p), 0);
    assert_false(seal_is_confirmed(p->responder));
    assert_int_equal(seal_finish(p->initiator, p->answer), 0);
    assert_true(seal_is_confirmed(p->initiator));
    assert_memory_equal(seal_peer_key(p->responder), p->caller.link_public, KEY_SIZE);
    assert_string_equal((const char *)seal_peer_greeting(p->responder), "caller!");
    assert_string_equal((const char *)seal_peer_greeting(p->initiator), "callee!");

    size = put(p->initiator, SEAL_CONFIRM, p->a, "");
    assert_int_equal(seal_open(p->responder, p->a, size, &record), size);
    assert_true(seal_is_confirmed(p->responder));
    size = put(p->initiator, SEAL_DATA, p->a, "to you");
    assert_null(memmem(p->a, size, "to you", 6));
    expect_text(p->responder, p->a, size, "to you");
    size = put(p->responder, SEAL_DATA, p->b, "and back");
    expect_text(p->initiator, p->b, size, "and back");
    size = put(p->responder, SEAL_END, p->b, "");
    assert_int_equal(seal_open(p->initiator, p->b, size, &record), size);
    assert_int_equal(record.type, SEAL_END);
    assert_int_equal(put(p->responder, SEAL_DATA, p->b, "more"), 0);
}

static void who_is_not_listed_is_turned_away(void **state)
{
    struct pair *p = *state;

    p->lists_caller = false;
    assert_int_equal(call(p), -EKEYREJECTED);
    assert_int_equal(put(p->responder, SEAL_DATA, p->b, "secret"), 0);
}

static void another_key_cluster_or_purpose_fails(void **state)
{
    struct pair *p = *state;

    p->calling.peer_key = p->stranger.link_public; /* not the callee's */
    assert_int_equal(call(p), -EBADMSG);
    teardown(state);
    setup(state);
    p = *state;
    p->calling.cluster[0] ^= 1;
    assert_int_equal(call(p), -EBADMSG);
    teardown(state);
    setup(state);
    p = *state;
    p->calling.purpose = "stream";
    assert_int_equal(call(p), -EBADMSG);
}

/* A responder that has not the key that was called cannot answer. */
static void an_impostor_cannot_answer(void **state)
{
    struct pair *p = *state;
    struct seal *impostor;

    assert_int_equal(call(p), 0);
    p->called.identity = &p->stranger;
    assert_int_equal(seal_new(&p->called, &impostor, NULL), 0);
    assert_int_equal(seal_answer(impostor, p->hello, p->answer), -EBADMSG);
    assert_int_equal(seal_finish(p->initiator, p->answer), 0); /* the true answer stood there */
    seal_free(impostor);
}

static void every_byte_of_the_handshake_counts(void **state)
{
    struct pair *p = *state;
    int rc;

    for (size_t i = 0; i < SEAL_HELLO_SIZE + SEAL_ANSWER_SIZE; i++) {
        assert_int_equal(seal_new(&p->calling, &p->initiator, NULL), 0);
        assert_int_equal(seal_new(&p->called, &p->responder, NULL), 0);
        assert_int_equal(seal_hello(p->initiator, p->hello), 0);
        if (i < SEAL_HELLO_SIZE) {
            p->hello[i] ^= 0x40;
            rc = seal_answer(p->responder, p->hello, p->answer);
        } else {
            assert_int_equal(seal_answer(p->responder, p->hello, p->answer), 0);
            p->answer[i - SEAL_HELLO_SIZE] ^= 0x40;
            rc = seal_finish(p->initiator, p->answer);
        }
        assert_true(rc == -EBADMSG || (rc == -EPROTONOSUPPORT && i % SEAL_HELLO_SIZE == 0));
        seal_free(steal(&p->initiator));
        seal_free(steal(&p->responder));
    }
}

static void a_replayed_hello_gets_nowhere(void **state)
{
    struct pair *p = *state;
    struct seal_record record;
    struct seal *again;
    size_t size;

    confirm(p);
    size = put(p->initiator, SEAL_DATA, p->a, "order");
    memcpy(p->b, p->a, size);
    expect_text(p->responder, p->a, size, "order");
    /* The same bytes once more to a fresh responder: it answers, but is never confirmed. */
    assert_int_equal(seal_new(&p->called, &again, NULL), 0);
    assert_int_equal(seal_answer(again, p->hello, p->answer), 0);
    assert_int_equal(seal_open(again, p->b, size, &record), -EBADMSG);
    assert_false(seal_is_confirmed(again));
    seal_free(again);
}

static void records_are_refused_out_of_place(void **state)
{
    struct pair *p = *state;
    struct seal_record record;
    size_t size;

    /* Data before the CONFIRM record. */
    assert_int_equal(call(p), 0);
    assert_int_equal(seal_finish(p->initiator, p->answer), 0);
    size = put(p->initiator, SEAL_DATA, p->a, "early");
    assert_int_equal(seal_open(p->responder, p->a, size, &record), -EBADMSG);
    teardown(state);
    setup(state);
    p = *state;
    /* The same record twice. */
    confirm(p);
    size = put(p->initiator, SEAL_DATA, p->a, "once");
    memcpy(p->b, p->a, size);
    expect_text(p->responder, p->a, size, "once");
    assert_int_equal(seal_open(p->responder, p->b, size, &record), -EBADMSG);
    teardown(state);
    setup(state);
    p = *state;
    /* One left out. */
    confirm(p);
    put(p->initiator, SEAL_DATA, p->a, "first");
    size = put(p->initiator, SEAL_DATA, p->a, "second");
    assert_int_equal(seal_open(p->responder, p->a, size, &record), -EBADMSG);
    /* Broken once, broken for good. */
    size = put(p->initiator, SEAL_DATA, p->a, "third");
    assert_int_equal(seal_open(p->responder, p->a, size, &record), -EBADMSG);
}

static void every_byte_of_a_record_counts(void **state)
{
    struct pair *p = *state;
    size_t size = SEAL_HEADROOM + 5 + SEAL_TAILROOM;

    for (size_t i = 0; i < size; i++) {
        struct seal_record record;
        ssize_t rc;

        confirm(p);
        assert_int_equal(put(p->initiator, SEAL_DATA, p->a, "bytes"), size);
        p->a[i] ^= 0x08;
        rc = seal_open(p->responder, p->a, sizeof(p->a), &record);
        assert_int_equal(rc, -EBADMSG);
        seal_free(steal(&p->initiator));
        seal_free(steal(&p->responder));
    }
}

static void a_record_is_opened_only_when_whole(void **state)
{
    struct pair *p = *state;
    struct seal_record record;
    size_t size;

    confirm(p);
    memset(p->a + SEAL_HEADROOM, 'x', SEAL_DATA_MAX);
    size = seal_record(p->initiator, SEAL_DATA, p->a, SEAL_DATA_MAX);
    assert_int_equal(size, SEAL_RECORD_MAX);
    for (size_t n = 0; n < size; n += 997)
        assert_int_equal(seal_open(p->responder, p->a, n, &record), 0);
    assert_int_equal(seal_open(p->responder, p->a, size, &record), size);
    assert_int_equal(record.size, SEAL_DATA_MAX);
}

static void keys_change_and_both_sides_follow(void **state)
{
    struct pair *p = *state;

    confirm(p);
    for (int i = 0; i < SEAL_REKEY_RECORDS * 2 + 10; i++) {
        size_t size = put(p->initiator, SEAL_DATA, p->a, "tick");

        expect_text(p->responder, p->a, size, "tick");
    }
}

static void noise_is_no_record(void **state)
{
    struct pair *p = *state;
    unsigned seed = 1;

    for (int round = 0; round < 200; round++) {
        struct seal_record record;
        size_t size = (size_t)rand_r(&seed) % 200;

        confirm(p);
        for (size_t i = 0; i < size; i++)
            p->a[i] = (uint8_t)rand_r(&seed);
        p->a[2] = p->a[3] = 0;
        assert_true(seal_open(p->responder, p->a, size, &record) <= 0);
        seal_free(steal(&p->initiator));
        seal_free(steal(&p->responder));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(both_sides_know_each_other),
        TEST(who_is_not_listed_is_turned_away),
        TEST(another_key_cluster_or_purpose_fails),
        TEST(an_impostor_cannot_answer),
        TEST(every_byte_of_the_handshake_counts),
        TEST(a_replayed_hello_gets_nowhere),
        TEST(records_are_refused_out_of_place),
        TEST(every_byte_of_a_record_counts),
        TEST(a_record_is_opened_only_when_whole),
        TEST(keys_change_and_both_sides_follow),
        TEST(noise_is_no_record),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
