#!/bin/bash
# A node is removed: its guests go elsewhere alive, Raft goes on without it, and it starts again as a board without a cluster,
# which may join anew. A dead node can be removed too. The leader, and the last but one: 57-remove-leader.t.
# limit: 240
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"

names() { json "$1" '[.[].name] | sort | join(" ")' skein node list; }
is_out() { [ "$(json "$1" .initialised skein status)" = false ]; }
leader() { json "$1" '.[] | select(.leader) | .name' skein node list; }
is_lost() { [ "$(json "$1" .state skein node show "$2")" = lost ]; }
n_voters() { json "$1" '[.[] | select(.role == "voter")] | length' skein node list; }
votes() { [ "$(n_voters "$1")" = "$2" ]; }
rejoin() { on "$1" skein join "$(on "$2" skein token create | tail -1)"; }

ok 'a cluster of three' lab up -n 3 --join || bail 'no cluster'
ok 'all vote' wait_until 10 votes 1 3
"$skein_root/deploy/make-image" "$work/web.tar"
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' on 1 skein image add web /tmp/web.tar
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24
lead=$(leader 1)
for k in 1 2 3; do [ "n$k" = "$lead" ] || { out=$k; break; }; done
for k in 1 2 3; do [ "$k" = "$out" ] || on 1 skein node cordon "n$k" >/dev/null; done
ok "a guest on n$out" on 1 skein guest run web --image web --slice red --cores 1 --memory 32m -- /bin/counter 7000
for k in 1 2 3; do on 1 skein node uncordon "n$k" >/dev/null; done
watcher=${lead#n}
id=$(json "$watcher" .id skein node show "n$out")

refused 'an unknown node' 1 'no node' on "$watcher" skein node remove n9
is 'a dry run says where the guest would go' \
    "$(json "$watcher" '[.guests[] | select(.goes) | .guest] | join(" ")' skein node remove "n$out" --dry-run)" web
is 'and changes nothing' "$(json "$watcher" .state skein node show "n$out")" up

# A follower with a running guest
ok 'a follower is removed' on "$watcher" skein node remove "n$out"
is 'it is gone' "$(names "$watcher" | grep -c "n$out")" 0
is 'its guest runs elsewhere, once' "$(look_running counter | wc -l)" 1
is 'and was not started anew' "$(json "$watcher" '[.[].restarts // 0] | add' skein guest list)" 0
ok 'the board has no cluster' wait_until 15 is_out "$out"
is 'and says why' "$(json "$out" .reason skein status | grep -c removed)" 1
ok 'it joins again' rejoin "$out" "$watcher"
fails 'under another id' test "$(json "$watcher" .id skein node show "n$out")" = "$id"
ok 'and votes' wait_until 15 votes "$watcher" 3

# A dead node, which learns of it when it is back
lab kill "n$out"
ok 'a node dies' wait_until 15 is_lost "$watcher" "n$out"
ok 'the dead node is removed' on "$watcher" skein node remove "n$out"
ok 'two vote' wait_until 10 votes "$watcher" 2
lab start "n$out"
ok 'back again it learns that it was removed' wait_until 30 is_out "$out"
ok 'it joins again' rejoin "$out" "$watcher"
ok 'and votes' wait_until 15 votes "$watcher" 3

# A node that is cut off is removed and begins a cluster of its own, whose terms and indexes are lower: the frozen copy that it
# still has is the old cluster's, and goes; a guest of the same name is the new one's
ok 'the guest moves to it' on "$watcher" skein guest migrate web --to "n$out"
old=$(look_running counter)
lab cut "n$out"
ok 'cut off it is lost' wait_until 15 is_lost "$watcher" "n$out"
ok 'and removed' on "$watcher" skein node remove "n$out"
lab heal "n$out"
ok 'healed it learns that it was removed' wait_until 30 is_out "$out"
is 'its copy of the guest is still there, frozen' "$(look_processes counter | grep -c "^$old$") $(look_running counter | grep -c "^n$out ")" '1 0'
ok 'it begins a cluster of its own' on "$out" skein init
old_is_gone() { [ ! -e "/proc/${old#* }" ] || look_is_zombie "${old#* }"; }
ok 'the old copy goes' wait_until 10 old_is_gone
on "$out" sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' on "$out" skein image add web /tmp/web.tar
ok 'a slice' on "$out" skein slice create red --subnet 10.7.0.0/24
ok 'a guest of the same name' on "$out" skein guest run web --image web --slice red --cores 1 --memory 32m -- /bin/counter 7000
is 'runs there' "$(look_running counter | grep -c "^n$out ")" 1
is 'and one in the old cluster' "$(look_running counter | grep -vc "^n$out ")" 1

done_testing
