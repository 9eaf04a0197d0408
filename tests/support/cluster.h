/* cluster: a state under test, with short words for the usual commands.
 *
 * Every call applies one command at the next index and returns its outcome's code; the whole
 * outcome is in `out`.
 */
#ifndef SKEIN_TESTS_SUPPORT_CLUSTER_H
#define SKEIN_TESTS_SUPPORT_CLUSTER_H

#include "consensus/state.h"

struct cluster {
    struct state state;
    uint64_t term;   /* of the entries to come */
    uint64_t time_s; /* the proposers' clock */
    uint64_t n_requests;
    struct outcome out;
};

void cluster_init(struct cluster *c);
void cluster_deinit(struct cluster *c);
/* Applies a command that the caller keeps; gives it a request id of its own unless it has one. */
int cluster_apply(struct cluster *c, struct command *command);

/* n1…nN (id 1, then indexes), led by n1 in term 1, each with cores 0…3 (1…3 isolated) and 512 MiB;
 * slice "red" 10.7.0.0/24, image "web" held by all. */
void cluster_form(struct cluster *c, unsigned n_nodes);
/* The facts of node number i as cluster_form gives them; owned by the caller. */
void cluster_facts(unsigned i, uint32_t n_cores, struct node_facts *ret);
int cluster_token(struct cluster *c, uint8_t secret, uint32_t n_uses);
int cluster_join(struct cluster *c, uint8_t secret, unsigned i);
uint64_t cluster_node(const struct cluster *c, const char *name);
/* Names a node "nowhere" with "". Cores: ids of `n_cores`, from `first` on. */
struct placement cluster_place(const struct cluster *c, const char *node, uint16_t first,
                               uint32_t n_cores);
/* A cell of image web in slice red, 64 MiB, that goes on after a loss as `failover` says. */
int cluster_guest(struct cluster *c, const char *name, struct placement at,
                  enum failover_policy failover);
int cluster_place_guest(struct cluster *c, enum command_type type, const char *name,
                        uint64_t expect_epoch, struct placement at);
int cluster_by_name(struct cluster *c, enum command_type type, const char *name);
int cluster_flag(struct cluster *c, enum command_type type, const char *name, bool flag);
/* LOST, REBOOTED or RETURNED at the node's present epoch, in the present term. */
int cluster_event(struct cluster *c, enum command_type type, const char *node, uint8_t boot);
int cluster_stopped(struct cluster *c, const char *guest, bool exited);
int cluster_reserve(struct cluster *c, const char *guest, struct placement target);
int cluster_step(struct cluster *c, enum command_type type, uint64_t migration);

#endif
