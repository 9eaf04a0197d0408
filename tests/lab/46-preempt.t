#!/bin/bash
# No room: the less important are refused, or give way, as configured; status, plan and events say who waits because of whom.
# limit: 300
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"

run() { on 1 skein guest run "$@"; }
show() { json "${3:-1}" "$2" skein guest show "$1"; }
plan() {
    on 1 sh -c 'skein guest plan top --image web --cores 2 --priority 200 "$@" -f json -- /bin/counter 7000 2>/dev/null |
        jq -c "[.chosen, .preempts]"' plan "$@"
}
is_state() { [ "$(show "$1" .state "${3:-1}")" = "$2" ]; }
warned() { json "${2:-1}" '.warnings[]' skein status | grep -q "$1"; }
n_running() { look_running "$1" | wc -l; }

ok 'a cluster of three' lab up -n 3 --conf profile=wan --join || bail 'no cluster'
"$skein_root/deploy/make-image" "$work/web.tar"
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' on 1 skein image add web /tmp/web.tar
for k in 1 2 3; do # every isolated core is taken; low1 is the least important
    ok "low$k on n$k" run "low$k" --image web --on "n$k" --cores 3 --priority "$((k * 10))" -- /bin/sleep 3600
done

# As it is at first: refused, with each node's reason
refused 'without preemption there is no place' 3 'n2: 0 of 3 isolated cores free' run top --image web --cores 2 --priority 200 -- /bin/counter 7000
is 'and nothing was made' "$(json 1 length skein guest list)" 3
becomes 'the plan says the same' '[null,[]]' plan

# One that may preempt
becomes 'the plan names whom it would preempt, and where' '["n1",["low1"]]' plan --preempt on
ok 'it runs' run top --image web --cores 2 --priority 200 --preempt on -- /bin/counter 7000
is 'in its place' "$(show top .node)" n1
becomes 'the other waits, still meant to run' 'pending running top' show low1 '"\(.state) \(.desired) \(.preempted_by)"'
untouched() { echo "$(n_running counter) $(show low2 '"\(.state) \(.starts)"') $(show low3 '"\(.state) \(.starts)"')"; }
becomes 'once, and nobody else was touched' '1 running 1 running 1' untouched
ok 'status says because of whom' wait_until 60 warned 'low1 .*since it gave way to guest top'
events_say() { on 1 skein events | grep -q "$1"; }
ok 'events as well' wait_until 60 events_say 'guest-evict.*low1 gives way to it'
refused 'one no more important is refused' 3 'isolated cores free' run equal --image web --cores 2 --priority 10 --preempt on -- /bin/sleep 3600

# Room again
ok 'it is stopped' on 1 skein guest stop top
ok 'the other comes back' wait_until 60 is_state low1 running
becomes 'having given way to nobody any more' null show low1 .preempted_by

# As the default of the cluster
ok 'preemption for all' on 1 skein cluster preemption on
is 'status has it' "$(json 1 .preemption skein status)" true
refused 'but not for one that will not' 3 'isolated cores free' run shy --image web --cores 2 --priority 200 --preempt off -- /bin/sleep 3600
ok 'the other starts again in its place' on 1 skein guest start top
becomes 'again the least important waits' 'pending top' show low1 '"\(.state) \(.preempted_by)"'

# A node dies: the most important comes back at the cost of the least important one that is left
lab kill n1
runs_elsewhere() { look_running counter | grep -qv '^n1 '; }
ok 'after a power-off it runs elsewhere' wait_until 60 runs_elsewhere
becomes 'once' 1 n_running counter
victims() { echo "$(show low2 '"\(.state) \(.preempted_by)"' 2) $(show low3 .state 2)"; }
becomes 'in the place of the less important of the two' 'pending top running' victims
done_testing
