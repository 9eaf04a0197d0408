/* mailbox_uv: work for the thread of another libuv loop, in order, with a limit. */
#ifndef SKEIN_AGENT_STREAMS_MAILBOX_UV_H
#define SKEIN_AGENT_STREAMS_MAILBOX_UV_H

#include <stddef.h>
#include <uv.h>

struct mailbox;

typedef void (*mailbox_run)(void *argument);

/* On the thread of `loop`, which will run what is posted. -ENOMEM. */
int mailbox_new(uv_loop_t *loop, size_t capacity, struct mailbox **ret);
/* From any thread: `run(argument)` is called soon on the loop. -ENOBUFS when `capacity` wait
 * already: then nothing was taken. */
int mailbox_post(struct mailbox *mailbox, mailbox_run run, void *argument);
/* On the loop's thread, when nobody posts any more: runs what waits, and ends. */
void mailbox_close(struct mailbox *mailbox);

#endif
