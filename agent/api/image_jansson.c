/* image_jansson: images come in from clients (chunks to the store, checked, then the cluster is
 * told), and go out to them. Disk work is done by workers: the main loop carries beats and must not
 * wait for a disk. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/api/command_jansson.h"
#include "agent/api/fields_jansson.h"
#include "agent/api/internal_jansson.h"
#include "agent/streams/image_check_archive.h"
#include "agent/streams/upload.h"
#include "base/log.h"

enum { UPLOAD_SILENCE_MS = 60000, CHUNK_MAX = 512 * 1024 };

struct upload {
    struct upload *next;
    struct api *api;
    uint64_t number;
    char name[NAME_SIZE];
    struct image_upload *file; /* NULL when ended */
    struct upload_facts facts;
    uint64_t heard_us;

    /* The work under way; nobody else touches the upload meanwhile. */
    bool is_commit;
    uv_work_t work;
    struct call call; /* asker and request */
    uint8_t *chunk;   /* heap */
    size_t chunk_size;
    uint8_t expected[DIGEST_SIZE];
    enum image_format format;
    json_t *defaults; /* of the commit, NULL = none */
    uint32_t copies;
    int rc;
    struct err err;
};

static void upload_remove(struct upload *upload)
{
    struct upload **at = &upload->api->uploads;

    while (*at != upload)
        at = &(*at)->next;
    *at = upload->next;
    image_upload_abort(upload->file);
    json_decref(upload->defaults);
    free(upload->chunk);
    free(upload);
}

static struct upload *find(struct api *api, const struct call *call)
{
    uint64_t number = (uint64_t)json_integer_value(json_object_get(call->params, "upload"));

    for (struct upload *u = api->uploads; u != NULL; u = u->next) {
        if (u->number == number)
            return u;
    }
    return NULL;
}

static void say_unknown(struct api *api, const struct call *call)
{
    api_error(api, &call->asker, "refused", "there is no such upload (any more); begin anew");
}

void api_image_begin(struct api *api, struct call *call)
{
    struct upload *upload;
    struct err err = {0};
    char name[NAME_SIZE];

    if (name_of_json(call->params, "name", name, &err) < 0) {
        api_error(api, &call->asker, "invalid", "%s", err.text);
        return;
    }
    if (state_image(core_state(api->s->core), name) != NULL) {
        api_error(api, &call->asker, "refused",
                  "there is an image '%s' already; take another name or remove it first", name);
        return;
    }
    upload = calloc(1, sizeof(*upload));
    if (upload == NULL || image_store_begin(api->s->store, &upload->file, &err) < 0) {
        free(upload);
        api_error(api, &call->asker, "failed", "%s", err.text);
        return;
    }
    upload->api = api;
    upload->number = ++api->last_upload;
    memcpy(upload->name, name, NAME_SIZE);
    upload->heard_us = now_us();
    upload->next = api->uploads;
    api->uploads = upload;
    api_ok(api, &call->asker, json_pack("{s:I}", "upload", (json_int_t)upload->number), NULL);
}

/* ---- workers */

/* The bytes are stored; are they an image? */
static int check_stored(struct upload *upload)
{
    const struct image_store *store = upload->api->s->store;
    int fd = image_store_read(store, upload->facts.digest, NULL), rc;

    if (fd < 0)
        return err_set(&upload->err, fd, "the stored image cannot be read");
    rc = image_check(fd, &upload->format, &upload->err);
    close(fd);
    return rc;
}

static void work(uv_work_t *request)
{
    struct upload *upload = request->data;
    struct image_upload *file = upload->file;

    if (!upload->is_commit) {
        upload->rc = image_upload_write(file, upload->chunk, upload->chunk_size, &upload->err);
        return;
    }
    upload->file = NULL; /* it ends whatever happens */
    upload->rc = image_upload_finish(file, upload->expected, upload->facts.digest,
                                     &upload->facts.size, &upload->err);
    if (upload->rc == 0)
        upload->rc = check_stored(upload);
}

static bool is_known_digest(const struct state *state, const uint8_t digest[DIGEST_SIZE])
{
    for (size_t i = 0; i < state->n_images; i++) {
        if (memcmp(state->images[i].digest, digest, DIGEST_SIZE) == 0)
            return true;
    }
    return false;
}

static void committed(struct upload *upload)
{
    struct api *api = upload->api;
    struct core_event held = {.type = CORE_IMAGE_HELD};
    char digest[2 * DIGEST_SIZE + 1];

    memcpy(held.digest, upload->facts.digest, DIGEST_SIZE);
    skeind_event(api->s, &held);
    api_pass_on(api, &upload->call, "image.add",
                json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:O?}", "name", upload->name, "format",
                          image_format_name(upload->format), "digest",
                          hex_encode(upload->facts.digest, DIGEST_SIZE, digest), "size_bytes",
                          (json_int_t)upload->facts.size, "holder",
                          (json_int_t)api->s->members.own_id, "copies", (json_int_t)upload->copies,
                          "defaults", upload->defaults));
}

static void work_done(uv_work_t *request, int status)
{
    struct upload *upload = request->data;
    struct api *api = upload->api;

    (void)status;
    upload->facts.is_busy = false;
    upload->heard_us = now_us();
    if (upload->rc < 0) {
        api_error(api, &upload->call.asker, "refused", "%s", upload->err.text);
        if (upload->is_commit && upload->rc == -EBADMSG &&
            !is_known_digest(core_state(api->s->core), upload->facts.digest))
            image_store_drop(api->s->store, upload->facts.digest, NULL);
        upload_remove(upload);
    } else if (upload->is_commit) {
        upload->facts.is_committed = true; /* and stays a while: the answer may be "not now" */
        committed(upload);
    } else {
        upload->facts.size += upload->chunk_size;
        upload->facts.last_chunk = upload->chunk_size;
        api_ok(api, &upload->call.asker,
               json_pack("{s:I}", "size_bytes", (json_int_t)upload->facts.size), NULL);
    }
}

static void take_call(struct upload *upload, const struct call *call)
{
    upload->call = *call;
    upload->call.json = upload->call.params = NULL;
    upload->call.data = NULL;
    upload->call.warning = NULL;
    upload->heard_us = now_us();
}

static void start_work(struct upload *upload, const struct call *call, bool is_commit)
{
    take_call(upload, call);
    upload->is_commit = is_commit;
    upload->facts.is_busy = true;
    upload->work.data = upload;
    if (uv_queue_work(upload->api->s->loop, &upload->work, work, work_done) == 0)
        return;
    api_error(upload->api, &call->asker, "failed", "no worker can be started");
    upload_remove(upload);
}

static void say_busy(struct api *api, const struct call *call)
{
    api_error(api, &call->asker, "not_now", "the upload is busy with what was said before");
}

void api_image_chunk(struct api *api, struct call *call)
{
    struct upload *upload = find(api, call);
    json_int_t offset = json_integer_value(json_object_get(call->params, "offset"));
    enum upload_verdict verdict;

    if (upload == NULL) {
        say_unknown(api, call);
        return;
    }
    verdict = call->size > CHUNK_MAX ? UPLOAD_REFUSED
                                     : upload_chunk(&upload->facts, (uint64_t)offset, call->size);
    if (verdict == UPLOAD_NOT_NOW)
        say_busy(api, call);
    else if (verdict == UPLOAD_AGAIN)
        api_ok(api, &call->asker, json_pack("{s:I}", "size_bytes", (json_int_t)upload->facts.size),
               NULL);
    else if (verdict == UPLOAD_REFUSED)
        api_error(api, &call->asker, "invalid",
                  "a chunk is 1 to %d bytes, and goes where the one before ended (%llu)", CHUNK_MAX,
                  (unsigned long long)upload->facts.size);
    if (verdict != UPLOAD_DO)
        return;
    free(upload->chunk);
    upload->chunk = malloc(call->size);
    if (upload->chunk == NULL) {
        api_error(api, &call->asker, "failed", "out of memory");
        return;
    }
    memcpy(upload->chunk, call->data, call->size);
    upload->chunk_size = call->size;
    start_work(upload, call, false);
}

/* Before anything is stored for good. */
static int check_params(struct api *api, const struct call *call)
{
    json_t *copies = json_object_get(call->params, "copies");
    struct image image = {0};
    struct err err = {0};
    int rc = image_defaults_of_json(call->params, &image.defaults, &err);

    if (rc == 0 && copies != NULL && !json_is_null(copies) &&
        (!json_is_integer(copies) || json_integer_value(copies) < 0 ||
         json_integer_value(copies) > MAX_NODES))
        rc = err_set(&err, -EINVAL, "'copies' must be 0 (everywhere) to %d", MAX_NODES);
    if (rc < 0)
        api_error(api, &call->asker, "invalid", "%s", err.text);
    image_deinit(&image);
    return rc;
}

/* The upload may be gone, with a skeind that ended before it said so: what it brought may be there.
 */
static void answer_unknown(struct api *api, const struct call *call,
                           const uint8_t digest[DIGEST_SIZE])
{
    const char *name = json_string_value(json_object_get(call->params, "name"));
    const struct image *image = name != NULL ? state_image(core_state(api->s->core), name) : NULL;

    if (image != NULL && memcmp(image->digest, digest, DIGEST_SIZE) == 0)
        api_ok(api, &call->asker, json_pack("{s:s}", "name", name), NULL);
    else
        say_unknown(api, call);
}

void api_image_commit(struct api *api, struct call *call)
{
    struct upload *upload = find(api, call);
    uint8_t digest[DIGEST_SIZE];

    if (hex_decode(json_string_value(json_object_get(call->params, "digest")), digest,
                   DIGEST_SIZE) < 0) {
        api_error(api, &call->asker, "invalid", "'digest' must be 64 hex digits");
        return;
    }
    if (check_params(api, call) < 0)
        return;
    if (upload == NULL) {
        answer_unknown(api, call, digest);
        return;
    }
    switch (upload_commit(&upload->facts, digest)) {
    case UPLOAD_DO:
        memcpy(upload->expected, digest, DIGEST_SIZE);
        upload->defaults = json_incref(json_object_get(call->params, "defaults"));
        upload->copies = (uint32_t)json_integer_value(json_object_get(call->params, "copies"));
        start_work(upload, call, true);
        break;
    case UPLOAD_AGAIN: /* the log knows the request: it is done once */
        take_call(upload, call);
        committed(upload);
        break;
    case UPLOAD_NOT_NOW:
        say_busy(api, call);
        break;
    case UPLOAD_REFUSED:
        api_error(api, &call->asker, "refused",
                  "this upload was stored under another digest; begin anew");
        break;
    }
}

/* ---- out */

static const struct image *image_named(struct api *api, const struct call *call)
{
    const char *name = json_string_value(json_object_get(call->params, "name"));
    const struct image *image = name != NULL ? state_image(core_state(api->s->core), name) : NULL;

    if (image == NULL)
        api_error(api, &call->asker, "refused", "there is no image '%.40s'; skein image list",
                  name != NULL ? name : "");
    return image;
}

void api_image_show(struct api *api, struct call *call)
{
    struct show show = api_show(api);
    const struct image *image = image_named(api, call);

    if (image != NULL)
        api_ok(api, &call->asker, show_image(&show, image), call->warning);
}

/* Any node that has it, for a client that asked one that has not. */
static const char *name_of_holder(const struct state *state, const struct image *image)
{
    for (uint32_t i = 0; i < image->n_holders; i++) {
        const struct node *node = state_node(state, image->holders[i]);

        if (node != NULL && node->state == NODE_UP)
            return node->name;
    }
    return "none that is up";
}

/* Its bytes as they are stored: what was added, or, of a directory or an OCI layout, its archive.
 */
void api_image_export(struct api *api, struct call *call)
{
    const struct image *image = image_named(api, call);
    struct stream *stream;
    int fd;

    if (image == NULL)
        return;
    fd = image_store_read(api->s->store, image->digest, NULL);
    if (fd < 0) {
        api_error(api, &call->asker, "refused",
                  "this node does not hold image %s; ask one that does: %s", image->name,
                  name_of_holder(core_state(api->s->core), image));
        return;
    }
    stream = stream_add(api, call, STREAM_FILE);
    if (stream == NULL) {
        close(fd);
        return;
    }
    stream->fd = fd;
    stream_pump(stream);
}

/* The cluster works on it; its client may then have to ask again. */
static bool is_waited_for(struct upload *u)
{
    return u->facts.is_busy || ticket_is_open(u->api, &u->call.asker) ||
           relay_is_open(u->api, &u->call.asker);
}

void api_sweep_uploads(struct api *api)
{
    struct upload *next;

    for (struct upload *u = api->uploads; u != NULL; u = next) {
        next = u->next;
        if (is_waited_for(u))
            u->heard_us = now_us();
        else if (now_us() - u->heard_us > UPLOAD_SILENCE_MS * 1000ull)
            upload_remove(u);
    }
}
