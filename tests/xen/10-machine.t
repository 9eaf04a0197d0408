#!/bin/bash
# A machine by Xen on the control domain of a Xen host, in a board: it boots from its disk with its seed, answers a cell through
# the switch, is paused by hypercall when the lease ends and goes on when it is back, survives a guard's death, stops when asked,
# and leaves nothing. What runs is what Xen's own `xl` says. One node: a lease ends when skeind is stopped.
# limit: 1800
. "$(dirname "$0")/lib.sh"
log=$(log_of vm1)
count() { grep -ao 'count [0-9]*' $log | awk '{ n = $2 } END { print n + 0 }'; }
counts_on() { [ "$(count)" -gt "$1" ]; }
used() { x xl list vm1 | awk 'NR == 2 { print $6 }'; }
uses_more() { [ "$(used)" != "$1" ]; }
held_mib() { x xl list vm1 | awk 'NR == 2 { print $3 }'; }
at_least() { [ "$(field ".$1" skein guest stats vm1)" -ge "$2" ]; }
is_gone() { [ -z "$(flags vm1)" ]; }
is_another() { [ "$(pid_of skein-guard)" != "$1" ]; }
# But for what xl keeps of the stray domain.
leftovers() {
    { x xl list | awk 'NR > 2'; x xenstore-ls -f / | grep -E '736b6569|backend/v[a-z]*/[1-9]'; losetup -a | grep skein; ip -o link | grep -E 'vif|g20'; } |
        grep -v ffff
}

ip link add eth0 type dummy && ip addr add 10.90.0.1/24 dev eth0 && ip link set eth0 up
begin_node n1 10.90.0.1
ok 'a cluster' wait_until 120 x skein init
begin_guests
printf '#!/bin/sh\ncounter 7001 &\ni=0\nwhile :; do i=$((i + 1)); echo "count $i"; sleep 1; done >/dev/hvc0\n' >$root/tmp/user-data
refused 'a machine without a kernel' 1 'no kernel' x skein guest run bad --kind vm --image web --slice red --cores 1 --memory 64m --timeout 300s
ok 'which is given up' x skein guest stop bad --timeout 120s
ok 'and leaves its core' x skein guest rm bad
must 'a machine' x skein guest run vm1 --kind vm --image vm --slice red --cores 1 --memory 192m --user-data /tmp/user-data --timeout 600s
ok 'is a domain that runs' wait_until 60 runs vm1
is 'on its core alone' "$(core_of vm1)" 1
ok 'it boots with its disk, its seed and its address' wait_until 300 logs vm1 'vm1: up after .* boot 1 of its disk, address 10\.7\.0\.'
ok 'and counts' wait_until 120 counts_on 2

ok 'a cell beside it' wait_until 120 x skein guest run web --image web --slice red --memory 64m -- /bin/counter 7000
address=$(field .ip skein guest show vm1)
ok 'reaches it through the switch' wait_until 120 x skein guest exec web -- ping -c 1 -W 5 "$address"
ok 'by TCP' wait_until 120 answers web "$address" 7001
ok 'not so the node itself' wait_until 1 test -z "$(ip -o link | grep -E 'vif')"

cat >$root/tmp/user-data-2 <<S
#!/bin/sh
while :; do
    for peer in $address:7001 $(field .ip skein guest show web):7000; do
        ping -c 1 -W 5 \${peer%:*} >/dev/null && answer=\$(echo | nc -w 5 \${peer%:*} \${peer#*:}) && echo "\$peer said \$answer"
        sleep 1
    done
done >/dev/hvc0
S
ok 'another machine, without a core of its own' x skein guest run vm2 --kind vm --image vm --slice red --memory 192m --user-data /tmp/user-data-2 --timeout 600s
is 'is kept off the core of the first' "$(core_of vm2)" 0
ok 'hears from the machine beside it' wait_until 300 logs vm2 "$address:7001 said [0-9]"
ok 'and from the cell' wait_until 120 logs vm2 ':7000 said [0-9]'
ok 'the cell reaches it, too' wait_until 120 x skein guest exec web -- ping -c 1 -W 5 "$(field .ip skein guest show vm2)"
ok 'it stops' x skein guest stop vm2 --timeout 120s
ok 'and goes' x skein guest rm vm2

becomes 'the node says what runs its machines' xen field .vm_driver skein node show n1
becomes 'what it can do with them' 'start stop console seed dhcp freeze adopt stats' field '.vm_can | join(" ")' skein node show n1
becomes 'and what it cannot' 'firmware reboot stop-and-copy pre-copy post-copy' field '.vm_cannot | join(" ")' skein node show n1
refused 'to move it' 1 'do not move while they run' x skein guest migrate vm1
why='n1 runs machines by xen, which do not move while they run: stop it, and start it elsewhere'
becomes 'a look beforehand says why' "obstacle $why" field '.reasons[] | select(.code == "driver") | .severity + " " + .text' \
    skein guest migrate vm1 --check
becomes 'so does a drain of its node' "false $why" field '.guests[] | select(.guest == "vm1") | "\(.goes) \(.reason)"' \
    skein node drain n1 --dry-run
had=$(used)
ok 'what it has used is what Xen says at least' wait_until 60 at_least cpu_ms "$((${had%.*} * 1000))"
ok 'and what it holds' wait_until 60 at_least memory_bytes "$(($(held_mib) << 20))"

x kill -STOP "$(pid_of skeind)"
ok 'the lease ends: the domain is paused' wait_until 60 is_paused vm1
before=$(used) counted=$(count)
x kill -STOP "$(pid_of skein-guard)"    # nor does anybody else let it go
fails 'nothing more is used' wait_until 3 uses_more "$before"
is 'it counts no further' "$(count)" "$counted"
x kill -CONT "$(pid_of skein-guard)"
x kill -CONT "$(pid_of skeind)"
ok 'the lease is back: it goes on' wait_until 120 counts_on "$counted"

guard=$(pid_of skein-guard) counted=$(count)
x kill -KILL "$guard"
ok 'a guard that was killed is another one' wait_until 60 is_another "$guard"
ok 'that takes it up' wait_until 60 guard_says 'guest vm1 adopted'
ok 'and lets it go on' wait_until 120 counts_on "$counted"
is 'once' "$(x xl list | grep -c vm1)" 1

ok 'a domain under a guest'\''s handle that no guest has' x sh -c 'cp /var/lib/skein/roots/*/vmlinuz /tmp/k; printf "name=\"stray\"\nuuid=\"736b6569-6e00-4000-8000-00000000ffff\"\nkernel=\"/tmp/k\"\nmemory=128\n" >/tmp/stray.cfg; xl create -p /tmp/stray.cfg'
guard=$(pid_of skein-guard)
x kill -KILL "$guard"
ok 'is ended by a guard that starts' wait_until 120 guard_says 'a domain has no record'
ok 'which leaves the guest alone' wait_until 120 runs vm1

ok 'the cell is stopped' x skein guest stop web --timeout 120s
ok 'it stops when asked' x skein guest stop vm1 --timeout 120s
ok 'and is no domain any more' wait_until 60 is_gone
becomes 'nothing of them is left' '' leftovers
x kill -TERM "$(pid_of skeind)"
end_testing
