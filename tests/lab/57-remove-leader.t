#!/bin/bash
# The leader is removed: another one leads first, and the guests go on. Then the last but one: a cluster of two becomes one of one.
# limit: 900
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"

names() { json "$1" '[.[].name] | sort | join(" ")' skein node list; }
is_out() { [ "$(json "$1" .initialised skein status)" = false ]; }
leads() { lead=$(json "$1" '.[] | select(.leader) | .name' skein node list); [ -n "$lead" ]; }
n_voters() { json "$1" '[.[] | select(.role == "voter")] | length' skein node list; }

ok 'a cluster of three' lab up -n 3 --conf profile=wan --join || bail 'no cluster'
becomes 'all vote' 3 n_voters 1
"$skein_root/deploy/make-image" "$work/web.tar"
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' on 1 skein image add web /tmp/web.tar
ok 'a guest' on 1 skein guest run web --image web -- /bin/counter 7000
ok 'one leads' wait_until 60 leads 1
old=${lead#n} out=2
[ $old != 2 ] || out=3
third=$((6 - old - out))
others=$(printf 'n%s\n' $out $third | sort | paste -sd' ')

# The leader itself. A removal is refused, and asked for again, while one of the other voters is not heard.
ok 'the leader is removed' wait_until 60 on $out skein node remove "n$old"
becomes 'it is gone' "$others" names $out
ok 'another node leads' wait_until 60 leads $out
ok 'the guest runs once' the_copy counter
ok 'the old leader has no cluster' wait_until 120 is_out $old

# To the last
ok 'two become one' wait_until 60 on $out skein node remove n$third
ok 'the one decides alone' on $out skein slice create blue --subnet 10.8.0.0/24
refused 'the only node' 1 'only node' on $out skein node remove n$out
ok 'the guest runs once still' the_copy counter
done_testing
