/* What the hypervisor is asked about domains, and which of them are guests'. */
#include "tests/unit/test.h"

#include <stdio.h>
#include <string.h>

#include "agent/guard/domctl.h"
#include "agent/guest/vm_text.h"

static void test_a_domain_is_known_by_its_handle(void **state)
{
    const struct domain_name names[] = {{1, false}, {1, true}, {0xffffffffffffULL, false}};
    uint8_t handle[DOMAIN_HANDLE_SIZE];
    struct domain_name back;

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        domain_handle(&names[i], handle);
        assert_true(domain_handle_read(handle, &back));
        assert_int_equal(back.created, names[i].created);
        assert_int_equal(back.stays, names[i].stays);
    }
}

static void test_others_domains_are_left_alone(void **state)
{
    const struct domain_name name = {.created = 0x13};
    uint8_t handle[DOMAIN_HANDLE_SIZE], other[DOMAIN_HANDLE_SIZE] = {0};
    struct domain_name back = {.created = 7};

    (void)state;
    domain_handle(&name, handle);
    assert_false(domain_handle_read(other, &back)); /* the control domain's */
    for (int i = 0; i < 10; i++) {
        memcpy(other, handle, sizeof(other));
        other[i] ^= 0x10;
        assert_false(domain_handle_read(other, &back));
    }
    assert_int_equal(back.created, 7);
}

/* The machine's UUID, which libvirt is told, and the handle, which the guard looks for, are one. */
static void test_libvirt_is_told_the_handle(void **state)
{
    struct guest_run run = {.spec = {.name = "vm1", .failover = FAILOVER_STAY}, .created = 0xabcde};
    struct domain_name name = {.created = 0xabcde, .stays = true};
    char uuid[VM_UUID_SIZE], words[VM_UUID_SIZE] = "";
    uint8_t handle[DOMAIN_HANDLE_SIZE];

    (void)state;
    for (int i = 0; i < 2; i++) {
        size_t used = 0;

        vm_xen_uuid(&run, uuid);
        domain_handle(&name, handle);
        for (int byte = 0; byte < DOMAIN_HANDLE_SIZE; byte++)
            used += (size_t)snprintf(words + used, sizeof(words) - used, "%s%02x",
                                     byte == 4 || byte == 6 || byte == 8 || byte == 10 ? "-" : "",
                                     handle[byte]);
        assert_string_equal(uuid, words);
        run.spec.failover = FAILOVER_RESTART;
        name.stays = false;
    }
}

static void test_a_guest_is_told_by_the_bits_that_the_handle_holds(void **state)
{
    const struct domain_name name = {.created = 0x13};

    (void)state;
    assert_true(domain_is_of(&name, 0x13));
    assert_true(domain_is_of(&name, 1ULL << 48 | 0x13));
    assert_false(domain_is_of(&name, 0x12));
}

/* Offsets of Xen 4.20's public headers, on x86-64. */
static void test_questions_are_written_as_xen_reads_them(void **state)
{
    uint8_t order[DOMCTL_SIZE], list[SYSCTL_SIZE];
    const uint8_t pause[] = {3, 0, 0, 0, 0x17, 0, 0, 0, 0x02, 0x01, 0, 0};
    const uint8_t asks[] = {6, 0, 0, 0,    0x15, 0,    0,    0,    5,    0,    0,    0, 36,
                            0, 0, 0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0};

    (void)state;
    domctl_encode(DOMCTL_PAUSE, 0x102, order);
    assert_memory_equal(order, pause, sizeof(pause));
    for (size_t i = sizeof(pause); i < sizeof(order); i++)
        assert_int_equal(order[i], 0);
    sysctl_encode_list(5, 36, 0x1122334455667788ULL, list);
    assert_memory_equal(list, asks, sizeof(asks));
    list[24] = 2;
    assert_int_equal(sysctl_decode_list(list), 2);
}

static void test_a_listed_domain_is_read(void **state)
{
    uint8_t bytes[DOMAIN_INFO_SIZE] = {0x34, 0x12, 0, 0, 0x08};
    struct domain_info info;

    (void)state;
    for (int i = 0; i < DOMAIN_HANDLE_SIZE; i++)
        bytes[76 + i] = (uint8_t)i;
    for (int i = 0; i < 8; i++) {
        bytes[8 + i] = (uint8_t)(0x10 + i);
        bytes[56 + i] = (uint8_t)(0x20 + i);
    }
    domain_info_decode(bytes, &info);
    assert_int_equal(info.id, 0x1234);
    assert_true(info.is_paused);
    assert_false(info.is_dying);
    assert_int_equal(info.handle[15], 15);
    assert_int_equal(info.pages, 0x1716151413121110);
    assert_int_equal(info.cpu_ns, 0x2726252423222120);
    bytes[4] = 0x21; /* running, scheduled to die */
    domain_info_decode(bytes, &info);
    assert_true(info.is_dying);
    assert_false(info.is_paused);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_domain_is_known_by_its_handle),
        cmocka_unit_test(test_others_domains_are_left_alone),
        cmocka_unit_test(test_libvirt_is_told_the_handle),
        cmocka_unit_test(test_a_guest_is_told_by_the_bits_that_the_handle_holds),
        cmocka_unit_test(test_questions_are_written_as_xen_reads_them),
        cmocka_unit_test(test_a_listed_domain_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
