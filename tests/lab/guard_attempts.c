/* What a skeind that means harm could ask of the guard: every operation with bad arguments
 * (guard_hostile.c tries them).
 */
#include "tests/lab/guard_attempts.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/lab/guard_hostile.h"

static int a_file = -1, a_directory = -1, a_socket = -1;

bool attempts_prepare(void)
{
    int pair[2];

    a_file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    a_directory = open("/", O_RDONLY | O_CLOEXEC);
    if (a_file < 0 || a_directory < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        return false;
    a_socket = pair[0];
    return true;
}

static void nothing(struct guard_request *r)
{
    (void)r;
}

static void descriptor(struct guard_request *r)
{
    r->fds[0] = a_file;
}

static void directory(struct guard_request *r)
{
    r->fds[0] = a_directory;
}

static void running_image(struct guard_request *r)
{
    r->digest[0] = 0xab;
}

static void of_nobody(struct guard_request *r)
{
    strcpy(r->copy.guest, "nobody");
    r->copy.epoch = EPOCH;
    r->migration = 20;
    r->wish.terms = MOVE_TERMS_DEFAULT;
    r->fds[0] = r->op == GUARD_CAPTURE || r->op == GUARD_RECEIVE || r->op == GUARD_LOOK ||
                        r->op == GUARD_SEND
                    ? a_socket
                    : -1;
}

static void of_another_epoch(struct guard_request *r)
{
    of_nobody(r);
    strcpy(r->copy.guest, "web");
    r->copy.epoch = EPOCH + 1;
}

static void of_the_running_guest(struct guard_request *r)
{
    of_nobody(r);
    strcpy(r->copy.guest, "web");
}

static void with_a_file(struct guard_request *r)
{
    of_the_running_guest(r);
    r->fds[0] = a_file;
}

static void run(struct guard_request *r, const char *guest)
{
    enum guard_op op = r->op;

    run_of(r, op, guest, 20, PORT + 1);
    r->migration = 20;
    r->index = 10;
    r->run.cores[0] = 2;
}

static void run_on_a_low_port(struct guard_request *r)
{
    run(r, "evil");
    r->run.port = PORT - 1;
}

static void run_on_a_taken_core(struct guard_request *r)
{
    run(r, "evil");
    r->run.cores[0] = 0; /* the node's own */
}

static void run_without_memory(struct guard_request *r)
{
    run(r, "evil");
    r->run.spec.memory_mib = 0;
}

static void run_of_an_old_decision(struct guard_request *r)
{
    run(r, "evil");
    r->index = 1;
}

static void run_of_no_image(struct guard_request *r)
{
    run(r, "evil");
    r->run.digest[0] = 0xcd;
}

static void run_with_a_volume(struct guard_request *r, const char *path)
{
    run(r, "evil");
    r->run.spec.n_volumes = 1;
    r->run.spec.volumes = calloc(1, sizeof(struct volume));
    strcpy(r->run.spec.volumes[0].name, "data");
    strcpy(r->run.spec.volumes[0].path, path);
}

static void run_with_a_way_out(struct guard_request *r)
{
    run_with_a_volume(r, "/srv/../../etc");
}

static void run_with_a_name_that_leads_out(struct guard_request *r)
{
    run_with_a_volume(r, "/srv");
    strcpy(r->run.spec.volumes[0].name, "../../roots");
}

static void run_with_a_volume_for_devices(struct guard_request *r)
{
    run_with_a_volume(r, "/dev/shm");
}

static void run_of_a_vm_with_a_volume(struct guard_request *r)
{
    run_with_a_volume(r, "/srv");
    r->run.spec.kind = KIND_VM;
    free(r->run.spec.argv[0]);
    r->run.spec.n_argv = 0;
}

static void run_with_a_descriptor(struct guard_request *r)
{
    run(r, "evil");
    r->fds[0] = a_file;
}

static void run_of_another_migration(struct guard_request *r)
{
    run(r, "evil");
    r->migration = 21;
}

static void restore_from_a_directory(struct guard_request *r)
{
    run(r, "evil");
    r->fds[0] = a_directory;
}

static void restore_of_an_old_decision(struct guard_request *r)
{
    run_of_an_old_decision(r);
    r->fds[0] = a_file;
}

static void restore_without_a_file(struct guard_request *r)
{
    run(r, "evil");
}

static void restore_of_another_file(struct guard_request *r)
{
    run(r, "evil");
    memset(r->digest, 0xbb, DIGEST_SIZE);
    r->fds[0] = a_file;
}

static void restore_on_a_low_port(struct guard_request *r)
{
    run_on_a_low_port(r);
    r->fds[0] = a_file;
}

static void command(struct guard_request *r)
{
    r->n_argv = 1;
    r->argv = calloc(2, sizeof(char *));
    r->argv[0] = strdup("sh");
}

static void exec_in_nobody(struct guard_request *r)
{
    command(r);
    strcpy(r->copy.guest, "nobody");
    r->fds[0] = r->fds[1] = r->fds[2] = a_file;
}

static void exec_without_descriptors(struct guard_request *r)
{
    command(r);
    strcpy(r->copy.guest, "web");
    r->copy.epoch = EPOCH;
}

static void console_of_a_cell(struct guard_request *r)
{
    strcpy(r->copy.guest, "web");
    r->copy.epoch = EPOCH;
    r->fds[0] = r->fds[1] = r->fds[2] = a_file;
}

static void exec_on_a_directory(struct guard_request *r)
{
    exec_without_descriptors(r);
    r->fds[0] = r->fds[1] = r->fds[2] = a_directory;
}

static void check_of_nobody(struct guard_request *r)
{
    strcpy(r->copy.guest, "nobody");
    r->copy.epoch = EPOCH;
    r->port = 80;
    r->timeout_ms = 100;
}

static void check_of_another_epoch(struct guard_request *r)
{
    check_of_nobody(r);
    strcpy(r->copy.guest, "web");
    r->copy.epoch = EPOCH + 1;
}

static void check_with_a_file(struct guard_request *r)
{
    check_of_another_epoch(r);
    r->copy.epoch = EPOCH;
    r->fds[0] = a_file;
}

static void keep_by_an_old_decision(struct guard_request *r)
{
    r->index = 1;
}

static void keep_with_a_file(struct guard_request *r)
{
    r->index = 10;
    r->fds[0] = a_file;
}

const struct attempt attempts[][MAX_TRIES] = {
    [GUARD_HELLO] = {{"hello twice", nothing, false, true}},
    [GUARD_STAMP] = {{"a stamp on the work connection", nothing, true, false}},
    [GUARD_ACK] = {{"an ack on the work connection", nothing, true, false}},
    [GUARD_LIST] = {{"a list on the lease connection", nothing, true, false}},
    [GUARD_FABRIC] = {{"a descriptor with the fabric", descriptor, false, false},
                      {"fabric on the lease connection", nothing, true, false}},
    [GUARD_UNPACK] = {{"no image file", nothing, false, false},
                      {"a directory", directory, false, false}},
    [GUARD_DROP_IMAGE] = {{"the image that runs", running_image, false, false},
                          {"a descriptor with it", descriptor, false, false}},
    [GUARD_START] = {{"a port below the guests'", run_on_a_low_port, false, false},
                     {"the node's own core", run_on_a_taken_core, false, false},
                     {"no memory", run_without_memory, false, false},
                     {"a decision below the floor", run_of_an_old_decision, false, false},
                     {"an image that is not there", run_of_no_image, false, false},
                     {"a descriptor with it", run_with_a_descriptor, false, false},
                     {"a volume that leads out of the root", run_with_a_way_out, false, true},
                     {"a volume's name that leads out", run_with_a_name_that_leads_out, false, true},
                     {"a volume over its devices", run_with_a_volume_for_devices, false, true},
                     {"a vm with a volume", run_of_a_vm_with_a_volume, false, false}},
    [GUARD_STOP] = {{"a descriptor with it", with_a_file, false, false},
                    {"on the lease connection", of_another_epoch, true, false}},
    [GUARD_FREEZE] = {{"nobody", of_nobody, false, false},
                      {"another epoch", of_another_epoch, false, false}},
    [GUARD_THAW] = {{"nobody", of_nobody, false, false},
                    {"another epoch", of_another_epoch, false, false}},
    [GUARD_LOOK] = {{"nobody", of_nobody, false, false},
                    {"a file for a pipe", with_a_file, false, false}},
    [GUARD_EXEC] = {{"nobody", exec_in_nobody, false, false},
                    {"no descriptors", exec_without_descriptors, false, false},
                    {"directories for descriptors", exec_on_a_directory, false, false}},
    [GUARD_CONSOLE] = {{"nobody", exec_in_nobody, false, false},
                       {"no descriptors", exec_without_descriptors, false, false},
                       {"a cell, which has none", console_of_a_cell, false, false}},
    [GUARD_LOGS] = {{"nobody", of_nobody, false, false},
                    {"a descriptor with it", with_a_file, false, false}},
    [GUARD_PREPARE] = {{"another migration", run_of_another_migration, false, false},
                       {"a port below the guests'", run_on_a_low_port, false, false},
                       {"the node's own core", run_on_a_taken_core, false, false},
                       {"an image that is not there", run_of_no_image, false, false},
                       {"a descriptor with it", run_with_a_descriptor, false, false},
                       {"a volume that leads out of the root", run_with_a_way_out, false, true},
                       {"a vm with a volume", run_of_a_vm_with_a_volume, false, false}},
    [GUARD_CAPTURE] = {{"nobody", of_nobody, false, false},
                       {"another epoch", of_another_epoch, false, false},
                       {"a file for a stream", with_a_file, false, false}},
    [GUARD_RECEIVE] = {{"nobody", of_nobody, false, false},
                       {"the guest that runs", of_the_running_guest, false, false},
                       {"a file for a stream", with_a_file, false, false}},
    [GUARD_ACTIVATE] = {{"nobody", of_nobody, false, false},
                        {"the guest that runs", of_the_running_guest, false, false}},
    [GUARD_RESUME] = {{"nobody", of_nobody, false, false},
                      {"another epoch", of_another_epoch, false, false}},
    [GUARD_DISCARD] = {{"the guest that runs", of_the_running_guest, false, false},
                       {"a descriptor with it", with_a_file, false, false}},
    [GUARD_CHECK] = {{"nobody", check_of_nobody, false, false},
                     {"another epoch", check_of_another_epoch, false, false},
                     {"a descriptor with it", check_with_a_file, false, false}},
    [GUARD_FAIL] = {{"a descriptor with it", with_a_file, false, false},
                    {"on the lease connection", of_another_epoch, true, false}},
    [GUARD_CHECKPOINT] = {{"nobody", of_nobody, false, false},
                          {"another epoch", of_another_epoch, false, false},
                          {"a descriptor with it", with_a_file, false, false}},
    [GUARD_SEND] = {{"nobody", of_nobody, false, false},
                    {"another epoch", of_another_epoch, false, false},
                    {"a file for a stream", with_a_file, false, false}},
    [GUARD_RESTORE] = {{"no file", restore_without_a_file, false, false},
                       {"a directory", restore_from_a_directory, false, false},
                       {"a port below the guests'", restore_on_a_low_port, false, false},
                       {"a decision below the floor", restore_of_an_old_decision, false, false},
                       {"another file than was kept", restore_of_another_file, false, false}},
    [GUARD_STATS] = {{"nobody", of_nobody, false, false},
                     {"another epoch", of_another_epoch, false, false},
                     {"a descriptor with it", with_a_file, false, false}},
    [GUARD_AWAIT] = {{"nobody", of_nobody, false, false},
                     {"another epoch", of_another_epoch, false, false},
                     {"a descriptor with it", with_a_file, false, false}},
    [GUARD_PROGRESS] = {{"nobody", of_nobody, false, false},
                        {"another epoch", of_another_epoch, false, false},
                        {"a descriptor with it", with_a_file, false, false}},
    [GUARD_KEEP_VOLUMES] = {{"a decision below the floor", keep_by_an_old_decision, false, false},
                            {"a descriptor with it", keep_with_a_file, false, false}},
};
_Static_assert(sizeof(attempts) / sizeof(attempts[0]) == GUARD_OP_END,
               "every operation of the guard is tried with bad arguments");
