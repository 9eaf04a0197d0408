/* internal_jansson: what the API's files share (inside agent/api only).
 *
 *   api/api_jansson.c          messages in and out, who answers
 *   api/relay_jansson.c    what another node works on
 *   api/read_jansson.c     lists, shows, plan, status
 *   api/ask_jansson.c      questions of this node's own to another
 *   api/room_jansson.c     what is free here for guests that come
 *   api/check_jansson.c    what speaks for and against moving a guest
 *   api/stats_jansson.c    what a guest has used
 *   api/write_jansson.c    what goes through core: tickets
 *   api/cluster_jansson_sodium.c  init, join, tokens
 *   api/image_jansson.c    uploads, and images that go out
 *   api/stream_jansson.c   events, logs
 *   api/exec_jansson.c     exec
 */
#ifndef SKEIN_AGENT_API_INTERNAL_JANSSON_H
#define SKEIN_AGENT_API_INTERNAL_JANSSON_H

#include <jansson.h>

#include "agent/api/api_jansson.h"
#include "agent/api/show_jansson.h"
#include "agent/skeind/skeind_uv.h"
#include "consensus/token_sodium.h"
#include "migrate/room.h"

enum {
    API_ID_SIZE = 65,
    API_MAX_TICKETS = 1024,
    API_MAX_RELAYS = 1024,
    API_ANSWERS_KEPT = 64,       /* to what other nodes passed on, … */
    API_ANSWER_KEPT_SIZE = 4096, /* … of so many bytes at most */
    API_MAX_STREAMS = 64,
    API_ASK_MS = 3000, /* so long a node's answer to another's own question is awaited */
    API_RECORDS_KEPT = 512,
    API_WINDOW = 256 * 1024,       /* bytes of a stream that its client has not taken yet */
    API_STREAM_SILENCE_MS = 15000, /* a client that says nothing for so long is gone */
};

/* Who asked, and by which id the client knows it. */
struct asker {
    struct origin origin;
    char id[API_ID_SIZE];
    uint64_t relay; /* by which the client's node knows it, when that is another; 0 = it is not */
};

/* A request being handled. */
struct call {
    struct asker asker;
    const char *method;
    json_t *json, *params; /* borrowed */
    uint8_t request[NONCE_SIZE];
    bool has_request;
    const uint8_t *data; /* borrowed */
    size_t size;
    const char *warning; /* goes with the answer; NULL = none */
};

/* A request that core works on. */
struct ticket {
    struct ticket *next;
    uint64_t number;
    struct asker asker;
    char method[24];
    char name[NAME_SIZE];
    char token[JOIN_TOKEN_TEXT_SIZE]; /* token.create */
    uint64_t expires_s;
};

struct relay; /* a request that another node works on */

/* What was said last to a request that another node passed on: said again when it is asked again.
 */
struct kept_answer {
    struct asker asker;
    char *text; /* heap; NULL = none */
};

struct question; /* of this node's own, to another */
struct stream;   /* events, logs, exec */
struct upload;

struct record {
    uint64_t time_ms;
    struct core_record record;
};

struct api {
    struct skeind *s;
    uint64_t last_ticket, last_upload;
    size_t n_tickets, n_relays, n_streams;
    struct ticket *tickets;
    struct relay *relays;
    struct question *questions;
    uint64_t last_question;
    size_t kept_at; /* ring */
    struct kept_answer kept[API_ANSWERS_KEPT];
    struct stream *streams;
    struct upload *uploads;
    size_t n_records, record_at; /* ring */
    struct record records[API_RECORDS_KEPT];
    bool is_joining, is_initiating;
    struct asker initiator; /* waits for the cluster to begin */
    uint64_t init_deadline_us;
};

/* ---- answers (api/api_jansson.c) */

void api_send(struct api *api, const struct asker *asker, json_t *json, const void *data,
              size_t size, bool is_last); /* takes json */
void api_ok(struct api *api, const struct asker *asker, json_t *result, const char *warning);
/* kind: "refused", "invalid", "no_place", "not_now", "failed" */
void api_error(struct api *api, const struct asker *asker, const char *kind, const char *format,
               ...) __attribute__((format(printf, 4, 5)));
void api_event(struct api *api, const struct asker *asker, const char *event, const void *data,
               size_t size);
bool asker_is_equal(const struct asker *a, const struct asker *b);
void api_deliver(struct api *api, const struct asker *asker, const struct envelope *envelope);
int api_send_to_peer(struct api *api, uint64_t node, enum peer_channel channel,
                     const struct envelope *envelope);
/* Answers a request by what this node knows, whoever should: `warning` goes with it. */
void api_answer_here(struct api *api, const struct envelope *message, const char *warning);
/* Handles a request of our own making in the name of `asker`: takes params. */
void api_pass_on(struct api *api, const struct call *call, const char *method, json_t *params);
struct show api_show(const struct api *api);

/* ---- methods */

typedef void api_method(struct api *api, struct call *call);

enum where {
    HERE = 1,    /* any node by itself */
    ON_LEADER,   /* the leader only */
    READ_LEADER, /* the leader knows best; without one, what this node knows */
    ON_GUEST,    /* the node that runs the guest */
    ON_HOME,     /* likewise; of a guest that does not run: the one that ran it last */
    FOLLOWS,     /* goes where the stream's first message went */
};

struct method {
    const char *name;
    enum where where;
    bool without_cluster; /* also before init and join */
    bool is_inner;        /* not for clients: between nodes only */
    api_method *handle;
};

api_method api_status, api_top, api_node_list, api_node_show, api_slice_list, api_image_list,
    api_guest_list, api_guest_show, api_guest_plan, api_guest_check, api_guest_stats,
    api_node_drain, api_node_remove, api_node_known, api_node_room, api_migration_list,
    api_migration_show;
api_method api_write, api_token_create, api_node_join;
api_method api_cluster_init, api_cluster_join;
api_method api_image_begin, api_image_chunk, api_image_commit, api_image_show, api_image_export;
api_method api_events, api_guest_logs, api_guest_exec, api_guest_console, api_stream_taken,
    api_exec_stdin, api_exec_eof;

/* Hands the command (taken: heap) to core, which must not be stepping. `fields`: name, token,
 * expires_s are kept for the answer. */
void api_submit(struct api *api, const struct call *call, struct command *command,
                const struct ticket *fields);

/* A request of this asker waits for core. */
bool ticket_is_open(struct api *api, const struct asker *asker);
void tickets_end(struct api *api, const char *text); /* each is answered: leader_changed */

/* ---- relays (api/relay_jansson.c) */

void relay_to(struct api *api, const struct call *call, uint64_t node, const struct method *method);
/* To where the stream is. */
void relay_follow(struct api *api, struct call *call, const struct method *method);
/* The answer, or a part of it, that `from` sent for one of our clients. */
void relay_answer(struct api *api, uint64_t from, const struct envelope *envelope);
bool relay_is_open(struct api *api, const struct asker *asker);
/* The other side: a last answer leaves for `asker`'s node; … */
void relay_keep(struct api *api, const struct asker *asker, const char *text, size_t size);
/* … and is sent again when its node repeats the request. True: there is no more to be done. */
bool relay_is_repeated(struct api *api, const struct asker *asker);
void relays_sweep(struct api *api);
void relays_end(struct api *api, const char *text); /* each is answered: leader_changed */
void relays_free(struct api *api);

/* ---- questions of our own (api/ask_jansson.c) */

/* NULL: none came in API_ASK_MS. Called once. */
typedef void question_answered(void *context, const json_t *answer);
/* Asks another node for a read. Takes params. < 0: it cannot be asked, and nothing is called. */
int question_ask(struct api *api, uint64_t node, const char *method, json_t *params,
                 question_answered *answered, void *context);
void question_answer(struct api *api, uint64_t from, const struct envelope *envelope);
void questions_sweep(struct api *api);
void questions_end(struct api *api);

/* ---- room (api/room_jansson.c) */

json_t *room_to_json(const struct node_room *room);
/* Not known when it is no answer, or that of a failure. */
void room_of_answer(const json_t *answer, struct node_room *ret);

/* ---- streams */

enum stream_kind { STREAM_EVENTS = 1, STREAM_FILE, STREAM_EXEC };

struct stream {
    struct stream *next;
    struct api *api;
    enum stream_kind kind;
    struct asker asker;
    bool is_gone;      /* nobody listens any more */
    size_t unacked;    /* bytes sent that the client has not taken */
    uint64_t heard_us; /* the client's newest word */
    bool follow;       /* FILE: goes on as it grows */
    int fd;            /* FILE; -1 = not open yet */
    struct exec *exec; /* EXEC */
};

/* NULL: too many; answered already. */
struct stream *stream_add(struct api *api, const struct call *call, enum stream_kind kind);
void stream_remove(struct stream *stream); /* frees it */
struct stream *stream_find(struct api *api, const struct asker *asker);
void stream_send(struct stream *stream, const char *event, const void *data, size_t size);
bool stream_has_room(const struct stream *stream);
void stream_pump(struct stream *stream); /* FILE: sends what the window allows; may end it */
void exec_resume(struct stream *stream); /* the client took something */
void exec_gone(struct stream *stream);   /* the client is gone */
void exec_sweep(struct stream *stream);

void api_tell_record(struct api *api, const struct record *record);
void api_sweep_streams(struct api *api);
void api_sweep_cluster(struct api *api);
void api_sweep_uploads(struct api *api);

#endif
