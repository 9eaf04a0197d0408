#!/bin/bash
# Volumes: kept over a stop, an end in place and a power-off of the node; they move with the guest, whole, and stay where they were
# when a move fails; after a loss they begin empty, and what is left of them goes. A protected guest's come back with it.
# limit: 180
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"

run() { on 1 skein guest run "$@"; }
show() { json 1 "$2" skein guest show "$1"; }
in_guest() { on 1 skein guest exec "$1" -- "${@:2}"; }
# started GUEST: how often it was, by what it wrote to its volume at each start
started() { in_guest "$1" /bin/wc -l /var/lib/data/starts | awk '{ print $1 }'; }
has_started() { [ "$(started "$1")" = "$2" ]; }
counts() { [ "$(look_running counter | wc -l)" = 1 ]; }
# kept NODE GUEST: how many directories hold volumes of the guest there
kept() { on "${1#n}" sh -c 'ls -A /var/lib/skein/volumes | grep -c "$0\."' "$2"; }
has_none() { [ "$(kept "$1" "$2")" = 0 ]; }
other_than() { if [ "$1" = n2 ]; then echo n3; else echo n2; fi; }
is_state() { [ "$(show "$1" .state)" = "$2" ]; }
is_at() { [ "$(show "$1" .node)" = "$2" ]; }
note() { echo "echo start >>/var/lib/data/starts; $1"; }

ok 'a cluster of three' lab up -n 3 --join || bail 'no cluster'
"$skein_root/deploy/make-image" "$work/web.tar"
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' on 1 skein image add web /tmp/web.tar
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24
ok 'n1 only answers' on 1 skein node cordon n1

refused 'no path' 2 'NAME:/path' run a --image web --volume data -- /bin/true
refused 'a bad name' 2 'no name' run a --image web --volume Data:/srv -- /bin/true
refused 'a relative path' 2 'no absolute path' run a --image web --volume data:srv -- /bin/true
refused 'a way out' 2 "without '.', '..'" run a --image web --volume data:/srv/../../etc -- /bin/true
refused 'the root' 2 'cannot be the root' run a --image web --volume data:/ -- /bin/true
refused 'the place of devices' 2 '/dev' run a --image web --volume data:/dev/shm -- /bin/true
refused 'a name twice' 2 'two volumes are named data' run a --image web --volume data:/a --volume data:/b -- /bin/true
refused 'a path twice' 2 'both at /a' run a --image web --volume a:/a --volume b:/a -- /bin/true
refused 'one in another' 2 'within' run a --image web --volume a:/a --volume b:/a/b -- /bin/true
refused 'of a machine' 2 'a vm has none' run a --image web --kind vm --volume data:/srv
is 'nothing of these is there' "$(json 1 length skein guest list)" 0

# Kept in place
ok 'a guest with two' run web --image web --slice red --volume data:/var/lib/data --volume log:/srv/log -- \
    /bin/sh -c "$(note 'exec 5>>/var/lib/data/held; exec /bin/counter 7000')"
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
ok 'it is stopped' on 1 skein guest stop web
on 1 skein node cordon "$home" >/dev/null
refused 'a start elsewhere' 3 "volumes are on $home" on 1 skein guest start web
on 1 skein node uncordon "$home" >/dev/null
ok 'it is started' on 1 skein guest start web
is 'where its volumes are' "$(show web .node)" "$home"
is 'with what was in them' "$(content)" "$before"
ok 'as at its first start' wait_until 20 has_started web 2
ok 'it runs' wait_until 20 counts
kill -KILL "$(look_running counter | awk '{ print $2 }')"
ok 'one that ends starts again' wait_until 30 has_started web 3
ok 'and runs' wait_until 20 counts

# Moves: one that fails when all is there, both modes, a drain
on "${away#n}" sh -c 'mv /usr/sbin/criu /usr/sbin/criu.real; cat >/usr/sbin/criu; chmod 755 /usr/sbin/criu' <<'S'
#!/bin/sh
[ "$1" != restore ] || exit 1
exec /usr/sbin/criu.real "$@"
S
fails 'a move whose guest cannot be restored' on 1 skein guest migrate web --to "$away" --mode stop --timeout 60s
ok 'leaves it where it was' wait_until 30 is_state web running
is 'that is there' "$(show web .node)" "$home"
is 'with all that it had' "$(content)" "$before"
ok 'and nothing on the other node' wait_until 30 has_none "$away" web
on "${away#n}" mv /usr/sbin/criu.real /usr/sbin/criu
ok 'a move' on 1 skein guest migrate web --to "$away" --mode stop --timeout 60s
is 'it is there' "$(show web .node)" "$away"
is 'with all that it had' "$(content)" "$before"
is 'and the file that it holds open is the one in the volume' \
    "$(in_guest web /bin/sh -c 'stat -L -c %i "/proc/$(pidof counter)/fd/5"')" "$(in_guest web /bin/stat -c %i /var/lib/data/held)"
ok 'nothing stays behind' wait_until 30 has_none "$home" web
ok 'back, its memory behind' on 1 skein guest migrate web --to "$home" --mode post --timeout 60s
is 'with all that it had' "$(content)" "$before"
ok 'nothing stays behind' wait_until 30 has_none "$away" web
ok 'its node is drained' on 1 skein node drain "$home"
is 'it went with all that it had' "$(show web .node) $(content)" "$away $before"
is 'never started anew' "$(started web)" 3
ok 'nothing stays behind' wait_until 30 has_none "$home" web
on 1 skein node undrain "$home" >/dev/null

# Power-offs: of one that waits for its node, one that does not, one that has checkpoints
ok 'one that stays' run stay --image web --on "$away" --failover stay --volume data:/var/lib/data -- /bin/sh -c "$(note 'exec sleep 3600')"
ok 'it has begun' wait_until 20 has_started stay 1
lab kill "$away"
ok 'after a loss it runs elsewhere' wait_until 60 has_started web 1
is 'with empty volumes' "$(in_guest web /bin/ls /srv/log)" ''
is 'on the other node' "$(show web '"\(.node) \(.volumes[0].node)"')" "$home $home"
lab start "$away"
ok 'the one that stays comes back with its own' wait_until 60 has_started stay 2
ok 'what was left of the other goes' wait_until 60 has_none "$away" web
ok 'protected' on 1 skein guest set web --protect 1s
in_guest web /bin/sh -c 'echo kept >/srv/log/note'
is 'a loss takes only the last second then' "$(show web '.losses.node_loss | join(" ")')" since_checkpoint
checkpoint() { show web '.protection.checkpoint.index // 0'; }
newer() { [ "$(checkpoint)" -gt "$at" ]; }
looked() { at=$(checkpoint) && [ -n "$at" ]; }
wait_until 30 looked
ok 'a checkpoint' wait_until 60 newer
wait_until 30 looked
ok 'and one that holds what was written' wait_until 60 newer
lab kill "$home"
has_note() { [ "$(in_guest web /bin/cat /srv/log/note)" = kept ]; }
ok 'after its node is gone it goes on with its volumes' wait_until 60 has_note
is 'without a start' "$(started web)" 1

ok 'it is removed' on 1 sh -c 'skein guest stop web && skein guest rm web'
ok 'and its volumes with it' wait_until 60 has_none "$away" web
done_testing
