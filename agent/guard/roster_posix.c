#include "agent/guard/roster_posix.h"

#include <errno.h>
#include <string.h>

#include "agent/guard/clock_posix.h"
#include "netfabric/wiring.h"

static int lock_init(pthread_mutex_t *lock)
{
    pthread_mutexattr_t attributes;
    int rc = pthread_mutexattr_init(&attributes);

    if (rc != 0)
        return -rc;
    rc = pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    if (rc == 0)
        rc = pthread_mutex_init(lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return -rc;
}

int roster_init(struct roster *r, const uint8_t boot_nonce[NONCE_SIZE], uint32_t run,
                uint32_t freeze_ms, struct err *err)
{
    int rc = lock_init(&r->lock);

    if (rc == 0)
        rc = lock_init(&r->port_lock);
    if (rc < 0)
        return err_set(err, rc, "cannot make a lock: %s", strerror(-rc));
    memset(r->entries, 0, sizeof(r->entries));
    holder_init(&r->holder, boot_nonce, run, freeze_ms);
    return 0;
}

void roster_deinit(struct roster *r)
{
    pthread_mutex_destroy(&r->lock);
    pthread_mutex_destroy(&r->port_lock);
}

bool roster_is_lapsed(struct roster *r)
{
    bool is_lapsed;

    pthread_mutex_lock(&r->lock);
    is_lapsed = r->holder.lapsed;
    pthread_mutex_unlock(&r->lock);
    return is_lapsed;
}

void roster_cluster(struct roster *r, uint8_t ret[NONCE_SIZE])
{
    pthread_mutex_lock(&r->lock);
    memcpy(ret, r->holder.cluster, NONCE_SIZE);
    pthread_mutex_unlock(&r->lock);
}

static struct roster_entry *find(struct roster *r, const char *guest)
{
    for (int i = 0; i < MAX_NODE_GUESTS; i++) {
        if (strcmp(r->entries[i].guest, guest) == 0)
            return &r->entries[i];
    }
    return NULL;
}

static int may_start(struct roster *r, uint64_t index, struct err *err)
{
    int rc = holder_may_start(&r->holder, index, clock_now_us());

    if (rc == -EKEYEXPIRED)
        return err_set(err, rc, "this node's lease has lapsed: nothing starts until it is back");
    if (rc == -ESTALE)
        return err_set(err, rc, "decided at index %llu, before the newest return of this node",
                       (unsigned long long)index);
    return rc;
}

int roster_may_start(struct roster *r, uint64_t index, struct err *err)
{
    int rc;

    pthread_mutex_lock(&r->lock);
    rc = may_start(r, index, err);
    pthread_mutex_unlock(&r->lock);
    return rc;
}

int roster_put(struct roster *r, struct roster_entry *entry, bool is_start, uint64_t index,
               struct err *err)
{
    struct roster_entry *place;
    int rc = 0;

    pthread_mutex_lock(&r->lock);
    if (is_start)
        rc = may_start(r, index, err);
    if (is_start)
        memcpy(entry->cluster, r->holder.cluster, NONCE_SIZE);
    place = find(r, entry->guest);
    if (place == NULL)
        place = find(r, "");
    if (rc == 0 && place == NULL)
        rc = err_set(err, -ENOSPC, "this node holds %d guests already", MAX_NODE_GUESTS);
    if (rc == 0)
        *place = *entry;
    pthread_mutex_unlock(&r->lock);
    return rc;
}

void roster_remove(struct roster *r, const char *guest)
{
    struct roster_entry *entry;

    pthread_mutex_lock(&r->lock);
    entry = find(r, guest);
    if (entry != NULL)
        memset(entry, 0, sizeof(*entry));
    pthread_mutex_unlock(&r->lock);
}

static bool port_may_be_up(const struct roster *r, const struct roster_entry *entry)
{
    return entry->wants_port && !entry->is_destroyed && (!r->holder.lapsed || entry->stays);
}

int roster_set_port(struct roster *r, const char *guest, bool is_up, struct err *err)
{
    struct roster_entry *entry;
    uint16_t port = 0;
    int rc = 0;

    pthread_mutex_lock(&r->port_lock);
    pthread_mutex_lock(&r->lock);
    entry = find(r, guest);
    if (entry != NULL) {
        entry->wants_port = is_up;
        port = entry->port;
        is_up = port_may_be_up(r, entry);
    }
    pthread_mutex_unlock(&r->lock);
    if (port != 0)
        rc = wiring_set_up(port, is_up, err);
    pthread_mutex_unlock(&r->port_lock);
    return rc;
}

void roster_want_port_down(struct roster *r, const char *guest)
{
    struct roster_entry *entry;

    pthread_mutex_lock(&r->lock);
    entry = find(r, guest);
    if (entry != NULL)
        entry->wants_port = false;
    pthread_mutex_unlock(&r->lock);
}

int roster_move_ports(struct roster *r)
{
    struct {
        uint16_t port;
        bool is_up;
    } moves[MAX_NODE_GUESTS];
    int n = 0, rc = 0;

    pthread_mutex_lock(&r->port_lock);
    pthread_mutex_lock(&r->lock);
    for (int i = 0; i < MAX_NODE_GUESTS; i++) {
        const struct roster_entry *entry = &r->entries[i];

        if (entry->guest[0] == '\0' || entry->port == 0 || !entry->has_copy)
            continue;
        moves[n].port = entry->port;
        moves[n++].is_up = port_may_be_up(r, entry);
    }
    pthread_mutex_unlock(&r->lock);
    for (int i = 0; i < n; i++) {
        int moved = wiring_set_up(moves[i].port, moves[i].is_up, NULL);

        rc = moved < 0 ? moved : rc;
    }
    pthread_mutex_unlock(&r->port_lock);
    return rc;
}

void roster_set_run(struct roster *r, const char *guest, bool may_run)
{
    struct roster_entry *entry;

    pthread_mutex_lock(&r->lock);
    entry = find(r, guest);
    if (entry != NULL)
        entry->wants_run = may_run;
    pthread_mutex_unlock(&r->lock);
}

bool roster_may_run(void *context, const struct domain_name *name)
{
    struct roster *r = context;
    bool may_run = false;

    pthread_mutex_lock(&r->lock);
    for (int i = 0; i < MAX_NODE_GUESTS; i++) {
        const struct roster_entry *entry = &r->entries[i];

        if (entry->guest[0] != '\0' && entry->stays == name->stays &&
            domain_is_of(name, entry->created))
            may_run =
                entry->wants_run && !entry->is_destroyed && (!r->holder.lapsed || entry->stays);
    }
    pthread_mutex_unlock(&r->lock);
    return may_run;
}

void roster_copy(struct roster *r, struct roster_entry ret[MAX_NODE_GUESTS])
{
    pthread_mutex_lock(&r->lock);
    memcpy(ret, r->entries, sizeof(r->entries));
    pthread_mutex_unlock(&r->lock);
}

void roster_mark_destroyed(struct roster *r, const char *guest, uint64_t epoch)
{
    struct roster_entry *entry;

    pthread_mutex_lock(&r->lock);
    entry = find(r, guest);
    if (entry != NULL && entry->epoch == epoch)
        entry->is_destroyed = true;
    pthread_mutex_unlock(&r->lock);
}

bool roster_is_destroyed(struct roster *r, const char *guest)
{
    const struct roster_entry *entry;
    bool is_destroyed;

    pthread_mutex_lock(&r->lock);
    entry = find(r, guest);
    is_destroyed = entry != NULL && entry->is_destroyed;
    pthread_mutex_unlock(&r->lock);
    return is_destroyed;
}
