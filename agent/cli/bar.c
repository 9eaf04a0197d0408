#include "agent/cli/bar.h"

#include <assert.h>
#include <string.h>

/* The cell where what comes to `sum` ends. */
static unsigned end_of(uint64_t sum, uint64_t whole, unsigned width)
{
    if (whole == 0)
        return 0;
    return sum < whole ? (unsigned)((sum * width + whole / 2) / whole) : width;
}

static char *put(char *at, const char *text)
{
    size_t n = strlen(text);

    memcpy(at, text, n);
    return at + n;
}

const char *bar_render(const struct bar_part *parts, size_t n_parts, uint64_t whole, unsigned width,
                       bool colours, char ret[BAR_SIZE])
{
    uint64_t sum = 0;
    unsigned n = 0;
    char *at = ret;

    assert(n_parts <= BAR_MAX_PARTS);
    width = width < BAR_MAX_WIDTH ? width : BAR_MAX_WIDTH;
    *at++ = '[';
    for (size_t i = 0; i < n_parts; i++) {
        bool is_coloured = colours && parts[i].colour != NULL;
        unsigned end = end_of(sum += parts[i].amount, whole, width);

        if (end == n)
            continue;
        at = is_coloured ? put(at, parts[i].colour) : at;
        memset(at, parts[i].letter, end - n);
        at += end - n;
        at = is_coloured ? put(at, "\x1b[0m") : at;
        n = end;
    }
    memset(at, '.', width - n);
    at += width - n;
    *at++ = ']';
    *at = '\0';
    return ret;
}
