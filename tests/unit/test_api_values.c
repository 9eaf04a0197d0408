#include "tests/unit/test.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api/command_jansson.h"
#include "agent/api/envelope.h"
#include "agent/skeind/facts.h"
#include "agent/skeind/members.h"

static void an_envelope_survives_the_way(void **context)
{
    struct envelope in = {
        .origin = {.kind = ORIGIN_LOCAL, .route_size = 5, .route = {0, 1, 2, 3, 4}},
        .is_last = true,
        .json = "{}",
        .json_size = 2,
        .data = (const uint8_t *)"abc",
        .size = 3,
    };
    struct envelope out;
    struct writer w;

    (void)context;
    writer_init_growing(&w, 1000);
    envelope_encode(&in, &w);
    assert_false(w.failed);
    assert_int_equal(envelope_decode(w.data, w.size, &out), 0);
    assert_true(origin_is_equal(&in.origin, &out.origin));
    assert_true(out.is_last);
    assert_memory_equal(out.json, "{}", 2);
    assert_memory_equal(out.data, "abc", 3);
    for (size_t size = 0; size < w.size; size++)
        assert_int_equal(envelope_decode(w.data, size, &out), -EBADMSG);
    in.size = 0;
    writer_deinit(&w);
    writer_init_growing(&w, 1000);
    envelope_encode(&in, &w);
    assert_int_equal(envelope_decode(w.data, w.size, &out), 0);
    assert_null(out.data); /* no second frame */
    w.data[1] = 9;         /* no such kind */
    assert_int_equal(envelope_decode(w.data, w.size, &out), -EBADMSG);
    writer_deinit(&w);
}

static void members_survive_the_disk(void **context)
{
    struct member list[2] = {{.id = 1, .address = 5, .name = "n1", .link_key = {1}},
                             {.id = 9, .address = 6, .name = "n2", .curve_key = {2}}};
    struct members in = {.own_id = 9,
                         .cluster = {7},
                         .timers = *timers_of_profile("wan"),
                         .n = 2,
                         .list = list},
                   out;
    struct writer w;

    (void)context;
    writer_init_growing(&w, 10000);
    members_encode(&in, &w);
    assert_int_equal(members_decode(w.data, w.size, &out), 0);
    assert_true(members_are_equal(&in, &out));
    assert_string_equal(members_find(&out, 9)->name, "n2");
    assert_null(members_find(&out, 2));
    out.list[1].address = 7;
    assert_false(members_are_equal(&in, &out));
    out.list[1].address = 6;
    assert_true(members_are_equal(&in, &out));
    out.timers.lease_ms++;
    assert_false(members_are_equal(&in, &out));
    members_deinit(&out);
    for (size_t size = 0; size < w.size; size++)
        assert_int_equal(members_decode(w.data, size, &out), -EBADMSG);
    writer_deinit(&w);
}

static void facts_come_from_settings_and_machine(void **context)
{
    struct machine machine = {.host_name = "board-7",
                              .arch = "aarch64",
                              .memory_mib = 1000,
                              .uplink_address = 0x0a000001,
                              .n_cores = 2,
                              .cores = {{.id = 0}, {.id = 2, .numa = 1}},
                              .has_guard = true};
    struct config config;
    struct node_facts facts;
    struct err err = {0};

    (void)context;
    config_init(&config);
    assert_string_equal(facts_name(&config, &machine), "board-7");
    assert_int_equal(facts_make(&config, &machine, &facts, &err), 0);
    assert_int_equal(facts.address, 0x0a000001);
    assert_int_equal(facts.vtep, 0x0a000001);
    assert_int_equal(facts.memory_mib, 750);
    assert_int_equal(facts.kinds, KIND_BIT(KIND_CELL));
    assert_int_equal(facts.vm_driver, VM_DRIVER_NONE);
    assert_int_equal(facts.n_cores, 2);
    assert_false(facts.cores[0].isolated);
    assert_true(facts.cores[1].isolated);
    assert_int_equal(facts.cores[1].numa, 1);
    node_facts_deinit(&facts);

    machine.has_vm = machine.is_xen = machine.has_kvm = true; /* there is no KVM behind Xen */
    assert_int_equal(config_parse(&config, "f",
                                  "address = 10.0.0.9\nname = n9\ncores = 4\nisolated_cores = "
                                  "2-3\nmemory = 64m\nwitness = yes",
                                  &err),
                     0);
    machine.host_name[0] = 'B';
    assert_string_equal(facts_name(&config, &machine), "n9");
    assert_int_equal(facts_make(&config, &machine, &facts, &err), 0);
    assert_int_equal(facts.address, 0x0a000009);
    assert_int_equal(facts.n_cores, 4);
    assert_false(facts.cores[1].isolated);
    assert_int_equal(facts.kinds, KIND_BIT(KIND_CELL) | KIND_BIT(KIND_VM));
    assert_int_equal(facts.vm_driver, VM_DRIVER_XEN);
    assert_true(facts.cores[3].isolated && facts.witness);
    node_facts_deinit(&facts);

    config_init(&config);
    machine.uplink_address = 0;
    assert_string_equal(facts_name(&config, &machine), "");
    assert_int_equal(facts_make(&config, &machine, &facts, &err), -EINVAL);
}

static int parse(const char *method, const char *json, struct command *ret, struct err *err)
{
    json_t *params = json_loads(json, 0, NULL);
    int rc;

    assert_non_null(params);
    rc = command_of_json(method, params, ret, err);
    json_decref(params);
    return rc;
}

static void wishes_become_commands(void **context)
{
    struct command command;
    struct err err = {0};

    (void)context;
    assert_int_equal(parse("guest.run",
                           "{\"name\":\"web\",\"image\":\"i\",\"slice\":\"red\",\"cores\":2,"
                           "\"memory\":128,\"label\":{\"a\":\"b\"},\"env\":[\"A=1\"],"
                           "\"argv\":[\"/bin/web\",\"-x\"],\"restart\":\"never\","
                           "\"volume\":[\"data:/srv\",\"log:/var/log\"]}",
                           &command, &err),
                     0);
    assert_int_equal(command.type, COMMAND_GUEST_CREATE);
    assert_int_equal(command.guest_create.spec.n_cores, 2);
    assert_int_equal(command.guest_create.spec.memory_mib, 128);
    assert_int_equal(command.guest_create.spec.restart, RESTART_NEVER);
    assert_int_equal(command.guest_create.spec.failover, FAILOVER_RESTART);
    assert_int_equal(command.guest_create.spec.priority, 100);
    assert_string_equal(command.guest_create.spec.argv[1], "-x");
    assert_string_equal(command.guest_create.spec.constraints[0].value, "b");
    assert_int_equal(command.guest_create.spec.n_volumes, 2);
    assert_string_equal(command.guest_create.spec.volumes[1].name, "log");
    assert_string_equal(command.guest_create.spec.volumes[1].path, "/var/log");
    command_deinit(&command);

    assert_int_equal(parse("slice.create",
                           "{\"name\":\"red\",\"subnet\":\"10.7.0.0/24\",\"rate\":20000}", &command,
                           &err),
                     0);
    assert_int_equal(command.slice_create.slice.rate_kbps, 20000);
    assert_int_equal(parse("guest.run", "{\"name\":\"a\",\"image\":\"i\",\"failover\":\"restore\"}",
                           &command, &err),
                     0);
    assert_int_equal(command.guest_create.spec.protect_ms, PROTECT_DEFAULT_MS);
    command_deinit(&command);
    assert_int_equal(
        parse("guest.run", "{\"name\":\"a\",\"image\":\"i\",\"protect_ms\":5000}", &command, &err),
        0);
    assert_int_equal(command.guest_create.spec.failover, FAILOVER_RESTORE);
    assert_int_equal(command.guest_create.spec.protect_ms, 5000);
    command_deinit(&command);
    assert_int_equal(parse("guest.set", "{\"name\":\"a\",\"protect_ms\":0}", &command, &err), 0);
    assert_int_equal(command.type, COMMAND_GUEST_PROTECT);
    assert_int_equal(parse("node.uncordon", "{\"name\":\"n1\"}", &command, &err), 0);
    assert_false(command.node_flag.flag);
    assert_int_equal(parse("guest.migrate", "{\"name\":\"web\",\"to_id\":9}", &command, &err), 0);
    assert_int_equal(command.migration_reserve.target.node, 9);
    assert_int_equal(command.migration_reserve.terms.mode, MOVE_AUTO);
    assert_int_equal(command.migration_reserve.terms.downtime_ms, 300);
    assert_int_equal(command.migration_reserve.terms.bandwidth_kbps, 0);
    assert_int_equal(parse("guest.migrate",
                           "{\"name\":\"web\",\"mode\":\"post\",\"downtime_ms\":50,"
                           "\"bandwidth\":50000}",
                           &command, &err),
                     0);
    assert_int_equal(command.migration_reserve.terms.mode, MOVE_POST);
    assert_int_equal(command.migration_reserve.terms.downtime_ms, 50);
    assert_int_equal(command.migration_reserve.terms.bandwidth_kbps, 50000);
    assert_int_equal(command.migration_reserve.terms.connections, 1);
    assert_int_equal(parse("guest.migrate", "{\"name\":\"web\",\"mode\":\"pre\",\"connections\":8}",
                           &command, &err),
                     0);
    assert_int_equal(command.migration_reserve.terms.connections, 8);
    assert_int_equal(parse("guest.migrate", "{\"name\":\"web\",\"connections\":1}", &command, &err),
                     0);
    assert_int_equal(command.migration_reserve.terms.connections, 1);
}

static void wrong_wishes_are_named(void **context)
{
    static const struct {
        const char *method, *json, *words;
        int code;
    } rows[] = {
        {"guest.fly", "{}", "there is no method", -ENOENT},
        {"guest.rm", "{}", "'name' is missing", -EINVAL},
        {"guest.rm", "{\"name\":\"A\"}", "name: 'A' is no name", -EINVAL},
        {"guest.run", "{\"name\":\"a\"}", "'image' is missing", -EINVAL},
        {"guest.run", "{\"name\":\"a\",\"image\":\"i\",\"cores\":65}", "cores: must be", -EINVAL},
        {"guest.run", "{\"name\":\"a\",\"image\":\"i\",\"cores\":-1}", "cores: must be", -EINVAL},
        {"guest.run", "{\"name\":\"a\",\"image\":\"i\",\"memory\":0}", "memory", -EINVAL},
        {"guest.run", "{\"name\":\"a\",\"image\":\"i\",\"env\":[\"x\"]}", "env: 'x'", -EINVAL},
        {"guest.run", "{\"name\":\"a\",\"image\":\"i\",\"argv\":[1]}", "argv: each", -EINVAL},
        {"guest.run", "{\"name\":\"a\",\"image\":\"i\",\"failover\":\"wait\"}",
         "failover: 'wait' is none of restart, stay, restore", -EINVAL},
        {"guest.run", "{\"name\":\"a\",\"image\":\"i\",\"failover\":\"stay\",\"protect_ms\":5000}",
         "protect_ms: is for guests that restore, not stay", -EINVAL},
        {"guest.run", "{\"name\":\"a\",\"image\":\"i\",\"failover\":\"restore\",\"protect_ms\":0}",
         "protect_ms: who is to restore", -EINVAL},
        {"guest.run", "{\"name\":\"a\",\"image\":\"i\",\"volume\":\"data:/srv\"}",
         "volume: must be a list", -EINVAL},
        {"guest.run", "{\"name\":\"a\",\"image\":\"i\",\"volume\":[1]}", "volume: '' is not",
         -EINVAL},
        {"guest.run", "{\"name\":\"a\",\"image\":\"i\",\"volume\":[\"../x:/srv\"]}",
         "volume: '../x' is no name", -EINVAL},
        {"guest.run", "{\"name\":\"a\",\"image\":\"i\",\"volume\":[\"x:/srv/../etc\"]}",
         "volume: '/srv/../etc' must", -EINVAL},
        {"guest.run", "{\"name\":\"a\",\"image\":\"i\",\"volume\":[\"a:/a\",\"b:/a\"]}",
         "volume: volumes a and b", -EINVAL},
        {"guest.run", "{\"name\":\"a\",\"image\":\"i\",\"kind\":\"vm\",\"volume\":[\"a:/a\"]}",
         "volume: a vm has none", -EINVAL},
        {"guest.run",
         "{\"name\":\"a\",\"image\":\"i\",\"volume\":[\"a:/a\",\"b:/b\",\"c:/c\",\"d:/d\","
         "\"e:/e\",\"f:/f\",\"g:/g\",\"h:/h\",\"i:/i\"]}",
         "volume: a guest has at most 8", -EINVAL},
        {"guest.set", "{\"name\":\"a\"}", "'protect_ms' is missing", -EINVAL},
        {"guest.run", "{\"name\":\"a\",\"image\":\"i\",\"label\":[]}", "label: must", -EINVAL},
        {"guest.migrate", "{\"name\":\"a\",\"mode\":\"fast\"}", "mode: must be auto", -EINVAL},
        {"guest.migrate", "{\"name\":\"a\",\"mode\":1}", "mode: must be auto", -EINVAL},
        {"guest.migrate", "{\"name\":\"a\",\"downtime_ms\":0}", "downtime_ms: must be at least 1",
         -EINVAL},
        {"guest.migrate", "{\"name\":\"a\",\"downtime_ms\":600001}", "downtime_ms: must be a whole",
         -EINVAL},
        {"guest.migrate", "{\"name\":\"a\",\"bandwidth\":0}", "bandwidth: must be at least",
         -EINVAL},
        {"guest.migrate", "{\"name\":\"a\",\"mode\":\"pre\",\"connections\":0}",
         "connections: must be a whole number from 1 to 8", -EINVAL},
        {"guest.migrate", "{\"name\":\"a\",\"mode\":\"pre\",\"connections\":9}",
         "connections: must be a whole number from 1 to 8", -EINVAL},
        {"guest.migrate", "{\"name\":\"a\",\"mode\":\"pre\",\"connections\":-4294967295}",
         "connections: must be a whole number from 1 to 8", -EINVAL},
        {"guest.migrate", "{\"name\":\"a\",\"mode\":\"pre\",\"connections\":\"4\"}",
         "connections: must be a whole number from 1 to 8", -EINVAL},
        {"guest.migrate", "{\"name\":\"a\",\"mode\":\"pre\",\"connections\":2.0}",
         "connections: must be a whole number from 1 to 8", -EINVAL},
        {"guest.migrate", "{\"name\":\"a\",\"connections\":4}",
         "connections: several go with mode pre only, not with auto", -EINVAL},
        {"guest.migrate", "{\"name\":\"a\",\"mode\":\"post\",\"connections\":4}",
         "connections: several go with mode pre only, not with post", -EINVAL},
        {"guest.migrate", "{\"name\":\"a\",\"mode\":\"stop\",\"connections\":4}",
         "connections: several go with mode pre only, not with stop", -EINVAL},
        {"slice.create", "{\"name\":\"red\"}", "'subnet' is missing", -EINVAL},
        {"slice.create", "{\"name\":\"red\",\"subnet\":\"10.7.0.1/24\"}", "", -EINVAL},
        {"image.add", "{\"name\":\"i\",\"digest\":\"00\"}", "'digest'", -EINVAL},
    };

    (void)context;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct command command;
        struct err err = {0};

        assert_int_equal(parse(rows[i].method, rows[i].json, &command, &err), rows[i].code);
        assert_memory_equal(err.text, rows[i].words, strlen(rows[i].words));
        command_deinit(&command);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_envelope_survives_the_way),
        cmocka_unit_test(members_survive_the_disk),
        cmocka_unit_test(facts_come_from_settings_and_machine),
        cmocka_unit_test(wishes_become_commands),
        cmocka_unit_test(wrong_wishes_are_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
