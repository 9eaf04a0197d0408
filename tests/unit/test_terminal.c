/* The word that travels of a guest's terminal: written and read, and what is no such word. */
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

#include "migrate/terminal.h"

static void test_what_is_written_is_read(void **unused)
{
    static const struct {
        uint64_t rdev, dev;
        const char *words;
    } rows[] = {
        {0x8805, 0x1b, "tty[8805:1b]"},
        {0, 0, "tty[0:0]"},
        {UINT64_MAX, UINT64_MAX, "tty[ffffffffffffffff:ffffffffffffffff]"},
    };

    (void)unused;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char written[TERMINAL_WORDS_SIZE], read[TERMINAL_WORDS_SIZE];

        terminal_write(rows[i].rdev, rows[i].dev, written);
        assert_string_equal(written, rows[i].words);
        assert_int_equal(terminal_read(written, strlen(written), read), 0);
        assert_string_equal(read, written);
    }
}

/* It becomes a part of a command line: nothing else may pass. */
static void test_anything_else_is_refused(void **unused)
{
    static const char *const rows[] = {
        "",
        "tty[",
        "tty[8805:1b",
        "tty[8805:1b]\n",
        "tty[8805]",
        "tty[:1b]",
        "tty[8805:]",
        "tty[8805:1b:2]",
        "tty[8805:1b],fd[3]:net",
        "tty[88G5:1b]",
        "TTY[1:1]",
        "tty[-1:1]",
        "tty[0x1:1]",
        "tty[1:1] ",
        " tty[1:1]",
        "pts[1:1]",
        "tty[1 :1]",
        "tty[00000000000000001:1]",
        "tty[1:1111111111111111111111111111111111111111]",
    };
    char read[TERMINAL_WORDS_SIZE] = "as before";

    (void)unused;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(terminal_read(rows[i], strlen(rows[i]), read), -EBADMSG);
    assert_int_equal(terminal_read("tty[1:1]\0", 9, read), -EBADMSG);
    assert_string_equal(read, "as before");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_read),
        cmocka_unit_test(test_anything_else_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
