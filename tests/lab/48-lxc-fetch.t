#!/bin/bash
# Containers by liblxc while their memory follows them, slowly: who walks through it answers meanwhile, and the guards of both nodes
# are killed, which changes nothing; what gives the memory out, or fetches it, ends, and the guest starts again where it went. How they
# move so: 48-lxc-post.t.
# limit: 600
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lxc.sh"

longest_gap() { client_log | sed -n 's/.* gap ms=\([0-9]*\).*/\1/p' | sort -n | tail -n 1; }

begin_lxc 10

# While memory is still to come
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
