/* replica's parts: its queues with their limits, its record, and the watchdog. */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "consensus/file_posix.h"
#include "consensus/replica_queue_posix.h"
#include "consensus/replica_record_posix.h"
#include "consensus/watchdog_posix.h"

static struct replica_event entry(enum replica_event_type type, uint64_t index, size_t size)
{
    struct replica_event event = {.type = type};

    event.entry.index = index;
    event.entry.size = size;
    event.entry.bytes = calloc(1, size);
    return event;
}

static void events_come_in_order(void **state)
{
    struct event_queue q;
    struct replica_event event;
    bool resync;

    (void)state;
    event_queue_init(&q);
    for (uint64_t i = 1; i <= 3; i++) {
        event = entry(REPLICA_COMMITTED, i, 8);
        assert_int_equal(event_queue_push(&q, &event), i == 1); /* only the first wakes */
    }
    for (uint64_t i = 1; i <= 3; i++) {
        assert_true(event_queue_pop(&q, &event, &resync));
        assert_int_equal(event.entry.index, i);
        assert_false(resync);
        replica_event_deinit(&event);
        replica_event_deinit(&event);
    }
    assert_false(event_queue_pop(&q, &event, &resync));
    event_queue_deinit(&q);
}

static void too_many_entries_give_way_to_a_snapshot(void **state)
{
    enum { SIZE = 8 * 1024 * 1024, FIT = REPLICA_MAX_EVENT_BYTES / SIZE };
    struct replica_event event, role = {.type = REPLICA_ROLE};
    struct event_queue q;
    bool resync;

    (void)state;
    event_queue_init(&q);
    for (uint64_t i = 1; i <= FIT; i++) {
        event = entry(REPLICA_COMMITTED, i, SIZE);
        event_queue_push(&q, &event);
        if (i == 2)
            event_queue_push(&q, &role);
    }
    event = entry(REPLICA_COMMITTED, FIT + 1, SIZE);
    event_queue_push(&q, &event); /* one too many */
    assert_true(q.is_lagging);
    assert_int_equal(q.bytes, 0);
    event = entry(REPLICA_COMMITTED, FIT + 2, 8);
    event_queue_push(&q, &event);

    /* What is no entry is still there; taking the last of it asks for a snapshot, once. */
    assert_true(event_queue_pop(&q, &event, &resync));
    assert_int_equal(event.type, REPLICA_ROLE);
    assert_true(resync);
    assert_false(event_queue_pop(&q, &event, &resync));
    assert_false(resync);
    event = entry(REPLICA_RESTORED, FIT + 2, 8);
    assert_true(event_queue_catch_up(&q, &event));
    event = entry(REPLICA_COMMITTED, FIT + 3, 8);
    event_queue_push(&q, &event);
    assert_true(event_queue_pop(&q, &event, &resync));
    assert_int_equal(event.type, REPLICA_RESTORED);
    replica_event_deinit(&event);
    assert_true(event_queue_pop(&q, &event, &resync));
    assert_int_equal(event.entry.index, FIT + 3);
    replica_event_deinit(&event);
    event_queue_deinit(&q);
}

static void requests_have_a_limit(void **state)
{
    struct request_queue q;
    struct request *request;

    (void)state;
    request_queue_init(&q);
    for (int i = 0; i < REPLICA_MAX_PROPOSALS; i++)
        assert_int_equal(request_queue_push(&q, calloc(1, sizeof(struct request))), 0);
    request = calloc(1, sizeof(*request));
    assert_int_equal(request_queue_push(&q, request), -ENOBUFS);
    request->type = REQUEST_RESYNC;
    assert_int_equal(request_queue_push(&q, request), 0);
    request_queue_deinit(&q);
}

static void proposals_wait_for_room_in_order(void **state)
{
    struct request *large = calloc(1, sizeof(*large) + 100), *later = calloc(1, sizeof(*later));
    struct request_queue q;

    (void)state;
    large->size = 100;
    later->type = REQUEST_REMOVE;
    request_queue_init(&q);
    assert_int_equal(request_queue_push(&q, large), 0);
    assert_int_equal(request_queue_push(&q, later), 0);
    assert_null(request_queue_pop(&q, 99));
    assert_ptr_equal(request_queue_pop(&q, 100), large);
    assert_ptr_equal(request_queue_pop(&q, 0), later);
    assert_null(request_queue_pop(&q, 0));
    request_queue_deinit(&q);
    free(large);
    free(later);
}

static int setup_directory(void **state)
{
    char template[] = "/tmp/skein-record-XXXXXX";

    *state = strdup(mkdtemp(template));
    return *state == NULL;
}

static int teardown_directory(void **state)
{
    static const char *const names[] = {"raft.record", "raft.lock"};
    char path[FILE_PATH_SIZE];

    for (int i = 0; i < 2; i++) {
        file_path(*state, names[i], path, NULL);
        unlink(path);
    }
    rmdir(*state);
    free(*state);
    return 0;
}

static void record_survives_and_damage_is_seen(void **state)
{
    struct replica_record record = {.id = 42, .mark_index = 1000, .mark_term = 7}, back;
    uint8_t bytes[128];
    struct err err;
    ssize_t size;

    assert_int_equal(replica_inspect(*state, &back, &err), -ENOENT);
    assert_int_equal(replica_record_write(*state, &record, &err), 0);
    assert_int_equal(replica_inspect(*state, &back, &err), 0);
    assert_memory_equal(&record, &back, sizeof(record));
    size = file_read(*state, "raft.record", bytes, sizeof(bytes), &err);
    for (ssize_t i = 0; i < size; i++) {
        bytes[i] ^= 1;
        assert_int_equal(file_replace(*state, "raft.record", bytes, (size_t)size, 0600, &err), 0);
        assert_int_equal(replica_inspect(*state, &back, &err), -EBADMSG);
        bytes[i] ^= 1;
    }
}

static void a_lock_is_held_by_one(void **state)
{
    struct err err;
    int first = replica_lock(*state, &err);

    assert_true(first >= 0);
    assert_int_equal(replica_lock(*state, &err), -EBUSY);
    assert_int_equal(replica_discard(*state, &err), -EBUSY);
    close(first);
    first = replica_lock(*state, &err);
    assert_true(first >= 0);
    close(first);
}

enum { WATCH_MS = 40 };
static atomic_int n_slow, n_quick;

static void on_expired(const char *what, uint64_t age_ms)
{
    assert_true(age_ms > WATCH_MS);
    if (strcmp(what, "slow") == 0)
        n_slow++;
    else
        n_quick++;
}

static double now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void watchdog_sees_only_what_does_not_end(void **state)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    struct watchdog *w = watchdog_new(WATCH_MS, on_expired);
    struct watch slow = {0}, quick = {0};
    double longest_ms = 0;
    int turns = 0;

    (void)state;
    watchdog_begin(w, &slow, "slow");
    while (n_slow == 0 && turns++ < 10000) { /* quick ones come and go meanwhile */
        double began_ms = now_ms();

        watchdog_begin(w, &quick, "quick");
        nanosleep(&pause, NULL);
        watchdog_end(w, &quick);
        watchdog_end(w, &quick);
        longest_ms = now_ms() - began_ms > longest_ms ? now_ms() - began_ms : longest_ms;
    }
    assert_true(n_slow > 0);
    assert_true(n_quick == 0 || longest_ms >= WATCH_MS); /* this thread was made to wait */
    watchdog_end(w, &slow);
    watchdog_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_come_in_order),
        cmocka_unit_test(too_many_entries_give_way_to_a_snapshot),
        cmocka_unit_test(requests_have_a_limit),
        cmocka_unit_test(proposals_wait_for_room_in_order),
        cmocka_unit_test_setup_teardown(record_survives_and_damage_is_seen, setup_directory,
                                        teardown_directory),
        cmocka_unit_test_setup_teardown(a_lock_is_held_by_one, setup_directory, teardown_directory),
        cmocka_unit_test(watchdog_sees_only_what_does_not_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
