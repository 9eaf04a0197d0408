/* Who is not skeind: processes of its user without the board's key; and what the guard itself may
 * not. As root in a room of its own (room.sh), over a fake world; argv[1] is the guard that is
 * linked with fakes.
 */
#include "tests/lab/guard_hostile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/guard/filter_seccomp.h"

enum { N_TRIES = 200, N_SILENT = 20 };

void become_skein(void)
{
    const struct passwd *user = getpwnam("skein");

    if (user == NULL || setgroups(0, NULL) < 0 || setgid(user->pw_gid) < 0 ||
        setuid(user->pw_uid) < 0 || setuid(0) == 0)
        _exit(3);
}

void begin_with_a_guest(struct driver *d)
{
    void *begun;

    driver_begin(&begun);
    *d = *(struct driver *)begun;
    free(begun);
    assert_true(beat(d, GROWN_LEASE_MS, ""));
    assert_int_equal(driver_start_guest(d, "web", EPOCH, PORT), 0);
}

static void end_with_the_guest(struct driver *d)
{
    assert_int_equal(ask_copy(d, GUARD_STOP, "web", EPOCH), 0); /* a frozen one outlives the room */
    driver_kill(d, SIGKILL);
}

/* ---- without the key */

static bool is_cut_off(int fd)
{
    char byte;

    return recv(fd, &byte, 1, 0) <= 0;
}

/* Both connections, again and again, with keys that are none. */
static void press(int ready_fd)
{
    uint8_t key[GUARD_KEY_SIZE] = {0};

    become_skein();
    if (open("/run/skein/guard.key", O_RDONLY | O_CLOEXEC) >= 0 ||
        unlink("/run/skein/guard.key") == 0)
        _exit(4);
    for (int i = 0; i < N_SILENT; i++)
        guard_connect_silently(); /* and left so */
    if (write(ready_fd, "", 1) != 1)
        _exit(3);
    for (int i = 0; i < N_TRIES; i++) {
        struct guard_hello hello;
        int fd = guard_connect_silently();

        key[i % GUARD_KEY_SIZE]++;
        if (guard_say_hello(fd, 1 + (enum guard_connection)(i % 2), key, &hello) != -EACCES ||
            !is_cut_off(fd))
            _exit(5);
        close(fd);
    }
    _exit(0);
}

/* skeind goes on beating over its connections, and its successor gets in between them. */
static void who_has_no_key_displaces_nobody(void **state)
{
    struct driver d = {0};
    int status = 0, ready[2];
    char byte;
    pid_t pid;

    (void)state;
    begin_with_a_guest(&d);
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0)
        press(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    while (waitpid(pid, &status, WNOHANG) == 0) {
        assert_true(beat(&d, GROWN_LEASE_MS, NULL));
        assert_int_equal(report_of(&d, "web").frozen_by, 0);
    }
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    driver_connect(&d);
    assert_true(beat(&d, GROWN_LEASE_MS, NULL));
    assert_int_equal(d.n_lapsed, 0);
    assert_true(counts("web"));
    end_with_the_guest(&d);
}

/* Eight places for clients, and all taken by such that say nothing: who knows the key finds one. */
static void who_says_nothing_keeps_nobody_out(void **state)
{
    struct driver d = {0};
    int silent[N_SILENT];

    (void)state;
    begin_with_a_guest(&d);
    for (int i = 0; i < N_SILENT; i++)
        silent[i] = guard_connect_silently();
    driver_connect(&d);
    assert_true(beat(&d, GROWN_LEASE_MS, NULL));
    assert_int_equal(report_of(&d, "web").state, GUEST_RUNNING);
    for (int i = 0; i < N_SILENT; i++)
        close(silent[i]);
    end_with_the_guest(&d);
}

/* A file that somebody else laid there before is no key. */
static void key_of_somebody_else_is_replaced(void **state)
{
    struct driver d = {0};
    int status = 0;
    struct stat st;
    pid_t pid;

    (void)state;
    begin_with_a_guest(&d);
    end_with_the_guest(&d);
    unlink("/run/skein/guard.key");
    pid = fork();
    if (pid == 0) {
        char text[GUARD_KEY_SIZE + 1] = "0123456789abcdef0123456789abcdef";

        become_skein();
        put_file("/run/skein/guard.key", text);
        _exit(chmod("/run/skein/guard.key", 0600) < 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    driver_start(&d);
    assert_int_equal(stat("/run/skein/guard.key", &st), 0);
    assert_int_equal(st.st_uid, 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    driver_kill(&d, SIGKILL);
}

/* ---- the system call filter */

static int answer_of_socket(int family)
{
    int fd = socket(family, SOCK_STREAM, 0), code = errno;

    if (fd >= 0)
        close(fd);
    return fd >= 0 ? 0 : code;
}

/* The filter itself, in a child: what the guard is left with. */
static void filtered_process_has_no_network(void **state)
{
    int status = 0;
    pid_t pid = fork();

    (void)state;
    if (pid == 0) {
        if (filter_guard(NULL) < 0)
            _exit(9);
        _exit((answer_of_socket(AF_INET) != EPERM) + 2 * (answer_of_socket(AF_INET6) != EPERM) +
              4 * (answer_of_socket(AF_PACKET) != EPERM) + 8 * (answer_of_socket(AF_UNIX) != 0));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int filter_mode(pid_t pid, const char *thread)
{
    char path[320], line[128];
    int mode = -1;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/task/%s/status", pid, thread);
    file = fopen(path, "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL)
        sscanf(line, "Seccomp: %d", &mode);
    fclose(file);
    return mode;
}

/* Every thread of it. */
static void running_guard_is_filtered(void **state)
{
    struct driver d = {0};
    char path[64];
    struct dirent *entry;
    int n_threads = 0;
    DIR *threads;

    (void)state;
    driver_start(&d);
    snprintf(path, sizeof(path), "/proc/%d/task", d.pid);
    threads = opendir(path);
    assert_non_null(threads);
    while ((entry = readdir(threads)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        assert_int_equal(filter_mode(d.pid, entry->d_name), 2);
        n_threads++;
    }
    closedir(threads);
    assert_true(n_threads >= 2);
    driver_kill(&d, SIGKILL);
}

int main(int argc, char *argv[])
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(user_skein_can_do_no_harm),
        cmocka_unit_test(who_has_no_key_displaces_nobody),
        cmocka_unit_test(who_says_nothing_keeps_nobody_out),
        cmocka_unit_test(key_of_somebody_else_is_replaced),
        cmocka_unit_test(filtered_process_has_no_network),
        cmocka_unit_test(running_guard_is_filtered),
    };

    if (argc != 2 || geteuid() != 0)
        return 2;
    driver_program = argv[1];
    mkdir("/run/fake", 0777);
    chmod("/run/fake", 0777);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
