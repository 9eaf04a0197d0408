/* state_apply: what the handlers of commands share (inside consensus/ only).
 *
 * A handler checks everything first and changes the state only when nothing is left that could
 * refuse: a refusal changes nothing.
 */
#ifndef SKEIN_CONSENSUS_STATE_APPLY_H
#define SKEIN_CONSENSUS_STATE_APPLY_H

#include "consensus/capacity.h"
#include "consensus/state.h"

/* One entry on its way into the state. */
struct entry {
    struct state *state;
    uint64_t index;
    uint64_t term;
    const struct command *command;
    struct outcome *outcome; /* zeroed, but for the index */
};

/* Fills the outcome with a refusal. */
void refuse(struct entry *e, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Inserts a zeroed element at `at`, or takes one out. No memory ends the process. */
void *array_insert(void *array_pointer, size_t *n, size_t size, size_t at);
void array_remove(void *array, size_t *n, size_t size, size_t at);
/* Ends the process when `code` says that there was no memory. */
void memory_must(int code);

/* Where the name or id is, or would be, in its sorted array. */
size_t state_guest_position(const struct state *state, const char *name);
size_t state_slice_position(const struct state *state, const char *name);
size_t state_image_position(const struct state *state, const char *name);
size_t state_token_position(const struct state *state, const uint8_t hash[DIGEST_SIZE]);
struct node *node_of(struct state *state, uint64_t id);
struct guest *guest_of(struct state *state, const char *name);

/* The guest loses its place; the index of the entry is its new epoch. */
void guest_unplace(struct guest *guest, uint64_t epoch);
/* A guest of this spec cannot be protected with this period (0: not at all): refused. */
bool refuse_protection(struct entry *e, const struct guest_spec *spec, uint32_t protect_ms);
/* Its life begins anew, or ends: nothing resumes from what was before. */
void guest_forget_checkpoints(struct guest *guest);
/* The node is no more: no checkpoint is there. */
void guest_forget_holder(struct guest *guest, uint64_t node);
/* Takes a migration out of the state, and out of its guest. */
void migration_drop(struct state *state, uint64_t id);

void apply_cluster_init(struct entry *e);
void apply_term_started(struct entry *e);
void apply_token_create(struct entry *e);
void apply_node_join(struct entry *e);
void apply_node_facts(struct entry *e);
void apply_node_set_role(struct entry *e);
void apply_node_flag(struct entry *e);
void apply_node_ceiling(struct entry *e);
void apply_node_lost(struct entry *e);
void apply_node_rebooted(struct entry *e);
void apply_node_returned(struct entry *e);
void apply_node_remove(struct entry *e);
void apply_slice_create(struct entry *e);
void apply_slice_remove(struct entry *e);
void apply_image_add(struct entry *e);
void apply_image_held(struct entry *e);
void apply_image_remove(struct entry *e);
void apply_image_release(struct entry *e);
/* The node holds it no longer, if it did. */
void image_forget_holder(struct image *image, uint64_t node);
void apply_guest_create(struct entry *e);
void apply_guest_place(struct entry *e); /* PLACE and START */
void apply_guest_stop(struct entry *e);
void apply_guest_stopped(struct entry *e);
void apply_guest_remove(struct entry *e);
void apply_migration_reserve(struct entry *e);
void apply_migration_commit(struct entry *e);
void apply_migration_abort(struct entry *e);
void apply_migration_return(struct entry *e);
/* A committed migration whose target does not run the guest, for sure: the guest is the source's
 * again, under its old epoch, as its frozen copy is. False: the source has lost that copy. */
bool migration_return(struct state *state, uint64_t id, enum migration_phase phase);
void apply_migration_done(struct entry *e);
void apply_cluster_set(struct entry *e);
void apply_guest_evict(struct entry *e);
void apply_guest_leave(struct entry *e);
void apply_guest_protect(struct entry *e);
void apply_guest_buddy(struct entry *e);
void apply_guest_checkpoint(struct entry *e);

#endif
