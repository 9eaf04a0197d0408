/* Who is still present, and the words that are left: with real processes. */
#include "tests/unit/test.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "migrate/presence_posix.h"

/* Where somebody may be present, and leave a word. */
struct place {
    char directory[32], path[64], word[64];
};

static struct place make_place(void)
{
    struct place ret = {.directory = "/tmp/presence-XXXXXX"};

    assert_non_null(mkdtemp(ret.directory));
    snprintf(ret.path, sizeof(ret.path), "%s/here", ret.directory);
    snprintf(ret.word, sizeof(ret.word), "%s/word", ret.directory);
    return ret;
}

static void remove_place(const struct place *place)
{
    unlink(place->path);
    unlink(place->word);
    assert_int_equal(rmdir(place->directory), 0);
}

static void presence_is_found_asked_and_waited_for(void **unused)
{
    struct place place = make_place();
    const char *path = place.path;
    struct err err = {0};
    int fd;
    pid_t pid;

    (void)unused;
    assert_int_equal(presence_wait(path, true, -1, &err), 0); /* nobody ever was */
    fd = presence_begin(path, &err);
    assert_true(fd >= 0);
    assert_true(presence_begin(path, &err) < 0); /* one at a time */
    pid = fork();
    if (pid == 0) { /* ends when it is asked to: somebody who only looks makes nothing readable */
        struct pollfd asked = {.fd = fd, .events = POLLIN};

        while ((asked.revents & POLLIN) == 0)
            poll(&asked, 1, -1);
        _exit(0);
    }
    close(fd);
    assert_int_equal(presence_wait(path, false, 20, &err), -ETIMEDOUT);
    assert_int_equal(presence_wait(path, true, 60000, &err), 1);
    assert_int_equal(presence_wait(path, true, -1, &err), 0);
    waitpid(pid, NULL, 0);
    remove_place(&place);
}

/* Is present until `end` is written to, and may leave a word then. */
static pid_t be_present(const struct place *place, bool leaves_word, int ret_end[2])
{
    struct err err = {0};
    int fd = presence_begin(place->path, &err);
    pid_t pid;
    char byte;

    assert_true(fd >= 0);
    assert_int_equal(pipe(ret_end), 0);
    pid = fork();
    if (pid == 0) {
        (void)!read(ret_end[0], &byte, 1);
        if (leaves_word)
            presence_leave_word(place->word, "done");
        if (leaves_word) /* and stays */
            (void)!read(ret_end[0], &byte, 1);
        _exit(0);
    }
    close(fd);
    return pid;
}

static pid_t await_word(const struct place *place)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(presence_await_word(place->path, place->word) ? 1 : 0);
    return pid;
}

static int ended(pid_t pid)
{
    int status = 0;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void a_word_is_waited_for_while_somebody_is_present(void **unused)
{
    struct place place = make_place();
    int end[2];
    pid_t present = be_present(&place, true, end), waiting = await_word(&place);

    (void)unused;
    assert_int_equal(waitpid(waiting, NULL, WNOHANG), 0);
    assert_int_equal(write(end[1], "w", 1), 1);
    assert_int_equal(ended(waiting), 1);
    assert_true(presence_is_there(place.path));
    assert_true(presence_await_word(place.path, place.word)); /* it is there already */
    assert_int_equal(write(end[1], "e", 1), 1);
    ended(present);
    close(end[0]);
    close(end[1]);
    remove_place(&place);
}

/* Others are made beside it right before, whose news is read. */
static void a_word_is_not_lost_among_others(void **unused)
{
    struct place place = make_place();
    char other[80];
    int end[2];
    pid_t present = be_present(&place, false, end);

    (void)unused;
    snprintf(other, sizeof(other), "%s/other", place.directory);
    for (int i = 0; i < 500; i++) {
        pid_t waiting = await_word(&place);

        for (int n = 0; n < 64; n++) {
            presence_leave_word(other, "");
            unlink(other);
        }
        for (int n = 0; n < i % 64; n++) /* while the news of the last one is on its way */
            (void)access(other, F_OK);
        presence_leave_word(place.word, "done");
        assert_int_equal(ended(waiting), 1);
        unlink(place.word);
    }
    assert_int_equal(write(end[1], "e", 1), 1);
    ended(present);
    close(end[0]);
    close(end[1]);
    remove_place(&place);
}

static void who_ends_without_a_word_is_not_waited_for(void **unused)
{
    struct place place = make_place();
    int end[2];
    pid_t present, waiting;

    (void)unused;
    assert_false(presence_await_word(place.path, place.word)); /* nobody ever was */
    present = be_present(&place, false, end);
    waiting = await_word(&place);
    assert_int_equal(write(end[1], "e", 1), 1);
    ended(present);
    assert_int_equal(ended(waiting), 0);
    close(end[0]);
    close(end[1]);
    remove_place(&place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(presence_is_found_asked_and_waited_for),
        cmocka_unit_test(a_word_is_waited_for_while_somebody_is_present),
        cmocka_unit_test(a_word_is_not_lost_among_others),
        cmocka_unit_test(who_ends_without_a_word_is_not_waited_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
