/* Pages that are asked for ahead: what is asked for when, what waits, and what is passed on. */
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

#include "tests/support/pagers.h"

enum { HEAP = 1 << 30, STACK = 0x7ff0 << 16 };

static struct pagers p;

/* All that is there, as lazy-pages asks for it while nobody touches anything. */
static void fetch_all(uint32_t n)
{
    while (p.result == 0 && p.wrong == NULL && pagers_ask_next(&p, n))
        pagers_settle(&p);
    if (p.wrong != NULL)
        fail_msg("%s", p.wrong);
    assert_int_equal(p.result, 0);
    assert_int_equal(p.n_asked, 0);
}

static void both_forms_are_told_apart(void **unused)
{
    static const struct page_message of = {.process = 7, .address = 0x401000, .n = 16};
    static const enum page_form forms[] = {PAGE_FORM_NARROW, PAGE_FORM_WIDE};

    (void)unused;
    for (int i = 0; i < 2; i++) {
        uint8_t bytes[PAGE_MESSAGE_MAX] = {0};
        struct page_message back;
        size_t size = page_message_size(forms[i]);

        page_message_encode(forms[i], &of, bytes);
        assert_int_equal(page_form_of(bytes, size, PAGERS_PAGE), forms[i]);
        assert_int_equal(page_message_decode(forms[i], bytes, PAGERS_PAGE, &back), 0);
        assert_int_equal(back.process, 7);
        assert_int_equal(back.address, 0x401000);
        assert_int_equal(back.n, 16);
        assert_false(back.is_answer);
        assert_int_equal(page_form_of(bytes, size - 1, PAGERS_PAGE), PAGE_FORM_UNKNOWN);
        bytes[0] = 9; /* another command */
        assert_int_equal(page_form_of(bytes, size, PAGERS_PAGE), PAGE_FORM_UNKNOWN);
    }
}

static void no_number_is_taken_that_cannot_be(void **unused)
{
    static const struct page_message wrong[] = {
        {.process = 1, .address = HEAP, .n = 0},
        {.process = 1, .address = HEAP, .n = PAGE_REQUEST_MAX / PAGERS_PAGE + 1},
        {.process = 1, .address = HEAP + 1, .n = 1},
        {.process = 1, .address = 0, .n = 1},
        {.process = 1, .address = UINT64_MAX - PAGERS_PAGE + 1, .n = 1},
    };
    uint8_t bytes[PAGE_MESSAGE_MAX];
    struct page_message back;

    (void)unused;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        page_message_encode(PAGE_FORM_NARROW, &wrong[i], bytes);
        assert_int_equal(page_message_decode(PAGE_FORM_NARROW, bytes, PAGERS_PAGE, &back), -EPROTO);
    }
}

/* 32 MiB in pieces of 64 KiB would be 512 questions one after the other. */
static void who_goes_on_is_read_ahead_of(void **unused)
{
    (void)unused;
    pagers_begin(&p, PAGE_FORM_NARROW, 1);
    pagers_add(&p, 1, HEAP, 4096);
    pagers_add(&p, 2, STACK, 4096);
    fetch_all(16);
    assert_int_equal(p.n_given, 8192);
    assert_true(p.n_questions < 100);
    assert_true(p.n_sent < 8192 + 100); /* one page a question is sent again */
    pagers_end(&p);
}

static void the_newer_form_too(void **unused)
{
    (void)unused;
    pagers_begin(&p, PAGE_FORM_WIDE, 1);
    pagers_add(&p, 1, HEAP, 1000);
    fetch_all(16);
    assert_int_equal(p.n_given, 1000);
    assert_true(p.n_questions < 30);
    pagers_end(&p);
}

/* Before it is understood nothing is asked for but what was wanted. */
static void the_first_question_is_passed_on_as_it_is(void **unused)
{
    (void)unused;
    pagers_begin(&p, PAGE_FORM_NARROW, 1);
    pagers_add(&p, 1, HEAP, 100);
    pagers_ask(&p, 0, 3, 5);
    pagers_settle(&p);
    assert_null(p.wrong);
    assert_int_equal(p.n_given, 5);
    assert_int_equal(p.n_sent, 5);
    pagers_end(&p);
}

/* Whoever jumps about is sent no more in vain than it is trusted with. */
static void what_is_not_wanted_has_a_limit(void **unused)
{
    (void)unused;
    pagers_begin(&p, PAGE_FORM_NARROW, 1);
    for (uint64_t i = 0; i < PAGERS_RANGES; i++)
        pagers_add(&p, 1, HEAP + i * PAGERS_PAGES * PAGERS_PAGE, PAGERS_PAGES);
    for (uint32_t page = 0; page + 64 < PAGERS_PAGES; page += 64) {
        for (size_t i = 0; i < PAGERS_RANGES; i++) {
            pagers_ask(&p, i, page, 1);
            pagers_settle(&p);
        }
    }
    assert_null(p.wrong);
    assert_int_equal(p.n_given, 63 * PAGERS_RANGES);
    assert_true(p.n_sent < p.n_given + 600);
    pagers_end(&p);
}

/* A page that is wanted waits for two windows at most, and a slow way has small ones. */
static void a_slow_way_is_not_filled(void **unused)
{
    uint32_t sent;

    (void)unused;
    pagers_begin(&p, PAGE_FORM_NARROW, 1);
    p.page_us = 350; /* 100 Mbit/s */
    pagers_add(&p, 1, HEAP, 2048);
    pagers_add(&p, 1, STACK, 16);
    for (int i = 0; i < 20; i++) {
        pagers_ask_next(&p, 16);
        pagers_settle(&p);
    }
    pagers_ask_next(&p, 16);
    sent = p.n_given;
    pagers_ask(&p, 1, 5, 1);
    pagers_settle(&p);
    assert_true(p.ranges[1].is_given[5]);
    assert_true(p.n_sent - sent < 16 + 1 + 16 + 2 * 2 * 17);
    pagers_end(&p);
}

/* As criu does it: behind each page that is touched 16 that nobody asked for, and the next one that
 * is touched waits for those. */
static void who_walks_gets_its_share_of_a_slow_way(void **unused)
{
    static const uint32_t page_us[] = {350, 3500}; /* 100 and 10 Mbit/s */
    static const uint64_t pages[] = {7, 3};        /* at most, for each that is touched */

    (void)unused;
    for (size_t i = 0; i < sizeof(page_us) / sizeof(page_us[0]); i++) {
        uint64_t began_us;

        pagers_begin(&p, PAGE_FORM_NARROW, 1);
        p.page_us = page_us[i];
        pagers_add(&p, 1, HEAP, 4096);
        pagers_add(&p, 1, STACK, 1024);
        began_us = p.now_us;
        for (uint32_t page = 0; page < 256; page++) {
            pagers_ask(&p, 1, page, 1);
            while (!p.ranges[1].is_given[page])
                assert_true(pagers_step(&p));
            if (p.n_asked == 0)
                pagers_ask_next(&p, 16);
        }
        assert_null(p.wrong);
        assert_in_range(p.now_us - began_us, 256 * page_us[i], pages[i] * 256 * page_us[i]);
        fetch_all(64);
        assert_int_equal(p.n_given, 4096 + 1024);
        assert_true(p.n_sent < 4096 + 1024 + 600);
        pagers_end(&p);
    }
}

static const uint8_t *sent_to(enum read_ahead_side side, size_t *size)
{
    return read_ahead_peek(p.ra, side, size);
}

static void passes(enum read_ahead_side from, const void *data, size_t n)
{
    enum read_ahead_side to = from == READ_AHEAD_NEAR ? READ_AHEAD_FAR : READ_AHEAD_NEAR;
    const uint8_t *there;
    size_t size;

    assert_int_equal(read_ahead_take(p.ra, from, data, n, 0), 0);
    there = sent_to(to, &size);
    assert_int_equal(size, n);
    assert_memory_equal(there, data, n);
    assert_int_equal(read_ahead_sent(p.ra, to, size, 0), 0);
}

static void what_is_not_understood_is_passed_on(void **unused)
{
    (void)unused;
    pagers_begin(&p, PAGE_FORM_NARROW, 1);
    passes(READ_AHEAD_NEAR, "a page server of next year, please", 34);
    passes(READ_AHEAD_FAR, "at your service", 15);
    passes(READ_AHEAD_NEAR, "page 7", 6);
    assert_false(read_ahead_is_owed(p.ra));
    pagers_end(&p);
}

static void an_answer_that_is_not_understood_is_passed_on(void **unused)
{
    static const struct page_message of = {.process = 1, .address = HEAP, .n = 16};
    uint8_t bytes[PAGE_MESSAGE_MAX];

    (void)unused;
    pagers_begin(&p, PAGE_FORM_NARROW, 1);
    page_message_encode(PAGE_FORM_NARROW, &of, bytes);
    passes(READ_AHEAD_NEAR, bytes, page_message_size(PAGE_FORM_NARROW));
    assert_true(read_ahead_is_owed(p.ra));
    passes(READ_AHEAD_FAR, "pages, but packed in some way", 29);
    passes(READ_AHEAD_NEAR, "thanks", 6);
    pagers_end(&p);
}

/* Its words go out when all that was asked for has come. */
static void the_good_bye_comes_last(void **unused)
{
    static const uint8_t bye[24] = {0x24, 0x10};
    const uint8_t *there;
    size_t size;

    (void)unused;
    pagers_begin(&p, PAGE_FORM_NARROW, 1);
    pagers_add(&p, 1, HEAP, 1000);
    for (int i = 0; i < 3; i++) {
        pagers_ask_next(&p, 16);
        pagers_settle(&p);
    }
    pagers_ask_next(&p, 64);
    assert_int_equal(read_ahead_take(p.ra, READ_AHEAD_NEAR, bye, sizeof(bye), p.now_us), 0);
    while (p.n_asked > 0 || read_ahead_is_owed(p.ra))
        assert_true(pagers_step(&p));
    there = sent_to(READ_AHEAD_FAR, &size);
    assert_int_equal(size, sizeof(bye));
    assert_memory_equal(there, bye, sizeof(bye));
    assert_int_equal(read_ahead_sent(p.ra, READ_AHEAD_FAR, size, 0), 0);
    passes(READ_AHEAD_FAR, "\0\0\0", 4);
    pagers_end(&p);
}

static void nobody_asked_for_that(void **unused)
{
    static const uint8_t more[24] = {6, 0, 4, 0, 1};

    (void)unused;
    pagers_begin(&p, PAGE_FORM_NARROW, 1);
    pagers_add(&p, 1, HEAP, 16);
    fetch_all(16);
    assert_int_equal(read_ahead_take(p.ra, READ_AHEAD_FAR, more, sizeof(more), 0), -EPROTO);
    pagers_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_forms_are_told_apart),
        cmocka_unit_test(no_number_is_taken_that_cannot_be),
        cmocka_unit_test(who_goes_on_is_read_ahead_of),
        cmocka_unit_test(the_newer_form_too),
        cmocka_unit_test(the_first_question_is_passed_on_as_it_is),
        cmocka_unit_test(what_is_not_wanted_has_a_limit),
        cmocka_unit_test(a_slow_way_is_not_filled),
        cmocka_unit_test(who_walks_gets_its_share_of_a_slow_way),
        cmocka_unit_test(what_is_not_understood_is_passed_on),
        cmocka_unit_test(an_answer_that_is_not_understood_is_passed_on),
        cmocka_unit_test(the_good_bye_comes_last),
        cmocka_unit_test(nobody_asked_for_that),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
