#!/bin/bash
# skein-guard by itself, over a fake world: what it refuses, when it freezes, what it remembers (guard_process.c and what it names).
# limit: 240
. "$(dirname "$0")/lib.sh"
. "$scenarios/room.sh"
trap 'cgroup_destroy "$lab_name"; rm -rf "$work"' EXIT

room /build/tests/lab/guard_process /build/tests/lab/guard-fake
