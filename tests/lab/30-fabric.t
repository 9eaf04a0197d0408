#!/bin/bash
# The fabric, driven by fabric-tool instead of the daemons: slices, spoofs, forgeries, a migration's switch-over, a crash of
# the switch, and the queues of the uplink.
# limit: 300
. "$(dirname "$0")/lib.sh"

tool() { on "$1" fabric-tool /tmp/cluster "$1" "${@:2}"; }
# in_guest K GUEST CMD...
in_guest() { on "$1" nsenter --net="/run/skein/netns/$2" -- "${@:3}"; }
pings() { in_guest "$1" "$2" ping -c "${4:-3}" -i 0.05 -W 1 "$3"; }
reaches() { wait_until 30 pings "$@"; }
# One echo, not another one when it is late: behind what was sent before it
echo_once() { in_guest "$1" "$2" ping -c 1 -W 20 "$3" >/dev/null; }
echos() { in_guest "$1" "$2" awk '/^Icmp: [0-9]/ { print $10 }' /proc/net/snmp; }
# class K ID FIELD: packets (or drops) that the class of the uplink has seen
class() { on "$1" tc -s class show dev eth0 | awk -v id="1:$2" -v f="$3" '
    $3 == id { found = 1 } found && /Sent/ { gsub(/[(,]/, ""); print f == "drops" ? $7 : $4; exit }'; }
# serve K GUEST: a server for one measurement, listening; its process is $server
serve() {
    in_guest "$1" "$2" timeout 120 iperf3 -s -1 >/dev/null &
    server=$!
    wait_until 60 in_guest "$1" "$2" grep -q :1451 /proc/net/tcp /proc/net/tcp6
}
mean_rtt() { awk -F/ '/^rtt/ { print $5 }'; }

# Two slices with the same addresses: red 10.7.0.1 to .4, blue 10.7.0.1 and .2. Guest "gone" has no place; "slow" has a rate.
describe() {
    cat <<C
backhaul 20000
node 1 10.99.0.1
node 2 10.99.0.2
node 3 10.99.0.3
slice blue 8 10.7.0.0/24 0
slice red 7 10.7.0.0/24 0
slice slow 9 10.8.0.0/24 4000
guest blue1 blue 10.7.0.1 1 21
guest blue2 blue 10.7.0.2 2 22
guest gone red 10.7.0.9 0 19
guest red1 red 10.7.0.1 ${red1_on:-1} 11
guest red2 red 10.7.0.2 2 12
guest red3 red 10.7.0.3 3 13
guest red4 red 10.7.0.4 1 14
guest slow1 slow 10.8.0.1 1 31
guest slow2 slow 10.8.0.2 2 32
${migration:-}
C
}

# The switch of node K holds the rules of the description there, word for word, and no others.
holds() { on "$1" sh -c 'fabric-tool /tmp/cluster "$0" rules >/tmp/rules; ovs-ofctl -O OpenFlow14 diff-flows br-int /tmp/rules' "$1"; }

# show K...: these nodes' state is the present description from now on
show() { local k; for k in "$@"; do describe | on "$k" sh -c 'cat >/tmp/cluster'; done; }
apply() { local k; for k in "$@"; do tool "$k" apply || return; done; }

ok 'three nodes come up' lab up -n 3 --backhaul 20mbit || bail 'no lab'
program=$(find "$("$skein_root/deploy/build")" -name fabric-tool -type f)
for k in 1 2 3; do
    for service in skein-guard skeind; do lab stop n$k $service >/dev/null 2>&1; done # they would wire too
    on $k sh -c 'cat >/usr/bin/fabric-tool; chmod +x /usr/bin/fabric-tool' <"$program"
done
show 1 2 3

# Wiring
for k in 1 2 3; do ok "set-up of n$k" tool $k setup; done
ok 'set-up again finds its work done' tool 1 setup
for k in 1 2 3; do on $k rm -rf /sys/fs/bpf/skein; done # the stopped guard's deadline, which is over
for place in 1:red1 1:red4 1:blue1 1:slow1 2:red2 2:blue2 2:slow2 3:red3; do
    ok "plug ${place#*:}" tool "${place%:*}" plug "${place#*:}"
done
ok 'plug again finds its work done' tool 1 plug red1
ok 'apply' apply 1 2 3
for k in 1 2 3; do ok "n$k holds its rules and no others" holds $k; done
took=$(for k in 1 2 3 4 5; do tool 1 apply; done | sort -n | head -n 1)
ok "an apply takes less than 200 ms ($took at best)" test "${took%.*}" -lt 200
is 'a guest has its address and nothing else' \
    "$(in_guest 1 red1 ip -o addr show dev eth0 | awk '{ print $3, $4 }')" 'inet 10.7.0.1/24'
is 'it asks for a neighbour again soon' "$(in_guest 1 red1 cat /proc/sys/net/ipv4/neigh/eth0/retrans_time_ms)" 20
is 'no default route' "$(in_guest 1 red1 ip route show default)" ''

# Reachability and isolation
ok 'to another node' reaches 1 red1 10.7.0.2
ok 'to the third node' reaches 1 red1 10.7.0.3
ok 'on the same node' reaches 1 red1 10.7.0.4
ok 'from the third to the second' reaches 3 red3 10.7.0.2
ok 'full frames pass' wait_until 30 in_guest 1 red1 ping -c 1 -W 1 -M do -s 1472 10.7.0.2
before=$(echos 2 red2)
ok 'blue reaches its own 10.7.0.2' reaches 1 blue1 10.7.0.2
is 'and not red'\''s' "$(echos 2 red2)" "$before"
fails 'blue does not reach an address that only red has' pings 1 blue1 10.7.0.3 1
is 'which is not even resolved' "$(in_guest 1 blue1 ip neigh show 10.7.0.3 | grep -c lladdr)" 0
fails 'a guest without a place does not answer' pings 1 red1 10.7.0.9 1
resolved() { pings 1 red1 10.7.0.9 1 >/dev/null; in_guest 1 red1 ip neigh show 10.7.0.9 | awk '{ print $5 }'; }
becomes 'but is resolved' 02:5c:0a:07:00:09 resolved
serve 2 red2
ok 'TCP passes' in_guest 1 red1 timeout 60 iperf3 -c 10.7.0.2 -n 1M
wait $server

# Spoofs
before=$(echos 2 red2)
in_guest 1 red1 ip addr add 10.7.0.4/24 dev eth0
fails 'a neighbour'\''s address is refused' in_guest 1 red1 ping -c 2 -i 0.1 -W 0.3 -I 10.7.0.4 10.7.0.2
in_guest 1 red1 ip neigh flush dev eth0
fails 'in ARP too' in_guest 1 red1 ping -c 1 -W 0.3 -I 10.7.0.4 10.7.0.3
is 'in ARP too: no answer' "$(in_guest 1 red1 ip neigh show 10.7.0.3 | grep -c lladdr)" 0
in_guest 1 red1 ip addr del 10.7.0.4/24 dev eth0
in_guest 1 red1 ip link set eth0 address 02:5c:0a:07:00:04
in_guest 1 red1 ip neigh replace 10.7.0.2 lladdr 02:5c:0a:07:00:02 dev eth0
fails 'another MAC is refused' in_guest 1 red1 ping -c 2 -i 0.1 -W 0.3 10.7.0.2
in_guest 1 red1 ip link set eth0 address 02:5c:0a:07:00:01
in_guest 1 red1 ip neigh flush dev eth0
is 'nothing of it arrived' "$(echos 2 red2)" "$before"
ok 'honest packets pass again' reaches 1 red1 10.7.0.2

# forge K: node K sends to n2, from its own VTEP, what red1 could have sent to red2
forge() {
    on "$1" python3 - "$1" <<'P'
import socket, struct, sys
def checksum(b):
    s = sum(struct.unpack("!%dH" % (len(b) // 2), b)); s = (s & 0xffff) + (s >> 16); s += s >> 16
    return ~s & 0xffff
src, dst = bytes([10, 7, 0, 1]), bytes([10, 7, 0, 2])
icmp = struct.pack("!BBHHH", 8, 0, 0, 1, 1); icmp = icmp[:2] + struct.pack("!H", checksum(icmp)) + icmp[4:]
ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(icmp), 1, 0, 64, 1, 0) + src + dst
ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
frame = b"\x02\x5c" + dst + b"\x02\x5c" + src + b"\x08\x00" + ip + icmp
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("10.99.0." + sys.argv[1], 0))
for _ in range(5): s.sendto(struct.pack("!II", 0x08000000, 7 << 8) + frame, ("10.99.0.2", 4789))
P
}
arrived() { [ "$(echos 2 red2)" -ge $((before + $1)) ]; }
before=$(echos 2 red2)
forge 1
ok 'a tunnel packet from the owner'\''s VTEP is taken (the forger works)' wait_until 30 arrived 5
before=$(echos 2 red2)
forge 3
echo_once 3 red3 10.7.0.2
is 'the same packet from another VTEP is not' "$(echos 2 red2)" "$((before + 1))"

# The rate of a slice. A meter counts exactly for UDP; a busy machine may send less than it should, and is asked again.
is_within() { awk -v got="$got" -v from="$1" -v to="$2" 'BEGIN { exit !(got > from && got < to) }'; }
for try in 1 2 3 4 5; do
    serve 2 slow2
    got=$(in_guest 1 slow1 timeout 60 iperf3 -c 10.8.0.2 -u -b 16M -l 1400 -t 2 -J |
        on 1 python3 -c 'import json, sys; print(round(json.load(sys.stdin)["end"]["sum_received"]["bits_per_second"] / 1e6, 1))')
    wait $server
    ! is_within 2.5 100 || break
done
ok "16 Mbit/s into a slice of 4 become about 4 ($got)" is_within 2.5 5

# A guest cannot mark itself into the control class
reaches 1 red1 10.7.0.3
control=$(class 1 10 packets) slices=$(class 1 20 packets)
in_guest 1 red1 ping -q -Q 0xc0 -c 100 -i 0.01 -W 5 10.7.0.3 >/dev/null
ok 'marked packets of a guest are not control traffic, but for some ARP' test "$(class 1 10 packets)" -lt $((control + 50))
ok 'but the slices'\''' test "$(class 1 20 packets)" -ge $((slices + 50))

# A migration: red1 moves from n1 to n3, and the nodes learn of it one after the other
migration='migration red1 1 3 reserved'
show 1 2 3
ok 'reserved: the target'\''s port stands, down' tool 3 plug red1 down
is 'its host side is down' "$(on 3 cat /sys/class/net/g2011/operstate)" down
ok 'reserved: apply' apply 3 1 2
ok 'reserved: the source answers' reaches 2 red2 10.7.0.1
red1_on=3 migration='migration red1 1 3 committed'
show 1 2 3
ok 'committed: the source goes silent' tool 1 down red1
fails 'n1 still holds the rules of before' holds 1
ok 'committed: the target'\''s switch first' apply 3
ok 'its port comes up' tool 3 up red1
ok 'then the old node' apply 1
ok 'it holds the rules of a guest that has left' holds 1
ok 'n2 does not know yet: its packets follow the guest, answers are taken' reaches 2 red2 10.7.0.1
ok 'so do those of its old neighbours' reaches 1 red4 10.7.0.1
ok 'n2 learns of it' apply 2
ok 'straight now' reaches 2 red2 10.7.0.1
migration=
show 1 2 3
ok 'cleaned up' apply 1 2 3
ok 'the old port goes' tool 1 unplug red1
ok 'unplug again is no error' tool 1 unplug red1
is 'nothing of it is left' "$(on 1 sh -c 'ls /run/skein/netns /sys/class/net; ovs-vsctl list-ports br-int' | grep -cE 'red1|g2011')" 0
ok 'red1 lives at n3' reaches 2 red2 10.7.0.1
before=$(echos 2 red2)
forge 1
echo_once 3 red3 10.7.0.2
is 'the old owner'\''s VTEP speaks for it no more' "$(echos 2 red2)" "$((before + 1))"

# Over a kept connection only what changes is sent: to and fro between two states, and over a restart of the switch
on 1 sh -c 'mkfifo /tmp/orders; cp /tmp/cluster /tmp/now; sed "/^guest red3/d; s/^slice slow 9 10.8.0.0\/24 4000/slice slow 9 10.8.0.0\/24 3000/" /tmp/cluster >/tmp/less'
on 1 sh -c 'exec fabric-tool /tmp/cluster 1 serve <>/tmp/orders >/tmp/served' &
server=$!
n_served() { on 1 sh -c 'wc -l </tmp/served'; }
# serve_state FILE: n1 applies it over the kept connection, and is then asked what it holds
serve_state() {
    local before
    before=$(n_served)
    on 1 sh -c 'cp "$0" /tmp/cluster; echo "$0" >/tmp/orders' "$1"
    served() { [ "$(n_served)" -gt "$before" ]; }
    wait_until 60 served && holds 1
}
wait_until 60 on 1 test -e /tmp/served
ok 'kept connection: the whole state' serve_state /tmp/now
ok 'kept connection: less of it' serve_state /tmp/less
is 'kept connection: the rate of the slice is the new one' \
    "$(on 1 ovs-ofctl -O OpenFlow14 dump-meters br-int | grep -o 'rate=[0-9]*')" rate=3000
ok 'kept connection: the whole again' serve_state /tmp/now
old=$(on 1 cat /run/openvswitch/ovs-vswitchd.pid)
on 1 kill -9 "$old"
restarted() { local new; new=$(on 1 cat /run/openvswitch/ovs-vswitchd.pid) && [ "$new" != "$old" ] && on 1 ovs-ofctl show br-int; }
ok 'kept connection: the switch restarts' wait_until 60 restarted
ok 'kept connection: all of it into the new switch' serve_state /tmp/less
ok 'and the whole again' serve_state /tmp/now
echo "# applies over one connection, ms: $(on 1 sh -c 'tr "\n" " " </tmp/served')"
kill $server 2>/dev/null
on 1 pkill -f 'fabric-tool.*serve'

# A crash of the switch
is 'the watch over the switch can be ended' "$(tool 2 wait </dev/zero >/dev/null; echo $?)" 1
on 2 sh -c 'mkfifo /tmp/never; exec fabric-tool /tmp/cluster 2 wait <>/tmp/never' >/dev/null &
waiter=$!
wait_until 60 on 2 pgrep -x fabric-tool
old=$(on 2 cat /run/openvswitch/ovs-vswitchd.pid)
on 2 kill -9 "$old"
wait $waiter
is 'its death is noticed' $? 0
restarted() { local new; new=$(on 2 cat /run/openvswitch/ovs-vswitchd.pid) && [ "$new" != "$old" ]; }
ok 'it is started again' wait_until 60 restarted
fails 'and switches nothing by itself' pings 1 red4 10.7.0.2 1
took=$(milliseconds tool 2 setup)
ok 'set-up and apply' apply 2
ok "make it whole (set-up $took ms)" reaches 1 red4 10.7.0.2
ok 'from there too' reaches 2 red2 10.7.0.3

# Queues: the uplink of n1 gets twice its rate of unmarked packets
"$skein_root/deploy/lab" flood n1 40mbit 120 >/dev/null &
flood=$!
control=$(class 1 10 drops) default=$(class 1 30 drops)
dropping() { [ "$(class 1 30 drops)" -gt "$default" ]; }
ok 'flood: the default class overflows' wait_until 30 dropping
# Pings of the three classes at once; what a busy machine adds to all of them is no wait in a queue: another try.
measure() {
    local waits=''
    on 1 ping -q -c 40 -i 0.02 -W 5 10.90.0.2 >"$work/plain" & waits+=" $!"
    on 1 ping -q -Q 0xc0 -c 40 -i 0.02 -W 5 10.90.0.2 >"$work/control" & waits+=" $!"
    pings 1 red4 10.7.0.2 20 >"$work/slice" & waits+=" $!"
    wait $waits
    plain=$(mean_rtt <"$work/plain") marked=$(mean_rtt <"$work/control") slice=$(mean_rtt <"$work/slice")
    awk -v m="$marked" -v s="$slice" -v p="${plain:-1000}" 'BEGIN { exit !(m != "" && s != "" && m * 5 < p && s * 2 < p) }'
}
rc=0; wait_until 60 measure || rc=1
kill $flood; wait $flood 2>/dev/null
ok 'flood: no control packet is lost' grep -q ' 0% packet loss' "$work/control"
is 'flood: nor dropped here' "$(class 1 10 drops)" "$control"
is "flood: control $marked ms, slices $slice ms, unmarked ${plain:-lost} ms: a fifth and a half at most" "$rc" 0

done_testing
