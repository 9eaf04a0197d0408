#!/bin/bash
# A board with Debian's own kernel: what it has that the kernels of other machines may lack, and a lab of two nodes in it, in
# which a guest runs and moves. An emulated processor is slow: the limits only end what hangs.
# limit: 900
. "$(dirname "$0")/lib.sh"

ok 'the kernel is of the image' test -d "/lib/modules/$(uname -r)"
ok 'CRIU finds that it tracks which pages are written' criu check --feature mem_dirty_track
ok 'source and build are where they always are' test -x /src/deploy/lab -a -x /build/agent/skeind
fails 'and nothing changes them' touch /src/touched
ok 'a cluster of two' lab up -n 2 $board_timers --join --backhaul 1000mbit || bail 'no cluster'
becomes 'whose nodes track pages' '[true]' json 1 'map(.can_pre_copy) | unique | tostring' skein node list
"$skein_root/deploy/make-image" "$work/web.tar"
on 1 sh -c 'cat >/tmp/web.tar' <"$work/web.tar"
ok 'an image' does 1 skein image add web /tmp/web.tar
ok 'a slice' does 1 skein slice create red --subnet 10.7.0.0/24
ok 'a guest' does 1 skein guest run web --image web --slice red --memory 64m -- /bin/counter 7000
becomes 'runs' running state_of web
to=$(other "$(number_of_node web)")
ok 'it moves' moves web "$to" --mode stop
becomes 'and is there' "$to" node_of web
becomes 'and runs' running state_of web
done_testing
