/* cluster_uv: being a member of a cluster: how it begins, what is remembered, how it ends.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/api/api_jansson.h"
#include "agent/skeind/skeind_uv.h"
#include "agent/streams/checkpoints_uv.h"
#include "agent/streams/stream_uv.h"
#include "base/clean.h"
#include "base/log.h"
#include "consensus/file_posix.h"
#include "consensus/keyring.h"
#include "consensus/link_uv.h"
#include "consensus/replica.h"

enum { MEMBERS_FILE_MAX = 256 * 1024, MAX_VOTERS = 5, MEMBERS_LIMIT_MS = 2000 };

#define MEMBERS_FILE "members"
#define REASON_FILE  "left"

int skeind_facts(struct skeind *s, struct node_facts *ret, struct err *err)
{
    int rc;

    machine_read(&s->config, &s->machine);
    rc = facts_make(&s->config, &s->machine, ret, err);
    if (rc < 0)
        return rc;
    memcpy(ret->link_key, s->identity.link_public, KEY_SIZE);
    memcpy(ret->curve_key, s->identity.curve_public, KEY_SIZE);
    return 0;
}

static int save_members(struct skeind *s, struct err *err)
{
    struct writer w;
    cleanup_free uint8_t *bytes = NULL;
    size_t size;

    writer_init_growing(&w, MEMBERS_FILE_MAX);
    members_encode(&s->members, &w);
    bytes = writer_steal(&w, &size);
    if (bytes == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    return file_replace(s->config.data_dir, MEMBERS_FILE, bytes, size, 0600, err);
}

/* ---- keys and peers follow the members */

static int use_members(struct skeind *s)
{
    size_t n = s->members.n;
    cleanup_free struct keyring_entry *entries = calloc(n + 1, sizeof(*entries));
    cleanup_free struct peer_member *peers = calloc(n + 1, sizeof(*peers));
    int rc;

    if (entries == NULL || peers == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const struct member *m = &s->members.list[i];

        entries[i] = (struct keyring_entry){.id = m->id, .address = m->address};
        memcpy(entries[i].link_key, m->link_key, KEY_SIZE);
        peers[i] = (struct peer_member){.id = m->id, .address = m->address};
        memcpy(peers[i].curve_key, m->curve_key, KEY_SIZE);
    }
    rc = keyring_replace(s->keyring, entries, n);
    return rc < 0 || s->peers == NULL ? rc : peers_set_members(s->peers, peers, n);
}

bool skeind_is_past(const struct skeind *s, uint64_t index)
{
    return index < s->loaded_index;
}

/* A log that is still being replayed knows less than the file. */
static void update_members(struct skeind *s)
{
    struct members members = {0};
    struct err err = {0};
    int rc;

    s->members_changed = false;
    if (state_node(core_state(s->core), s->members.own_id) == NULL)
        return;
    rc = members_of_state(core_state(s->core), s->members.own_id, &members);
    if (rc < 0 || members_are_equal(&members, &s->members)) {
        members_deinit(&members);
        return;
    }
    members_deinit(&s->members);
    s->members = members;
    rc = use_members(s);
    if (rc < 0)
        log_error("members: keys and peers cannot be set: %s", strerror(-rc));
    if (save_members(s, &err) < 0)
        log_warn("members: %s", err.text);
}

void skeind_cluster_members(struct skeind *s)
{
    if (!s->members_changed)
        s->members_due_us = now_us() + MEMBERS_LIMIT_MS * 1000ull;
    s->members_changed = true;
    if (!skeind_is_past(s, core_state(s->core)->index))
        update_members(s);
}

/* A tail of the log that was never agreed on goes: then the past has no end of its own. */
void skeind_sweep_members(struct skeind *s)
{
    if (s->members_changed &&
        (!skeind_is_past(s, core_state(s->core)->index) || now_us() > s->members_due_us))
        update_members(s);
}

/* ---- start */

static void each_image(void *context, const uint8_t digest[DIGEST_SIZE])
{
    struct core_event event = {.type = CORE_IMAGE_HELD};

    memcpy(event.digest, digest, DIGEST_SIZE);
    skeind_event(context, &event);
}

static int start_core(struct skeind *s, struct err *err)
{
    struct core_config config = {
        .id = s->members.own_id,
        .timers = s->members.timers,
        .max_voters = MAX_VOTERS,
        .stream_delay_ms = s->config.stream_delay_ms,
    };
    uint64_t hints[CORE_MAX_HINTS];
    int rc = skeind_facts(s, &config.facts, err);

    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < s->members.n && config.n_hints < CORE_MAX_HINTS; i++) {
        if (s->members.list[i].id != config.id)
            hints[config.n_hints++] = s->members.list[i].id;
    }
    config.hints = hints;
    random_bytes(config.salt, sizeof(config.salt));
    rc = core_new(&config, &s->core, err);
    node_facts_deinit(&config.facts);
    return rc;
}

static void on_peer_message(void *context, uint64_t from, enum peer_channel channel,
                            const uint8_t *data, size_t size)
{
    struct skeind *s = context;
    struct core_event event = {.type = CORE_PEER_MESSAGE, .from = from, .data = data, .size = size};

    if (channel == PEER_CONTROL) {
        event.published_term = s->replica != NULL ? replica_published_term(s->replica) : 0;
        skeind_event(s, &event);
    } else if (channel == PEER_REQUEST || channel == PEER_ANSWER) {
        api_peer_message(s->api, from, channel == PEER_ANSWER, data, size);
    }
}

static void on_join(void *context, const struct peer_route *route, const uint8_t *data, size_t size)
{
    struct skeind *s = context;
    struct envelope envelope = {.origin = {.kind = ORIGIN_JOIN, .route_size = route->size},
                                .json = (const char *)data,
                                .json_size = size};

    memcpy(envelope.origin.route, route->bytes, route->size);
    api_receive(s->api, &envelope);
}

static int start_network(struct skeind *s, struct err *err)
{
    const struct member *own = members_find(&s->members, s->members.own_id);
    const struct timers *timers = &s->members.timers;
    struct peers_config peers = {
        .pump = s->pump,
        .address = own->address,
        .port = PORT_API,
        .own_id = own->id,
        .connect_ms = (int)timers_silence_ms(timers, PEERS_CONNECT_MS),
        .handshake_ms = (int)timers_silence_ms(timers, PEERS_HANDSHAKE_MS),
        .silence_ms = (int)timers_silence_ms(timers, PEERS_SILENCE_MS),
        .context = s,
        .on_message = on_peer_message,
        .on_join = on_join,
    };
    struct streams_config streams = {
        .main_loop = s->loop,
        .identity = &s->identity,
        .keyring = s->keyring,
        .store = s->store,
        .node = own->id,
        .address = own->address,
        .port = PORT_STREAM,
        .peer_port = PORT_STREAM,
        .connect_ms = timers_silence_ms(timers, LINK_DEFAULT_CONNECT_MS),
        .dead_ms = timers_silence_ms(timers, LINK_DEFAULT_DEAD_MS),
        .context = s,
        .on_migration = skeind_migration_stream,
        .on_migration_end = skeind_migration_end,
        .on_flows = s->config.stream_delay_ms != 0 ? skeind_stream_flows : NULL,
        .on_checkpoint = skeind_checkpoint_stream,
    };
    int rc;

    memcpy(peers.curve_public, s->identity.curve_public, KEY_SIZE);
    memcpy(peers.curve_secret, s->identity.curve_secret, KEY_SIZE);
    memcpy(streams.cluster, s->members.cluster, NONCE_SIZE);
    rc = peers_open(&peers, &s->peers, err);
    if (rc == 0)
        rc = use_members(s);
    if (rc == 0)
        rc = streams_new(&streams, &s->streams, err);
    return rc;
}

static int start(struct skeind *s, bool bootstrap, struct err *err)
{
    struct core_event hello = {.type = CORE_GUARD_HELLO, .hello = s->hello};
    int rc = 0;

    if (members_find(&s->members, s->members.own_id) == NULL)
        return err_set(err, -EBADMSG, "%s/" MEMBERS_FILE " does not name this node",
                       s->config.data_dir);
    s->keyring = keyring_new();
    if (s->keyring == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    rc = start_core(s, err);
    if (rc == 0)
        rc = start_network(s, err);
    if (rc == 0)
        rc = skeind_replica_start(s, bootstrap, err);
    if (rc < 0)
        return rc;
    s->is_member = true;
    s->member_us = now_us();
    if (s->has_guard)
        skeind_event(s, &hello);
    image_store_list(s->store, each_image, s, NULL);
    log_info("member: node %llu", (unsigned long long)s->members.own_id);
    return 0;
}

int skeind_cluster_load(struct skeind *s, struct err *err)
{
    cleanup_free uint8_t *bytes = malloc(MEMBERS_FILE_MAX);
    struct timers wanted = config_timers_wanted(&s->config);
    ssize_t size;

    if (bytes == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    size = file_read(s->config.data_dir, REASON_FILE, s->reason, sizeof(s->reason) - 1, NULL);
    s->reason[size > 0 ? size : 0] = '\0';
    size = file_read(s->config.data_dir, MEMBERS_FILE, bytes, MEMBERS_FILE_MAX, err);
    if (size == -ENOENT)
        return 0;
    if (size < 0)
        return (int)size;
    if (members_decode(bytes, (size_t)size, &s->members) < 0)
        return err_set(err, -EBADMSG, "%s/" MEMBERS_FILE " is damaged", s->config.data_dir);
    if (timers_agree(&wanted, &s->members.timers, err) < 0) {
        s->exit_code = SKEIND_EXIT_USAGE;
        return err->code;
    }
    if (identity_load_or_create(s->config.data_dir, &s->identity, err) < 0)
        return err->code;
    return start(s, false, err);
}

/* Remembers and starts; takes `members`. */
static int become(struct skeind *s, struct members *members, bool bootstrap, struct err *err)
{
    char path[FILE_PATH_SIZE];
    int rc;

    members_deinit(&s->members);
    s->members = *members;
    *members = (struct members){0};
    rc = save_members(s, err);
    if (rc < 0)
        return rc;
    if (file_path(s->config.data_dir, REASON_FILE, path, NULL) == 0)
        unlink(path);
    s->reason[0] = '\0';
    return start(s, bootstrap, err);
}

int skeind_cluster_init(struct skeind *s, struct err *err)
{
    struct members members = {.own_id = 1, .timers = config_timers(&s->config)};
    struct node_facts facts = {0};
    const char *name;
    int rc = identity_load_or_create(s->config.data_dir, &s->identity, err);

    if (rc == 0)
        rc = skeind_facts(s, &facts, err);
    name = facts_name(&s->config, &s->machine);
    if (rc == 0 && name[0] == '\0')
        rc = err_set(err, -EINVAL, "this node has no name: set 'name' in %s or say --name",
                     CONFIG_DEFAULT_FILE);
    members.list = calloc(1, sizeof(*members.list));
    if (rc == 0 && members.list != NULL) {
        random_bytes(members.cluster, NONCE_SIZE);
        members.n = 1;
        members.list[0] = (struct member){.id = 1, .address = facts.address};
        snprintf(members.list[0].name, NAME_SIZE, "%s", name);
        memcpy(members.list[0].link_key, facts.link_key, KEY_SIZE);
        memcpy(members.list[0].curve_key, facts.curve_key, KEY_SIZE);
        rc = become(s, &members, true, err);
    }
    node_facts_deinit(&facts);
    members_deinit(&members);
    return rc;
}

int skeind_cluster_join(struct skeind *s, struct members *members, struct err *err)
{
    return become(s, members, false, err);
}

void skeind_cluster_begin(struct skeind *s)
{
    static const uint8_t none[NONCE_SIZE];
    struct command command = {.type = COMMAND_CLUSTER_INIT, .time_s = wall_ms() / 1000};
    struct err err = {0};
    struct writer w;
    cleanup_free uint8_t *bytes = NULL;
    size_t size;

    if (s->init_proposed || s->members.own_id != 1 || s->core == NULL ||
        memcmp(core_state(s->core)->cluster, none, NONCE_SIZE) != 0)
        return;
    random_bytes(command.request, NONCE_SIZE);
    memcpy(command.cluster_init.cluster, s->members.cluster, NONCE_SIZE);
    memcpy(command.cluster_init.name, s->members.list[0].name, NAME_SIZE);
    command.cluster_init.timers = s->members.timers;
    if (skeind_facts(s, &command.cluster_init.facts, &err) < 0) {
        log_error("init: %s", err.text);
        return;
    }
    writer_init_growing(&w, COMMAND_MAX_SIZE);
    command_encode(&command, &w);
    bytes = writer_steal(&w, &size);
    command_deinit(&command);
    if (bytes != NULL && replica_propose(s->replica, command.request, bytes, size) == 0)
        s->init_proposed = true;
}

/* ---- end */

void skeind_cluster_leave(struct skeind *s, const char *reason, int exit_code)
{
    char path[FILE_PATH_SIZE];
    struct err err = {0};

    s->is_member = false;
    log_error("this node is no member any more: %s; join it again with a new token", reason);
    skeind_cluster_stop(s);
    if (replica_discard(s->config.data_dir, &err) < 0)
        log_error("%s", err.text);
    if (file_replace(s->config.data_dir, REASON_FILE, reason, strlen(reason), 0600, &err) < 0)
        log_error("%s", err.text);
    if (file_path(s->config.data_dir, MEMBERS_FILE, path, NULL) == 0)
        unlink(path);
    skeind_stop(s, exit_code);
}

void skeind_cluster_stop(struct skeind *s)
{
    skeind_replica_stop(s);
    if (s->streams != NULL)
        streams_close(s->streams);
    s->streams = NULL;
    checkpoints_free(s->checkpoints); /* whose streams have ended */
    s->checkpoints = NULL;
    peers_close(s->peers);
    s->peers = NULL;
}
