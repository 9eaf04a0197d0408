#!/bin/bash
# `events -f json`: a failover's timeline in ms as fields, after a loss, after a reboot, and when the leader itself died. Timers for
# long ways: n1 leads until it dies, however busy this machine is.
# limit: 600
. "$(dirname "$0")/lib.sh"

# newest NODE FILTER: of the newest timeline that the node knows
newest() { on "$1" skein events -f json | jq -rs "[.[] | select(.what == \"failover\") | .timeline] | last | $2"; }
is_from() { [ "$(newest "$1" '"\(.from) \(.cause) \(.since)"')" = "$2" ]; }
in_order='[.committed_ms, .placed_ms, .started_ms, .serving_ms] | . == sort and all(.[]; type == "number" and . == floor)'
place() { json "$1" .node skein guest show web; }
is_up() { [ "$(json "$1" .state skein node show "$2")" = up ]; }
# move NODE: the guest is on it afterwards
move() { [ "$(place 1)" = "$1" ] || on 1 skein guest migrate web --to "$1"; }

ok 'a cluster of three' lab up -n 3 --conf profile=wan --join || bail 'no cluster'
"$skein_root/deploy/make-image" "$work/web.tar"
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' on 1 skein image add web /tmp/web.tar
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24
ok 'a guest' on 1 skein guest run web --image web --slice red -- /bin/sleep 3600
becomes 'n1 leads' n1 json 3 .leader skein status

ok 'it runs on n2' move n2
lab kill n2
ok 'n2 dies: a timeline from its last beat' wait_until 60 is_from 1 'n2 lost beat'
echo "# $(newest 1 'tostring')"
is 'in order, whole numbers' "$(newest 1 "$in_order")" true
ok 'with the end of its lease' test "$(newest 1 .lease_end_ms)" -gt 300
ok 'another voter knows it too' wait_until 60 is_from 3 'n2 lost beat'
is 'the same' "$(newest 3 tostring)" "$(newest 1 tostring)"
lab start n2
ok 'n2 is back' wait_until 60 is_up 1 n2

# Nothing is lost in maintenance, so that the new boot is what takes the guest from the old one.
ok 'it runs on n2 again' move n2
ok 'maintenance' on 1 skein cluster maintenance on
lab kill n2
lab start n2
ok 'n2 reboots: a timeline' wait_until 60 is_from 1 'n2 rebooted beat'
echo "# $(newest 1 'tostring')"
is 'in order' "$(newest 1 "$in_order")" true
ok 'maintenance ends' on 1 skein cluster maintenance off

ok 'it runs on the leader' move n1
lab kill n1
ok 'the leader dies: the next one counts from its last answer' wait_until 60 is_from 3 'n1 lost answer'
echo "# $(newest 3 'tostring')"
is 'in order' "$(newest 3 "$in_order")" true
is 'elected before the loss was committed' "$(newest 3 '.elected_ms > 0 and .elected_ms < .committed_ms')" true
is 'no lease of the new leader was out' "$(newest 3 .lease_end_ms)" null
ok 'the third knows it too' wait_until 60 is_from 2 'n1 lost answer'
done_testing
