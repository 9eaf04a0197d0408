/* consensus/command: every type survives its bytes; what is no command is refused. */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "consensus/codec.h"
#include "consensus/command.h"
#include "tests/support/command_random.h"

struct bytes {
    uint8_t *data;
    size_t size;
};

static struct bytes encoded(const struct command *c)
{
    struct bytes b;
    struct writer w;

    writer_init_growing(&w, COMMAND_MAX_SIZE);
    command_encode(c, &w);
    assert_false(w.failed);
    b.data = writer_steal(&w, &b.size);
    assert_non_null(b.data);
    return b;
}

static void every_type_round_trips(void **state)
{
    struct prng p = {.state = 1};
    struct command c, back;
    struct bytes a, b;

    (void)state;
    for (int i = 0; i < 50 * COMMAND_TYPE_END; i++) {
        enum command_type type = (enum command_type)(1 + i % (COMMAND_TYPE_END - 1));

        command_random(&p, type, &c);
        a = encoded(&c);
        assert_int_equal(command_decode(a.data, a.size, &back, NULL), 0);
        assert_int_equal(back.type, type);
        assert_memory_equal(back.request, c.request, NONCE_SIZE);
        b = encoded(&back);
        assert_int_equal(a.size, b.size);
        assert_memory_equal(a.data, b.data, a.size);
        command_deinit(&c);
        command_deinit(&back);
        command_deinit(&back);
        free(a.data);
        free(b.data);
    }
}

static void every_cut_and_every_tail_is_refused(void **state)
{
    struct prng p = {.state = 2};
    struct command c, back;
    struct bytes b;
    struct err err;

    (void)state;
    for (int type = 1; type < COMMAND_TYPE_END; type++) {
        command_random(&p, (enum command_type)type, &c);
        b = encoded(&c);
        for (size_t size = 0; size < b.size; size++)
            assert_int_equal(command_decode(b.data, size, &back, &err), -EBADMSG);
        b.data = realloc(b.data, b.size + 1);
        b.data[b.size] = 0;
        assert_int_equal(command_decode(b.data, b.size + 1, &back, &err), -EBADMSG);
        assert_int_equal(back.type, 0);
        command_deinit(&c);
        free(b.data);
    }
}

static void unknown_version_type_and_enum_are_refused(void **state)
{
    struct command c = {.type = COMMAND_NODE_SET_ROLE,
                        .node_set_role = {.node = 1, .role = ROLE_SPARE}};
    struct command back;
    struct bytes b = encoded(&c);
    struct err err;

    (void)state;
    b.data[0] = 6;
    assert_int_equal(command_decode(b.data, b.size, &back, &err), -EBADMSG);
    assert_string_equal(err.text, "command of version 6: this build knows 5");
    b.data[0] = 5;
    b.data[25] = COMMAND_TYPE_END;
    assert_int_equal(command_decode(b.data, b.size, &back, &err), -EBADMSG);
    b.data[25] = 0;
    assert_int_equal(command_decode(b.data, b.size, &back, &err), -EBADMSG);
    b.data[25] = COMMAND_NODE_SET_ROLE;
    b.data[b.size - 1] = ROLE_SPARE + 1;
    assert_int_equal(command_decode(b.data, b.size, &back, &err), -EBADMSG);
    b.data[b.size - 1] = 0;
    assert_int_equal(command_decode(b.data, b.size, &back, &err), -EBADMSG);
    b.data[b.size - 1] = ROLE_VOTER;
    assert_int_equal(command_decode(b.data, b.size, &back, &err), 0);
    assert_int_equal(back.node_set_role.role, ROLE_VOTER);
    free(b.data);
}

static void encoder_writes_nothing_that_no_decoder_takes(void **state)
{
    char long_text[ARGUMENT_SIZE + 1];
    char *argv[MAX_ARGUMENTS + 1];
    struct guest_spec spec = {.name = "web", .n_argv = 1, .argv = argv};
    struct writer w;

    (void)state;
    memset(long_text, 'x', ARGUMENT_SIZE);
    long_text[ARGUMENT_SIZE] = '\0';
    for (size_t i = 0; i <= MAX_ARGUMENTS; i++)
        argv[i] = long_text;
    writer_init_growing(&w, COMMAND_MAX_SIZE);
    guest_spec_encode(&spec, &w);
    assert_true(w.failed);
    writer_deinit(&w);

    argv[0] = "sh";
    spec.n_argv = MAX_ARGUMENTS + 1;
    writer_init_growing(&w, COMMAND_MAX_SIZE);
    guest_spec_encode(&spec, &w);
    assert_true(w.failed);
    writer_deinit(&w);
}

static void placements_with_unsorted_or_wild_cores_are_refused(void **state)
{
    static const uint16_t bad[][2] = {{2, 1}, {1, 1}, {1, MAX_CORES}};
    struct placement placement = {.node = 1, .n_cores = 2}, back;
    uint8_t buffer[64];
    struct writer w;
    struct reader r;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        memcpy(placement.cores, bad[i], sizeof(bad[i]));
        writer_init(&w, buffer, sizeof(buffer));
        placement_encode(&placement, &w);
        reader_init(&r, buffer, w.size);
        placement_decode(&r, &back);
        assert_true(r.failed);
    }
}

/* A log that says so is not this cluster's: nobody could carry it out. */
static void terms_that_cannot_be_are_refused(void **state)
{
    static const struct {
        struct move_terms terms;
        bool is_sound;
    } rows[] = {
        {{MOVE_PRE, 300, 0, 1}, true},   {{MOVE_PRE, 300, 0, MOVE_CONNECTIONS_MAX}, true},
        {{MOVE_PRE, 300, 0, 0}, false},  {{MOVE_PRE, 300, 0, MOVE_CONNECTIONS_MAX + 1}, false},
        {{MOVE_POST, 300, 0, 1}, true},  {{MOVE_POST, 300, 0, 2}, false},
        {{MOVE_AUTO, 300, 0, 2}, false}, {{MOVE_STOP, 300, 0, 2}, false},
        {{MOVE_AUTO, 0, 0, 1}, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct move_terms back;
        uint8_t buffer[32];
        struct writer w;
        struct reader r;

        writer_init(&w, buffer, sizeof(buffer));
        move_terms_encode(&rows[i].terms, &w);
        reader_init(&r, buffer, w.size);
        move_terms_decode(&r, &back);
        assert_int_equal(reader_done(&r), rows[i].is_sound);
        if (rows[i].is_sound)
            assert_memory_equal(&back, &rows[i].terms, sizeof(back));
    }
}

static void copies_are_deep(void **state)
{
    struct prng p = {.state = 3};
    struct node_facts facts, facts_copy;
    struct guest_spec spec, spec_copy;

    (void)state;
    do {
        node_facts_random(&p, &facts);
        guest_spec_random(&p, &spec);
        assert_int_equal(node_facts_copy(&facts_copy, &facts), 0);
        assert_int_equal(guest_spec_copy(&spec_copy, &spec), 0);
        assert_true(facts.n_cores == 0 || facts_copy.cores != facts.cores);
        assert_true(spec.n_argv == 0 || spec_copy.argv[0] != spec.argv[0]);
        node_facts_deinit(&facts);
        guest_spec_deinit(&spec);
        node_facts_deinit(&facts_copy);
        guest_spec_deinit(&spec_copy);
        guest_spec_deinit(&spec_copy);
    } while (!prng_one_in(&p, 20));
}

static void types_have_names(void **state)
{
    (void)state;
    assert_string_equal(command_type_name(COMMAND_GUEST_CREATE), "guest-create");
    assert_string_equal(command_type_name(COMMAND_TYPE_END), "unknown");
    for (int type = 1; type < COMMAND_TYPE_END; type++)
        assert_string_not_equal(command_type_name((enum command_type)type), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_round_trips),
        cmocka_unit_test(every_cut_and_every_tail_is_refused),
        cmocka_unit_test(unknown_version_type_and_enum_are_refused),
        cmocka_unit_test(encoder_writes_nothing_that_no_decoder_takes),
        cmocka_unit_test(placements_with_unsorted_or_wild_cores_are_refused),
        cmocka_unit_test(terms_that_cannot_be_are_refused),
        cmocka_unit_test(copies_are_deep),
        cmocka_unit_test(types_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
