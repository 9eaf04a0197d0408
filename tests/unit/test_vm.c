/* What a virtual machine is to libvirt and to cloud-init. */
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_virtual_processor_has_its_core),
        cmocka_unit_test(test_its_port_is_the_tap_that_was_made),
        cmocka_unit_test(test_a_disk_is_booted_by_firmware_a_kernel_directly),
        cmocka_unit_test(test_cloud_init_reads_name_and_address),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
