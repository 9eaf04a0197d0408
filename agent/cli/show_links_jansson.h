/* show_links_jansson: a node's uplink (docs/api.md) for people: bars, units, counters. */
#ifndef SKEIN_AGENT_CLI_SHOW_LINKS_JANSSON_H
#define SKEIN_AGENT_CLI_SHOW_LINKS_JANSSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* What the letters of a bar stand for, in a line without its end. */
#define LINKS_LEGEND "c control, s slices, d default, b bulk; i in"

/* "[cdd.......] 23 Mbit/s": one direction ("out", "in"), the bar `width` cells wide. Without a
 * capacity only the rate; "" when it was not measured. */
void links_bar(const json_t *uplink, const char *way, unsigned width, bool colours, char *ret,
               size_t size);
/* Several lines: both directions, and each class. */
void links_print(FILE *out, const json_t *uplink, bool colours);
/* "n3 hears it, n4 does not, n5 has not answered" */
void links_others(const json_t *others, char *ret, size_t size);

#endif
