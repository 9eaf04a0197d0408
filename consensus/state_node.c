/* state_node: commands about the cluster, its nodes and its join tokens; see state_apply.h. */
#include <errno.h>
#include <string.h>

#include "base/units.h"
#include "consensus/state_apply.h"

/* No two nodes share an address or a key. `self` is the node itself when it is in the state. */
static bool refuse_facts(struct entry *e, const struct node_facts *facts, uint64_t self)
{
    char address[IPV4_TEXT_SIZE];

    for (size_t i = 0; i < e->state->n_nodes; i++) {
        const struct node *other = &e->state->nodes[i];

        if (other->id == self)
            continue;
        if (other->facts.address == facts->address)
            refuse(e, -EEXIST, "address %s is taken by node %s",
                   ipv4_format(facts->address, address), other->name);
        else if (other->facts.vtep == facts->vtep)
            refuse(e, -EEXIST, "tunnel address %s is taken by node %s",
                   ipv4_format(facts->vtep, address), other->name);
        else if (memcmp(other->facts.link_key, facts->link_key, KEY_SIZE) == 0 ||
                 memcmp(other->facts.curve_key, facts->curve_key, KEY_SIZE) == 0)
            refuse(e, -EEXIST, "these keys are taken by node %s", other->name);
        else
            continue;
        return true;
    }
    for (uint32_t i = 0; i < facts->n_cores; i++) {
        if (facts->cores[i].id >= MAX_CORES ||
            (i > 0 && facts->cores[i].id <= facts->cores[i - 1].id)) {
            refuse(e, -EINVAL, "the cores are not in ascending order below %d", MAX_CORES);
            return true;
        }
    }
    return false;
}

static bool refuse_node_name(struct entry *e, const char *name)
{
    if (!name_is_valid(name)) {
        refuse(e, -EINVAL, "'%s' is no name for a node: a-z, 0-9 and '-', at most %d", name,
               NAME_MAX_LENGTH);
        return true;
    }
    if (state_node_by_name(e->state, name) != NULL) {
        refuse(e, -EEXIST, "node name %s is taken; choose another with --name", name);
        return true;
    }
    return false;
}

/* Ids grow with the index, so that a new node is always the last. */
static void add_node(struct entry *e, uint64_t id, const char *name, const struct node_facts *facts,
                     enum raft_role role)
{
    struct state *s = e->state;
    struct node *node = array_insert(&s->nodes, &s->n_nodes, sizeof(*node), s->n_nodes);

    node->id = id;
    memcpy(node->name, name, sizeof(node->name));
    memory_must(node_facts_copy(&node->facts, facts));
    node->role = role;
    node->state = NODE_UP;
    node->epoch = e->index;
    node->ceiling_ms = s->timers.lease_ms;
    e->outcome->id = id;
}

void apply_cluster_init(struct entry *e)
{
    static const uint8_t no_cluster[NONCE_SIZE];
    const struct command *c = e->command;
    struct err err = {0};

    if (memcmp(e->state->cluster, no_cluster, NONCE_SIZE) != 0) {
        refuse(e, -EEXIST, "this cluster was initialised before");
        return;
    }
    if (memcmp(c->cluster_init.cluster, no_cluster, NONCE_SIZE) == 0) {
        refuse(e, -EINVAL, "a cluster needs an id");
        return;
    }
    if (timers_check(&c->cluster_init.timers, &err) < 0) {
        refuse(e, -EINVAL, "%s", err.text);
        return;
    }
    if (refuse_node_name(e, c->cluster_init.name) || refuse_facts(e, &c->cluster_init.facts, 0))
        return;
    e->state->timers = c->cluster_init.timers;
    memcpy(e->state->cluster, c->cluster_init.cluster, NONCE_SIZE);
    add_node(e, 1, c->cluster_init.name, &c->cluster_init.facts, ROLE_VOTER);
}

void apply_term_started(struct entry *e)
{
    uint64_t id = e->command->term_started.node;
    uint64_t term = e->command->term_started.term;

    if (term != e->term)
        refuse(e, -ESTALE, "term %llu was announced in term %llu", (unsigned long long)term,
               (unsigned long long)e->term);
    else if (e->state->n_nodes > 0 && state_node(e->state, id) == NULL)
        refuse(e, -ENOENT, "node %llu is unknown", (unsigned long long)id);
    else {
        e->state->leader = id;
        e->state->leader_term = term;
    }
}

void apply_cluster_set(struct entry *e)
{
    if (e->command->cluster_set.setting == SETTING_MAINTENANCE)
        e->state->maintenance = e->command->cluster_set.flag;
    else if (e->command->cluster_set.setting == SETTING_PREEMPTION)
        e->state->preemption = e->command->cluster_set.flag;
    else
        refuse(e, -EINVAL, "setting %u is unknown", (unsigned)e->command->cluster_set.setting);
}

/* ---- join tokens */

static void drop_expired_tokens(struct state *s, uint64_t time_s)
{
    for (size_t i = s->n_tokens; i-- > 0;) {
        if (s->tokens[i].expires_s <= time_s)
            array_remove(s->tokens, &s->n_tokens, sizeof(*s->tokens), i);
    }
}

static const struct token *token_of(const struct state *s, const uint8_t hash[DIGEST_SIZE])
{
    size_t at = state_token_position(s, hash);

    if (at == s->n_tokens || memcmp(s->tokens[at].hash, hash, DIGEST_SIZE) != 0)
        return NULL;
    return &s->tokens[at];
}

/* Tokens that expired are kept to be told apart from unknown ones, until their room is wanted. */
void apply_token_create(struct entry *e)
{
    struct state *s = e->state;
    const struct token *token = &e->command->token_create.token;
    struct token *added;
    size_t n_live = 0;

    for (size_t i = 0; i < s->n_tokens; i++)
        n_live += s->tokens[i].expires_s > e->command->time_s;
    if (token->uses_left == 0 || token->expires_s <= e->command->time_s)
        refuse(e, -EINVAL, "a join token needs at least one use and an expiry to come");
    else if (token_of(s, token->hash) != NULL)
        refuse(e, -EEXIST, "this join token exists already");
    else if (n_live >= MAX_TOKENS)
        refuse(e, -ENOSPC, "%d join tokens are open; wait until one is used or expires",
               MAX_TOKENS);
    else {
        if (s->n_tokens >= MAX_TOKENS)
            drop_expired_tokens(s, e->command->time_s);
        added = array_insert(&s->tokens, &s->n_tokens, sizeof(*added),
                             state_token_position(s, token->hash));
        *added = *token;
    }
}

static void token_consume(struct state *s, const uint8_t hash[DIGEST_SIZE])
{
    size_t at = state_token_position(s, hash);

    if (--s->tokens[at].uses_left == 0)
        array_remove(s->tokens, &s->n_tokens, sizeof(*s->tokens), at);
}

void apply_node_join(struct entry *e)
{
    const struct command *c = e->command;
    const struct token *token = token_of(e->state, c->node_join.token_hash);
    struct err err = {0};

    if (token == NULL)
        refuse(e, -EKEYREJECTED,
               "the join token is unknown or used; make a new one with 'skein token create'");
    else if (token->expires_s <= c->time_s)
        refuse(e, -EKEYREJECTED,
               "the join token has expired; make a new one with 'skein token create'");
    else if (e->state->n_nodes >= MAX_NODES)
        refuse(e, -ENOSPC, "the cluster has %d nodes, the most it can have", MAX_NODES);
    else if (timers_agree(&c->node_join.timers, &e->state->timers, &err) < 0)
        refuse(e, -EINVAL, "%s", err.text);
    else if (!refuse_node_name(e, c->node_join.name) && !refuse_facts(e, &c->node_join.facts, 0)) {
        token_consume(e->state, c->node_join.token_hash);
        add_node(e, e->index, c->node_join.name, &c->node_join.facts, ROLE_SPARE);
    }
}

/* ---- a node's own properties */

static struct node *node_or_refuse(struct entry *e, uint64_t id)
{
    struct node *node = node_of(e->state, id);

    if (node == NULL)
        refuse(e, -ENOENT, "node %llu is unknown", (unsigned long long)id);
    return node;
}

static struct node *named_node_or_refuse(struct entry *e, const char *name)
{
    const struct node *node = state_node_by_name(e->state, name);

    if (node == NULL)
        refuse(e, -ENOENT, "node %s is unknown", name);
    return node == NULL ? NULL : node_of(e->state, node->id);
}

/* Cores that somebody holds stay isolated cores of the node. */
static bool refuse_lost_cores(struct entry *e, const struct node *node,
                              const struct node_facts *facts)
{
    bool used[MAX_CORES] = {false};

    capacity_mark_cores(e->state, node->id, NULL, used);
    for (uint16_t id = 0; id < MAX_CORES; id++) {
        const struct core_info *core = used[id] ? capacity_core(facts, id) : NULL;

        if (used[id] && (core == NULL || !core->isolated)) {
            refuse(e, -EBUSY, "a guest holds core %u of node %s; move the guest away first", id,
                   node->name);
            return true;
        }
    }
    return false;
}

void apply_node_facts(struct entry *e)
{
    const struct node_facts *facts = &e->command->node_facts.facts;
    struct node *node = node_or_refuse(e, e->command->node_facts.node);

    if (node == NULL)
        return;
    if (memcmp(node->facts.link_key, facts->link_key, KEY_SIZE) != 0 ||
        memcmp(node->facts.curve_key, facts->curve_key, KEY_SIZE) != 0) {
        refuse(e, -EINVAL, "node %s: keys never change; remove the node and join it again",
               node->name);
        return;
    }
    if (refuse_facts(e, facts, node->id) || refuse_lost_cores(e, node, facts))
        return;
    node_facts_deinit(&node->facts);
    memory_must(node_facts_copy(&node->facts, facts));
    e->outcome->id = node->id;
}

void apply_node_set_role(struct entry *e)
{
    struct node *node = node_or_refuse(e, e->command->node_set_role.node);

    if (node == NULL)
        return;
    node->role = e->command->node_set_role.role;
    e->outcome->id = node->id;
}

void apply_node_flag(struct entry *e)
{
    struct node *node = named_node_or_refuse(e, e->command->node_flag.name);

    if (node == NULL)
        return;
    if (e->command->type == COMMAND_NODE_DRAIN) {
        node->draining = e->command->node_flag.flag;
        node->drain_ms = node->draining ? e->command->node_flag.drain_ms : 0;
    } else {
        node->cordoned = e->command->node_flag.flag;
    }
    e->outcome->id = node->id;
}

void apply_node_ceiling(struct entry *e)
{
    uint32_t ceiling_ms = e->command->node_ceiling.ceiling_ms;
    struct node *node = node_or_refuse(e, e->command->node_ceiling.node);

    if (node == NULL)
        return;
    if (ceiling_ms == 0 || ceiling_ms > MAX_LEASE_MS) {
        refuse(e, -EINVAL, "a lease lasts 1 to %d ms, not %u", MAX_LEASE_MS, ceiling_ms);
        return;
    }
    node->ceiling_ms = ceiling_ms;
    e->outcome->id = node->id;
}

static size_t n_guests_of(const struct state *s, uint64_t node)
{
    size_t n = 0;

    for (size_t i = 0; i < s->n_guests; i++)
        n += s->guests[i].placement.node == node;
    for (size_t i = 0; i < s->n_migrations; i++)
        n += s->migrations[i].from == node || s->migrations[i].to == node;
    return n;
}

void image_forget_holder(struct image *image, uint64_t node)
{
    size_t n = image->n_holders;

    for (size_t i = 0; i < n; i++) {
        if (image->holders[i] == node) {
            array_remove(image->holders, &n, sizeof(*image->holders), i);
            break;
        }
    }
    image->n_holders = (uint32_t)n;
}

void apply_node_remove(struct entry *e)
{
    struct state *s = e->state;
    struct node *node = named_node_or_refuse(e, e->command->by_name.name);
    size_t n;

    if (node == NULL)
        return;
    n = n_guests_of(s, node->id);
    if (n > 0) {
        refuse(e, -EBUSY, "node %s has %zu guests or migrations; drain it first", node->name, n);
        return;
    }
    if (s->n_nodes == 1) {
        refuse(e, -EBUSY, "node %s is the only node", node->name);
        return;
    }
    if (node->id == s->leader) {
        refuse(e, -EBUSY, "node %s is the leader; let another node lead first", node->name);
        return;
    }
    if (node->role == ROLE_VOTER) {
        refuse(e, -EBUSY, "node %s votes; its vote is to be taken first", node->name);
        return;
    }
    e->outcome->id = node->id;
    for (size_t i = 0; i < s->n_images; i++)
        image_forget_holder(&s->images[i], node->id);
    for (size_t i = 0; i < s->n_guests; i++) {
        if (s->guests[i].clears == node->id)
            s->guests[i].clears = 0;
        guest_forget_holder(&s->guests[i], node->id);
    }
    node_facts_deinit(&node->facts);
    array_remove(s->nodes, &s->n_nodes, sizeof(*node), (size_t)(node - s->nodes));
}
