/* Bars, and the screen of `skein top` in windows of all sizes. */
#include "tests/unit/test.h"

#include <stdlib.h>
#include <string.h>

#include "agent/cli/bar.h"
#include "agent/cli/show_links_jansson.h"
#include "agent/cli/table.h"
#include "agent/cli/top_jansson.h"

static void bars_are_filled_by_parts(void **unused)
{
    const struct bar_part none[] = {{'d', 0, NULL}};
    const struct bar_part two[] = {{'c', 10, "\x1b[36m"}, {'d', 40, NULL}};
    const struct bar_part small[] = {{'c', 1, NULL}, {'s', 1, NULL}, {'d', 3, NULL}};
    const struct bar_part much[] = {{'c', 10, NULL}, {'d', 500, NULL}};
    char bar[BAR_SIZE];

    (void)unused;
    assert_string_equal(bar_render(none, 1, 100, 10, true, bar), "[..........]");
    assert_string_equal(bar_render(two, 2, 100, 10, false, bar), "[cdddd.....]");
    assert_string_equal(bar_render(two, 2, 100, 10, true, bar), "[\x1b[36mc\x1b[0mdddd.....]");
    assert_string_equal(bar_render(small, 3, 100, 10, false, bar), "[d.........]"); /* rounded */
    assert_string_equal(bar_render(much, 2, 100, 10, false, bar), "[cddddddddd]");
    assert_string_equal(bar_render(two, 2, 0, 4, false, bar), "[....]");
    assert_int_equal(strlen(bar_render(two, 2, 100, 1000, false, bar)), BAR_MAX_WIDTH + 2);
}

static json_t *json_of(const char *text)
{
    json_t *json = json_loads(text, 0, NULL);

    assert_non_null(json);
    return json;
}

#define UPLINK                                                                                     \
    "{\"capacity_kbps\":100000,\"out\":{\"kbps\":50000,\"bytes\":1,\"packets\":2,\"drops\":7},"    \
    "\"in\":{\"kbps\":25000,\"bytes\":1,\"packets\":2,\"drops\":0},\"classes\":["                  \
    "{\"class\":\"control\",\"kbps\":10000,\"bytes\":5,\"packets\":6,\"drops\":0,"                 \
    "\"backlog_bytes\":0},{\"class\":\"bulk\",\"kbps\":40000,\"bytes\":1500,\"packets\":8,"        \
    "\"drops\":7,\"backlog_bytes\":3000}],\"ms_ago\":12}"

static void a_link_is_shown_by_its_classes(void **unused)
{
    json_t *uplink = json_of(UPLINK), *nothing = json_null(), *bare;
    char text[256], *all = NULL;
    size_t size = 0;
    FILE *out;

    (void)unused;
    links_bar(uplink, "out", 10, false, text, sizeof(text));
    assert_string_equal(text, "[cbbbb.....] 50 Mbit/s");
    links_bar(uplink, "in", 8, false, text, sizeof(text));
    assert_string_equal(text, "[ii......] 25 Mbit/s");
    links_bar(nothing, "in", 8, false, text, sizeof(text));
    assert_string_equal(text, "");
    bare = json_of("{\"capacity_kbps\":null,\"out\":{\"kbps\":3},\"in\":{\"kbps\":4}}");
    links_bar(bare, "out", 8, false, text, sizeof(text));
    assert_string_equal(text, "3 kbit/s");

    out = open_memstream(&all, &size);
    links_print(out, uplink, false);
    links_print(out, nothing, false);
    assert_int_equal(fclose(out), 0);
    assert_non_null(strstr(all, "100 Mbit/s, measured 12 ms ago\n"));
    assert_non_null(strstr(all, "50 Mbit/s; 1 B, 2 packets, 7 dropped\n"));
    assert_non_null(strstr(all, "  b bulk"));
    assert_non_null(strstr(all, "40 Mbit/s; 1.5 kB, 8 packets, 7 dropped, 3 kB waiting\n"));
    assert_non_null(strstr(all, "uplink             -\n"));
    free(all);
    json_decref(bare);
    json_decref(uplink);
}

static void what_others_say_is_in_words(void **unused)
{
    json_t *others = json_of("[{\"node\":\"n3\",\"heard\":true,\"ms_ago\":3},"
                             "{\"node\":\"n4\",\"heard\":false,\"ms_ago\":3},"
                             "{\"node\":\"n5\",\"heard\":null,\"ms_ago\":null}]");
    json_t *nobody = json_array();
    char text[128];

    (void)unused;
    links_others(others, text, sizeof(text));
    assert_string_equal(text, "n3 hears it, n4 does not, n5 has not answered");
    links_others(nobody, text, sizeof(text));
    assert_string_equal(text, "nobody else can be asked");
    links_others(json_null(), text, sizeof(text));
    assert_string_equal(text, "");
    json_decref(others);
    json_decref(nobody);
}

static json_t *cluster(void)
{
    return json_of(
        "{\"initialised\":true,\"leader\":\"n1\",\"quorum\":true,\"cluster\":\"0123456789abcdef\","
        "\"nodes_up\":2,\"nodes_lost\":0,\"guests_total\":1,\"guests_running\":1,"
        "\"guests_pending\":0,\"time_ms\":1000,\"warnings\":[\"node n2: silent for 400 ms; n3 "
        "hears "
        "it: only its path to the leader n1 is down\"],\"nodes\":["
        "{\"name\":\"n1\",\"leader\":true,\"state\":\"up\",\"role\":\"voter\",\"heard_ms_ago\":5,"
        "\"lease_left_ms\":590,\"round_trip_us\":null,\"beats_due\":60,\"beats_unanswered\":0,"
        "\"cores_isolated\":3,\"cores_free\":1,\"memory_mib\":1024,\"memory_free_mib\":960,"
        "\"heard_by_others\":null,\"uplink\":" UPLINK "},"
        "{\"name\":\"n2\",\"leader\":false,\"state\":\"up\",\"role\":\"voter\",\"heard_ms_ago\":"
        "400,"
        "\"lease_left_ms\":200,\"round_trip_us\":1500,\"beats_due\":60,\"beats_unanswered\":15,"
        "\"cores_isolated\":3,\"cores_free\":3,\"memory_mib\":1024,\"memory_free_mib\":1024,"
        "\"heard_by_others\":[],\"uplink\":null}],"
        "\"guests\":[{\"name\":\"web\",\"state\":\"running\",\"node\":\"n1\",\"cores\":[1,2],"
        "\"memory_mib\":64,\"ip\":\"10.7.0.2\",\"slice\":\"red\",\"image\":\"web\"}]}");
}

static void the_whole_is_shown(void **unused)
{
    json_t *top = cluster();
    struct top_look look = {0};
    char *text = top_render(top, &look);

    (void)unused;
    assert_non_null(strstr(text, "leader n1, 2 nodes up, 0 lost; 1 guest, 1 running, 0 pending; "
                                 "cluster 01234567\n"));
    assert_non_null(strstr(text, "n1*   up      voter  5 ms    590 ms  -       0 %   [ccbbbbbbbb"));
    assert_non_null(strstr(text, "n2    silent  voter  400 ms  200 ms  1.5 ms  25 %  -"));
    assert_non_null(strstr(text, "2/3    64 MiB/1 GiB\n"));
    assert_non_null(strstr(text, "warning: node n2: silent for 400 ms; n3 hears it"));
    assert_non_null(strstr(text, "web    running  n1    1-2    64 MiB  10.7.0.2  red    web\n"));
    assert_null(strstr(text, "\x1b"));
    free(text);
    json_decref(top);
}

static void no_line_is_wider_than_the_window(void **unused)
{
    json_t *top = cluster();

    (void)unused;
    for (unsigned width = 1; width < 200; width++) {
        struct top_look look = {.width = width, .colours = width % 2 == 0};
        char *text = top_render(top, &look);

        for (const char *line = text; *line != '\0'; line += strcspn(line, "\n") + 1)
            assert_in_range(text_width(line), 0, width);
        if (width >= 20)
            assert_non_null(strstr(text, "n2    "));
        free(text);
    }
    json_decref(top);
}

static void room_goes_to_the_bars(void **unused)
{
    json_t *top = cluster();
    struct top_look look = {.width = 80};
    char *text = top_render(top, &look);

    (void)unused;
    assert_non_null(strstr(text, "OUT"));
    assert_non_null(strstr(text, " IN"));
    assert_null(strstr(text, "64 MiB/1 GiB")); /* left out first */
    free(text);
    look.width = 150;
    text = top_render(top, &look);
    assert_non_null(strstr(text, "[cccbbbbbbbbbb"));
    assert_non_null(strstr(text, "64 MiB/1 GiB"));
    free(text);
    json_decref(top);
}

static void a_low_window_counts_what_it_hides(void **unused)
{
    json_t *top = cluster();
    struct top_look look = {.height = 5};
    char *text = top_render(top, &look);
    size_t n = 0;

    (void)unused;
    for (const char *at = text; *at != '\0'; at++)
        n += *at == '\n';
    assert_int_equal(n, 5);
    assert_non_null(strstr(text, "more lines)\n"));
    free(text);
    json_decref(top);
}

static void trouble_is_told(void **unused)
{
    struct top_look look = {.trouble = "there is no leader"};
    char *text = top_render(NULL, &look);
    json_t *top = json_of("{\"initialised\":false,\"reason\":null}");

    (void)unused;
    assert_string_equal(text, "there is no leader\n");
    free(text);
    look.trouble = NULL;
    text = top_render(top, &look);
    assert_string_equal(text, "not initialised: run skein init or skein join TOKEN\n");
    free(text);
    json_decref(top);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bars_are_filled_by_parts),
        cmocka_unit_test(a_link_is_shown_by_its_classes),
        cmocka_unit_test(what_others_say_is_in_words),
        cmocka_unit_test(the_whole_is_shown),
        cmocka_unit_test(no_line_is_wider_than_the_window),
        cmocka_unit_test(room_goes_to_the_bars),
        cmocka_unit_test(a_low_window_counts_what_it_hides),
        cmocka_unit_test(trouble_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
