#include "tests/sim/counts.h"

const char *count_words(enum count count)
{
    static const char *const words[N_COUNTS] = {
#define X(name, text) [COUNT_##name] = text,
        SIM_COUNTS(X)
#undef X
    };

    return words[count];
}
