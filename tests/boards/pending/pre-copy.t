#!/bin/bash
# Pre-copy of a cell, in a board whose kernel says which pages were written: a guest of 16 MiB that writes all the time moves with
# all of its pages right and its one connection kept, and stands still for a shorter time than by stop-and-copy, which it was told
# beforehand; rounds that do not converge are followed by post-copy.
# limit: 1200
. "$(dirname "$0")/../lib.sh"
. "$skein_root/deploy/look.sh"

passes() { on 1 skein guest logs "$1" | grep -c '^pass '; }
passes_beyond() { [ "$(passes "$1")" -gt "$2" ]; }
# Every page was read, since the call.
reads_all() { local before; before=$(passes "$1"); wait_until 200 passes_beyond "$1" $((before + 1)); }
bad() { on 1 skein guest logs "$1" | sed -n 's/^pass [0-9]*: [0-9]* pages, \([0-9]*\) bad$/\1/p' | sort -n | tail -n 1; }
client_log() { on "${client_at#n}" sh -c "cat /proc/\$(pgrep -x count | head -n 1)/root/count.log"; }
leftovers() { on "$1" sh -c 'find /run/skein/guests /var/lib/skein/guests -maxdepth 2 \( -name "checkpoint*" -o -name "*.new" \); pgrep -x criu; true'; }
is_tidy() { [ -z "$(leftovers 1)$(leftovers 2)" ]; }
tell() { echo "# $1: $(moved '"\(.mode), blackout \(.blackout_ms) ms, \(.bytes) bytes before it ran, \(.total_ms) ms in all"')"; }

ok 'a cluster of two' lab up -n 2 $board_timers --join --backhaul 1000mbit || bail 'no cluster'
"$skein_root/deploy/make-image" "$work/web.tar"
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' does 1 skein image add web /tmp/web.tar
ok 'a slice' does 1 skein slice create red --subnet 10.7.0.0/24
ok 'a guest of 16 MiB that writes 1 MiB a second' \
    does 1 skein guest run web --image web --slice red --memory 64m -- /bin/counter 7000 16 1 1
becomes 'runs' running state_of web
client_at=$(other "$(number_of_node web)")
ok 'a client with one connection' does 1 skein guest run client --image web --slice red --memory 16m --on "$client_at" -- \
    /bin/count "$(json 1 .ip skein guest show web)" 7000 /count.log 50
is_connected() { client_log | grep -q connected; }
ok 'is served' wait_until 120 is_connected
ok 'it reads its memory' reads_all web

ok 'it moves by stop-and-copy' moves web "$(other "$(number_of_node web)")" --mode stop --downtime 60s
stop_ms=$(moved '.blackout_ms | floor')
tell stop
ok 'and by pre-copy' moves web "$(other "$(number_of_node web)")" --mode pre --downtime 2s
is 'that was what was done' "$(moved .mode)" pre-copy
pre_ms=$(moved '.blackout_ms | floor')
tell pre
ok "it stood still for less than half as long: $pre_ms of $stop_ms ms" test $((2 * pre_ms)) -lt "$stop_ms"
told() { grep '^{' "$work/error" | jq -rs '[.[] | .migration // empty] | '"$1"; }
ok 'its rounds were told' test "$(told '[.[].round] | max')" -ge 2
expected_ms=$(told '[.[].blackout_ms // empty] | last')
ok "and for how long it would stand still: about $expected_ms ms" test "$expected_ms" -gt 0
ok 'it reads all of its memory' reads_all web
is 'and no page is wrong' "$(bad web)" 0

# So short a standstill that no round is short enough; nothing is insisted on
ok 'rounds that do not converge' moves web "$(other "$(number_of_node web)")" --downtime 200ms
is 'are followed by post-copy' "$(moved .mode)" post-copy
tell post
ok 'behind rounds' test "$(told '[.[].round] | max')" -ge 2
becomes 'it runs' running state_of web
ok 'it reads all of its memory' reads_all web
is 'and no page is wrong' "$(bad web)" 0
is 'the connection is the same, and nothing was lost' "$(client_log | grep -cE 'lost|served_again')" 0
ok 'nothing is left of the moves' wait_until 100 is_tidy
done_testing
