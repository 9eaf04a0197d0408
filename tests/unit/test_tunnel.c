/* The tunnel of a virtual machine's move: frames, who may send what when, and two ends over a
 * socket pair with connections through them. */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "migrate/tunnel_posix.h"
#include "tests/support/prng.h"

static int take(struct tunnel *t, enum tunnel_type type, uint16_t channel, uint32_t size,
                const void *payload)
{
    const struct tunnel_frame frame = {.type = type, .channel = channel, .size = size};
    struct err err;

    return tunnel_accept(t, &frame, payload, &err);
}

static void test_header(void **unused)
{
    const struct tunnel_frame frame = {
        .type = TUNNEL_OPEN, .door = TUNNEL_DISKS, .channel = TUNNEL_MAX_CHANNELS - 1};
    struct tunnel_frame back;
    uint8_t bytes[TUNNEL_HEADER_SIZE];

    (void)unused;
    tunnel_header_encode(&frame, bytes);
    assert_int_equal(tunnel_header_decode(bytes, &back), 0);
    assert_int_equal(back.type, TUNNEL_OPEN);
    assert_int_equal(back.door, TUNNEL_DISKS);
    assert_int_equal(back.channel, TUNNEL_MAX_CHANNELS - 1);
    bytes[0] = TUNNEL_TYPE_END;
    assert_int_equal(tunnel_header_decode(bytes, &back), -EBADMSG);
    bytes[0] = TUNNEL_DATA; /* of no bytes, and with a door */
    assert_int_equal(tunnel_header_decode(bytes, &back), -EBADMSG);
    bytes[0] = TUNNEL_OPEN;
    bytes[1] = TUNNEL_N_DOORS;
    assert_int_equal(tunnel_header_decode(bytes, &back), -EBADMSG);
    bytes[1] = TUNNEL_RPC;
    bytes[2] = TUNNEL_MAX_CHANNELS;
    assert_int_equal(tunnel_header_decode(bytes, &back), -EBADMSG);
}

static void test_order_of_frames(void **unused)
{
    struct tunnel source = {.is_source = true}, target = {0};
    const uint8_t hello[] = {TUNNEL_VERSION, 'x'}, other[] = {TUNNEL_VERSION + 1};

    (void)unused;
    assert_int_equal(take(&source, TUNNEL_ASKED, 0, 0, NULL), -EBADMSG); /* before HELLO */
    assert_int_equal(take(&source, TUNNEL_HELLO, 0, 1, other), -EBADMSG);
    assert_int_equal(take(&source, TUNNEL_HELLO, 0, 2, hello), 0);
    assert_int_equal(take(&source, TUNNEL_HELLO, 0, 2, hello), -EBADMSG);
    assert_int_equal(take(&source, TUNNEL_OPEN, 0, 0, NULL), -EBADMSG); /* targets open nothing */
    assert_int_equal(take(&source, TUNNEL_COMPLETE, 0, 0, NULL), -EBADMSG);
    assert_int_equal(take(&source, TUNNEL_ASKED, 0, 0, NULL), 0);
    assert_int_equal(take(&target, TUNNEL_HELLO, 0, 2, hello), -EBADMSG);
    target.has_hello = true;
    assert_int_equal(take(&target, TUNNEL_DATA, 0, 1, "x"), -EBADMSG); /* of no channel */
    assert_int_equal(take(&target, TUNNEL_OPEN, 0, 0, NULL), 0);
    assert_int_equal(take(&target, TUNNEL_OPEN, 0, 0, NULL), -EBADMSG);
    assert_int_equal(take(&target, TUNNEL_COMPLETE, 0, 0, NULL), -EBADMSG); /* it did not ask */
    assert_int_equal(take(&target, TUNNEL_END, 0, 0, NULL), 0);
    assert_int_equal(take(&target, TUNNEL_DATA, 0, 1, "x"), -EBADMSG);
}

/* A guest whose memory follows is halted first, and is the target's by its word. */
static void test_order_of_post_copy(void **unused)
{
    struct tunnel source = {.is_source = true, .has_hello = true}, target = {.has_hello = true};

    (void)unused;
    assert_int_equal(take(&source, TUNNEL_HALTED, 0, 0, NULL), -EBADMSG); /* sources say so */
    assert_int_equal(take(&source, TUNNEL_GO, 0, 0, NULL), -EBADMSG);     /* it runs here */
    assert_int_equal(take(&target, TUNNEL_GO, 0, 0, NULL), -EBADMSG);
    assert_int_equal(take(&target, TUNNEL_HALTED, 0, 0, NULL), 0);
    assert_int_equal(take(&target, TUNNEL_HALTED, 0, 0, NULL), -EBADMSG);
    target.is_asked = true;
    assert_int_equal(take(&target, TUNNEL_COMPLETE, 0, 0, NULL), -EBADMSG); /* either or */
    tunnel_sent(&source, &(struct tunnel_frame){.type = TUNNEL_HALTED}, 0);
    assert_int_equal(take(&source, TUNNEL_GO, 0, 0, NULL), 0);
    assert_int_equal(take(&source, TUNNEL_GO, 0, 0, NULL), -EBADMSG);
    target = (struct tunnel){.has_hello = true, .is_complete = true};
    assert_int_equal(take(&target, TUNNEL_HALTED, 0, 0, NULL), -EBADMSG);
}

static void test_credit(void **unused)
{
    const struct tunnel_frame data = {.type = TUNNEL_DATA, .size = TUNNEL_DATA_MAX};
    const struct tunnel_frame credit = {.type = TUNNEL_CREDIT, .size = 4};
    const uint8_t much[4] = {0, 0, 1, 0}, too_much[4] = {1, 0, 0, 0}; /* 65536, 1 */
    struct tunnel t = {.has_hello = true}, source = {.is_source = true, .has_hello = true};

    (void)unused;
    assert_int_equal(take(&t, TUNNEL_OPEN, 0, 0, NULL), 0);
    for (int i = 0; i < TUNNEL_WINDOW / TUNNEL_DATA_MAX; i++)
        assert_int_equal(tunnel_accept(&t, &data, NULL, NULL), 0);
    assert_int_equal(tunnel_accept(&t, &data, NULL, NULL), -EBADMSG); /* it had no credit */
    tunnel_sent(&t, &credit, TUNNEL_DATA_MAX);
    assert_int_equal(tunnel_accept(&t, &data, NULL, NULL), 0);

    tunnel_sent(&source, &(struct tunnel_frame){.type = TUNNEL_OPEN}, 0);
    tunnel_sent(&source, &data, 0);
    assert_int_equal(source.channels[0].may_send, TUNNEL_WINDOW - TUNNEL_DATA_MAX);
    assert_int_equal(tunnel_accept(&source, &credit, much, NULL), 0);
    assert_int_equal(source.channels[0].may_send, TUNNEL_WINDOW);
    assert_int_equal(tunnel_accept(&source, &credit, too_much, NULL), -EBADMSG);
}

/* ---- two ends */

static struct tunnel_end near_end, far_end;
static char directory[] = "/tmp/test-tunnel-XXXXXX";
static char near_paths[TUNNEL_N_DOORS][64], far_paths[TUNNEL_N_DOORS][64];

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    return address;
}

static int listen_far(enum tunnel_door door)
{
    struct sockaddr_un address = address_of(far_paths[door]);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    unlink(far_paths[door]);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 4), 0);
    return fd;
}

static int connect_near(enum tunnel_door door)
{
    struct sockaddr_un address = address_of(near_paths[door]);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* One turn of both. */
static int turn(struct err *err)
{
    struct tunnel_end *ends[] = {&near_end, &far_end};
    int rc = 0;

    for (int i = 0; i < 2; i++) {
        struct pollfd fds[TUNNEL_FDS];
        int one;

        tunnel_end_poll(ends[i], fds);
        poll(fds, TUNNEL_FDS, 1);
        one = tunnel_end_serve(ends[i], fds, err);
        rc = one < 0 ? one : rc;
    }
    return rc;
}

static void begin(void **unused)
{
    const char *near_doors[TUNNEL_N_DOORS], *far_doors[TUNNEL_N_DOORS];
    struct err err;
    int pair[2];

    (void)unused;
    for (int i = 0; i < TUNNEL_N_DOORS; i++) {
        near_doors[i] = near_paths[i];
        far_doors[i] = far_paths[i];
    }
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(tunnel_end_init(&near_end, true, pair[0], near_doors, &err), 0);
    assert_int_equal(tunnel_end_init(&far_end, false, pair[1], far_doors, &err), 0);
    tunnel_end_hello(&far_end, "pins");
    while (!near_end.tunnel.has_hello)
        assert_int_equal(turn(&err), 0);
    assert_string_equal(near_end.text, "pins");
}

static void end(void)
{
    tunnel_end_deinit(&near_end);
    tunnel_end_deinit(&far_end);
}

static void expect(int fd, const char *words)
{
    char text[64] = "";
    size_t have = 0;
    struct err err;

    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 1000 && have < strlen(words); i++) {
        ssize_t n = read(fd, text + have, sizeof(text) - 1 - have);

        have += n > 0 ? (size_t)n : 0;
        assert_int_equal(turn(&err), 0);
    }
    assert_string_equal(text, words);
}

static int accept_far(int listener)
{
    struct pollfd fd = {.fd = listener, .events = POLLIN};
    struct err err;

    for (int i = 0; i < 1000 && poll(&fd, 1, 0) == 0; i++)
        assert_int_equal(turn(&err), 0);
    return accept(listener, NULL, NULL);
}

enum { MUCH = 4 * 1024 * 1024, CHUNK = 16 * 1024 };

/* The bytes at `at`, so that each place has its own. */
static void fill(uint32_t words[CHUNK / 4], size_t at)
{
    for (size_t i = 0; i < CHUNK / 4; i++)
        words[i] = (uint32_t)(at / 4 + i);
}

static void write_much(int fd, size_t *sent)
{
    uint32_t words[CHUNK / 4];
    ssize_t n = 1;

    while (*sent < MUCH && n > 0) {
        fill(words, *sent - *sent % CHUNK);
        n = write(fd, (uint8_t *)words + *sent % CHUNK, CHUNK - *sent % CHUNK);
        *sent += n > 0 ? (size_t)n : 0;
    }
}

static void read_much(int fd, size_t *received)
{
    uint32_t words[CHUNK / 4];
    uint8_t bytes[CHUNK];
    ssize_t n;

    while ((n = read(fd, bytes, CHUNK - *received % CHUNK)) > 0) {
        fill(words, *received - *received % CHUNK);
        assert_memory_equal(bytes, (uint8_t *)words + *received % CHUNK, (size_t)n);
        *received += (size_t)n;
    }
}

/* A reader that does not read holds up its own line and no other; all of it arrives, in order. */
static void test_lines_do_not_wait_for_each_other(void **unused)
{
    int disks = listen_far(TUNNEL_DISKS), memory = listen_far(TUNNEL_MEMORY);
    int slow, slow_far, quick, quick_far;
    size_t sent = 0, received = 0;
    struct err err;
    char byte;

    begin(unused);
    slow = connect_near(TUNNEL_MEMORY);
    slow_far = accept_far(memory);
    quick = connect_near(TUNNEL_DISKS);
    quick_far = accept_far(disks);
    fcntl(slow_far, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 100; i++) { /* until it is stuck */
        write_much(slow, &sent);
        assert_int_equal(turn(&err), 0);
    }
    assert_true(sent < MUCH);
    assert_int_equal(write(quick, "ping", 4), 4);
    expect(quick_far, "ping");
    assert_int_equal(write(quick_far, "pong", 4), 4);
    expect(quick, "pong");
    for (int i = 0; i < 10000 && received < MUCH; i++) {
        write_much(slow, &sent);
        read_much(slow_far, &received);
        assert_int_equal(turn(&err), 0);
    }
    assert_int_equal(received, MUCH);
    close(slow);
    close(quick_far);
    for (int i = 0; i < 1000 && (read(slow_far, &byte, 1) != 0 || read(quick, &byte, 1) != 0); i++)
        assert_int_equal(turn(&err), 0);
    assert_int_equal(read(slow_far, &byte, 1), 0); /* their ends */
    assert_int_equal(read(quick, &byte, 1), 0);
    close(slow_far);
    close(quick);
    close(disks);
    close(memory);
    end();
}

/* What comes for libvirt once the copy has begun is the order to finish: kept until it may pass. */
static void test_the_order_to_finish_is_held(void **unused)
{
    static const char order[] = {0, 0, 0, 9, 'o', 'r', 'd', 'e', 'r'};
    int rpc = listen_far(TUNNEL_RPC), memory = listen_far(TUNNEL_MEMORY);
    int near_rpc, far_rpc, near_memory, far_memory;
    struct err err;
    char byte;

    begin(unused);
    near_rpc = connect_near(TUNNEL_RPC);
    far_rpc = accept_far(rpc);
    assert_int_equal(write(near_rpc, "prepare", 7), 7);
    expect(far_rpc, "prepare");
    near_memory = connect_near(TUNNEL_MEMORY);
    far_memory = accept_far(memory);
    assert_int_equal(write(near_rpc, order, 5), 5); /* not all of it */
    for (int i = 0; i < 50; i++)
        assert_int_equal(turn(&err), 0);
    assert_false(near_end.tunnel.is_asked);
    assert_int_equal(write(near_rpc, order + 5, sizeof(order) - 5), (ssize_t)sizeof(order) - 5);
    for (int i = 0; i < 1000 && !near_end.tunnel.is_asked; i++)
        assert_int_equal(turn(&err), 0);
    assert_true(near_end.tunnel.is_asked);
    assert_int_equal(write(near_memory, "state", 5), 5);
    expect(far_memory, "state");
    tunnel_end_complete(&near_end);
    for (int i = 0; i < 1000 && !far_end.tunnel.is_complete; i++)
        assert_int_equal(turn(&err), 0);
    assert_true(far_end.tunnel.is_complete && tunnel_end_is_drained(&far_end));
    tunnel_end_cut(&far_end);
    assert_int_equal(read(far_memory, &byte, 1), 0);
    assert_true(read(far_rpc, &byte, 1) < 0 && errno == EAGAIN);
    tunnel_end_let_pass(&far_end);
    assert_int_equal(read(far_rpc, &byte, 1), 1);
    assert_true(tunnel_end_has_rpc(&far_end));
    assert_int_equal(write(far_rpc, "done", 4), 4);
    for (int i = 0; i < 10 && !far_end.is_answered; i++)
        (void)turn(&err); /* the near end's stream is cut */
    assert_true(far_end.is_answered);
    close(near_rpc);
    close(far_rpc);
    close(near_memory);
    close(far_memory);
    close(rpc);
    close(memory);
    end();
}

/* What is halted stays open at the source whatever the target's end does, memory goes on behind GO,
 * and libvirt's answer never gets back. */
static void test_memory_follows(void **unused)
{
    static const char order[] = {0, 0, 0, 9, 'o', 'r', 'd', 'e', 'r'};
    int rpc = listen_far(TUNNEL_RPC), memory = listen_far(TUNNEL_MEMORY);
    int near_rpc, far_rpc, near_memory, far_memory;
    struct err err;
    char byte;

    begin(unused);
    near_rpc = connect_near(TUNNEL_RPC);
    far_rpc = accept_far(rpc);
    near_memory = connect_near(TUNNEL_MEMORY);
    far_memory = accept_far(memory);
    tunnel_end_halt(&near_end);
    for (int i = 0; i < 1000 && !far_end.tunnel.is_halted; i++)
        assert_int_equal(turn(&err), 0);
    assert_true(far_end.tunnel.is_halted && !near_end.tunnel.may_go);
    tunnel_end_let_pass(&far_end);
    for (int i = 0; i < 1000 && !near_end.tunnel.may_go; i++)
        assert_int_equal(turn(&err), 0);
    assert_true(near_end.tunnel.may_go);
    assert_int_equal(write(near_memory, "page", 4), 4);
    expect(far_memory, "page");
    assert_int_equal(write(near_rpc, order, sizeof(order)), (ssize_t)sizeof(order));
    fcntl(far_rpc, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 1000 && read(far_rpc, &byte, 1) != 1; i++)
        assert_int_equal(turn(&err), 0);
    assert_int_equal(write(far_rpc, "done", 4), 4);
    for (int i = 0; i < 1000 && !far_end.is_answered; i++)
        assert_int_equal(turn(&err), 0);
    assert_true(far_end.is_answered);
    close(far_memory);
    for (int i = 0; i < 50; i++)
        assert_int_equal(turn(&err), 0);
    assert_true(read(near_memory, &byte, 1) < 0 && errno == EAGAIN);
    assert_true(read(near_rpc, &byte, 1) < 0 && errno == EAGAIN);
    close(near_rpc);
    close(far_rpc);
    close(near_memory);
    close(rpc);
    close(memory);
    end();
}

static void test_failure_is_told(void **unused)
{
    struct err err;
    int rc = 0, knocks;
    char byte;

    begin(unused);
    unlink(far_paths[TUNNEL_DISKS]);
    knocks = connect_near(TUNNEL_DISKS); /* nobody listens there: it hears the end */
    for (int i = 0; i < 1000 && read(knocks, &byte, 1) != 0; i++)
        assert_int_equal(turn(&err), 0);
    assert_int_equal(read(knocks, &byte, 1), 0);
    tunnel_end_fail(&far_end, "no room");
    for (int i = 0; i < 100 && rc == 0; i++)
        rc = turn(&err);
    assert_int_equal(rc, -EREMOTEIO);
    assert_string_equal(err.text, "no room");
    close(knocks);
    end();
}

/* Whatever comes, an end refuses it or takes it: it never reads or writes past its own. */
static void test_noise(void **unused)
{
    struct prng prng = {.state = 7};
    unsigned refused = 0;

    for (int round = 0; round < 300; round++) {
        struct tunnel_end *victim = prng_one_in(&prng, 2) ? &near_end : &far_end;
        uint8_t bytes[256];
        struct err err;
        int pair[2], rc = 0;

        begin(unused);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        close(victim->stream);
        victim->stream = pair[0];
        fcntl(pair[0], F_SETFL, O_NONBLOCK);
        for (int i = 0; i < 20; i++) {
            struct tunnel_frame frame = {.type = 1 + prng_below(&prng, TUNNEL_TYPE_END),
                                         .channel = (uint16_t)prng_below(&prng, 3),
                                         .size = prng_below(&prng, 4) * 2};

            for (size_t k = 0; k < sizeof(bytes); k++)
                bytes[k] = (uint8_t)prng_next(&prng);
            tunnel_header_encode(&frame, bytes);
            assert_true(write(pair[1], bytes, TUNNEL_HEADER_SIZE + frame.size) > 0);
        }
        for (int i = 0; i < 5 && rc == 0; i++) {
            struct pollfd fds[TUNNEL_FDS];

            tunnel_end_poll(victim, fds);
            poll(fds, TUNNEL_FDS, 0);
            rc = tunnel_end_serve(victim, fds, &err);
        }
        refused += rc < 0;
        close(pair[1]);
        end();
    }
    assert_true(refused > 200);
}

static int make_directory(void **unused)
{
    (void)unused;
    if (mkdtemp(directory) == NULL)
        return -1;
    for (int i = 0; i < TUNNEL_N_DOORS; i++) {
        snprintf(near_paths[i], sizeof(near_paths[i]), "%s/near%d", directory, i);
        snprintf(far_paths[i], sizeof(far_paths[i]), "%s/far%d", directory, i);
    }
    return 0;
}

static int remove_directory(void **unused)
{
    (void)unused;
    for (int i = 0; i < TUNNEL_N_DOORS; i++) {
        unlink(near_paths[i]);
        unlink(far_paths[i]);
    }
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_order_of_frames),
        cmocka_unit_test(test_order_of_post_copy),
        cmocka_unit_test(test_credit),
        cmocka_unit_test(test_lines_do_not_wait_for_each_other),
        cmocka_unit_test(test_the_order_to_finish_is_held),
        cmocka_unit_test(test_memory_follows),
        cmocka_unit_test(test_failure_is_told),
        cmocka_unit_test(test_noise),
    };

    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
