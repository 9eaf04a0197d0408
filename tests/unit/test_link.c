/* link: sealed links over loopback, and what crosses the wire. */
#include "tests/unit/links.h"

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

/* A reader that does not read stops the writer; nothing is kept without limit. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nodes_meet_and_part),
        TEST(much_data_arrives_whole),
        TEST(a_paced_link_takes_its_time_and_counts),
        TEST(a_slow_reader_slows_the_writer),
        TEST(nothing_plain_crosses_the_wire),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
