/* goods: what a node needs beside guests: images fetched and unpacked, its switch, its own
 * facts in the state; see core/internal.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/internal.h"
#include "consensus/copies.h"

enum {
    FETCH_RETRY_MS = 1000,
    UNPACK_RETRY_MS = 10000,
    FABRIC_RETRY_MS = 500,
    FACTS_RETRY_MS = 1000
};

/* ---- images */

static struct local_image *image_of(const struct core *core, const uint8_t digest[DIGEST_SIZE])
{
    for (size_t i = 0; i < core->node.n_images; i++) {
        if (memcmp(core->node.images[i].digest, digest, DIGEST_SIZE) == 0)
            return &core->node.images[i];
    }
    return NULL;
}

static struct local_image *image_made(struct core *core, const uint8_t digest[DIGEST_SIZE])
{
    struct local_image *image = image_of(core, digest);

    if (image == NULL) {
        image = core_append(&core->node.images, &core->node.n_images, sizeof(*image));
        memcpy(image->digest, digest, DIGEST_SIZE);
    }
    return image;
}

bool core_image_is_ready(const struct core *core, const char *name)
{
    const struct image *image = state_image(&core->state, name);
    const struct local_image *local = image != NULL ? image_of(core, image->digest) : NULL;

    return local != NULL && local->is_held && local->unpack == UNPACK_DONE;
}

void core_goods_held(struct core *core, const uint8_t digest[DIGEST_SIZE])
{
    struct local_image *image = image_made(core, digest);

    image->is_held = true;
    image->is_fetching = false;
    image->retry_us = 0;
    core->node.dirty = true;
}

void core_goods_failed(struct core *core, const uint8_t digest[DIGEST_SIZE])
{
    struct local_image *image = image_made(core, digest);

    image->is_fetching = false;
    image->retry_us = core->now + (uint64_t)FETCH_RETRY_MS * 1000;
    core->node.dirty = true;
}

void core_goods_unpacked(struct core *core, uint32_t serial, const struct guard_reply *reply)
{
    for (size_t i = 0; i < core->node.n_images; i++) {
        struct local_image *image = &core->node.images[i];

        if (image->unpack != UNPACK_ASKED || image->serial != serial)
            continue;
        core->node.dirty = true;
        if (reply->code == 0) {
            image->unpack = UNPACK_DONE;
            core_node_changed(core);
        } else if (core_guard_is_away(reply->code)) {
            image->unpack = UNPACK_WANTED;
            image->retry_us = core->now + (uint64_t)CORE_RETRY_MS * 1000;
        } else {
            image->unpack = UNPACK_FAILED;
            image->retry_us = core->now + (uint64_t)UNPACK_RETRY_MS * 1000;
            snprintf(image->text, sizeof(image->text), "%.*s", REASON_SIZE - 1, reply->text);
            core_record(core, "unpack-failed", NULL, core->config.id, 0, "%s", reply->text);
            core_node_changed(core);
        }
        return;
    }
}

static void drop(struct core *core, const uint8_t digest[DIGEST_SIZE])
{
    struct local_image *image = image_of(core, digest);

    memcpy(core_act(core, CORE_DROP_IMAGE)->digest, digest, DIGEST_SIZE);
    if (core->node.is_connected)
        memcpy(core_ask(core, GUARD_DROP_IMAGE, NULL, 0, 0)->digest, digest, DIGEST_SIZE);
    if (image != NULL)
        core_take_out(core->node.images, &core->node.n_images, sizeof(*image),
                      (size_t)(image - core->node.images));
    core_node_changed(core);
}

/* Removed from the state: the store and the guard drop it, unless another name has the same. */
void core_goods_dropped(struct core *core, const uint8_t digest[DIGEST_SIZE])
{
    for (size_t i = 0; i < core->state.n_images; i++) {
        if (memcmp(core->state.images[i].digest, digest, DIGEST_SIZE) == 0)
            return;
    }
    if (!core_node_is_current(core)) /* an old entry: the image may have come back since */
        return;
    drop(core, digest);
}

/* Some guest of it is still here, in whatever state. */
static bool is_in_use(const struct core *core, const char *image)
{
    for (size_t i = 0; i < core->node.n_guests; i++) {
        const struct guest *guest = state_guest(&core->state, core->node.guests[i].name);

        if (core->node.guests[i].has_report &&
            (guest == NULL || strcmp(guest->spec.image, image) == 0))
            return true;
    }
    return false;
}

/* Known by some name, and by none that this node holds or is to hold. One that no name has yet is
 * just being added. */
static bool is_released(const struct core *core, const struct local_image *local)
{
    const struct node *self = state_node(&core->state, core->config.id);
    bool is_known = false;

    for (size_t i = 0; local->is_held && local->unpack != UNPACK_ASKED && i < core->state.n_images;
         i++) {
        const struct image *image = &core->state.images[i];

        if (memcmp(image->digest, local->digest, DIGEST_SIZE) != 0)
            continue;
        if (!image_has_its_copies(&core->state, image) || image_is_held(image, core->config.id) ||
            image_is_wanted(&core->state, image, self) || is_in_use(core, image->name))
            return false;
        is_known = true;
    }
    return is_known;
}

static void unpack_run(struct core *core, struct local_image *image)
{
    struct guard_request *request;

    if (!image->is_held || image->unpack == UNPACK_DONE || image->unpack == UNPACK_ASKED)
        return;
    if (core->now < image->retry_us) {
        core_wake_at(&core->node.wake_us, image->retry_us);
        return;
    }
    request = core_ask(core, GUARD_UNPACK, NULL, 0, 0);
    memcpy(request->digest, image->digest, DIGEST_SIZE);
    image->serial = request->serial;
    image->unpack = UNPACK_ASKED;
}

static void fetch_run(struct core *core, const struct image *wanted)
{
    struct local_image *image;
    struct core_action *action;

    if (!image_is_wanted(&core->state, wanted, state_node(&core->state, core->config.id)))
        return;
    image = image_made(core, wanted->digest);
    if (image->is_held || image->is_fetching)
        return;
    if (core->now < image->retry_us) {
        core_wake_at(&core->node.wake_us, image->retry_us);
        return;
    }
    image->is_fetching = true;
    action = core_act(core, CORE_FETCH_IMAGE);
    memcpy(action->digest, wanted->digest, DIGEST_SIZE);
    action->size_bytes = wanted->size;
}

static void images_run(struct core *core)
{
    for (size_t i = 0; core->node.is_connected && i < core->node.n_images; i++)
        unpack_run(core, &core->node.images[i]);
    if (!core_node_is_current(core) || state_node(&core->state, core->config.id) == NULL)
        return;
    for (size_t i = core->node.n_images; i-- > 0;) {
        if (is_released(core, &core->node.images[i]))
            drop(core, core->node.images[i].digest);
    }
    for (size_t i = 0; i < core->state.n_images; i++)
        fetch_run(core, &core->state.images[i]);
}

/* ---- the switch */

/* The view as bytes, without its index: to see whether anything else changed. */
static uint8_t *view_bytes(struct fabric_view *view, size_t *ret_size)
{
    uint64_t index = view->index;
    struct writer w;

    view->index = 0;
    writer_init_growing(&w, MESSAGE_MAX_SIZE);
    fabric_view_encode(view, &w);
    view->index = index;
    return writer_steal(&w, ret_size);
}

static void fabric_ask(struct core *core, struct fabric_view *view, uint8_t *bytes, size_t size)
{
    struct node_part *node = &core->node;
    struct guard_request *request = core_ask(core, GUARD_FABRIC, NULL, 0, 0);

    node->fabric_serial = request->serial;
    node->fabric_asked_index = view->index;
    free(node->fabric_bytes);
    node->fabric_bytes = bytes;
    node->fabric_size = size;
    request->view = *view;
}

static void fabric_run(struct core *core)
{
    struct node_part *node = &core->node;
    struct fabric_view view = {0};
    uint8_t *bytes;
    size_t size = 0;

    if (!node->is_connected || !core_node_is_current(core) || node->fabric_serial != 0 ||
        !node->fabric_dirty || state_node(&core->state, core->config.id) == NULL)
        return;
    if (core->now < node->fabric_retry_us) {
        core_wake_at(&node->wake_us, node->fabric_retry_us);
        return;
    }
    node->fabric_dirty = false;
    if (fabric_view_of(&core->state, core->config.id, &view) < 0)
        return;
    bytes = view_bytes(&view, &size);
    if (bytes != NULL && (node->fabric_bytes == NULL || node->fabric_size != size ||
                          memcmp(node->fabric_bytes, bytes, size) != 0)) {
        fabric_ask(core, &view, bytes, size);
        return;
    }
    node->fabric_index = view.index;
    node->beat_soon = true;
    free(bytes);
    fabric_view_deinit(&view);
}

void core_goods_wired(struct core *core, const struct guard_reply *reply)
{
    struct node_part *node = &core->node;

    node->fabric_serial = 0;
    node->dirty = true;
    if (reply->code == 0) {
        node->fabric_index = node->fabric_asked_index;
        node->beat_soon = true;
        return;
    }
    free(node->fabric_bytes);
    node->fabric_bytes = NULL;
    node->fabric_size = 0;
    node->fabric_dirty = true;
    node->fabric_retry_us = core->now + (uint64_t)FABRIC_RETRY_MS * 1000;
    if (!core_guard_is_away(reply->code))
        core_record(core, "switch-failed", NULL, core->config.id, 0, "%s", reply->text);
}

/* ---- own facts */

static bool same_facts(const struct node_facts *a, const struct node_facts *b)
{
    struct writer x, y;
    bool same;

    writer_init_growing(&x, COMMAND_MAX_SIZE);
    writer_init_growing(&y, COMMAND_MAX_SIZE);
    node_facts_encode(a, &x);
    node_facts_encode(b, &y);
    same = x.size == y.size && !x.failed && !y.failed && memcmp(x.data, y.data, x.size) == 0;
    writer_deinit(&x);
    writer_deinit(&y);
    return same;
}

static void facts_run(struct core *core)
{
    const struct node *self = state_node(&core->state, core->config.id);
    struct message message = {.type = MESSAGE_FACTS};
    uint64_t leader = core->raft_leads ? core->config.id : core->raft_leader;

    if (self == NULL || leader == 0 || !core_node_is_current(core) ||
        same_facts(&self->facts, &core->config.facts))
        return;
    if (core->now < core->node.facts_retry_us) {
        core_wake_at(&core->node.wake_us, core->node.facts_retry_us);
        return;
    }
    core->node.facts_retry_us = core->now + (uint64_t)FACTS_RETRY_MS * 1000;
    core_wake_at(&core->node.wake_us, core->node.facts_retry_us);
    if (leader == core->config.id) {
        core_lead_facts(core, leader, &core->config.facts);
        return;
    }
    message.facts = core->config.facts; /* borrowed for the encoding */
    core_send(core, leader, &message);
}

void core_goods_run(struct core *core)
{
    images_run(core);
    fabric_run(core);
    facts_run(core);
}
