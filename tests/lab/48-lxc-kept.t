#!/bin/bash
# What containers by liblxc keep: their volumes, over a stop, an end in place, moves by both modes, a move that fails, and a power-off of
# the node; and, protected, all else, from a checkpoint at their buddy, with their peers' connections reset.
# limit: 600
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"

run() { on 3 skein guest run "$@"; }
show() { json 3 "$2" skein guest show "$1"; }
in_guest() { on 3 skein guest exec "$1" -- "${@:2}"; }
# started GUEST: how often it was, by what it wrote to its volume at each start
started() { in_guest "$1" /bin/wc -l /var/lib/data/starts | awk '{ print $1 }'; }
has_started() { [ "$(started "$1")" = "$2" ]; }
runs_on() { look_running counter | awk '{ print $1 }' | tr '\n' ' '; }
# kept NODE GUEST: how many directories hold volumes of the guest there
kept() { on "${1#n}" sh -c 'ls -A /var/lib/skein/volumes | grep -c "$0\."' "$2"; }
has_none() { [ "$(kept "$1" "$2")" = 0 ]; }
other_than() { if [ "$1" = n1 ]; then echo n2; else echo n1; fi; }
is_state() { [ "$(show "$1" .state)" = "$2" ]; }
is_up() { [ "$(json 3 .state skein node show "$1")" = up ]; }
# Its terminal gives back what is written to it; the console stays open until somebody leaves it.
answered() { grep -q 'is anybody there' "$work/console"; }
answer() {
    : >"$work/console"
    (echo 'is anybody there'; wait_until 20 answered; printf '\035') | on 3 timeout 60 skein guest console web >"$work/console"
    answered
}

ok 'a cluster of three' lab up -n 3 --conf profile=wan --join || bail 'no cluster'
"$skein_root/deploy/make-image" "$work/root"
ln -s bin "$work/root/leads"
mkdir "$work/root/sbin"
printf '#!/bin/sh\ntrap "exit 0" PWR\necho start >>/var/lib/data/starts\nexec 5>>/var/lib/data/held\n/bin/counter 7000 &
while :; do sleep 0.05; n=$((n + 1)); echo "count $n"; done\n' >"$work/root/sbin/init"
chmod 755 "$work/root/sbin/init"
tar --create --file "$work/web.tar" --directory "$work/root" --owner 0 --group 0 .
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' on 1 skein image add web /tmp/web.tar
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24
ok 'n3 only answers' on 3 skein node cordon n3

refused 'a place that a link leads to' 1 'no plain directory' run a --kind lxc --image web --volume data:/leads/data -- /bin/true
on 3 sh -c 'skein guest stop a; skein guest rm a' >/dev/null
is 'nothing of it is there' "$(json 3 length skein guest list)" 0

# Kept in place
ok 'a container with two' run web --kind lxc --image web --slice red --memory 64m --volume data:/var/lib/data --volume log:/srv/log
ok 'it has begun' wait_until 60 has_started web 1
home=$(show web .node)
away=$(other_than "$home")
is 'show says what and where' "$(show web '[.volumes[] | "\(.name) \(.path) \(.node)"] | join(", ")')" \
    "data /var/lib/data $home, log /srv/log $home"
is 'and what is lost when' "$(show web '.losses | "\(.move) \(.stop) \(.node_loss)"')" '[] ["memory"] ["memory","files","volumes"]'
ok 'it fills them' in_guest web /bin/sh -c \
    'dd if=/dev/urandom of=/var/lib/data/blob bs=64k count=64; chown 5:6 /var/lib/data/blob; chmod 750 /srv/log; ln -s blob /srv/log/link'
content() {
    in_guest web /bin/sh -c 'md5sum /var/lib/data/blob; stat -c "%u %g %a" /var/lib/data/blob /srv/log; readlink /srv/log/link
        grep -c " /\(var/lib/data\|srv/log\) .*nodev" /proc/mounts'
}
before=$(content)
is 'mounted without devices' "$(tail -n 1 <<<"$before")" 2
ok 'it is stopped' on 3 skein guest stop web
on 3 skein node cordon "$home" >/dev/null
refused 'a start elsewhere' 3 "volumes are on $home" on 3 skein guest start web
on 3 skein node uncordon "$home" >/dev/null
ok 'it is started' on 3 skein guest start web
is 'where its volumes are' "$(show web .node)" "$home"
ok 'as at its first start' wait_until 60 has_started web 2
is 'with what was in them' "$(content)" "$before"
init=$(look_processes skein-lxc | awk '{ print $2; exit }')
kill -KILL "$init"
ok 'one that ends starts again' wait_until 60 has_started web 3
is 'with what was in them' "$(content)" "$before"

# Moves: one that fails when all is there, both modes
on "${away#n}" sh -c 'mv /usr/sbin/criu /usr/sbin/criu.real; cat >/usr/sbin/criu; chmod 755 /usr/sbin/criu' <<'S'
#!/bin/sh
[ "$1" != restore ] || exit 1
exec /usr/sbin/criu.real "$@"
S
fails 'a move whose container cannot be restored' on 3 skein guest migrate web --to "$away" --mode stop --timeout 60s
ok 'leaves it where it was' wait_until 60 is_state web running
is 'with all that it had' "$(show web .node) $(content)" "$home $before"
ok 'and nothing on the other node' wait_until 60 has_none "$away" web
on "${away#n}" mv /usr/sbin/criu.real /usr/sbin/criu
for mode in stop post; do
    ok "a move ($mode)" on 3 skein guest migrate web --to "$away" --mode $mode --timeout 60s
    is 'it is there, with all that it had' "$(show web .node) $(content)" "$away $before"
    is 'the file that it holds open is the one in the volume' \
        "$(in_guest web /bin/stat -L -c %i /proc/1/fd/5)" "$(in_guest web /bin/stat -c %i /var/lib/data/held)"
    ok 'nothing stays behind' wait_until 60 has_none "$home" web
    read -r home away <<<"$away $home"
done
is 'it was not started anew' "$(started web)" 3
ok 'it is stopped, and started' on 3 sh -c 'skein guest stop web && skein guest start web'
is 'where its volumes came to' "$(show web .node)" "$home"
ok 'as one that was there' wait_until 60 has_started web 4
is 'with what was in them' "$(content)" "$before"

# A power-off: a container that waits for its node, one that does not
ok 'one that stays' run stay --kind lxc --image web --memory 32m --on "$home" --failover stay --volume data:/var/lib/data -- \
    /bin/sh -c 'echo start >>/var/lib/data/starts; while :; do sleep 0.1; done'
ok 'it has begun' wait_until 60 has_started stay 1
lab kill "$home"
ok 'after a loss it runs elsewhere, with empty volumes' wait_until 120 has_started web 1
is 'on the other node' "$(show web '"\(.node) \(.volumes[0].node)"')" "$away $away"
is 'with nothing of before' "$(in_guest web /bin/ls /srv/log)" ''
lab start "$home"
ok 'the one that stays comes back with its own' wait_until 120 has_started stay 2
ok 'what was left of the other goes' wait_until 60 has_none "$home" web
ok 'the one that stays goes' on 3 sh -c 'skein guest stop stay && skein guest rm stay'
ok 'and its volumes with it' wait_until 60 has_none "$home" stay

# Protected
checkpoint() { show web '.protection.checkpoint.index // 0'; }
newer() { [ "$(checkpoint)" -gt "$at" ]; }
# one_more: a checkpoint that was begun after the call
one_more() { for _ in 1 2; do at=$(number checkpoint); wait_until 60 newer || return 1; done; }
events() { on 3 skein events -f json | jq -c "select(.guest == \"web\") | $1"; }
client_log() { on 3 skein guest logs client; }
count() { client_log | grep -o 'count=\?[ ]\?[0-9]*' | tail -1 | tr -dc 0-9; }
asks() { [ "$(count || echo 0)" -gt 100 ]; }
shells() { on 3 skein guest logs web | tr -d '\r' | sed -n 's/^count //p' | tail -n 1; }
on 3 skein node uncordon n3 >/dev/null
ok 'a client elsewhere' run client --image web --slice red --on n3 -- /bin/count "$(show web .ip)" 7000
ok 'is answered' wait_until 60 asks
on 3 skein node cordon n3 >/dev/null
is 'it is protected by nothing' "$(show web '"\(.failover) \(.protection)"')" 'restart null'
ok 'it is to be protected' on 3 skein guest set web --protect 1s
is 'a loss takes only the last second then' "$(show web '.losses.node_loss | join(" ")')" since_checkpoint
ok 'a checkpoint' wait_until 60 one_more
is 'its buddy is the other node' "$(show web .protection.buddy)" "$home"
ok 'its console beside' wait_until 60 answer
in_guest web /bin/sh -c 'echo kept >/srv/log/note; echo kept >/tmp/note; echo kept >/dev/shm/note'
ok 'one that holds what was written' wait_until 60 one_more
echo "# $(show web '.protection.checkpoint | "stood still for \(.frozen_ms) ms, \(.size_bytes) bytes"')"
n=$(number shells) early=$(count)
ok 'and two more' wait_until 60 one_more
# What its shell said is in the log once, with no number left out
gaps() { on 3 skein guest logs web | tr -d '\r' | sed -n 's/^count //p' | awk 'NR > 1 && $1 != last + 1 { print last, $1 } { last = $1 }'; }
is 'its log has no gap' "$(gaps)" ''
lab kill "$away"
resumed() { [ -n "$(events 'select(.what == "failover" and .timeline.resumed != null)')" ]; }
ok 'after a power-off it comes back' wait_until 120 resumed
echo "# $(events 'select(.what == "failover") | .text' | tail -n 1)"
is 'from its checkpoint' "$(events 'select(.what == "failover") | .timeline.resumed' | tail -n 1)" true
lost_ms=$(events 'select(.what == "failover") | .timeline.lost_ms' | tail -n 1)
ok 'with what was lost in ms' test "${lost_ms:-0}" -gt 0 -a "${lost_ms:-0}" -lt 60000
becomes 'at its buddy, once' "$home " runs_on
is 'with its volumes, its files and what lay in memory' "$(in_guest web /bin/cat /srv/log/note /tmp/note /dev/shm/note | tr '\n' ' ')" 'kept kept kept '
is 'without a start' "$(started web)" 1
shell_goes_on() { [ "$(shells)" -gt "$n" ]; }
ok 'its shell counts on, into its log' wait_until 60 shell_goes_on
is 'which has no gap' "$(gaps)" ''
served_again() { client_log | grep -q 'served_again.*connection=new'; }
ok 'the client is served again' wait_until 60 served_again
was_reset() { client_log | grep -q 'lost why=.*[Rr]eset'; }
ok 'over a new connection, as the old one was reset' wait_until 60 was_reset
again=$(client_log | sed -n 's/.*served_again.*count=\([0-9]*\).*/\1/p' | tail -1)
ok 'and its count goes on from the checkpoint' test "${again:-0}" -ge "$early"
ok 'its console' wait_until 60 answer
lab start "$away"
ok 'the dead node is back' wait_until 120 is_up "$away"
ok 'and its new buddy' wait_until 60 one_more
ok 'to which it moves' on 3 skein guest migrate web --to "$away" --timeout 60s
is 'with all that it had' "$(show web .node) $(in_guest web /bin/cat /srv/log/note /tmp/note /dev/shm/note | tr '\n' ' ')" "$away kept kept kept "
is 'without a start' "$(started web)" 1
is 'it is protected no more' "$(on 3 skein guest set web --protect off >/dev/null; show web '"\(.failover) \(.protection)"')" 'restart null'
none() { for k in 1 2 3; do on $k sh -c '! ls /var/lib/skein/checkpoints | grep -qv upload' || return 1; done; }
ok 'no checkpoint is left' wait_until 60 none

ok 'it is removed' on 3 sh -c 'skein guest stop web && skein guest rm web'
ok 'and its volumes with it' wait_until 60 has_none "$away" web
done_testing
