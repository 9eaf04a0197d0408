/* migrate/connections: which lines of the kernel's tables name a connection, and the segment that
 * makes its other end say where it stands. */
#include "tests/unit/test.h"

#include <stdlib.h>
#include <string.h>

#include "migrate/connections.h"

/* As a little-endian machine prints them; that is what the tests run on. */
static void established_ones_are_taken(void **unused)
{
    struct connection c;

    (void)unused;
    assert_true(
        connection_parse("   1: 0200070A:1F90 0300070A:D431 01 00000000:00000000 02:000AF0D4 "
                         "00000000     0        0 21346 2 0000000000000000",
                         &c));
    assert_int_equal(c.own.ip, 0x0a070002);
    assert_int_equal(c.own.port, 8080);
    assert_int_equal(c.peer.ip, 0x0a070003);
    assert_int_equal(c.peer.port, 54321);
    assert_true(connection_parse(" 10: 0000000000000000FFFF00000200070A:0050 "
                                 "0000000000000000FFFF00000300070A:8000 08 0:0",
                                 &c));
    assert_int_equal(c.own.ip, 0x0a070002);
    assert_int_equal(c.own.port, 80);
}

static void all_else_is_passed_over(void **unused)
{
    static const char *const lines[] = {
        "",
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when",
        "   0: 00000000:1F90 00000000:0000 0A 00000000:00000000", /* listens */
        "   0: 0200070A:1F90 0300070A:D431 06 00000000:00000000", /* TIME_WAIT: nobody waits */
        "   0: 0200070A:1F90 0300070A:D431 02 00000000:00000000", /* SYN_SENT: it gives up itself */
        "   0: 0200070A:1F90 0300070A:D431 01",
        "   0: 0200070A:1F90 0300070A:D43",
        "   0: 0200070A:1F90",
        "   0: 0200070:1F90 0300070A:D431 01 ",
        "   0: 0200070Z:1F90 0300070A:D431 01 ",
        "   : 0200070A:1F90 0300070A:D431 01 ",
        "   0: 000080FE00000000FF005450B6AD1DFE:0050 0000000000000000FFFF00000300070A:8000 01 ",
    };
    struct connection c;

    (void)unused;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        assert_false(connection_parse(lines[i], &c));
}

static uint16_t sum_of(const uint8_t *at, size_t size, uint32_t sum)
{
    for (size_t i = 0; i < size; i += 2)
        sum += (uint32_t)(at[i] << 8 | at[i + 1]);
    while (sum > 0xffff)
        sum = (sum >> 16) + (sum & 0xffff);
    return (uint16_t)sum;
}

static void the_segment_is_sound(void **unused)
{
    const struct connection c = {{0x0a070002, 8080}, {0x0a070003, 54321}};
    uint8_t packet[CONNECTIONS_PROBE_SIZE];

    (void)unused;
    connection_probe(&c, 0xdeadbeef, packet);
    assert_int_equal(sum_of(packet, 20, 0), 0xffff);
    assert_int_equal(sum_of(packet + 20, 20, sum_of(packet + 12, 8, 6 + 20)), 0xffff);
    assert_memory_equal(packet + 12, "\x0a\x07\x00\x02\x0a\x07\x00\x03\x1f\x90\xd4\x31", 12);
    assert_memory_equal(packet + 24, "\xde\xad\xbe\xef", 4);
    assert_int_equal(packet[33], 0x10); /* ACK and nothing else */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(established_ones_are_taken),
        cmocka_unit_test(all_else_is_passed_over),
        cmocka_unit_test(the_segment_is_sound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
