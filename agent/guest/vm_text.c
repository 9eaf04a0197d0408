#include "agent/guest/vm_text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "netfabric/flows.h"

void vm_paths_init(struct vm_paths *vm, const struct guest_paths *paths)
{
    snprintf(vm->overlay, sizeof(vm->overlay), "%s/disk.qcow2", paths->upper);
    snprintf(vm->disk, sizeof(vm->disk), "%s/disk.raw", paths->upper);
    snprintf(vm->seed, sizeof(vm->seed), "%.127s/seed.iso", paths->merged);
    snprintf(vm->console, sizeof(vm->console), "%.90s/qemu.sock", paths->merged);
    snprintf(vm->clients, sizeof(vm->clients), "%.90s/console.sock", paths->merged);
    snprintf(vm->control, sizeof(vm->control), "%.90s/control.sock", paths->merged);
    snprintf(vm->rpc, sizeof(vm->rpc), "%.90s/rpc.sock", paths->merged);
    snprintf(vm->qemu, sizeof(vm->qemu), "%.90s/qemu", paths->merged);
    snprintf(vm->memory, sizeof(vm->memory), "%.90s/qemu/memory", paths->merged);
    snprintf(vm->disks, sizeof(vm->disks), "%.90s/qemu/disks", paths->merged);
}

uint32_t vm_uid(const struct guest_run *run)
{
    return VM_UID_FIRST + (uint32_t)(run->created % (VM_UID_LAST - VM_UID_FIRST + 1u));
}

/* ---- XML */

struct text {
    char *at;
    size_t size, used;
};

static void say(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct text *t, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (t->used < t->size)
        t->used += (size_t)vsnprintf(t->at + t->used, t->size - t->used, format, args);
    va_end(args);
}

static void say_escaped(struct text *t, const char *words)
{
    for (; *words != '\0'; words++) {
        if (*words == '<')
            say(t, "&lt;");
        else if (*words == '>')
            say(t, "&gt;");
        else if (*words == '&')
            say(t, "&amp;");
        else if (*words == '\'')
            say(t, "&apos;");
        else if ((unsigned char)*words >= ' ')
            say(t, "%c", *words);
    }
}

static void say_uuid(const struct guest_run *run, bool stays, char ret[VM_UUID_SIZE])
{
    snprintf(ret, VM_UUID_SIZE, "736b6569-6e%02x-4000-8000-%012llx", stays,
             (unsigned long long)(run->created & 0xffffffffffffULL));
}

/* The same wherever the guest is: it is the same machine. */
void vm_uuid(const struct guest_run *run, char ret[VM_UUID_SIZE])
{
    say_uuid(run, false, ret);
}

void vm_xen_uuid(const struct guest_run *run, char ret[VM_UUID_SIZE])
{
    say_uuid(run, run->spec.failover == FAILOVER_STAY, ret);
}

static void say_identity(struct text *t, const struct guest_run *run, const char *uuid)
{
    say(t, "<name>%s</name>\n<uuid>%s</uuid>\n", run->spec.name, uuid);
    say(t, "<memory unit='MiB'>%u</memory>\n", run->spec.memory_mib);
}

/* Each virtual processor has a core of its own; QEMU's other threads stay off those. */
static void say_pins(struct text *t, const struct guest_run *run)
{
    say(t, "<cputune>\n");
    for (uint32_t i = 0; i < run->n_cores; i++)
        say(t, "<vcpupin vcpu='%u' cpuset='%u'/>\n", i, run->cpus[i]);
    say(t, "<emulatorpin cpuset='%s'/>\n</cputune>", run->shared_cpus);
}

static void say_processors(struct text *t, const struct guest_run *run)
{
    say(t, "<vcpu placement='static'>%u</vcpu>\n", run->n_cores > 0 ? run->n_cores : 1);
    say_pins(t, run);
    say(t, "\n");
}

static void say_boot(struct text *t, const struct vm_ground *ground)
{
    say(t, "<os><type arch='%s'>hvm</type>\n", ground->arch);
    if (ground->kernel != NULL) {
        say(t, "<kernel>%s</kernel>\n", ground->kernel);
        if (ground->initrd != NULL)
            say(t, "<initrd>%s</initrd>\n", ground->initrd);
        say(t, "<cmdline>");
        say_escaped(t, ground->cmdline != NULL ? ground->cmdline : "console=ttyS0");
        say(t, "</cmdline>\n");
    } else {
        say(t, "<boot dev='hd'/>\n");
    }
    say(t, "</os>\n");
}

static void say_behaviour(struct text *t, const struct vm_ground *ground)
{
    say(t, "<features><acpi/>%s</features>\n",
        ground->has_kvm ? "" : "<tcg><tb-cache unit='MiB'>64</tb-cache></tcg>");
    if (ground->has_kvm)
        say(t, "<cpu mode='host-model'/>\n");
    say(t, "<clock offset='utc'/>\n<on_poweroff>destroy</on_poweroff>"
           "<on_reboot>restart</on_reboot><on_crash>destroy</on_crash>\n");
}

static void say_disk(struct text *t, const char *format, const char *path, const char *target,
                     bool is_fixed)
{
    say(t,
        "<disk type='file' device='disk'><driver name='qemu' type='%s'/><source file='%s'/>"
        "<target dev='%s' bus='virtio'/>%s</disk>\n",
        format, path, target, is_fixed ? "<readonly/>" : "");
}

/* A user-space switch must see whole packets with checksums. */
static void say_interface(struct text *t, const struct guest_run *run)
{
    uint8_t mac[MAC_SIZE];
    char words[MAC_TEXT_SIZE];

    mac_of_guest(run->ip, mac);
    say(t,
        "<interface type='ethernet'><mac address='%s'/><target dev='g%u' managed='no'/>"
        "<model type='virtio'/><driver><host csum='off' gso='off' tso4='off' tso6='off' ecn='off' "
        "ufo='off'/><guest csum='off' tso4='off' tso6='off' ecn='off' "
        "ufo='off'/></driver><rom enabled='no'/></interface>\n",
        mac_format(mac, words), run->port);
}

static void say_devices(struct text *t, const struct guest_run *run, const struct vm_paths *paths,
                        const struct vm_ground *ground)
{
    say(t, "<devices><emulator>" VM_EMULATOR_FORMAT "</emulator>\n", ground->arch);
    say(t, "<controller type='usb' model='none'/>\n");
    if (ground->has_disk)
        say_disk(t, "qcow2", paths->overlay, "vda", false);
    say_disk(t, "raw", paths->seed, "vdb", true);
    if (run->vni != 0)
        say_interface(t, run);
    say(t, "<serial type='unix'><source mode='connect' path='%s'/></serial>\n", paths->console);
    say(t, "<memballoon model='none'/></devices>\n");
}

int vm_domain_xml(const struct guest_run *run, const struct vm_paths *paths,
                  const struct vm_ground *ground, char ret[VM_XML_SIZE], struct err *err)
{
    struct text t = {.at = ret, .size = VM_XML_SIZE};
    char uuid[VM_UUID_SIZE];

    vm_uuid(run, uuid);
    say(&t, "<domain type='%s'>\n", ground->has_kvm ? "kvm" : "qemu");
    say_identity(&t, run, uuid);
    say_processors(&t, run);
    say_boot(&t, ground);
    say_behaviour(&t, ground);
    say_devices(&t, run, paths, ground);
    say(&t, "</domain>\n");
    return t.used < t.size ? 0 : err_set(err, -EMSGSIZE, "its description is too long");
}

/* ---- XML for Xen */

/* Its console comes last: there the guest's own words are. */
static void say_xen_boot(struct text *t, const struct vm_xen_ground *ground)
{
    say(t, "<os><type arch='%s' machine='xenpv'>linux</type>\n<kernel>%s</kernel>\n", ground->arch,
        ground->kernel);
    if (ground->initrd != NULL)
        say(t, "<initrd>%s</initrd>\n", ground->initrd);
    say(t, "<cmdline>");
    say_escaped(t, ground->cmdline != NULL ? ground->cmdline : "");
    say(t, " console=hvc0</cmdline></os>\n");
}

static void say_xen_disk(struct text *t, const char *device, const char *target, bool is_fixed)
{
    say(t,
        "<disk type='block' device='disk'><driver name='phy'/><source dev='%s'/>"
        "<target dev='%s' bus='xen'/>%s</disk>\n",
        device, target, is_fixed ? "<readonly/>" : "");
}

static void say_xen_devices(struct text *t, const struct guest_run *run,
                            const struct vm_xen_ground *ground)
{
    uint8_t mac[MAC_SIZE];
    char words[MAC_TEXT_SIZE];

    say(t, "<devices>\n");
    if (ground->disk != NULL)
        say_xen_disk(t, ground->disk, "xvda", false);
    say_xen_disk(t, ground->seed, "xvdb", true);
    mac_of_guest(run->ip, mac);
    if (run->vni != 0)
        say(t, "<interface type='ethernet'><mac address='%s'/><script path='%s'/></interface>\n",
            mac_format(mac, words), ground->script);
    say(t, "<console type='pty'><target type='xen' port='0'/></console>\n</devices>\n");
}

/* Others' cores, and where there are others the control domain's, are none of its business. */
static void say_xen_pins(struct text *t, const struct guest_run *run)
{
    say(t, "<vcpu placement='static'>%u</vcpu>\n<cputune>\n", run->n_cores > 0 ? run->n_cores : 1);
    for (uint32_t i = 0; i < run->n_cores; i++)
        say(t, "<vcpupin vcpu='%u' cpuset='%u'/>\n", i, run->cores[i]);
    if (run->n_cores == 0)
        say(t, "<vcpupin vcpu='0' cpuset='%s'/>\n", run->shared_cpus);
    say(t, "</cputune>\n");
}

/* Of a reboot nothing is left to the hypervisor's tools: they would let the new domain run. */
int vm_xen_domain_xml(const struct guest_run *run, const struct vm_xen_ground *ground,
                      char ret[VM_XML_SIZE], struct err *err)
{
    struct text t = {.at = ret, .size = VM_XML_SIZE};
    char uuid[VM_UUID_SIZE];

    vm_xen_uuid(run, uuid);
    say(&t, "<domain type='xen'>\n");
    say_identity(&t, run, uuid);
    say_xen_pins(&t, run);
    say_xen_boot(&t, ground);
    say(&t, "<clock offset='utc'/>\n<on_poweroff>destroy</on_poweroff>"
            "<on_reboot>destroy</on_reboot><on_crash>destroy</on_crash>\n");
    say_xen_devices(&t, run, ground);
    say(&t, "</domain>\n");
    return t.used < t.size ? 0 : err_set(err, -EMSGSIZE, "its description is too long");
}

bool vm_xen_terminal(const char *xml, char *ret, size_t size)
{
    static const char opening[] = "tty='";
    const char *from = strstr(xml, opening);
    size_t length;

    if (from == NULL)
        return false;
    from += strlen(opening);
    length = strcspn(from, "'");
    if (from[length] != '\'' || length >= size || strncmp(from, "/dev/pts/", 9) != 0)
        return false;
    memcpy(ret, from, length);
    ret[length] = '\0';
    return true;
}

static bool is_listed(const char *cpus, unsigned int cpu)
{
    char *end;

    for (; *cpus != '\0'; cpus = *end == ',' ? end + 1 : end) {
        if (strtoul(cpus, &end, 10) == cpu)
            return true;
        if (end == cpus)
            return false;
    }
    return false;
}

void vm_wide_cpus(const struct guest_run *run, char ret[CPUS_TEXT_SIZE])
{
    struct text t = {.at = ret, .size = CPUS_TEXT_SIZE};

    say(&t, "%s", run->shared_cpus);
    for (uint32_t i = 0; i < run->n_cores; i++) {
        if (!is_listed(ret, run->cpus[i]))
            say(&t, "%s%u", t.used > 0 ? "," : "", run->cpus[i]);
    }
    if (t.used >= t.size) /* then it goes without */
        snprintf(ret, CPUS_TEXT_SIZE, "%s", run->shared_cpus);
}

int vm_pins_write(const struct guest_run *run, const char *shared, char ret[VM_PINS_SIZE],
                  struct err *err)
{
    struct text t = {.at = ret, .size = VM_PINS_SIZE};

    for (uint32_t i = 0; i < run->n_cores; i++)
        say(&t, "%s%u", i > 0 ? "," : "", run->cpus[i]);
    say(&t, "/%s", shared);
    return t.used < t.size ? 0 : err_set(err, -EMSGSIZE, "its processors are too many");
}

/* Numbers and commas, as they come from another node. */
static int read_pins(const char *pins, struct guest_run *ret)
{
    size_t numbers = strspn(pins, "0123456789,");
    const char *shared = pins + numbers + 1;
    char *at = (char *)pins;

    if (pins[numbers] != '/' || strspn(shared, "0123456789,") != strlen(shared) ||
        strlen(shared) >= sizeof(ret->shared_cpus))
        return -EBADMSG;
    for (ret->n_cores = 0; *at != '/'; ret->n_cores++) {
        if (ret->n_cores == MAX_GUEST_CORES || *at == ',')
            return -EBADMSG;
        ret->cpus[ret->n_cores] = (uint16_t)strtoul(at, &at, 10);
        at += *at == ',';
    }
    strcpy(ret->shared_cpus, shared);
    return 0;
}

int vm_repin_xml(const char *xml, const char *pins, char ret[VM_XML_SIZE], struct err *err)
{
    static const char opening[] = "<cputune>", closing[] = "</cputune>";
    const char *from = strstr(xml, opening);
    const char *to = from != NULL ? strstr(from, closing) : NULL;
    struct text t = {.at = ret, .size = VM_XML_SIZE};
    struct guest_run there;

    if (to == NULL || read_pins(pins, &there) < 0)
        return err_set(err, -EBADMSG, "which processors it has is not said");
    say(&t, "%.*s", (int)(from - xml), xml);
    say_pins(&t, &there);
    say(&t, "%s", to + strlen(closing));
    return t.used < t.size ? 0 : err_set(err, -EMSGSIZE, "its description is too long");
}

/* ---- cloud-init */

void vm_meta_data(const struct guest_run *run, char ret[VM_SEED_TEXT_SIZE])
{
    snprintf(ret, VM_SEED_TEXT_SIZE, "instance-id: %s-%llu\nlocal-hostname: %s\n", run->spec.name,
             (unsigned long long)run->created, run->spec.name);
}

void vm_network_config(const struct guest_run *run, char ret[VM_SEED_TEXT_SIZE])
{
    uint8_t mac[MAC_SIZE];
    char words[MAC_TEXT_SIZE], ip[IPV4_TEXT_SIZE];

    if (run->vni == 0) {
        snprintf(ret, VM_SEED_TEXT_SIZE, "version: 2\nethernets: {}\n");
        return;
    }
    mac_of_guest(run->ip, mac);
    snprintf(ret, VM_SEED_TEXT_SIZE,
             "version: 2\nethernets:\n  slice:\n    match:\n      macaddress: \"%s\"\n"
             "    set-name: eth0\n    dhcp4: false\n    dhcp6: false\n    addresses: [%s/%u]\n",
             mac_format(mac, words), ipv4_format(run->ip, ip), run->prefix);
}
