/* Whether what a guest brings has room at its target. */
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

#include "migrate/room.h"

#define MIB(n) ((uint64_t)(n) << 20)

static void what_it_brings(void **unused)
{
    const struct look cell = {.memory_bytes = MIB(64),
                              .files_bytes = MIB(330),
                              .volumes_bytes = MIB(300),
                              .shm_bytes = MIB(20),
                              .stages_memory = true};
    const struct look machine = {.memory_bytes = MIB(512), .files_bytes = MIB(40)};
    struct room_need need;

    (void)unused;
    for (enum move_mode mode = MOVE_AUTO; mode <= MOVE_POST; mode++) {
        room_need_of(&cell, mode, &need);
        assert_int_equal(need.files_bytes, MIB(10));
        assert_int_equal(need.volumes_bytes, MIB(300));
        assert_int_equal(need.memory_bytes, MIB(mode == MOVE_POST ? 20 : 84));
    }
    room_need_of(&machine, MOVE_PRE, &need);
    assert_int_equal(need.files_bytes, MIB(40));
    assert_int_equal(need.volumes_bytes, 0);
    assert_int_equal(need.memory_bytes, 0);
}

static void where_it_has_room(void **unused)
{
    static const struct {
        const char *name;
        struct node_room room; /* in MiB */
        struct room_need need; /* likewise */
        const char *words;     /* NULL: it has */
    } cases[] = {
        {"not known", {0}, {1000, 1000, 1000}, NULL},
        {"nothing is brought", {true, 0, 0, false, 0}, {0, 0, 0}, NULL},
        {"its files, and no more", {true, 186, 0, false, 0}, {160, 0, 0}, NULL},
        {"not what stays free beside",
         {true, 185, 0, false, 0},
         {160, 0, 0},
         "n2 has 185 MiB free for files, it brings 160 MiB (needs 186)"},
        {"a disk of volumes' own", {true, 0, 170, false, 0}, {0, 160, 0}, NULL},
        {"one that is too small",
         {true, 1000, 120, false, 0},
         {0, 300, 0},
         "n2 has 120 MiB free for volumes, it brings 300 MiB (needs 319)"},
        {"both on one disk",
         {true, 300, 300, true, 0},
         {160, 160, 0},
         "n2 has 300 MiB free for files, it brings 320 MiB (needs 356)"},
        {"each on its own", {true, 300, 300, false, 0}, {160, 160, 0}, NULL},
        {"its memory", {true, 1000, 1000, true, 34}, {1, 1, 32}, NULL},
        {"which does not fit",
         {true, 1000, 1000, true, 33},
         {1, 1, 32},
         "n2 has 33 MiB free for memory, it brings 32 MiB (needs 34)"},
    };

    (void)unused;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct node_room room = cases[i].room;
        struct room_need need = cases[i].need;
        struct err err = {0};
        int rc;

        room.files_bytes = MIB(room.files_bytes);
        room.volumes_bytes = MIB(room.volumes_bytes);
        room.memory_bytes = MIB(room.memory_bytes);
        need.files_bytes = MIB(need.files_bytes);
        need.volumes_bytes = MIB(need.volumes_bytes);
        need.memory_bytes = MIB(need.memory_bytes);
        rc = room_check(&room, &need, "n2", &err);
        if (rc != (cases[i].words != NULL ? -ENOSPC : 0) ||
            (rc < 0 && strcmp(err.text, cases[i].words) != 0))
            print_error("%s: %d %s\n", cases[i].name, rc, err.text);
        assert_int_equal(rc, cases[i].words != NULL ? -ENOSPC : 0);
        if (rc < 0)
            assert_string_equal(err.text, cases[i].words);
    }
}

/* Less than a MiB is not called nothing, nor what is free more than it is. */
static void small_figures_are_honest(void **unused)
{
    const struct node_room room = {true, 0, 65536, false, 0};
    struct err err;

    (void)unused;
    assert_int_equal(room_check(&room, &(struct room_need){.volumes_bytes = MIB(1)}, "n2", &err),
                     -ENOSPC);
    assert_string_equal(err.text, "n2 has 0 MiB free for volumes, it brings 1 MiB (needs 2)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_brings),
        cmocka_unit_test(where_it_has_room),
        cmocka_unit_test(small_figures_are_honest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
