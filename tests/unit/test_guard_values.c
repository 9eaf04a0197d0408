/* The guard's small pure parts: processors behind cores, records, jobs. */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/guard/cpus.h"
#include "agent/guard/job.h"
#include "agent/guard/record.h"
#include "tests/support/command_random.h"
#include "tests/support/prng.h"

static uint8_t buffer[GUARD_PACKET_MAX];

static void declared_cores_fold_onto_real_ones(void **state)
{
    static const struct cpus lab = {
        .is_folded = true, .n_real = 2, .real = {0, 1}, .n_shared = 1, .shared = {0}};
    static const struct cpus part = {
        .is_folded = true, .n_real = 2, .real = {4, 6}, .n_shared = 1, .shared = {0}};
    static const struct {
        const struct cpus *cpus;
        uint32_t n;
        uint16_t cores[3];
        const char *list;
    } rows[] = {
        {&lab, 1, {3}, "1"},  {&lab, 2, {1, 3}, "1"}, {&lab, 3, {1, 2, 3}, "0,1"},
        {&lab, 0, {0}, "0"},  {&part, 1, {2}, "4"},   {&part, 2, {2, 3}, "4,6"},
        {&part, 0, {0}, "4"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char list[CPUS_TEXT_SIZE];

        assert_int_equal(cpus_list(rows[i].cpus, rows[i].cores, rows[i].n, false, list, NULL), 0);
        assert_string_equal(list, rows[i].list);
    }
}

static void real_cores_are_themselves_or_refused(void **state)
{
    static const struct cpus board = {
        .n_real = 4, .real = {0, 1, 2, 3}, .n_shared = 2, .shared = {0, 1}};
    static const uint16_t cores[] = {2, 3, 4};
    char list[CPUS_TEXT_SIZE];
    struct err err;

    (void)state;
    assert_int_equal(cpus_list(&board, cores, 2, false, list, &err), 0);
    assert_string_equal(list, "2,3");
    assert_int_equal(cpus_list(&board, NULL, 0, false, list, &err), 0);
    assert_string_equal(list, "0,1");
    assert_int_equal(cpus_list(&board, cores, 3, false, list, &err), -EINVAL);
    assert_string_equal(err.text, "this machine has no core 4");
}

static void the_nodes_own_cores_are_no_guests(void **state)
{
    struct cpus board = {.n_real = 4, .real = {0, 1, 2, 3}, .n_shared = 1, .shared = {0}};
    static const uint16_t cores[] = {0, 2};
    char list[CPUS_TEXT_SIZE];
    struct err err;

    (void)state;
    assert_int_equal(cpus_list(&board, cores, 2, false, list, &err), -EINVAL);
    assert_string_equal(err.text, "core 0 is the node's own; no guest has it to itself");
    board.has_none_to_share = true; /* isolated_cores = 0-3 */
    assert_int_equal(cpus_list(&board, cores, 2, false, list, &err), 0);
    assert_string_equal(list, "0,2");
}

/* Xen's control domain, with one processor of four: what cells share is that one, what machines
 * share the others. */
static void machines_share_what_only_the_hypervisor_has(void **state)
{
    struct cpus board = {.n_real = 1, .n_shared = 1, .n_beyond = 2, .beyond = {1, 3}};
    char list[CPUS_TEXT_SIZE];
    struct err err;

    (void)state;
    assert_int_equal(cpus_list(&board, NULL, 0, false, list, &err), 0);
    assert_string_equal(list, "0");
    assert_int_equal(cpus_list_machines(&board, list, &err), 0);
    assert_string_equal(list, "1,3");
    board.n_beyond = 0;
    assert_int_equal(cpus_list_machines(&board, list, &err), 0);
    assert_string_equal(list, "0");
}

static void fill_run(struct guest_run *run)
{
    struct prng p = {.state = 11};

    memset(run, 0, sizeof(*run));
    guest_spec_random(&p, &run->spec);
    run->epoch = 5;
    run->n_cores = 1;
    run->cores[0] = 2;
}

static void record_is_read_back_and_no_part_of_it(void **state)
{
    struct guest_record record = {.state = GUEST_HANDED_OVER,
                                  .migration = 9,
                                  .frozen_by = FROZEN_BY_MIGRATION,
                                  .exit_status = -1,
                                  .pid = 77,
                                  .start_time = 123456789,
                                  .cluster = {4},
                                  .n_starts = 2};
    struct guest_record back;
    struct writer w;
    uint8_t *exact;

    (void)state;
    fill_run(&record.run);
    writer_init(&w, buffer, sizeof(buffer));
    guest_record_encode(&record, &w);
    assert_int_equal(guest_record_decode(buffer, w.size, &back), 0);
    assert_string_equal(back.run.spec.name, record.run.spec.name);
    assert_int_equal(back.state, GUEST_HANDED_OVER);
    assert_int_equal(back.exit_status, -1);
    assert_int_equal(back.start_time, 123456789);
    assert_true(guest_record_is_of(&back, record.cluster));
    guest_record_deinit(&back);
    for (size_t cut = 0; cut < w.size; cut++) {
        exact = malloc(cut + 1);
        memcpy(exact, buffer, cut);
        assert_true(guest_record_decode(exact, cut, &back) < 0);
        free(exact);
    }
    guest_record_deinit(&record);
}

static void job_and_result_are_read_back(void **state)
{
    char *argv[] = {(char *)"sh", (char *)"-c", NULL};
    struct job_result result = {.id = 3,
                                .code = -EIO,
                                .text = "why",
                                .pid = 8,
                                .bytes = 1,
                                .mode = MOVE_POST,
                                .room = {true, 5, 6, false, 7}};
    struct job_result result_back;
    struct job job, back;
    struct writer w;

    (void)state;
    job_init(&job);
    job.id = 3;
    job.kind = JOB_EXEC;
    job.has_run = true;
    fill_run(&job.run);
    job.n_argv = 2;
    job.argv = argv;
    job.wish = (struct mode_wish){
        .terms = {MOVE_PRE, 50, 20000, 4}, .link_kbps = 100000, .target_can_lazy = true};
    writer_init(&w, buffer, sizeof(buffer));
    job_encode(&job, &w);
    assert_int_equal(job_decode(buffer, w.size, &back), 0);
    assert_string_equal(back.argv[1], "-c");
    assert_null(back.argv[2]);
    assert_string_equal(back.run.spec.name, job.run.spec.name);
    assert_int_equal(back.wish.terms.mode, MOVE_PRE);
    assert_int_equal(back.wish.terms.connections, 4);
    assert_int_equal(back.wish.link_kbps, 100000);
    job_deinit(&back);
    assert_int_equal(job_decode(buffer, w.size - 1, &back), -EBADMSG);
    guest_run_deinit(&job.run);
    writer_init(&w, buffer, sizeof(buffer));
    job_result_encode(&result, &w);
    assert_int_equal(job_result_decode(buffer, w.size, &result_back), 0);
    assert_int_equal(result_back.code, -EIO);
    assert_string_equal(result_back.text, "why");
    assert_int_equal(result_back.mode, MOVE_POST);
    assert_true(result_back.room.is_known);
    assert_int_equal(result_back.room.files_bytes, 5);
    assert_int_equal(result_back.room.memory_bytes, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(declared_cores_fold_onto_real_ones),
        cmocka_unit_test(real_cores_are_themselves_or_refused),
        cmocka_unit_test(the_nodes_own_cores_are_no_guests),
        cmocka_unit_test(machines_share_what_only_the_hypervisor_has),
        cmocka_unit_test(record_is_read_back_and_no_part_of_it),
        cmocka_unit_test(job_and_result_are_read_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
