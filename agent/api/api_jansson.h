/* api_jansson: answers the requests of clients (docs/api.md): from the own state, through core, or
 * by passing them on to the node that can. */
#ifndef SKEIN_AGENT_API_API_JANSSON_H
#define SKEIN_AGENT_API_API_JANSSON_H

#include "agent/api/envelope.h"
#include "agent/core/core.h"

struct api;
struct skeind;

struct api *api_new(struct skeind *s); /* NULL: no memory */
void api_free(struct api *api);

/* A message of a client on this node, or of a board that wants to join. */
void api_receive(struct api *api, const struct envelope *message);
/* A request or an answer that another node passes on. */
void api_peer_message(struct api *api, uint64_t from, bool is_answer, const uint8_t *data,
                      size_t size);

/* Core's words. */
void api_respond(struct api *api, uint64_t ticket, const struct answer *answer);
void api_progress(struct api *api, uint64_t ticket, const struct answer *answer);
void api_record(struct api *api, const struct core_record *record);

/* A few times a second: what waits for something that will not come is ended. */
void api_sweep(struct api *api);
/* The process ends: what is open is answered. */
void api_end(struct api *api);

#endif
