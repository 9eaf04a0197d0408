/* noise: the seal against a published test vector of Noise_IK_25519_ChaChaPoly_BLAKE2b (the
 * "cacophony" set, with the prologue "John Galt").
 *
 * Our prologue and payloads differ, and with them every tag. What does not depend on them must be
 * equal: ephemeral keys, the sealed static key, and the key stream of each message. */
#include "tests/unit/test.h"

#include <sodium.h>
#include <string.h>

#include "consensus/identity_sodium.h"
#include "consensus/seal_sodium.h"

static const char initiator_static[] =
    "e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1";
static const char initiator_ephemeral[] =
    "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a";
static const char responder_static[] =
    "4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893";
static const char responder_ephemeral[] =
    "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b";
/* Each message's ciphertext, as far as it is looked at. */
static const char first_message[] =
    "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944"
    "ba83a447b38c83e327ad936929812f624884847b7831e95e197b2f797088efdd2f88f1db7e1fb0e99c64419097af91"
    "ce"
    "e64e470f4b6fcd9298ce0b56fe20f86e13bf70439c538e3602a7127af71a29cc"; /* "Ludwig von Mises" */
static const char second_message[] =
    "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843"
    "9f069b267a06b3de3ecb1043bcb098e9af91d9c64748d998c7b47890871571"; /* "Murray Rothbard" */
static const char third_message[] =
    "cd54383060e7a28434cca27fb1cc524cfbabeb18181589df219d07"; /* "F. A. Hayek" */
static const char fourth_message[] =
    "a856d3bf0246bfc476c655009cd1ed677b8dcc5b349ae8ef2a05f2"; /* "Carl Menger" */

static uint8_t next_random[KEY_SIZE];

static const char *random_name(void)
{
    return "vector";
}

static uint32_t random_word(void)
{
    return 0;
}

static void random_bytes(void *const ret, const size_t size)
{
    assert_int_equal(size, sizeof(next_random));
    memcpy(ret, next_random, size);
}

static struct randombytes_implementation vector_random = {
    .implementation_name = random_name, .random = random_word, .buf = random_bytes};

static void from_hex(const char *hex, uint8_t *ret, size_t size)
{
    size_t n;

    assert_int_equal(sodium_hex2bin(ret, size, hex, strlen(hex), NULL, &n, NULL), 0);
    assert_int_equal(n, size);
}

static struct identity identity_of(const char *secret)
{
    struct identity identity = {0};

    from_hex(secret, identity.link_secret, KEY_SIZE);
    crypto_scalarmult_base(identity.link_public, identity.link_secret);
    return identity;
}

static bool list_all(void *data, const uint8_t key[KEY_SIZE])
{
    (void)data;
    (void)key;
    return true;
}

static void handshake_follows_the_vector(void **state)
{
    struct identity caller, callee;
    struct seal_config calling = {.purpose = "raft", .greeting = "Ludwig v"};
    struct seal_config called = {.purpose = "raft", .greeting = "Murray R", .is_listed = list_all};
    struct seal *initiator, *responder;
    uint8_t hello[SEAL_HELLO_SIZE], answer[SEAL_ANSWER_SIZE], first[112], second[63], third[27];
    uint8_t fourth[27], record[SEAL_RECORD_MAX];

    (void)state;
    assert_true(sodium_init() >= 0);
    caller = identity_of(initiator_static);
    callee = identity_of(responder_static);
    from_hex(first_message, first, sizeof(first));
    from_hex(second_message, second, sizeof(second));
    from_hex(third_message, third, sizeof(third));
    from_hex(fourth_message, fourth, sizeof(fourth));
    calling.identity = &caller;
    calling.peer_key = callee.link_public;
    called.identity = &callee;
    assert_int_equal(seal_new(&calling, &initiator, NULL), 0);
    assert_int_equal(seal_new(&called, &responder, NULL), 0);
    randombytes_set_implementation(&vector_random);

    from_hex(initiator_ephemeral, next_random, KEY_SIZE);
    assert_int_equal(seal_hello(initiator, hello), 0);
    assert_memory_equal(hello + 1, first, 32 + 32);     /* e, sealed s */
    assert_memory_equal(hello + 1 + 80, first + 80, 8); /* payload */
    from_hex(responder_ephemeral, next_random, KEY_SIZE);
    assert_int_equal(seal_answer(responder, hello, answer), 0);
    assert_memory_equal(answer + 1, second, 32 + 8); /* e, payload */
    assert_int_equal(seal_finish(initiator, answer), 0);

    /* Both directions' first byte of key stream: ours hides the type, the vector's a letter. */
    seal_record(initiator, SEAL_CONFIRM, record, 0);
    assert_int_equal(record[4] ^ SEAL_CONFIRM, third[0] ^ 'F');
    seal_record(responder, SEAL_END, record, 0);
    assert_int_equal(record[4] ^ SEAL_END, fourth[0] ^ 'C');

    randombytes_set_implementation(&randombytes_sysrandom_implementation);
    seal_free(initiator);
    seal_free(responder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(handshake_follows_the_vector)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
