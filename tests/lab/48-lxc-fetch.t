#!/bin/bash
# Containers by liblxc while their memory follows them, slowly: who walks through it answers meanwhile, and the guards of both nodes
# are killed, which changes nothing; what gives the memory out, or fetches it, ends, and the guest starts again where it went. How they
# move so: 48-lxc-post.t.
# limit: 600
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"

show() { json "${watcher:-1}" "$2" skein guest show "$1"; }
node_of() { show web .node; }
other() { [ "$1" = n1 ] && echo n2 || echo n1; }
log() { on 3 skein guest logs web | tr -d '\r'; }
# Every page was read, since the call.
passes() { log | grep -c '^pass '; }
passes_beyond() { [ "$(passes)" -gt "$1" ]; }
reads_all() { wait_until 120 passes_beyond $(($(passes) + 1)); }
bad() { log | sed -n 's/^pass [0-9]*: [0-9]* pages, \([0-9]*\) bad$/\1/p' | sort -n | tail -n 1; }
# move MODE FLAGS...: to the other of n1 and n2; the answer is in $work/moved
move() { on 3 skein guest migrate web --to "$(other "$(node_of)")" --mode "$1" --timeout 60s -f json "${@:2}" >"$work/moved"; }
moved() { jq -r "$1" <"$work/moved"; }
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
    /bin/count "$(show web .ip)" 7000 /count.log 10
client_log() { on 3 sh -c "cat /proc/\$(pgrep -x count | head -n 1)/root/count.log"; }
is_connected() { client_log | grep -q connected; }
ok 'is served' wait_until 60 is_connected
longest_gap() { client_log | sed -n 's/.* gap ms=\([0-9]*\).*/\1/p' | sort -n | tail -n 1; }
ok 'it reads its memory' reads_all

# While memory is still to come
is_fetching() { [ "$(json 3 '.[0].step' skein migration list)" = fetching ]; }
is_fetching_in_time() { wait_until 60 is_fetching || { cat "$work/moved" "$work/error"; on 3 skein events | tail -n 20; return 1; }; }
# slowly TO RATE
slowly() { on 3 skein guest migrate web --to "$1" --mode post --bandwidth "$2" --timeout 120s -f json >"$work/moved" 2>"$work/error" & }
began_again() { [ "$(show web .state)" = running ] && [ "$(runs_on | wc -w)" = 1 ] && is_over; }
both_adopt() { for k in 1 2; do on $k grep -q 'run 2 of' /var/log/skein-guard.log || return 1; done; }
slowly "$(other "$(node_of)")" 10mbit
mover=$!
ok 'a slow one, which runs while its memory follows' is_fetching_in_time
for k in 1 2; do on $k sh -c 'kill -9 "$(cat /run/node/skein-guard.pid)"'; done
ok 'both guards are followed by others' wait_until 60 both_adopt
ok 'it is still on its way' is_fetching
ok 'and comes' wait "$mover"
is 'as was asked for' "$(moved .mode)" post-copy
gap_ms=$(longest_gap) total_ms=$(moved '.total_ms | floor')
ok "it answered meanwhile: never silent for longer than ${gap_ms:-0} of $total_ms ms" test $((3 * ${gap_ms:-0})) -lt "$total_ms"
is 'by the same connection' "$(client_log | grep -cE 'lost|served_again')" 0
ok 'every page is read again' reads_all
is 'none of them is wrong' "$(bad)" 0
ok 'its console' wait_until 60 answer
ok 'nothing is left of the moves' wait_until 60 is_tidy

# What gives it out, or fetches it, ends: the copy that has not got it never runs on, the source's never again
lost_on() { on "${1#n}" skein events -f json | grep '"migration-step-failed"' | grep -c "await on $1"; }
for struck in source target; do
    from=$(node_of) to=$(other "$(node_of)")
    seen=$(lost_on "$to")
    slowly "$to" 5mbit
    mover=$!
    ok "a slow one, whose $struck will end" is_fetching_in_time
    node=$([ $struck = source ] && echo "$from" || echo "$to")
    ok "it ends" on "${node#n}" pkill -KILL -x criu
    is_told() { [ "$(lost_on "$to")" -gt "$seen" ]; }
    ok 'its memory does not come, as is told' wait_until 60 is_told
    ok 'it begins anew' wait_until 60 began_again
    becomes 'where it was' "$to " runs_on
    ok 'it reads its memory from the beginning' reads_all
    is 'none of it is wrong' "$(bad)" 0
    wait "$mover"
    ok 'whoever waited is told' grep -q '"restart"' "$work/moved"
    ok 'nothing is left of the move' wait_until 60 is_tidy
done

ok 'it is told to end' on 3 sh -c 'skein guest stop web && skein guest rm web'
is 'and nothing of it runs' "$(look_processes counter | wc -l)" 0
done_testing
