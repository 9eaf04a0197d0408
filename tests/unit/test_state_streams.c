/* consensus/state: what holds for every log, over random streams of commands.
 *
 * A seed on the command line replaces the list: test_state_streams SEED.
 */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/stream.h"

enum { N_SEEDS = 20, N_STEPS = 400 };

static uint64_t only_seed; /* 0 = all */
static unsigned n_done[COMMAND_TYPE_END], n_refused[COMMAND_TYPE_END];

struct bytes {
    uint8_t *data;
    size_t size;
};

static struct bytes snapshot(const struct state *s)
{
    struct bytes b;
    struct writer w;

    writer_init_growing(&w, SNAPSHOT_MAX_SIZE);
    state_snapshot(s, &w);
    assert_false(w.failed);
    b.data = writer_steal(&w, &b.size);
    assert_non_null(b.data);
    return b;
}

/* What a refusal must leave alone: all but the index, the term and the kept outcomes. */
static uint64_t digest_of_matter(const struct state *s)
{
    struct state matter = *s;

    matter.index = matter.term = 0;
    matter.n_requests = 0;
    return state_digest(&matter);
}

/* What the log says of a command: its bytes, read back. */
static void through_the_log(struct command *command)
{
    struct command back;
    struct writer w;

    writer_init_growing(&w, COMMAND_MAX_SIZE);
    command_encode(command, &w);
    assert_false(w.failed);
    assert_int_equal(command_decode(w.data, w.size, &back, NULL), 0);
    writer_deinit(&w);
    command_deinit(command);
    *command = back;
}

static void apply_one(struct state *s, const struct stream *stream, const struct command *command,
                      struct outcome *ret)
{
    state_apply(s, s->index + 1, stream->term, command, ret);
}

static bool same_place(const struct placement *a, const struct placement *b)
{
    return a->node == b->node && a->epoch == b->epoch && a->n_cores == b->n_cores &&
           memcmp(a->cores, b->cores, sizeof(a->cores)) == 0;
}

static void assert_same_outcome(const struct outcome *a, const struct outcome *b)
{
    assert_int_equal(a->code, b->code);
    assert_true(a->index == b->index);
    assert_true(a->id == b->id);
    assert_string_equal(a->reason, b->reason);
}

/* A committed migration was undone: the guest is its source's again, as the frozen copy there is.
 * One whose memory was to follow: only by a return that says so. */
static bool has_returned(const struct state *before, const struct guest *guest,
                         const struct command *command)
{
    const struct guest *old = state_guest(before, guest->spec.name);
    const struct migration *m = state_migration(before, old->migration);
    bool is_undone = m != NULL && m->phase == MIGRATION_HANDOVER
                         ? command->type == COMMAND_MIGRATION_RETURN &&
                               command->migration_step.is_lazy && command->migration_step.id == m->id
                         : m != NULL && m->phase == MIGRATION_COMMITTED;

    return is_undone && guest->migration == 0 && same_place(&guest->placement, &m->source);
}

/* Guests that hold a place before and after hold it at the same epoch, or at a new one of now. */
static void check_epochs(const struct state *before, const struct state *after,
                         const struct command *command)
{
    for (size_t i = 0; i < before->n_guests; i++) {
        const struct placement *old = &before->guests[i].placement;
        const struct guest *guest = state_guest(after, before->guests[i].spec.name);

        if (guest == NULL) {
            assert_int_equal(old->node, 0);
            assert_int_equal(before->guests[i].desired, DESIRED_STOPPED);
        } else if (!same_place(old, &guest->placement) &&
                   !has_returned(before, guest, command)) {
            assert_true(guest->placement.epoch == after->index);
        }
    }
}

static void one_stream(uint64_t seed,
                       void (*step)(struct state *, const struct stream *, const struct command *,
                                    void *),
                       void *data)
{
    struct stream stream;
    struct state s;

    stream_init(&stream, seed);
    state_init(&s);
    for (int i = 0; i < N_STEPS; i++) {
        struct command command;

        stream_next(&stream, &s, &command);
        through_the_log(&command);
        step(&s, &stream, &command, data);
        command_deinit(&command);
    }
    state_deinit(&s);
}

static void every_seed(void (*step)(struct state *, const struct stream *, const struct command *,
                                    void *),
                       void *data)
{
    for (uint64_t seed = 1; seed <= N_SEEDS; seed++) {
        if (only_seed == 0 || only_seed == seed)
            one_stream(seed, step, data);
    }
    if (only_seed > N_SEEDS)
        one_stream(only_seed, step, data);
}

static void step_checked(struct state *s, const struct stream *stream,
                         const struct command *command, void *data)
{
    uint64_t matter = digest_of_matter(s);
    struct bytes old_bytes = snapshot(s);
    struct outcome outcome;
    struct state old;
    struct err err;

    (void)data;
    assert_int_equal(state_restore(&old, old_bytes.data, old_bytes.size, &err), 0);
    apply_one(s, stream, command, &outcome);
    (outcome.code == 0 ? n_done : n_refused)[command->type]++;
    assert_true(outcome.code <= 0);
    assert_true((outcome.code != 0) == (outcome.reason[0] != '\0'));
    if (outcome.code != 0)
        assert_true(digest_of_matter(s) == matter);
    if (state_check(s, &err) < 0)
        fail_msg("index %llu, %s: %s", (unsigned long long)s->index,
                 command_type_name(command->type), err.text);
    check_epochs(&old, s, command);
    state_deinit(&old);
    free(old_bytes.data);
}

static void every_step_keeps_the_invariants(void **state)
{
    (void)state;
    every_seed(step_checked, NULL);
    for (int type = 1; type < COMMAND_TYPE_END; type++) {
        print_message("# %-20s %5u done %5u refused\n", command_type_name((enum command_type)type),
                      n_done[type], n_refused[type]);
        assert_true(only_seed != 0 || (n_done[type] > 0 && n_refused[type] > 0));
    }
}

/* A second replica that is now and then made anew from the first one's snapshot. */
static void step_replicated(struct state *s, const struct stream *stream,
                            const struct command *command, void *data)
{
    struct state *replica = data;
    struct outcome a, b;

    if (s->index == 0 || s->index % 7 == 0) {
        struct bytes bytes = snapshot(s), again;

        state_deinit(replica);
        assert_int_equal(state_restore(replica, bytes.data, bytes.size, NULL), 0);
        again = snapshot(replica);
        assert_int_equal(again.size, bytes.size);
        assert_memory_equal(again.data, bytes.data, bytes.size);
        free(bytes.data);
        free(again.data);
    }
    apply_one(s, stream, command, &a);
    apply_one(replica, stream, command, &b);
    assert_same_outcome(&a, &b);
    assert_true(state_digest(s) == state_digest(replica));
}

static void replicas_agree_at_every_index(void **state)
{
    struct state replica;

    (void)state;
    state_init(&replica);
    every_seed(step_replicated, &replica);
    state_deinit(&replica);
}

static void step_repeated(struct state *s, const struct stream *stream,
                          const struct command *command, void *data)
{
    struct outcome first, again;
    uint64_t matter;

    (void)data;
    apply_one(s, stream, command, &first);
    matter = digest_of_matter(s);
    apply_one(s, stream, command, &again);
    assert_same_outcome(&first, &again);
    assert_true(digest_of_matter(s) == matter);
}

static void a_repeat_changes_nothing(void **state)
{
    (void)state;
    every_seed(step_repeated, NULL);
}

static void a_cut_snapshot_leaves_nothing(void **state)
{
    struct stream stream;
    struct state s, back;
    struct bytes b;

    (void)state;
    stream_init(&stream, 5);
    state_init(&s);
    for (int i = 0; i < 120; i++) {
        struct command command;
        struct outcome outcome;

        stream_next(&stream, &s, &command);
        apply_one(&s, &stream, &command, &outcome);
        command_deinit(&command);
    }
    b = snapshot(&s);
    for (size_t size = 0; size < b.size; size += 1 + size / 64) {
        struct err err;

        assert_int_equal(state_restore(&back, b.data, size, &err), -EBADMSG);
        assert_int_equal(back.n_nodes + back.n_guests + back.index, 0);
    }
    free(b.data);
    state_deinit(&s);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_step_keeps_the_invariants),
        cmocka_unit_test(replicas_agree_at_every_index),
        cmocka_unit_test(a_repeat_changes_nothing),
        cmocka_unit_test(a_cut_snapshot_leaves_nothing),
    };

    if (argc > 1)
        only_seed = strtoull(argv[1], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
