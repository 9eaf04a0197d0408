#!/bin/bash
# Boards that have nothing but cgroup v2: a container by liblxc has its groups below the guest's own, and with them it is frozen by the
# lease, started elsewhere, adopted, moved both ways, checkpointed, resumed and ended; a cell beside it.
# limit: 600
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"

show() { json 3 "$2" skein guest show "$1"; }
node_of() { show web .node; }
other() { [ "$1" = n1 ] && echo n2 || echo n1; }
is_at() { [ "$(show web '"\(.node) \(.state)"')" = "$1 running" ]; }
log() { on 3 skein guest logs web | tr -d '\r'; }
passes() { log | grep -c '^pass '; }
passes_beyond() { [ "$(passes)" -gt "$1" ]; }
reads_all() { wait_until 120 passes_beyond $(($(passes) + 1)); }
bad() { log | sed -n 's/^pass [0-9]*: [0-9]* pages, \([0-9]*\) bad$/\1/p' | sort -n | tail -n 1; }
groups_on() { on "${1#n}" sh -c 'cd /sys/fs/cgroup/skein/guests; find . -type d -name "*web*" | sort' | paste -sd' '; }
# What is left of the guest on node K: files, namespaces, groups (liblxc's own, too)
left_on() { on "${1#n}" sh -c 'ls -d /run/skein/guests/web /run/skein/netns/web; find /sys/fs/cgroup -name "*web*"' 2>/dev/null; }

ok 'a cluster of three' lab up -n 3 --cgroups v2 --conf profile=wan --join --backhaul 1000mbit || bail 'no cluster'
is 'the guards see but one hierarchy' "$(for k in 1 2 3; do on $k grep -c 'cgroups v2' /var/log/skein-guard.log; done | paste -sd' ')" '1 1 1'
"$skein_root/deploy/make-image" "$work/web.tar"
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' on 1 skein image add web /tmp/web.tar
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24
for k in 1 3; do on 1 skein node cordon n$k; done
ok 'a container' on 1 skein guest run web --kind lxc --image web --slice red --memory 64m -- \
    /bin/sh -c '/bin/counter 7000 8 4 & trap "echo bye; exit 0" TERM; while :; do sleep 0.05; done'
for k in 1 3; do on 1 skein node uncordon n$k; done
becomes 'has its groups below the guest' './web ./web/lxc.monitor.web ./web/lxc.payload.web' groups_on n2
ok 'a cell that counts with it' on 1 skein guest run client --image web --slice red --on n3 --memory 32m -- \
    /bin/count "$(show web .ip)" 7000
count() { on 3 skein guest logs client | grep -o 'count=\?[ ]\?[0-9]*' | tail -1 | tr -dc 0-9; }
asks() { [ "$(count || echo 0)" -gt 50 ]; }
ok 'is answered' wait_until 60 asks

# Moves
for mode in stop post stop post; do
    to=$(other "$(node_of)") from=$(node_of)
    ok "it moves ($mode)" on 3 skein guest migrate web --to "$to" --mode $mode --timeout 60s
    ok 'it is there' wait_until 60 is_at "$to"
    ok 'it reads its memory again' reads_all
    is 'none of it is wrong' "$(bad)" 0
    becomes 'in its group alone' './web' groups_on "$to"
    becomes 'nothing of it stays behind' '' left_on "$from"
done
connections() { on 3 skein guest logs client | grep -cE 'lost|served_again'; }
is 'the connection is the same' "$(connections)" 0
inside() { on 3 skein guest exec web -- /bin/hostname; }
becomes 'a command in it' web inside

# Adopted; its lease
node=$(node_of)
before=$(look_running counter)
on "${node#n}" sh -c 'kill -9 "$(cat /run/node/skein-guard.pid)"'
adopted() { [ "$(look_running counter)" = "$before" ] && is_at "$node" && [ "$(inside)" = web ]; }
ok 'a killed guard is followed by one that adopts it' wait_until 60 adopted
pid=${before#* }
lab cut "$node"
frozen() { look_is_frozen "$pid"; }
ok 'cut off it is frozen' wait_until 60 frozen
elsewhere() { look_running counter | grep -qv "^$node "; }
ok 'and started elsewhere' wait_until 60 elsewhere
lab heal "$node"
ok 'healed, the old copy is destroyed' wait_until 60 look_has_ended "$pid"
becomes 'nothing of it stays there' '' left_on "$node"

# Protected
ok 'it is protected' on 3 skein guest set web --protect 1s
checkpoint() { show web '.protection.checkpoint.index // 0'; }
newer() { [ "$(checkpoint)" -gt "$at" ]; }
one_more() { for _ in 1 2; do at=$(number checkpoint); wait_until 60 newer || return 1; done; }
ok 'a checkpoint' wait_until 60 one_more
ok 'which has its memory' on 3 skein guest exec web -- /bin/sh -c 'echo kept >/dev/shm/mark'
ok 'and one more' wait_until 60 one_more
node=$(node_of)
if [ "$node" = n3 ]; then
    ok 'it goes from where the client is' on 3 skein guest migrate web --to n1 --timeout 60s
    node=n1
    ok 'and a checkpoint with it' wait_until 60 one_more
fi
lab kill "$node"
has_mark() { [ "$(on 3 skein guest exec web -- /bin/cat /dev/shm/mark)" = kept ]; }
ok 'after a power-off it goes on from there' wait_until 120 has_mark
copies() { look_running counter | wc -l; }
becomes 'once' 1 copies
ok 'it reads its memory again' reads_all
is 'none of it is wrong' "$(bad)" 0

# Its end
node=$(node_of)
ok 'it is stopped, and removed' on 3 sh -c 'skein guest stop web && skein guest rm web'
becomes 'nothing of it runs' 0 copies
becomes 'nothing of it stays' '' left_on "$node"
done_testing
