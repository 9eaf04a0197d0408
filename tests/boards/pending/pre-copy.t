#!/bin/bash
# Pre-copy of a cell, in a board whose kernel says which pages were written: a guest of 16 MiB that writes all the time moves with
# all of its pages right and its one connection kept, and stands still for a shorter time than by stop-and-copy, which it was told
# beforehand; cancelled amid its rounds it runs on where it was; rounds that do not converge are followed by post-copy.
# limit: 1200
. "$(dirname "$0")/../lib.sh"
. "$skein_root/tests/boards/pre-copy.sh"

begin cell /bin/counter 7000 16 1 4
is_followed
moves_in_rounds
is_cancelled_amid_rounds
stops_and_moves
connection_is_kept
ok 'nothing is left of the moves' wait_until 100 is_tidy
done_testing
