/* skeind's end of the guard's two connections, against a small guard of this test's own in the same
 * thread.
 */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "agent/guard/packet_posix.h"
#include "agent/skeind/guard_client_uv.h"

enum { TURNS = 4000 };

struct world {
    char dir[64], path[80];
    uv_loop_t loop;
    struct guard_client *client;
    int listen_fd, lease, work; /* the test's guard */
    uint32_t n_hello, n_lost, n_events;
    enum guard_event last_event;
    uint32_t n_replies, last_serial;
    int last_code, last_fd;
    enum guard_op last_op;
    struct stamp last_stamp;
    bool is_closed;
};

static uint8_t buffer[GUARD_PACKET_MAX];

static void on_hello(void *context, const struct guard_hello *hello)
{
    struct world *w = context;

    assert_int_equal(hello->run, 3);
    w->n_hello++;
}

static void on_lost(void *context)
{
    ((struct world *)context)->n_lost++;
}

static void on_event(void *context, const struct guard_reply *event)
{
    struct world *w = context;

    w->n_events++;
    w->last_event = event->event;
}

static void on_reply(void *context, const struct guard_request *request, struct guard_reply *reply)
{
    struct world *w = context;

    w->n_replies++;
    w->last_op = request->op;
    w->last_serial = request->serial;
    assert_int_equal(reply->serial, request->serial);
    w->last_code = reply->code;
    w->last_stamp = reply->stamp;
    w->last_fd = reply->fd;
    reply->fd = -1; /* taken */
}

static void on_closed(void *context)
{
    ((struct world *)context)->is_closed = true;
}

static void turn_until(struct world *w, const uint32_t *n, uint32_t wanted)
{
    for (int i = 0; i < TURNS && *n < wanted; i++)
        uv_run(&w->loop, UV_RUN_ONCE);
    assert_int_equal(*n, wanted);
}

static void guard_listen(struct world *w)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    w->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    strcpy(address.sun_path, w->path);
    unlink(w->path);
    assert_int_equal(bind(w->listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(w->listen_fd, 4), 0);
}

static void guard_read(int fd, struct guard_request *ret, int fds[PACKET_MAX_FDS])
{
    ssize_t size = packet_receive(fd, buffer, sizeof(buffer), fds);

    assert_true(size > 0);
    assert_int_equal(guard_request_decode(buffer, (size_t)size, ret), 0);
}

static void guard_send(int fd, struct guard_reply *reply)
{
    struct writer w;

    writer_init(&w, buffer, sizeof(buffer));
    guard_reply_encode(reply, &w);
    assert_int_equal(packet_send(fd, w.data, w.size, &reply->fd, 1), 0);
}

static void guard_answer_hello(struct world *w, int code)
{
    for (int i = 0; i < 2; i++) {
        struct guard_request request;
        struct guard_reply reply;
        int fds[PACKET_MAX_FDS];
        int fd = accept(w->listen_fd, NULL, NULL);

        guard_read(fd, &request, fds);
        assert_int_equal(request.op, GUARD_HELLO);
        assert_int_equal(request.key[GUARD_KEY_SIZE - 1], 7);
        *(request.connection == GUARD_CONNECTION_LEASE ? &w->lease : &w->work) = fd;
        guard_reply_init(&reply);
        reply.serial = request.serial;
        reply.op = GUARD_HELLO;
        reply.code = code;
        reply.hello.run = 3;
        guard_send(fd, &reply);
    }
}

/* The test's guard reads and answers one request. */
static void guard_serve(int fd, enum guard_op op, int code)
{
    struct guard_request request;
    struct guard_reply reply;
    int fds[PACKET_MAX_FDS];

    guard_read(fd, &request, fds);
    assert_int_equal(request.op, op);
    for (int i = 0; i < PACKET_MAX_FDS; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    guard_reply_init(&reply);
    reply.serial = request.serial;
    reply.op = op;
    reply.code = code;
    reply.stamp.sequence = 42;
    if (op == GUARD_LOGS)
        reply.fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    guard_send(fd, &reply);
    if (reply.fd >= 0)
        close(reply.fd);
    guard_request_deinit(&request);
}

static void guard_die(struct world *w)
{
    close(w->lease);
    close(w->work);
    close(w->listen_fd);
    unlink(w->path);
    w->lease = w->work = w->listen_fd = -1;
}

static int begin(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    struct guard_client_config config = {
        .context = w, .on_hello = on_hello, .on_lost = on_lost, .on_event = on_event};

    strcpy(w->dir, "/tmp/skein-test-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->path, sizeof(w->path), "%s/guard.sock", w->dir);
    uv_loop_init(&w->loop);
    config.socket_path = w->path;
    config.key[GUARD_KEY_SIZE - 1] = 7;
    assert_int_equal(guard_client_new(&w->loop, &config, &w->client, NULL), 0);
    *state = w;
    return 0;
}

/* Both connects come in one turn: that of the first, or of the next retry. */
static void await_connects(struct world *w, int code)
{
    struct pollfd ready = {.fd = w->listen_fd, .events = POLLIN};

    for (int i = 0; i < TURNS && poll(&ready, 1, 0) == 0; i++)
        uv_run(&w->loop, UV_RUN_ONCE);
    guard_answer_hello(w, code);
}

static void come_up(struct world *w)
{
    guard_listen(w);
    await_connects(w, 0);
}

static int end(void **state)
{
    struct world *w = *state;

    if (!w->is_closed)
        guard_client_close(w->client, on_closed, w);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_true(w->is_closed);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    if (w->listen_fd > 0)
        guard_die(w);
    rmdir(w->dir);
    free(w);
    return 0;
}

static void send_op(struct world *w, enum guard_op op)
{
    struct guard_request request;

    guard_request_init(&request);
    request.op = op;
    strcpy(request.copy.guest, "web");
    guard_client_send(w->client, &request, on_reply, w);
}

static void without_a_guard_the_answer_comes_at_the_next_turn(void **state)
{
    struct world *w = *state;

    send_op(w, GUARD_LIST);
    assert_int_equal(w->n_replies, 0); /* not within the call */
    turn_until(w, &w->n_replies, 1);
    assert_int_equal(w->last_code, -ENOTCONN);
    assert_int_equal(w->n_lost, 0);
}

static void ops_go_over_their_own_connection(void **state)
{
    struct world *w = *state;

    come_up(w);
    turn_until(w, &w->n_hello, 1);
    send_op(w, GUARD_STOP);
    send_op(w, GUARD_STAMP);
    guard_serve(w->lease, GUARD_STAMP, 0); /* not held up by the work */
    turn_until(w, &w->n_replies, 1);
    assert_int_equal(w->last_stamp.sequence, 42);
    guard_serve(w->work, GUARD_STOP, -ESTALE);
    turn_until(w, &w->n_replies, 2);
    assert_int_equal(w->last_op, GUARD_STOP);
    assert_int_equal(w->last_code, -ESTALE);
}

static void answers_in_any_order_with_descriptors(void **state)
{
    struct world *w = *state;
    struct guard_request first, second;
    struct guard_reply reply;
    int fds[PACKET_MAX_FDS];

    come_up(w);
    turn_until(w, &w->n_hello, 1);
    send_op(w, GUARD_STOP);
    send_op(w, GUARD_THAW);
    send_op(w, GUARD_LOGS);
    guard_read(w->work, &first, fds);
    guard_read(w->work, &second, fds);
    guard_serve(w->work, GUARD_LOGS, 0);
    turn_until(w, &w->n_replies, 1);
    assert_int_equal(w->last_op, GUARD_LOGS);
    assert_true(w->last_fd >= 0);
    close(w->last_fd);
    guard_reply_init(&reply);
    reply.op = GUARD_THAW;
    reply.serial = second.serial;
    guard_send(w->work, &reply);
    turn_until(w, &w->n_replies, 2);
    assert_int_equal(w->last_op, GUARD_THAW);
    reply.op = GUARD_STOP;
    reply.serial = first.serial;
    guard_send(w->work, &reply);
    guard_send(w->work, &reply); /* twice: the second is nobody's */
    turn_until(w, &w->n_replies, 3);
    guard_reply_init(&reply);
    reply.event = GUARD_EVENT_LAPSED;
    guard_send(w->work, &reply);
    turn_until(w, &w->n_events, 1);
    assert_int_equal(w->last_event, GUARD_EVENT_LAPSED);
    assert_int_equal(w->n_replies, 3);
}

static void loss_resets_what_was_under_way_and_it_comes_back(void **state)
{
    struct world *w = *state;

    come_up(w);
    turn_until(w, &w->n_hello, 1);
    send_op(w, GUARD_STOP);
    send_op(w, GUARD_STAMP);
    guard_die(w);
    turn_until(w, &w->n_lost, 1);
    assert_int_equal(w->n_replies, 2);
    assert_int_equal(w->last_code, -ECONNRESET);
    come_up(w);
    turn_until(w, &w->n_hello, 2);
    send_op(w, GUARD_STAMP);
    guard_serve(w->lease, GUARD_STAMP, 0);
    turn_until(w, &w->n_replies, 3);
    assert_int_equal(w->last_code, 0);
}

/* Two connections, two rows of serials: the same number on both is no mistake. */
static void serials_are_the_callers_own(void **state)
{
    struct world *w = *state;
    struct guard_request request;

    come_up(w);
    turn_until(w, &w->n_hello, 1);
    for (int i = 0; i < 2; i++) {
        guard_request_init(&request);
        request.op = i == 0 ? GUARD_LIST : GUARD_STAMP;
        request.serial = 77;
        guard_client_send(w->client, &request, on_reply, w);
    }
    guard_serve(w->lease, GUARD_STAMP, 0);
    turn_until(w, &w->n_replies, 1);
    assert_int_equal(w->last_op, GUARD_STAMP);
    assert_int_equal(w->last_serial, 77);
    guard_serve(w->work, GUARD_LIST, 0);
    turn_until(w, &w->n_replies, 2);
    assert_int_equal(w->last_op, GUARD_LIST);
    assert_int_equal(w->last_serial, 77);
}

static void close_answers_everything(void **state)
{
    struct world *w = *state;

    come_up(w);
    turn_until(w, &w->n_hello, 1);
    send_op(w, GUARD_STOP);
    guard_client_close(w->client, on_closed, w);
    assert_int_equal(w->n_replies, 1);
    assert_int_equal(w->last_code, -ECANCELED);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_true(w->is_closed);
    assert_int_equal(w->n_lost, 0);
}

static void junk_from_a_guard_is_a_loss(void **state)
{
    struct world *w = *state;

    come_up(w);
    turn_until(w, &w->n_hello, 1);
    assert_int_equal(packet_send(w->work, "junk", 4, NULL, 0), 0);
    turn_until(w, &w->n_lost, 1);
}

/* A guard that does not know our key cuts us off; one that does is found again. */
static void refused_hello_is_tried_again(void **state)
{
    struct world *w = *state;

    guard_listen(w);
    await_connects(w, -EACCES);
    close(w->lease);
    close(w->work);
    await_connects(w, 0);
    turn_until(w, &w->n_hello, 1);
    assert_int_equal(w->n_lost, 0); /* it had never been up */
}

/* How long it takes until a socket that takes the place of one that refused is found; in ns. */
static uint64_t time_new_socket(struct world *w, uint32_t n_hello)
{
    uint64_t begun;

    guard_listen(w);
    await_connects(w, -EACCES);
    close(w->lease);
    close(w->work);
    close(w->listen_fd);
    begun = uv_hrtime();
    come_up(w);
    turn_until(w, &w->n_hello, n_hello);
    return uv_hrtime() - begun;
}

/* After a refusal the next try would come a second later. */
static void a_new_socket_is_tried_at_once(void **state)
{
    struct world *w = *state;
    uint32_t n = 1;

    while (time_new_socket(w, n) >= 500000000) { /* so late, or a machine that was busy: again */
        assert_true(++n < 10);
        guard_die(w);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_a_guard_the_answer_comes_at_the_next_turn),
        TEST(ops_go_over_their_own_connection),
        TEST(answers_in_any_order_with_descriptors),
        TEST(loss_resets_what_was_under_way_and_it_comes_back),
        TEST(serials_are_the_callers_own),
        TEST(close_answers_everything),
        TEST(junk_from_a_guard_is_a_loss),
        TEST(refused_hello_is_tried_again),
        TEST(a_new_socket_is_tried_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
