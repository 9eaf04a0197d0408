/* show_move_jansson: migrations in flight and drains, as JSON; see show_jansson.h. */
#include <stdlib.h>

#include "agent/api/show_jansson.h"

static json_t *node_name(const struct show *show, uint64_t id)
{
    const struct node *node = state_node(core_state(show->core), id);

    return node != NULL ? json_string(node->name) : json_null();
}

static json_t *text_or_null(const char *text)
{
    return text != NULL && text[0] != '\0' ? json_string(text) : json_null();
}

static json_t *terms_of(const struct move_terms *terms)
{
    return json_pack("{s:s, s:I, s:o, s:I}", "mode", move_mode_name(terms->mode), "downtime_ms",
                     (json_int_t)terms->downtime_ms, "bandwidth_kbps",
                     terms->bandwidth_kbps != 0 ? json_integer(terms->bandwidth_kbps) : json_null(),
                     "connections", (json_int_t)terms->connections);
}

/* How long the rest takes at the rate of late; null: that is not known. */
static json_t *left_of(const struct move_progress *p, uint32_t rate_kbps)
{
    if (rate_kbps == 0 || p->total_bytes == 0)
        return json_null();
    return json_integer((json_int_t)move_left_ms(p, rate_kbps));
}

json_t *show_progress(uint64_t id, const char *step, const struct move_progress *p,
                      uint32_t rate_kbps)
{
    const char *what = p->total_bytes == 0 ? NULL : p->is_files ? "files" : "memory";

    return json_pack(
        "{s:I, s:o, s:o, s:i, s:I, s:I, s:o, s:o, s:o}", "id", (json_int_t)id, "step",
        text_or_null(step), "what", text_or_null(what), "round", (int)p->round, "done_bytes",
        (json_int_t)p->done_bytes, "total_bytes", (json_int_t)p->total_bytes, "rate_kbps",
        rate_kbps != 0 ? json_integer(rate_kbps) : json_null(), "left_ms", left_of(p, rate_kbps),
        "blackout_ms", p->blackout_ms != 0 ? json_integer(p->blackout_ms) : json_null());
}

json_t *show_migration(const struct show *show, const struct migration *m)
{
    struct migration_view view;

    core_migration_view(show->core, m, show->now, &view);
    return json_pack("{s:I, s:s, s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "id",
                     (json_int_t)m->id, "guest", m->guest, "from", node_name(show, m->from), "to",
                     node_name(show, m->to), "phase", migration_phase_name(m->phase), "step",
                     text_or_null(view.step), "step_ms",
                     view.step != NULL ? json_integer((json_int_t)view.step_ms) : json_null(),
                     "bytes", view.bytes != 0 ? json_integer((json_int_t)view.bytes) : json_null(),
                     "reason", text_or_null(view.text), "terms", terms_of(&m->terms), "progress",
                     show_progress(m->id, view.step, &view.progress, view.rate_kbps));
}

json_t *show_migrations(const struct show *show)
{
    const struct state *state = core_state(show->core);
    json_t *list = json_array();

    for (size_t i = 0; i < state->n_migrations; i++)
        json_array_append_new(list, show_migration(show, &state->migrations[i]));
    return list;
}

json_t *show_drain(const struct show *show, const struct node *node)
{
    struct drain_row *rows = NULL;
    size_t n = core_drain_plan(show->core, node->id, &rows);
    json_t *list = json_array();

    for (size_t i = 0; i < n; i++)
        json_array_append_new(list,
                              json_pack("{s:s, s:b, s:o, s:o}", "guest", rows[i].guest, "goes",
                                        rows[i].goes, "to", node_name(show, rows[i].to), "reason",
                                        text_or_null(rows[i].text)));
    free(rows);
    return json_pack("{s:s, s:o}", "node", node->name, "guests", list);
}
