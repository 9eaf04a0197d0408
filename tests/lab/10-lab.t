#!/bin/bash
# The lab itself: nodes, faults, and that nothing of it stays.
# limit: 300
. "$(dirname "$0")/lib.sh"

name=skein-lab-$LAB
pings() { on "$1" ping -c 3 -i 0.05 -W 1 "10.90.0.$2"; }
echos_in() { on "$1" awk '/^Icmp: [0-9]/ { print $10 }' /proc/net/snmp; }
reaches() { wait_until 20 pings "$@"; }
state_of() { lab status | awk -v n="n$1" '$1 == n { print $2 }'; }
service_pid() { on "$1" cat "/run/node/$2.pid"; }
group_pids() { find /sys/fs/cgroup -path "*/$1/*" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -un; }
lives() { [ -e "/proc/$1" ] && ! grep -q '^State:.[ZX]' "/proc/$1/status" 2>/dev/null; }

# Prints what is left of the lab named $1, and which of the further pids live.
leftovers() {
    local lab=$1 pid
    shift
    ip netns list | grep -w "skein-lab-$lab"
    find /sys/fs/cgroup -name "skein-lab-$lab"
    grep "/lab/$lab/" /proc/self/mounts
    ls -d "/run/skein-lab/$lab" "${SKEIN_CACHE:-/var/cache/skein}/lab/$lab" 2>/dev/null
    for pid in "$@"; do ! lives "$pid" || echo "process $pid"; done
}

# Nodes
ok 'three nodes come up' lab up -n 3 --backhaul 20mbit --conf lease_ms=700 --conf log_level=debug || bail 'no lab'
is 'all three run' "$(lab status | awk '$2 == "running"' | wc -l)" 3
fails 'a second up of the same lab is refused' lab up
for pair in '1 2' '1 3' '2 1' '2 3' '3 1' '3 2'; do ok "ping ${pair/ / to }" reaches $pair; done
is 'exec has the exit code of its command' "$(on 1 sh -c 'exit 7'; echo $?)" 7
is 'an unknown node is the lab'\''s own failure' "$(on 4 true 2>/dev/null; echo $?)" 125
is 'a node sees its own name' "$(on 2 hostname)" n2
is 'pid 1 of a node is node-init' "$(on 2 cat /proc/1/comm)" node-init
is 'a node has no /dev/kvm and no loop devices' "$(on 1 sh -c 'ls /dev' | grep -cE 'kvm|loop')" 0
ok 'real-time priority may be had in a node' on 1 chrt -f 50 true
ok 'the switch daemon answers' on 1 ovs-vsctl --timeout=60 show
ok 'guests fit: 1500 bytes and a tunnel header pass whole' wait_until 20 on 1 ping -c 1 -W 1 -M do -s 1542 10.90.0.2
is 'the configuration names the node' "$(on 3 sed -n 's/^name = //p' /etc/skein/skein.conf)" n3
is 'the configuration has what --conf says' "$(on 3 sed -n 's/^lease_ms = //p' /etc/skein/skein.conf)" 700
is 'four cores, three of them isolated' "$(on 3 sed -n 's/^isolated_cores = //p' /etc/skein/skein.conf)" 1-3

# A service that dies is started again
old=$(service_pid 1 ovs-vswitchd)
on 1 kill -9 "$old"
new_service() { local new; new=$(service_pid 1 ovs-vswitchd) && [ "$new" != "$old" ]; }
ok 'a killed service comes back' wait_until 60 new_service

# Cuts
lab cut n2 --in
before=$(echos_in 1)
fails 'cut --in: n2 hears nothing' pings 2 1
ok 'cut --in: but n2 is heard' test "$(echos_in 1)" -gt "$before"
lab heal n2
ok 'healed' reaches 2 1
lab cut n2 --out
before=$(echos_in 2)
fails 'cut --out: n2 is not heard' pings 1 2
ok 'cut --out: but n2 hears' test "$(echos_in 2)" -gt "$before"
lab heal n2
lab cut n2
before=$(echos_in 2)
fails 'cut: nothing comes back' pings 1 2
is 'cut: nothing gets there' "$(echos_in 2)" "$before"
ok 'the others do not notice' reaches 1 3
lab heal n2
ok 'healed again' reaches 1 2

ok 'cut --from n3' lab cut n2 --from n3
before=$(echos_in 3)
fails 'cut --from n3: n2 hears no answer of n3' pings 2 3
ok 'cut --from n3: but n3 hears n2' test "$(echos_in 3)" -gt "$before"
ok 'cut --from n3: n2 hears n1' reaches 2 1
ok 'cut --from n3: n1 hears n3' reaches 1 3
is 'cut --from n3: status says so' "$(lab status | awk '$1 == "n2" { print $5 }')" from-n3
lab heal n2
ok 'healed of that too' reaches 2 3

# Power
on 2 touch /root/kept /tmp/fresh
pids=$(group_pids "$name/n2")
took=$(milliseconds lab kill n2)
is 'kill: no process of the node lives when it returns' "$(for p in $pids; do ! lives "$p" || echo "$p"; done)" ''
fails 'kill: its address does not answer' pings 1 2
is 'kill: the node is off' "$(state_of 2)" off
is 'kill: exec is refused' "$(on 2 true 2>/dev/null; echo $?)" 125
ok "kill: at once ($took ms)" test "$took" -lt 10000
lab cut n2 --in
ok 'start' lab start n2
fails 'a cut outlives a power cycle' pings 1 2
lab heal n2
ok 'start: the address answers' reaches 1 2
ok 'start: the disk is kept' on 2 test -e /root/kept
fails 'start: /tmp is fresh' on 2 test -e /tmp/fresh

# A hung node
lab stop n3 node
is 'stop node: it hangs' "$(state_of 3)" stopped
lab cont n3
is 'cont: it goes on' "$(state_of 3)" running
lab stop n3 node
ok 'a hung node can be powered off' lab kill n3
ok 'and started' lab start n3

# Flood: twice the backhaul is sent, the backhaul arrives, and marked packets pass by the queue
lab flood n2 40mbit 3 >"$work/flood" &
flooded() { on 2 sh -c 'read a < /sys/class/net/br-up/statistics/tx_packets; test $a -gt 2000'; }
wait_until 30 flooded
rtt=$(on 2 ping -q -Q 0xc0 -c 50 -i 0.02 -W 5 10.90.0.1 | tee "$work/ping" | awk -F/ '/^rtt/ { print int($5) }')
wait $!
for direction in out in; do
    ok "flood: both counters of '$direction' (sent about 40 Mbit/s, got about 20)" awk -v d="$direction" '
        $1 == d { for (i = 2; i <= NF; i++) { split($i, p, "="); v[p[1]] = p[2] } }
        END { exit !(v["sent_packets"] > 7000 && v["sent_packets"] < 11200 && v["received_mbit"] > 12 && v["received_mbit"] < 22) }' \
        "$work/flood"
done
ok 'flood: no marked packet is lost' grep -q ' 0% packet loss' "$work/ping"
ok "flood: marked packets do not wait (mean $rtt ms; a full queue is 50 ms long)" test "${rtt:-99}" -lt 25

# Two labs side by side
other=$LAB-b
ok 'a second lab' env LAB="$other" "$skein_root/deploy/lab" up -n 1 --cores 1 --queue fifo
is 'it is apart' "$(LAB=$other "$skein_root/deploy/lab" exec n1 -- ping -c 1 -W 1 10.90.0.2 >/dev/null; echo $?)" 1
LAB=$other lab down
is 'its end leaves nothing' "$(leftovers "$other")" ''
ok 'and does not touch the first' reaches 1 2

# The end
pids=$(group_pids "$name")
ok 'down' lab down
is 'down leaves nothing' "$(leftovers "$LAB" $pids)" ''
ok 'down again is no error' lab down

# up killed half-way, at several points
state=/run/skein-lab/$LAB
for event in "$state/conf" "/run/netns/$name" "$state/n1.pid" "$state/n3.pid"; do
    "$skein_root/deploy/lab" up -n 3 >/dev/null 2>&1 &
    up=$!
    wait_until 60 test -e "$event"
    kill -9 "$up"
    wait "$up" 2>/dev/null
    pids=$(group_pids "$name")
    lab down
    is "killed when ${event##*/} appeared: down leaves nothing" "$(leftovers "$LAB" $pids)" ''
done
ok 'and the lab comes up after that' lab up -n 1

done_testing
