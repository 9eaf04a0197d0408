/* request: a request becomes an operation. What the codec cannot know is checked here: descriptors
 * before the operation stands, the guest's state as its first step (steps_*_posix.c).
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/guard/records_posix.h"
#include "agent/guard/work_posix.h"

enum fds { FDS_NONE, FDS_STREAM, FDS_FILE, FDS_STDIO };

static const struct {
    const step_fn *steps, *undo;
    enum fds fds;
    bool of_guest; /* serialised with the guest's other operations */
} table[GUARD_OP_END] = {
    [GUARD_FABRIC] = {steps_fabric, NULL, FDS_NONE, false},
    [GUARD_UNPACK] = {steps_unpack, NULL, FDS_FILE, false},
    [GUARD_DROP_IMAGE] = {steps_drop_image, NULL, FDS_NONE, false},
    [GUARD_START] = {steps_start, undo_start, FDS_NONE, true},
    [GUARD_STOP] = {steps_stop, NULL, FDS_NONE, true},
    [GUARD_FREEZE] = {steps_freeze, NULL, FDS_NONE, true},
    [GUARD_THAW] = {steps_thaw, NULL, FDS_NONE, true},
    [GUARD_LOOK] = {steps_look, NULL, FDS_STREAM, false},
    [GUARD_EXEC] = {steps_exec, NULL, FDS_STDIO, false},
    [GUARD_CONSOLE] = {steps_console, NULL, FDS_STDIO, false},
    [GUARD_LOGS] = {steps_logs, NULL, FDS_NONE, false},
    [GUARD_PREPARE] = {steps_prepare, undo_prepare, FDS_NONE, true},
    [GUARD_CAPTURE] = {steps_capture, undo_capture, FDS_STREAM, true},
    [GUARD_RECEIVE] = {steps_receive, NULL, FDS_STREAM, true},
    [GUARD_ACTIVATE] = {steps_activate, undo_activate, FDS_NONE, true},
    [GUARD_RESUME] = {steps_resume, NULL, FDS_NONE, true},
    [GUARD_DISCARD] = {steps_discard, NULL, FDS_NONE, true},
    [GUARD_CHECK] = {steps_check, NULL, FDS_NONE, false},
    [GUARD_FAIL] = {steps_fail, NULL, FDS_NONE, true},
    [GUARD_CHECKPOINT] = {steps_checkpoint, NULL, FDS_NONE, true},
    [GUARD_SEND] = {steps_send, NULL, FDS_STREAM, false},
    [GUARD_RESTORE] = {steps_restore, undo_start, FDS_FILE, true},
    [GUARD_STATS] = {steps_stats, NULL, FDS_NONE, false},
    [GUARD_AWAIT] = {steps_await, NULL, FDS_NONE, false},
    [GUARD_PROGRESS] = {steps_progress, NULL, FDS_NONE, false},
    [GUARD_KEEP_VOLUMES] = {steps_keep_volumes, NULL, FDS_NONE, false},
};

static bool is_mode(int fd, mode_t a, mode_t b)
{
    struct stat st;

    return fd >= 0 && fstat(fd, &st) == 0 &&
           ((st.st_mode & S_IFMT) == a || (st.st_mode & S_IFMT) == b);
}

static bool is_stdio(int fd)
{
    struct stat st;

    return fd >= 0 && fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode) && !S_ISBLK(st.st_mode);
}

static bool descriptors_are_right(const struct guard_request *request, enum fds fds)
{
    const int *fd = request->fds;

    switch (fds) {
    case FDS_NONE:
        return fd[0] < 0;
    case FDS_STREAM:
        return is_mode(fd[0], S_IFSOCK, S_IFIFO) && fd[1] < 0;
    case FDS_FILE:
        return is_mode(fd[0], S_IFREG, S_IFREG) && fd[1] < 0;
    case FDS_STDIO:
        return is_stdio(fd[0]) && is_stdio(fd[1]) && is_stdio(fd[2]);
    }
    return false;
}

static void refuse(struct work *work, const struct guard_request *request, uint32_t client,
                   int code, const char *text)
{
    struct guard_reply reply;

    guard_reply_init(&reply);
    reply.serial = request->serial;
    reply.op = request->op;
    reply.code = code;
    strcpy(reply.text, text);
    work_answer(work, client, &reply);
}

static const char *guest_of(const struct guard_request *request)
{
    bool has_run =
        request->op == GUARD_START || request->op == GUARD_RESTORE || request->op == GUARD_PREPARE;

    return has_run ? request->run.spec.name : request->copy.guest;
}

void request_begin(struct work *work, struct guard_request *request, uint32_t client)
{
    enum guard_op op = request->op;

    if (table[op].steps == NULL)
        refuse(work, request, client, -EPERM, "not on this connection");
    else if (!descriptors_are_right(request, table[op].fds))
        refuse(work, request, client, -EINVAL, "the wrong descriptors came along");
    else
        operation_begin(work, request, client, table[op].steps, table[op].undo,
                        table[op].of_guest ? guest_of(request) : NULL);
    /* What the operation took is -1 here. */
    for (int i = 0; i < GUARD_MAX_FDS; i++) {
        if (request->fds[i] >= 0)
            close(request->fds[i]);
        request->fds[i] = -1;
    }
}

enum step save_record(struct work *work, struct operation *op)
{
    struct err err;

    work->has_news = true;
    if (record_write(work->config.run_dir, &op->guest->record, &err) < 0)
        return operation_fail(op, err.code, "%s", err.text);
    return STEP_NEXT;
}
