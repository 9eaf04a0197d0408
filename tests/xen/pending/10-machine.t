#!/bin/bash
# A machine by Xen on the control domain of a Xen host, in a board: it boots from its disk with its seed, answers a cell through
# the switch, is paused by hypercall when the lease ends and goes on when it is back, survives a guard's death, stops when asked,
# and leaves nothing. What runs is what Xen's own `xl` says. One node: a lease ends when skeind is stopped.
# limit: 1800
. "$(dirname "$0")/../../lab/lib.sh"
root=/srv/node
x() { chroot $root /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 "$@"; }
field() { x sh -c '"$@" -f json | jq -r "$0"' "$@"; }

# The node is the board itself, over its read-only root.
make_node() {
    local controller process
    mkdir -p /srv/upper /srv/work $root /srv/skein
    mount -t overlay overlay -o lowerdir=/,upperdir=/srv/upper,workdir=/srv/work $root
    mount --rbind /dev $root/dev && mount --rbind /sys $root/sys && mount -t proc proc $root/proc
    mount -t tmpfs -o mode=755 run $root/run && mount -t tmpfs -o mode=1777 tmp $root/tmp
    mkdir -p $root/var/lib/skein $root/run/{node,lock,openvswitch,libvirt,xen,xenstored} $root/var/lib/{xen,xenstored} $root/var/log/xen/console
    mount --bind /srv/skein $root/var/lib/skein
    modprobe -a xen-privcmd xen-evtchn xen-gntdev xen-gntalloc xen-netback xen-blkback openvswitch
    mount -t xenfs xenfs $root/proc/xen
    mkdir -p /sys/fs/cgroup/init
    for process in $(cat /sys/fs/cgroup/cgroup.procs); do echo "$process" >/sys/fs/cgroup/init/cgroup.procs; done 2>/dev/null
    for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control; done
    for program in skein skeind skein-guard skein-xen node-init; do
        install -m 755 "$(find /build -type f -name $program -perm -u+x -print -quit)" $root/usr/bin/$program
    done
    ip link add eth0 type dummy && ip addr add 10.90.0.1/24 dev eth0 && ip link set eth0 up
}

write_conf() {
    local tools
    tools=$(echo $root/usr/lib/xen-*/bin)
    tools=${tools#"$root"}
    mkdir -p $root/etc/skein
    cat >$root/etc/skein/skein.conf <<C
name = n1
address = 10.90.0.1
cores = 2
isolated_cores = 1
memory = 512m
uplink = eth0
profile = wan
C
    x ovsdb-tool create /etc/openvswitch/conf.db
    cat >$root/run/node/services <<S
once xenstored $tools/xenstored --pid-file /run/xen/xenstored.pid
once dom0 $tools/xen-init-dom0
once xenconsoled $tools/xenconsoled
keep ovsdb-server ovsdb-server /etc/openvswitch/conf.db --remote=punix:/run/openvswitch/db.sock --pidfile -vsyslog:off
wait /run/openvswitch/db.sock
once ovs-vsctl ovs-vsctl --no-wait init
keep ovs-vswitchd ovs-vswitchd unix:/run/openvswitch/db.sock --pidfile -vsyslog:off
wait /run/openvswitch/ovs-vswitchd.pid
keep skein-guard /usr/bin/skein-guard
wait /run/skein/guard.sock
keep skeind /usr/bin/skeind
wait /run/skein/api.sock
S
}

log=$root/var/log/skein/guests/vm1.log
count() { grep -ao 'count [0-9]*' $log | awk '{ n = $2 } END { print n + 0 }'; }
counts_on() { [ "$(count)" -gt "$1" ]; }
flags() { x xl list vm1 2>/dev/null | awk 'NR == 2 { print $5 }'; }
is_paused() { [[ $(flags) == --p* ]]; }
runs() { [[ $(flags) =~ ^[rb-][b-]- ]]; }
used() { x xl list vm1 | awk 'NR == 2 { print $6 }'; }
pid_of() { cat "$root/run/node/$1.pid"; }
says() { grep -aq -- "$1" $root/var/log/skein-guard.log; }
is_another() { [ "$(pid_of skein-guard)" != "$1" ]; }
leftovers() { x xl list | awk 'NR > 2'; x xenstore-ls -f / | grep -E '736b6569|backend/v[a-z]*/[1-9]'; losetup -a | grep skein; ip -o link | grep -E 'vif|g20'; }

ok 'this is the control domain of Xen' grep -q control_d <(mount -t xenfs xenfs /mnt 2>/dev/null; cat /mnt/capabilities)
ok 'a node' make_node
write_conf
setsid chroot $root /usr/bin/node-init /run/node/services >"$work/node-init.log" 2>&1 &
ok 'that serves' wait_until 300 test -S $root/run/skein/api.sock || bail 'no node'
ok 'its guard speaks to the hypervisor' wait_until 60 says 'guests by Xen'
ok 'a cluster' wait_until 120 x skein init
"$skein_root/deploy/make-image" --vm $root/tmp/vm.tar
"$skein_root/deploy/make-image" $root/tmp/web.tar
printf '#!/bin/sh\ni=0\nwhile :; do i=$((i + 1)); echo "count $i"; sleep 1; done >/dev/hvc0\n' >$root/tmp/user-data
ok 'an image with a kernel' wait_until 120 x skein image add vm /tmp/vm.tar
ok 'an image of cells' wait_until 120 x skein image add web /tmp/web.tar
ok 'a slice' wait_until 60 x skein slice create red --subnet 10.7.0.0/24
refused 'a machine without a kernel' 1 'no kernel' x skein guest run bad --kind vm --image web --slice red --cores 1 --memory 64m --timeout 300s
x skein guest stop bad --timeout 60s >/dev/null 2>&1
x skein guest rm bad >/dev/null 2>&1
ok 'a machine' x skein guest run vm1 --kind vm --image vm --slice red --cores 1 --memory 192m --user-data /tmp/user-data --timeout 600s
ok 'is a domain that runs' wait_until 60 runs
is 'on its core alone' "$(x xl vcpu-list vm1 | awk 'NR == 2 { print $7 }')" 1
ok 'it boots with its disk, its seed and its address' wait_until 300 grep -aq 'vm1: up after .* boot 1 of its disk, address 10.7.0.' $log
ok 'and counts' wait_until 120 counts_on 2

ok 'a cell beside it' wait_until 120 x skein guest run web --image web --slice red --memory 64m -- /bin/counter 7000
address=$(field .ip skein guest show vm1)
ok 'reaches it through the switch' wait_until 120 x skein guest exec web -- ping -c 1 -W 5 "$address"
ok 'not so the node itself' wait_until 1 test -z "$(ip -o link | grep -E 'vif')"

x kill -STOP "$(pid_of skeind)"
ok 'the lease ends: the domain is paused' wait_until 60 is_paused
before=$(used) counted=$(count)
x kill -STOP "$(pid_of skein-guard)"    # nor does anybody else let it go
ok 'it uses nothing more' wait_until 10 equal "$(used)" "$before"
is 'it counts no further' "$(count)" "$counted"
x kill -CONT "$(pid_of skein-guard)"
x kill -CONT "$(pid_of skeind)"
ok 'the lease is back: it goes on' wait_until 120 counts_on "$counted"

guard=$(pid_of skein-guard) counted=$(count)
x kill -KILL "$guard"
ok 'a guard that was killed is another one' wait_until 60 is_another "$guard"
ok 'that takes it up' wait_until 60 says 'guest vm1 adopted'
ok 'and lets it go on' wait_until 120 counts_on "$counted"
is 'once' "$(x xl list | grep -c vm1)" 1

ok 'a domain under a guest'\''s handle that no guest has' x sh -c 'cp /var/lib/skein/roots/*/vmlinuz /tmp/k; printf "name=\"stray\"\nuuid=\"736b6569-6e00-4000-8000-00000000ffff\"\nkernel=\"/tmp/k\"\nmemory=64\n" >/tmp/stray.cfg; xl create -p /tmp/stray.cfg'
guard=$(pid_of skein-guard)
x kill -KILL "$guard"
ok 'is ended by a guard that starts' wait_until 120 says 'a domain has no record'
ok 'which leaves the guest alone' wait_until 120 runs

ok 'it stops when asked' x skein guest stop vm1 --timeout 120s
ok 'and is no domain any more' wait_until 60 test -z "$(flags)"
is 'nothing of it is left' "$(leftovers | grep -v ffff)" ''
x kill -TERM "$(pid_of skeind)"
done_testing
