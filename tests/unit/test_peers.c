#include "tests/unit/test.h"

#include <czmq.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "agent/skeind/join_czmq.h"
#include "agent/skeind/peers_czmq.h"
#include "agent/skeind/pump_czmq_uv.h"

/* One node under test on loopback; the others are plain sockets. */
enum { NODE = 0x7f000102, OTHER = 0x7f000103, FIRST_PORT = 17400, LIMIT_MS = 60000 };

struct keys {
    uint8_t public[KEY_SIZE], secret[KEY_SIZE];
};

struct heard {
    char channel;
    uint64_t from;
    char text[64];
};

struct fixture {
    uv_loop_t loop;
    uv_timer_t limit;
    uint16_t port; /* one a test: ZeroMQ lets go of the last one late */
    struct pump *pump;
    struct peers *peers;
    struct keys node, member, stranger;
    size_t n_heard;
    struct heard heard[16];
};

static void make_keys(struct keys *ret)
{
    zcert_t *cert = zcert_new();

    memcpy(ret->public, zcert_public_key(cert), KEY_SIZE);
    memcpy(ret->secret, zcert_secret_key(cert), KEY_SIZE);
    zcert_destroy(&cert);
}

static void note(struct fixture *f, char channel, uint64_t from, const uint8_t *data, size_t size)
{
    struct heard *heard = &f->heard[f->n_heard++];

    assert_true(f->n_heard <= 16 && size < sizeof(heard->text));
    heard->channel = channel;
    heard->from = from;
    memcpy(heard->text, data, size);
    uv_stop(&f->loop);
}

static void on_message(void *context, uint64_t from, enum peer_channel channel, const uint8_t *data,
                       size_t size)
{
    note(context, (char)channel, from, data, size);
}

static void on_join(void *context, const struct peer_route *route, const uint8_t *data, size_t size)
{
    struct fixture *f = context;

    note(f, 'J', 0, data, size);
    peers_answer_join(f->peers, route, "welcome", 7);
}

static void on_limit(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("nothing came in time");
}

/* Another process may run the same test. */
static uint16_t first_port(void)
{
    return (uint16_t)(FIRST_PORT + getpid() % 1000 * 10);
}

static int set_up(void **context)
{
    static uint16_t next_port;
    struct fixture *f = calloc(1, sizeof(*f));
    struct peers_config config = {.address = NODE,
                                  .port = next_port != 0 ? next_port : first_port(),
                                  .own_id = 1,
                                  .connect_ms = PEERS_CONNECT_MS,
                                  .handshake_ms = PEERS_HANDSHAKE_MS,
                                  .silence_ms = PEERS_SILENCE_MS,
                                  .context = f,
                                  .on_message = on_message,
                                  .on_join = on_join};
    struct err err = {0};

    f->port = config.port;
    next_port = f->port + 1;
    zsys_handler_set(NULL);
    make_keys(&f->node);
    make_keys(&f->member);
    make_keys(&f->stranger);
    uv_loop_init(&f->loop);
    uv_timer_init(&f->loop, &f->limit);
    uv_timer_start(&f->limit, on_limit, LIMIT_MS, 0);
    f->pump = pump_new(&f->loop);
    config.pump = f->pump;
    memcpy(config.curve_public, f->node.public, KEY_SIZE);
    memcpy(config.curve_secret, f->node.secret, KEY_SIZE);
    assert_int_equal(peers_open(&config, &f->peers, &err), 0);
    *context = f;
    return 0;
}

static int tear_down(void **context)
{
    struct fixture *f = *context;

    peers_close(f->peers);
    pump_close(f->pump);
    uv_close((uv_handle_t *)&f->limit, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    free(f);
    return 0;
}

static void set_member(struct fixture *f)
{
    struct peer_member members[2] = {{.id = 1, .address = NODE}, {.id = 7, .address = OTHER}};

    memcpy(members[1].curve_key, f->member.public, KEY_SIZE);
    assert_int_equal(peers_set_members(f->peers, members, 2), 0);
}

static zsock_t *call_as(const struct fixture *f, const struct keys *keys)
{
    zsock_t *socket = zsock_new(ZMQ_DEALER);

    zsock_set_linger(socket, 0);
    zsock_set_rcvtimeo(socket, LIMIT_MS);
    zsock_set_curve_publickey_bin(socket, keys->public);
    zsock_set_curve_secretkey_bin(socket, keys->secret);
    zsock_set_curve_serverkey_bin(socket, f->node.public);
    assert_int_equal(zsock_connect(socket, "tcp://127.0.1.2:%d", f->port), 0);
    return socket;
}

static void a_member_is_known_by_its_key(void **context)
{
    struct fixture *f = *context;
    zsock_t *socket = call_as(f, &f->member);

    set_member(f);
    zstr_send(socket, "Cbeat");
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(f->n_heard, 1);
    assert_int_equal(f->heard[0].channel, PEER_CONTROL);
    assert_int_equal(f->heard[0].from, 7);
    assert_string_equal(f->heard[0].text, "beat");
    zsock_destroy(&socket);
}

static void a_stranger_may_only_ask_to_join(void **context)
{
    struct fixture *f = *context;
    zsock_t *socket = call_as(f, &f->stranger);
    char *answer;

    set_member(f);
    zstr_send(socket, "Cbeat");
    zstr_send(socket, "Qrequest");
    zstr_send(socket, "Jplease");
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(f->n_heard, 1);
    assert_int_equal(f->heard[0].channel, 'J');
    assert_string_equal(f->heard[0].text, "please");
    answer = zstr_recv(socket);
    assert_string_equal(answer, "welcome");
    zstr_free(&answer);
    zsock_destroy(&socket);
}

static void a_removed_member_is_out_at_once(void **context)
{
    struct fixture *f = *context;
    zsock_t *member = call_as(f, &f->member), *stranger = call_as(f, &f->stranger);

    set_member(f);
    zstr_send(member, "Cone");
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_string_equal(f->heard[0].text, "one");
    assert_int_equal(peers_set_members(f->peers, NULL, 0), 0);
    zstr_send(member, "Ctwo"); /* on its live connection */
    zstr_send(member, "Jthree");
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(f->n_heard, 2);
    assert_string_equal(f->heard[1].text, "three");
    zsock_destroy(&member);
    zsock_destroy(&stranger);
}

/* The other node's receiving side: plain libzmq, whose keys our ZAP lets in as well. */
static zsock_t *listen_as_member(const struct fixture *f)
{
    zsock_t *socket = zsock_new(ZMQ_ROUTER);

    zsock_set_linger(socket, 0);
    zsock_set_curve_publickey_bin(socket, f->member.public);
    zsock_set_curve_secretkey_bin(socket, f->member.secret);
    zsock_set_curve_server(socket, 1);
    assert_int_equal(zsock_bind(socket, "tcp://127.0.1.3:%d", f->port), f->port);
    return socket;
}

static void on_other(void *context, zmsg_t *message)
{
    struct fixture *f = context;
    zframe_t *route = zmsg_pop(message);
    char *text = zmsg_popstr(message);

    note(f, text[0], 0, (uint8_t *)text + 1, strlen(text) - 1);
    zstr_free(&text);
    zframe_destroy(&route);
    zmsg_destroy(&message);
}

static void try_to_send(uv_timer_t *timer)
{
    struct fixture *f = timer->data;

    if (peers_send(f->peers, 7, PEER_CONTROL, "late", 4) == 0)
        uv_timer_stop(timer);
}

static void nothing_is_kept_for_whom_we_do_not_reach(void **context)
{
    struct fixture *f = *context;
    uv_timer_t again;
    zsock_t *other;

    set_member(f);
    assert_int_equal(peers_send(f->peers, 7, PEER_CONTROL, "lost", 4), -EAGAIN);
    assert_int_equal(peers_send(f->peers, 8, PEER_CONTROL, "x", 1), -ENOENT);
    other = listen_as_member(f);
    assert_int_equal(pump_add(f->pump, other, on_other, f), 0);
    uv_timer_init(&f->loop, &again);
    again.data = f;
    uv_timer_start(&again, try_to_send, 1, 5);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_string_equal(f->heard[0].text, "late");
    uv_close((uv_handle_t *)&again, NULL);
    pump_remove(f->pump, other);
    uv_run(&f->loop, UV_RUN_NOWAIT); /* the timer lies on this stack: it must be closed by now */
    zsock_destroy(&other);
}

struct joining {
    struct join_call call;
    char *answer;
    struct err err;
    int rc;
};

static void join_thread(void *argument)
{
    struct joining *joining = argument;

    joining->rc = join_ask(&joining->call, &joining->answer, &joining->err);
}

static void a_board_asks_and_is_answered(void **context)
{
    struct fixture *f = *context;
    struct joining joining = {
        .call = {.address = NODE, .port = f->port, .request = "{}", .timeout_ms = LIMIT_MS}};
    uv_thread_t thread;

    memcpy(joining.call.server_key, f->node.public, KEY_SIZE);
    memcpy(joining.call.curve_public, f->stranger.public, KEY_SIZE);
    memcpy(joining.call.curve_secret, f->stranger.secret, KEY_SIZE);
    uv_thread_create(&thread, join_thread, &joining);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    uv_thread_join(&thread);
    assert_int_equal(joining.rc, 0);
    assert_string_equal(joining.answer, "welcome");
    free(joining.answer);
}

static void another_cluster_s_key_gets_no_answer(void **context)
{
    struct fixture *f = *context;
    struct joining joining = {
        .call = {.address = NODE, .port = f->port, .request = "{}", .timeout_ms = 300}};

    memcpy(joining.call.server_key, f->member.public, KEY_SIZE); /* not the node's */
    memcpy(joining.call.curve_public, f->stranger.public, KEY_SIZE);
    memcpy(joining.call.curve_secret, f->stranger.secret, KEY_SIZE);
    join_thread(&joining);
    assert_int_equal(joining.rc, -ETIMEDOUT);
    assert_int_equal(f->n_heard, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_member_is_known_by_its_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stranger_may_only_ask_to_join, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_removed_member_is_out_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_is_kept_for_whom_we_do_not_reach, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_board_asks_and_is_answered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_cluster_s_key_gets_no_answer, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
