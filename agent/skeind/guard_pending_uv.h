/* guard_pending: requests to the guard between their send and their callback. */
#ifndef SKEIN_AGENT_SKEIND_GUARD_PENDING_UV_H
#define SKEIN_AGENT_SKEIND_GUARD_PENDING_UV_H

#include "agent/skeind/guard_client_uv.h"

struct pending {
    struct guard_request request;
    guard_reply_cb cb;
    void *context;
    int code; /* of those that failed before an answer */
    int connection;
    bool is_sent;
    struct pending *next;
};

struct pending_list {
    struct pending *first, **last;
    uint32_t n;
};

void pending_init(struct pending_list *list);
void pending_add(struct pending_list *list, struct pending *p);
/* Takes out the one of the connection with the serial, of serial 0 the first of all; NULL. */
struct pending *pending_take(struct pending_list *list, int connection, uint32_t serial);
/* The callback, and the end of the request. */
void pending_finish(struct pending *p, struct guard_reply *reply);
/* All of them: with their own code if they have one. Callbacks may add to the list again. */
void pending_finish_all(struct pending_list *list, int code);

#endif
