/* oci_merge, oci_user, image_defaults: an OCI image becomes a root, and says what its guests do. */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/cli/oci_merge.h"
#include "agent/cli/oci_user.h"
#include "agent/core/image_defaults.h"

/* One layer a line, its entries apart by blanks: "dir/", "file", "link=target". */
static int merge_of(const char *layers, struct oci_merge **ret, struct err *err)
{
    struct oci_merge *merge = oci_merge_new();
    uint32_t layer = 0, entry = 0;
    int rc = 0;

    assert_non_null(merge);
    *ret = merge;
    for (const char *at = layers; *at != '\0' && rc == 0;) {
        size_t size = strcspn(at, " \n");
        char word[256], *target;

        snprintf(word, sizeof(word), "%.*s", (int)size, at);
        target = strchr(word, '=');
        if (target != NULL)
            *target++ = '\0';
        if (size > 0)
            rc = oci_merge_add(merge, layer, entry++,
                               target != NULL        ? OCI_LINK
                               : at[size - 1] == '/' ? OCI_DIRECTORY
                                                     : OCI_FILE,
                               word, target, err);
        at += size;
        if (*at == '\n') {
            layer++;
            entry = 0;
        }
        at += *at != '\0';
    }
    oci_merge_finish(merge);
    return rc;
}

/* "layer.entry:path,path …", in order. */
static void outcome_of(const struct oci_merge *merge, char *ret, size_t size)
{
    size_t used = 0;

    ret[0] = '\0';
    for (uint32_t layer = 0; layer < 4; layer++) {
        for (uint32_t entry = 0; entry < 8; entry++) {
            size_t n = oci_merge_n_paths(merge, layer, entry);

            for (size_t i = 0; i < n; i++)
                used += (size_t)snprintf(ret + used, size - used, "%s%s",
                                         i > 0      ? ","
                                         : used > 0 ? " "
                                                    : "",
                                         oci_merge_path(merge, layer, entry, i));
            if (n > 0)
                used += (size_t)snprintf(ret + used, size - used, "@%u.%u", layer, entry);
        }
    }
}

static void layers_make_a_root(void **state)
{
    static const struct {
        const char *layers, *outcome;
    } cases[] = {
        {"a b", "a@0.0 b@0.1"},
        {"./ ./d/ ./d//a", "d@0.1 d/a@0.2"},
        {"a b\na", "b@0.1 a@1.0"},                          /* a later one replaces */
        {"a b\n.wh.a", "b@0.1"},                            /* whiteout */
        {"d/ d/x d/e/ d/e/y\n.wh.d", ""},                   /* of a tree */
        {"d/ d/x\nd/ d/.wh..wh..opq d/y", "d@1.0 d/y@1.2"}, /* opaque */
        {"d/ d/x\nd/y d/.wh..wh..opq", "d@0.0 d/y@1.0"},    /* whatever the order in the layer */
        {"d/ d/x\nd/", "d/x@0.1 d@1.0"},                    /* a directory again keeps its files */
        {"d/ d/x dx\nd", "dx@0.2 d@1.0"},                   /* a file in a directory's place */
        {"d\nd/ d/x", "d@1.0 d/x@1.1"},
        {"a b=a", "a,b@0.0"},
        {"a b=a\n.wh.a", "b@0.0"}, /* the content lives on under its other name */
        {"a b=a\na", "b@0.0 a@1.0"},
        {"a\nb=a", "a,b@0.0"},
        {"a\n.wh.a\na", "a@2.0"},
        {"a\na .wh.a", "a@1.0"}, /* a whiteout is about lower layers only */
        {".wh.nothing\na", "a@1.0"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct oci_merge *merge;
        struct err err = {0};
        char outcome[512];

        assert_int_equal(merge_of(cases[i].layers, &merge, &err), 0);
        outcome_of(merge, outcome, sizeof(outcome));
        assert_string_equal(outcome, cases[i].outcome);
        oci_merge_free(merge);
    }
}

static void layers_that_contradict_themselves_are_refused(void **state)
{
    static const struct {
        const char *layers, *words;
    } cases[] = {
        {"../a", "reaches out"}, {"a/../../b", "reaches out"},   {"a b=../a", "reaches out"},
        {"b=a", "not there"},    {"a\n.wh.a\nb=a", "not there"}, {"d/ b=d", "not there"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct oci_merge *merge;
        struct err err = {0};

        assert_int_equal(merge_of(cases[i].layers, &merge, &err), -EBADMSG);
        assert_non_null(strstr(err.text, cases[i].words));
        oci_merge_free(merge);
    }
}

/* Past the table's first size. */
static void many_entries_are_kept(void **state)
{
    struct oci_merge *merge = oci_merge_new();
    char path[32];

    (void)state;
    assert_non_null(merge);
    for (uint32_t i = 0; i < 5000; i++) {
        snprintf(path, sizeof(path), "f%u", i);
        assert_int_equal(oci_merge_add(merge, 0, i, OCI_FILE, path, NULL, NULL), 0);
    }
    assert_int_equal(oci_merge_add(merge, 1, 0, OCI_FILE, ".wh.f4321", NULL, NULL), 0);
    oci_merge_finish(merge);
    for (uint32_t i = 0; i < 5000; i++)
        assert_int_equal(oci_merge_n_paths(merge, 0, i), i != 4321);
    oci_merge_free(merge);
}

static void users_are_found(void **state)
{
    static const char passwd[] =
        "root:x:0:0::/root:/bin/sh\nweb:x:33:44::/:/bin/false\nbad\nlast:x:7:8";
    static const char group[] = "root:x:0:\nstaff:x:50:web\n";
    static const struct {
        const char *user;
        int rc;
        uint32_t uid, gid;
    } cases[] = {
        {"", 0, 0, 0},
        {"root", 0, 0, 0},
        {"web", 0, 33, 44},
        {"33", 0, 33, 44},
        {"1000", 0, 1000, 0},
        {"1000:1001", 0, 1000, 1001},
        {"web:50", 0, 33, 50},
        {"web:staff", 0, 33, 50},
        {":staff", 0, 0, 50},
        {"last", 0, 7, 8},
        {"nobody", -EBADMSG, 0, 0},
        {"web:none", -EBADMSG, 0, 0},
        {"bad", -EBADMSG, 0, 0},
        {"4294967295", -EBADMSG, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t uid = 0, gid = 0;

        assert_int_equal(oci_user_find(cases[i].user, passwd, group, &uid, &gid, NULL),
                         cases[i].rc);
        assert_int_equal(uid, cases[i].uid);
        assert_int_equal(gid, cases[i].gid);
    }
    assert_int_equal(oci_user_find("web", NULL, NULL, &(uint32_t){0}, &(uint32_t){0}, NULL),
                     -EBADMSG);
}

/* ---- defaults */

static void guest_takes_what_it_does_not_say(void **state)
{
    char *env[] = {"A=1", "PATH=/x"}, *entrypoint[] = {"/init", "-v"}, *cmd[] = {"serve"};
    char *own_env[] = {"A=2"}, *own_argv[] = {"test"};
    struct image image = {.name = "web",
                          .defaults = {.n_env = 2,
                                       .env = env,
                                       .n_entrypoint = 2,
                                       .entrypoint = entrypoint,
                                       .n_command = 1,
                                       .command = cmd,
                                       .directory = "/srv",
                                       .uid = 33,
                                       .gid = 44}};
    struct guest_spec spec = {0}, own = {.n_env = 1, .env = own_env, .n_argv = 1, .argv = own_argv};
    struct guest_spec copy;

    (void)state;
    assert_int_equal(image_defaults_apply(&image, &spec, NULL), 0);
    assert_int_equal(spec.n_argv, 3);
    assert_string_equal(spec.argv[2], "serve");
    assert_int_equal(spec.n_env, 2);
    assert_string_equal(spec.directory, "/srv");
    assert_int_equal(spec.uid, 33);
    assert_int_equal(spec.gid, 44);
    guest_spec_deinit(&spec);

    assert_int_equal(guest_spec_copy(&copy, &own), 0);
    assert_int_equal(image_defaults_apply(&image, &copy, NULL), 0);
    assert_int_equal(copy.n_argv, 3);
    assert_string_equal(copy.argv[0], "/init");
    assert_string_equal(copy.argv[2], "test");
    assert_int_equal(copy.n_env, 2);
    assert_string_equal(copy.env[0], "PATH=/x");
    assert_string_equal(copy.env[1], "A=2");
    guest_spec_deinit(&copy);
}

static void an_lxc_guest_boots_where_nobody_says_more(void **state)
{
    struct image plain = {.name = "plain"};
    struct guest_spec spec = {.kind = KIND_LXC};

    (void)state;
    assert_int_equal(image_defaults_apply(&plain, &spec, NULL), 0);
    assert_int_equal(spec.n_argv, 1);
    assert_string_equal(spec.argv[0], "/sbin/init");
    guest_spec_deinit(&spec);
}

static void nothing_to_run_is_said(void **state)
{
    char *argument = "x", *argv[MAX_ARGUMENTS];
    struct image plain = {.name = "plain"};
    struct image started = {.name = "started",
                            .defaults = {.n_entrypoint = 1, .entrypoint = &argument}};
    struct guest_spec spec = {0};
    struct err err = {0};

    (void)state;
    assert_int_equal(image_defaults_apply(&plain, &spec, &err), -EINVAL);
    assert_non_null(strstr(err.text, "image plain has no command"));
    for (size_t i = 0; i < MAX_ARGUMENTS; i++)
        argv[i] = argument;
    spec.argv = argv;
    spec.n_argv = MAX_ARGUMENTS;
    assert_int_equal(image_defaults_apply(&started, &spec, &err), -EINVAL);
    assert_non_null(strstr(err.text, "more than 64 arguments"));
    assert_ptr_equal(spec.argv, argv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_make_a_root),
        cmocka_unit_test(layers_that_contradict_themselves_are_refused),
        cmocka_unit_test(many_entries_are_kept),
        cmocka_unit_test(users_are_found),
        cmocka_unit_test(guest_takes_what_it_does_not_say),
        cmocka_unit_test(an_lxc_guest_boots_where_nobody_says_more),
        cmocka_unit_test(nothing_to_run_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
