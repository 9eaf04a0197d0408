/* The answer to a machine that asks for its address: who is answered, and with what. */
#include "tests/unit/test.h"

#include <string.h>

#include "agent/guest/dhcp.h"
#include "tests/support/prng.h"

enum { BOOTP_AT = 42, OPTIONS_AT = BOOTP_AT + 240, FRAME_SIZE = OPTIONS_AT + 60 };

static struct dhcp_lease machine(void)
{
    struct dhcp_lease lease = {
        .ip = 0x0a070002, .prefix = 24, .server = 0x0a070001, .mtu = 1500, .host_name = "vm1"};

    mac_of_guest(lease.ip, lease.mac);
    return lease;
}

/* A question with the options given. */
static size_t ask(const struct dhcp_lease *lease, const void *options, size_t size,
                  uint8_t ret[FRAME_SIZE])
{
    static const uint8_t cookie[] = {0x63, 0x82, 0x53, 0x63};
    size_t udp_size = 8 + 240 + size, ip_size = 20 + udp_size;

    memset(ret, 0, FRAME_SIZE);
    memset(ret, 0xff, MAC_SIZE);
    memcpy(ret + 6, lease->mac, MAC_SIZE);
    ret[12] = 8;
    ret[14] = 0x45;
    ret[16] = (uint8_t)(ip_size >> 8);
    ret[17] = (uint8_t)ip_size;
    ret[23] = 17;
    ret[35] = 68;
    ret[37] = 67;
    ret[38] = (uint8_t)(udp_size >> 8);
    ret[39] = (uint8_t)udp_size;
    ret[BOOTP_AT] = 1;
    ret[BOOTP_AT + 1] = 1;
    ret[BOOTP_AT + 2] = 6;
    memcpy(ret + BOOTP_AT + 4, "xid!", 4);
    memcpy(ret + BOOTP_AT + 28, lease->mac, MAC_SIZE);
    memcpy(ret + BOOTP_AT + 236, cookie, sizeof(cookie));
    memcpy(ret + OPTIONS_AT, options, size);
    return OPTIONS_AT + size;
}

/* The value of an option of the answer; NULL when it is not there. */
static const uint8_t *option(const uint8_t *answer, size_t size, uint8_t code)
{
    const uint8_t *at = answer + OPTIONS_AT;

    while (at < answer + size && *at != 255) {
        if (*at == code)
            return at + 2;
        at += *at == 0 ? 1 : 2 + at[1];
    }
    return NULL;
}

static void test_discover_is_offered_the_address(void **unused)
{
    const struct dhcp_lease lease = machine();
    const uint8_t options[] = {53, 1, 1, 55, 2, 1, 3, 255};
    uint8_t frame[FRAME_SIZE], answer[DHCP_ANSWER_MAX];
    size_t size = dhcp_answer(&lease, frame, ask(&lease, options, sizeof(options), frame), answer);
    uint32_t sum = 0;

    (void)unused;
    assert_true(size >= BOOTP_AT + 300);
    assert_memory_equal(answer, lease.mac, MAC_SIZE);
    for (int i = 14; i < 34; i += 2)
        sum += (uint32_t)answer[i] << 8 | answer[i + 1];
    assert_int_equal((sum & 0xffff) + (sum >> 16), 0xffff);
    assert_memory_equal(answer + BOOTP_AT + 4, "xid!", 4);
    assert_memory_equal(answer + BOOTP_AT + 16, "\x0a\x07\x00\x02", 4);
    assert_memory_equal(option(answer, size, 53), "\x02", 1);
    assert_memory_equal(option(answer, size, 1), "\xff\xff\xff\x00", 4);
    assert_memory_equal(option(answer, size, 51), "\xff\xff\xff\xff", 4);
    assert_memory_equal(option(answer, size, 54), "\x0a\x07\x00\x01", 4);
    assert_memory_equal(option(answer, size, 12), "vm1", 3);
    assert_memory_equal(option(answer, size, 26), "\x05\xdc", 2);
    assert_null(option(answer, size, 3)); /* a slice has no router */
    frame[BOOTP_AT + 10] = 0x80;
    assert_true(dhcp_answer(&lease, frame, sizeof(frame), answer) > 0);
    assert_memory_equal(answer, "\xff\xff\xff\xff\xff\xff", MAC_SIZE); /* as it asked */
}

static void test_request(void **unused)
{
    const struct dhcp_lease lease = machine();
    uint8_t right[] = {53, 1, 3, 50, 4, 10, 7, 0, 2, 255};
    uint8_t frame[FRAME_SIZE], answer[DHCP_ANSWER_MAX];
    size_t size = dhcp_answer(&lease, frame, ask(&lease, right, sizeof(right), frame), answer);

    (void)unused;
    assert_memory_equal(option(answer, size, 53), "\x05", 1); /* ack */
    right[8] = 3;
    size = dhcp_answer(&lease, frame, ask(&lease, right, sizeof(right), frame), answer);
    assert_memory_equal(option(answer, size, 53), "\x06", 1); /* it has another one */
    assert_memory_equal(answer + BOOTP_AT + 16, "\0\0\0\0", 4);
    assert_null(option(answer, size, 51));
}

static void test_what_is_not_answered(void **unused)
{
    const struct dhcp_lease lease = machine();
    const uint8_t other_server[] = {53, 1, 3, 50, 4, 10, 7, 0, 2, 54, 4, 10, 7, 0, 9, 255};
    const uint8_t release[] = {53, 1, 7, 255}, discover[] = {53, 1, 1, 255};
    const uint8_t torn[] = {53, 1, 1, 12, 200, 'x'};
    uint8_t frame[FRAME_SIZE], answer[DHCP_ANSWER_MAX];
    size_t size;

    (void)unused;
    size = ask(&lease, other_server, sizeof(other_server), frame);
    assert_int_equal(dhcp_answer(&lease, frame, size, answer), 0);
    size = ask(&lease, release, sizeof(release), frame);
    assert_int_equal(dhcp_answer(&lease, frame, size, answer), 0);
    size = ask(&lease, torn, sizeof(torn), frame);
    assert_int_equal(dhcp_answer(&lease, frame, size, answer), 0);
    size = ask(&lease, discover, sizeof(discover), frame);
    frame[BOOTP_AT + 33] ^= 1; /* another machine's MAC */
    assert_int_equal(dhcp_answer(&lease, frame, size, answer), 0);
    size = ask(&lease, discover, sizeof(discover), frame);
    for (size_t n = 0; n < OPTIONS_AT; n++)
        assert_int_equal(dhcp_answer(&lease, frame, n, answer), 0);
    frame[37] = 68; /* another port */
    assert_int_equal(dhcp_answer(&lease, frame, size, answer), 0);
}

/* Whatever a machine sends: nothing is read past it, and no answer is too long. */
static void test_noise(void **unused)
{
    const struct dhcp_lease lease = machine();
    const uint8_t options[] = {53, 1, 1, 50, 4, 10, 7, 0, 2, 12, 3, 'a', 'b', 'c', 255};
    struct prng prng = {.state = 11};
    uint8_t frame[FRAME_SIZE], answer[DHCP_ANSWER_MAX];
    unsigned answered = 0;

    (void)unused;
    for (int i = 0; i < 20000; i++) {
        size_t size = ask(&lease, options, sizeof(options), frame);
        uint8_t *exact;

        for (uint32_t n = prng_below(&prng, 4); n > 0; n--)
            frame[prng_below(&prng, (uint32_t)size)] = (uint8_t)prng_next(&prng);
        size -= prng_below(&prng, 3) * prng_below(&prng, 20);
        exact = test_malloc(size);
        memcpy(exact, frame, size);
        size = dhcp_answer(&lease, exact, size, answer);
        assert_true(size <= DHCP_ANSWER_MAX);
        answered += size > 0;
        test_free(exact);
    }
    assert_true(answered > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_discover_is_offered_the_address),
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_what_is_not_answered),
        cmocka_unit_test(test_noise),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
