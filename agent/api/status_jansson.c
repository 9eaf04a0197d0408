/* status_jansson: the cluster at a glance, with what an operator should worry about. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api/fields_jansson.h"
#include "agent/api/show_jansson.h"
#include "consensus/copies.h"

enum { CRASH_LOOP_ENDS = 3, BACKHAUL_HIGH_PERMILLE = 900 };

__attribute__((format(printf, 2, 3))) static void warn(json_t *list, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    json_array_append_new(list, json_string(text));
}

static void warn_of_maintenance(const struct show *show, json_t *warnings)
{
    const struct state *state = core_state(show->core);

    if (!state->maintenance)
        return;
    warn(warnings, "MAINTENANCE IS ON: no node is called lost and no guest of a silent node starts "
                   "elsewhere; end it with 'skein cluster maintenance off'");
    for (size_t i = 0; core_is_leader(show->core) && i < state->n_nodes; i++) {
        const struct node *node = &state->nodes[i];
        struct node_view view = {0};

        core_node_view(show->core, node->id, show->now, &view);
        if (node->state != NODE_LOST && !view.present)
            warn(warnings, "node %s is silent; it is called lost when maintenance ends",
                 node->name);
    }
}

static void warn_of_voters(const struct state *state, json_t *warnings)
{
    size_t n = state_n_voters(state);

    if (n == 2)
        warn(warnings, "two voters: when either one is lost, everything freezes until it is back; "
                       "join a third node, or a witness");
    else if (n == 1 && state->n_nodes > 1)
        warn(warnings, "one voter: when it is lost, nothing can be changed");
}

static void warn_of_nodes(const struct show *show, json_t *warnings)
{
    const struct state *state = core_state(show->core);

    for (size_t i = 0; i < state->n_nodes; i++) {
        const struct node *node = &state->nodes[i];
        struct node_view view = {0};
        char others[CORE_OTHERS_SIZE];

        core_node_view(show->core, node->id, show->now, &view);
        core_ask_words(show->core, node->id, others, sizeof(others));
        if (node->state == NODE_LOST)
            warn(warnings, "node %s is lost%s%s", node->name, others[0] != '\0' ? "; " : "",
                 others);
        else if (view.is_silent)
            warn(warnings, "node %s: silent for %llu ms%s%s", node->name,
                 (unsigned long long)view.silent_ms, others[0] != '\0' ? "; " : "", others);
        else if (view.heard && view.lapsed)
            warn(warnings, "node %s: its lease lapsed, its guests are frozen", node->name);
        if (view.heard && !view.is_silent && view.backhaul_permille > BACKHAUL_HIGH_PERMILLE)
            warn(warnings, "node %s: its uplink is %u %% full", node->name,
                 view.backhaul_permille / 10);
    }
}

/* What may go has gone already: the leader sees to that. */
static void warn_of_disks(const struct state *state, json_t *warnings)
{
    for (size_t n = 0; n < state->n_nodes; n++) {
        const struct node *node = &state->nodes[n];
        unsigned long long held_mib = images_held_bytes(state, node->id) >> 20;

        if (node->facts.images_mib != 0 && held_mib > node->facts.images_mib)
            warn(warnings,
                 "node %s: images take %llu MiB of its disk, %u are allowed (image_disk), and no "
                 "copy "
                 "is more than it needs",
                 node->name, held_mib, node->facts.images_mib);
    }
}

static void warn_of_images(const struct state *state, json_t *warnings)
{
    for (size_t i = 0; i < state->n_images; i++) {
        for (size_t n = 0; n < state->n_nodes; n++) {
            const struct node *node = &state->nodes[n];

            if (node->state == NODE_UP && !image_is_held(&state->images[i], node->id) &&
                image_is_wanted(state, &state->images[i], node))
                warn(warnings, "image %s is not on node %s yet", state->images[i].name, node->name);
        }
    }
}

/* Why the scheduler finds no node for it; "" when it would. */
static void why_it_waits(const struct show *show, const struct guest *guest, char *ret, size_t size)
{
    struct place_request request = {.spec = &guest->spec};
    struct node_telemetry *telemetry = core_telemetry(show->core, show->now, &request.n_telemetry);
    struct place_result result = {0};
    struct err err = {0};
    size_t used = 0;

    ret[0] = '\0';
    request.telemetry = telemetry;
    if (place_guest(core_state(show->core), &request, &result, &err) < 0)
        snprintf(ret, size, "%s", err.text);
    for (size_t i = 0; result.placement.node == 0 && i < result.n_rows && used < size; i++) {
        const struct node *node = state_node(core_state(show->core), result.rows[i].node);

        used += (size_t)snprintf(ret + used, size - used, "%s%s: %s", used > 0 ? "; " : "",
                                 node != NULL ? node->name : "?", result.rows[i].reason);
    }
    place_result_deinit(&result);
    free(telemetry);
}

/* What is under way for it: the node that is cleared, and who still leaves there for it. */
static bool warn_of_clearing(const struct show *show, const struct guest *guest, json_t *warnings)
{
    const struct state *state = core_state(show->core);
    const struct node *node = state_node(state, guest->clears);
    char names[300] = "";
    size_t used = 0;

    for (size_t i = 0; i < state->n_guests && used < sizeof(names); i++) {
        const struct guest *other = &state->guests[i];

        if (other->placement.node != 0 && strcmp(other->preempted_by, guest->spec.name) == 0)
            used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s",
                                     used > 0 ? ", " : "", other->spec.name);
    }
    if (node != NULL && used > 0)
        warn(warnings, "guest %s (priority %u) waits until node %s is cleared of %s",
             guest->spec.name, guest->spec.priority, node->name, names);
    return node != NULL && used > 0;
}

static void warn_of_waiting(const struct show *show, const struct guest *guest, json_t *warnings)
{
    char why[400] = "", because[NAME_SIZE + 32] = "";

    if (warn_of_clearing(show, guest, warnings))
        return;
    if (guest->preempted_by[0] != '\0')
        snprintf(because, sizeof(because), " since it gave way to guest %s", guest->preempted_by);
    if (guest->must_leave)
        snprintf(because, sizeof(because), " since its node was to be empty");
    if (core_is_leader(show->core))
        why_it_waits(show, guest, why, sizeof(why));
    warn(warnings, "guest %s (priority %u) has no place%s%s%s", guest->spec.name,
         guest->spec.priority, because, why[0] != '\0' ? ": " : "", why);
}

static void warn_of_condition(const struct show *show, const struct guest *guest, json_t *warnings)
{
    struct guest_view view = {0};

    core_guest_view(show->core, guest->spec.name, &view);
    if (view.health != NULL && view.n_check_failures > 0)
        warn(warnings, "guest %s is %s: %u checks in a row failed: %s", guest->spec.name,
             view.health, view.n_check_failures, view.text);
    if (view.n_ends >= CRASH_LOOP_ENDS)
        warn(warnings,
             "guest %s is in a crash loop: it ended %u times, each soon after its start; "
             "see 'skein guest logs %s'",
             guest->spec.name, view.n_ends, guest->spec.name);
}

static void warn_of_protection(const struct show *show, const struct guest *guest, json_t *warnings)
{
    struct protection_view view;

    if (guest->spec.protect_ms == 0 || guest->desired != DESIRED_RUNNING ||
        guest->placement.node == 0)
        return;
    core_protection_view(show->core, guest->spec.name, &view);
    if (guest->buddy == 0)
        warn(warnings, "guest %s is not protected: no other node has room for it",
             guest->spec.name);
    else if (view.n_failures > 0)
        warn(warnings, "guest %s: its newest checkpoint failed (%u in a row): %s", guest->spec.name,
             view.n_failures, view.text);
    else if (guest->buddy == guest->placement.node)
        warn(warnings, "guest %s is not protected: it runs where its checkpoints are",
             guest->spec.name);
    else if (view.is_told && view.interval_ms > guest->spec.protect_ms)
        warn(warnings, "guest %s: a checkpoint every %u ms, not every %u ms as wanted",
             guest->spec.name, view.interval_ms, guest->spec.protect_ms);
}

struct counts {
    int running, pending;
};

static struct counts count_guests(const struct show *show, json_t *warnings)
{
    const struct state *state = core_state(show->core);
    struct counts counts = {0};

    for (size_t i = 0; i < state->n_guests; i++) {
        const struct guest *guest = &state->guests[i];
        const char *word = core_guest_state_word(show->core, guest->spec.name);

        counts.running += strcmp(word, "running") == 0;
        warn_of_condition(show, guest, warnings);
        warn_of_protection(show, guest, warnings);
        if (guest->desired != DESIRED_RUNNING || guest->placement.node != 0)
            continue;
        counts.pending++;
        warn_of_waiting(show, guest, warnings);
    }
    return counts;
}

json_t *show_timers(const struct timers *timers)
{
    struct timers copy = *timers;
    json_t *ret = json_object();

    for (unsigned i = 0; timers_key(i) != NULL; i++)
        json_object_set_new(ret, timers_key(i), json_integer(*timers_at(&copy, i)));
    return ret;
}

json_t *show_status(const struct show *show)
{
    const struct state *state = core_state(show->core);
    const struct node *own = state_node(state, show->own_id);
    const struct node *leader = state_node(state, core_leader(show->core));
    bool quorum = core_is_leader(show->core) && core_has_authority(show->core, show->now);
    char cluster[2 * NONCE_SIZE + 1];
    json_t *warnings = json_array(), *ret;
    int up = 0, lost = 0;
    struct counts guests;

    for (size_t i = 0; i < state->n_nodes; i++) {
        up += state->nodes[i].state == NODE_UP;
        lost += state->nodes[i].state == NODE_LOST;
    }
    if (!quorum)
        warn(warnings, "no quorum: nothing can be changed now");
    warn_of_maintenance(show, warnings);
    warn_of_voters(state, warnings);
    warn_of_nodes(show, warnings);
    warn_of_disks(state, warnings);
    warn_of_images(state, warnings);
    guests = count_guests(show, warnings);
    ret = json_pack("{s:b, s:n, s:b, s:s, s:o, s:o, s:b, s:I, s:i, s:i, s:i, s:i, s:i, s:o, s:o}",
                    "initialised", 1, "reason", "maintenance", state->maintenance, "cluster",
                    hex_encode(state->cluster, NONCE_SIZE, cluster), "answered_by",
                    own != NULL ? json_string(own->name) : json_null(), "leader",
                    leader != NULL ? json_string(leader->name) : json_null(), "quorum", quorum,
                    "index", (json_int_t)state->index, "nodes_up", up, "nodes_lost", lost,
                    "guests_total", (int)state->n_guests, "guests_running", guests.running,
                    "guests_pending", guests.pending, "nodes", show_nodes(show), "warnings",
                    warnings);
    json_object_set_new(ret, "preemption", json_boolean(state->preemption));
    json_object_set_new(ret, "profile", json_string(timers_profile_name(&state->timers)));
    json_object_set_new(ret, "timers", show_timers(&state->timers));
    return ret;
}
