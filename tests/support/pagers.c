#include "tests/support/pagers.h"

#include <stdlib.h>
#include <string.h>

/* ---- bytes */

static void put(struct pagers_bytes *b, const void *data, size_t size)
{
    if (b->at == b->have)
        b->at = b->have = 0;
    while (b->capacity < b->have + size) {
        b->capacity = b->capacity * 2 + 4096;
        b->data = realloc(b->data, b->capacity);
    }
    memcpy(b->data + b->have, data, size);
    b->have += size;
}

static size_t size_of(const struct pagers_bytes *b)
{
    return b->have - b->at;
}

static size_t piece(struct pagers *p, size_t size)
{
    size_t n = prng_one_in(&p->prng, 4) ? 1 + prng_below(&p->prng, 100) : READ_AHEAD_TAKEN;

    return n < size ? n : size;
}

static void page_content(uint64_t process, uint64_t address, uint8_t ret[PAGERS_PAGE])
{
    struct prng prng = {process * 31 + address};

    for (size_t i = 0; i < PAGERS_PAGE; i += 512) {
        uint64_t word = prng_next(&prng);

        memset(ret + i, (int)word, 512);
        memcpy(ret + i, &word, sizeof(word));
    }
}

/* ---- the page server */

static struct pagers_range *range_of(struct pagers *p, const struct page_message *m)
{
    for (size_t i = 0; i < p->n_ranges; i++) {
        struct pagers_range *range = &p->ranges[i];

        if (range->process == m->process && m->address >= range->address &&
            m->address < range->address + (uint64_t)range->n * PAGERS_PAGE)
            return range;
    }
    return NULL;
}

static void serve(struct pagers *p, struct page_message *m)
{
    const struct pagers_range *range = range_of(p, m);
    uint8_t head[PAGE_MESSAGE_MAX], page[PAGERS_PAGE];
    uint32_t left;

    p->n_questions++;
    if (range == NULL || m->is_answer) {
        p->wrong = "the server was asked for a page that it does not have";
        return;
    }
    left = range->n - (uint32_t)((m->address - range->address) / PAGERS_PAGE);
    m->n = m->n < left ? m->n : left;
    m->is_answer = true;
    page_message_encode(p->form, m, head);
    put(&p->to_lazy, head, page_message_size(p->form));
    for (uint32_t i = 0; i < m->n; i++) {
        page_content(m->process, m->address + (uint64_t)i * PAGERS_PAGE, page);
        put(&p->to_lazy, page, sizeof(page));
    }
    p->n_sent += m->n;
}

static bool server_step(struct pagers *p)
{
    struct page_message m;

    if (size_of(&p->to_server) < page_message_size(p->form))
        return false;
    if (page_message_decode(p->form, p->to_server.data + p->to_server.at, PAGERS_PAGE, &m) < 0) {
        p->wrong = "the server does not understand a question";
        return false;
    }
    p->to_server.at += page_message_size(p->form);
    serve(p, &m);
    return true;
}

/* ---- lazy-pages */

static void check_pages(struct pagers *p, const struct page_message *m, const uint8_t *pages)
{
    struct pagers_range *range = range_of(p, m);
    uint32_t first = (uint32_t)((m->address - range->address) / PAGERS_PAGE);
    uint8_t page[PAGERS_PAGE];

    for (uint32_t i = 0; i < m->n; i++) {
        page_content(m->process, m->address + (uint64_t)i * PAGERS_PAGE, page);
        if (memcmp(page, pages + (size_t)i * PAGERS_PAGE, PAGERS_PAGE) != 0)
            p->wrong = "a page is not as it was left";
        p->n_given += !range->is_given[first + i];
        range->is_given[first + i] = true;
    }
}

static void take_answer(struct pagers *p)
{
    size_t head = page_message_size(p->form);
    const uint8_t *bytes = p->got.data + p->got.at;
    struct page_message m;

    if (size_of(&p->got) < head)
        return;
    if (p->n_asked == 0 || page_message_decode(p->form, bytes, PAGERS_PAGE, &m) < 0 ||
        !m.is_answer || m.process != p->asked[0].process || m.address != p->asked[0].address ||
        m.n > p->asked[0].n) {
        p->wrong = "lazy-pages got what is no answer to what it asked";
        return;
    }
    if (size_of(&p->got) < head + (size_t)m.n * PAGERS_PAGE)
        return;
    check_pages(p, &m, bytes + head);
    p->got.at += head + (size_t)m.n * PAGERS_PAGE;
    memmove(p->asked, p->asked + 1, --p->n_asked * sizeof(*p->asked));
}

/* ---- between them */

static void note(struct pagers *p, int r)
{
    p->result = p->result < 0 ? p->result : r;
}

static bool to_side(struct pagers *p, enum read_ahead_side side, struct pagers_bytes *b)
{
    size_t size;
    const uint8_t *data = read_ahead_peek(p->ra, side, &size);

    if (data == NULL)
        return false;
    size = piece(p, size);
    put(b, data, size);
    note(p, read_ahead_sent(p->ra, side, size, p->now_us));
    return true;
}

static bool from_server(struct pagers *p)
{
    size_t size = piece(p, size_of(&p->to_lazy));

    if (size == 0 || !read_ahead_wants(p->ra, READ_AHEAD_FAR))
        return false;
    p->now_us += p->page_us * size / PAGERS_PAGE;
    note(p,
         read_ahead_take(p->ra, READ_AHEAD_FAR, p->to_lazy.data + p->to_lazy.at, size, p->now_us));
    p->to_lazy.at += size;
    return true;
}

bool pagers_step(struct pagers *p)
{
    bool has_moved;

    if (p->result < 0 || p->wrong != NULL)
        return false;
    has_moved = to_side(p, READ_AHEAD_NEAR, &p->got);
    while (p->wrong == NULL && size_of(&p->got) > 0) {
        size_t before = size_of(&p->got);

        take_answer(p);
        if (size_of(&p->got) == before)
            break;
    }
    has_moved = to_side(p, READ_AHEAD_FAR, &p->to_server) || has_moved;
    has_moved = from_server(p) || has_moved;
    return server_step(p) || has_moved;
}

void pagers_settle(struct pagers *p)
{
    while (pagers_step(p))
        ;
}

/* ---- what is asked */

void pagers_ask(struct pagers *p, size_t range, uint32_t page, uint32_t n)
{
    struct page_message *m = &p->asked[p->n_asked++];
    uint8_t bytes[PAGE_MESSAGE_MAX];
    uint32_t left = 0;

    while (left < n && page + left < p->ranges[range].n && !p->ranges[range].is_given[page + left])
        left++;
    *m = (struct page_message){.process = p->ranges[range].process,
                               .address = p->ranges[range].address + (uint64_t)page * PAGERS_PAGE,
                               .n = left};
    page_message_encode(p->form, m, bytes);
    note(p, read_ahead_take(p->ra, READ_AHEAD_NEAR, bytes, page_message_size(p->form), p->now_us));
}

bool pagers_ask_next(struct pagers *p, uint32_t n)
{
    for (size_t i = 0; i < p->n_ranges; i++) {
        for (uint32_t page = 0; page < p->ranges[i].n; page++) {
            if (p->ranges[i].is_given[page])
                continue;
            pagers_ask(p, i, page, n);
            return true;
        }
    }
    return false;
}

/* ---- life */

void pagers_begin(struct pagers *p, enum page_form form, uint64_t seed)
{
    *p = (struct pagers){.form = form, .prng = {seed}, .page_us = 20, .now_us = 1000};
    p->ra = read_ahead_new(PAGERS_PAGE);
}

void pagers_add(struct pagers *p, uint64_t process, uint64_t address, uint32_t n)
{
    struct pagers_range *range = &p->ranges[p->n_ranges++];

    range->process = process;
    range->address = address;
    range->n = n;
}

void pagers_end(struct pagers *p)
{
    read_ahead_free(p->ra);
    free(p->to_server.data);
    free(p->to_lazy.data);
    free(p->got.data);
    *p = (struct pagers){0};
}
