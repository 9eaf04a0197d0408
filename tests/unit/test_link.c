/* link: sealed links over loopback, what crosses the wire, and how they end. */
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

#include "consensus/identity_sodium.h"
#include "consensus/keyring.h"
#include "consensus/link_uv.h"

enum { A = 1, B = 2, LIMIT_MS = 20000, CAPTURE_SIZE = 256 * 1024 };
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

static void on_accept(void *data, const struct link_peer *peer, int fd)
{
    struct node *n = data;

    n->fd = fd;
    n->peer = *peer;
    n->n_accepted++;
}

static void on_end(void *data, const struct link_peer *peer, int status)
{
    struct node *n = data;

    (void)peer;
    n->n_ended++;
    n->end_status = status;
}

static void on_connected(void *data, int status, const struct link_peer *peer, int fd)
{
    struct node *n = data;

    n->connect_status = status;
    n->fd = fd;
    n->peer = *peer;
}

static void on_link_closed(void *data)
{
    ((struct node *)data)->is_closed = true;
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

static void open_node(struct bench *b, int id, uint32_t connect_ms)
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
        .tos = LINK_TOS_BULK,
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

static int setup_with(void **state, uint32_t connect_ms)
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

static int setup(void **state)
{
    return setup_with(state, 5000);
}

static int setup_hasty(void **state)
{
    return setup_with(state, 50);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static int teardown(void **state)
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

static uint16_t wire_open(struct bench *b, int to)
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

static void wire_pass(struct wire *w, int from, int to, bool outward)
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

static void wire_turn(struct wire *w)
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

static uint64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void turn(struct bench *b)
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

static void call(struct bench *b, uint32_t address, uint16_t port)
{
    struct node *a = &b->nodes[A];

    assert_int_equal(link_connect(a->link, B, address, port, on_connected, a), 0);
}

static void meet(struct bench *b)
{
    struct node *a = &b->nodes[A], *c = &b->nodes[B];

    call(b, loopback + 1, link_port(c->link));
    RUN_UNTIL(b, a->connect_status <= 0 && c->n_accepted == 1);
    assert_int_equal(a->connect_status, 0);
}

static void meet_through_wire(struct bench *b)
{
    uint16_t port = wire_open(b, B);

    call(b, loopback + 2, port);
    RUN_UNTIL(b, b->nodes[A].connect_status <= 0 && b->nodes[B].n_accepted == 1);
    assert_int_equal(b->nodes[A].connect_status, 0);
}

static void expect_bytes(struct bench *b, int fd, const char *text)
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

static void expect_end(struct bench *b, int fd)
{
    char byte;

    RUN_UNTIL(b, read(fd, &byte, 1) == 0);
}

static void say(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* ---- tests */

static void nodes_meet_and_part(void **state)
{
    struct bench *b = *state;
    struct node *a = &b->nodes[A], *c = &b->nodes[B];

    meet(b);
    assert_int_equal(a->peer.node_id, B);
    assert_int_equal(c->peer.node_id, A);
    assert_int_equal(c->peer.address, loopback);
    assert_int_equal(c->peer.port, link_port(a->link));
    say(a->fd, "how many geese?");
    expect_bytes(b, c->fd, "how many geese?");
    shutdown(a->fd, SHUT_WR);
    expect_end(b, c->fd);
    say(c->fd, "a skein"); /* the other direction goes on */
    expect_bytes(b, a->fd, "a skein");
    assert_int_equal(a->n_ended + c->n_ended, 0);
    close_fd(&c->fd);
    expect_end(b, a->fd);
    RUN_UNTIL(b, a->n_ended == 1 && c->n_ended == 1);
    assert_int_equal(a->end_status, 0);
    assert_int_equal(c->end_status, 0);
}

static void much_data_arrives_whole(void **state)
{
    enum { SIZE = 32 * 1024 * 1024 };
    struct bench *b = *state;
    struct node *a = &b->nodes[A], *c = &b->nodes[B];
    uint8_t *out = malloc(SIZE), *in = malloc(SIZE + 1);
    size_t sent = 0, got = 0;
    bool ended = false;
    uint64_t start;

    for (size_t i = 0; i < SIZE; i++)
        out[i] = (uint8_t)(i * 2654435761u >> 13);
    meet(b);
    start = now_us();
    RUN_UNTIL(b, ({
                  ssize_t n = sent < SIZE ? write(a->fd, out + sent, SIZE - sent) : 0;
                  sent += n > 0 ? (size_t)n : 0;
                  if (sent == SIZE)
                      shutdown(a->fd, SHUT_WR);
                  n = read(c->fd, in + got, SIZE + 1 - got);
                  got += n > 0 ? (size_t)n : 0;
                  ended = n == 0;
                  ended;
              }));
    print_message("# %d MiB in %.0f ms\n", SIZE >> 20, (double)(now_us() - start) / 1000);
    assert_int_equal(got, SIZE);
    assert_memory_equal(in, out, SIZE);
    free(out);
    free(in);
}

/* A reader that does not read stops the writer; nothing is kept without limit. */
static void a_paced_link_takes_its_time_and_counts(void **state)
{
    enum { SIZE = 512 * 1024, RATE = 1024 * 1024 };
    static const char zeroes[16384];
    struct bench *b = *state;
    struct node *a = &b->nodes[A], *c = &b->nodes[B];
    char got[16384];
    size_t sent = 0, taken = 0;
    uint64_t began_us;

    meet(b);
    link_set_pace(a->link, a->peer.serial, RATE);
    began_us = now_us();
    RUN_UNTIL(b, ({
                  ssize_t n = sent < SIZE ? write(a->fd, zeroes, sizeof(zeroes)) : 0;
                  ssize_t m = read(c->fd, got, sizeof(got));

                  sent += n > 0 ? (size_t)n : 0;
                  taken += m > 0 ? (size_t)m : 0;
                  taken >= SIZE;
              }));
    /* 500 ms, but for what may leave at once; a busy machine is only slower. */
    assert_true(now_us() - began_us > 300000);
    RUN_UNTIL(b, link_delivered(a->link, a->peer.serial, NULL) >= SIZE);
    assert_true(link_delivered(a->link, a->peer.serial, NULL) < SIZE + SIZE / 16);
    assert_int_equal(link_delivered(a->link, a->peer.serial + 7, NULL), 0);
}

static void a_slow_reader_slows_the_writer(void **state)
{
    struct bench *b = *state;
    struct node *a = &b->nodes[A];
    static uint8_t bytes[65536];
    size_t sent = 0;
    int idle = 0;

    meet(b);
    while (idle < 50) {
        ssize_t n = write(a->fd, bytes, sizeof(bytes));

        sent += n > 0 ? (size_t)n : 0;
        idle = n > 0 ? 0 : idle + 1;
        turn(b);
    }
    assert_true(sent < 64 * 1024 * 1024);
    assert_int_equal(a->n_ended, 0);
}

static void nothing_plain_crosses_the_wire(void **state)
{
    static const char marker[] = "PLANTED-MARKER-0123456789";
    struct bench *b = *state;
    struct node *a = &b->nodes[A], *c = &b->nodes[B];

    meet_through_wire(b);
    say(a->fd, marker);
    expect_bytes(b, c->fd, marker);
    say(c->fd, marker);
    expect_bytes(b, a->fd, marker);
    assert_true(b->wire.captured > 2 * sizeof(marker));
    assert_null(memmem(b->wire.capture, b->wire.captured, marker, 8));
    /* Nor do the callers' static keys. */
    assert_null(memmem(b->wire.capture, b->wire.captured, a->identity.link_public, KEY_SIZE));
}

static void a_cut_is_no_end(void **state)
{
    struct bench *b = *state;
    struct node *a = &b->nodes[A], *c = &b->nodes[B];

    meet_through_wire(b);
    say(a->fd, "half a sen");
    expect_bytes(b, c->fd, "half a sen");
    b->wire.cut_after = 1;
    expect_end(b, c->fd);
    assert_int_equal(c->n_ended, 1); /* told before the end was seen */
    assert_int_equal(c->end_status, -ECONNRESET);
    RUN_UNTIL(b, a->n_ended == 1);
    assert_true(a->end_status < 0);
}

static void tampering_ends_the_link(void **state)
{
    struct bench *b = *state;
    struct node *a = &b->nodes[A], *c = &b->nodes[B];

    meet_through_wire(b);
    say(a->fd, "first");
    expect_bytes(b, c->fd, "first");
    b->wire.flip_at = b->wire.passed + 8;
    say(a->fd, "second");
    RUN_UNTIL(b, c->n_ended == 1);
    assert_int_equal(c->end_status, -EBADMSG);
    expect_end(b, c->fd);
}

static void a_key_that_is_not_listed_gets_nothing(void **state)
{
    struct bench *b = *state;
    struct node *a = &b->nodes[A], *c = &b->nodes[B];
    struct keyring_entry self = {.id = B, .address = loopback + 1};

    memcpy(self.link_key, c->identity.link_public, KEY_SIZE);
    keyring_replace(c->keyring, &self, 1);
    call(b, loopback + 1, link_port(c->link));
    RUN_UNTIL(b, a->connect_status <= 0);
    assert_int_equal(a->connect_status, -ECONNRESET);
    assert_int_equal(c->n_accepted, 0);
}

static void a_callee_with_another_key_is_found_out(void **state)
{
    struct bench *b = *state;
    struct node *a = &b->nodes[A], *c = &b->nodes[B];
    struct identity other;
    struct keyring_entry table[2] = {{.id = A, .address = loopback},
                                     {.id = B, .address = loopback + 1}};

    identity_generate(&other);
    memcpy(table[0].link_key, a->identity.link_public, KEY_SIZE);
    memcpy(table[1].link_key, other.link_public, KEY_SIZE);
    keyring_replace(a->keyring, table, 2);
    call(b, loopback + 1, link_port(c->link));
    RUN_UNTIL(b, a->connect_status <= 0);
    assert_int_equal(a->connect_status, -ECONNRESET);
    assert_int_equal(link_connect(a->link, 9, loopback, 1, on_connected, a), -ENOKEY);
}

static void removal_cuts_a_live_link(void **state)
{
    struct bench *b = *state;
    struct node *a = &b->nodes[A], *c = &b->nodes[B];

    meet(b);
    keyring_replace(c->keyring, NULL, 0);
    RUN_UNTIL(b, a->n_ended == 1 && c->n_ended == 1);
    assert_int_equal(c->end_status, -EKEYREVOKED);
    assert_true(a->end_status < 0);
    expect_end(b, a->fd);
}

static void an_abort_by_the_user_is_a_cut_for_the_peer(void **state)
{
    struct bench *b = *state;
    struct node *a = &b->nodes[A], *c = &b->nodes[B];

    meet(b);
    say(a->fd, "unread");
    RUN_UNTIL(b, ({
                  char byte;
                  recv(c->fd, &byte, 1, MSG_PEEK) == 1;
              }));
    close_fd(&c->fd);
    RUN_UNTIL(b, a->n_ended == 1);
    assert_true(a->end_status < 0);
    assert_int_equal(c->end_status, -EPIPE);
}

static void nobody_there_is_told_soon(void **state)
{
    struct bench *b = *state;
    struct node *a = &b->nodes[A];
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(loopback + 3)};
    socklen_t size = sizeof(name);
    int silent = socket(AF_INET, SOCK_STREAM, 0);

    /* bound, but not listening: refused */
    assert_int_equal(bind(silent, (struct sockaddr *)&name, sizeof(name)), 0);
    getsockname(silent, (struct sockaddr *)&name, &size);
    call(b, loopback + 3, ntohs(name.sin_port));
    RUN_UNTIL(b, a->connect_status <= 0);
    assert_int_equal(a->connect_status, -ECONNREFUSED);
    /* listening, but mute: timed out */
    assert_int_equal(listen(silent, 1), 0);
    a->connect_status = 1;
    call(b, loopback + 3, ntohs(name.sin_port));
    RUN_UNTIL(b, a->connect_status <= 0);
    assert_int_equal(a->connect_status, -ETIMEDOUT);
    close(silent);
}

static void closing_ends_calls_in_flight(void **state)
{
    struct bench *b = *state;
    struct node *a = &b->nodes[A], *c = &b->nodes[B];

    call(b, loopback + 1, link_port(c->link));
    link_close(a->link, on_link_closed, a);
    a->link = NULL;
    assert_int_equal(a->connect_status, -ECANCELED);
    RUN_UNTIL(b, a->is_closed);
}

/* Strangers may hold a few handshakes; a member still gets through. */
static void strangers_cannot_crowd_out_members(void **state)
{
    struct bench *b = *state;
    struct node *c = &b->nodes[B];
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(loopback + 8)};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(loopback + 1)};
    int fds[40], n_open = 0;

    to.sin_port = htons(link_port(c->link));
    for (int i = 0; i < 40; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(bind(fds[i], (struct sockaddr *)&from, sizeof(from)), 0);
        assert_int_equal(connect(fds[i], (struct sockaddr *)&to, sizeof(to)), 0);
    }
    meet(b);
    for (int i = 0; i < 40; i++) {
        char byte;

        n_open += recv(fds[i], &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
        close(fds[i]);
    }
    assert_int_equal(n_open, LINK_MAX_STRANGERS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nodes_meet_and_part),
        TEST(much_data_arrives_whole),
        TEST(a_paced_link_takes_its_time_and_counts),
        TEST(a_slow_reader_slows_the_writer),
        TEST(nothing_plain_crosses_the_wire),
        TEST(a_cut_is_no_end),
        TEST(tampering_ends_the_link),
        TEST(a_key_that_is_not_listed_gets_nothing),
        TEST(a_callee_with_another_key_is_found_out),
        TEST(removal_cuts_a_live_link),
        TEST(an_abort_by_the_user_is_a_cut_for_the_peer),
        cmocka_unit_test_setup_teardown(nobody_there_is_told_soon, setup_hasty, teardown),
        TEST(closing_ends_calls_in_flight),
        TEST(strangers_cannot_crowd_out_members),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
