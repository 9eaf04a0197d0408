#!/bin/bash
# skein-guard against processes of user skein that mean harm, with and without the key of the board, and its system call
# filter (guard_hostile.c, guard_outsiders.c).
# limit: 240
. "$(dirname "$0")/lib.sh"
. "$scenarios/room.sh"
trap 'cgroup_destroy "$lab_name"; rm -rf "$work"' EXIT

room /build/tests/lab/guard_hostile /build/tests/lab/guard-fake
