#!/bin/bash
# What crosses the wires: a capture of join, Raft, image and migration traffic holds none of the planted markers.
# limit: 600
. "$(dirname "$0")/lib.sh"

marker=PLANTED-$(od -An -N8 -tx8 /dev/urandom | tr -d ' ')
switch=skein-lab-$LAB
capture=$work/capture
shows() { on 1 bash -c "printf '%s' $1-$marker >/dev/udp/10.90.0.2/9"; grep -aqF -- "$1-$marker" "$capture"; }
place() { json 1 .node skein guest show web; }
moved() { local now; now=$(place) && [ -n "$now" ] && [ "$now" != "$from" ]; }
image=$("$skein_root/deploy/image")

ok 'three nodes' lab up -n 3 --conf profile=wan || bail 'no lab'
# tcpdump of the node image, in the namespace of the switch, which every packet crosses
ip netns exec "$switch" chroot "$image" /usr/bin/tcpdump -i any -U -s 0 -w - 2>"$work/tcpdump" >"$capture" &
dump=$!
trap 'kill "$dump" 2>/dev/null; wait "$dump" 2>/dev/null; lab down; rm -rf "$work"' EXIT
listening() { grep -q listening "$work/tcpdump"; }
ok 'capturing' wait_until 60 listening

# The capture sees what is not sealed
ok 'the capture shows a marker sent in clear' wait_until 60 shows CONTROL

on 1 skein init >/dev/null
token=$(on 1 skein token create | tail -n 1)
ok 'join with a marker in a label' on 2 skein join "$token" --label "secret=JOIN-$marker"
ok 'join' on 3 skein join "$(on 1 skein token create | tail -n 1)"
"$skein_root/deploy/make-image" "$work/root"
echo "IMAGE-$marker" >"$work/root/marker"
tar -C "$work/root" -cf "$work/web.tar" .
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image with a marker' on 1 skein image add web /tmp/web.tar
ok 'a guest with a marker in its environment' on 1 skein guest run web --image web --env "SECRET=RAFT-$marker" -- /bin/counter 7000
ok 'exec with a marker' on 2 skein guest exec web -- /bin/sh -c "echo UPPER-$marker >/written; echo EXEC-$marker"
from=$(place)
is 'migration of its memory and of what it wrote' "$(json 1 '"\(.from) \(.mode)"' skein guest migrate web)" "$from stop-and-copy"
ok 'it moved' wait_until 60 moved
is 'what it wrote came along' "$(on 3 skein guest exec web -- /bin/cat /written)" "UPPER-$marker"
ok 'the capture went on to the end' wait_until 60 shows END
for what in JOIN RAFT IMAGE UPPER EXEC; do
    is "no $what marker in $(($(stat -c %s "$capture") / 1024)) KiB captured" "$(grep -acF -- "$what-$marker" "$capture")" 0
done
is 'nor the token' "$(grep -acF -- "$token" "$capture")" 0
done_testing
