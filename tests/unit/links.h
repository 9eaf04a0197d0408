/* What tests of sealed links begin with: two nodes on loopback, and a wire between them. */
#ifndef SKEIN_TESTS_UNIT_LINKS_H
#define SKEIN_TESTS_UNIT_LINKS_H

#include "tests/unit/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/tcp_posix.h"
#include "consensus/identity_sodium.h"
#include "consensus/keyring.h"
#include "consensus/link_uv.h"

enum { A = 1, B = 2, LIMIT_MS = 120000, CAPTURE_SIZE = 256 * 1024 };
static const uint32_t loopback = 0x7f000001;

struct node {
    struct identity identity;
    struct keyring *keyring;
    struct link *link;
    int fd; /* plain end of its newest link, -1 = none */
    struct link_peer peer;
    int n_accepted, n_ended, end_status;
    int connect_status; /* 1 = not yet known */
    bool is_closed;
};

/* Stands between two nodes on the wire: passes on, keeps a copy, and does harm when told. */
struct wire {
    int listener, inside, outside; /* -1 = none */
    struct sockaddr_in target;
    uint8_t *capture;
    size_t captured, passed;
    size_t cut_after, flip_at; /* bytes from caller to callee; 0 = never */
};

struct bench {
    uv_loop_t loop;
    uv_timer_t tick; /* so that the loop never sleeps long while the test looks at descriptors */
    struct node nodes[3]; /* 1 and 2 are used */
    struct wire wire;
};

static inline void on_accept(void *data, const struct link_peer *peer, int fd)
{
    struct node *n = data;

    n->fd = fd;
    n->peer = *peer;
    n->n_accepted++;
}

static inline void on_end(void *data, const struct link_peer *peer, int status)
{
    struct node *n = data;

    (void)peer;
    n->n_ended++;
    n->end_status = status;
}

static inline void on_connected(void *data, int status, const struct link_peer *peer, int fd)
{
    struct node *n = data;

    n->connect_status = status;
    n->fd = fd;
    n->peer = *peer;
}

static inline void on_link_closed(void *data)
{
    ((struct node *)data)->is_closed = true;
}

static inline void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

static inline void open_node(struct bench *b, int id, uint32_t connect_ms)
{
    struct node *n = &b->nodes[id];
    struct link_config config = {
        .loop = &b->loop,
        .identity = &n->identity,
        .keyring = n->keyring,
        .cluster = "cluster-id-16-by",
        .purpose = "stream",
        .node_id = (uint64_t)id,
        .address = loopback + (uint32_t)id - 1,
        .tos = TOS_BULK,
        .connect_ms = connect_ms,
        .on_accept = on_accept,
        .on_end = on_end,
        .data = n,
    };
    struct err err;

    n->fd = -1;
    n->connect_status = 1;
    assert_int_equal(link_open(&config, &n->link, &err), 0);
    assert_int_equal(link_listen(n->link, &err), 0);
}

static inline int setup_with(void **state, uint32_t connect_ms)
{
    struct bench *b = calloc(1, sizeof(*b));
    struct keyring_entry table[2] = {{0}};

    uv_loop_init(&b->loop);
    uv_timer_init(&b->loop, &b->tick);
    uv_timer_start(&b->tick, on_tick, 1, 1);
    b->wire.listener = b->wire.inside = b->wire.outside = -1;
    for (int id = A; id <= B; id++) {
        identity_generate(&b->nodes[id].identity);
        table[id - 1].id = (uint64_t)id;
        table[id - 1].address = loopback + (uint32_t)id - 1;
        memcpy(table[id - 1].link_key, b->nodes[id].identity.link_public, KEY_SIZE);
    }
    for (int id = A; id <= B; id++) {
        b->nodes[id].keyring = keyring_new();
        keyring_replace(b->nodes[id].keyring, table, 2);
        open_node(b, id, connect_ms);
    }
    *state = b;
    return 0;
}

static inline int setup(void **state)
{
    return setup_with(state, 5000);
}

static inline int setup_hasty(void **state)
{
    return setup_with(state, 50);
}

static inline void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static inline int teardown(void **state)
{
    struct bench *b = *state;

    uv_close((uv_handle_t *)&b->tick, NULL);
    for (int id = A; id <= B; id++)
        if (b->nodes[id].link != NULL)
            link_close(b->nodes[id].link, NULL, NULL);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&b->loop), 0);
    for (int id = A; id <= B; id++) {
        close_fd(&b->nodes[id].fd);
        keyring_free(b->nodes[id].keyring);
    }
    close_fd(&b->wire.listener);
    close_fd(&b->wire.inside);
    close_fd(&b->wire.outside);
    free(b->wire.capture);
    free(b);
    return 0;
}

/* ---- the wire in between */

static inline uint16_t wire_open(struct bench *b, int to)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(loopback + 2)};
    socklen_t size = sizeof(name);
    struct wire *w = &b->wire;

    w->capture = malloc(CAPTURE_SIZE);
    w->target = (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(loopback + (uint32_t)to - 1),
        .sin_port = htons(link_port(b->nodes[to].link)),
    };
    w->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(w->listener, (struct sockaddr *)&name, sizeof(name)), 0);
    assert_int_equal(listen(w->listener, 1), 0);
    getsockname(w->listener, (struct sockaddr *)&name, &size);
    return ntohs(name.sin_port);
}

static inline void wire_pass(struct wire *w, int from, int to, bool outward)
{
    uint8_t bytes[16384];
    ssize_t n = recv(from, bytes, sizeof(bytes), MSG_DONTWAIT);

    if (n <= 0)
        return;
    if (outward && w->flip_at > w->passed && w->flip_at <= w->passed + (size_t)n)
        bytes[w->flip_at - w->passed - 1] ^= 1;
    if (outward)
        w->passed += (size_t)n;
    for (ssize_t i = 0; i < n && w->captured < CAPTURE_SIZE; i++)
        w->capture[w->captured++] = bytes[i];
    /* Tests that use the wire send little enough for the socket's buffer. */
    assert_int_equal(send(to, bytes, (size_t)n, MSG_NOSIGNAL), n);
}

static inline void wire_turn(struct wire *w)
{
    if (w->listener < 0)
        return;
    if (w->inside < 0 && w->cut_after == 0) {
        w->inside = accept(w->listener, NULL, NULL);
        if (w->inside < 0)
            return;
        w->outside = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(w->outside, (struct sockaddr *)&w->target, sizeof(w->target)), 0);
    }
    if (w->inside < 0)
        return;
    wire_pass(w, w->inside, w->outside, true);
    wire_pass(w, w->outside, w->inside, false);
    if (w->cut_after > 0 && w->passed >= w->cut_after) {
        close_fd(&w->inside);
        close_fd(&w->outside);
    }
}

/* ---- time */

static inline uint64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static inline void turn(struct bench *b)
{
    uv_run(&b->loop, b->wire.listener >= 0 ? UV_RUN_NOWAIT : UV_RUN_ONCE);
    wire_turn(&b->wire);
}

#define RUN_UNTIL(b, condition)                                                                    \
    do {                                                                                           \
        uint64_t until_ = now_us() + LIMIT_MS * 1000;                                              \
        while (!(condition)) {                                                                     \
            assert_true(now_us() < until_);                                                        \
            turn(b);                                                                               \
        }                                                                                          \
    } while (0)

static inline void call(struct bench *b, uint32_t address, uint16_t port)
{
    struct node *a = &b->nodes[A];

    assert_int_equal(link_connect(a->link, B, address, port, on_connected, a), 0);
}

static inline void meet(struct bench *b)
{
    struct node *a = &b->nodes[A], *c = &b->nodes[B];

    call(b, loopback + 1, link_port(c->link));
    RUN_UNTIL(b, a->connect_status <= 0 && c->n_accepted == 1);
    assert_int_equal(a->connect_status, 0);
}

static inline void meet_through_wire(struct bench *b)
{
    uint16_t port = wire_open(b, B);

    call(b, loopback + 2, port);
    RUN_UNTIL(b, b->nodes[A].connect_status <= 0 && b->nodes[B].n_accepted == 1);
    assert_int_equal(b->nodes[A].connect_status, 0);
}

static inline void expect_bytes(struct bench *b, int fd, const char *text)
{
    char got[128];
    size_t size = 0;

    RUN_UNTIL(b, ({
                  ssize_t n = read(fd, got + size, sizeof(got) - size);
                  size += n > 0 ? (size_t)n : 0;
                  size >= strlen(text);
              }));
    assert_int_equal(size, strlen(text));
    assert_memory_equal(got, text, size);
}

static inline void expect_end(struct bench *b, int fd)
{
    char byte;

    RUN_UNTIL(b, read(fd, &byte, 1) == 0);
}

static inline void say(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
