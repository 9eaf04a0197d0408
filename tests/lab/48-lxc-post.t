#!/bin/bash
# Containers by liblxc whose memory follows them (post-copy): insisted on and picked, to and fro, with every page read again after
# each, one connection kept and the console there; and with either end lost while it follows, when the guest starts again.
# limit: 600
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"

show() { json "${watcher:-1}" "$2" skein guest show "$1"; }
node_of() { show web .node; }
other() { [ "$1" = n1 ] && echo n2 || echo n1; }
log() { on 3 skein guest logs web | tr -d '\r'; }
# Every page was read, since the call; the shell beside starts processes all the time.
passes() { log | grep -c '^pass '; }
passes_beyond() { [ "$(passes)" -gt "$1" ]; }
reads_all() { wait_until 120 passes_beyond $(($(passes) + 1)); }
bad() { log | sed -n 's/^pass [0-9]*: [0-9]* pages, \([0-9]*\) bad$/\1/p' | sort -n | tail -n 1; }
ticks() { log | grep -c '^tick'; }
ticks_beyond() { [ "$(ticks)" -gt "$1" ]; }
# move MODE FLAGS...: to the other of n1 and n2; the answer is in $work/moved
move() { on 3 skein guest migrate web --to "$(other "$(node_of)")" --mode "$1" --timeout 60s -f json "${@:2}" >"$work/moved"; }
moved() { jq -r "$1" <"$work/moved"; }
client_log() { on 3 sh -c "cat /proc/\$(pgrep -x count | head -n 1)/root/count.log"; }
# Its terminal gives back what is written to it; the console stays open until somebody leaves it.
answered() { grep -q 'is anybody there' "$work/console"; }
answer() {
    : >"$work/console"
    (echo 'is anybody there'; wait_until 20 answered; printf '\035') | on 3 timeout 60 skein guest console web >"$work/console"
    answered
}
leftovers() { on "$1" sh -c 'find /run/skein/guests -maxdepth 2 -name "checkpoint*"; pgrep -x criu'; }
is_tidy() { [ -z "$(leftovers 1)$(leftovers 2)" ]; }
is_over() { [ "$(json 3 length skein migration list)" = 0 ]; }
# What is left of the guest on node K
left_on() { on "$1" sh -c 'ls -d /run/skein/guests/web /run/skein/netns/web /sys/fs/cgroup/*/skein/*/web; pgrep -x skein-lxc' 2>/dev/null; }
runs_on() { look_running counter | awk '{ print $1 }' | tr '\n' ' '; }

ok 'a cluster of three' lab up -n 3 --conf profile=wan --join --backhaul 1000mbit || bail 'no cluster'
watcher=3
"$skein_root/deploy/make-image" "$work/web.tar"
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' on 1 skein image add web /tmp/web.tar
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24
for k in 2 3; do on 1 skein node cordon n$k; done
ok 'a container of 24 MiB that checks itself, and starts processes' \
    on 1 skein guest run web --kind lxc --image web --slice red --memory 128m -- \
    /bin/sh -c '/bin/counter 7000 24 4 & trap "exit 0" TERM; while :; do sleep 0.05; echo tick; done'
for k in 2 3; do on 1 skein node uncordon n$k; done
ok 'a client with one connection' on 1 skein guest run client --image web --slice red --memory 16m --on n3 -- \
    /bin/count "$(show web .ip)" 7000 /count.log
is_connected() { client_log | grep -q connected; }
ok 'is served' wait_until 60 is_connected
ok 'it reads its memory' reads_all

# To and fro
becomes 'check says that it can' 'possible post-copy' \
    json 3 '"\(.verdict) \(.mode)"' skein guest migrate web --to n2 --mode post --check
for k in 1 2 3; do
    to=$(other "$(node_of)")
    ok "its memory follows, $k" wait_until 180 move post
    is 'as was asked for' "$(moved '"\(.mode) \(.to)"')" "post-copy $to"
    ok 'every page is read again' reads_all
    is 'none of them is wrong' "$(bad)" 0
    ok 'it starts processes there' wait_until 60 ticks_beyond "$(ticks)"
    ok 'its console' wait_until 60 answer
    echo "# $(moved '"blackout \(.blackout_ms) ms, \(.bytes) bytes before it ran, \(.total_ms) ms in all"')"
done
ok 'nothing is left of the moves' wait_until 60 is_tidy
becomes 'nor of it where it was' '' left_on "$(k=$(other "$(node_of)"); echo "${k#n}")"
ok 'a budget of 100 ms picks post-copy for it' wait_until 180 move auto --downtime 100ms
is 'by itself' "$(moved .mode)" post-copy
inside() { on 3 skein guest exec web -- /bin/hostname; }
becomes 'a command in it' web inside
is 'the connection is the same, and nothing was lost' "$(client_log | grep -cE 'lost|served_again')" 0

# Either end is lost while memory is still to come: the copy that has not got it never runs on, the source's never again.
is_fetching() { [ "$(json 3 '.[0].step' skein migration list)" = fetching ]; }
is_fetching_in_time() { wait_until 60 is_fetching || { cat "$work/moved" "$work/error"; on 3 skein events | tail -n 20; return 1; }; }
slowly() { on 3 skein guest migrate web --to "$1" --mode post --bandwidth 5mbit --timeout 120s -f json >"$work/moved" 2>"$work/error" & }
began_again() { [ "$(show web .state)" = running ] && [ "$(runs_on | wc -w)" = 1 ] && is_over; }
[ "$(node_of)" = n2 ] || ok 'back' wait_until 180 move stop
slowly n1
ok 'a slow one, which runs while its memory follows' is_fetching_in_time
becomes 'on the target' n1 node_of
ok 'the source dies' lab kill n2
told_of_loss() { on 1 skein events -f json | grep -q '"migration-memory-lost"'; }
ok 'its memory does not come, as is told' wait_until 60 told_of_loss
ok 'it begins anew' wait_until 60 began_again
becomes 'where it was' 'n1 ' runs_on
ok 'it reads its memory from the beginning' reads_all
is 'none of it is wrong' "$(bad)" 0
ok 'its console' wait_until 60 answer
wait
ok 'whoever waited is told' grep -q '"restart"' "$work/moved"
lab start n2
is_up() { [ "$(json 3 .state skein node show n2)" = up ]; }
ok 'the node is back' wait_until 60 is_up
slowly n2
ok 'again a slow one' is_fetching_in_time
becomes 'on the target' n2 node_of
ok 'the target dies' lab kill n2
is_elsewhere() { began_again && [ "$(node_of)" != n2 ]; }
ok 'it begins anew elsewhere, once' wait_until 120 is_elsewhere
ok 'it reads its memory from the beginning' reads_all
is 'none of it is wrong' "$(bad)" 0
wait
ok 'it is told to end' on 3 sh -c 'skein guest stop web && skein guest rm web'
is 'and nothing of it runs' "$(look_processes counter | wc -l)" 0
done_testing
