/* command_jansson: what a user wants, from the API's JSON to a command (docs/api.md). */
#ifndef SKEIN_AGENT_API_COMMAND_JANSSON_H
#define SKEIN_AGENT_API_COMMAND_JANSSON_H

#include <jansson.h>

#include "consensus/command.h"

/* Fills a command as far as the user says it. -ENOENT: the method makes no command; -EINVAL with
 * words for the user. The caller ends `ret` with command_deinit. */
int command_of_json(const char *method, const json_t *params, struct command *ret, struct err *err);

/* A guest as plan and run describe it. Owned by the caller. */
int guest_spec_of_json(const json_t *params, struct guest_spec *ret, struct err *err);

/* "mode", "downtime_ms", "bandwidth" and "connections" of a move; what is absent is
 * MOVE_TERMS_DEFAULT's. -EINVAL with words. */
int move_terms_of_json(const json_t *params, struct move_terms *ret, struct err *err);

/* An object of timers by their keys; an absent one, or no object at all, is 0. */
int timers_of_json(const json_t *json, struct timers *ret, struct err *err);

/* "params.defaults" of an image, where it has any; -EINVAL with words. In either case the caller
 * ends the image that `ret` belongs to with image_deinit. */
int image_defaults_of_json(const json_t *params, struct image_defaults *ret, struct err *err);

#endif
