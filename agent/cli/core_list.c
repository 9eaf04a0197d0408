#include "agent/cli/core_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_number(const void *a, const void *b)
{
    return (int)*(const uint16_t *)a - (int)*(const uint16_t *)b;
}

void core_list_format(uint16_t *cores, size_t n, char *ret, size_t size)
{
    size_t used = 0;

    ret[0] = '\0';
    if (n > 0)
        qsort(cores, n, sizeof(*cores), by_number);
    for (size_t first = 0, last; first < n; first = last + 1) {
        char range[24];

        for (last = first; last + 1 < n && cores[last + 1] == cores[last] + 1;)
            last++;
        if (first == last)
            snprintf(range, sizeof(range), "%s%u", used > 0 ? "," : "", cores[first]);
        else
            snprintf(range, sizeof(range), "%s%u-%u", used > 0 ? "," : "", cores[first],
                     cores[last]);
        if (used + strlen(range) + sizeof(",…") > size) {
            snprintf(ret + used, size - used, "%s", used + sizeof(",…") <= size ? ",…" : "");
            return;
        }
        used += (size_t)snprintf(ret + used, size - used, "%s", range);
    }
}
