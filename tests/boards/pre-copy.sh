# What the scenarios of pre-copy do, with a guest of either kind (sourced, bash): one of 16 MiB that writes all the time, and checks
# every page as it goes round, moves in each way; a client beside it keeps one connection.
. "$skein_root/deploy/look.sh"

passes() { on 1 skein guest logs web | grep -c '^pass '; }
passes_beyond() { [ "$(passes)" -gt "$1" ]; }
# Every page was read, since the call.
reads_all() { local before; before=$(passes); wait_until 200 passes_beyond $((before + 1)); }
bad() { on 1 skein guest logs web | tr -d '\r' | sed -n 's/^pass [0-9]*: [0-9]* pages, \([0-9]*\) bad$/\1/p' | sort -n | tail -n 1; }
pages_are_right() {
    ok 'it reads all of its memory' reads_all
    is 'and no page is wrong' "$(bad)" 0
}
client_log() { on "${client_at#n}" sh -c "cat /proc/\$(pgrep -x count | head -n 1)/root/count.log"; }
is_connected() { client_log | grep -q connected; }
connection_is_kept() {
    client_log | grep -E 'gap|lost|served_again' | sed 's/^/# client: /'
    is 'the connection is the same, and nothing was lost' "$(client_log | grep -cE 'lost|served_again')" 0
}
leftovers() { on "$1" sh -c 'find /run/skein/guests /var/lib/skein/guests -maxdepth 2 \( -name "checkpoint*" -o -name "*.new" \); pgrep -x criu; true'; }
is_tidy() { [ -z "$(leftovers 1)$(leftovers 2)" ]; }
there() { number_of_node web; }
tell() { echo "# $1, at ${SECONDS} s: $(moved '"\(.mode), blackout \(.blackout_ms) ms, \(.bytes) bytes before it ran, \(.total_ms) ms in all"')"; }
# What was told while it was copied
told() { grep '^{' "$work/error" | jq -rs '[.[] | .migration // empty] | '"$1"; }
verdict() { json 1 '"\(.verdict) \(.mode)"' skein guest migrate web --to "$(other "$(there)")" --check "$@"; }
is_in_rounds() { json 1 '.[0].progress | .what == "memory" and .round >= 1 and .done_bytes > 1000000' skein migration list | grep -q true; }
copy_of() { look_running counter; }

# begin KIND CMD...: the cluster, the guest and its client
begin() {
    ok 'a cluster of two' lab up -n 2 $board_timers --join --backhaul 1000mbit || bail 'no cluster'
    "$skein_root/deploy/make-image" "$work/web.tar"
    on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
    ok 'an image' does 1 skein image add web /tmp/web.tar
    ok 'a slice' does 1 skein slice create red --subnet 10.7.0.0/24
    ok "a guest of 16 MiB ($1) that writes 1 MiB a second" \
        does 1 skein guest run web --kind "$1" --image web --slice red --memory 64m -- "${@:2}"
    becomes 'runs' running state_of web
    client_at=$(other "$(there)")
    ok 'a client with one connection' does 1 skein guest run client --image web --slice red --memory 16m --on "$client_at" -- \
        /bin/count "$(json 1 .ip skein guest show web)" 7000 /count.log 50
    ok 'is served' wait_until 120 is_connected
    ok 'it reads its memory' reads_all
    echo "# begun at $SECONDS s"
}

# So short a standstill that no round is short enough, as shows when they are done: first of all, as a stop-and-copy would have shown
# how slow the way is, and post-copy would be picked beforehand. Nothing is insisted on.
is_followed() {
    ok 'rounds that do not converge' moves web "$(other "$(there)")" --downtime 200ms
    is 'are followed by post-copy' "$(moved .mode)" post-copy
    tell post
    ok 'behind rounds' test "$(told '[.[].round] | max')" -ge 2
    becomes 'it runs' running state_of web
    pages_are_right
}

moves_in_rounds() {
    becomes 'check says that it can go by pre-copy' 'possible pre-copy' verdict --mode pre
    ok 'and it does' moves web "$(other "$(there)")" --mode pre --downtime 2s
    is 'that was what was done' "$(moved .mode)" pre-copy
    pre_ms=$(moved '.blackout_ms | floor')
    tell pre
    ok 'its rounds were told' test "$(told '[.[].round] | max')" -ge 2
    expected_ms=$(told '[.[].blackout_ms // empty] | last')
    ok "and for how long it would stand still: about $expected_ms ms" test "$expected_ms" -gt 0
    pages_are_right
}

# So slow a link that the first round takes its time
is_cancelled_amid_rounds() {
    local from before mover id
    from=$(there) before=$(copy_of)
    on 1 skein guest migrate web --to "$(other "$from")" --mode pre --downtime 2s --bandwidth 4mbit --timeout 600s \
        >"$work/moved" 2>"$work/error" &
    mover=$!
    ok 'one that is copied slowly' wait_until 120 is_in_rounds
    id=$(json 1 '.[0].id' skein migration list)
    ok 'is cancelled amid its rounds' does 1 skein migration cancel "$id"
    fails 'whoever waited is told' wait "$mover"
    ok 'that is its end' wait_until 120 is_over
    is 'it is where it was' "$(there)" "$from"
    is 'and is the same process' "$(copy_of)" "$before"
    becomes 'it runs' running state_of web
    ok 'nothing is left of it' wait_until 100 is_tidy
    pages_are_right
}

# After pre-copy: what is restored there for the first time was restored before.
stops_and_moves() {
    ok 'it moves by stop-and-copy' moves web "$(other "$(there)")" --mode stop --downtime 60s
    stop_ms=$(moved '.blackout_ms | floor')
    tell stop
    pages_are_right
    ok "pre-copy let it stand still for less than half as long: $pre_ms of $stop_ms ms" test $((2 * pre_ms)) -lt "$stop_ms"
}
