#!/bin/bash
# Virtual machines: life, console, network, and the lease, seen from outside. QEMU translates here (TCG).
# limit: 900
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"

qemu=qemu-system-x86    # as the kernel cuts its name
run() { on 1 skein guest run --timeout 240s "$@"; }
show() { json "$watcher" "$1" skein guest show vm1; }
runs_on() { look_running $qemu | awk '{ print $1 }' | tr '\n' ' '; }
runs_elsewhere() { local now; now=$(runs_on); [ -n "$now" ] && [ "$now" != "$1 " ]; }
copies() { look_processes $qemu | wc -l; }
other_than() { for k in 1 2 3; do case " $* " in *" n$k "*) ;; *) echo "$k"; return ;; esac; done; }
says() { on "$watcher" skein guest logs vm1 | grep -q "$1"; }
says_not() { ! says "$1"; }
watcher=1

ok 'a cluster of three' lab up -n 3 --conf profile=wan --join || bail 'no cluster'
"$skein_root/deploy/make-image" --vm "$work/vm.tar"
"$skein_root/deploy/make-image" "$work/web.tar"
# A disk that the firmware boots: its first sector, which is all there is, stops the processor.
printf '\xfa\xf4' >"$work/halt.raw"
truncate --size 510 "$work/halt.raw"
printf '\x55\xaa' >>"$work/halt.raw"
truncate --size 1M "$work/halt.raw"
cat >"$work/user-data" <<'END'
#!/bin/sh
echo user data ran
printf '#!/bin/sh\necho $1 ip $ip mask $subnet name $hostname\n' >/run/lease
chmod 755 /run/lease
udhcpc -i eth0 -n -q -f -s /run/lease
exec /bin/counter 7000
END
for file in vm.tar web.tar halt.raw user-data; do on 1 sh -c "cat >/tmp/$file" <"$work/$file"; done
on 1 sh -c 'cd /tmp && qemu-img create -q -f qcow2 -b halt.raw -F raw over.qcow2 && qemu-img convert -O qcow2 halt.raw halt.qcow2'

becomes 'every node says that it can run them' true json 1 '[.[].kinds | index("vm") != null] | all' skein node list
ok 'an image with a kernel' on 1 skein image add vm /tmp/vm.tar
ok 'an image of cells' on 1 skein image add web /tmp/web.tar
ok 'a disk' on 1 skein image add raw /tmp/halt.raw
ok 'a qcow2' on 1 skein image add qcow2 /tmp/halt.qcow2
refused 'a qcow2 over another file' 1 'qemu-img convert' on 1 skein image add over /tmp/over.qcow2
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24
refused 'a command' 2 'takes no command' run vm1 --kind vm --image vm -- /bin/true
refused 'user data for a cell' 2 'user' run web --image web --user-data /tmp/user-data -- /bin/true
refused 'an unknown kind' 2 'kind' run vm1 --kind zone --image vm
refused 'more memory than there is, with what runs it' 3 'memory' run vm1 --kind vm --image vm --memory 900m

# Life
ok 'run' run vm1 --kind vm --image vm --slice red --cores 1 --memory 192m --user-data /tmp/user-data
node=$(show .node)
becomes 'it runs where the state says, and nowhere else' "$node " runs_on
pid=$(look_processes $qemu | awk '{ print $2 }')
ok 'as a user that is nobody else' test "$(stat -c %u "/proc/$pid")" -ge $((0x70000000))
ok 'in the groups of its guest' grep -q 'freezer:.*/skein/guests/vm1$' "/proc/$pid/cgroup"
cpus_of() { awk '/^Cpus_allowed_list:/ { print $2 }' $(grep -l "$1" /proc/"$pid"/task/*/comm | sed 's/comm$/status/'); }
ok 'its processor is pinned apart from the rest' test "$(cpus_of 'CPU 0')" != "$(cpus_of "^$qemu")"
ok 'it boots' wait_until 180 says 'vm1: up after .* boot 1 of its disk, address 10.7.0.2/24'
ok 'with its user data' wait_until 180 says 'user data ran'
ok 'and asks for its address' wait_until 180 says 'bound ip 10.7.0.2 mask 255.255.255.0 name vm1'
ok 'a cell in the slice, on another node' run client --image web --slice red --on "n$(other_than "$node")" -- /bin/sleep 3600
reach() { on "$watcher" skein guest exec client -- /bin/ping -c 1 -W 2 10.7.0.2; }
ok 'reaches it' wait_until 180 reach
# The console stays open until somebody leaves it.
answered() { grep -q con-42 "$work/console"; }
answer() {
    : >"$work/console"
    (echo 'echo con-$((40+2))'; wait_until 20 answered; printf '\035') | on 1 timeout 60 skein guest console vm1 >"$work/console"
    answered
}
ok 'console' wait_until 180 answer
becomes 'what it uses is counted as of any guest' '[true,true,true]' json 1 '[.cpu_ms > 0, .memory_bytes > 0, .sent_bytes > 0] | @text' skein guest stats vm1
is 'exec is nothing for it' "$(on 1 skein guest exec vm1 -- /bin/true >/dev/null 2>&1; echo $?)" 125
ok 'a disk that the firmware boots' run raw --kind vm --image raw --memory 16m --on "$node"
ok 'a qcow2 likewise' run qcow2 --kind vm --image qcow2 --memory 16m --on "$node"
becomes 'all of them run' 3 copies
for guest in raw qcow2; do on 1 skein guest stop $guest --timeout 30s; done    # they hear no power button
becomes 'stop ends what does not hear' 1 copies
first=$(look_processes $qemu)
kill -9 "${first#* }"
came_back() { local now; now=$(look_running $qemu) && [ -n "$now" ] && [ "$now" != "$first" ]; }
ok 'a machine that dies starts again in place' wait_until 180 came_back
ok 'with the disk that it had' wait_until 180 says 'boot 2 of its disk'
ok 'stop' on 1 skein guest stop vm1
ok 'it was powered off' wait_until 180 on "${node#n}" grep -q 'Power down' /var/log/skein/guests/vm1.log
left() { look_processes $qemu; look_processes libvirtd; look_processes skein-vm; }
becomes 'nothing is left of it' '' left
ok 'start' on 1 skein guest start vm1 --timeout 240s

# The lease
before=$(look_processes $qemu)
node=${before% *}
on "${node#n}" sh -c 'kill -9 "$(cat /run/node/skein-guard.pid)"'
is_adopted() { [ "$(look_running $qemu)" = "$before" ]; }
frozen_or_back() { on "${node#n}" grep -q 'vm1 adopted' /var/log/skein-guard.log; }
ok 'a new guard adopts it' wait_until 180 frozen_or_back
ok 'the same process goes on' wait_until 180 is_adopted
watcher=$(other_than "$node")
lab cut "$node"
is_still() { ! look_running $qemu | grep -q "^$node "; }
ok 'cut off, it stands still' wait_until 180 is_still
ok 'and runs elsewhere' wait_until 180 runs_elsewhere "$node"
lab heal "$node"
is_alone() { [ "$(copies)" = 1 ]; }
ok 'healed, the old copy is destroyed' wait_until 180 is_alone
runs_once() { node=$(runs_on); node=${node% }; [[ $node =~ ^n[0-9]$ ]]; }
ok 'the one that is left runs' wait_until 180 runs_once
watcher=$(other_than "$node")
ok 'power off' lab kill "$node"
ok 'its node loses power: it runs elsewhere' wait_until 180 runs_elsewhere "$node"
done_testing
