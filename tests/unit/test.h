/* test: what every unit test includes: cmocka with the headers that it wants first. */
#ifndef SKEIN_TESTS_UNIT_TEST_H
#define SKEIN_TESTS_UNIT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
