/* replica_queue_posix: the two queues between a replica's thread and its owner, with limits.
 * Private to the replica. */
#ifndef SKEIN_CONSENSUS_REPLICA_QUEUE_POSIX_H
#define SKEIN_CONSENSUS_REPLICA_QUEUE_POSIX_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "consensus/replica.h"

/* ---- events, to the owner */

struct event_node;

struct event_queue {
    pthread_mutex_t lock;
    struct event_node *first, *last;
    size_t n, bytes;
    /* Entries were dropped: a snapshot must follow before the next one. */
    bool is_lagging;
    bool is_resync_asked;
};

void event_queue_init(struct event_queue *queue);
void event_queue_deinit(struct event_queue *queue);

/* Takes the event. True when the queue was empty. COMMITTED and RESTORED are dropped while the
 * queue lags; when COMMITTED would go past a limit, all of them are, and it lags from then on. */
bool event_queue_push(struct event_queue *queue, struct replica_event *event);
/* Ends the lag by a RESTORED event that holds all that was dropped. True as above. */
bool event_queue_catch_up(struct event_queue *queue, struct replica_event *event);
/* The oldest event; `ret_resync` is set, once a lag, when the queue lags and is empty now. */
bool event_queue_pop(struct event_queue *queue, struct replica_event *ret, bool *ret_resync);

/* ---- requests, to the thread */

enum request_type {
    REQUEST_PROPOSE,
    REQUEST_ADD,
    REQUEST_ASSIGN,
    REQUEST_REMOVE,
    REQUEST_TRANSFER,
    REQUEST_RESYNC, /* the owner has caught up with its events: a snapshot */
};

struct request {
    struct request *next;
    enum request_type type;
    uint8_t request[NONCE_SIZE]; /* PROPOSE */
    uint64_t cookie, id;
    uint32_t address;
    uint16_t port;
    enum raft_role role;
    size_t size;
    uint8_t bytes[];
};

struct request_queue {
    pthread_mutex_t lock;
    struct request *first, *last;
    size_t n;
};

void request_queue_init(struct request_queue *queue);
void request_queue_deinit(struct request_queue *queue);
/* Takes a request (from malloc) unless it returns -ENOBUFS. */
int request_queue_push(struct request_queue *queue, struct request *request);
/* The oldest request, which is the caller's, or NULL. It is left there when it is a proposal that
 * brings more than `room` bytes. */
struct request *request_queue_pop(struct request_queue *queue, size_t room);

#endif
