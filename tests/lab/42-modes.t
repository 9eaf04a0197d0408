#!/bin/bash
# The ways in which a guest moves, by one knob: what is asked for is done or refused with words; stop-and-copy and post-copy
# of a guest that reads all of its memory again and again, with one connection kept; what happens when its memory does not
# come. Blackouts are printed.
# limit: 600
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"

show() { json 1 "$2" skein guest show "$1"; }
node_of() { show "$1" .node; }
other() { [ "$1" = n1 ] && echo n2 || echo n1; }
passes() { on 1 skein guest logs web | grep -c '^pass '; }
# Every page was read, since the call.
reads_all() { local before; before=$(passes); wait_until 120 passes_beyond $((before + 1)); }
passes_beyond() { [ "$(passes)" -gt "$1" ]; }
bad() { on 1 skein guest logs web | sed -n 's/^pass [0-9]*: [0-9]* pages, \([0-9]*\) bad$/\1/p' | sort -n | tail -n 1; }
# move MODE FLAGS...: moves web to the other of n1 and n2; the answer is in $work/moved
move() {
    on 1 skein guest migrate web --to "$(other "$(node_of web)")" --mode "$1" --timeout 60s -f json "${@:2}" >"$work/moved"
}
moved() { jq -r "$1" <"$work/moved"; }
client_log() { on 3 sh -c "cat /proc/\$(pgrep -x count | head -n 1)/root/count.log"; }
leftovers() {
    on "$1" sh -c 'find /run/skein/guests -maxdepth 2 -name "checkpoint*"; pgrep -x criu'
}
is_tidy() { [ -z "$(leftovers 1)$(leftovers 2)" ]; }
is_over() { [ "$(json 1 length skein migration list)" = 0 ]; }

ok 'a cluster of three' lab up -n 3 --conf profile=wan --join --backhaul 1000mbit || bail 'no cluster'
"$skein_root/deploy/make-image" "$work/web.tar"
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' on 1 skein image add web /tmp/web.tar
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24
ok 'a guest of 24 MiB that checks itself' \
    on 1 skein guest run web --image web --slice red --memory 128m -- /bin/counter 7000 24 4
[ "$(node_of web)" != n3 ] || on 1 skein guest migrate web --to n2 >/dev/null
ok 'a client with one connection' on 1 skein guest run client --image web --slice red --memory 16m --on n3 -- \
    /bin/count "$(show web .ip)" 7000 /count.log
is_connected() { client_log | grep -q connected; }
ok 'is served' wait_until 60 is_connected
ok 'it reads its memory' reads_all

# What cannot be asked for
refused 'an unknown mode' 2 'none of auto' on 1 skein guest migrate web --mode fast
refused 'no standstill at all' 2 'is not a time' on 1 skein guest migrate web --downtime 0ms
becomes 'every node says what its kernel can do' '[true]' json 1 'map(.can_post_copy) | unique | tostring' skein node list
tracks=$(json 1 .can_pre_copy skein node show n1)
refused 'pre-copy of a cell' 1 'pre-copy' on 1 skein guest migrate web --mode pre

# Both ways, insisted on
for mode in stop post; do
    name=$([ $mode = post ] && echo post-copy || echo stop-and-copy)
    ok "$name" wait_until 180 move $mode
    is "$name is what was done" "$(moved .mode)" "$name"
    ok 'and then every page is read again' reads_all
    is 'none of them is wrong' "$(bad)" 0
    echo "# $name: $(moved '"blackout \(.blackout_ms) ms, \(.bytes) bytes before it ran, \(.total_ms) ms in all"'), dirty tracking: $tracks"
done
ok 'nothing is left of the moves' wait_until 60 is_tidy
ok 'a budget of 100 ms picks post-copy for it' wait_until 180 move auto --downtime 100ms
is 'by itself' "$(moved .mode)" post-copy
is 'the connection is the same, and nothing was lost' "$(client_log | grep -cE 'lost|served_again')" 0

# The source is lost while memory is still to come: the copy that has not got it is killed, and the guest starts again
[ "$(node_of web)" = n2 ] || ok 'back' wait_until 180 move stop
on 1 skein guest migrate web --to n1 --mode post --bandwidth 5mbit --timeout 120s -f json >"$work/moved" 2>"$work/error" &
is_fetching() { [ "$(json 1 '.[0].step' skein migration list)" = fetching ]; }
# What became of it instead is said by what the node and the command say.
is_fetching_in_time() { wait_until 60 is_fetching || { cat "$work/moved" "$work/error"; on 1 skein events | tail -n 20; return 1; }; }
ok 'a slow one, which runs while its memory follows' is_fetching_in_time
becomes 'on the target' n1 node_of web
says_how_far() { grep -q '"step":"fetching".*"done_bytes":[1-9]' "$work/error"; }
ok 'and whoever waits hears how far it is' wait_until 60 says_how_far
ok 'the source dies' lab kill n2
began_again() { [ "$(show web .state)" = running ] && on 1 skein events -f json | grep -q '"migration-memory-lost"' && is_over; }
ok 'the guest begins anew' wait_until 60 began_again
runs_on() { look_running counter | awk '{ print $1 }' | tr '\n' ' '; }
becomes 'in one place' 'n1 ' runs_on
ok 'it reads its memory from the beginning' reads_all
is 'none of it is wrong' "$(bad)" 0
wait
ok 'whoever waited is told' grep -q '"restart"' "$work/moved"
done_testing
