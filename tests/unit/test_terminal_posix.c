/* What a terminal's programs said is copied, and is still there to be read. */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <termios.h>
#include <unistd.h>

#include "migrate/terminal_posix.h"

struct ends {
    int reading, saying, copy;
};

static struct ends open_ends(void)
{
    struct ends e = {.reading = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC),
                     .copy = memfd_create("copy", MFD_CLOEXEC)};

    assert_true(e.reading >= 0 && e.copy >= 0);
    assert_int_equal(grantpt(e.reading), 0);
    assert_int_equal(unlockpt(e.reading), 0);
    e.saying = open(ptsname(e.reading), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    assert_true(e.saying >= 0);
    return e;
}

static void close_ends(struct ends *e)
{
    close(e->reading);
    close(e->saying);
    close(e->copy);
}

/* The kernel carries it over in the background. */
static void await_said(const struct ends *e, const char *words)
{
    int n = 0;

    for (int i = 0; i < 5000 && n < (int)strlen(words); i++) {
        poll(NULL, 0, 1);
        assert_int_equal(ioctl(e->reading, FIONREAD, &n), 0);
    }
    assert_int_equal(n, strlen(words));
}

static void say(const struct ends *e, const char *words)
{
    assert_int_equal(write(e->saying, words, strlen(words)), strlen(words));
}

static void assert_copy(const struct ends *e, const char *words)
{
    char text[256] = "";

    assert_int_equal(pread(e->copy, text, sizeof(text) - 1, 0), strlen(words));
    assert_string_equal(text, words);
}

static void assert_read(const struct ends *e, const char *words)
{
    char text[256] = "";
    ssize_t n;

    await_said(e, words);
    n = read(e->reading, text, sizeof(text) - 1);

    assert_int_equal(n, strlen(words));
    assert_string_equal(text, words);
}

static void what_was_said_is_copied_and_stays(void **state)
{
    struct ends e = open_ends();

    (void)state;
    say(&e, "one\ntwo\n");
    await_said(&e, "one\r\ntwo\r\n");
    terminal_peek(e.reading, e.saying, e.copy);
    assert_copy(&e, "one\r\ntwo\r\n");
    await_said(&e, "one\r\ntwo\r\n");
    terminal_peek(e.reading, e.saying, e.copy);
    assert_copy(&e, "one\r\ntwo\r\none\r\ntwo\r\n");
    assert_read(&e, "one\r\ntwo\r\n");
    close_ends(&e);
}

static void the_terminal_is_as_before(void **state)
{
    struct ends e = open_ends();
    struct termios before, after;

    (void)state;
    assert_int_equal(tcgetattr(e.saying, &before), 0);
    say(&e, "one\n");
    await_said(&e, "one\r\n");
    terminal_peek(e.reading, e.saying, e.copy);
    assert_int_equal(tcgetattr(e.saying, &after), 0);
    assert_memory_equal(&before, &after, sizeof(before));
    say(&e, "two\n");
    assert_read(&e, "one\r\ntwo\r\n");
    close_ends(&e);
}

static void of_nothing_nothing_is_copied(void **state)
{
    struct ends e = open_ends();

    (void)state;
    terminal_peek(e.reading, e.saying, e.copy);
    assert_copy(&e, "");
    terminal_peek(e.reading, e.copy, e.copy); /* no terminal */
    assert_copy(&e, "");
    close_ends(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_said_is_copied_and_stays),
        cmocka_unit_test(the_terminal_is_as_before),
        cmocka_unit_test(of_nothing_nothing_is_copied),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
