/* copies: which nodes are to hold an image, by the replicated state alone (pure).
 *
 * An image with copies 0 is everywhere. Else those hold it that run (or are about to run) a guest of
 * it, and `copies` nodes beside: first those that hold it already, then those with the most memory
 * free. A copy beyond that is surplus: it may stay, as long as there is room, and the last one
 * never is.
 */
#ifndef SKEIN_CONSENSUS_COPIES_H
#define SKEIN_CONSENSUS_COPIES_H

#include "consensus/state.h"

/* A guest of the image has its place there, or is on its way from or to there. */
bool image_is_used_on(const struct state *state, const struct image *image, uint64_t node);
/* The node is to hold it, or to get it. */
bool image_is_wanted(const struct state *state, const struct image *image, const struct node *node);
/* As many nodes that can be relied on hold it as should. */
bool image_has_its_copies(const struct state *state, const struct image *image);
/* The node holds it, and need not. */
bool image_is_surplus(const struct state *state, const struct image *image, uint64_t node);
/* May a guest of the image be placed on the node: it is there, or would be fetched. */
bool image_may_serve(const struct image *image, uint64_t node);
/* Of all images that the node holds. */
uint64_t images_held_bytes(const struct state *state, uint64_t node);

#endif
