#include "migrate/tree_index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void tree_index_deinit(struct tree_index *index)
{
    for (size_t i = 0; i < index->n; i++)
        free(index->entries[i].path);
    free(index->entries);
    *index = (struct tree_index){0};
}

static int make_room(struct tree_index *index)
{
    size_t capacity = index->capacity == 0 ? 256 : 2 * index->capacity;
    struct tree_entry *entries;

    if (index->n < index->capacity)
        return 0;
    if (index->n >= TREE_MAX_ENTRIES)
        return -E2BIG;
    entries = realloc(index->entries, capacity * sizeof(*entries));
    if (entries == NULL)
        return -ENOMEM;
    index->entries = entries;
    index->capacity = capacity;
    return 0;
}

int tree_index_add(struct tree_index *index, const struct tree_entry *entry, const char *path)
{
    int r = make_room(index);
    char *copy;

    if (r < 0)
        return r;
    copy = strdup(path);
    if (copy == NULL)
        return -ENOMEM;
    index->entries[index->n] = *entry;
    index->entries[index->n].path = copy;
    index->entries[index->n++].deed = TREE_KEEP;
    return 0;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct tree_entry *)a)->path, ((const struct tree_entry *)b)->path);
}

/* So a directory comes before all that is below it. */
void tree_index_sort(struct tree_index *index)
{
    if (index->n > 0)
        qsort(index->entries, index->n, sizeof(*index->entries), by_path);
}

struct tree_entry *tree_index_find(const struct tree_index *index, const char *path)
{
    size_t low = 0, high = index->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(index->entries[middle].path, path);

        if (order == 0)
            return &index->entries[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static struct tree_entry *find_parent(const struct tree_index *index, const char *path)
{
    char parent[TREE_PATH_SIZE];
    const char *slash = strrchr(path, '/');
    size_t size = slash != NULL ? (size_t)(slash - path) : 0;

    if (path[0] == '\0' || size >= sizeof(parent))
        return NULL;
    memcpy(parent, path, size);
    parent[size] = '\0';
    return tree_index_find(index, parent);
}

static bool is_same(const struct tree_entry *before, const struct tree_entry *now)
{
    return before->kind == now->kind && before->mode == now->mode && before->inode == now->inode &&
           before->size == now->size && before->mtime_ns == now->mtime_ns &&
           before->ctime_ns == now->ctime_ns;
}

static bool is_replaced(const struct tree_entry *before)
{
    return before->kind != TREE_DIRECTORY && before->deed != TREE_DROP;
}

/* Marks what is on both sides; the sides are walked in their common order. */
static void compare_each(struct tree_index *before, struct tree_index *now)
{
    size_t b = 0;

    for (size_t n = 0; n < now->n; n++) {
        struct tree_entry *entry = &now->entries[n];
        int order = 1;

        while (b < before->n && (order = strcmp(before->entries[b].path, entry->path)) < 0)
            before->entries[b++].deed = TREE_DROP;
        entry->deed = TREE_SEND;
        if (b == before->n || order > 0)
            continue;
        if (is_same(&before->entries[b], entry) && !before->entries[b].is_unsettled &&
            !before->entries[b].is_missing)
            entry->deed = TREE_KEEP;
        if (before->entries[b].kind != entry->kind)
            before->entries[b].deed = TREE_DROP;
        b++;
    }
    while (b < before->n)
        before->entries[b++].deed = TREE_DROP;
}

static int by_inode(const void *a, const void *b)
{
    const struct tree_entry *one = *(struct tree_entry *const *)a;
    const struct tree_entry *other = *(struct tree_entry *const *)b;

    return one->inode < other->inode ? -1 : one->inode > other->inode;
}

static void send_groups(struct tree_entry **linked, size_t n)
{
    size_t end;

    for (size_t i = 0; i < n; i = end) {
        bool goes = false;

        for (end = i; end < n && linked[end]->inode == linked[i]->inode; end++)
            goes = goes || linked[end]->deed == TREE_SEND;
        for (size_t k = i; goes && k < end; k++)
            linked[k]->deed = TREE_SEND;
    }
}

/* Without memory for it all names that have others go. */
static void send_names_together(struct tree_index *now)
{
    struct tree_entry **linked = malloc((now->n + 1) * sizeof(struct tree_entry *));
    size_t n = 0;

    for (size_t i = 0; i < now->n; i++) {
        struct tree_entry *entry = &now->entries[i];

        if (entry->kind == TREE_DIRECTORY || entry->n_links < 2)
            continue;
        if (linked == NULL)
            entry->deed = TREE_SEND;
        else
            linked[n++] = entry;
    }
    if (linked != NULL && n > 0) {
        qsort(linked, n, sizeof(struct tree_entry *), by_inode);
        send_groups(linked, n);
    }
    free(linked);
}

static void send_parent(struct tree_index *now, const char *path)
{
    struct tree_entry *parent = find_parent(now, path);

    if (parent != NULL && parent->kind == TREE_DIRECTORY)
        parent->deed = TREE_SEND;
}

/* Whoever has the earlier one makes, or takes away, names in them. */
static void send_parents(struct tree_index *before, struct tree_index *now)
{
    for (size_t i = 0; i < before->n; i++) {
        if (before->entries[i].deed == TREE_DROP)
            send_parent(now, before->entries[i].path);
    }
    for (size_t i = now->n; i-- > 0;) { /* those below first: a parent that goes makes no name */
        const struct tree_entry *entry = &now->entries[i], *was;

        if (entry->deed != TREE_SEND)
            continue;
        was = tree_index_find(before, entry->path);
        if (was == NULL || was->is_missing || was->kind != TREE_DIRECTORY ||
            entry->kind != TREE_DIRECTORY)
            send_parent(now, entry->path);
    }
}

/* What comes anew takes the place of what was there; a directory stays, and is cleared. */
static void make_way(struct tree_index *before, const struct tree_index *now)
{
    for (size_t i = 0; i < now->n; i++) {
        const struct tree_entry *entry = &now->entries[i];
        struct tree_entry *was =
            entry->deed == TREE_SEND ? tree_index_find(before, entry->path) : NULL;

        if (was != NULL && is_replaced(was))
            was->deed = TREE_DROP;
        else if (was != NULL && was->deed == TREE_KEEP)
            was->deed = TREE_CLEAR;
    }
    for (size_t i = 0; i < before->n; i++) {
        struct tree_entry *entry = &before->entries[i];
        const struct tree_entry *parent =
            entry->deed == TREE_DROP ? find_parent(before, entry->path) : NULL;

        if (parent != NULL && (parent->deed == TREE_DROP || parent->deed == TREE_UNDER))
            entry->deed = TREE_UNDER;
    }
}

static uint64_t content(const struct tree_entry *entry)
{
    return entry->held < entry->size ? entry->held : entry->size;
}

static void count(const struct tree_index *before, const struct tree_index *now,
                  struct tree_change *ret)
{
    uint64_t last = 0;

    for (size_t i = 0; i < before->n; i++)
        ret->n += before->entries[i].deed == TREE_DROP;
    for (size_t i = 0; i < now->n; i++) {
        const struct tree_entry *entry = &now->entries[i];

        if (entry->deed != TREE_SEND)
            continue;
        ret->n++;
        if (entry->kind == TREE_FILE && (entry->n_links < 2 || entry->inode != last))
            ret->bytes += content(entry);
        last = entry->inode;
    }
}

void tree_index_compare(struct tree_index *before, struct tree_index *now, struct tree_change *ret)
{
    *ret = (struct tree_change){0};
    for (size_t i = 0; i < before->n; i++)
        before->entries[i].deed = TREE_KEEP;
    compare_each(before, now);
    send_names_together(now);
    send_parents(before, now);
    make_way(before, now);
    count(before, now, ret);
}

uint64_t tree_index_unsettled(const struct tree_index *index)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < index->n; i++) {
        const struct tree_entry *entry = &index->entries[i];

        if (entry->is_unsettled && entry->kind == TREE_FILE)
            bytes += content(entry);
    }
    return bytes;
}

bool tree_is_unsettled(int64_t ctime_ns, int64_t now_ns)
{
    return ctime_ns >= now_ns - (int64_t)TREE_SETTLED_MS * 1000000;
}

bool tree_path_is_valid(const char *path)
{
    size_t size;

    do {
        size = strcspn(path, "/");
        if (size == 0 || (size == 1 && path[0] == '.') || (size == 2 && memcmp(path, "..", 2) == 0))
            return false;
        path += size;
    } while (*path++ == '/');
    return true;
}

void tree_index_encode(const struct tree_index *index, struct writer *w)
{
    write_u32(w, (uint32_t)index->n);
    for (size_t i = 0; i < index->n; i++) {
        const struct tree_entry *entry = &index->entries[i];

        write_string(w, entry->path);
        write_u8(w, (uint8_t)entry->kind);
        write_bool(w, entry->is_unsettled);
        write_bool(w, entry->is_missing);
        write_u32(w, entry->mode);
        write_u64(w, entry->inode);
        write_u64(w, entry->n_links);
        write_u64(w, entry->size);
        write_u64(w, entry->held);
        write_u64(w, (uint64_t)entry->mtime_ns);
        write_u64(w, (uint64_t)entry->ctime_ns);
    }
}

int tree_index_decode(struct reader *r, struct tree_index *ret)
{
    uint32_t n = read_count(r, TREE_MAX_ENTRIES);
    int result = 0;

    for (uint32_t i = 0; result == 0 && i < n; i++) {
        struct tree_entry entry = {0};
        char path[TREE_PATH_SIZE];

        read_string(r, path, sizeof(path));
        entry.kind = (enum tree_kind)read_u8(r);
        entry.is_unsettled = read_bool(r);
        entry.is_missing = read_bool(r);
        entry.mode = read_u32(r);
        entry.inode = read_u64(r);
        entry.n_links = read_u64(r);
        entry.size = read_u64(r);
        entry.held = read_u64(r);
        entry.mtime_ns = (int64_t)read_u64(r);
        entry.ctime_ns = (int64_t)read_u64(r);
        result = r->failed || entry.kind < TREE_DIRECTORY || entry.kind > TREE_OTHER
                     ? -EBADMSG
                     : tree_index_add(ret, &entry, path);
    }
    return r->failed ? -EBADMSG : result;
}
