/* The deadline filter where there is none: what it does in the kernel is tests/lab/35-deadline.t's.
 */
#include "tests/unit/test.h"

#include <string.h>

#include "agent/guard/deadline_bpf.h"

static void a_missing_file_system_is_said(void **state)
{
    struct deadline d;
    struct err err = {0};

    (void)state;
    assert_true(deadline_open(&d, "/nowhere/skein", &err) < 0);
    assert_non_null(strstr(err.text, "/nowhere/skein"));
    assert_non_null(strstr(err.text, "bpf file system"));
}

static void a_long_path_is_refused(void **state)
{
    char path[DEADLINE_DIRECTORY_SIZE + 1];
    struct deadline d;
    struct err err = {0};

    (void)state;
    memset(path, 'x', sizeof(path));
    path[sizeof(path) - 1] = '\0';
    assert_true(deadline_open(&d, path, &err) < 0);
}

static void one_that_is_not_open_does_nothing(void **state)
{
    static const uint8_t mac[MAC_SIZE] = {2, 0x5c, 10, 7, 0, 1};
    struct deadline d;
    struct err err = {0};

    (void)state;
    assert_true(deadline_open(&d, "/nowhere/skein", &err) < 0);
    deadline_set(&d, 1);
    deadline_clear(&d);
    assert_int_equal(deadline_attach_port(&d, "lo", &err), 0);
    assert_int_equal(deadline_detach_port(&d, "lo", &err), 0);
    assert_int_equal(deadline_attach_uplink(&d, "lo", &err), 0);
    assert_int_equal(deadline_exempt(&d, 7, mac, true, &err), 0);
    deadline_close(&d);
    deadline_close(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_missing_file_system_is_said),
        cmocka_unit_test(a_long_path_is_refused),
        cmocka_unit_test(one_that_is_not_open_does_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
