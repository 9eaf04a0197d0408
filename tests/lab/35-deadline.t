#!/bin/bash
# The deadline that the kernel keeps (agent/guard/deadline_bpf.c), driven by deadline-tool instead of the guard: guests'
# packets stop at it with every process of ours gone, and go on once it is moved; nothing else ever meets it.
# limit: 300
. "$(dirname "$0")/lib.sh"

fabric() { on "$1" fabric-tool /tmp/cluster "$1" "${@:2}"; }
deadline() { on 1 deadline-tool "$@"; }
# in_guest K GUEST CMD...
in_guest() { on "$1" nsenter --net="/run/skein/netns/$2" -- "${@:3}"; }
pings() { in_guest "$1" "$2" ping -c 3 -i 0.05 -W 0.5 "$3"; }
reaches() { wait_until 30 pings "$@"; }
# counted K count|vxlan INTERFACE CMD...: how many frames an AF_PACKET reader sees come in while CMD runs
counted() {
    local k=$1 what=$2 interface=$3 reader
    shift 3
    rm -f "$work/until"
    mkfifo "$work/until"
    on "$k" deadline-tool "$what" "$interface" <"$work/until" >"$work/counted" &
    reader=$!
    exec 7>"$work/until"
    wait_until 60 grep -q ready "$work/counted"
    "$@" >/dev/null 2>&1 7>&-
    exec 7>&-
    wait $reader
    tail -n 1 "$work/counted"
}
# raw GUEST how: ten frames by a raw socket, or by one that goes past the qdiscs
raw() {
    in_guest 1 "$1" python3 - "$2" <<'P'
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
if sys.argv[1] == "bypass": s.setsockopt(263, 20, 1)  # SOL_PACKET, PACKET_QDISC_BYPASS
for _ in range(10): s.send(b"\xff" * 12 + b"\x88\xb5" + b"x" * 60)
P
}

ok 'two nodes come up' lab up -n 2 --backhaul 100mbit || bail 'no lab'
build=$("$skein_root/deploy/build")
for k in 1 2; do
    for service in skein-guard skeind; do lab stop n$k $service >/dev/null 2>&1; done # the fabric is ours
    on $k rm -rf /sys/fs/bpf/skein
    for program in fabric-tool deadline-tool; do
        on $k sh -c "cat >/usr/bin/$program; chmod +x /usr/bin/$program" <"$(find "$build" -name $program -type f)"
    done
    on $k sh -c 'cat >/tmp/cluster' <<C
backhaul 100000
node 1 10.99.0.1
node 2 10.99.0.2
slice red 7 10.7.0.0/24 0
guest red1 red 10.7.0.1 1 11
guest red2 red 10.7.0.2 2 12
guest red4 red 10.7.0.4 1 14
guest stays red 10.7.0.3 1 13
C
    ok "set-up of n$k" fabric $k setup
done
for place in 1:red1 1:red4 1:stays 2:red2; do ok "plug ${place#*:}" fabric "${place%:*}" plug "${place#*:}"; done
ok 'rules' fabric 1 apply
ok 'rules there' fabric 2 apply

# What a deadline is
ok 'a new deadline is over already' test "$(deadline left)" -lt 0
deadline set 600000
left=$(deadline left)
ok "another process finds it ($left ms left)" test "$left" -gt 500000 -a "$left" -le 600000
fails 'an interface that is not there' deadline port g2999
ok 'ports' deadline port g2011
ok 'of every guest' deadline port g2014
ok 'uplink' deadline uplink eth0
ok 'again finds its work done' deadline uplink eth0
ok 'in time: between nodes' reaches 1 red1 10.7.0.2
ok 'in time: on the node' reaches 1 red1 10.7.0.4

# The uplink's program, frame by frame
inner_red3=ffffffffffff025c0a070003 inner_red1=ffffffffffff025c0a070001
ethernet=020000000001020000000002
# frame TYPE VERSION_AND_LENGTH FRAGMENT PROTOCOL OPTIONS DPORT REST, in hexadecimal
frame() { echo "$ethernet$1${2}0000600001${3}40${4}00000a6300010a630002${5}c000$6${7:-00200000}"; }
vxlan=006000000800000000000700
tried() { is "$1: $2" "$(deadline try "$3")" "$2"; }
deadline set -1
tried 'VXLAN' drop "$(frame 0800 45 0000 11 '' 12b5 "$vxlan$inner_red1")"
tried 'VXLAN behind IP options' drop "$(frame 0800 46 0000 11 01010101 12b5 "$vxlan$inner_red1")"
tried 'VXLAN, not to be fragmented' drop "$(frame 0800 45 4000 11 '' 12b5 "$vxlan$inner_red1")"
tried 'first part of a fragmented VXLAN' drop "$(frame 0800 45 2000 11 '' 12b5 "$vxlan$inner_red1")"
tried 'VXLAN cut short' drop "$(frame 0800 45 0000 11 '' 12b5)"
tried 'a later part, whatever it holds' pass "$(frame 0800 45 0001 11 '' 12b5 "$vxlan$inner_red1")"
tried 'UDP to another port' pass "$(frame 0800 45 0000 11 '' 1ce8 "$vxlan$inner_red1")"
tried 'UDP to another port, behind options that look like VXLAN' pass "$(frame 0800 46 0000 11 c00012b5 1ce8)"
tried 'TCP to 4789' pass "$(frame 0800 45 0000 06 '' 12b5 "$vxlan$inner_red1")"
tried 'IPv6' pass "$(frame 86dd 45 0000 11 '' 12b5 "$vxlan$inner_red1")"
tried 'ARP' pass "$(frame 0806 45 0000 11 '' 12b5)"
tried 'UDP without its header' pass "${ethernet}0800450000600001000040110000c0a80001c0a80002"
deadline exempt 7 10.7.0.3 on
tried 'VXLAN of an exempt guest' pass "$(frame 0800 45 0000 11 '' 12b5 "$vxlan$inner_red3")"
tried 'of another guest' drop "$(frame 0800 45 0000 11 '' 12b5 "$vxlan$inner_red1")"
tried 'of one with that address in another slice' drop \
    "$(frame 0800 45 0000 11 '' 12b5 "006000000800000000000800$inner_red3")"
deadline exempt 7 10.7.0.3 off
deadline exempt 7 10.7.0.3 off
tried 'VXLAN of one that is exempt no more' drop "$(frame 0800 45 0000 11 '' 12b5 "$vxlan$inner_red3")"
deadline set 600000
tried 'VXLAN in time' pass "$(frame 0800 45 0000 11 '' 12b5 "$vxlan$inner_red1")"

# After the deadline: a guest's port. What the switch reads by AF_PACKET, a raw reader reads too.
sees_them() { [ "$(counted 1 count g2011 raw red1 plain)" -ge 10 ]; }
ok 'in time, a reader of the port sees raw frames' wait_until 60 sees_them
deadline set -1
is 'after it, none' "$(counted 1 count g2011 raw red1 plain)" 0
is 'nor such as go past the qdiscs of the guest'\''s side' "$(counted 1 count g2011 raw red1 bypass)" 0
fails 'not to a neighbour on the node' pings 1 red1 10.7.0.4
fails 'not to another node' pings 1 red1 10.7.0.2
fails 'no answer either' pings 2 red2 10.7.0.1
ok 'the node itself goes on' wait_until 30 on 1 ping -c 2 -i 0.05 -W 1 10.90.0.2

# After the deadline: the uplink alone, as if the port's filter were not there
is 'VXLAN does not reach the other node' "$(counted 2 vxlan eth0 pings 1 stays 10.7.0.2)" 0
deadline exempt 7 10.7.0.3 on
passes() { [ "$(counted 2 vxlan eth0 pings 1 stays 10.7.0.2)" -ge 3 ]; }
ok 'a guest that stays passes' wait_until 60 passes
deadline set 600000
ok 'all pass when it is moved' reaches 1 red1 10.7.0.2
ok 'on the node too' reaches 1 red4 10.7.0.1

# With every process of ours gone: seen from the other node, echoes every 10 ms stop at the deadline. A busy machine may hold
# up a packet that passed in time, or send none just before: another try.
seen() { [ -s "$work/seen" ]; }
is_over() { [ "$(deadline left)" -lt -500 ]; }
stops() {
    local capture pinging before after last
    deadline set 600000
    on 2 tcpdump -l -n --immediate-mode -tt -i eth0 udp dst port 4789 and src 10.99.0.1 >"$work/seen" 2>"$work/tcpdump" &
    capture=$!
    wait_until 60 grep -q 'listening on' "$work/tcpdump"
    in_guest 1 red1 ping -i 0.01 -W 1 10.7.0.2 >/dev/null &
    pinging=$!
    wait_until 60 seen
    before=$(date +%s%N)
    deadline set 500
    after=$(date +%s%N)
    wait_until 60 is_over
    on 1 pkill -x ping
    on 2 pkill -x tcpdump
    wait $pinging $capture
    last=$(awk '/VXLAN/ { t = $1 } END { sub(/[.]/, "", t); print t }' "$work/seen") # in us
    late=$((last - after / 1000 - 500000)) early=$((before / 1000 + 500000 - last))
    [ "$late" -le 2000 ] && [ "$early" -lt 200000 ]
}
late=none early=none
wait_until 60 stops
ok "the last one is not after the deadline ($late us after it)" test "$late" -le 2000
ok "and not long before it ($early us)" test "$early" -lt 200000

# What comes and goes
deadline set -1
fabric 1 unplug red4 >/dev/null
fabric 1 plug red4 >/dev/null
ok 'a port that was made anew has no filter' reaches 1 stays 10.7.0.4
ok 'it gets one' deadline port g2014
fails 'which works' pings 1 stays 10.7.0.4
ok 'a port may lose its filter' deadline gone g2014
ok 'and is free then' reaches 1 stays 10.7.0.4
ok 'the same again' deadline gone g2014
fabric 1 unplug red4 >/dev/null
deadline port g2011 && on 1 rm /sys/fs/bpf/skein/deadline
ok 'a deadline that was lost is a new one, over' test "$(deadline left)" -lt 0
deadline set 600000
ok 'and the filters count on it' reaches 1 red1 10.7.0.2

# The kernel's own switch, as far as this kernel has one: a bridge
bridged() {
    ip link add kernel type bridge && ip link set kernel up
    for name in a b; do
        ip netns add $name
        ip link add k$name type veth peer name eth0 netns $name
        ip link set k$name master kernel up
        ip -n $name link set eth0 up
    done
    ip -n a addr add 10.8.0.1/24 dev eth0
    ip -n b addr add 10.8.0.2/24 dev eth0
}
ok 'two more guests on a bridge' on 1 bash -ec "$(declare -f bridged); bridged"
kernel_pings() { on 1 nsenter --net=/run/netns/a ping -c 3 -i 0.05 -W 0.5 10.8.0.2; }
ok 'their ports' deadline port ka
ok 'in time' wait_until 30 kernel_pings
deadline set -1
fails 'and not after it' kernel_pings

# A kernel without TCX
deadline set 600000
on 1 rm /sys/fs/bpf/skein/uplink-eth0
ok 'the uplink by clsact' deadline uplink-tc eth0
ok 'again' deadline uplink-tc eth0
is 'one filter' "$(on 1 tc filter show dev eth0 egress | grep -c skein_uplink)" 1
ok 'in time' reaches 1 red1 10.7.0.2
deadline set -1
deadline exempt 7 10.7.0.3 off
is 'VXLAN does not reach the other node, then' "$(counted 2 vxlan eth0 pings 1 stays 10.7.0.2)" 0
ok 'control traffic does' wait_until 30 on 1 ping -c 2 -i 0.05 -W 1 10.90.0.2

# None at all
on 1 umount /sys/fs/bpf
refused 'a node without a bpf file system' 1 'no deadline filter: .*bpf file system' deadline left

done_testing
