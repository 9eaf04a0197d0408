/* The codec of peer messages: what is written is read back, and nothing else is. */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/message_random.h"

enum { N_ROUNDS = 200 };

static uint8_t *encoded(const struct message *message, size_t *ret_size)
{
    struct writer w;
    uint8_t *data;

    writer_init_growing(&w, MESSAGE_MAX_SIZE);
    message_encode(message, &w);
    data = writer_steal(&w, ret_size);
    assert_non_null(data);
    return data;
}

static void test_every_type_is_read_back(void **unused)
{
    struct prng p = {1};

    (void)unused;
    for (int round = 0; round < N_ROUNDS; round++) {
        enum message_type type = MESSAGE_BEAT + round % (MESSAGE_TYPE_END - MESSAGE_BEAT);
        struct message message, back;
        size_t size, size_again;
        uint8_t *data, *again;

        message_random(&p, type, &message);
        data = encoded(&message, &size);
        assert_int_equal(message_decode(data, size, &back, NULL), 0);
        again = encoded(&back, &size_again);
        assert_int_equal(size, size_again);
        assert_memory_equal(data, again, size);
        message_deinit(&message);
        message_deinit(&back);
        free(data);
        free(again);
    }
}

static void test_no_part_of_a_message_is_a_message(void **unused)
{
    struct prng p = {2};

    (void)unused;
    for (enum message_type type = MESSAGE_BEAT; type < MESSAGE_TYPE_END; type++) {
        struct message message, back;
        size_t size;
        uint8_t *data;

        message_random(&p, type, &message);
        data = encoded(&message, &size);
        for (size_t part = 0; part < size; part++)
            assert_int_equal(message_decode(data, part, &back, NULL), -EBADMSG);
        message_deinit(&message);
        free(data);
    }
}

static void test_bounds_are_kept(void **unused)
{
    struct message message = {.type = MESSAGE_BEAT}, back;
    struct guard_report guest = {.guest = "web", .state = GUEST_RUNNING};
    struct claim claim = {.kind = CLAIM_STOPPED, .guest = "web"};
    size_t size;
    uint8_t *data;

    (void)unused;
    message.beat.has_report = true;
    message.beat.report.n_guests = 1;
    message.beat.report.guests = &guest;
    guest.guest[0] = '/'; /* no name */
    data = encoded(&message, &size);
    assert_int_equal(message_decode(data, size, &back, NULL), -EBADMSG);
    free(data);
    guest.guest[0] = 'w';
    guest.state = GUEST_RESTORING + 1;
    data = encoded(&message, &size);
    assert_int_equal(message_decode(data, size, &back, NULL), -EBADMSG);
    free(data);
    guest.state = GUEST_RUNNING;
    message.beat.report.n_claims = 1;
    message.beat.report.claims = &claim;
    claim.kind = CLAIM_IMAGE_FAILED + 1;
    data = encoded(&message, &size);
    assert_int_equal(message_decode(data, size, &back, NULL), -EBADMSG);
    data[0] = 9; /* another version */
    assert_int_equal(message_decode(data, size, &back, NULL), -EBADMSG);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_type_is_read_back),
        cmocka_unit_test(test_no_part_of_a_message_is_a_message),
        cmocka_unit_test(test_bounds_are_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
