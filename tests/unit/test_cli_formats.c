/* Results as YAML and CSV, and lists of cores. */
#include "tests/unit/test.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cli/core_list.h"
#include "agent/cli/show_formats_jansson.h"
#include "agent/cli/show_output_jansson.h"

static json_t *json_of(const char *text)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);

    assert_non_null(value);
    return value;
}

static void expect_yaml(const char *json, const char *wanted)
{
    json_t *value = json_of(json);
    char *text = show_yaml(value);

    assert_string_equal(text, wanted);
    free(text);
    json_decref(value);
}

static void expect_csv(const char *json, const char *wanted)
{
    json_t *value = json_of(json);
    char *text = show_csv(value);

    assert_string_equal(text, wanted);
    free(text);
    json_decref(value);
}

static void yaml_has_the_same_keys_and_values(void **unused)
{
    (void)unused;
    expect_yaml("{\"name\":\"n1\",\"id\":1,\"leader\":true,\"ip\":null,\"load\":0.5}",
                "name: n1\nid: 1\nleader: true\nip: null\nload: 0.5\n");
    expect_yaml("[{\"a\":1,\"b\":[1,2]},{\"a\":2,\"b\":[]}]",
                "- a: 1\n  b:\n    - 1\n    - 2\n- a: 2\n  b: []\n");
    expect_yaml("{\"up\":{\"out\":{\"kbps\":3},\"classes\":[{\"class\":\"bulk\",\"kbps\":1}]},\"e\":{}}",
                "up:\n  out:\n    kbps: 3\n  classes:\n    - class: bulk\n      kbps: 1\ne: {}\n");
    expect_yaml("[[1,2],[]]", "- - 1\n  - 2\n- []\n");
    expect_yaml("[]", "[]\n");
}

static void yaml_quotes_what_is_no_plain_word(void **unused)
{
    static const struct {
        const char *json, *yaml;
    } words[] = {
        {"\"web-1\"", "web-1\n"},
        {"\"/bin/sleep\"", "\"/bin/sleep\"\n"},
        {"\"no\"", "\"no\"\n"},
        {"\"On\"", "\"On\"\n"},
        {"\"null\"", "\"null\"\n"},
        {"\"\"", "\"\"\n"},
        {"\"10.7.0.0/24\"", "\"10.7.0.0/24\"\n"},
        {"\"1e3\"", "\"1e3\"\n"},
        {"\"key: value # x\"", "\"key: value # x\"\n"},
        {"\"a\\nb\\t\\\"c\\\\\"", "\"a\\nb\\x09\\\"c\\\\\"\n"},
        {"\"- x\"", "\"- x\"\n"},
        {"\"grün\"", "\"grün\"\n"},
        {"{\"a b\":1,\"on\":2}", "\"a b\": 1\n\"on\": 2\n"},
    };

    (void)unused;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        expect_yaml(words[i].json, words[i].yaml);
}

static void csv_is_a_header_and_rows(void **unused)
{
    (void)unused;
    expect_csv("[{\"name\":\"n1\",\"id\":1,\"up\":true},{\"name\":\"n2\",\"id\":2,\"up\":null}]",
               "name,id,up\r\nn1,1,true\r\nn2,2,\r\n");
    expect_csv("{\"name\":\"web\",\"cores\":[1,2],\"holders\":[\"n1\",\"n2\"]}",
               "name,cores,holders\r\nweb,1 2,n1 n2\r\n");
    /* A key that only a later row has. */
    expect_csv("[{\"a\":1},{\"a\":2,\"b\":3}]", "a,b\r\n1,\r\n2,3\r\n");
    expect_csv("[]", "");
    expect_csv("{\"text\":\"a, \\\"b\\\"\\nc\"}", "text\r\n\"a, \"\"b\"\"\nc\"\r\n");
    /* What blanks would split, and what is nested, stays JSON. */
    expect_csv("{\"argv\":[\"sh\",\"a b\"],\"up\":{\"kbps\":1}}",
               "argv,up\r\n\"[\"\"sh\"\",\"\"a b\"\"]\",\"{\"\"kbps\"\":1}\"\r\n");
}

static void records_go_on(void **unused)
{
    json_t *first = json_of("{\"what\":\"node-up\",\"index\":1}"), *columns = NULL;
    json_t *second = json_of("{\"index\":2,\"what\":\"node-lost\",\"more\":1}");
    char *text;

    (void)unused;
    text = show_record(SHOW_CSV, first, &columns);
    assert_string_equal(text, "what,index\r\nnode-up,1\r\n");
    free(text);
    text = show_record(SHOW_CSV, second, &columns);
    assert_string_equal(text, "node-lost,2\r\n");
    free(text);
    text = show_record(SHOW_YAML, first, &columns);
    assert_string_equal(text, "- what: node-up\n  index: 1\n");
    free(text);
    text = show_record(SHOW_JSON, first, &columns);
    assert_string_equal(text, "{\"what\":\"node-up\",\"index\":1}\n");
    free(text);
    json_decref(columns);
    json_decref(first);
    json_decref(second);
}

static void formats_are_words(void **unused)
{
    json_t *value = json_of("[{\"name\":\"a\"}]");
    char *text;

    (void)unused;
    assert_int_equal(show_format_of(NULL), SHOW_TABLE);
    assert_int_equal(show_format_of("table"), SHOW_TABLE);
    assert_int_equal(show_format_of("json"), SHOW_JSON);
    assert_int_equal(show_format_of("yaml"), SHOW_YAML);
    assert_int_equal(show_format_of("csv"), SHOW_CSV);
    text = show_result(SHOW_YAML, "slice.list", value, true);
    assert_string_equal(text, "- name: a\n");
    free(text);
    text = show_result(SHOW_CSV, "slice.list", value, true);
    assert_string_equal(text, "name\r\na\r\n");
    free(text);
    json_decref(value);
}

static void cores_are_ranges(void **unused)
{
    static const struct {
        uint16_t cores[8];
        size_t n;
        const char *text;
    } lists[] = {
        {{0}, 0, ""},
        {{3}, 1, "3"},
        {{0, 1, 2, 3, 6}, 5, "0-3,6"},
        {{6, 3, 1, 0, 2}, 5, "0-3,6"},
        {{1, 3, 5}, 3, "1,3,5"},
        {{7, 8}, 2, "7-8"},
    };
    char text[64];

    (void)unused;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        uint16_t cores[8];

        memcpy(cores, lists[i].cores, sizeof(cores));
        core_list_format(cores, lists[i].n, text, sizeof(text));
        assert_string_equal(text, lists[i].text);
    }
}

static void a_long_list_is_cut_after_a_range(void **unused)
{
    uint16_t cores[] = {10, 20, 30, 40, 50};
    char text[12];

    (void)unused;
    core_list_format(cores, 5, text, sizeof(text));
    assert_string_equal(text, "10,20,…");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yaml_has_the_same_keys_and_values),
        cmocka_unit_test(yaml_quotes_what_is_no_plain_word),
        cmocka_unit_test(csv_is_a_header_and_rows),
        cmocka_unit_test(records_go_on),
        cmocka_unit_test(formats_are_words),
        cmocka_unit_test(cores_are_ranges),
        cmocka_unit_test(a_long_list_is_cut_after_a_range),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
