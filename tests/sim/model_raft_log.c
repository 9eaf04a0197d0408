/* model_raft_log: the log of one server; see model_raft.h. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/model_raft.h"

struct raft_entry *raft_entry_new(struct sim *sim, enum raft_kind kind, uint64_t term,
                                  const void *data, size_t size)
{
    struct raft_entry *entry = malloc(sizeof(*entry) + size);

    if (entry == NULL)
        abort();
    *entry = (struct raft_entry){.next = sim->entries, .term = term, .kind = kind, .size = size};
    if (size > 0)
        memcpy(entry->data, data, size);
    sim->entries = entry;
    return entry;
}

struct raft_snapshot *raft_snapshot_new(struct sim *sim, uint64_t index, uint64_t term,
                                        const void *data, size_t size)
{
    struct raft_snapshot *snapshot = malloc(sizeof(*snapshot) + size);

    if (snapshot == NULL)
        abort();
    *snapshot =
        (struct raft_snapshot){.next = sim->snapshots, .index = index, .term = term, .size = size};
    memcpy(snapshot->data, data, size);
    sim->snapshots = snapshot;
    return snapshot;
}

void raft_free_all(struct sim *sim)
{
    while (sim->entries != NULL) {
        struct raft_entry *next = sim->entries->next;

        free(sim->entries);
        sim->entries = next;
    }
    while (sim->snapshots != NULL) {
        struct raft_snapshot *next = sim->snapshots->next;

        free(sim->snapshots);
        sim->snapshots = next;
    }
    while (sim->free_messages != NULL) {
        struct raft_message *next = sim->free_messages->next;

        free(sim->free_messages);
        sim->free_messages = next;
    }
    for (unsigned i = 0; i < sim->n; i++)
        free(sim->nodes[i].raft.log);
}

uint64_t raft_last_index(const struct raft *raft)
{
    return raft->first + raft->n - 1;
}

struct raft_entry *raft_entry_at(const struct raft *raft, uint64_t index)
{
    return index >= raft->first && index < raft->first + raft->n ? raft->log[index - raft->first]
                                                                 : NULL;
}

uint64_t raft_term_at(const struct raft *raft, uint64_t index)
{
    const struct raft_entry *entry = raft_entry_at(raft, index);

    if (entry != NULL)
        return entry->term;
    return raft->snapshot != NULL && raft->snapshot->index == index ? raft->snapshot->term : 0;
}

void raft_configuration_at(const struct raft *raft, uint64_t index, uint8_t ret[SIM_MAX_NODES])
{
    for (; index >= raft->first; index--) {
        const struct raft_entry *entry = raft_entry_at(raft, index);

        if (entry != NULL && entry->kind == RAFT_ENTRY_CONFIG) {
            memcpy(ret, entry->roles, SIM_MAX_NODES);
            return;
        }
    }
    if (raft->snapshot != NULL)
        memcpy(ret, raft->snapshot->roles, SIM_MAX_NODES);
    else
        memset(ret, 0, SIM_MAX_NODES);
}

void raft_log_append(struct raft *raft, struct raft_entry *entry)
{
    if (raft->n == raft->capacity) {
        raft->capacity = raft->capacity == 0 ? 128 : raft->capacity * 2;
        raft->log = realloc(raft->log, raft->capacity * sizeof(struct raft_entry *));
        if (raft->log == NULL)
            abort();
    }
    raft->log[raft->n++] = entry;
    if (entry->kind == RAFT_ENTRY_CONFIG)
        memcpy(raft->roles, entry->roles, SIM_MAX_NODES);
}

void raft_log_truncate(struct raft *raft, uint64_t from)
{
    assert(from > raft->commit);
    raft->n = from - raft->first;
    raft_configuration_at(raft, raft_last_index(raft), raft->roles);
}

void raft_log_trim(struct raft *raft, uint64_t trailing)
{
    uint64_t keep = raft->snapshot->index > trailing ? raft->snapshot->index - trailing + 1 : 1;
    size_t n = keep > raft->first ? keep - raft->first : 0;

    if (n == 0)
        return;
    memmove(raft->log, raft->log + n, (raft->n - n) * sizeof(struct raft_entry *));
    raft->n -= n;
    raft->first += n;
}

void raft_log_install(struct raft *raft, const struct raft_snapshot *snapshot)
{
    bool follows = raft_term_at(raft, snapshot->index) == snapshot->term &&
                   raft_entry_at(raft, snapshot->index) != NULL;

    raft->snapshot = snapshot;
    if (follows) {
        raft_log_trim(raft, 0);
    } else {
        raft->n = 0;
        raft->first = snapshot->index + 1;
    }
    raft_configuration_at(raft, raft_last_index(raft), raft->roles);
}
