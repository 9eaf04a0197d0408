/* join_czmq: a board's question to a member whether it may join: blocks, for a worker thread. */
#ifndef SKEIN_AGENT_SKEIND_JOIN_CZMQ_H
#define SKEIN_AGENT_SKEIND_JOIN_CZMQ_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"

struct join_call {
    uint32_t address; /* of the member */
    uint16_t port;
    uint8_t server_key[KEY_SIZE]; /* its CURVE key, from the token */
    uint8_t curve_public[KEY_SIZE], curve_secret[KEY_SIZE];
    const char *request; /* JSON */
    int timeout_ms;
};

/* ret_answer: the member's JSON, on the heap. -ETIMEDOUT: nobody with that key answers there. */
int join_ask(const struct join_call *call, char **ret_answer, struct err *err);

#endif
