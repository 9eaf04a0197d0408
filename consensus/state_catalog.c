/* state_catalog: commands about slices and images; see state_apply.h. */
#include <errno.h>
#include <string.h>

#include "base/units.h"
#include "consensus/copies.h"
#include "consensus/state_apply.h"

enum { MAX_VNI = (1 << 24) - 1, MIN_PREFIX = 8, MAX_PREFIX = 30 };

static bool subnet_is_valid(struct subnet subnet)
{
    return subnet.prefix >= MIN_PREFIX && subnet.prefix <= MAX_PREFIX &&
           (subnet.network & (UINT32_MAX >> subnet.prefix)) == 0;
}

static bool refuse_subnet(struct entry *e, struct subnet subnet)
{
    char wanted[SUBNET_TEXT_SIZE], taken[SUBNET_TEXT_SIZE];

    if (!subnet_is_valid(subnet)) {
        refuse(e, -EINVAL, "%s is no subnet for a slice: prefix %d to %d, no host bits",
               subnet_format(subnet, wanted), MIN_PREFIX, MAX_PREFIX);
        return true;
    }
    for (size_t i = 0; i < e->state->n_slices; i++) {
        const struct slice *other = &e->state->slices[i];

        if (!subnet_overlaps(subnet, other->subnet))
            continue;
        refuse(e, -EEXIST, "subnet %s overlaps %s of slice %s", subnet_format(subnet, wanted),
               subnet_format(other->subnet, taken), other->name);
        return true;
    }
    return false;
}

void apply_slice_create(struct entry *e)
{
    struct state *s = e->state;
    const struct slice *wanted = &e->command->slice_create.slice;
    struct slice *slice;

    if (!name_is_valid(wanted->name))
        refuse(e, -EINVAL, "'%s' is no name for a slice: a-z, 0-9 and '-', at most %d",
               wanted->name, NAME_MAX_LENGTH);
    else if (state_slice(s, wanted->name) != NULL)
        refuse(e, -EEXIST, "slice %s exists already", wanted->name);
    else if (s->n_slices >= MAX_SLICES || s->next_vni > MAX_VNI)
        refuse(e, -ENOSPC, "the cluster has no room for another slice (%d at most)", MAX_SLICES);
    else if (!refuse_subnet(e, wanted->subnet)) {
        slice = array_insert(&s->slices, &s->n_slices, sizeof(*slice),
                             state_slice_position(s, wanted->name));
        *slice = *wanted;
        slice->vni = s->next_vni++;
        e->outcome->id = slice->vni;
    }
}

/* The first guest that uses the slice (or the image), NULL when none does. */
static const struct guest *user_of(const struct state *s, const char *slice, const char *image)
{
    for (size_t i = 0; i < s->n_guests; i++) {
        const struct guest_spec *spec = &s->guests[i].spec;

        if ((slice != NULL && strcmp(spec->slice, slice) == 0) ||
            (image != NULL && strcmp(spec->image, image) == 0))
            return &s->guests[i];
    }
    return NULL;
}

void apply_slice_remove(struct entry *e)
{
    struct state *s = e->state;
    const char *name = e->command->by_name.name;
    const struct slice *slice = state_slice(s, name);
    const struct guest *user = user_of(s, name, NULL);

    if (slice == NULL)
        refuse(e, -ENOENT, "slice %s is unknown", name);
    else if (user != NULL)
        refuse(e, -EBUSY, "slice %s is used by guest %s", name, user->spec.name);
    else {
        e->outcome->id = slice->vni;
        array_remove(s->slices, &s->n_slices, sizeof(*slice), (size_t)(slice - s->slices));
    }
}

static bool refuse_holders(struct entry *e, const struct image *image)
{
    for (uint32_t i = 0; i < image->n_holders; i++) {
        if (state_node(e->state, image->holders[i]) == NULL) {
            refuse(e, -ENOENT, "image %s: node %llu is unknown", image->name,
                   (unsigned long long)image->holders[i]);
            return true;
        }
        if (i > 0 && image->holders[i] <= image->holders[i - 1]) {
            refuse(e, -EINVAL, "image %s: its holders are not in ascending order", image->name);
            return true;
        }
    }
    return false;
}

static size_t size_of(char *const *texts, uint32_t n)
{
    size_t size = 0;

    for (uint32_t i = 0; i < n; i++)
        size += strlen(texts[i]) + 2;
    return size;
}

static bool refuse_defaults(struct entry *e, const struct image *image)
{
    const struct image_defaults *d = &image->defaults;

    if (size_of(d->env, d->n_env) + size_of(d->entrypoint, d->n_entrypoint) +
            size_of(d->command, d->n_command) <=
        IMAGE_TEXT_MAX_SIZE)
        return false;
    refuse(e, -ENOSPC, "image %s: its variables and commands exceed %d KiB", image->name,
           IMAGE_TEXT_MAX_SIZE >> 10);
    return true;
}

void apply_image_add(struct entry *e)
{
    struct state *s = e->state;
    const struct image *wanted = &e->command->image_add.image;
    struct image *image;

    if (!name_is_valid(wanted->name))
        refuse(e, -EINVAL, "'%s' is no name for an image: a-z, 0-9 and '-', at most %d",
               wanted->name, NAME_MAX_LENGTH);
    else if (state_image(s, wanted->name) != NULL)
        refuse(e, -EEXIST, "image %s exists already", wanted->name);
    else if (s->n_images >= MAX_IMAGES)
        refuse(e, -ENOSPC, "the cluster has %d images, the most it can have", MAX_IMAGES);
    else if (wanted->copies > MAX_NODES)
        refuse(e, -EINVAL, "image %s: at most %d copies", wanted->name, MAX_NODES);
    else if (!refuse_holders(e, wanted) && !refuse_defaults(e, wanted)) {
        image = array_insert(&s->images, &s->n_images, sizeof(*image),
                             state_image_position(s, wanted->name));
        memory_must(image_copy(image, wanted));
        image->added = e->index;
    }
}

static void add_holder(struct image *image, uint64_t node)
{
    size_t n = image->n_holders, at = 0;
    uint64_t *added;

    while (at < n && image->holders[at] < node)
        at++;
    added = array_insert(&image->holders, &n, sizeof(*added), at);
    *added = node;
    image->n_holders = (uint32_t)n;
}

void apply_image_held(struct entry *e)
{
    struct state *s = e->state;
    const char *name = e->command->image_held.name;
    uint64_t node = e->command->image_held.node;
    const struct image *image = state_image(s, name);

    if (image == NULL)
        refuse(e, -ENOENT, "image %s is unknown", name);
    else if (memcmp(image->digest, e->command->image_held.digest, DIGEST_SIZE) != 0)
        refuse(e, -ESTALE, "image %s has another digest", name);
    else if (state_node(s, node) == NULL)
        refuse(e, -ENOENT, "image %s: node %llu is unknown", name, (unsigned long long)node);
    else if (!image_is_held(image, node))
        add_holder(&s->images[image - s->images], node);
}

void apply_image_remove(struct entry *e)
{
    struct state *s = e->state;
    const char *name = e->command->by_name.name;
    const struct image *image = state_image(s, name);
    const struct guest *user = user_of(s, NULL, name);
    size_t at;

    if (image == NULL)
        refuse(e, -ENOENT, "image %s is unknown", name);
    else if (user != NULL)
        refuse(e, -EBUSY, "image %s is used by guest %s", name, user->spec.name);
    else {
        at = (size_t)(image - s->images);
        image_deinit(&s->images[at]);
        array_remove(s->images, &s->n_images, sizeof(*image), at);
    }
}

/* Those with the highest ids first: the lowest ones are those that stay. */
static uint32_t release(struct state *s, struct image *image, uint64_t only_node)
{
    uint32_t n = 0;

    for (uint32_t i = image->n_holders; i-- > 0;) {
        uint64_t node = image->holders[i];

        if ((only_node != 0 && node != only_node) || !image_is_surplus(s, image, node))
            continue;
        image_forget_holder(image, node);
        n++;
    }
    return n;
}

void apply_image_release(struct entry *e)
{
    struct state *s = e->state;
    const char *name = e->command->image_release.name;
    uint64_t node = e->command->image_release.node;
    uint32_t n = 0;

    if (name[0] != '\0' && state_image(s, name) == NULL) {
        refuse(e, -ENOENT, "image %s is unknown", name);
        return;
    }
    for (size_t i = 0; i < s->n_images; i++) {
        if (name[0] == '\0' || strcmp(s->images[i].name, name) == 0)
            n += release(s, &s->images[i], node);
    }
    if (n == 0 && name[0] != '\0')
        refuse(e, -ESTALE, "image %s: no copy of it is more than it needs", name);
    e->outcome->id = n;
}
