#!/bin/bash
# A node is drained: its guests go elsewhere alive, the most important first; what cannot go is named and stays.
# limit: 600
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"
build=$("$skein_root/deploy/build")

on_node() { json 1 '[.[] | select(.node == "'"$1"'") | .name] | sort | join(" ")' skein guest list; }
node_state() { json 1 .state skein node show "$1"; }
epochs() { json 1 '[.[].epoch] | join(" ")' skein guest list; }
n_running() { look_running counter | wc -l; }
# What each guest holds in its memory: one that was started anew holds nothing.
marks() { for g in a b c; do on 1 skein guest exec $g -- /bin/cat /dev/shm/mark; done | tr '\n' ' '; }

ok 'a cluster of three' lab up -n 3 --conf profile=wan --join || bail 'no cluster'
"$skein_root/deploy/make-image" "$work/root"
install -m 755 "$build/tests/lab/misfit" "$work/root/bin/"
tar --create --file "$work/web.tar" --directory "$work/root" --owner 0 --group 0 .
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' on 1 skein image add web /tmp/web.tar
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24

# Three guests on n2: the others take none meanwhile
for k in 1 3; do on 1 skein node cordon "n$k" >/dev/null; done
for g in a b c; do
    ok "guest $g" on 1 skein guest run "$g" --image web --slice red --cores 1 --memory 32m --priority "$((100 + $(printf %d "'$g")))" \
        -- /bin/counter 7000
done
for k in 1 3; do on 1 skein node uncordon "n$k" >/dev/null; done
becomes 'all stand on n2' 'a b c' on_node n2
for g in a b c; do on 1 skein guest exec $g -- /bin/sh -c "echo $g >/dev/shm/mark"; done
before=$(epochs)

refused 'an unknown node' 1 'no node' on 1 skein node drain n9
ok 'a dry run' on 1 skein node drain n2 --dry-run
becomes 'names a place for each, the most important first' 'c b a' \
    json 1 '[.guests[] | select(.goes and .to != "n2") | .guest] | join(" ")' skein node drain n2 --dry-run
becomes 'and how long each would stand still' true \
    json 1 '[.guests[] | .mode != null and .blackout_ms > 0] | all' skein node drain n2 --dry-run
is 'and changes nothing' "$(epochs)" "$before"
is 'not even the node' "$(node_state n2)" up

start=$(date +%s%N)
ok 'the drain' on 3 skein node drain n2
echo "# three guests in $((($(date +%s%N) - start) / 1000000)) ms"
becomes 'n2 is empty' '' on_node n2
becomes 'and says so' draining node_state n2
becomes 'each guest runs once' 3 n_running
becomes 'none was started anew' 'a b c ' marks
becomes 'no migration is left' 0 json 1 length skein migration list
refused 'a guest that must be there' 3 drain on 1 skein guest run d --image web --on n2 -- /bin/counter 7000

ok 'the drain ends' on 1 skein node undrain n2
becomes 'n2 is up' up node_state n2
ok 'a guest bound to n2' on 1 skein guest run bound --image web --slice red --on n2 -- /bin/sleep 3600
refused 'the next drain names it' 3 'bound.*n2' on 1 skein node drain n2
becomes 'it runs on' bound on_node n2
fails 'so does a dry run' on 1 skein node drain n2 --dry-run
ok 'the end of it' on 1 skein node undrain n2

# What cannot move while it runs is named beforehand. By the deadline it starts anew elsewhere, unless that would lose
# what it has there
ok 'a guest that CRIU cannot move' on 1 skein guest run odd --image web --slice red -- /bin/misfit mqueue
move_to_n2() {
    [ "$(json 1 '.node' skein guest show "$1")" = n2 ] && return
    on 1 skein guest stop "$1" && for k in 1 3; do on 1 skein node cordon "n$k"; done && on 1 skein guest start "$1"
    local code=$?
    for k in 1 3; do on 1 skein node uncordon "n$k"; done
    return $code
}
ok 'stands on n2' move_to_n2 odd
odd() { json 1 ".guests[] | select(.guest == \"odd\") | $1" skein node drain n2 --dry-run; }
is 'a dry run says that it does not go' "$(odd .goes)" false
is 'and why' "$(odd .reason | grep -c 'message queue')" 1
refused 'a drain without a deadline names it' 3 'odd.*message queue' on 1 skein node drain n2
is 'it runs on' "$(json 1 '"\(.node) \(.state)"' skein guest show odd)" 'n2 running'
no_bound() { on 1 skein guest stop bound && on 1 skein guest rm bound; }
ok 'the bound one is not needed any more' no_bound
ok 'the drain ends' on 1 skein node undrain n2
for k in 1 3; do on 1 skein node cordon "n$k" >/dev/null; done
ok 'one with a volume' on 1 skein guest run kept --image web --slice red --volume data:/data -- /bin/misfit mqueue
for k in 1 3; do on 1 skein node uncordon "n$k" >/dev/null; done
refused 'no deadline' 2 'is not a time' on 1 skein node drain n2 --deadline soon
refused 'one that is too far off' 2 '--deadline' on 1 skein node drain n2 --deadline 200h
start=$(date +%s%N)
refused 'a drain with a deadline names the one with a volume' 3 'but for kept' on 1 skein node drain n2 --deadline 3s
ms=$((($(date +%s%N) - start) / 1000000))
ok "which it says after the deadline ($ms ms)" test $ms -ge 3000
becomes 'the other has left' 'running' json 1 'select(.node != "n2") | .state' skein guest show odd
is 'and was told why' "$(on 1 skein events | grep -c 'guest-leave.*odd.*not left in time')" 1
is 'the one with the volume runs on' "$(json 1 '"\(.node) \(.state)"' skein guest show kept)" 'n2 running'
ok 'the end of that' on 1 skein node undrain n2

# A target without room is passed by, and where none has any that is said
small_disk() { on "${1#n}" mount -t tmpfs -o size=16m,mode=711 small /var/lib/skein/volumes; }
no_kept() { on 1 skein guest stop kept && on 1 skein guest rm kept; }
ok 'the one with the volume is not needed any more' no_kept
for k in 1 3; do on 1 skein node cordon "n$k" >/dev/null; done
ok 'one with a larger volume' on 1 skein guest run heavy --image web --volume data:/data -- /bin/sleep 3600
for k in 1 3; do on 1 skein node uncordon "n$k" >/dev/null; done
ok 'of 24 MiB' on 1 skein guest exec heavy -- /bin/dd if=/dev/urandom of=/data/blob bs=1M count=24
first=$(json 1 .chosen skein guest migrate heavy --check)
second=n$((4 - ${first#n}))
ok "a disk of 16 MiB on $first" small_disk "$first"
heavy() { json 1 ".guests[] | select(.guest == \"heavy\") | $1" skein node drain n2 --dry-run; }
becomes 'a check passes it by' "$second" json 1 .chosen skein guest migrate heavy --check
becomes 'so does a dry run' "$second true" heavy '"\(.to) \(.goes)"'
ok 'and the drain' on 1 skein node drain n2
becomes 'which moved it to the other' "$second running" json 1 '"\(.node) \(.state)"' skein guest show heavy
ok 'n2 is back' on 1 skein node undrain n2
ok 'with a small disk, too' small_disk n2
becomes 'no target has room: a check says so' room json 1 \
    '[.reasons[] | select(.severity == "obstacle" and .code == "room") | .code] | join(" ")' skein guest migrate heavy --check
refused 'a drain says so' 3 'heavy.*MiB free for volumes, it brings 2[0-9] MiB' on 1 skein node drain "$second"
becomes 'it runs on' "$second running" json 1 '"\(.node) \(.state)"' skein guest show heavy
ok 'the end of this one' on 1 skein node undrain "$second"

# A migration is listed while it is in flight, and an unknown one cannot be called off
refused 'no such migration' 1 'over or was never' on 1 skein migration cancel 4711
refused 'nor shown' 1 'in flight' on 1 skein migration show 4711
done_testing
