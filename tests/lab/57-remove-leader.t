#!/bin/bash
# The leader is removed: another one leads first, and the guests go on. Then the last but one: a cluster of two becomes one of one.
# limit: 240
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"

names() { json "$1" '[.[].name] | sort | join(" ")' skein node list; }
is_out() { [ "$(json "$1" .initialised skein status)" = false ]; }
leader() { json "$1" '.[] | select(.leader) | .name' skein node list; }
n_voters() { json "$1" '[.[] | select(.role == "voter")] | length' skein node list; }
votes() { [ "$(n_voters "$1")" = "$2" ]; }

ok 'a cluster of three' lab up -n 3 --join || bail 'no cluster'
ok 'all vote' wait_until 10 votes 1 3
"$skein_root/deploy/make-image" "$work/web.tar"
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' on 1 skein image add web /tmp/web.tar
ok 'a guest' on 1 skein guest run web --image web -- /bin/counter 7000
lead=$(leader 1)
out=2
[ "$lead" != n2 ] || out=3

# The leader itself
ok 'the leader is removed' on "$out" skein node remove "$lead"
is 'it is gone' "$(names "$out" | grep -c "$lead")" 0
is 'another node leads' "$(leader "$out" | grep -c .)" 1
is 'the guest runs once' "$(look_running counter | wc -l)" 1
ok 'the old leader has no cluster' wait_until 60 is_out "${lead#n}"

# To the last
for k in 1 2 3; do [ "n$k" = "$lead" ] || [ "$k" = "$out" ] || third=$k; done
ok 'two become one' on "$out" skein node remove "n$third"
ok 'the one decides alone' on "$out" skein slice create blue --subnet 10.8.0.0/24
refused 'the only node' 1 'only node' on "$out" skein node remove "n$out"
is 'the guest runs once still' "$(look_running counter | wc -l)" 1
done_testing
