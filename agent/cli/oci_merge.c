#include "agent/cli/oci_merge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WHITEOUT ".wh."
#define OPAQUE   ".wh..wh..opq"

enum { FIRST_SIZE = 1024 };

/* One path of the root so far; hidden ones stay, without content, until the end. */
struct node {
    char *path;            /* heap */
    uint32_t layer, entry; /* where its content is */
    uint32_t told;         /* the layer that named this path last */
    bool is_directory, is_there;
};

struct oci_merge {
    struct node *nodes;
    size_t n, capacity;
    size_t *slots;  /* hash table of positions + 1; 0 = free */
    size_t n_slots; /* a power of two, at most half full */
};

struct oci_merge *oci_merge_new(void)
{
    return calloc(1, sizeof(struct oci_merge));
}

void oci_merge_free(struct oci_merge *merge)
{
    if (merge == NULL)
        return;
    for (size_t i = 0; i < merge->n; i++)
        free(merge->nodes[i].path);
    free(merge->nodes);
    free(merge->slots);
    free(merge);
}

/* ---- paths */

/* Without "." and doubled slashes; "" is the root itself. */
static int normalise(const char *path, char ret[OCI_PATH_SIZE], struct err *err)
{
    size_t used = 0;

    for (const char *at = path; *at != '\0';) {
        size_t size = strcspn(at, "/");

        if (size == 2 && memcmp(at, "..", 2) == 0)
            return err_set(err, -EBADMSG, "a layer reaches out of its root: '%.80s'", path);
        if (size > 0 && !(size == 1 && *at == '.')) {
            if (used + size + 2 > OCI_PATH_SIZE)
                return err_set(err, -EBADMSG, "a layer holds a path that is too long");
            if (used > 0)
                ret[used++] = '/';
            memcpy(ret + used, at, size);
            used += size;
        }
        at += size;
        at += *at == '/';
    }
    ret[used] = '\0';
    return 0;
}

static bool is_below(const char *path, const char *directory)
{
    size_t n = strlen(directory);

    return n == 0 ? path[0] != '\0' : strncmp(path, directory, n) == 0 && path[n] == '/';
}

/* ---- the table */

static size_t *slot_of(const struct oci_merge *m, const char *path)
{
    uint64_t hash = 0xcbf29ce484222325; /* FNV-1a */
    size_t at;

    for (const char *c = path; *c != '\0'; c++)
        hash = (hash ^ (uint8_t)*c) * 0x100000001b3;
    at = (size_t)hash & (m->n_slots - 1);
    while (m->slots[at] != 0 && strcmp(m->nodes[m->slots[at] - 1].path, path) != 0)
        at = (at + 1) & (m->n_slots - 1);
    return &m->slots[at];
}

static struct node *find(const struct oci_merge *m, const char *path)
{
    size_t at = m->n_slots > 0 ? *slot_of(m, path) : 0;

    return at != 0 ? &m->nodes[at - 1] : NULL;
}

static bool grow(struct oci_merge *m)
{
    size_t capacity = m->capacity > 0 ? 2 * m->capacity : FIRST_SIZE;
    struct node *nodes = realloc(m->nodes, capacity * sizeof(*nodes));
    size_t *slots;

    if (nodes == NULL)
        return false;
    m->nodes = nodes;
    slots = calloc(2 * capacity, sizeof(*slots));
    if (slots == NULL)
        return false;
    free(m->slots);
    m->slots = slots;
    m->n_slots = 2 * capacity;
    m->capacity = capacity;
    for (size_t i = 0; i < m->n; i++)
        *slot_of(m, m->nodes[i].path) = i + 1;
    return true;
}

static struct node *make(struct oci_merge *m, const char *path)
{
    struct node *node = find(m, path);
    char *copy;

    if (node != NULL)
        return node;
    if (m->n == m->capacity && !grow(m))
        return NULL;
    copy = strdup(path);
    if (copy == NULL)
        return NULL;
    node = &m->nodes[m->n];
    *node = (struct node){.path = copy};
    *slot_of(m, path) = ++m->n;
    return node;
}

/* What lower layers put below the directory; with a file in its place also what this one did. */
static void hide_below(struct oci_merge *m, const char *directory, uint32_t layer)
{
    for (size_t i = 0; i < m->n; i++) {
        if (m->nodes[i].is_there && m->nodes[i].told < layer &&
            is_below(m->nodes[i].path, directory))
            m->nodes[i].is_there = false;
    }
}

/* ---- entries */

/* 1: it was no whiteout. */
static int take_whiteout(struct oci_merge *m, uint32_t layer, char path[OCI_PATH_SIZE])
{
    char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
    struct node *hidden;

    if (strncmp(name, WHITEOUT, strlen(WHITEOUT)) != 0)
        return 1;
    if (strcmp(name, OPAQUE) == 0) {
        *(slash != NULL ? slash : path) = '\0';
        hide_below(m, path, layer);
        return 0;
    }
    memmove(name, name + strlen(WHITEOUT), strlen(name + strlen(WHITEOUT)) + 1);
    hidden = find(m, path);
    if (hidden != NULL && hidden->told < layer)
        hidden->is_there = false;
    hide_below(m, path, layer);
    return 0;
}

static int put(struct oci_merge *m, const struct node *content, const char *path, uint32_t layer,
               struct err *err)
{
    struct node wanted = *content, *node = make(m, path);

    if (node == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    if (node->is_there && node->is_directory && !wanted.is_directory)
        hide_below(m, path, layer + 1);
    wanted.path = node->path;
    wanted.told = layer;
    wanted.is_there = true;
    *node = wanted;
    return 0;
}

int oci_merge_add(struct oci_merge *m, uint32_t layer, uint32_t entry, enum oci_entry_kind kind,
                  const char *path, const char *target, struct err *err)
{
    char clean[OCI_PATH_SIZE], linked[OCI_PATH_SIZE];
    struct node content = {.layer = layer, .entry = entry, .is_directory = kind == OCI_DIRECTORY};
    const struct node *node;
    int rc = normalise(path, clean, err);

    if (rc < 0 || clean[0] == '\0' || take_whiteout(m, layer, clean) == 0)
        return rc;
    if (m->n >= OCI_ENTRIES_MAX)
        return err_set(err, -EFBIG, "the layers hold more than %d entries", OCI_ENTRIES_MAX);
    if (kind == OCI_LINK) {
        rc = normalise(target, linked, err);
        if (rc < 0)
            return rc;
        node = find(m, linked);
        if (node == NULL || !node->is_there || node->is_directory)
            return err_set(err, -EBADMSG, "a layer links '%.80s' to '%.80s', which is not there",
                           clean, linked);
        content = *node;
    }
    return put(m, &content, clean, layer, err);
}

/* ---- the outcome */

static int compare(const void *a, const void *b)
{
    const struct node *x = a, *y = b;

    if (x->is_there != y->is_there)
        return x->is_there ? -1 : 1;
    if (x->layer != y->layer)
        return x->layer < y->layer ? -1 : 1;
    if (x->entry != y->entry)
        return x->entry < y->entry ? -1 : 1;
    return strcmp(x->path, y->path);
}

/* The table is not needed any more: its place is taken by the order of the entries. */
void oci_merge_finish(struct oci_merge *m)
{
    size_t n_there = 0;

    if (m->n > 0)
        qsort(m->nodes, m->n, sizeof(*m->nodes), compare);
    free(m->slots);
    m->slots = NULL;
    m->n_slots = 0;
    while (n_there < m->n && m->nodes[n_there].is_there)
        n_there++;
    for (size_t i = n_there; i < m->n; i++)
        free(m->nodes[i].path);
    m->n = n_there;
}

static size_t first_of(const struct oci_merge *m, uint32_t layer, uint32_t entry)
{
    size_t low = 0, high = m->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct node *node = &m->nodes[middle];

        if (node->layer < layer || (node->layer == layer && node->entry < entry))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t oci_merge_n_paths(const struct oci_merge *m, uint32_t layer, uint32_t entry)
{
    size_t first = first_of(m, layer, entry), n = 0;

    while (first + n < m->n && m->nodes[first + n].layer == layer &&
           m->nodes[first + n].entry == entry)
        n++;
    return n;
}

const char *oci_merge_path(const struct oci_merge *m, uint32_t layer, uint32_t entry, size_t i)
{
    return m->nodes[first_of(m, layer, entry) + i].path;
}
