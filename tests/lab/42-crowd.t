#!/bin/bash
# A guest to whom connections are made all the time is moved: none may wait at its socket, not accepted yet, when CRIU dumps it.
# limit: 180
. "$(dirname "$0")/lib.sh"

moves=10
place() { json 1 .node skein guest show web; }
n_served() { on 1 skein guest logs crowd | grep -c served; }
is_served_on() { [ "$(n_served)" -gt "$1" ]; }

ok 'a cluster of three' lab up -n 3 --backhaul 1gbit --conf profile=wan --join || bail 'no cluster'
"$skein_root/deploy/make-image" "$work/web.tar"
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' on 1 skein image add web /tmp/web.tar
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24
on 1 skein node cordon n3 >/dev/null
ok 'a server' on 1 skein guest run web --image web --slice red --cores 1 -- /bin/sh -c 'echo hello >/tmp/hello; exec httpd -f -p 8000 -h /tmp'
address=$(json 1 .ip skein guest show web)
on 1 skein node uncordon n3 >/dev/null
ok 'a crowd of clients, a connection for each question' on 1 skein guest run crowd --image web --slice red --on n3 -- \
    /bin/sh -c "for k in 1 2 3 4; do while :; do wget -q -T 1 -O /dev/null http://$address:8000/hello && echo served; done & done; wait"
on 1 skein node cordon n3 >/dev/null
ok 'is served' wait_until 30 is_served_on 100

# One that was started anew would have forgotten it
mark() { on 1 skein guest exec web -- /bin/cat /dev/shm/mark; }
on 1 skein guest exec web -- /bin/sh -c 'echo one >/dev/shm/mark'
for ((i = 1; i <= moves; i++)); do
    ok "move $i" on 1 skein guest migrate web --to "$([ "$(place)" = n1 ] && echo n2 || echo n1)" --mode stop
    ok 'it serves them on' wait_until 30 is_served_on "$(n_served)"
done
is 'it is the same guest still' "$(mark)" one
done_testing
