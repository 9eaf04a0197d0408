# Helpers of the scenarios on Xen's control domain, in a board (sourced, bash), on top of those of the lab: a node that is the
# board itself, whose machines are Xen's. What runs is what Xen's own `xl` says. An emulated processor is some fifty times slower
# than a board's own: limits only end what hangs.
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../lab/lib.sh"
root=/srv/node

# x CMD...: in the node
x() { nsenter -t "$node" -m -- /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 "$@"; }
# field FILTER CMD...: what jq -r makes of CMD's JSON
field() { x sh -c '"$@" -f json | jq -r "$0"' "$@"; }
log_of() { echo "$root/var/log/skein/guests/$1.log"; }
logs() { grep -aqE -- "$2" "$(log_of "$1")"; }
# The state of a domain, as xl has it: rbpscd
flags() { x xl list "$1" 2>/dev/null | awk 'NR == 2 { print $5 }'; }
is_paused() { [[ $(flags "$1") == --p* ]]; }
runs() { [[ $(flags "$1") =~ ^[rb-][b-]- ]]; }
core_of() { x xl vcpu-list "$1" | awk 'NR == 2 { print $7 }'; }
pid_of() { cat "$root/run/node/$1.pid"; }
guard_says() { grep -aq -- "$1" $root/var/log/skein-guard.log; }
# answers GUEST ADDRESS PORT: a counter there answers a command in the guest
answers() { x skein guest exec "$1" -- sh -c 'echo | nc -w 5 "$0" "$1"' "$2" "$3" | has '^[0-9]'; }

# The node is the board itself, over its read-only root, in a mount namespace whose root that is; eth0 is its uplink, which the caller makes.
make_node() {
    local controller process program
    mkdir -p /srv/upper /srv/work $root /srv/skein
    mount -t overlay overlay -o lowerdir=/,upperdir=/srv/upper,workdir=/srv/work $root
    mount --rbind /dev $root/dev && mount --rbind /sys $root/sys && mount -t proc proc $root/proc
    mount -t tmpfs -o mode=755 run $root/run && mount -t tmpfs -o mode=1777 tmp $root/tmp
    mkdir -p $root/.old $root/var/lib/skein $root/run/{node,lock,openvswitch,libvirt,xen,xenstored} $root/var/lib/{xen,xenstored} $root/var/log/xen/console
    mount --bind /srv/skein $root/var/lib/skein
    modprobe -a xen-privcmd xen-evtchn xen-gntdev xen-gntalloc xen-netback xen-blkback openvswitch
    mount -t xenfs xenfs $root/proc/xen
    mkdir -p /sys/fs/cgroup/init
    for process in $(cat /sys/fs/cgroup/cgroup.procs); do echo "$process" >/sys/fs/cgroup/init/cgroup.procs; done 2>/dev/null
    for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control; done
    for program in skein skeind skein-guard skein-xen node-init; do
        install -m 755 "$(find /build -type f -name $program -perm -u+x -print -quit)" $root/usr/bin/$program
    done
}

# write_node NAME ADDRESS [LINE]...: its configuration, with these lines besides, and what it starts
write_node() {
    local tools name=$1 address=$2
    shift 2
    tools=$(dirname $root/usr/lib/xen-*/bin/xenstored)
    tools=${tools#"$root"}
    mkdir -p $root/etc/skein
    {
        printf '%s\n' "name = $name" "address = $address" 'cores = 2' 'isolated_cores = 1' 'memory = 1g' 'uplink = eth0' 'profile = wan'
        [ $# -eq 0 ] || printf '%s\n' "$@"
    } >$root/etc/skein/skein.conf
    chroot $root ovsdb-tool create /etc/openvswitch/conf.db
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

# begin_node NAME ADDRESS [LINE]...
begin_node() {
    must 'this is the control domain of Xen' grep -q control_d <(mount -t xenfs xenfs /mnt 2>/dev/null; cat /mnt/capabilities)
    ok 'a node' make_node
    write_node "$@"
    setsid unshare --mount --propagation private bash -c 'cd "$0" && pivot_root . .old && umount -l /.old && exec /usr/bin/node-init /run/node/services' \
        $root >"$work/node-init.log" 2>&1 &
    node=$!
    must 'that serves' wait_until 300 test -S $root/run/skein/api.sock
    must 'its guard speaks to the hypervisor' wait_until 60 guard_says 'guests by Xen'
    must 'and so does what Xen is asked by' wait_until 60 x xl list
}

# begin_guests: images and a slice
begin_guests() {
    "$skein_root/deploy/make-image" --vm $root/tmp/vm.tar
    "$skein_root/deploy/make-image" $root/tmp/web.tar
    ok 'an image with a kernel' wait_until 300 x skein image add vm /tmp/vm.tar
    ok 'an image of cells' wait_until 300 x skein image add web /tmp/web.tar
    ok 'a slice' wait_until 60 x skein slice create red --subnet 10.7.0.0/24
}

# must NAME CMD...: as ok, for what all that follows rests on
must() { ok "$@"; [ "$failures" -eq 0 ] || end_testing; }

# In place of done_testing: when something failed, with what the node said.
end_testing() {
    [ "$failures" -eq 0 ] || tail -n 30 $root/var/log/{skein-guard,skeind,xenstored}.log $root/var/log/skein/guests/*.log | tr -cd '[:print:]\n' | sed 's/^/#   /'
    done_testing
}
