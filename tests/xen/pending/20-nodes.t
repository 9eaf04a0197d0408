#!/bin/bash
# A machine by Xen and guests of another node in one slice: they reach each other through both nodes' switches, by ping and by TCP,
# both ways. The other node is a lab's, in the same board, whose own virtual machines would be QEMU's. Nobody can move the machine,
# and everybody who asks is told so; a cell beside it does move there, and is still reached.
# limit: 1800
. "$(dirname "$0")/../lib.sh"
place_of() { field .node skein guest show "$1"; }

must 'a node of a lab' lab up -n 1 --backhaul 1000mbit --conf profile=wan --join
ip link add eth0 mtu 1600 type veth peer name x1 mtu 1600 netns "skein-lab-$LAB"
ip -n "skein-lab-$LAB" link set x1 master br-sw up
ethtool -K eth0 tx off tso off gso off gro off >/dev/null    # the lab's switch is in user space: it reads whole packets
ip addr add 10.90.0.100/24 dev eth0 && ip addr add 10.99.0.100/24 dev eth0 && ip link set eth0 up
begin_node x1 10.90.0.100 'vtep = 10.99.0.100/24'
token=$(on 1 skein token create | tail -n 1)
ok 'joins it' wait_until 120 x skein join "$token"
begin_guests
becomes 'each says what runs its machines' 'n1 qemu-tcg, x1 xen' field '[.[] | "\(.name) \(.vm_driver)"] | sort | join(", ")' skein node list

must 'a cell on the other node' x skein guest run far --image web --slice red --on n1 --memory 64m --timeout 300s -- /bin/counter 7000
far=$(field .ip skein guest show far)
cat >$root/tmp/user-data <<S
#!/bin/sh
counter 7001 &
while :; do
    ping -c 1 -W 5 $far >/dev/null && answer=\$(echo | nc -w 5 $far 7000) && echo "far said \$answer"
    sleep 1
done >/dev/hvc0
S
x skein node cordon n1 >/dev/null
must 'a machine by Xen' x skein guest run vm1 --kind vm --image vm --slice red --cores 1 --memory 192m --user-data /tmp/user-data --timeout 600s
ok 'is a domain that runs' wait_until 60 runs vm1
near=$(field .ip skein guest show vm1)
ok 'it hears from the cell there' wait_until 300 logs vm1 'far said [0-9]'
ok 'which reaches it' wait_until 120 on 1 skein guest exec far -- ping -c 1 -W 5 "$near"
ok 'by TCP' wait_until 120 answers far "$near" 7001

ok 'a cell beside it' x skein guest run web --image web --slice red --memory 64m --timeout 120s -- /bin/counter 7000
becomes 'which is there' x1 place_of web
x skein node uncordon n1 >/dev/null
refused 'to move the machine' 1 'do not move while they run' x skein guest migrate vm1 --to n1
why='x1 runs machines by xen, which do not move while they run: stop it, and start it elsewhere'
becomes 'a look beforehand says why' "impossible $why" field '.verdict + " " + (.reasons[] | select(.code == "driver") | .text)' \
    skein guest migrate vm1 --check
becomes 'a drain would leave it, and say so' "vm1 false $why, web true null" \
    field '[.guests[] | "\(.guest) \(.goes) \(.reason)"] | sort | join(", ")' skein node drain x1 --dry-run
ok 'the cell moves' wait_until 300 x skein guest migrate web --to n1 --timeout 180s
becomes 'and is there' n1 place_of web
ok 'it reaches the machine from there' wait_until 120 answers web "$near" 7001

ok 'the machine stops when asked' x skein guest stop vm1 --timeout 120s
x kill -TERM "$(pid_of skeind)"
end_testing
