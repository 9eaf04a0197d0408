/* What bulk streams may take, as the core decides it: pings to where they go, their answers, and
 * what is shown. */
#include "tests/unit/test.h"

#include <stdlib.h>
#include <string.h>

#include "agent/core/internal.h"
#include "agent/core/message.h"
#include "tests/support/world.h"

enum { CAPACITY_KBPS = 100000 };

/* What one event made the core do. */
struct seen {
    unsigned n_pings, n_paces;
    uint64_t pinged, token; /* of the newest ping */
    uint32_t rate_kbps;
};

static void look(const struct core_action *action, struct seen *seen)
{
    struct message message;

    if (action->type == CORE_PACE) {
        seen->n_paces++;
        seen->rate_kbps = action->rate_kbps;
    }
    if (action->type != CORE_SEND || message_decode(action->data, action->size, &message, NULL) < 0)
        return;
    if (message.type == MESSAGE_PING) {
        seen->n_pings++;
        seen->pinged = action->to;
        seen->token = message.token;
    }
    message_deinit(&message);
}

static struct seen tell(struct world *w, const struct core_event *event)
{
    struct core_actions actions = {0};
    struct seen seen = {0};

    core_step(w->nodes[1].core, event, w->now, &actions);
    for (size_t i = 0; i < actions.n; i++)
        look(&actions.list[i], &seen);
    core_actions_deinit(&actions);
    return seen;
}

static struct seen links(struct world *w)
{
    struct core_event event = {.type = CORE_LINKS};

    event.links.capacity_kbps = CAPACITY_KBPS;
    return tell(w, &event);
}

static struct seen streams_of(struct world *w, uint32_t n, uint32_t n_awaited,
                              uint32_t delivered_kbps)
{
    struct pace_flow flow = {.node = w->nodes[2].id,
                             .n_streams = n,
                             .n_awaited = n_awaited,
                             .delivered_kbps = delivered_kbps};
    struct core_event event = {.type = CORE_STREAMS, .n_flows = n > 0, .flows = &flow};

    return tell(w, &event);
}

static struct seen streams(struct world *w, uint32_t n, uint32_t delivered_kbps)
{
    return streams_of(w, n, 0, delivered_kbps);
}

static void pong(struct world *w, uint64_t token)
{
    struct message message = {.type = MESSAGE_PONG, .token = token};
    struct core_event event = {.type = CORE_PEER_MESSAGE, .from = w->nodes[2].id};
    struct writer writer;
    uint8_t *data;

    writer_init_growing(&writer, MESSAGE_MAX_SIZE);
    message_encode(&message, &writer);
    data = writer_steal(&writer, &event.size);
    event.data = data;
    tell(w, &event);
    free(data);
}

/* A stream to n2 for `ms`; each ping is answered after `answer_ms` more (0: never), and all that is
 * allowed is delivered. What the last step allowed. */
static uint32_t stream_for(struct world *w, unsigned ms, unsigned answer_ms, uint32_t allowed)
{
    for (unsigned i = 0; i < ms / PACE_STEP_MS; i++) {
        struct seen seen = streams(w, 1, allowed);

        assert_int_equal(seen.n_pings, 1);
        assert_int_equal(seen.pinged, w->nodes[2].id);
        assert_int_equal(seen.n_paces, 1);
        allowed = seen.rate_kbps;
        w->now += (uint64_t)(answer_ms > 0 ? answer_ms : PACE_STEP_MS) * 1000;
        if (answer_ms > 0)
            pong(w, seen.token);
    }
    return allowed;
}

static struct backhaul_streams shown(struct world *w)
{
    struct node_view view;

    links(w);
    core_node_view(w->nodes[1].core, w->nodes[1].id, w->now, &view);
    return view.links.streams;
}

static void lives(struct world *w)
{
    world_init(w, 3);
    world_run(w, 1000);
}

static void each_way_is_asked_now_and_then(void **unused)
{
    struct world w;
    bool asked[4] = {false};

    (void)unused;
    lives(&w);
    for (int i = 0; i < 4; i++) {
        struct seen seen = links(&w);

        assert_int_equal(seen.n_pings, 1);
        assert_int_equal(seen.n_paces, 0);
        for (unsigned k = 1; k <= 3; k++)
            asked[k] = asked[k] || seen.pinged == w.nodes[k].id;
    }
    assert_true(asked[2] && asked[3] && !asked[1]);
    world_deinit(&w);
}

static void a_stream_takes_what_delays_nobody(void **unused)
{
    struct backhaul_streams view;
    struct world w;
    uint32_t allowed;

    (void)unused;
    lives(&w);
    links(&w);
    assert_int_equal(shown(&w).n, 0);
    allowed = stream_for(&w, 1500, 2, 0);
    assert_in_range(allowed, CAPACITY_KBPS / 20,
                    CAPACITY_KBPS); /* nothing was delivered at first */
    allowed = stream_for(&w, 1500, 2, allowed);
    assert_int_equal(allowed, CAPACITY_KBPS);
    view = shown(&w);
    assert_int_equal(view.n, 1);
    assert_int_equal(view.allowed_kbps, CAPACITY_KBPS);
    assert_false(view.is_held);

    /* Answers come later and later: it gives way, and says so. */
    allowed = stream_for(&w, 1000, 80, allowed);
    assert_in_range(allowed, CAPACITY_KBPS / 100, CAPACITY_KBPS / 50);
    view = shown(&w);
    assert_true(view.is_held);
    assert_in_range(view.delay_us, 70000, 80000);

    /* It ends: nothing is held, and a new one begins anew. */
    assert_int_equal(streams(&w, 0, 0).n_pings, 0);
    assert_int_equal(shown(&w).n, 0);
    world_deinit(&w);
}

/* A stream fills the link, then nobody answers for a second: what is allowed at the end of that. */
static uint32_t silenced(struct world *w)
{
    lives(w);
    links(w);
    return stream_for(w, 1000, 0, stream_for(w, 3000, 2, CAPACITY_KBPS));
}

static void no_answer_is_a_long_delay(void **unused)
{
    struct world w;

    (void)unused;
    assert_in_range(silenced(&w), CAPACITY_KBPS / 100, CAPACITY_KBPS / 50);
    world_deinit(&w);
}

static void strange_answers_change_nothing(void **unused)
{
    struct world w;
    struct seen seen;
    uint32_t before;

    (void)unused;
    lives(&w);
    links(&w);
    before = stream_for(&w, 3000, 2, CAPACITY_KBPS);
    pong(&w, 0);
    pong(&w, UINT64_MAX);
    pong(&w, w.now - 900000);
    seen = streams(&w, 1, before);
    assert_int_equal(seen.rate_kbps, before);
    assert_false(shown(&w).is_held);
    world_deinit(&w);
}

static void what_a_guest_waits_for_is_held_back_less(void **unused)
{
    struct world w;
    uint32_t allowed;

    (void)unused;
    allowed = silenced(&w);
    assert_true(allowed < PACE_AWAITED_KBPS);
    assert_int_equal(streams_of(&w, 2, 1, allowed).rate_kbps, PACE_AWAITED_KBPS);
    assert_true(streams_of(&w, 1, 0, allowed).rate_kbps < PACE_AWAITED_KBPS);
    world_deinit(&w);
}

static void who_waits_for_a_move(void **unused)
{
    (void)unused;
    for (enum move_mode mode = MOVE_AUTO; mode <= MOVE_POST; mode++) {
        assert_int_equal(core_pace_manner(KIND_CELL, mode), PACE_URGENT);
        assert_int_equal(core_pace_manner(KIND_VM, mode),
                         mode == MOVE_STOP ? PACE_URGENT : PACE_AWAITED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_way_is_asked_now_and_then),
        cmocka_unit_test(a_stream_takes_what_delays_nobody),
        cmocka_unit_test(no_answer_is_a_long_delay),
        cmocka_unit_test(strange_answers_change_nothing),
        cmocka_unit_test(what_a_guest_waits_for_is_held_back_less),
        cmocka_unit_test(who_waits_for_a_move),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
