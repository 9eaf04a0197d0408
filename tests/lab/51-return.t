#!/bin/bash
# Coming back before anybody is missed. A board that reboots faster than its lease ends: its guests are placed at once, on the
# word of the new boot, without waiting for a loss. A cut that is healed before the loss: the guest stood still and goes on, the
# same process under the same epoch. The timers leave room for that: freezing begins a second before the lease's end.
# limit: 1200
. "$(dirname "$0")/lib.sh"
. "$skein_root/deploy/look.sh"
lease_ms=3000 freeze_ms=1000 tries=4

now_ms() { echo $(($(date +%s%N) / 1000000)); }
is_up() { [ "$(json 1 .state skein node show n2)" = up ]; }
n_lost() { on 1 skein events | grep -c ' node-lost '; }
newest() { on 1 skein events -f json | jq -rs "[.[] | select(.what == \"failover\") | .timeline] | last | $1"; }
n_timelines() { on 1 skein events -f json | jq -s '[.[] | select(.what == "failover")] | length'; }
cut_records() { on 1 skein events -f json | jq -rs '[.[] | select(.what | test("^guest-(frozen|running)$")) | .what] | .[-2:] | join(" ")'; }
epoch() { json 1 .epoch skein guest show web; }
is_newer() { [ "$(epoch)" -gt "$old_epoch" ]; }

ok 'a cluster of three with long leases' \
    lab up -n 3 --conf profile=wan --conf lease_ms=$lease_ms --conf freeze_ms=$freeze_ms --join || bail 'no cluster'
"$skein_root/deploy/make-image" "$work/web.tar"
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' on 1 skein image add web /tmp/web.tar
ok 'a slice' on 1 skein slice create red --subnet 10.7.0.0/24
becomes 'n1 leads' n1 json 3 .leader skein status

# A fast reboot. Where this machine was so slow that the lease ended first, it was none: again.
reboot() { lab kill n2; lab start n2; }
told() { [ "$(n_timelines)" -gt "$before" ] && is_up; }
quick=no
ok 'a guest on n2' on 1 skein guest run web --image web --slice red --cores 1 --on n2 -- /bin/counter 7000
for ((i = 0; i < tries; i++)); do
    before=$(number n_timelines) old_epoch=$(number epoch)
    took=$(milliseconds reboot)
    wait_until 60 told
    [ "$(newest .cause)" != rebooted ] || [ "$(newest .placed_ms)" -ge $lease_ms ] || break
    [ "$took" -gt $((lease_ms / 2)) ] || quick=yes
    echo "# it was up after $took ms, and not missed in time: $(newest tostring)"
    the_copy counter >/dev/null
    [ "$(json 1 .node skein guest show web)" = n2 ] || on 1 skein guest migrate web --to n2 >/dev/null
done
echo "# $(newest tostring)"
if [ "$i$quick" = "${tries}no" ]; then
    skip 'a fast reboot' "this machine is too slow: each of $tries reboots took most of the lease"
else
    is 'n2 rebooted: a timeline from its last beat' "$(newest '"\(.from) \(.cause) \(.since)"')" 'n2 rebooted beat'
    is 'in order' "$(newest '[.committed_ms, .placed_ms, .started_ms, .serving_ms] | . == sort and all(.[]; type == "number")')" true
    ok "its guest was placed before a lease had ended ($(newest .placed_ms) ms)" test "$(newest .placed_ms)" -lt $lease_ms
fi
ok 'one runs' the_copy counter
ok 'under a new epoch' wait_until 60 is_newer

# A short cut. The heal follows the freeze; where it came too late for this machine it was no short one: again.
[ "$(json 1 .node skein guest show web)" = n2 ] || ok 'it moves to n2' on 1 skein guest migrate web --to n2
for ((i = 0; i < tries; i++)); do
    same=$(the_copy counter) old_epoch=$(number epoch) lost=$(n_lost) start=$(now_ms)
    is_frozen() { look_is_frozen "${same#* }"; }
    lab cut n2
    wait_until 60 is_frozen
    frozen=$(($(now_ms) - start))
    lab heal n2
    healed=$(($(now_ms) - start))
    ok 'after the cut one copy runs' the_copy counter
    ok 'and the node is up' wait_until 60 is_up
    [ "$(n_lost)" -gt "$lost" ] || break
    echo "# the cut was a loss: frozen after $frozen ms, healed after $healed ms"
    [ "$(json 1 .node skein guest show web)" = n2 ] || on 1 skein guest migrate web --to n2 >/dev/null
done
echo "# frozen after $frozen ms, healed after $healed ms"
if [ "$i" = "$tries" ]; then
    skip 'a short cut costs a pause, never a kill' "this machine is too slow: each of $tries heals came after the loss"
    done_testing
fi
is 'a cut healed in time loses nobody' "$(n_lost)" "$lost"
is 'the guest is the same process' "$(the_copy counter)" "$same"
is 'under the same epoch' "$(epoch)" "$old_epoch"
becomes 'it had stood still, and goes on' 'guest-frozen guest-running' cut_records
done_testing
