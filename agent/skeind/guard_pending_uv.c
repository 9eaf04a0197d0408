#include "agent/skeind/guard_pending_uv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void pending_init(struct pending_list *list)
{
    *list = (struct pending_list){.last = &list->first};
}

void pending_add(struct pending_list *list, struct pending *p)
{
    p->next = NULL;
    *list->last = p;
    list->last = &p->next;
    list->n++;
}

struct pending *pending_take(struct pending_list *list, int connection, uint32_t serial)
{
    struct pending **at = &list->first, *p;

    while (*at != NULL && serial != 0 &&
           ((*at)->request.serial != serial || (*at)->connection != connection))
        at = &(*at)->next;
    p = *at;
    if (p == NULL)
        return NULL;
    *at = p->next;
    if (list->last == &p->next)
        list->last = at;
    list->n--;
    return p;
}

void pending_finish(struct pending *p, struct guard_reply *reply)
{
    p->cb(p->context, &p->request, reply);
    guard_request_deinit(&p->request);
    free(p);
}

static void finish_with(struct pending *p, int code, const char *text)
{
    struct guard_reply reply;

    guard_reply_init(&reply);
    reply.serial = p->request.serial;
    reply.op = p->request.op;
    reply.code = code;
    strcpy(reply.text, text);
    pending_finish(p, &reply);
}

static const char *words_of(int code)
{
    switch (code) {
    case -ENOTCONN:
        return "skein-guard is not there";
    case -ECONNRESET:
        return "skein-guard was lost meanwhile: what became of this is unknown";
    case -ECANCELED:
        return "skeind ends";
    case -EMSGSIZE:
        return "too much for one message";
    default:
        return "too much is on its way to skein-guard";
    }
}

void pending_finish_all(struct pending_list *list, int code)
{
    struct pending_list taken = *list;

    if (list->first == NULL)
        return;
    if (taken.last == &list->first)
        taken.last = &taken.first;
    pending_init(list); /* callbacks may send again */
    while (taken.first != NULL) {
        struct pending *p = pending_take(&taken, 0, 0);
        int why = p->code != 0 ? p->code : code;

        finish_with(p, why, words_of(why));
    }
}
