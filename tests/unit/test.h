/* test: what every unit test includes: cmocka with the headers that it wants first. As in the daemons a
 * peer that has gone away is an error of a write, and no signal. */
#ifndef SKEIN_TESTS_UNIT_TEST_H
#define SKEIN_TESTS_UNIT_TEST_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

__attribute__((constructor)) static void ignore_broken_pipes(void)
{
    signal(SIGPIPE, SIG_IGN);
}

#endif
