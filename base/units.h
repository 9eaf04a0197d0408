/* units: the quantities that people write, and their base units (pure). */
#ifndef SKEIN_BASE_UNITS_H
#define SKEIN_BASE_UNITS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* "64m", "64M", "64mib", "2g" -> MiB. A bare number is refused: it says no unit. */
int parse_memory_mib(const char *text, uint32_t *ret, struct err *err);
/* "800kbit", "20mbit", "1gbit" -> kbit/s (decimal, as tc writes them). */
int parse_rate_kbps(const char *text, uint32_t *ret, struct err *err);
/* "300ms", "5s", "2m", "1h" -> ms. */
int parse_duration_ms(const char *text, uint64_t *ret, struct err *err);
/* A decimal number within [min, max], nothing behind it. */
int parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret, struct err *err);
/* A name: 1 to NAME_MAX_LENGTH of a-z 0-9 '-', beginning with a letter, not ending with '-'. */
bool name_is_valid(const char *text);

#endif
