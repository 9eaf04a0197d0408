#!/bin/bash
# A node is removed: its guests go elsewhere alive, Raft goes on without it, and it starts again as a board without a cluster,
# which may join anew. A dead node can be removed too. The leader, and the last but one: 57-remove-leader.t.
# limit: 600
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"

names() { json "$1" '[.[].name] | sort | join(" ")' skein node list; }
is_out() { [ "$(json "$1" .initialised skein status)" = false ]; }
leads() { lead=$(json 1 '.[] | select(.leader) | .name' skein node list); [ -n "$lead" ]; }
here() { on "$watcher" "$@"; }
id() { json "$watcher" .id skein node show "n$out"; }
state() { json "$watcher" .state skein node show "n$out"; }
n_voters() { json "$watcher" '[.[] | select(.role == "voter")] | length' skein node list; }
rejoin() { on "$out" skein join "$(here skein token create | tail -1)"; }
another_id() { local new; new=$(id) && [ -n "$new" ] && [ "$new" != "$first_id" ]; }
# How many copies of the guest run on the node, and how many elsewhere
copies() { look_running counter | awk -v n="n$out" '{ $1 == n ? a++ : b++ } END { print a + 0, b + 0 }'; }
# What the guest holds in its memory: one that was started anew holds nothing.
mark() { here skein guest exec "${1:-web}" -- /bin/cat /dev/shm/mark; }

ok 'a cluster of three' lab up -n 3 --conf profile=wan --join || bail 'no cluster'
watcher=1
becomes 'all vote' 3 n_voters
"$skein_root/deploy/make-image" "$work/web.tar"
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' on 1 skein image add web /tmp/web.tar
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24
ok 'one leads' wait_until 60 leads
for k in 1 2 3; do [ "n$k" = "$lead" ] || { out=$k; break; }; done
for k in 1 2 3; do [ "$k" = "$out" ] || on 1 skein node cordon "n$k" >/dev/null; done
ok "a guest on n$out" on 1 skein guest run web --image web --slice red --cores 1 --memory 32m -- /bin/counter 7000
ok 'and a container beside it' on 1 skein guest run box --kind lxc --image web --slice red --memory 32m --volume data:/srv -- \
    /bin/sh -c 'while :; do sleep 0.1; done'
for k in 1 2 3; do on 1 skein node uncordon "n$k" >/dev/null; done
watcher=${lead#n} third=$((6 - ${lead#n} - out))
others=$(printf '%s\n' "$lead" "n$third" | sort | paste -sd' ')
first_id=$(id)
ok 'which holds something in its memory' here skein guest exec web -- /bin/sh -c 'echo the same >/dev/shm/mark'
ok 'as does the container, and in a volume' here skein guest exec box -- /bin/sh -c 'echo the same >/dev/shm/mark; echo kept >/srv/mark'

refused 'an unknown node' 1 'no node' here skein node remove n9
becomes 'a dry run says that the guests would go' 'box web' \
    json "$watcher" '[.guests[] | select(.goes) | .guest] | sort | join(" ")' skein node remove "n$out" --dry-run
becomes 'and changes nothing' up state

# A follower with a running guest. A removal is refused, and asked for again, while one of the other voters is not heard.
ok 'a follower is removed' wait_until 60 here skein node remove "n$out"
becomes 'it is gone' "$others" names "$watcher"
becomes 'its guest runs elsewhere, once' '0 1' copies
becomes 'and was not started anew' 'the same' mark
becomes 'nor was the container' 'the same' mark box
is 'which has its volume' "$(here skein guest exec box -- /bin/cat /srv/mark)" kept
left() { on "$out" sh -c 'ls -d /run/skein/guests/* /run/skein/netns/*; pgrep -x skein-lxc' 2>/dev/null; }
becomes 'nothing of them stays on it' '' left
ok 'the container is not needed any more' here sh -c 'skein guest stop box && skein guest rm box'
ok 'the board has no cluster' wait_until 60 is_out "$out"
is 'and says why' "$(json "$out" .reason skein status | grep -c removed)" 1
ok 'it joins again' rejoin
ok 'under another id' wait_until 60 another_id
# The removal may have come before its guard had been told to remove them
kept() { on "$out" ls /var/lib/skein/volumes; }
becomes 'with no volumes of before' '' kept
becomes 'and votes' 3 n_voters

# A dead node, which learns of it when it is back
lab kill "n$out"
becomes 'a node dies' lost state
ok 'the dead node is removed' wait_until 60 here skein node remove "n$out"
becomes 'two vote' 2 n_voters
lab start "n$out"
ok 'back again it learns that it was removed' wait_until 60 is_out "$out"
ok 'it joins again' rejoin
becomes 'and votes' 3 n_voters

# A node that is cut off is removed and begins a cluster of its own, whose terms and indexes are lower: a frozen copy that it
# still has is the old cluster's, and goes; a guest of the same name is the new one's. What was on its way to it before its
# removal may reach it after the heal, and say that the guest is elsewhere: then the copy has gone already.
ok 'the guest moves to it' here skein guest migrate web --to "n$out"
becomes 'and runs there' '1 0' copies
old=$(the_copy counter)
lab cut "n$out"
becomes 'cut off it is lost' lost state
ok 'and removed' wait_until 60 here skein node remove "n$out"
becomes 'its guest runs elsewhere' '0 1' copies
lab heal "n$out"
ok 'healed it learns that it was removed' wait_until 60 is_out "$out"
echo "# its copy: $(look_processes counter | grep -qx "$old" && echo 'still there' || echo 'gone already')"
is 'no copy runs on it' "$(look_running counter | grep -c "^n$out ")" 0
ok 'it begins a cluster of its own' on "$out" skein init
ok 'the old copy goes' wait_until 60 look_has_ended "${old#* }"
on "$out" sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' on "$out" skein image add web /tmp/web.tar
ok 'a slice' on "$out" skein slice create red --subnet 10.7.0.0/24
ok 'a guest of the same name' on "$out" skein guest run web --image web --slice red --cores 1 --memory 32m -- /bin/counter 7000
becomes 'runs there, and one in the old cluster' '1 1' copies
done_testing
