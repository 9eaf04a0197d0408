/* The guard's own process, as root in a room of its own (room.sh), over a fake world: what it
 * refuses, when it freezes, what it remembers. argv[1] is the guard that is linked with fakes.
 */
#include "tests/lab/guard_tests.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct guard_tests *const parts[] = {&lease_tests, &guest_tests, &move_tests,
                                                  &kept_tests, &client_tests};

enum { N_PARTS = sizeof(parts) / sizeof(parts[0]), MAX_TESTS = 64 };

int main(int argc, char *argv[])
{
    static struct CMUnitTest tests[MAX_TESTS];
    size_t n = 0;

    if (argc != 2 || geteuid() != 0)
        return 2;
    driver_program = argv[1];
    mkdir("/run/fake", 0777);
    chmod("/run/fake", 0777);
    for (size_t i = 0; i < N_PARTS; i++) {
        if (n + parts[i]->n > MAX_TESTS)
            return 2;
        memcpy(&tests[n], parts[i]->list, parts[i]->n * sizeof(tests[0]));
        n += parts[i]->n;
    }
    return _cmocka_run_group_tests("guard", tests, n, NULL, NULL);
}
