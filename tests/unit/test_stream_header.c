/* stream_header: the first bytes of each stream between nodes. */
#include "tests/unit/test.h"

#include <errno.h>

#include "agent/streams/stream_job_uv.h"
#include "tests/support/prng.h"

static void headers_are_read_back_and_nothing_else_is(void **unused)
{
    struct stream_header header = {.kind = STREAM_IMAGE, .offset = 0x123456789abcull}, back;
    struct prng p = {3};
    uint8_t bytes[STREAM_HEADER_SIZE];

    (void)unused;
    prng_bytes(&p, header.digest, DIGEST_SIZE);
    stream_header_encode(&header, bytes);
    assert_int_equal(stream_header_decode(bytes, &back), 0);
    assert_int_equal(back.kind, STREAM_IMAGE);
    assert_int_equal(back.offset, header.offset);
    assert_memory_equal(back.digest, header.digest, DIGEST_SIZE);
    for (int i = 0; i < 8; i++) { /* magic, version, kind, zero */
        uint8_t was = bytes[i];

        bytes[i] ^= 0x40;
        assert_int_equal(stream_header_decode(bytes, &back), -EBADMSG);
        bytes[i] = was;
    }
    header = (struct stream_header){.kind = STREAM_MIGRATION, .migration = 42};
    stream_header_encode(&header, bytes);
    assert_int_equal(stream_header_decode(bytes, &back), 0);
    assert_int_equal(back.migration, 42);
    for (int i = 0; i < 10000; i++) {
        prng_bytes(&p, bytes, sizeof(bytes));
        assert_int_equal(stream_header_decode(bytes, &back), -EBADMSG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_are_read_back_and_nothing_else_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
