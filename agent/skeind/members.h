/* members: what a node must know of its cluster before its log is loaded (pure codec).
 *
 * It lies in the data directory as "members", is written by init and join, and again whenever the
 * state's nodes change. It says who this node is, and where the others are; the state supersedes
 * it.
 */
#ifndef SKEIN_AGENT_SKEIND_MEMBERS_H
#define SKEIN_AGENT_SKEIND_MEMBERS_H

#include "base/bytes.h"
#include "base/err.h"
#include "consensus/state.h"

struct member {
    uint64_t id;
    uint32_t address;
    char name[NAME_SIZE];
    uint8_t link_key[KEY_SIZE];
    uint8_t curve_key[KEY_SIZE];
};

struct members {
    uint64_t own_id; /* 0 = this node is in no cluster */
    uint8_t cluster[NONCE_SIZE];
    struct timers timers; /* the cluster's */
    uint32_t n;
    struct member *list; /* by id; heap, owned */
};

void members_deinit(struct members *members);
void members_encode(const struct members *members, struct writer *w);
/* -EBADMSG for anything else; `ret` is empty then. */
int members_decode(const void *data, size_t size, struct members *ret);
/* Of the state's nodes. -ENOMEM. */
int members_of_state(const struct state *state, uint64_t own_id, struct members *ret);
const struct member *members_find(const struct members *members, uint64_t id);
bool members_are_equal(const struct members *a, const struct members *b);

#endif
