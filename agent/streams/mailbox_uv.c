#include "agent/streams/mailbox_uv.h"

#include <errno.h>
#include <stdlib.h>

struct letter {
    mailbox_run run;
    void *argument;
};

struct mailbox {
    uv_async_t async;
    uv_mutex_t lock;
    size_t capacity, first, n; /* under the lock, as are the letters: a ring */
    struct letter letters[];
};

static int take(struct mailbox *mailbox, struct letter *ret)
{
    int taken = 0;

    uv_mutex_lock(&mailbox->lock);
    if (mailbox->n > 0) {
        *ret = mailbox->letters[mailbox->first];
        mailbox->first = (mailbox->first + 1) % mailbox->capacity;
        mailbox->n--;
        taken = 1;
    }
    uv_mutex_unlock(&mailbox->lock);
    return taken;
}

static void on_letters(uv_async_t *async)
{
    struct letter letter;

    while (take(async->data, &letter))
        letter.run(letter.argument);
}

int mailbox_new(uv_loop_t *loop, size_t capacity, struct mailbox **ret)
{
    struct mailbox *mailbox = calloc(1, sizeof(*mailbox) + capacity * sizeof(struct letter));

    if (mailbox == NULL)
        return -ENOMEM;
    mailbox->capacity = capacity;
    if (uv_mutex_init(&mailbox->lock) != 0) {
        free(mailbox);
        return -ENOMEM;
    }
    if (uv_async_init(loop, &mailbox->async, on_letters) != 0) {
        uv_mutex_destroy(&mailbox->lock);
        free(mailbox);
        return -ENOMEM;
    }
    mailbox->async.data = mailbox;
    *ret = mailbox;
    return 0;
}

int mailbox_post(struct mailbox *mailbox, mailbox_run run, void *argument)
{
    int r = 0;

    uv_mutex_lock(&mailbox->lock);
    if (mailbox->n == mailbox->capacity) {
        r = -ENOBUFS;
    } else {
        size_t at = (mailbox->first + mailbox->n++) % mailbox->capacity;

        mailbox->letters[at] = (struct letter){run, argument};
    }
    uv_mutex_unlock(&mailbox->lock);
    if (r == 0)
        uv_async_send(&mailbox->async);
    return r;
}

static void on_closed(uv_handle_t *handle)
{
    struct mailbox *mailbox = handle->data;

    uv_mutex_destroy(&mailbox->lock);
    free(mailbox);
}

void mailbox_close(struct mailbox *mailbox)
{
    on_letters(&mailbox->async);
    uv_close((uv_handle_t *)&mailbox->async, on_closed);
}
