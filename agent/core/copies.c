/* copies: the leader's part: copies of images that are more than these need; see
 * core/internal.h and consensus/copies.h.
 *
 * A copy that a guest once needed somewhere stays there: the next start is quicker. It goes when
 * the images of its node take more of the disk than they may, the oldest image first, or when
 * somebody asks. The log agrees on it before the node drops anything, and the leader only proposes
 * it while every copy that is to stay has been seen by its own node. */
#include <stdio.h>
#include <string.h>

#include "agent/core/internal.h"
#include "consensus/copies.h"

#define MIB ((uint64_t)1 << 20)

/* Every holder whose copy counts says that it has it. */
static bool is_backed(const struct core *core, const struct image *image)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < image->n_holders; i++) {
        uint64_t node = image->holders[i];
        const struct peer *peer = core_peer(core, node);

        if (!image_is_surplus(&core->state, image, node) && peer != NULL &&
            detector_is_present(&core->lead.detector, node, core->now))
            n += core_peer_has_image(peer, image->digest);
    }
    return n >= image->copies;
}

bool core_copies_may_go(const struct core *core, const char *name, char *ret, size_t size)
{
    for (size_t i = 0; i < core->state.n_images; i++) {
        const struct image *image = &core->state.images[i];

        if (image->copies == 0 || (name[0] != '\0' && strcmp(image->name, name) != 0) ||
            is_backed(core, image))
            continue;
        snprintf(ret, size, "image %s: fewer than %u nodes say now that they have it; try again",
                 image->name, image->copies);
        return false;
    }
    return true;
}

/* The oldest image with a copy on the node that is more than it needs; NULL = none. */
static const struct image *oldest_surplus(const struct core *core, uint64_t node)
{
    const struct image *oldest = NULL;

    for (size_t i = 0; i < core->state.n_images; i++) {
        const struct image *image = &core->state.images[i];

        if (image_is_surplus(&core->state, image, node) && is_backed(core, image) &&
            (oldest == NULL || image->added < oldest->added))
            oldest = image;
    }
    return oldest;
}

static void release_on(struct core *core, const struct node *node)
{
    const struct image *image = oldest_surplus(core, node->id);
    struct command command = {.type = COMMAND_IMAGE_RELEASE};

    if (image == NULL || core_is_proposed(core, PROPOSAL_RELEASE, node->id, NULL))
        return;
    memcpy(command.image_release.name, image->name, NAME_SIZE);
    command.image_release.node = node->id;
    core_propose(core, &command, PROPOSAL_RELEASE, node->id, NULL);
}

void core_copies_run(struct core *core)
{
    for (size_t i = 0; i < core->state.n_nodes; i++) {
        const struct node *node = &core->state.nodes[i];

        if (node->facts.images_mib != 0 &&
            images_held_bytes(&core->state, node->id) > node->facts.images_mib * MIB)
            release_on(core, node);
    }
}
