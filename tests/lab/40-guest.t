#!/bin/bash
# Guests: images, placement, life, networks, and what is refused.
# limit: 300
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"

state_of() { json 1 .state skein guest show "$1"; }
is_state() { [ "$(state_of "$1")" = "$2" ]; }
run() { on 1 skein guest run "$@"; }
plan() { on 1 skein guest plan "$1" --image web --cores 1 -f json -- /bin/counter 7000; }
show() { json 1 "$2" skein guest show "$1"; }
node_of() { show "$1" .node; }
# runs_on COMM: the nodes where such a process runs unfrozen, seen from outside
runs_on() { look_running "$1" | awk '{ print $1 }' | tr '\n' ' '; }

ok 'a cluster of three' lab up -n 3 --conf profile=wan --join || bail 'no cluster'
"$skein_root/deploy/make-image" "$work/web.tar"
put() { on "$1" sh -c "cat >$2"; }
put 1 /tmp/web.tar <"$work/web.tar"
head -c 100000 /dev/urandom | put 1 /tmp/broken.tar
on 1 sh -c ': >/tmp/empty.tar; head -c 300000 /tmp/web.tar >/tmp/short.tar; gzip -c /tmp/web.tar >/tmp/web.tar.gz'

# Images
refused 'an image file that is not there' 1 'nowhere.tar' on 1 skein image add web /tmp/nowhere.tar
refused 'a broken image' 1 'image\|archive' on 1 skein image add web /tmp/broken.tar
refused 'an empty image' 1 'empty' on 1 skein image add web /tmp/empty.tar
refused 'a torn image' 1 'image\|archive\|trunc' on 1 skein image add web /tmp/short.tar
is 'none of them is there' "$(json 1 length skein image list)" 0
ok 'an image' on 1 skein image add web /tmp/web.tar
holders() { for k in 1 2 3; do on "$k" sh -c 'ls /var/lib/skein/images 2>/dev/null | grep -c "^[0-9a-f]*$"'; done | tr '\n' ' '; }
is 'is on the disk of every node when the command returns' "$(holders)" '1 1 1 '
refused 'its name again' 1 'web' on 2 skein image add web /tmp/web.tar.gz
ok 'a compressed one' on 1 skein image add webz /tmp/web.tar.gz

# Plan and refusals
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24
# Which one is no matter of course: the uplink of n1 has just carried the images.
verdicts() { on 1 jq -r '"\([.nodes[].verdict] | sort | join(" ")) \(.chosen == (.nodes[] | select(.verdict == "chosen") | .node))"'; }
planned() { plan web | verdicts; }
becomes 'plan chooses one node' 'chosen possible possible true' planned
is 'plan changes nothing' "$(json 1 length skein guest list)" 0
refused 'an unknown image' 1 'nimage' run web --image nimage -- /bin/true
refused 'an unknown slice' 1 'nslice' run web --image web --slice nslice -- /bin/true
refused 'more cores than any node has' 3 'cores' run web --image web --cores 4 -- /bin/counter 7000
refused 'more memory than any node has' 3 'memory' run web --image web --memory 64g -- /bin/counter 7000
refused 'a label that no node bears' 3 'zone' run web --image web --label zone=moon -- /bin/counter 7000
refused 'an unknown node' 1 'n9' run web --image web --on n9 -- /bin/counter 7000
refused 'no command' 1 'image web has no command' run web --image web
refused 'a wrong name' 2 'Web' run Web --image web -- /bin/true
is 'nothing of these is there' "$(json 1 length skein guest list)" 0

# Life
ok 'run' run web --image web --slice red --cores 1 --memory 32m --env GREETING=hello -- /bin/counter 7000
node=$(node_of web)
becomes 'it runs where the state says, and nowhere else' "$node " runs_on counter
is 'fields' "$(show web '[has("name", "kind", "state", "node", "epoch", "cores", "ip", "slice")] | all')" true
is 'one isolated core' "$(show web '.cores | length')" 1
is 'its first address' "$(show web .ip)" 10.7.0.2
is 'its network namespace has it' "$(look_address "$(look_processes counter | awk '{ print $2 }')")" 10.7.0.2
becomes 'fewer cores are free there' 2 json 1 .cores_free skein node show "$node"
refused 'the name again' 1 'web' run web --image web -- /bin/true
refused 'removal while it runs' 1 'web' on 1 skein guest rm web
is 'exec' "$(on 2 skein guest exec web -- /bin/sh -c 'echo $GREETING from $(hostname); exit 7'; echo "code $?")" $'hello from web\ncode 7'
is 'exec of what is not there' "$(on 2 skein guest exec web -- /no/such >/dev/null 2>&1; echo $?)" 127
is 'exec in an unknown guest' "$(on 2 skein guest exec nobody -- /bin/true >/dev/null 2>&1; echo $?)" 125
has_log() { on 3 skein guest logs web | grep -q 'listening on port 7000'; }
ok 'logs' wait_until 60 has_log
ok 'a second guest shares cores' run two --image web --slice red -- /bin/count 10.7.0.2 7000 /count.log
counts() { on 1 skein guest exec two -- /bin/grep -q 'count [1-9]' /count.log; }
ok 'and reaches the first' wait_until 60 counts
on 2 skein guest exec web -- /bin/sh -c 'i=0; while [ $i -lt 50000 ]; do i=$((i + 1)); done'
is 'what it uses: time, memory, processes, traffic' "$(json 2 '[.node, .cpu_ms > 0, .memory_bytes > 0 and .memory_bytes <= .memory_limit_bytes,
    .processes >= 1, .sent_bytes > 0, .received_bytes >= 0] | @text' skein guest stats web)" "[\"$(json 1 .node skein guest show web)\",true,true,true,true,true]"
refused 'stats of an unknown guest' 1 'no guest' on 1 skein guest stats nobody

# A guest that ends
first=$(look_processes counter)
kill -9 "${first#* }"
came_back() { local now; now=$(look_running counter) && [ -n "$now" ] && [ "$now" != "$first" ]; }
ok 'a guest that dies is started again in place' wait_until 60 came_back
becomes 'on the same node' "$node " runs_on counter
ok 'one that may end' run once --image web --restart never -- /bin/sh -c 'echo its last words'
ok 'stays ended' wait_until 60 is_state once stopped
becomes 'what it said can still be read' 'its last words' on 2 skein guest logs once

# Stop, start, rm
ok 'stop' on 2 skein guest stop web
is 'nothing of it runs' "$(look_processes counter)" ''
becomes 'it is known as stopped' stopped state_of web
ok 'and what it said can still be read' wait_until 20 has_log
becomes 'its core is free again' 3 json 1 .cores_free skein node show "$node"
ok 'start' on 3 skein guest start web
runs() { [ -n "$(runs_on counter)" ]; }
ok 'it runs' wait_until 60 runs
is 'its address is the same' "$(show web .ip)" 10.7.0.2
refused 'an image in use' 1 'web' on 1 skein image rm web
refused 'a slice in use' 1 'red' on 1 skein slice rm red
for guest in web two; do ok "stop $guest" on 1 skein guest stop $guest; done
for guest in web two once; do ok "rm $guest" on 1 skein guest rm $guest; done
refused 'a guest that is gone' 1 'web' on 1 skein guest show web
ok 'the image goes' on 1 skein image rm web

# Isolation of slices
ok 'a second slice' on 1 skein slice create blue --subnet 10.9.0.0/24
ok 'a guest in red' run a --image webz --slice red -- /bin/counter 7000
ok 'a guest in blue' run b --image webz --slice blue -- /bin/sleep 3600
reach() { on 1 skein guest exec "$1" -- /bin/ping -c 1 -W 1 "$2"; }
fails 'blue does not reach red' reach b 10.7.0.2
ok 'another guest in red' run c --image webz --slice red -- /bin/sleep 3600
ok 'red reaches red' wait_until 60 reach c 10.7.0.2
done_testing
