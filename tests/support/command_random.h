/* command_random: well-formed commands with random contents, for tests and fuzzers. */
#ifndef SKEIN_TESTS_SUPPORT_COMMAND_RANDOM_H
#define SKEIN_TESTS_SUPPORT_COMMAND_RANDOM_H

#include "consensus/command.h"
#include "tests/support/prng.h"

/* A command of the type; it decodes, but need not make sense. End it with command_deinit. */
void command_random(struct prng *p, enum command_type type, struct command *ret);
/* Its parts. Names are of a small set, so that they meet. */
void name_random(struct prng *p, char ret[NAME_SIZE]);
void loss_origin_random(struct prng *p, struct loss_origin *ret);
void node_facts_random(struct prng *p, struct node_facts *ret);
void guest_spec_random(struct prng *p, struct guest_spec *ret);
void placement_random(struct prng *p, struct placement *ret);

#endif
