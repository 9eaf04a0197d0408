#!/bin/bash
# Containers by liblxc whose memory follows them (post-copy): insisted on and picked, to and fro, with every page read again after
# each, one connection kept and the console there; and with either end lost while it follows, when the guest starts again.
# limit: 600
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lxc.sh"

# What its shell said, which starts processes all the time
ticks() { log | grep -c '^tick'; }
ticks_beyond() { [ "$(ticks)" -gt "$1" ]; }
# What is left of the guest on node K
left_on() { on "$1" sh -c 'ls -d /run/skein/guests/web /run/skein/netns/web /sys/fs/cgroup/*/skein/*/web; pgrep -x skein-lxc' 2>/dev/null; }

begin_lxc

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
[ "$(node_of)" = n2 ] || ok 'back' wait_until 180 move stop
slowly n1 5mbit
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
slowly n2 5mbit
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
