#!/bin/bash
# skeind built with TSan on three nodes, while all of its threads have work: joining, images by need, moves of both kinds, checkpoints,
# a volume, a power-off, a drain, the end of a daemon. On demand (tests/run threads): it takes several times the processor.
# limit: 1200
. "$(dirname "$0")/../lib.sh"

run() { on 1 skein guest run "$@"; }
show() { json 1 "$2" skein guest show "$1"; }
is_running() { [ "$(show "$1" .state)" = running ]; }
node_state() { json 1 .state skein node show "$1"; }
has_checkpoint() { [ "$(show kept '.protection.checkpoint.index // 0')" -gt 0 ]; }
was_resumed() { is_running kept && [ "$(show kept .node)" != "$1" ]; }

# Its own skeind on node K, in place of the one that every power-on installs; TSan's words go to /var/log/threads.
watched=$("$skein_root/deploy/build" --sanitize-threads) || bail 'no build with TSan'
is_watched() { on "$1" sh -c 'grep -q libtsan /proc/$(cat /run/node/skeind.pid)/maps && skein status >/dev/null || skein status 2>&1 | grep -q "skein init"'; }
watch_threads() {
    on "$1" sh -c 'mkdir -p /opt /var/log/threads && chmod 777 /var/log/threads && cat >/opt/skeind && chmod 755 /opt/skeind' <"$watched/agent/skeind"
    on "$1" sh -c 'cat >/opt/threads.supp' <"$skein_root/tests/threads.supp"
    on "$1" sh -c 'rm /usr/bin/skeind; cat >/usr/bin/skeind; chmod 755 /usr/bin/skeind; kill "$(cat /run/node/skeind.pid)"' <<'S'
#!/bin/sh
TSAN_OPTIONS='suppressions=/opt/threads.supp log_path=/var/log/threads/log' exec /opt/skeind "$@"
S
    ok "skeind on n$1 is watched" wait_until 60 is_watched "$1"
}

ok 'three nodes' lab up -n 3 --conf profile=wan || bail 'no lab'
for k in 1 2 3; do watch_threads "$k"; done
ok 'a cluster' on 1 skein init
for k in 2 3; do
    join() { on "$k" skein join "$(on 1 skein token create | tail -n 1)"; }
    ok "n$k joins" wait_until 120 join
done
"$skein_root/deploy/make-image" "$work/web.tar"
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24
ok 'an image' on 1 skein image add web /tmp/web.tar --copies 1
ok 'a guest' run web --image web --slice red --cores 1 -- /bin/counter 7000
ok 'one with a volume' run store --image web --volume data:/data -- /bin/sh -c 'date >/data/day; exec sleep 3600'
ok 'one that is protected' run kept --image web --slice red --protect 2s -- /bin/counter 7000
ok 'its checkpoint reaches its buddy' wait_until 120 has_checkpoint
ok 'what a guest says and uses is shown' on 1 skein guest exec web -- /bin/true
on 3 skein top --once >"$work/top"
for mode in stop post; do
    from=$(show web .node)
    to=$([ "$from" = n2 ] && echo n3 || echo n2)
    ok "a move from $from to $to, $mode" on 1 skein guest migrate web --to "$to" --mode "$mode"
    ok 'it runs' wait_until 60 is_running web
done
ok 'a move of the one with a volume' on 1 skein guest migrate store --to "$([ "$(show store .node)" = n3 ] && echo n1 || echo n3)"

# A power-off of the protected guest's node; n1 stays, as it is asked
ok 'a guest away from n1' on 1 skein guest migrate kept --to n2
ok 'with a checkpoint' wait_until 120 has_checkpoint
lab kill n2
ok 'after a power-off it goes on elsewhere' wait_until 120 was_resumed n2
lab start n2
watch_threads 2
becomes 'the node returns' up node_state n2
ok 'a node is emptied' on 1 skein node drain n3
on 1 sh -c 'kill -9 "$(cat /run/node/skein-guard.pid)"'
ok 'n1 answers after the death of its guard' wait_until 60 on 1 skein node list
ok 'a node leaves the cluster' on 1 skein node remove n3
for k in 1 2; do
    on "$k" sh -c 'kill "$(cat /run/node/skeind.pid)"'
    ok "skeind on n$k ends and comes back" wait_until 60 on "$k" skein node list
done
for k in 1 2 3; do
    on "$k" sh -c 'cat /var/log/threads/* 2>/dev/null' | sed 's/^/# /' | head -n 200 | tee "$work/races"
    is "no two threads of n$k's skeind met without an order" "$(grep -c 'WARNING: ThreadSanitizer' "$work/races")" 0
done
done_testing
