/* guard_hostile: what its two files share: a guard over a fake world, and a child of user skein. */
#ifndef SKEIN_TESTS_LAB_GUARD_HOSTILE_H
#define SKEIN_TESTS_LAB_GUARD_HOSTILE_H

#include "tests/unit/test.h"

#include "tests/lab/guard_driver.h"

enum { EPOCH = 5, PORT = 2000 };

/* A guard under a lease, and the guest "web" that runs. */
void begin_with_a_guest(struct driver *d);
/* Ends the process when it cannot. */
void become_skein(void);

void user_skein_can_do_no_harm(void **state);

#endif
