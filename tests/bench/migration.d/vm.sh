# The virtual machine of tests/bench/migration (sourced by it): as Skein's guest, and as a domain of libvirtd between n1 and n2, beside
# Skein on the same nodes. Both are the same machine: kernel, disk, the seed that Skein made, its address and what runs in it; its
# port is a tap in plain_set_up's bridge, and the listener there has the address of the slice's one too.

vm_downtime_ms=300
vm_user_data='#!/bin/sh
/bin/counter 7000 32 20 &
exec /bin/stamp send 10.7.0.2 9000 2'

# A serial line ends its lines its own way.
skein_vm_memory() { on 1 skein guest logs web | tr -d '\r'; }
skein_run_vm() {
    memory=(skein_vm_memory)
    "$deploy/make-image" --vm "$work/vm.tar" >/dev/null
    on 1 sh -c 'cat >/tmp/vm.tar' <"$work/vm.tar"
    on 1 sh -c 'cat >/tmp/user-data' <<<"$vm_user_data"
    {
        on 1 skein image add vm /tmp/vm.tar
        on 1 skein node cordon n2 # moves begin at n1
        on 1 skein guest run web --kind vm --image vm --slice red --cores 1 --memory 128m --user-data /tmp/user-data --timeout 300s
        on 1 skein node uncordon n2
    } >/dev/null
    on 1 sh -c 'cat "$(find /run/skein /var/lib/skein -name seed.iso | head -n 1)"' >"$work/seed.iso"
}

# ---- libvirt, as a user has it: a libvirtd a node that others reach by TCP

virsh_place() {
    on "$1" sh -e -s "$1" <<'S'
mkdir -p /run/plain/vm /run/libvirt /etc/libvirt /var/lib/libvirt /var/log/libvirt
mount -t tmpfs libvirt /etc/libvirt
cat >/etc/libvirt/libvirtd.conf <<C
listen_tls = 0
listen_tcp = 1
listen_addr = "10.90.0.$1"
auth_tcp = "none"
auth_unix_rw = "none"
host_uuid = "$(cat /proc/sys/kernel/random/uuid)"
C
cat >/etc/libvirt/qemu.conf <<C
user = "root"
group = "root"
security_driver = "none"
namespaces = [ ]
cgroup_controllers = [ ]
stdio_handler = "file"
migration_host = "10.90.0.$1"
C
ip tuntap add plain-tap mode tap
ip link set plain-tap mtu 1450 master plain up
S
    on "$1" tar -x -C /run/plain/vm <"$work/vm.tar"
    on "$1" sh -c 'cat >/run/plain/vm/seed.iso' <"$work/seed.iso"
    on "$1" setsid libvirtd --daemon --listen --pid-file /run/plain/vm/libvirtd.pid
}
vm_xml() {
    cat <<X
<domain type='qemu'>
<name>web</name><uuid>736b6569-6e00-4000-8000-000000000001</uuid>
<memory unit='MiB'>128</memory><vcpu>1</vcpu>
<os><type arch='x86_64'>hvm</type><kernel>/run/plain/vm/vmlinuz</kernel><initrd>/run/plain/vm/initrd</initrd>
<cmdline>$(cat "$work/cmdline")</cmdline></os>
<features><acpi/><tcg><tb-cache unit='MiB'>64</tb-cache></tcg></features>
<on_crash>destroy</on_crash>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator><controller type='usb' model='none'/>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/run/plain/vm/overlay.qcow2'/><target dev='vda' bus='virtio'/></disk>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/run/plain/vm/seed.iso'/><target dev='vdb' bus='virtio'/><readonly/></disk>
<interface type='ethernet'><mac address='02:5c:0a:08:00:09'/><target dev='plain-tap' managed='no'/><model type='virtio'/><rom enabled='no'/></interface>
<serial type='file'><source path='/run/plain/vm/console.log'/></serial>
<memballoon model='none'/></devices>
</domain>
X
}
virsh_overlay() { on "$1" sh -c 'cd /run/plain/vm && rm -f overlay.qcow2 && qemu-img create -q -f qcow2 -b disk -F raw overlay.qcow2'; }
virsh_start() {
    local k
    tar -x -O -f "$work/vm.tar" ./cmdline >"$work/cmdline"
    on 3 nsenter --net=/run/plain/netns ip addr add 10.7.0.2/24 dev eth0
    for k in 1 2; do virsh_place $k; done
    virsh_answers() { on 1 virsh -q -c qemu:///system list && on 1 virsh -q -c qemu+tcp://10.90.0.2/system list; }
    await virsh_answers
    virsh_overlay 1
    vm_xml | on 1 sh -c 'cat >/run/plain/vm/web.xml'
    on 1 virsh -q -c qemu:///system create /run/plain/vm/web.xml >"$work/said" 2>&1
}
virsh_memory() { on "$plain_at" cat /run/plain/vm/console.log | tr -d '\r'; }
virsh_move() {
    local to=$((3 - plain_at))
    virsh_overlay $to
    on $plain_at virsh -q -c qemu:///system migrate-setmaxdowntime web $vm_downtime_ms
    on $plain_at virsh -q -c qemu:///system migrate --live --copy-storage-inc --auto-converge web \
        qemu+tcp://10.90.0.$to/system tcp://10.90.0.$to
    plain_at=$to
}
virsh_end() {
    local k
    on "$plain_at" virsh -q -c qemu:///system destroy web >/dev/null
    for k in 1 2; do on $k sh -c 'kill "$(cat /run/plain/vm/libvirtd.pid)"; ip link del plain-tap'; done
    on 3 nsenter --net=/run/plain/netns ip addr del 10.7.0.2/24 dev eth0
}

vm_measure() {
    local await_limit_ms=300000 tcp_mbit=0
    skein_measure vm
    measure_by virsh vm pre-copy
}
