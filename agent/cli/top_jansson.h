/* top_jansson: one moment of the cluster (the API's `top`) as a screen of text. */
#ifndef SKEIN_AGENT_CLI_TOP_JANSSON_H
#define SKEIN_AGENT_CLI_TOP_JANSSON_H

#include <jansson.h>
#include <stdbool.h>

struct top_look {
    unsigned width;  /* columns; 0 = as wide as it gets */
    unsigned height; /* lines; 0 = all */
    bool colours;
    const char *trouble; /* why this is not the newest; NULL = it is */
};

/* Lines that end with "\n", none wider than the width: what fits least is left out first, the bars
 * take the room that is left. `top` may be NULL: nothing is known yet. Heap; NULL without memory.
 */
char *top_render(const json_t *top, const struct top_look *look);

#endif
