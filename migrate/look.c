#include "migrate/look.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool is_there(const struct look *look, const struct look_reason *reason)
{
    for (uint32_t i = 0; i < look->n_reasons; i++) {
        if (strcmp(look->reasons[i].code, reason->code) == 0 &&
            strcmp(look->reasons[i].text, reason->text) == 0)
            return true;
    }
    return false;
}

static void note_overflow(struct look *look, bool is_obstacle)
{
    struct look_reason *last = &look->reasons[LOOK_MAX_REASONS - 1];

    last->is_obstacle = last->is_obstacle || is_obstacle;
    snprintf(last->code, sizeof(last->code), "more");
    snprintf(last->text, sizeof(last->text), "there is more than is listed here");
}

void look_add(struct look *look, const char *code, bool is_obstacle, const char *format, ...)
{
    struct look_reason reason = {.is_obstacle = is_obstacle};
    va_list args;

    snprintf(reason.code, sizeof(reason.code), "%s", code);
    va_start(args, format);
    vsnprintf(reason.text, sizeof(reason.text), format, args);
    va_end(args);
    if (is_there(look, &reason))
        return;
    if (look->n_reasons == LOOK_MAX_REASONS)
        note_overflow(look, is_obstacle);
    else
        look->reasons[look->n_reasons++] = reason;
}

const char *look_obstacle(const struct look *look)
{
    for (uint32_t i = 0; i < look->n_reasons; i++) {
        if (look->reasons[i].is_obstacle)
            return look->reasons[i].text;
    }
    return NULL;
}

void look_encode(const struct look *look, struct writer *w)
{
    write_u64(w, look->memory_bytes);
    write_u64(w, look->files_bytes);
    write_u64(w, look->volumes_bytes);
    write_u64(w, look->shm_bytes);
    write_u64(w, look->ahead_bytes);
    write_u32(w, look->n_ahead);
    write_u64(w, look->dirty_bytes_per_s);
    write_u32(w, look->n_processes);
    write_bool(w, look->stages_memory);
    write_bool(w, look->can_track_dirty);
    write_bool(w, look->can_pre);
    write_bool(w, look->can_lazy);
    write_u32(w, look->n_reasons);
    for (uint32_t i = 0; i < look->n_reasons; i++) {
        write_string(w, look->reasons[i].code);
        write_bool(w, look->reasons[i].is_obstacle);
        write_string(w, look->reasons[i].text);
    }
}

int look_decode(const void *data, size_t size, struct look *ret)
{
    struct look look = {0};
    struct reader r;

    reader_init(&r, data, size);
    look.memory_bytes = read_u64(&r);
    look.files_bytes = read_u64(&r);
    look.volumes_bytes = read_u64(&r);
    look.shm_bytes = read_u64(&r);
    look.ahead_bytes = read_u64(&r);
    look.n_ahead = read_u32(&r);
    look.dirty_bytes_per_s = read_u64(&r);
    look.n_processes = read_u32(&r);
    look.stages_memory = read_bool(&r);
    look.can_track_dirty = read_bool(&r);
    look.can_pre = read_bool(&r);
    look.can_lazy = read_bool(&r);
    look.n_reasons = read_count(&r, LOOK_MAX_REASONS);
    for (uint32_t i = 0; i < look.n_reasons; i++) {
        read_string(&r, look.reasons[i].code, LOOK_CODE_SIZE);
        look.reasons[i].is_obstacle = read_bool(&r);
        read_string(&r, look.reasons[i].text, LOOK_TEXT_SIZE);
    }
    if (!reader_done(&r))
        return -EBADMSG;
    *ret = look;
    return 0;
}
