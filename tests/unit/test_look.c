/* A look before a move: reasons are kept once and bounded, and survive the way to skeind. */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "migrate/look.h"

static void test_reasons(void **unused)
{
    struct look look = {0};

    (void)unused;
    look_add(&look, "downtime", false, "it takes %d ms", 900);
    assert_null(look_obstacle(&look));
    look_add(&look, "downtime", false, "it takes %d ms", 900); /* said already */
    assert_int_equal(look.n_reasons, 1);
    look_add(&look, "ptrace", true, "process %d is traced", 7);
    assert_non_null(look_obstacle(&look));
    assert_string_equal(look.reasons[1].text, "process 7 is traced");
}

static void test_too_many(void **unused)
{
    struct look look = {0};

    (void)unused;
    for (int i = 0; i < LOOK_MAX_REASONS + 3; i++)
        look_add(&look, "note", false, "note %d", i);
    assert_int_equal(look.n_reasons, LOOK_MAX_REASONS);
    assert_string_equal(look.reasons[LOOK_MAX_REASONS - 1].code, "more");
    assert_null(look_obstacle(&look));
    look_add(&look, "device", true, "one obstacle behind them all");
    assert_non_null(look_obstacle(&look)); /* not listed, and not forgotten */
}

static void test_codec(void **unused)
{
    static uint8_t bytes[LOOK_MAX_BYTES];
    struct look look = {.memory_bytes = 1,
                        .files_bytes = 2,
                        .volumes_bytes = 4,
                        .shm_bytes = 5,
                        .stages_memory = true,
                        .ahead_bytes = 1,
                        .n_ahead = 7,
                        .dirty_bytes_per_s = 9,
                        .n_processes = 3,
                        .can_lazy = true};
    struct look back;
    struct writer w;

    (void)unused;
    for (int i = 0; i < LOOK_MAX_REASONS; i++) /* the largest that there is */
        look_add(&look, "twenty-three-characters", i % 2 == 0, "note %d", i);
    for (int i = 0; i < LOOK_MAX_REASONS; i++)
        memset(look.reasons[i].text, 'a' + i, LOOK_TEXT_SIZE - 1);
    writer_init(&w, bytes, sizeof(bytes));
    look_encode(&look, &w);
    assert_false(w.failed);
    for (size_t cut = 0; cut < w.size; cut++)
        assert_int_equal(look_decode(bytes, cut, &back), -EBADMSG);
    assert_int_equal(look_decode(bytes, w.size, &back), 0);
    assert_int_equal(back.n_reasons, LOOK_MAX_REASONS);
    assert_int_equal(back.files_bytes, 2);
    assert_int_equal(back.volumes_bytes, 4);
    assert_int_equal(back.shm_bytes, 5);
    assert_true(back.stages_memory);
    assert_int_equal(back.ahead_bytes, 1);
    assert_int_equal(back.n_ahead, 7);
    assert_int_equal(back.dirty_bytes_per_s, 9);
    assert_true(back.can_lazy);
    assert_false(back.can_track_dirty);
    assert_string_equal(back.reasons[5].text, look.reasons[5].text);
    assert_true(back.reasons[4].is_obstacle);
    bytes[w.size] = 0;
    assert_int_equal(look_decode(bytes, w.size + 1, &back), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_codec),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
