#include "agent/api/show_jansson.h"

#include <stdio.h>
#include <string.h>

#include "agent/api/fields_jansson.h"
#include "agent/api/volumes_jansson.h"
#include "consensus/health.h"
#include "scheduler/cores.h"

static json_t *text_or_null(const char *text)
{
    return text != NULL && text[0] != '\0' ? json_string(text) : json_null();
}

static json_t *number_or_null(bool is_known, uint64_t v)
{
    return is_known ? json_integer((json_int_t)v) : json_null();
}

static const char *node_name(const struct show *show, uint64_t id)
{
    const struct node *node = state_node(core_state(show->core), id);

    return node != NULL ? node->name : NULL;
}

static json_t *labels_of(const struct label *labels, uint32_t n)
{
    json_t *object = json_object();

    for (uint32_t i = 0; i < n; i++)
        json_object_set_new(object, labels[i].key, json_string(labels[i].value));
    return object;
}

static json_t *core_list(const uint16_t *cores, uint32_t n)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(list, json_integer(cores[i]));
    return list;
}

static json_t *text_list(char *const *texts, uint32_t n)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(list, json_string(texts[i]));
    return list;
}

/* ---- nodes */

static const char *node_word(const struct node *node)
{
    if (node->state == NODE_LOST)
        return "lost";
    return node->draining ? "draining" : node->cordoned ? "cordoned" : "up";
}

static json_t *kinds_of(uint32_t kinds)
{
    json_t *list = json_array();

    for (int kind = KIND_CELL; kind <= KIND_VM; kind++) {
        if (kinds & KIND_BIT(kind))
            json_array_append_new(list, json_string(guest_kind_name((enum guest_kind)kind)));
    }
    return list;
}

static json_t *cores_of(const struct show *show, const struct node *node)
{
    const struct state *state = core_state(show->core);
    bool used[MAX_CORES] = {0};
    json_t *list = json_array();

    cores_mark_used(state, node->id, NULL, used);
    for (uint32_t i = 0; i < node->facts.n_cores; i++) {
        const struct core_info *core = &node->facts.cores[i];

        json_array_append_new(list, json_pack("{s:i, s:i, s:i, s:i, s:b, s:b}", "id", core->id,
                                              "numa", core->numa, "cluster", core->cluster,
                                              "sibling", core->sibling, "isolated", core->isolated,
                                              "used", used[core->id]));
    }
    return list;
}

static uint32_t n_isolated(const struct node *node)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < node->facts.n_cores; i++)
        n += node->facts.cores[i].isolated;
    return n;
}

/* What others say of a silent node; null when nobody was asked. */
static json_t *others_of(const struct show *show, const struct node_view *view)
{
    json_t *list;

    if (!view->is_silent)
        return json_null();
    list = json_array();
    for (uint32_t i = 0; i < view->n_others; i++) {
        const struct other_view *other = &view->others[i];

        json_array_append_new(
            list,
            json_pack("{s:o, s:o, s:o}", "node", text_or_null(node_name(show, other->node)),
                      "heard", other->is_answered ? json_boolean(other->is_heard) : json_null(),
                      "ms_ago", number_or_null(other->is_answered, other->ms_ago)));
    }
    return list;
}

/* What only the leader knows; null elsewhere. */
static void add_telemetry(const struct show *show, const struct node *node, json_t *ret)
{
    bool leads = core_is_leader(show->core);
    struct node_view view = {0};

    core_node_view(show->core, node->id, show->now, &view);
    json_object_set_new(ret, "present", leads ? json_boolean(view.present) : json_null());
    json_object_set_new(ret, "heard_ms_ago",
                        number_or_null(leads && view.heard, view.heard_ms_ago));
    json_object_set_new(ret, "round_trip_us",
                        number_or_null(leads && view.round_trip_us != 0, view.round_trip_us));
    json_object_set_new(ret, "heard_by",
                        leads && view.heard ? text_or_null(node_name(show, show->own_id))
                                            : json_null());
    json_object_set_new(ret, "beats_due", number_or_null(leads && view.heard, view.n_beats));
    json_object_set_new(ret, "beats_unanswered",
                        number_or_null(leads && view.heard, view.n_beats_unanswered));
    json_object_set_new(ret, "lost_in_ms",
                        number_or_null(leads && view.may_be_lost, view.lost_in_ms));
    json_object_set_new(ret, "lease_left_ms", number_or_null(leads, view.lease_left_ms));
    json_object_set_new(ret, "lapsed",
                        leads && view.heard ? json_boolean(view.lapsed) : json_null());
    json_object_set_new(ret, "heard_by_others", others_of(show, &view));
    json_object_set_new(ret, "applied_index",
                        number_or_null(leads && view.heard, view.applied_index));
    json_object_set_new(ret, "backhaul_permille",
                        number_or_null(view.has_links, view.backhaul_permille));
    json_object_set_new(ret, "uplink", view.has_links ? show_uplink(&view) : json_null());
}

json_t *show_node(const struct show *show, const struct node *node, bool with_cores)
{
    const struct state *state = core_state(show->core);
    const struct node_facts *facts = &node->facts;
    uint32_t used_mib = memory_used_mib(state, node->id, NULL);
    char address[IPV4_TEXT_SIZE], vtep[IPV4_TEXT_SIZE];
    json_t *ret = json_pack(
        "{s:s, s:I, s:s, s:s, s:b, s:i, s:i, s:i, s:s, s:s}", "name", node->name, "id",
        (json_int_t)node->id, "role", raft_role_name(node->role), "state", node_word(node),
        "leader", core_leader(show->core) == node->id, "cores_isolated", n_isolated(node),
        "cores_free", cores_n_free(state, node), "cores_total", facts->n_cores, "address",
        ipv4_format(facts->address, address), "vtep", ipv4_format(facts->vtep, vtep));

    json_object_set_new(ret, "memory_mib", json_integer(facts->memory_mib));
    json_object_set_new(
        ret, "memory_free_mib",
        json_integer(facts->memory_mib > used_mib ? facts->memory_mib - used_mib : 0));
    json_object_set_new(ret, "labels", labels_of(facts->labels, facts->n_labels));
    json_object_set_new(ret, "kinds", kinds_of(facts->kinds));
    show_machines(facts, ret);
    json_object_set_new(ret, "arch", text_or_null(facts->arch));
    json_object_set_new(ret, "backhaul_kbps",
                        number_or_null(facts->backhaul_kbps != 0, facts->backhaul_kbps));
    json_object_set_new(ret, "isolation",
                        json_string(facts->isolation_simulated ? "simulated" : "real"));
    json_object_set_new(ret, "can_pre_copy", json_boolean(facts->can_track_dirty));
    json_object_set_new(ret, "can_post_copy", json_boolean(facts->can_lazy));
    json_object_set_new(ret, "witness", json_boolean(facts->witness));
    json_object_set_new(ret, "cordoned", json_boolean(node->cordoned));
    json_object_set_new(ret, "draining", json_boolean(node->draining));
    json_object_set_new(ret, "drain_deadline_ms",
                        number_or_null(node->drain_ms != 0, node->drain_ms));
    json_object_set_new(ret, "epoch", json_integer((json_int_t)node->epoch));
    json_object_set_new(ret, "ceiling_ms", json_integer(node->ceiling_ms));
    json_object_set_new(ret, "profile", json_string(timers_profile_name(&state->timers)));
    add_telemetry(show, node, ret);
    if (with_cores)
        json_object_set_new(ret, "cores", cores_of(show, node));
    return ret;
}

json_t *show_nodes(const struct show *show)
{
    const struct state *state = core_state(show->core);
    json_t *list = json_array();

    for (size_t i = 0; i < state->n_nodes; i++)
        json_array_append_new(list, show_node(show, &state->nodes[i], false));
    return list;
}

/* ---- slices and images */

static json_t *guests_with(const struct state *state, const char *slice, const char *image)
{
    json_t *list = json_array();

    for (size_t i = 0; i < state->n_guests; i++) {
        const struct guest_spec *spec = &state->guests[i].spec;

        if ((slice != NULL && strcmp(spec->slice, slice) == 0) ||
            (image != NULL && strcmp(spec->image, image) == 0))
            json_array_append_new(list, json_string(spec->name));
    }
    return list;
}

json_t *show_slices(const struct show *show)
{
    const struct state *state = core_state(show->core);
    json_t *list = json_array();

    for (size_t i = 0; i < state->n_slices; i++) {
        const struct slice *slice = &state->slices[i];
        char subnet[SUBNET_TEXT_SIZE];

        json_array_append_new(
            list, json_pack("{s:s, s:i, s:s, s:o, s:o}", "name", slice->name, "vni", slice->vni,
                            "subnet", subnet_format(slice->subnet, subnet), "rate_kbps",
                            number_or_null(slice->rate_kbps != 0, slice->rate_kbps), "guests",
                            guests_with(state, slice->name, NULL)));
    }
    return list;
}

json_t *show_image(const struct show *show, const struct image *image)
{
    char digest[2 * DIGEST_SIZE + 1];
    json_t *holders = json_array();

    for (uint32_t h = 0; h < image->n_holders; h++) {
        const char *name = node_name(show, image->holders[h]);

        if (name != NULL)
            json_array_append_new(holders, json_string(name));
    }
    return json_pack(
        "{s:s, s:s, s:s, s:I, s:o, s:o, s:o, s:I}", "name", image->name, "format",
        image_format_name(image->format), "digest", hex_encode(image->digest, DIGEST_SIZE, digest),
        "size_bytes", (json_int_t)image->size, "copies",
        number_or_null(image->copies != 0, image->copies), "holders", holders, "guests",
        guests_with(core_state(show->core), NULL, image->name), "index", (json_int_t)image->added);
}

json_t *show_images(const struct show *show)
{
    const struct state *state = core_state(show->core);
    json_t *list = json_array();

    for (size_t i = 0; i < state->n_images; i++)
        json_array_append_new(list, show_image(show, &state->images[i]));
    return list;
}

/* ---- guests */

static json_t *frozen_words(uint8_t frozen_by)
{
    json_t *list = json_array();

    if (frozen_by & FROZEN_BY_LEASE)
        json_array_append_new(list, json_string("lease"));
    if (frozen_by & FROZEN_BY_MIGRATION)
        json_array_append_new(list, json_string("migration"));
    if (frozen_by & FROZEN_BY_USER)
        json_array_append_new(list, json_string("user"));
    return list;
}

static json_t *migration_of(const struct show *show, const struct guest *guest)
{
    const struct migration *m =
        guest->migration != 0 ? state_migration(core_state(show->core), guest->migration) : NULL;

    if (m == NULL)
        return json_null();
    return json_pack("{s:I, s:o, s:o, s:s}", "id", (json_int_t)m->id, "from",
                     text_or_null(node_name(show, m->from)), "to",
                     text_or_null(node_name(show, m->to)), "phase", migration_phase_name(m->phase));
}

static json_t *health_check_of(const struct health_check *health)
{
    char text[HEALTH_TEXT_SIZE];

    if (health->kind == HEALTH_NONE)
        return json_null();
    return json_pack("{s:s, s:I, s:I, s:I, s:I}", "check", health_format(health, text),
                     "interval_ms", (json_int_t)health->interval_ms, "timeout_ms",
                     (json_int_t)health->timeout_ms, "retries", (json_int_t)health->retries,
                     "start_ms", (json_int_t)health->start_ms);
}

static json_t *protection_of(const struct show *show, const struct guest *guest)
{
    const struct checkpoint *newest = &guest->checkpoints[0];
    struct protection_view view;
    json_t *ret;

    if (guest->spec.protect_ms == 0)
        return json_null();
    core_protection_view(show->core, guest->spec.name, &view);
    ret =
        json_pack("{s:I, s:o, s:o, s:o, s:I, s:o}", "wanted_ms", (json_int_t)guest->spec.protect_ms,
                  "interval_ms", number_or_null(view.is_told, view.interval_ms), "buddy",
                  text_or_null(node_name(show, guest->buddy)), "checkpoint", json_null(),
                  "failures", (json_int_t)view.n_failures, "failure_text", text_or_null(view.text));
    if (newest->index != 0)
        json_object_set_new(
            ret, "checkpoint",
            json_pack("{s:I, s:o, s:o, s:I, s:I, s:I, s:f}", "index", (json_int_t)newest->index,
                      "node", text_or_null(node_name(show, newest->node)), "age_ms",
                      number_or_null(view.has_age, view.age_ms), "size_bytes",
                      (json_int_t)newest->size, "sent_bytes", (json_int_t)newest->sent,
                      "increments", (json_int_t)newest->n_increments, "frozen_ms",
                      newest->frozen_us / 1000.0));
    return ret;
}

static void add_spec(const struct guest_spec *spec, json_t *ret)
{
    json_object_set_new(ret, "slice", text_or_null(spec->slice));
    json_object_set_new(ret, "image", json_string(spec->image));
    json_object_set_new(ret, "cores_wanted", json_integer(spec->n_cores));
    json_object_set_new(ret, "memory_mib", json_integer(spec->memory_mib));
    json_object_set_new(ret, "restart", json_string(restart_policy_name(spec->restart)));
    json_object_set_new(ret, "failover", json_string(failover_policy_name(spec->failover)));
    json_object_set_new(ret, "priority", json_integer(spec->priority));
    json_object_set_new(ret, "preempt", json_string(preempt_policy_name(spec->preempt)));
    json_object_set_new(ret, "health_check", health_check_of(&spec->health));
    json_object_set_new(ret, "on", text_or_null(spec->on));
    json_object_set_new(ret, "labels", labels_of(spec->constraints, spec->n_constraints));
    json_object_set_new(ret, "env", text_list(spec->env, spec->n_env));
    json_object_set_new(ret, "argv", text_list(spec->argv, spec->n_argv));
    json_object_set_new(ret, "directory",
                        json_string(spec->directory[0] != '\0' ? spec->directory : "/"));
    json_object_set_new(ret, "uid", json_integer(spec->uid));
    json_object_set_new(ret, "gid", json_integer(spec->gid));
    json_object_set_new(ret, "user_data", text_or_null(spec->user_data));
}

json_t *show_guest(const struct show *show, const struct guest *guest)
{
    struct guest_view view = {0};
    char ip[IPV4_TEXT_SIZE];
    json_t *ret;

    core_guest_view(show->core, guest->spec.name, &view);
    ret = json_pack("{s:s, s:s, s:s, s:s, s:o, s:I, s:o, s:o}", "name", guest->spec.name, "kind",
                    guest_kind_name(guest->spec.kind), "state",
                    core_guest_state_word(show->core, guest->spec.name), "desired",
                    desired_state_name(guest->desired), "node",
                    text_or_null(node_name(show, guest->placement.node)), "epoch",
                    (json_int_t)guest->placement.epoch, "cores",
                    core_list(guest->placement.cores, guest->placement.n_cores), "ip",
                    guest->ip != 0 ? json_string(ipv4_format(guest->ip, ip)) : json_null());
    add_spec(&guest->spec, ret);
    json_object_set_new(ret, "pid", number_or_null(view.known && view.pid != 0, view.pid));
    json_object_set_new(ret, "frozen_by", frozen_words(view.known ? view.frozen_by : 0));
    json_object_set_new(ret, "starts", number_or_null(view.known, view.n_starts));
    json_object_set_new(ret, "exit_status",
                        view.known && view.state == GUEST_EXITED ? json_integer(view.exit_status)
                                                                 : json_null());
    json_object_set_new(ret, "health",
                        guest->spec.health.kind == HEALTH_NONE ? json_string("none")
                                                               : text_or_null(view.health));
    json_object_set_new(ret, "health_failures", json_integer(view.n_check_failures));
    json_object_set_new(ret, "health_text", text_or_null(view.text));
    json_object_set_new(ret, "ends_lately", json_integer(view.n_ends));
    json_object_set_new(ret, "next_start_ms",
                        number_or_null(view.next_start_ms != 0, view.next_start_ms));
    json_object_set_new(ret, "volumes", show_volumes(&guest->spec, node_name(show, guest->home)));
    json_object_set_new(ret, "losses", show_losses(&guest->spec));
    json_object_set_new(ret, "protection", protection_of(show, guest));
    json_object_set_new(ret, "migration", migration_of(show, guest));
    json_object_set_new(ret, "preempted_by", text_or_null(guest->preempted_by));
    json_object_set_new(ret, "clears", text_or_null(node_name(show, guest->clears)));
    return ret;
}

json_t *show_guests(const struct show *show)
{
    const struct state *state = core_state(show->core);
    json_t *list = json_array();

    for (size_t i = 0; i < state->n_guests; i++)
        json_array_append_new(list, show_guest(show, &state->guests[i]));
    return list;
}

/* The row of the node that would be cleared, and the names of those who would give way there. */
static json_t *say_preemption(const struct preempt_plan *plan, uint64_t chosen, json_t *rows,
                              size_t at)
{
    json_t *names = json_array(), *row = json_array_get(rows, at);
    char text[512];
    size_t used;

    if (plan->node == 0 || chosen != plan->node)
        return names;
    used = (size_t)snprintf(text, sizeof(text),
                            plan->n_victims == 0 ? "fits once those that are being stopped are gone"
                                                 : "fits when less important ones give way:");
    for (uint32_t i = 0; i < plan->n_victims; i++) {
        json_array_append_new(names, json_string(plan->victims[i]->spec.name));
        if (used < sizeof(text))
            used += (size_t)snprintf(text + used, sizeof(text) - used, "%s %s", i > 0 ? "," : "",
                                     plan->victims[i]->spec.name);
    }
    json_object_set_new(row, "verdict", json_string("chosen"));
    json_object_set_new(row, "reason", json_string(text));
    return names;
}

json_t *show_plan(const struct show *show, const struct place_result *result,
                  const struct preempt_plan *preempt)
{
    static const char *const verdicts[] = {[VERDICT_CHOSEN] = "chosen",
                                           [VERDICT_POSSIBLE] = "possible",
                                           [VERDICT_REFUSED] = "refused"};
    uint64_t chosen =
        result->placement.node != 0 || preempt == NULL ? result->placement.node : preempt->node;
    json_t *rows = json_array(), *ret;
    size_t at = 0;

    for (size_t i = 0; i < result->n_rows; i++) {
        const struct place_row *row = &result->rows[i];

        at = row->node == chosen ? i : at;
        json_array_append_new(rows, json_pack("{s:o, s:s, s:I, s:s}", "node",
                                              text_or_null(node_name(show, row->node)), "verdict",
                                              verdicts[row->verdict], "score",
                                              (json_int_t)row->score, "reason", row->reason));
    }
    ret = json_pack("{s:o, s:o, s:o}", "chosen", text_or_null(node_name(show, chosen)), "cores",
                    core_list(result->placement.cores, result->placement.n_cores), "nodes", rows);
    if (preempt != NULL)
        json_object_set_new(ret, "preempts", say_preemption(preempt, chosen, rows, at));
    return ret;
}

json_t *show_migrated(const struct show *show, const char *guest, const struct answer *answer)
{
    /* The source alone knows how much it sent, and since when its guest stood still. */
    json_t *bytes = answer->bytes != 0 ? json_integer((json_int_t)answer->bytes) : json_null();
    json_t *blackout =
        answer->blackout_us != 0 ? json_real(answer->blackout_us / 1000.0) : json_null();

    return json_pack("{s:s, s:o, s:o, s:s, s:o, s:o, s:f}", "guest", guest, "from",
                     text_or_null(node_name(show, answer->from)), "to",
                     text_or_null(node_name(show, answer->node)), "mode", answer->mode, "bytes",
                     bytes, "blackout_ms", blackout, "total_ms", (double)answer->total_ms);
}

static json_t *timeline_of(const struct show *show, const struct timeline *t)
{
    static const char *const since[] = {
        [LOSS_SINCE_BEAT] = "beat",
        [LOSS_SINCE_ANSWER] = "answer",
        [LOSS_SINCE_ELECTION] = "election",
    };
    const struct loss_origin *origin = &t->origin;

    if (t->from == 0)
        return json_null();
    return json_pack("{s:o, s:s, s:s, s:o, s:o, s:i, s:i, s:i, s:i, s:o, s:o}", "from",
                     text_or_null(node_name(show, t->from)), "cause",
                     t->is_rebooted ? "rebooted" : "lost", "since", since[origin->since],
                     "lease_end_ms",
                     number_or_null(origin->lease_end_ms != 0, origin->lease_end_ms), "elected_ms",
                     number_or_null(origin->elected_ms != 0, origin->elected_ms), "committed_ms",
                     (int)t->committed_ms, "placed_ms", (int)t->placed_ms, "started_ms",
                     (int)t->started_ms, "serving_ms", (int)t->serving_ms, "resumed",
                     t->is_protected ? json_boolean(t->is_resumed) : json_null(), "lost_ms",
                     number_or_null(t->has_lost, t->lost_ms));
}

json_t *show_record(const struct show *show, const struct core_record *record, uint64_t time_ms)
{
    return json_pack("{s:I, s:s, s:o, s:o, s:o, s:s, s:o}", "time_ms", (json_int_t)time_ms, "what",
                     record->what, "guest", text_or_null(record->guest), "node",
                     text_or_null(node_name(show, record->node)), "index",
                     number_or_null(record->index != 0, record->index), "text", record->text,
                     "timeline", timeline_of(show, &record->timeline));
}
