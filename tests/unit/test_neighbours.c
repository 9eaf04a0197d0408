/* migrate/neighbours: which lines of the kernel's table name a neighbour that is known. */
#include "tests/unit/test.h"

#include "migrate/neighbours.h"

static void known_ones_are_taken(void **unused)
{
    static const uint8_t mac[MAC_SIZE] = {0x02, 0x5c, 0x0a, 0x07, 0x00, 0xfe};
    struct neighbour n;

    (void)unused;
    assert_true(neighbour_parse("10.7.0.254       0x1         0x2         02:5c:0a:07:00:fe     *"
                                "        eth0\n",
                                &n));
    assert_int_equal(n.ip, 0x0a0700fe);
    assert_memory_equal(n.mac, mac, MAC_SIZE);
    assert_true(neighbour_parse("10.7.0.254 0x1 0x6 02:5c:0a:07:00:fe * eth0", &n)); /* for good */
}

static void all_else_is_passed_over(void **unused)
{
    static const char *const lines[] = {
        "",
        "IP address       HW type     Flags       HW address            Mask     Device\n",
        "10.7.0.3         0x1         0x0         00:00:00:00:00:00     *        eth0\n", /* asked */
        "10.7.0.3         0x1         0x2         02:5c:0a:07:00:03     *        eth1\n",
        "10.7.0.3         0x1         0x2         02:5c:0a:07:00        *        eth0\n",
        "10.7.0.3         0x1         0x2         02:5c:0a:07:00:0g     *        eth0\n",
        "10.7.0.3         0x1         0x2         02:5c:0a:07:00:031    *        eth0\n",
        "10.7.0.300       0x1         0x2         02:5c:0a:07:00:03     *        eth0\n",
        "10.7.0.3         0x1         0x2         02:5c:0a:07:00:03",
    };
    struct neighbour n;

    (void)unused;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        assert_false(neighbour_parse(lines[i], &n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_ones_are_taken),
        cmocka_unit_test(all_else_is_passed_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
