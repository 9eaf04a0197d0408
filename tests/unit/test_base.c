/* base: the byte reader and writer, addresses, units and errors. */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/units.h"

static void bytes_written_are_read_back(void **state)
{
    uint8_t buffer[64], raw[3];
    char text[8];
    struct writer w;
    struct reader r;

    (void)state;
    writer_init(&w, buffer, sizeof(buffer));
    write_u8(&w, 7);
    write_u16(&w, 0x1234);
    write_u32(&w, 0xdeadbeef);
    write_u64(&w, UINT64_MAX - 1);
    write_bool(&w, true);
    write_string(&w, "web");
    write_bytes(&w, "abc", 3);
    assert_false(w.failed);
    assert_int_equal(buffer[1], 0x34); /* little-endian */

    reader_init(&r, buffer, w.size);
    assert_int_equal(read_u8(&r), 7);
    assert_int_equal(read_u16(&r), 0x1234);
    assert_int_equal(read_u32(&r), 0xdeadbeef);
    assert_true(read_u64(&r) == UINT64_MAX - 1);
    assert_true(read_bool(&r));
    read_string(&r, text, sizeof(text));
    assert_string_equal(text, "web");
    read_bytes(&r, raw, sizeof(raw));
    assert_memory_equal(raw, "abc", 3);
    assert_true(reader_done(&r));
}

static void reader_refuses_what_does_not_fit(void **state)
{
    static const uint8_t long_text[] = {4, 0, 'a', 'b', 'c', 'd'};
    static const uint8_t nul_text[] = {2, 0, 'a', 0};
    static const uint8_t two[] = {2};
    char text[4] = "old";
    struct reader r;

    (void)state;
    reader_init(&r, long_text, sizeof(long_text));
    read_string(&r, text, sizeof(text));
    assert_true(r.failed);
    assert_string_equal(text, "");
    reader_init(&r, nul_text, sizeof(nul_text));
    read_string(&r, text, sizeof(text));
    assert_true(r.failed);
    reader_init(&r, two, sizeof(two));
    assert_false(read_bool(&r));
    assert_true(r.failed);
    reader_init(&r, two, sizeof(two));
    assert_int_equal(read_u32(&r), 0);
    assert_false(reader_done(&r));
}

static void growing_writer_stops_at_its_limit(void **state)
{
    struct writer w;
    size_t size;
    uint8_t *data;

    (void)state;
    writer_init_growing(&w, 1000);
    for (int i = 0; i < 250; i++)
        write_u32(&w, (uint32_t)i);
    assert_false(w.failed);
    data = writer_steal(&w, &size);
    assert_int_equal(size, 1000);
    assert_int_equal(data[4], 1);
    free(data);
    writer_init_growing(&w, 3);
    write_u32(&w, 1);
    assert_true(w.failed);
    writer_deinit(&w);
}

static void addresses_are_parsed_and_refused(void **state)
{
    static const char *const bad_subnets[] = {
        "10.7.0.0",    "10.7.0.1/24", "10.7.0.0/31", "10.7.0.0/2x",
        "300.0.0.0/8", "10.7.0/24",   "10.7.0.0/-8", ""};
    struct subnet red, blue;
    struct err err;
    uint32_t address;
    char text[SUBNET_TEXT_SIZE];

    (void)state;
    assert_int_equal(subnet_parse("10.7.0.0/24", &red, &err), 0);
    assert_string_equal(subnet_format(red, text), "10.7.0.0/24");
    for (size_t i = 0; i < sizeof(bad_subnets) / sizeof(bad_subnets[0]); i++)
        assert_int_equal(subnet_parse(bad_subnets[i], &blue, &err), -EINVAL);
    assert_int_equal(subnet_parse("10.7.0.128/25", &blue, &err), 0);
    assert_true(subnet_overlaps(red, blue));
    assert_int_equal(ipv4_parse("10.7.0.9", &address, &err), 0);
    assert_true(subnet_contains(red, address));
    assert_false(subnet_contains(blue, address));
    assert_int_equal(ipv4_parse("10.7.0.09", &address, &err), -EINVAL);
}

static void quantities_need_a_unit(void **state)
{
    struct err err;
    uint32_t v;
    uint64_t ms;

    (void)state;
    assert_int_equal(parse_memory_mib("64m", &v, &err), 0);
    assert_int_equal(v, 64);
    assert_int_equal(parse_memory_mib("2g", &v, &err), 0);
    assert_int_equal(v, 2048);
    assert_int_equal(parse_memory_mib("64", &v, &err), -EINVAL);
    assert_int_equal(parse_memory_mib("99999999999999999999g", &v, &err), -EINVAL);
    assert_int_equal(parse_rate_kbps("20mbit", &v, &err), 0);
    assert_int_equal(v, 20000);
    assert_int_equal(parse_duration_ms("2m", &ms, &err), 0);
    assert_int_equal(ms, 120000);
    assert_int_equal(parse_duration_ms("0s", &ms, &err), -EINVAL);
    assert_true(name_is_valid("web-1"));
    assert_false(name_is_valid("-web"));
    assert_false(name_is_valid("Web"));
    assert_false(name_is_valid("../etc"));
    assert_false(name_is_valid(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_written_are_read_back),
        cmocka_unit_test(reader_refuses_what_does_not_fit),
        cmocka_unit_test(growing_writer_stops_at_its_limit),
        cmocka_unit_test(addresses_are_parsed_and_refused),
        cmocka_unit_test(quantities_need_a_unit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
