#!/bin/bash
# Maintenance: cables may be pulled for longer than a lease; guests of the cut side stand still, nobody is lost, nothing is started
# elsewhere, and all goes on by itself after the heal. When it is off, losses are losses again.
# limit: 900
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"
held_ms=2500    # four leases

now_ms() { echo $(($(date +%s%N) / 1000000)); }
all_up() { [ "$(json "${1:-1}" '[.[] | select(.state == "up" and .present)] | length' skein node list)" = 3 ]; }
lost() { on "$1" skein events | grep -c ' node-lost '; }
frozen() { [ -z "$(look_running counter)" ]; }
thawed() { [ "$(look_running counter)" = "$same" ]; }
n_copies() { look_processes counter | wc -l; }
maintenance() { json "$1" .maintenance skein status; }

# hold CUT_NODES WATCHER: holds the cut; prints how often more than the one (frozen) copy was there
hold() {
    local end=$(($(now_ms) + held_ms)) wrong=0
    while [ "$(now_ms)" -lt "$end" ]; do
        [ "$(look_processes counter)" = "$same" ] || wrong=$((wrong + 1))
        sleep 0.05
    done
    echo "$wrong"
}

ok 'a cluster of three' lab up -n 3 --join || bail 'no cluster'
"$skein_root/deploy/make-image" "$work/web.tar"
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' on 1 skein image add web /tmp/web.tar
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24
ok 'a guest' on 1 skein guest run web --image web --slice red --cores 1 -- /bin/counter 7000
same=$(the_copy counter)
node=${same% *}
watcher=$((${node#n} % 3 + 1))
third=$((watcher % 3 + 1))
[ "n$third" != "$node" ] || third=$((third % 3 + 1))
becomes 'maintenance is off' false maintenance 1

ok 'maintenance on' on 1 skein cluster maintenance on
for k in 1 2 3; do becomes "n$k knows" true maintenance $k; done

lab cut "$node"
ok "the guest's node is cut: the guest stands still" wait_until 60 frozen
is "for $held_ms ms: one copy, never another" "$(hold)" 0
is 'and nobody is lost' "$(lost "$watcher")" 0
lab heal "$node"
ok 'healed: the same process goes on' wait_until 60 thawed
ok 'all are up' wait_until 60 all_up "$watcher"

for k in 1 2 3; do lab cut "n$k"; done
ok 'all cables are out: the guest stands still' wait_until 60 frozen
is "for $held_ms ms: one copy" "$(hold)" 0
for k in 1 2 3; do lab heal "n$k"; done
ok 'healed: the same process goes on again' wait_until 60 thawed
ok 'all are up again' wait_until 60 all_up "$watcher"
is 'nobody was lost' "$(for k in 1 2 3; do lost $k; done | tr '\n' ' ')" '0 0 0 '

ok 'maintenance off' on "$watcher" skein cluster maintenance off
is 'nobody is lost by that' "$(lost "$watcher")" 0
lab cut "$node"
moved() { local now; now=$(look_running counter); [ -n "$now" ] && [ "${now% *}" != "$node" ]; }
ok 'a cut is a loss again: the guest runs elsewhere' wait_until 60 moved
becomes 'one node was lost' 1 lost "$watcher"
lab heal "$node"
one() { [ "$(n_copies)" = 1 ] && all_up "$watcher"; }
ok 'healed: all up, one copy' wait_until 60 one

# Maintenance that ends while a cable is out: that node is lost then
same=$(the_copy counter)
node=${same% *}
for k in 1 2 3; do [ "n$k" = "$node" ] || watcher=$k; done
ok 'maintenance on again' on "$watcher" skein cluster maintenance on
lab cut "$node"
ok 'the guest stands still' wait_until 60 frozen
is "for $held_ms ms: one copy" "$(hold)" 0
ok 'maintenance off, the cable still out' on "$watcher" skein cluster maintenance off
ok 'the guest runs elsewhere' wait_until 60 moved
lab heal "$node"
ok 'all up, one copy' wait_until 60 one
done_testing
