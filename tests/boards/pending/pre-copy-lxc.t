#!/bin/bash
# Pre-copy of a container by liblxc, in a board whose kernel says which pages were written, as of a cell (pre-copy.t): its shell
# starts processes all the while, and its console is there after the moves.
# limit: 1200
. "$(dirname "$0")/../lib.sh"
. "$skein_root/tests/boards/pre-copy.sh"

ticks() { on 1 skein guest logs web | grep -c '^tick'; }
ticks_beyond() { [ "$(ticks)" -gt "$1" ]; }
answered() { grep -q 'is anybody there' "$work/console"; }
answer() {
    : >"$work/console"
    (echo 'is anybody there'; wait_until 60 answered; printf '\035') | on 1 timeout 120 skein guest console web >"$work/console"
    answered
}

begin lxc /bin/sh -c '/bin/counter 7000 16 1 4 & trap "exit 0" TERM; while :; do sleep 0.2; echo tick; done'
is_followed
ok 'it starts processes there' wait_until 100 ticks_beyond "$(ticks)"
ok 'its console' wait_until 200 answer
moves_in_rounds
ok 'it starts processes there' wait_until 100 ticks_beyond "$(ticks)"
ok 'its console' wait_until 200 answer
is_cancelled_amid_rounds
ok 'it starts processes still' wait_until 100 ticks_beyond "$(ticks)"
stops_and_moves
connection_is_kept
ok 'nothing is left of the moves' wait_until 100 is_tidy
ok 'it is told to end' does 1 skein guest stop web
is 'and nothing of it runs' "$(copy_of)" ''
done_testing
