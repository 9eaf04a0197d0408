#include "migrate/terminal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { NUMBER_DIGITS = 16 };

void terminal_write(uint64_t rdev, uint64_t dev, char ret[TERMINAL_WORDS_SIZE])
{
    snprintf(ret, TERMINAL_WORDS_SIZE, "tty[%" PRIx64 ":%" PRIx64 "]", rdev, dev);
}

/* Digits as terminal_write() writes them; 0: none, or too many. */
static size_t digits(const char *at)
{
    size_t n = strspn(at, "0123456789abcdef");

    return n <= NUMBER_DIGITS ? n : 0;
}

int terminal_read(const char *content, size_t size, char ret[TERMINAL_WORDS_SIZE])
{
    static const char begin[] = "tty[";
    char words[TERMINAL_WORDS_SIZE];
    size_t at = sizeof(begin) - 1, n;

    if (size >= sizeof(words) || memchr(content, '\0', size) != NULL)
        return -EBADMSG;
    memcpy(words, content, size);
    words[size] = '\0';
    if (strncmp(words, begin, at) != 0 || (n = digits(words + at)) == 0 || words[at + n] != ':')
        return -EBADMSG;
    at += n + 1;
    n = digits(words + at);
    if (n == 0 || strcmp(words + at + n, "]") != 0)
        return -EBADMSG;
    memcpy(ret, words, size + 1);
    return 0;
}
