/* message_random: well-formed peer messages with random contents, for tests and fuzzers. */
#ifndef SKEIN_TESTS_SUPPORT_MESSAGE_RANDOM_H
#define SKEIN_TESTS_SUPPORT_MESSAGE_RANDOM_H

#include "agent/core/message.h"
#include "tests/support/prng.h"

/* A message of the type; it decodes, but need not make sense. End it with message_deinit. */
void message_random(struct prng *p, enum message_type type, struct message *ret);

#endif
