# Shared by the benchmarks that power nodes off (sourced, bash, as root): a lab's client and stopwatch, floods that go on,
# results that are kept as they come. LAB names the lab; $root is the project, $work a directory to throw away.

lab() { "$root/deploy/lab" "$@"; }
on() { timeout 20 "$root/deploy/lab" exec "$1" -- "${@:2}"; }
json_query() { chroot "$image" jq "$@"; }
now_ms() { echo $(($(date +%s%N) / 1000000)); }
load_now() { cut -d' ' -f1 /proc/loadavg; }

# within SECONDS CMD...: until CMD succeeds; fails when the limit passes first
within() {
    local deadline=$(($(now_ms) + $1 * 1000))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(now_ms)" -lt "$deadline" ] || return 1
        sleep 0.02
    done
}

# The client (deploy/examples/count.c): $client is its process, as the host sees it.
client_log() { cat "/proc/$client/root/count.log"; }
n_served() { client_log | grep -c ' served_again '; }
served_more_than() { [ "$(n_served)" -gt "$1" ]; }
last_served() { client_log | grep ' served_again ' | tail -n 1; }
# The answers came at MS, after a silence of MS: of the last power-off
served_at_ms() { last_served | awk '{ print $1 }'; }
silence_ms() { last_served | sed -n 's/.* ms=\([0-9.]*\) .*/\1/p'; }
client_is_answered() { client_log | grep -q -E ' (connected|count [1-9])'; }

# When deploy/lab pulled the node's plug, in ms since 1970 by the clock that the client has too
killed_at_ms() { cat "/run/skein-lab/$LAB/$1.killed"; }
from_kill_ms() { awk -v a="$(served_at_ms)" -v k="$(killed_at_ms "$1")" 'BEGIN { printf "%.1f", a - k }'; }
# A pause before it (a change of the leader behind a plain queue) may end in a new connection, too.
served_since_kill() { awk -v t="$(from_kill_ms "$1")" 'BEGIN { exit !(t > 0) }'; }

# Floods: twice the link of $backhaul_mbit, both ways, for as long as the node runs. flood_pid[K] is the flood of node K.
: "${backhaul_mbit:=100}"
flood_pid=()
flood_start() {    # not through lab(): what is killed later shall be the flood itself, not a shell that waits for it
    "$root/deploy/lab" flood "n$1" "$((2 * backhaul_mbit))mbit" 3600 >/dev/null 2>&1 &
    flood_pid[$1]=$!
    disown    # its end with its node is no news
}
flood_lives() { [ -n "${flood_pid[$1]:-}" ] && kill -0 "${flood_pid[$1]}" 2>/dev/null; }
floods_stop() {
    local k
    for k in "${!flood_pid[@]}"; do
        kill "${flood_pid[$k]}" 2>/dev/null
        while flood_lives "$k"; do sleep 0.01; done
    done
    flood_pid=()
}
received_bytes() {
    local pid
    { read -r pid _ <"/run/skein-lab/$LAB/n$1.pid"; } 2>/dev/null && awk '$1 == "eth0:" { print $2 }' "/proc/$pid/net/dev" 2>/dev/null
}
# More than half of each link is full; the flood itself sends twice of it.
are_flooded() {
    local k before=()
    for k in "$@"; do before[$k]=$(received_bytes "$k"); done
    sleep 0.1
    for k in "$@"; do [ $(($(received_bytes "$k") - ${before[$k]:-0})) -gt $((backhaul_mbit * 6250)) ] || return 1; done
}
# floods_go K...: each node's flood runs, started again where it died with its node
floods_go() {
    local k
    for k in "$@"; do flood_lives "$k" || flood_start "$k"; done
    within 10 are_flooded "$@"
}

# report OUT FILTER GROUP: prints one JSON line of what OUT holds for the results that FILTER (of jq) takes
report() {
    json_query -sc --argjson head "$3" "
        def at(\$q): sort | if length == 0 then null else .[([((\$q * length) | ceil) - 1, 0] | max)] end;
        map(select($2)) | (map(select(.hiccup == null))) as \$good |
        if \$good == [] then empty else
            (\$good | map(.from_kill_ms)) as \$t | (\$good | map(.from_last_answer_ms)) as \$a |
            \$head + {n: (\$good | length), p50_ms: (\$t | at(0.5)), p95_ms: (\$t | at(0.95)), p99_ms: (\$t | at(0.99)), max_ms: (\$t | max),
                silence_p50_ms: (\$a | at(0.5)), silence_p99_ms: (\$a | at(0.99)),
                false_losses: (map(.false_losses // 0) | add), two_copies: (map(.two_copies // 0) | add),
                load: \"\(map(.load) | min)-\(map(.load) | max)\", hiccups: (length - (\$good | length))}
        end" <"$1"
}
