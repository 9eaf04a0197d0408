#!/bin/bash
# A rolling restart of every daemon of every node: skeind and skein-guard, by TERM and by KILL, one after the other, while a guest
# on each node stamps every 5 ms into a file of its own. No guest stands still for longer than 50 ms. A guard that starts freezes its
# guests until the leader has answered it: some thirty steps of three processes, each of which has to get a core. What a busy machine
# adds to that differs each time, what Skein itself needs does not: a longer pause is measured again, and the shortest of five counts.
# Stampers outside of the lab say beside it for how long this machine keeps a process waiting; the guests' and one of those run at
# real-time priority, another at the daemons' own.
# limit: 900
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"
freeze_max_ms=50
tries_max=5
now_ms() { echo $(($(date +%s%N) / 1000000)); }
service_pid() { on "$1" cat "/run/node/$2.pid"; }
all_up() { [ "$(json "${1:-1}" '[.[] | select(.state == "up" and .present)] | length' skein node list)" = 3 ]; }
unlapsed() { [ "$(json 1 '[.[] | select(.lapsed == false)] | length' skein node list)" = 3 ]; }
three_run() { [ "$(look_running stamp | wc -l)" = 3 ]; }
well() { all_up && unlapsed && three_run; }

# gaps FILE FROM TO: the pauses between ticks in FILE between two moments, longest first
gaps() {
    awk -v from="$2" -v to="$3" 'NF == 3 && $3 >= from && $3 <= to { if (last) printf "%.1f\n", $3 - last; last = $3 }' "$1" | sort -rn
}
# No tick for the time after which a pause ends the record would hide it: the last stamp must be fresh.
is_fresh() { awk -v now="$(now_ms)" 'NF == 3 { t = $3 } END { exit !(now - t < 1000) }' "$1"; }

# pause_of K SERVICE SIGNAL: restarts it, waits until all is well, and leaves in $pause the longest pause of any guest meanwhile, in
# ms. Fails when it does not come back, or something is not well.
pause_of() {
    local pid start end k
    pid=$(service_pid "$1" "$2")
    start=$(now_ms)
    on "$1" kill "-$3" "$pid"
    is_new() { local now; now=$(service_pid "$1" "$2") && [ -n "$now" ] && [ "$now" != "$pid" ]; }
    wait_until 60 is_new "$1" "$2" && wait_until 60 well || return
    ticks_after() { for k in 1 2 3; do awk -v t="$end" 'NF == 3 { last = $3 } END { exit !(last > t) }' "/proc/${guest[$k]}/root/stamps" || return 1; done; }
    end=$(now_ms)
    wait_until 60 ticks_after || return
    pause=0
    for k in 1 2 3; do
        gaps "/proc/${guest[$k]}/root/stamps" "$start" "$((end + 10))" | head -n 1 >"$work/max"
        echo "$2 $3 $([ "$k" = "$1" ] && echo own || echo other) $(cat "$work/max")" >>"$work/freezes"
        pause=$(awk -v m="$pause" '{ print ($1 > m ? $1 : m) }' "$work/max")
    done
    noise=$(gaps "$work/outside" "$start" "$end" | head -n 1)
    waited=$(waited_ms "$start")
}
is_short() { awk -v m="$1" -v l=$freeze_max_ms 'BEGIN { exit !(m <= l) }'; }

# restart K SERVICE SIGNAL
restart() {
    local pause noise waited seen='' tries
    count_waits
    for ((tries = 1; tries <= tries_max; tries++)); do
        # What ends within a second of its start is started again later: a pause of its own.
        is_settled() { [ "$(on "$1" ps -o etimes= -p "$(service_pid "$1" "$2")")" -ge 2 ]; }
        [ $tries = 1 ] || wait_until 60 is_settled "$1" "$2"
        if ! pause_of "$@" 2>"$work/output"; then
            point no "$2 on n$1 is started again after $3, and all is well"
            cat "$work/output"
            return
        fi
        seen+="${seen:+, }$pause ms (outside of the lab ${noise:-0} and $waited ms)"
        ! is_short "$pause" || break
    done
    point ok "$2 on n$1 is started again after $3, and all is well"
    if is_short "$pause"; then
        point ok "no guest stood still for longer than $freeze_max_ms ms: $seen"
    elif [ "$(busy_percent)" -gt 50 ]; then
        skip "no guest stood still for longer than $freeze_max_ms ms: $seen" "for $(busy_percent) % of the time somebody waited for a core"
    else
        point no "no guest stood still for longer than $freeze_max_ms ms: $seen; busy for $(busy_percent) %"
    fi
}

watch_machine
ok 'a cluster of three' lab up -n 3 --join || bail 'no cluster'
"$skein_root/deploy/make-image" "$work/web.tar"
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' on 1 skein image add web /tmp/web.tar
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24
for k in 1 2 3; do
    ok "a guest on n$k" on 1 skein guest run "web$k" --image web --slice red --on "n$k" --cores 1 -- \
        /bin/stamp send 10.7.0.99 9000 5 /stamps
done
ok 'all three run' wait_until 60 three_run
guest=()
while read -r node pid; do guest[${node#n}]=$pid; done < <(look_processes stamp)
before=$(look_processes stamp)
# A group has no real-time budget of its own: from the node's group down to the guest's, each gets most of the node's, so that no
# stamper is ever throttled (2.5 ms of every 100 were too little: pauses of 35 to 87 ms ended with the period).
give_budget() {
    local line path part dir=/sys/fs/cgroup/cpu budget_us=16000
    line=$(grep -E '^[0-9]+:([^:]*,)?cpu(,[^:]*)?:' "/proc/$1/cgroup") || return 0
    path=${line#*:*:}
    for part in ${path//\// }; do
        dir+=/$part
        [ -e "$dir/cpu.rt_runtime_us" ] && [ "$(cat "$dir/cpu.rt_runtime_us")" = 0 ] || continue
        cat "$dir/../cpu.rt_period_us" >"$dir/cpu.rt_period_us"
        echo $budget_us >"$dir/cpu.rt_runtime_us"
    done
} 2>/dev/null
realtime() {
    give_budget "$1"
    chrt -f -p 10 "$1" 2>/dev/null && return
    echo "# process $1 runs without real-time priority: pauses may be the machine's"
    return 1
}
rt=yes
for k in 1 2 3; do realtime "${guest[$k]}" || rt=no; done
"$("$skein_root/deploy/build")/deploy/stamp" send 127.0.0.1 9 5 "$work/outside" & outside=$!
[ $rt = no ] || realtime $outside
: >"$work/freezes"
for signal in TERM KILL; do
    for service in skeind skein-guard; do
        for k in 1 2 3; do restart $k $service $signal; done
    done
done
kill $outside
wait $outside 2>/dev/null
same_again() { [ "$(look_running stamp)" = "$before" ]; }
steady 'the guests are the same processes' wait_until 10 same_again
steady 'no node was lost' equal "$(on 1 skein events | grep -c ' node-lost ')" 0
sort "$work/freezes" | awk '{ key = $1 " " $2 " " $3; v[key] = v[key] " " $4; n[key]++ }
    END { for (k in v) { m = split(v[k], a, " "); for (i = 1; i <= m; i++) for (j = i + 1; j <= m; j++) if (a[j] + 0 < a[i] + 0) { t = a[i]; a[i] = a[j]; a[j] = t }
        printf "# %s node: longest pause p50 %s ms, max %s ms (n=%d)\n", k, a[int((m + 1) / 2)], a[m], m } }' | sort
done_testing
