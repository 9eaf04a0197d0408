/* guard_tests: the tests of the guard's process, by what they are about. Each begins with a guard
 * in a new boot and an image on its disk; its state is a struct driver.
 */
#ifndef SKEIN_TESTS_LAB_GUARD_TESTS_H
#define SKEIN_TESTS_LAB_GUARD_TESTS_H

#include "tests/unit/test.h"

#include "tests/lab/guard_driver.h"

struct guard_tests {
    const struct CMUnitTest *list;
    size_t n;
};

extern const struct guard_tests lease_tests, guest_tests, move_tests, kept_tests, client_tests;

#endif
