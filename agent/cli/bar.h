/* bar: how full something is, as a bar of letters (pure). */
#ifndef SKEIN_AGENT_CLI_BAR_H
#define SKEIN_AGENT_CLI_BAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BAR_MAX_WIDTH = 40, BAR_MAX_PARTS = 5, BAR_SIZE = BAR_MAX_WIDTH + 3 + BAR_MAX_PARTS * 9 };

/* A part of what fills the bar, drawn as its letter. */
struct bar_part {
    char letter;
    uint64_t amount;
    const char *colour; /* escape sequence of 5 bytes; NULL = none */
};

/* "[cdddd.....]": `width` cells (at most BAR_MAX_WIDTH) stand for `whole`, parts (at most
 * BAR_MAX_PARTS) one after the other; the whole is rounded, so that a part may be too small to be
 * seen. What is more than whole is cut. Returns `ret`. */
const char *bar_render(const struct bar_part *parts, size_t n_parts, uint64_t whole, unsigned width,
                       bool colours, char ret[BAR_SIZE]);

#endif
