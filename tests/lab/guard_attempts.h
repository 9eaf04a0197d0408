/* guard_attempts: operations of the guard with arguments that it must refuse. */
#ifndef SKEIN_TESTS_LAB_GUARD_ATTEMPTS_H
#define SKEIN_TESTS_LAB_GUARD_ATTEMPTS_H

#include <stdbool.h>

#include "agent/guard/proto.h"

enum { MAX_TRIES = 10 };

/* `fill` puts what makes it bad into a request of its operation. `crossed`: said on the other
 * connection than the operation's own. `cut`: answered by the end of the connection. */
struct attempt {
    const char *what; /* NULL: no more of that operation */
    void (*fill)(struct guard_request *request);
    bool crossed, cut;
};

/* By operation. */
extern const struct attempt attempts[][MAX_TRIES];

/* Opens what they hand over, in the process that makes them. False: it cannot. */
bool attempts_prepare(void);

#endif
