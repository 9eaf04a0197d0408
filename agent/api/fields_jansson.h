/* fields_jansson: single values out of the API's JSON, checked. "" and 0 stand where nothing is
 * said; what is wrong is -EINVAL, with words that name the key.
 */
#ifndef SKEIN_AGENT_API_FIELDS_JANSSON_H
#define SKEIN_AGENT_API_FIELDS_JANSSON_H

#include <jansson.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"

/* "params.KEY" as a name into ret; -EINVAL when missing or no name. */
int name_of_json(const json_t *params, const char *key, char ret[NAME_SIZE], struct err *err);
/* The same; absent or null: ret is left as it is. */
int optional_name_of_json(const json_t *params, const char *key, char ret[NAME_SIZE],
                          struct err *err);

/* A whole number within bounds; absent or null: `otherwise`. */
int number_of_json(const json_t *params, const char *key, uint64_t otherwise, uint64_t max,
                   uint64_t *ret, struct err *err);
int number32_of_json(const json_t *params, const char *key, uint32_t otherwise, uint32_t max,
                     uint32_t *ret, struct err *err);

/* An array of texts into a heap array of *ret_n heap texts, the caller's also after an error. */
int texts_of_json(const json_t *params, const char *key, uint32_t *ret_n, char ***ret,
                  struct err *err);

/* 2 n hex digits -> n bytes; -EINVAL. */
int hex_decode(const char *text, uint8_t *ret, size_t n);
/* ret holds 2 n + 1. */
const char *hex_encode(const uint8_t *bytes, size_t n, char *ret);

#endif
