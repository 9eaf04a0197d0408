#include "migrate/read_ahead.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "migrate/page_runs.h"

enum { QUEUE_SIZE = READ_AHEAD_TAKEN + PAGE_MESSAGE_MAX };
/* Pages: trust at the beginning, and at most; each wanted page renews so much of it. */
enum { TRUST_START = 512, TRUST_MAX = 4096, TRUST_EARNED = 2, TRUST_DIVISOR = 4 };

enum phase {
    LEARNS, /* one question, as near says it, until far's answer to it is understood */
    READS_AHEAD,
    ENDS,   /* near says what is not understood: far's answers first */
    PASSES, /* bytes as they are */
};

struct queue {
    size_t at, have;
    uint8_t bytes[QUEUE_SIZE];
};

struct demand {
    struct page_message of;
    struct page_run *run; /* NULL: still to be found */
    size_t at, end;       /* bytes of it */
    bool is_begun;        /* its answer's head is out */
};

struct read_ahead {
    enum phase phase;
    enum page_form form;
    struct queue in;              /* of near, not yet understood */
    struct queue to_near, to_far; /* to_near: heads of answers, or what is passed on */
    struct page_runs runs;
    struct demand demands[READ_AHEAD_DEMANDS];
    size_t first_demand, n_demands;
    uint8_t head[PAGE_MESSAGE_MAX]; /* of the answer that comes */
    size_t head_have;
    uint32_t window;   /* pages */
    uint32_t trust;    /* pages */
    uint64_t whole_us; /* when the newest answer was whole */
    uint64_t page_us;  /* that a page took on its way lately; 0: next to nothing, or not known */
    bool is_touched;   /* somebody waited for a page since near went on by itself */
};

/* ---- queues */

static void queue_put(struct queue *q, const uint8_t *data, size_t size)
{
    if (q->at > 0 && q->have + size > sizeof(q->bytes)) {
        memmove(q->bytes, q->bytes + q->at, q->have - q->at);
        q->have -= q->at;
        q->at = 0;
    }
    assert(size <= sizeof(q->bytes) - q->have);
    memcpy(q->bytes + q->have, data, size);
    q->have += size;
}

static void queue_drop(struct queue *q, size_t size)
{
    q->at += size;
    if (q->at == q->have)
        q->at = q->have = 0;
}

static size_t queue_size(const struct queue *q)
{
    return q->have - q->at;
}

/* ---- asking */

static uint32_t least(uint64_t a, uint64_t b)
{
    return (uint32_t)(a < b ? a : b);
}

static uint32_t pages_of(const struct read_ahead *ra, size_t bytes)
{
    return bytes > ra->runs.page_size ? (uint32_t)(bytes / ra->runs.page_size) : 1;
}

static bool has_room(struct read_ahead *ra, uint32_t n_pages)
{
    return page_runs_make_room(&ra->runs, n_pages * ra->runs.page_size, READ_AHEAD_MEMORY);
}

static struct page_run *ask(struct read_ahead *ra, const struct page_message *of,
                            uint32_t n_demanded, uint64_t now)
{
    struct page_run *run = page_runs_add(&ra->runs, of, n_demanded, now);
    uint8_t bytes[PAGE_MESSAGE_MAX];

    if (run == NULL)
        return NULL;
    page_message_encode(ra->form, of, bytes);
    queue_put(&ra->to_far, bytes, page_message_size(ra->form));
    return run;
}

/* How many pages beyond those are asked for. */
static uint32_t surplus(struct read_ahead *ra, const struct page_message *of, uint32_t wanted)
{
    uint64_t beyond = (UINT64_MAX - page_runs_end(&ra->runs, of)) / ra->runs.page_size;
    uint32_t n = least(least(wanted, beyond), ra->trust);

    return n > 0 && has_room(ra, of->n + n) ? n : 0;
}

static int ask_for_demand(struct read_ahead *ra, const struct demand *demand, uint64_t now)
{
    struct page_message of = demand->of;
    uint32_t n_demanded = of.n, more;

    if (ra->phase == LEARNS)
        return ask(ra, &of, of.n, now) != NULL ? 0 : -ENOMEM;
    n_demanded = of.n = least(of.n, ra->window);
    more = surplus(ra, &of, pages_of(ra, READ_AHEAD_DEMAND));
    if (more == 0 && !has_room(ra, of.n))
        n_demanded = of.n = least(of.n, pages_of(ra, READ_AHEAD_DEMAND));
    ra->trust = least(ra->trust - more + n_demanded / TRUST_DIVISOR, TRUST_MAX);
    of.n += more;
    return ask(ra, &of, n_demanded, now) != NULL ? 0 : -ENOMEM;
}

/* ---- near's questions */

static struct demand *demand_at(struct read_ahead *ra, size_t i)
{
    return &ra->demands[(ra->first_demand + i) % READ_AHEAD_DEMANDS];
}

static void give(struct read_ahead *ra, struct page_run *run, uint32_t page)
{
    if (run->is_given[page])
        return;
    run->is_given[page] = 1;
    run->n_left--;
    if (page >= run->n_demanded)
        ra->trust = least(ra->trust + TRUST_EARNED, TRUST_MAX);
}

/* What near asks for by itself is more than a page; what somebody waits for is answered behind it. */
static uint32_t longest_answer(struct read_ahead *ra, uint32_t n_wanted)
{
    uint64_t us = ra->is_touched ? READ_AHEAD_TOUCHED_US : READ_AHEAD_TARGET_US;

    ra->is_touched = n_wanted == 1;
    if (n_wanted == 1 || ra->page_us == 0)
        return n_wanted;
    return us > ra->page_us ? least(n_wanted, us / ra->page_us) : 1;
}

/* The demand that made the run goes on nowhere yet. */
static void answer_out_of(struct read_ahead *ra, struct page_run *run, struct demand *demand)
{
    uint32_t page = (uint32_t)((demand->of.address - run->of.address) / ra->runs.page_size);

    demand->of.n = least(longest_answer(ra, demand->of.n), run->of.n - page);
    demand->run = run;
    demand->at = page * ra->runs.page_size;
    demand->end = demand->at + demand->of.n * ra->runs.page_size;
    run->n_readers++;
    run->is_consumed = run->was_met;
    run->was_met = true;
    for (uint32_t i = 0; i < demand->of.n; i++)
        give(ra, run, page + i);
}

/* What may be under way is waited for: far says soon whether it is. */
static int find(struct read_ahead *ra, struct demand *demand, uint64_t now)
{
    bool may_come;
    struct page_run *run = page_runs_find(&ra->runs, &demand->of, &may_come);

    if (run != NULL)
        answer_out_of(ra, run, demand);
    return run != NULL || may_come ? 0 : ask_for_demand(ra, demand, now);
}

/* Its last page is known to be there; the answer's first is that one again. */
static int extend(struct read_ahead *ra, struct page_run *run, uint64_t now)
{
    struct page_message of = {.process = run->of.process, .n = 1};
    uint32_t more;

    of.address = page_runs_end(&ra->runs, &run->of) - ra->runs.page_size;
    run->is_extended = true;
    more = surplus(ra, &of, ra->window);
    if (more == 0)
        return 0;
    ra->trust -= more;
    of.n += more;
    run = ask(ra, &of, 1, now);
    if (run == NULL)
        return -ENOMEM;
    run->was_met = true;
    give(ra, run, 0);
    return 0;
}

static int extend_all(struct read_ahead *ra, uint64_t now)
{
    int r = 0;

    for (struct page_run *run = ra->runs.first; r == 0 && run != NULL; run = run->next) {
        if (!page_run_wants_more(run) || page_runs_n_awaited(&ra->runs) >= 2 * (size_t)ra->window)
            continue;
        run->n_readers++; /* room is made of others */
        r = extend(ra, run, now);
        run->n_readers--;
    }
    return r;
}

static void pass_on(struct read_ahead *ra)
{
    page_runs_clear(&ra->runs);
    ra->n_demands = 0;
    ra->phase = PASSES;
    queue_put(&ra->to_far, ra->in.bytes + ra->in.at, queue_size(&ra->in));
    queue_drop(&ra->in, queue_size(&ra->in));
}

/* Takes the next question out of `in`. False: there is none, or it has to wait. */
static bool take_question(struct read_ahead *ra)
{
    size_t size = page_message_size(ra->form), limit = ra->phase == LEARNS ? 1 : READ_AHEAD_DEMANDS;
    struct page_message message;

    if ((ra->phase != LEARNS && ra->phase != READS_AHEAD) || ra->n_demands == limit ||
        queue_size(&ra->in) < size)
        return false;
    if (page_message_decode(ra->form, ra->in.bytes + ra->in.at, ra->runs.page_size, &message) < 0 ||
        message.is_answer) {
        ra->phase = ENDS;
        return false;
    }
    queue_drop(&ra->in, size);
    *demand_at(ra, ra->n_demands++) = (struct demand){.of = message};
    return true;
}

/* The head of the next answer, once far has said how long it is. */
static void begin_answer(struct read_ahead *ra)
{
    struct demand *demand = demand_at(ra, 0);
    uint8_t bytes[PAGE_MESSAGE_MAX];

    if (ra->phase == PASSES || ra->n_demands == 0 || demand->run == NULL || demand->is_begun)
        return;
    demand->is_begun = true;
    demand->of.is_answer = true;
    page_message_encode(ra->form, &demand->of, bytes);
    queue_put(&ra->to_near, bytes, page_message_size(ra->form));
}

/* What follows from whatever has happened. */
static int go_on(struct read_ahead *ra, uint64_t now)
{
    int r = 0;

    while (take_question(ra))
        ;
    for (size_t i = 0; r == 0 && i < ra->n_demands; i++) {
        struct demand *demand = demand_at(ra, i);

        r = demand->run == NULL ? find(ra, demand, now) : 0;
    }
    if (r == 0 && ra->phase == READS_AHEAD)
        r = extend_all(ra, now);
    begin_answer(ra);
    page_runs_tidy(&ra->runs);
    if (ra->phase == ENDS && ra->n_demands == 0 && ra->runs.receiving == NULL)
        pass_on(ra);
    return r;
}

/* ---- far's answers */

static void adapt_window(struct read_ahead *ra, const struct page_run *run, uint64_t now)
{
    uint64_t since = run->asked_us > ra->whole_us ? run->asked_us : ra->whole_us;
    uint32_t small = pages_of(ra, READ_AHEAD_DEMAND);

    ra->whole_us = now;
    if (run->of.n >= small / 2)
        ra->page_us = (3 * ra->page_us + (now - since) / run->of.n) / 4;
    if (now - since > 2 * READ_AHEAD_TARGET_US)
        ra->window = ra->window / 2 > small ? ra->window / 2 : small;
    else if (now - since <= READ_AHEAD_TARGET_US && run->of.n >= ra->window / 2)
        ra->window = least(ra->window * 2, pages_of(ra, READ_AHEAD_WINDOW));
}

static int take_head(struct read_ahead *ra)
{
    struct page_run *run = ra->runs.receiving;
    struct page_message answer;
    int r = page_message_decode(ra->form, ra->head, ra->runs.page_size, &answer);

    if (r == 0)
        r = page_runs_take_head(&ra->runs, &answer);
    if (r < 0)
        return r;
    if (ra->phase == LEARNS)
        ra->phase = READS_AHEAD;
    /* What is not there was not sent in vain. */
    ra->trust = least(ra->trust + least(run->n_asked - answer.n, run->n_asked - run->n_demanded),
                      TRUST_MAX);
    ra->head_have = 0;
    return 0;
}

static size_t take_pages(struct read_ahead *ra, const uint8_t *data, size_t size, uint64_t now)
{
    const struct page_run *run = ra->runs.receiving;
    size_t n = page_runs_take(&ra->runs, data, size);

    if (page_run_is_whole(run))
        adapt_window(ra, run, now);
    return n;
}

static size_t take_head_bytes(struct read_ahead *ra, const uint8_t *data, size_t size)
{
    size_t n = page_message_size(ra->form) - ra->head_have;

    n = n < size ? n : size;
    memcpy(ra->head + ra->head_have, data, n);
    ra->head_have += n;
    return n;
}

static int take_answers(struct read_ahead *ra, const uint8_t *data, size_t size, uint64_t now)
{
    int r = 0;

    while (r == 0 && size > 0) {
        size_t n;

        if (ra->runs.receiving == NULL)
            return -EPROTO;
        if (ra->runs.receiving->is_known) {
            n = take_pages(ra, data, size, now);
        } else {
            n = take_head_bytes(ra, data, size);
            r = ra->head_have == page_message_size(ra->form) ? take_head(ra) : 0;
        }
        data += n;
        size -= n;
        if (r == -EPROTO && ra->phase == LEARNS) { /* nothing was changed so far */
            queue_put(&ra->to_near, ra->head, ra->head_have);
            queue_put(&ra->to_near, data, size);
            pass_on(ra);
            return 0;
        }
    }
    return r;
}

/* ---- the door */

struct read_ahead *read_ahead_new(size_t page_size)
{
    struct read_ahead *ra = calloc(1, sizeof(*ra));

    if (ra == NULL)
        return NULL;
    ra->runs.page_size = page_size;
    ra->phase = page_size == 0 ? PASSES : LEARNS;
    if (page_size != 0)
        ra->window = pages_of(ra, READ_AHEAD_DEMAND);
    ra->trust = TRUST_START;
    return ra;
}

void read_ahead_free(struct read_ahead *ra)
{
    if (ra == NULL)
        return;
    pass_on(ra);
    free(ra);
}

bool read_ahead_wants(const struct read_ahead *ra, enum read_ahead_side from)
{
    if (from == READ_AHEAD_FAR)
        return ra->phase != PASSES || queue_size(&ra->to_near) == 0;
    return ra->phase != ENDS && queue_size(&ra->to_far) == 0 &&
           queue_size(&ra->in) < PAGE_MESSAGE_MAX;
}

/* criu says each message at once: what is less, or something else, is no request. */
static void recognize(struct read_ahead *ra, const uint8_t *data, size_t size)
{
    ra->form = page_form_of(data, size, ra->runs.page_size);
    if (ra->form == PAGE_FORM_UNKNOWN)
        pass_on(ra);
}

int read_ahead_take(struct read_ahead *ra, enum read_ahead_side from, const uint8_t *data,
                    size_t size, uint64_t now_us)
{
    int r = 0;

    if (ra->phase == LEARNS && ra->form == PAGE_FORM_UNKNOWN) {
        if (from == READ_AHEAD_NEAR)
            recognize(ra, data, size);
        else
            pass_on(ra);
    }
    if (ra->phase == PASSES)
        queue_put(from == READ_AHEAD_NEAR ? &ra->to_far : &ra->to_near, data, size);
    else if (from == READ_AHEAD_NEAR)
        queue_put(&ra->in, data, size);
    else
        r = take_answers(ra, data, size, now_us);
    return r < 0 ? r : go_on(ra, now_us);
}

const uint8_t *read_ahead_peek(const struct read_ahead *ra, enum read_ahead_side to,
                               size_t *ret_size)
{
    const struct queue *q = to == READ_AHEAD_NEAR ? &ra->to_near : &ra->to_far;
    const struct demand *demand = &ra->demands[ra->first_demand];
    size_t have;

    *ret_size = queue_size(q);
    if (*ret_size > 0)
        return q->bytes + q->at;
    if (to == READ_AHEAD_FAR || ra->n_demands == 0 || !demand->is_begun)
        return NULL;
    have = demand->run->have < demand->end ? demand->run->have : demand->end;
    *ret_size = have > demand->at ? have - demand->at : 0;
    return *ret_size > 0 ? demand->run->pages + demand->at : NULL;
}

int read_ahead_sent(struct read_ahead *ra, enum read_ahead_side to, size_t size, uint64_t now_us)
{
    struct queue *q = to == READ_AHEAD_NEAR ? &ra->to_near : &ra->to_far;
    struct demand *demand = demand_at(ra, 0);

    if (queue_size(q) > 0) {
        queue_drop(q, size);
        return 0;
    }
    demand->at += size;
    if (demand->at < demand->end)
        return 0;
    demand->run->n_readers--;
    ra->first_demand = (ra->first_demand + 1) % READ_AHEAD_DEMANDS;
    ra->n_demands--;
    return go_on(ra, now_us);
}

bool read_ahead_is_owed(const struct read_ahead *ra)
{
    return ra->runs.receiving != NULL;
}
