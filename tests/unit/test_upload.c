#include "tests/unit/test.h"

#include "agent/streams/upload.h"

static void a_chunk_goes_where_the_one_before_ended(void **context)
{
    static const struct {
        struct upload_facts facts;
        uint64_t offset;
        size_t size;
        enum upload_verdict verdict;
    } rows[] = {
        {{.size = 0}, 0, 10, UPLOAD_DO},
        {{.size = 10, .last_chunk = 10}, 10, 5, UPLOAD_DO},
        {{.size = 10, .last_chunk = 10}, 0, 10, UPLOAD_AGAIN}, /* its answer was lost */
        {{.size = 10, .last_chunk = 10}, 0, 5, UPLOAD_REFUSED},
        {{.size = 15, .last_chunk = 5}, 0, 10, UPLOAD_REFUSED},
        {{.size = 15, .last_chunk = 5}, 20, 5, UPLOAD_REFUSED},
        {{.size = 10, .last_chunk = 10}, 10, 0, UPLOAD_REFUSED},
        {{.size = 10, .last_chunk = 10, .is_busy = true}, 10, 5, UPLOAD_NOT_NOW},
        {{.size = 10, .last_chunk = 10, .is_committed = true}, 10, 5, UPLOAD_REFUSED},
    };

    (void)context;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(upload_chunk(&rows[i].facts, rows[i].offset, rows[i].size),
                         rows[i].verdict);
}

/* A commit that was answered "there is no leader" is asked again: the bytes are stored by then. */
static void a_commit_may_be_asked_again(void **context)
{
    struct upload_facts facts = {.size = 10, .last_chunk = 10, .is_busy = true};
    const uint8_t digest[DIGEST_SIZE] = {1}, other[DIGEST_SIZE] = {2};

    (void)context;
    assert_int_equal(upload_commit(&facts, digest), UPLOAD_NOT_NOW);
    facts.is_busy = false;
    assert_int_equal(upload_commit(&facts, digest), UPLOAD_DO);
    facts.is_committed = true;
    facts.digest[0] = 1;
    assert_int_equal(upload_commit(&facts, digest), UPLOAD_AGAIN);
    assert_int_equal(upload_commit(&facts, other), UPLOAD_REFUSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chunk_goes_where_the_one_before_ended),
        cmocka_unit_test(a_commit_may_be_asked_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
