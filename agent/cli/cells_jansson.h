/* cells_jansson: single values of the API as they are written for people. */
#ifndef SKEIN_AGENT_CLI_CELLS_JANSSON_H
#define SKEIN_AGENT_CLI_CELLS_JANSSON_H

#include <jansson.h>
#include <stddef.h>

enum { CELL_SIZE = 256 };

/* As it is; lists and objects in one line. */
void cell_plain(const json_t *value, char *ret, size_t size);
void cell_mib(const json_t *value, char *ret, size_t size);
void cell_kbps(const json_t *value, char *ret, size_t size);
void cell_size(const json_t *value, char *ret, size_t size);
void cell_digest(const json_t *value, char *ret, size_t size);
void cell_star(const json_t *value, char *ret, size_t size);
void cell_ms(const json_t *value, char *ret, size_t size);
void cell_permille(const json_t *value, char *ret, size_t size);
/* Of [id], or of a node's cores: all, those that are isolated, those in use. */
void cell_cores(const json_t *value, char *ret, size_t size);
/* Which others hear a silent node. */
void cell_others(const json_t *value, char *ret, size_t size);

#endif
