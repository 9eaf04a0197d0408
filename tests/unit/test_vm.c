/* What a virtual machine is to libvirt and to cloud-init. */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/guest/vm_control_posix.h"
#include "agent/guest/vm_text.h"

static struct guest_run machine(void)
{
    return (struct guest_run){
        .spec = {.name = "vm1", .kind = KIND_VM, .memory_mib = 192, .n_cores = 2},
        .created = 0x13,
        .epoch = 20,
        .n_cores = 2,
        .cores = {1, 3},
        .cpus = {5, 7},
        .shared_cpus = "0,2",
        .vni = 1,
        .ip = 0x0a070002,
        .prefix = 24,
        .port = 9,
    };
}

static void write_domain(const struct guest_run *run, const struct vm_ground *ground,
                         char xml[VM_XML_SIZE])
{
    struct guest_paths paths;
    struct vm_paths vm;
    struct err err;

    guest_paths_init(&paths, run->spec.name, run->digest);
    vm_paths_init(&vm, &paths);
    assert_int_equal(vm_domain_xml(run, &vm, ground, xml, &err), 0);
}

static bool says(const char *text, const char *words)
{
    return strstr(text, words) != NULL;
}

static void test_each_virtual_processor_has_its_core(void **state)
{
    const struct vm_ground ground = {.arch = "x86_64", .has_disk = true};
    struct guest_run run = machine();
    char xml[VM_XML_SIZE];

    (void)state;
    write_domain(&run, &ground, xml);
    assert_true(says(xml, "<vcpu placement='static'>2</vcpu>"));
    assert_true(says(xml, "<vcpupin vcpu='0' cpuset='5'/>"));
    assert_true(says(xml, "<vcpupin vcpu='1' cpuset='7'/>"));
    assert_true(says(xml, "<emulatorpin cpuset='0,2'/>"));
    run.n_cores = 0;
    write_domain(&run, &ground, xml);
    assert_true(says(xml, "<vcpu placement='static'>1</vcpu>"));
    assert_false(says(xml, "vcpupin"));
}

static void test_its_port_is_the_tap_that_was_made(void **state)
{
    const struct vm_ground ground = {.arch = "x86_64", .has_disk = true};
    struct guest_run run = machine();
    char xml[VM_XML_SIZE];

    (void)state;
    write_domain(&run, &ground, xml);
    assert_true(says(xml, "<target dev='g9' managed='no'/>"));
    assert_true(says(xml, "csum='off'"));
    run.vni = run.ip = run.port = 0;
    write_domain(&run, &ground, xml);
    assert_false(says(xml, "<interface"));
}

static void test_a_disk_is_booted_by_firmware_a_kernel_directly(void **state)
{
    const struct vm_ground disk = {.arch = "x86_64", .has_disk = true, .has_kvm = true};
    const struct vm_ground kernel = {.arch = "x86_64",
                                     .kernel = "/image/vmlinuz",
                                     .initrd = "/image/initrd",
                                     .cmdline = "a='b' & <c>"};
    struct guest_run run = machine();
    char xml[VM_XML_SIZE];

    (void)state;
    write_domain(&run, &disk, xml);
    assert_true(says(xml, "<domain type='kvm'>") && says(xml, "<boot dev='hd'/>"));
    assert_true(says(xml, "/var/lib/skein/guests/vm1/upper/disk.qcow2"));
    assert_false(says(xml, "<kernel>"));
    write_domain(&run, &kernel, xml);
    assert_true(says(xml, "<domain type='qemu'>") && says(xml, "<kernel>/image/vmlinuz</kernel>"));
    assert_true(says(xml, "<cmdline>a=&apos;b&apos; &amp; &lt;c&gt;</cmdline>"));
    assert_false(says(xml, "disk.qcow2"));
}

static void test_cloud_init_reads_name_and_address(void **state)
{
    struct guest_run run = machine();
    char text[VM_SEED_TEXT_SIZE];

    (void)state;
    vm_meta_data(&run, text);
    assert_string_equal(text, "instance-id: vm1-19\nlocal-hostname: vm1\n");
    vm_network_config(&run, text);
    assert_true(says(text, "addresses: [10.7.0.2/24]"));
    assert_true(says(text, "macaddress: \""));
    run.vni = 0;
    vm_network_config(&run, text);
    assert_string_equal(text, "version: 2\nethernets: {}\n");
}

/* Where it moves to, the processors are others, and nothing else is. */
static void test_its_processors_are_the_targets(void **state)
{
    static const char described[] =
        "<domain>\n  <vcpu>2</vcpu>\n  <cputune>\n    <vcpupin vcpu='0' "
        "cpuset='5'/>\n  </cputune>\n  <os>100%s</os>\n</domain>";
    const char *const wrong[] = {"", "9", "9,,1/0", ",9/0", "9/0'/><x a='", "9/0/1", "a/b"};
    struct guest_run run = machine();
    char pins[VM_PINS_SIZE], xml[VM_XML_SIZE];
    struct err err;

    (void)state;
    run.n_cores = 1;
    run.cpus[0] = 9;
    assert_int_equal(vm_pins_write(&run, run.shared_cpus, pins, &err), 0);
    assert_string_equal(pins, "9/0,2");
    assert_int_equal(vm_repin_xml(described, pins, xml, &err), 0);
    assert_string_equal(xml, "<domain>\n  <vcpu>2</vcpu>\n  <cputune>\n<vcpupin vcpu='0' "
                             "cpuset='9'/>\n<emulatorpin cpuset='0,2'/>\n</cputune>\n  "
                             "<os>100%s</os>\n</domain>");
    assert_int_equal(vm_repin_xml("<domain/>", pins, xml, &err), -EBADMSG);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(vm_repin_xml(described, wrong[i], xml, &err), -EBADMSG);
}

/* None twice; one that shares its core with the system has no more than that. */
static void test_what_runs_it_may_be_on_its_processors_too(void **state)
{
    struct guest_run run = machine();
    char cpus[CPUS_TEXT_SIZE];

    (void)state;
    run.n_cores = 2;
    run.cpus[0] = 9;
    run.cpus[1] = 2;
    vm_wide_cpus(&run, cpus);
    assert_string_equal(cpus, "0,2,9");
    run.n_cores = 0;
    vm_wide_cpus(&run, cpus);
    assert_string_equal(cpus, "0,2");
    memset(run.shared_cpus, '7', sizeof(run.shared_cpus) - 1);
    run.shared_cpus[sizeof(run.shared_cpus) - 1] = '\0';
    run.n_cores = 1;
    vm_wide_cpus(&run, cpus);
    assert_string_equal(cpus, run.shared_cpus);
}

static void test_its_user_is_nobody_else(void **state)
{
    struct guest_run run = machine();

    (void)state;
    assert_int_equal(vm_uid(&run), VM_UID_FIRST + 0x13);
    run.created = UINT64_MAX;
    assert_int_equal(vm_uid(&run), VM_UID_LAST);
}

static void test_orders_and_answers_survive_the_way(void **state)
{
    const struct vm_request request = {.order = VM_ORDER_MOVE,
                                       .is_paused = true,
                                       .post_after = 2,
                                       .last_round_ms = 300,
                                       .rate_kbps = 90000,
                                       .connections = 4};
    const struct vm_reply reply = {
        .answer = VM_ANSWER_MOVED, .bytes = 1, .frozen_us = 2, .handed_over_us = 3, .text = "x"};
    struct vm_request request_back;
    struct vm_reply reply_back;
    uint8_t bytes[VM_PACKET_MAX];
    struct writer w;

    (void)state;
    writer_init(&w, bytes, sizeof(bytes));
    vm_request_encode(&request, &w);
    assert_int_equal(vm_request_decode(bytes, w.size, &request_back), 0);
    assert_true(request_back.is_paused);
    assert_int_equal(request_back.post_after, 2);
    assert_int_equal(request_back.last_round_ms, 300);
    assert_int_equal(request_back.rate_kbps, 90000);
    assert_int_equal(request_back.connections, 4);
    for (size_t size = 0; size < w.size; size++)
        assert_int_equal(vm_request_decode(bytes, size, &request_back), -EBADMSG);
    bytes[1] = VM_ORDER_END;
    assert_int_equal(vm_request_decode(bytes, w.size, &request_back), -EBADMSG);
    writer_init(&w, bytes, sizeof(bytes));
    vm_reply_encode(&reply, &w);
    assert_int_equal(vm_reply_decode(bytes, w.size, &reply_back), 0);
    assert_int_equal(reply_back.frozen_us, 2);
    assert_string_equal(reply_back.text, "x");
    for (size_t size = 0; size < w.size; size++)
        assert_int_equal(vm_reply_decode(bytes, size, &reply_back), -EBADMSG);
}

/* Of one pipe, what is written into the one end comes out of the other. */
static void assert_joined(int out, int in)
{
    char byte = 0;

    assert_int_equal(write(out, "x", 1), 1);
    assert_int_equal(read(in, &byte, 1), 1);
    assert_int_equal(byte, 'x');
}

static void test_a_move_takes_its_stream_and_its_progress_along(void **state)
{
    const struct vm_request request = {.order = VM_ORDER_MOVE};
    struct vm_paths vm = {0};
    int listener, asked, taken, ends[2];
    struct vm_request back;
    struct vm_passed passed;
    struct err err;
    pid_t pid;

    (void)state;
    snprintf(vm.control, sizeof(vm.control), "/tmp/test_vm.%d", getpid());
    listener = vm_control_listen(&vm, &err);
    assert_true(listener >= 0);
    assert_int_equal(pipe(ends), 0);
    for (int n = 0; n <= 2; n++) {
        const struct vm_passed given = {n > 0 ? ends[0] : -1, n > 1 ? ends[1] : -1};

        assert_int_equal(vm_control_ask(&vm, &request, given, &asked, &pid, &err), 0);
        assert_int_equal(pid, getpid());
        assert_int_equal(vm_control_take(listener, &back, &taken, &passed), 0);
        assert_int_equal(passed.stream >= 0, n > 0);
        assert_int_equal(passed.progress >= 0, n > 1);
        if (n > 0)
            assert_joined(n > 1 ? passed.progress : ends[1], passed.stream);
        vm_passed_close(&passed);
        vm_passed_close(&passed);
        close(asked);
        close(taken);
    }
    close(ends[0]);
    close(ends[1]);
    close(listener);
    unlink(vm.control);
}

static void write_xen_domain(const struct guest_run *run, const struct vm_xen_ground *ground,
                             char xml[VM_XML_SIZE])
{
    struct err err;

    assert_int_equal(vm_xen_domain_xml(run, ground, xml, &err), 0);
}

/* Its cores are counted by Xen: not those that the control domain has. */
static void test_a_domain_of_xen_is_pinned_to_its_cores(void **state)
{
    const struct vm_xen_ground ground = {
        .arch = "x86_64", .kernel = "/r/vmlinuz", .seed = "/dev/loop1", .script = "/s"};
    struct guest_run run = machine();
    char xml[VM_XML_SIZE];

    (void)state;
    write_xen_domain(&run, &ground, xml);
    assert_true(says(xml, "<domain type='xen'>"));
    assert_true(says(xml, "<vcpupin vcpu='0' cpuset='1'/>"));
    assert_true(says(xml, "<vcpupin vcpu='1' cpuset='3'/>"));
    assert_true(says(xml, "<on_reboot>destroy</on_reboot>"));
    assert_true(says(xml, "<script path='/s'/>"));
    assert_true(says(xml, "<source dev='/dev/loop1'/><target dev='xvdb' bus='xen'/><readonly/>"));
    assert_false(says(xml, "xvda"));
    assert_false(says(xml, "<initrd>"));
    run.vni = 0;
    run.n_cores = 0;
    write_xen_domain(&run, &ground, xml);
    assert_false(says(xml, "<interface"));
    assert_true(says(xml, "<vcpu placement='static'>1</vcpu>"));
    assert_true(says(xml, "<vcpupin vcpu='0' cpuset='0,2'/>"));
}

static void test_a_domain_of_xen_speaks_through_its_console(void **state)
{
    const struct vm_xen_ground ground = {.arch = "x86_64",
                                         .kernel = "/r/vmlinuz",
                                         .initrd = "/r/initrd",
                                         .cmdline = "a<b console=ttyS0",
                                         .disk = "/dev/loop2",
                                         .seed = "/dev/loop1",
                                         .script = "/s"};
    struct guest_run run = machine();
    char xml[VM_XML_SIZE], path[16];

    (void)state;
    write_xen_domain(&run, &ground, xml);
    assert_true(says(xml, "<cmdline>a&lt;b console=ttyS0 console=hvc0</cmdline>"));
    assert_true(says(xml, "<source dev='/dev/loop2'/><target dev='xvda' bus='xen'/></disk>"));
    assert_false(vm_xen_terminal(xml, path, sizeof(path)));
    assert_true(vm_xen_terminal("<console type='pty' tty='/dev/pts/7'>", path, sizeof(path)));
    assert_string_equal(path, "/dev/pts/7");
    assert_false(vm_xen_terminal("<console tty='/dev/pts/1234567'>", path, sizeof(path)));
    assert_false(vm_xen_terminal("<console tty='/etc/x'>", path, sizeof(path)));
    assert_false(vm_xen_terminal("<console tty='/dev/pts/7", path, sizeof(path)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_virtual_processor_has_its_core),
        cmocka_unit_test(test_its_port_is_the_tap_that_was_made),
        cmocka_unit_test(test_a_disk_is_booted_by_firmware_a_kernel_directly),
        cmocka_unit_test(test_cloud_init_reads_name_and_address),
        cmocka_unit_test(test_its_processors_are_the_targets),
        cmocka_unit_test(test_what_runs_it_may_be_on_its_processors_too),
        cmocka_unit_test(test_its_user_is_nobody_else),
        cmocka_unit_test(test_a_domain_of_xen_is_pinned_to_its_cores),
        cmocka_unit_test(test_a_domain_of_xen_speaks_through_its_console),
        cmocka_unit_test(test_orders_and_answers_survive_the_way),
        cmocka_unit_test(test_a_move_takes_its_stream_and_its_progress_along),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
