/* The uplink's counters: rates, use, the codec; and one reading of the machine's own loopback. */
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

#include "netfabric/backhaul_netlink.h"

static void rates_are_differences_over_time(void **unused)
{
    struct backhaul before = {.capacity_kbps = 100000}, now = before;

    (void)unused;
    before.out.bytes = 1000;
    now.out.bytes = 1000 + 6250000; /* in half a second: 100 Mbit/s */
    now.in.bytes = 125;
    now.has_queues = true;
    now.queues[BACKHAUL_CONTROL].bytes = 1250;
    backhaul_measure(&now, &before, 500000);
    assert_int_equal(now.out.kbps, 100000);
    assert_int_equal(now.in.kbps, 2);
    assert_int_equal(now.queues[BACKHAUL_CONTROL].kbps, 20);
    assert_int_equal(backhaul_use_permille(&now), 1000);
}

static void odd_readings_are_borne(void **unused)
{
    struct backhaul before = {0}, now = {0};

    (void)unused;
    before.out.bytes = UINT64_MAX;
    now.out.bytes = 1000; /* the interface was made anew: counted from zero */
    now.in.bytes = UINT64_MAX;
    backhaul_measure(&now, &before, 1000000);
    assert_int_equal(now.out.kbps, 8);
    assert_int_equal(now.in.kbps, UINT32_MAX);
    assert_int_equal(backhaul_use_permille(&now), 0); /* of no known capacity */
    backhaul_measure(&now, &before, 0);
    assert_int_equal(now.out.kbps, 0);
    now.capacity_kbps = 10;
    now.in.kbps = 5;
    assert_int_equal(backhaul_use_permille(&now), 500);
    now.in.kbps = 5000;
    assert_int_equal(backhaul_use_permille(&now), 1000);
}

static void what_is_written_is_read_back(void **unused)
{
    struct backhaul b = {.capacity_kbps = 7, .has_queues = true}, back;
    uint8_t bytes[512];
    struct writer w;
    struct reader r;

    (void)unused;
    b.out = (struct backhaul_way){1, 2, 3, 4};
    b.in = (struct backhaul_way){5, 6, 7, 8};
    for (unsigned i = 0; i < BACKHAUL_N_CLASSES; i++)
        b.queues[i] = (struct backhaul_queue){10 + i, 20 + i, 30 + i, 40 + i, 50 + i};
    writer_init(&w, bytes, sizeof(bytes));
    backhaul_encode(&b, &w);
    assert_false(w.failed);
    assert_true(w.size < 256); /* once a second in the control class */
    reader_init(&r, bytes, w.size);
    backhaul_decode(&r, &back);
    assert_true(reader_done(&r));
    assert_int_equal(back.capacity_kbps, 7);
    assert_int_equal(back.in.drops, 7);
    assert_int_equal(back.out.packets, 2);
    for (unsigned i = 0; i < BACKHAUL_N_CLASSES; i++) {
        assert_int_equal(back.queues[i].bytes, 10 + i);
        assert_int_equal(back.queues[i].packets, 20 + i);
        assert_int_equal(back.queues[i].drops, 30 + i);
        assert_int_equal(back.queues[i].backlog_bytes, 40 + i);
        assert_int_equal(back.queues[i].kbps, 50 + i);
    }
    assert_string_equal(backhaul_class_name(BACKHAUL_BULK), "bulk");
    assert_string_equal(backhaul_class_name(BACKHAUL_N_CLASSES), "unknown");
}

static void the_kernel_is_read(void **unused)
{
    struct backhaul b;
    struct err err = {0};

    (void)unused;
    assert_int_equal(backhaul_read("lo", &b, &err), 0);
    assert_int_equal(b.in.bytes, b.out.bytes); /* loopback: what goes out comes in */
    assert_false(b.has_queues);
    assert_int_equal(backhaul_read("no-such0", &b, &err), -ENODEV);
    assert_non_null(strstr(err.text, "no-such0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_are_differences_over_time),
        cmocka_unit_test(odd_readings_are_borne),
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(the_kernel_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
