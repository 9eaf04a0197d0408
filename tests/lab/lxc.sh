# What scenarios of containers by liblxc whose memory follows them begin with (sourced after lib.sh): "web" of 24 MiB, which checks its
# memory, answers a client on n3, and starts processes all the time, on n1; n2 has nothing of it.
. "$skein_root/deploy/look.sh"

show() { json "${watcher:-1}" "$2" skein guest show "$1"; }
node_of() { show web .node; }
other() { [ "$1" = n1 ] && echo n2 || echo n1; }
log() { on 3 skein guest logs web | tr -d '\r'; }
# Every page was read, since the call.
passes() { log | grep -c '^pass '; }
passes_beyond() { [ "$(passes)" -gt "$1" ]; }
reads_all() { wait_until 120 passes_beyond $(($(passes) + 1)); }
bad() { log | sed -n 's/^pass [0-9]*: [0-9]* pages, \([0-9]*\) bad$/\1/p' | sort -n | tail -n 1; }
# move MODE FLAGS...: to the other of n1 and n2; the answer is in $work/moved
move() { on 3 skein guest migrate web --to "$(other "$(node_of)")" --mode "$1" --timeout 60s -f json "${@:2}" >"$work/moved"; }
# slowly TO RATE: its memory follows at that rate, in the background
slowly() { on 3 skein guest migrate web --to "$1" --mode post --bandwidth "$2" --timeout 120s -f json >"$work/moved" 2>"$work/error" & }
moved() { jq -r "$1" <"$work/moved"; }
is_fetching() { [ "$(json 3 '.[0].step' skein migration list)" = fetching ]; }
is_fetching_in_time() { wait_until 60 is_fetching || { cat "$work/moved" "$work/error"; on 3 skein events | tail -n 20; return 1; }; }
is_over() { [ "$(json 3 length skein migration list)" = 0 ]; }
client_log() { on 3 sh -c "cat /proc/\$(pgrep -x count | head -n 1)/root/count.log"; }
is_connected() { client_log | grep -q connected; }
# Its terminal gives back what is written to it; the console stays open until somebody leaves it.
answered() { grep -q 'is anybody there' "$work/console"; }
answer() {
    : >"$work/console"
    (echo 'is anybody there'; wait_until 20 answered; printf '\035') | on 3 timeout 60 skein guest console web >"$work/console"
    answered
}
leftovers() { on "$1" sh -c 'find /run/skein/guests -maxdepth 2 -name "checkpoint*"; pgrep -x criu'; }
is_tidy() { [ -z "$(leftovers 1)$(leftovers 2)" ]; }
runs_on() { look_running counter | awk '{ print $1 }' | tr '\n' ' '; }
began_again() { [ "$(show web .state)" = running ] && [ "$(runs_on | wc -w)" = 1 ] && is_over; }

# begin_lxc [TIMES]: the client is so many times more patient (deploy/examples/count.c)
begin_lxc() {
    ok 'a cluster of three' lab up -n 3 --conf profile=wan --join --backhaul 1000mbit || bail 'no cluster'
    watcher=3
    "$skein_root/deploy/make-image" "$work/web.tar"
    on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
    ok 'an image' on 1 skein image add web /tmp/web.tar
    ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24
    for k in 2 3; do on 1 skein node cordon n$k; done
    ok 'a container of 24 MiB that checks itself, and starts processes' \
        on 1 skein guest run web --kind lxc --image web --slice red --memory 128m -- \
        /bin/sh -c '/bin/counter 7000 24 4 & trap "exit 0" TERM; while :; do sleep 0.05; echo tick; done'
    for k in 2 3; do on 1 skein node uncordon n$k; done
    ok 'a client with one connection' on 1 skein guest run client --image web --slice red --memory 16m --on n3 -- \
        /bin/count "$(show web .ip)" 7000 /count.log "$@"
    ok 'is served' wait_until 60 is_connected
    ok 'it reads its memory' reads_all
}
