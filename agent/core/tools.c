/* tools: arrays, actions and other small things that the parts of the core share; see
 * core/internal.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/internal.h"

/* ---- arrays and actions */

void *core_append(void *array_pointer, size_t *n, size_t size)
{
    char *array, *old;

    memcpy(&old, array_pointer, sizeof(old));
    array = realloc(old, (*n + 1) * size);
    if (array == NULL)
        abort(); /* a decision that is half made must not go on */
    memcpy(array_pointer, &array, sizeof(array));
    memset(array + *n * size, 0, size);
    return array + (*n)++ * size;
}

void core_take_out(void *array, size_t *n, size_t size, size_t at)
{
    char *bytes = array;

    memmove(bytes + at * size, bytes + (at + 1) * size, (*n - at - 1) * size);
    *n -= 1;
}

static void action_deinit(struct core_action *action)
{
    free(action->data);
    free(action->ack);
    if (action->guard != NULL)
        guard_request_deinit(action->guard);
    free(action->guard);
    free(action->answer);
    free(action->record);
}

void core_actions_clear(struct core_actions *actions)
{
    for (size_t i = 0; i < actions->n; i++)
        action_deinit(&actions->list[i]);
    actions->n = 0;
}

void core_actions_deinit(struct core_actions *actions)
{
    core_actions_clear(actions);
    free(actions->list);
    *actions = (struct core_actions){0};
}

struct core_action *core_act(struct core *core, enum core_action_type type)
{
    struct core_actions *out = core->out;
    struct core_action *list;

    if (out->n == out->capacity) {
        size_t capacity = out->capacity == 0 ? 8 : out->capacity * 2;

        list = realloc(out->list, capacity * sizeof(*list));
        if (list == NULL)
            abort();
        out->list = list;
        out->capacity = capacity;
    }
    list = &out->list[out->n++];
    *list = (struct core_action){.type = type};
    return list;
}

void core_send(struct core *core, uint64_t to, const struct message *message)
{
    struct writer w;
    size_t size;
    uint8_t *data;
    struct core_action *action;

    writer_init_growing(&w, MESSAGE_MAX_SIZE);
    message_encode(message, &w);
    data = writer_steal(&w, &size);
    if (data == NULL) /* too large: as if it were lost */
        return;
    action = core_act(core, CORE_SEND);
    action->to = to;
    action->data = data;
    action->size = size;
}

void core_record(struct core *core, const char *what, const char *guest, uint64_t node,
                 uint64_t index, const char *format, ...)
{
    struct core_record *record = calloc(1, sizeof(*record));
    va_list args;

    if (record == NULL)
        abort();
    snprintf(record->what, sizeof(record->what), "%s", what);
    snprintf(record->guest, sizeof(record->guest), "%s", guest != NULL ? guest : "");
    record->node = node;
    record->index = index;
    va_start(args, format);
    vsnprintf(record->text, sizeof(record->text), format, args);
    va_end(args);
    core_act(core, CORE_EVENT)->record = record;
}

struct core_record *core_newest_record(struct core *core)
{
    return core->out->list[core->out->n - 1].record;
}

uint32_t core_serial(struct core *core)
{
    core->last_serial = core->last_serial == UINT32_MAX ? 1 : core->last_serial + 1;
    return core->last_serial;
}

const char *core_node_name(const struct core *core, uint64_t id)
{
    const struct node *node = state_node(&core->state, id);

    return node != NULL ? node->name : "?";
}

void core_wake_at(uint64_t *wake_us, uint64_t at_us)
{
    if (at_us < *wake_us)
        *wake_us = at_us;
}
