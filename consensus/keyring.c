#include "consensus/keyring.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct watcher {
    void (*changed)(void *data);
    void *data;
};

struct keyring {
    pthread_mutex_t lock;
    uint64_t generation;
    size_t n;
    struct keyring_entry *entries; /* by id */
    size_t n_watchers;
    struct watcher watchers[KEYRING_MAX_WATCHERS];
};

struct keyring *keyring_new(void)
{
    struct keyring *k = calloc(1, sizeof(*k));

    if (k != NULL)
        pthread_mutex_init(&k->lock, NULL);
    return k;
}

void keyring_free(struct keyring *k)
{
    if (k == NULL)
        return;
    assert(k->n_watchers == 0);
    pthread_mutex_destroy(&k->lock);
    free(k->entries);
    free(k);
}

static int by_id(const void *a, const void *b)
{
    const struct keyring_entry *x = a, *y = b;

    return x->id < y->id ? -1 : x->id > y->id;
}

static int by_key(const void *a, const void *b)
{
    const struct keyring_entry *x = a, *y = b;

    return memcmp(x->link_key, y->link_key, KEY_SIZE);
}

/* Leaves `entries` sorted by id. */
static bool table_is_valid(struct keyring_entry *entries, size_t n)
{
    qsort(entries, n, sizeof(*entries), by_key);
    for (size_t i = 1; i < n; i++)
        if (by_key(&entries[i - 1], &entries[i]) == 0)
            return false;
    qsort(entries, n, sizeof(*entries), by_id);
    for (size_t i = 0; i < n; i++)
        if (entries[i].id == 0 || (i > 0 && entries[i].id == entries[i - 1].id))
            return false;
    return true;
}

static bool table_is_equal(const struct keyring *k, const struct keyring_entry *entries, size_t n)
{
    if (k->n != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (k->entries[i].id != entries[i].id || k->entries[i].address != entries[i].address ||
            by_key(&k->entries[i], &entries[i]) != 0)
            return false;
    return true;
}

int keyring_replace(struct keyring *k, const struct keyring_entry *entries, size_t n)
{
    struct keyring_entry *table, *old;

    if (n > MAX_NODES)
        return -EINVAL;
    table = calloc(n > 0 ? n : 1, sizeof(*table));
    if (table == NULL)
        return -ENOMEM;
    if (n > 0)
        memcpy(table, entries, n * sizeof(*table));
    if (!table_is_valid(table, n)) {
        free(table);
        return -EINVAL;
    }
    pthread_mutex_lock(&k->lock);
    old = table;
    if (!table_is_equal(k, table, n)) {
        old = k->entries;
        k->entries = table;
        k->n = n;
        k->generation++;
        for (size_t i = 0; i < k->n_watchers; i++)
            k->watchers[i].changed(k->watchers[i].data);
    }
    pthread_mutex_unlock(&k->lock);
    free(old);
    return 0;
}

bool keyring_find(struct keyring *k, uint64_t id, struct keyring_entry *ret)
{
    const struct keyring_entry wanted = {.id = id}, *found = NULL;

    pthread_mutex_lock(&k->lock);
    if (k->n > 0)
        found = bsearch(&wanted, k->entries, k->n, sizeof(wanted), by_id);
    if (found != NULL)
        *ret = *found;
    pthread_mutex_unlock(&k->lock);
    return found != NULL;
}

bool keyring_find_key(struct keyring *k, const uint8_t key[KEY_SIZE], struct keyring_entry *ret)
{
    bool found = false;

    pthread_mutex_lock(&k->lock);
    for (size_t i = 0; i < k->n && !found; i++) {
        found = memcmp(k->entries[i].link_key, key, KEY_SIZE) == 0;
        if (found)
            *ret = k->entries[i];
    }
    pthread_mutex_unlock(&k->lock);
    return found;
}

bool keyring_has_address(struct keyring *k, uint32_t address)
{
    bool found = false;

    pthread_mutex_lock(&k->lock);
    for (size_t i = 0; i < k->n && !found; i++)
        found = k->entries[i].address == address;
    pthread_mutex_unlock(&k->lock);
    return found;
}

uint64_t keyring_generation(struct keyring *k)
{
    uint64_t generation;

    pthread_mutex_lock(&k->lock);
    generation = k->generation;
    pthread_mutex_unlock(&k->lock);
    return generation;
}

int keyring_watch(struct keyring *k, void (*changed)(void *data), void *data)
{
    int rc = -ENOBUFS;

    pthread_mutex_lock(&k->lock);
    if (k->n_watchers < KEYRING_MAX_WATCHERS) {
        k->watchers[k->n_watchers++] = (struct watcher){changed, data};
        rc = 0;
    }
    pthread_mutex_unlock(&k->lock);
    return rc;
}

void keyring_unwatch(struct keyring *k, void (*changed)(void *data), void *data)
{
    pthread_mutex_lock(&k->lock);
    for (size_t i = 0; i < k->n_watchers; i++)
        if (k->watchers[i].changed == changed && k->watchers[i].data == data) {
            k->watchers[i] = k->watchers[--k->n_watchers];
            break;
        }
    pthread_mutex_unlock(&k->lock);
}
