/* link: how links end, and who gets none. */
#include "tests/unit/links.h"

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

static void a_link_is_ended_by_its_serial(void **state)
{
    struct bench *b = *state;
    struct node *a = &b->nodes[A], *c = &b->nodes[B];

    meet(b);
    link_end(a->link, a->peer.serial + 1); /* not this one */
    say(a->fd, "still");
    expect_bytes(b, c->fd, "still");
    assert_int_equal(a->n_ended, 0);
    link_end(a->link, a->peer.serial);
    RUN_UNTIL(b, a->n_ended == 1 && c->n_ended == 1);
    assert_int_equal(a->end_status, -ECANCELED);
    assert_true(c->end_status < 0);
    expect_end(b, c->fd);
    link_end(a->link, a->peer.serial);
    assert_int_equal(a->n_ended, 1);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_cut_is_no_end),
        TEST(tampering_ends_the_link),
        TEST(a_key_that_is_not_listed_gets_nothing),
        TEST(a_callee_with_another_key_is_found_out),
        TEST(removal_cuts_a_live_link),
        TEST(an_abort_by_the_user_is_a_cut_for_the_peer),
        TEST(a_link_is_ended_by_its_serial),
        cmocka_unit_test_setup_teardown(nobody_there_is_told_soon, setup_hasty, teardown),
        TEST(closing_ends_calls_in_flight),
        TEST(strangers_cannot_crowd_out_members),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
