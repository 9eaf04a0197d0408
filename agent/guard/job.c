#include "agent/guard/job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[JOB_KIND_END] = {
    [JOB_CHECKPOINT] = "checkpoint",
    [JOB_SEND] = "send",
    [JOB_RESTORE] = "restore",
    [JOB_RESET] = "reset",
    [JOB_SURVEY] = "survey",
    [JOB_AWAIT] = "await",
    [JOB_START] = "start",
    [JOB_TERMINATE] = "terminate",
    [JOB_EXEC] = "exec",
    [JOB_LOOK] = "look",
    [JOB_CONSOLE] = "console",
    [JOB_CLEAN_UP] = "clean-up",
    [JOB_PREPARE] = "prepare",
    [JOB_COPY] = "copy",
    [JOB_CAPTURE] = "capture",
    [JOB_RECEIVE] = "receive",
    [JOB_ACTIVATE] = "activate",
    [JOB_STAND_BY] = "stand-by",
    [JOB_AWAIT_RESTORED] = "await-restored",
    [JOB_RESUME] = "resume",
    [JOB_DISCARD] = "discard",
    [JOB_UNPACK] = "unpack",
    [JOB_DROP_IMAGE] = "drop-image",
    [JOB_SETUP] = "setup",
    [JOB_APPLY] = "apply",
    [JOB_PLUG] = "plug",
    [JOB_UNPLUG] = "unplug",
    [JOB_WATCH] = "watch",
    [JOB_CHECK] = "check",
    [JOB_PROBE] = "probe",
    [JOB_DROP_ASIDE] = "drop-aside",
};

const char *job_kind_name(enum job_kind kind)
{
    return kind >= JOB_START && kind < JOB_KIND_END ? names[kind] : "unknown";
}

void job_init(struct job *job)
{
    memset(job, 0, sizeof(*job));
    job->wish.terms = MOVE_TERMS_DEFAULT;
    for (int i = 0; i < GUARD_MAX_FDS; i++)
        job->fds[i] = -1;
}

void job_deinit(struct job *job)
{
    for (uint32_t i = 0; job->argv != NULL && i < job->n_argv; i++)
        free(job->argv[i]);
    free(job->argv);
    guest_run_deinit(&job->run);
    fabric_view_deinit(&job->view);
    job_init(job);
}

void job_encode(const struct job *job, struct writer *w)
{
    write_u32(w, job->id);
    write_u8(w, (uint8_t)job->kind);
    write_bool(w, job->has_run);
    if (job->has_run)
        guest_run_encode(&job->run, w);
    write_u32(w, job->pid);
    write_u64(w, job->start_time);
    write_bool(w, job->keep_upper);
    write_bool(w, job->is_kept);
    write_bool(w, job->is_target);
    write_bytes(w, job->digest, DIGEST_SIZE);
    write_u64(w, job->since_us);
    mode_wish_encode(&job->wish, w);
    write_u32(w, job->timeout_ms);
    write_u16(w, job->port);
    write_u32(w, job->n_argv);
    for (uint32_t i = 0; i < job->n_argv; i++)
        write_string(w, job->argv[i]);
    write_bool(w, job->has_view);
    if (job->has_view)
        fabric_view_encode(&job->view, w);
}

static int read_argv(struct reader *r, struct job *ret)
{
    uint32_t n = read_count(r, MAX_ARGUMENTS);
    char text[ARGUMENT_SIZE];

    ret->argv = calloc(n + 1, sizeof(*ret->argv));
    if (ret->argv == NULL)
        return -ENOMEM;
    for (; ret->n_argv < n; ret->n_argv++) {
        read_string(r, text, sizeof(text));
        ret->argv[ret->n_argv] = strdup(text);
        if (ret->argv[ret->n_argv] == NULL)
            return -ENOMEM;
    }
    return 0;
}

int job_decode(const void *data, size_t size, struct job *ret)
{
    struct reader r;
    int rc = 0;

    job_init(ret);
    reader_init(&r, data, size);
    ret->id = read_u32(&r);
    ret->kind = read_u8(&r);
    ret->has_run = read_bool(&r);
    if (ret->has_run)
        rc = guest_run_decode(&r, &ret->run);
    ret->pid = read_u32(&r);
    ret->start_time = read_u64(&r);
    ret->keep_upper = read_bool(&r);
    ret->is_kept = read_bool(&r);
    ret->is_target = read_bool(&r);
    read_bytes(&r, ret->digest, DIGEST_SIZE);
    ret->since_us = read_u64(&r);
    mode_wish_decode(&r, &ret->wish);
    ret->timeout_ms = read_u32(&r);
    ret->port = read_u16(&r);
    if (rc == 0)
        rc = read_argv(&r, ret);
    ret->has_view = read_bool(&r);
    if (rc == 0 && ret->has_view)
        rc = fabric_view_decode(&r, &ret->view);
    if (rc == 0 && reader_done(&r) && ret->kind >= JOB_START && ret->kind < JOB_KIND_END)
        return 0;
    job_deinit(ret);
    return rc < 0 ? rc : -EBADMSG;
}

void job_result_end(struct job_result *ret, int rc, const struct err *err)
{
    ret->code = rc;
    if (rc < 0)
        memcpy(ret->text, err->text, sizeof(ret->text));
}

void job_result_encode(const struct job_result *result, struct writer *w)
{
    write_u32(w, result->id);
    write_u32(w, (uint32_t)result->code);
    write_string(w, result->text);
    write_u32(w, result->pid);
    write_u32(w, (uint32_t)result->status);
    write_u64(w, result->bytes);
    write_u64(w, result->frozen_us);
    write_u64(w, result->handed_over_us);
    write_u8(w, (uint8_t)result->mode);
    write_bool(w, result->copies_files);
    room_encode(&result->room, w);
}

int job_result_decode(const void *data, size_t size, struct job_result *ret)
{
    struct reader r;

    memset(ret, 0, sizeof(*ret));
    reader_init(&r, data, size);
    ret->id = read_u32(&r);
    ret->code = (int32_t)read_u32(&r);
    read_string(&r, ret->text, sizeof(ret->text));
    ret->pid = read_u32(&r);
    ret->status = (int32_t)read_u32(&r);
    ret->bytes = read_u64(&r);
    ret->frozen_us = read_u64(&r);
    ret->handed_over_us = read_u64(&r);
    ret->mode = (enum move_mode)read_u8(&r);
    if (ret->mode > MOVE_POST)
        reader_fail(&r);
    ret->copies_files = read_bool(&r);
    room_decode(&r, &ret->room);
    return reader_done(&r) ? 0 : -EBADMSG;
}
