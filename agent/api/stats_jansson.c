/* stats_jansson: guest.stats, what a guest has used since it came to its node. Answered there, by
 * its guard. */
#include <stdlib.h>
#include <string.h>

#include "agent/api/internal_jansson.h"

struct wish {
    struct api *api;
    struct asker asker;
    char guest[NAME_SIZE];
};

static json_t *number(uint64_t value)
{
    return value == GUARD_UNKNOWN ? json_null() : json_integer((json_int_t)value);
}

static json_t *stats_of(const struct state *state, const struct guest *guest,
                        const struct guard_stats *stats)
{
    const struct node *node = state_node(state, guest->placement.node);
    uint64_t cpu_ms = stats->cpu_us == GUARD_UNKNOWN ? GUARD_UNKNOWN : stats->cpu_us / 1000;

    return json_pack("{s:s, s:s, s:o, s:o, s:I, s:o, s:o, s:o}", "guest", guest->spec.name, "node",
                     node != NULL ? node->name : "", "cpu_ms", number(cpu_ms), "memory_bytes",
                     number(stats->memory_bytes), "memory_limit_bytes",
                     (json_int_t)guest->spec.memory_mib << 20, "processes",
                     number(stats->n_processes), "sent_bytes", number(stats->sent_bytes),
                     "received_bytes", number(stats->received_bytes));
}

static void counted(void *context, const struct guard_request *request, struct guard_reply *reply)
{
    struct wish *wish = context;
    const struct state *state = core_state(wish->api->s->core);
    const struct guest *guest = state_guest(state, wish->guest);

    (void)request;
    if (guest == NULL || reply->code < 0)
        api_error(wish->api, &wish->asker, "not_now", "%s",
                  reply->code < 0 ? reply->text : "the guest has just been removed");
    else
        api_ok(wish->api, &wish->asker, stats_of(state, guest, &reply->stats), NULL);
    free(wish);
}

void api_guest_stats(struct api *api, struct call *call)
{
    const char *name = json_string_value(json_object_get(call->params, "name"));
    const struct guest *guest = state_guest(core_state(api->s->core), name);
    struct wish *wish = calloc(1, sizeof(*wish));
    struct guard_request request;

    if (wish == NULL) {
        api_error(api, &call->asker, "failed", "out of memory");
        return;
    }
    wish->api = api;
    wish->asker = call->asker;
    memcpy(wish->guest, guest->spec.name, NAME_SIZE);
    guard_request_init(&request);
    request.op = GUARD_STATS;
    memcpy(request.copy.guest, guest->spec.name, NAME_SIZE);
    request.copy.epoch = guest->placement.epoch;
    skeind_guard_send(api->s, &request, counted, wish);
}
