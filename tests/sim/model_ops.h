/* model_ops: the inside of the modelled operations, shared by its files.
 *
 *   model_ops.c       the way of an operation; start, stop, checkpoints
 *   model_ops_move.c  the source and the target of a migration
 *
 * Each operation ends by ops_finish or ops_refuse, or goes on after ops_after, at ops_done.
 */
#ifndef SKEIN_TESTS_SIM_MODEL_OPS_H
#define SKEIN_TESTS_SIM_MODEL_OPS_H

#include "tests/sim/sim.h"

/* ---- model_ops.c */
struct sim_copy *ops_copy_of(struct sim_node *node, int guest);
bool ops_is_target(const struct sim_copy *copy);
/* The record is gone, operations go on. */
void ops_forget(struct sim_copy *copy);
/* This one fails, as the seed has it. */
bool ops_fails(struct sim *sim);
void ops_refuse(struct sim *sim, struct sim_node *node, int guest, int code, const char *text);
/* False: the operation was refused. */
bool ops_may_start(struct sim *sim, struct sim_node *node, int guest);
/* What is frozen does not come to life: it goes on when the lease is back. */
bool ops_waits_for_lease(struct sim *sim, struct sim_node *node, int guest);
/* A copy of its epoch runs. */
void ops_ran(struct sim *sim, struct sim_node *node, int guest);

/* ---- model_ops_move.c: how they begin, and what activation comes to */
void ops_prepare(struct sim *sim, struct sim_node *node, int guest);
void ops_capture(struct sim *sim, struct sim_node *node, int guest);
void ops_receive(struct sim *sim, struct sim_node *node, int guest);
void ops_activate(struct sim *sim, struct sim_node *node, int guest);
void ops_activated(struct sim *sim, struct sim_node *node, int guest);
void ops_resume(struct sim *sim, struct sim_node *node, int guest);
void ops_discard(struct sim *sim, struct sim_node *node, int guest);
/* What there is of it is no guest yet: it can be tried again. */
void ops_back_to_received(struct sim_copy *copy);

#endif
