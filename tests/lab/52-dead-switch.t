#!/bin/bash
# A move to a node whose switch does not answer is undone before anything is handed over: the guest stays where it was, the same
# process, and `events` says why. A switch that was killed is waited for while it starts again.
# limit: 600
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"

switch_signal() { on 2 sh -c "kill -$1 \$(cat /run/node/ovs-vswitchd.pid)"; }
reach() { on 1 skein guest exec client -- /bin/ping -c 1 -W 1 10.7.0.2; }
records() { on "$1" skein events -f json | jq -se "any(.[]; .what == \"$2\")"; }
runs_on() { look_running counter | awk '{ print $1 }'; }
nothing_on() { on "$1" sh -c '! ls /run/skein/netns | grep -q web'; }

ok 'a cluster of two' lab up -n 2 --conf profile=wan --join || bail 'no cluster'
"$skein_root/deploy/make-image" "$work/web.tar"
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' on 1 skein image add web /tmp/web.tar
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24
on 1 skein node cordon n2 >/dev/null
ok 'a guest' on 1 skein guest run web --image web --slice red -- /bin/counter 7000
on 1 skein node uncordon n2 >/dev/null
ok 'a client beside it' on 1 skein guest run client --image web --slice red --on n1 -- /bin/sleep 3600
ok 'that reaches it' wait_until 60 reach
same=$(the_copy counter)

ok "n2's switch hangs" switch_signal STOP
refused 'a move to it' 1 'switch\|plug\|prepare' on 1 skein guest migrate web --to n2 --timeout 120s
is 'the guest is the same process' "$(the_copy counter)" "$same"
ok 'and is reached' wait_until 60 reach
becomes 'no migration is left' 0 json 1 length skein migration list
ok "n2's events say which step failed" wait_until 60 records 2 migration-step-failed
ok 'all say that it was given up' wait_until 60 records 1 migration-abort
ok 'the switch goes on' switch_signal CONT
ok 'nothing of the guest is left there' wait_until 60 nothing_on 2

ok "n2's switch is killed" switch_signal KILL
ok 'a move to it waits until it is there again' on 1 skein guest migrate web --to n2 --timeout 120s
becomes 'the guest runs there, once' n2 runs_on
ok 'and is reached' wait_until 60 reach
done_testing
