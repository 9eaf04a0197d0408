#!/bin/bash
# A node is drained: its guests go elsewhere alive, the most important first; what cannot go is named and stays.
# limit: 180
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"

on_node() { json 1 '[.[] | select(.node == "'"$1"'") | .name] | sort | join(" ")' skein guest list; }
node_state() { json 1 .state skein node show "$1"; }
one_each() { [ "$(look_running counter | wc -l)" = 3 ]; }
in_flight() { json 1 length skein migration list; }
is_calm() { [ "$(in_flight)" = 0 ]; }

ok 'a cluster of three' lab up -n 3 --join || bail 'no cluster'
"$skein_root/deploy/make-image" "$work/web.tar"
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' on 1 skein image add web /tmp/web.tar
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24

# Three guests on n2: the others take none meanwhile
for k in 1 3; do on 1 skein node cordon "n$k" >/dev/null; done
for g in a b c; do
    ok "guest $g" on 1 skein guest run "$g" --image web --slice red --cores 1 --memory 32m --priority "$((100 + $(printf %d "'$g")))" \
        -- /bin/counter 7000
done
for k in 1 3; do on 1 skein node uncordon "n$k" >/dev/null; done
is 'all stand on n2' "$(on_node n2)" 'a b c'
before=$(json 1 '[.[].epoch] | join(" ")' skein guest list)

refused 'an unknown node' 1 'no node' on 1 skein node drain n9
ok 'a dry run' on 1 skein node drain n2 --dry-run
is 'names a place for each, the most important first' \
    "$(json 1 '[.guests[] | select(.goes and .to != "n2") | .guest] | join(" ")' skein node drain n2 --dry-run)" 'c b a'
is 'and changes nothing' "$(json 1 '[.[].epoch] | join(" ")' skein guest list)" "$before"
is 'not even the node' "$(node_state n2)" up

start=$(date +%s%N)
ok 'the drain' on 3 skein node drain n2
echo "# three guests in $((($(date +%s%N) - start) / 1000000)) ms"
is 'n2 is empty' "$(on_node n2)" ''
is 'and says so' "$(node_state n2)" draining
ok 'each guest runs once' one_each
is 'none was started anew' "$(json 1 '[.[].restarts // 0] | add' skein guest list)" 0
ok 'no migration is left' wait_until 5 is_calm
refused 'a guest that must be there' 3 drain on 1 skein guest run d --image web --on n2 -- /bin/counter 7000

ok 'the drain ends' on 1 skein node undrain n2
is 'n2 is up' "$(node_state n2)" up
ok 'a guest bound to n2' on 1 skein guest run bound --image web --slice red --on n2 -- /bin/sleep 3600
refused 'the next drain names it' 3 'bound.*n2' on 1 skein node drain n2
is 'it runs on' "$(on_node n2)" bound
fails 'so does a dry run' on 1 skein node drain n2 --dry-run
ok 'the end of it' on 1 skein node undrain n2

# A migration is listed while it is in flight, and an unknown one cannot be called off
refused 'no such migration' 1 'over or was never' on 1 skein migration cancel 4711
refused 'nor shown' 1 'in flight' on 1 skein migration show 4711
done_testing
