#!/bin/bash
# Protected guests: checkpoints go to a buddy; after the power-off of its node the guest goes on there from the newest one, and its
# peers' connections are reset, also that of one who only listens; what is damaged is not used.
# limit: 600
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"

run() { on 1 skein guest run "$@"; }
show() { json "${client:-1}" "$2" skein guest show "$1"; }
protection() { show web ".protection$1"; }
log() { on "$client" skein guest logs client; }
# The newest answer that the client has had.
count() { log | grep -o 'count=\?[ ]\?[0-9]*' | tail -1 | tr -dc 0-9; }
newest() { protection .checkpoint.index; }
newer_than() { local now; now=$(newest) && [ "$now" != null ] && [ "$now" -gt "$1" ]; }
other_than() { for k in n1 n2 n3; do case " $* " in *" $k "*) ;; *) echo "${k#n}"; return ;; esac; done; }
events() { on "$client" skein events -f json | jq -c "select(.guest == \"web\") | $1"; }

ok 'a cluster of three' lab up -n 3 --conf profile=wan --join || bail 'no cluster'
"$skein_root/deploy/make-image" "$work/web.tar"
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' on 1 skein image add web /tmp/web.tar
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24

# What is refused
refused 'a period of nothing' 2 'not a time' run a --image web --protect 0s -- /bin/true
refused 'one that is too short' 1 '500 ms' run a --image web --protect 100ms -- /bin/true
refused 'of a guest that stays' 2 'restore, not stay' run a --image web --failover stay --protect 5s -- /bin/true
refused 'of a guest that only one node may run' 1 'no other node could' run a --image web --on n2 --protect 5s -- /bin/true
refused 'of nobody' 1 'unknown' on 1 skein guest set nobody --protect 5s
is 'nothing of these is there' "$(json 1 length skein guest list)" 0

# Checkpoints
ok 'a guest' run web --image web --slice red -- /bin/counter 7000
is 'without protection it starts afresh after a loss' "$(show web '"\(.failover) \(.protection)"')" 'restart null'
ok 'is protected while it runs' on 1 skein guest set web --protect 1s
ok 'its buddy has a checkpoint' wait_until 120 newer_than 0
node=$(show web .node) buddy=$(protection .buddy)
ok 'the buddy is another node' test "$node" != "$buddy"
client=$(other_than "$node" "$buddy")
becomes 'the buddy holds it' "$buddy" protection .checkpoint.node
ok 'the next one comes' wait_until 120 newer_than "$(newest)"
is_short() { [ "$(protection '.checkpoint.frozen_ms | floor')" -lt 2000 ]; }
ok 'how long it stood still is bounded' wait_until 120 is_short
echo "# $(protection '.checkpoint | "stood still for \(.frozen_ms) ms, \(.size_bytes) bytes, \(.age_ms) ms old"')"
ok 'its size is known' test "$(protection .checkpoint.size_bytes)" -gt 1000
kept() { on "${1#n}" sh -c 'ls /var/lib/skein/checkpoints | grep -vc upload'; }
few() { [ "$(kept "$buddy")" -ge 1 ] && [ "$(kept "$buddy")" -le 3 ]; }
ok 'and only the newest are kept there' wait_until 120 few

# Peers: one that asks all the time, one that only listens
ok 'a client on the third node' on "$client" skein guest run client --image web --slice red --on "n$client" -- /bin/count 10.7.0.2 7000
asks() { [ "$(count || echo 0)" -gt 300 ]; }
ok 'is answered' wait_until 120 asks
ok 'another one that says nothing' on "$client" skein guest run idle --image web --slice red --on "n$client" -- /bin/sh -c \
    'mkfifo /f; sleep 3600 >/f & nc 10.7.0.2 7000 </f; echo "ended with $?"; exec sleep 3600'
connected() { on "$client" skein guest exec idle -- /bin/netstat -tn | grep -q '10.7.0.2:7000 *ESTABLISHED'; }
ok 'is connected' wait_until 120 connected
at=$(newest)
ok 'a checkpoint knows of both' wait_until 120 newer_than "$at"
early=$(count)
ok 'and one more' wait_until 120 newer_than "$(newest)"
ok 'which was named before the next was taken' wait_until 120 newer_than "$(newest)"

# The loss
before=$(count)
start=$(date +%s%N)
lab kill "$node"
resumed() { [ -n "$(events 'select(.what == "failover")')" ]; }
ok 'after a power-off it comes back' wait_until 120 resumed
echo "# $((($(date +%s%N) - start) / 1000000)) ms; $(events 'select(.what == "failover") | .text')"
becomes 'at its buddy' "$buddy" show web .node
is 'from its checkpoint' "$(events 'select(.what == "failover") | .timeline.resumed')" true
lost_ms=$(events 'select(.what == "failover") | .timeline.lost_ms')
ok 'with what was lost in ms' test "${lost_ms:-0}" -gt 0 -a "${lost_ms:-0}" -lt 60000
served_again() { log | grep -q 'served_again.*connection=new'; }
ok 'the client is served again' wait_until 120 served_again
again=$(log | sed -n 's/.*served_again.*count=\([0-9]*\).*/\1/p' | tail -1)
echo "# count: $early at an earlier checkpoint, $before before the loss, $again after it"
ok 'the count goes on from the newest checkpoint' test "${again:-0}" -ge "$early"
was_reset() { log | grep -q 'lost why=.*[Rr]eset'; }
ok 'the old connection was reset' wait_until 120 was_reset
idle_ended() { on "$client" skein guest logs idle | grep -q 'ended with'; }
ok 'and that of the one who only listens, too' wait_until 120 idle_ended
one_runs() { [ "$(look_running counter | wc -l)" = 1 ]; }
ok 'exactly one copy runs' wait_until 120 one_runs

# Protected again, by the node that is left; and what is damaged is not used
is_again() { [ "$(protection .checkpoint.node)" = "n$client" ]; }
ok 'the third node is its buddy now' wait_until 120 is_again
lab start "$node"
up() { [ "$(json "$client" .state skein node show "$node")" = up ]; }
ok 'the dead node comes back' wait_until 120 up
ok 'checkpoints are to come seldom' on "$client" skein guest set web --protect 10m
seldom() { [ "$(protection ' | .interval_ms == 600000 and .checkpoint.age_ms > 5000')" = true ]; }
ok 'the last of the old period is taken' wait_until 120 seldom
holder=$(protection .checkpoint.node)
on "${holder#n}" sh -c 'for f in /var/lib/skein/checkpoints/*; do printf damaged | dd of=$f bs=1 seek=500 conv=notrunc; done' 2>/dev/null
lab kill "$buddy"
afresh() { events 'select(.what == "failover") | .timeline.resumed' | tail -1 | grep -q false; }
ok 'from a damaged checkpoint it does not resume' wait_until 120 afresh
becomes 'it runs where they were' "$holder" show web .node
told() { on "${holder#n}" skein events | grep -q 'guest-restore-failed.*it starts afresh'; }
ok 'and the events say so' wait_until 120 told

# What nobody can resume from goes
lab start "$buddy"
ok 'stop it' on "$client" skein guest stop web
none() { for k in 1 2 3; do on $k sh -c '! ls /var/lib/skein/checkpoints | grep -qv upload' || return 1; done; }
ok 'no checkpoint is left' wait_until 120 none
done_testing
